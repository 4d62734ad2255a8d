"""What exchanges hand to the buffer: ticks and rejects of one stretch of one connection, and what is missing."""

from dataclasses import dataclass

from actors.coverage import FeedRow
from actors.gaps import GapRow
from actors.ticks import Block, Reject

# Mailboxes are bounded by rows of about 500 bytes; evidence of a reject weighs by its bytes.
ROW_BYTES = 500


@dataclass(frozen=True, slots=True)
class Parcel:
    """Handed over for good."""

    block: Block
    rejects: tuple[Reject, ...] = ()
    gaps: tuple[GapRow, ...] = ()
    feeds: tuple[FeedRow, ...] = ()

    @property
    def rows(self) -> int:
        """Its weight in rows."""
        evidence = sum(1 + len(reject.payload) // ROW_BYTES for reject in self.rejects)
        return max(1, len(self.block) + evidence + len(self.gaps) + len(self.feeds))
