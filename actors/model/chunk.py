"""A chunk: the unit that exchanges send to the buffer, with ticks and rejects of one connection, and gaps."""

from collections.abc import Iterable
from typing import Protocol

from msgspec import Struct

from actors.model.records import FeedRow, GapRow
from actors.model.ticks import ROW_BYTES, Block, Reject

REJECT_ROWS = 3  # writing a reject takes as long as three ticks


def reject_rows(rejects: Iterable[Reject]) -> int:
    """The weight of rejects in rows: their evidence counts by its bytes."""
    return sum(REJECT_ROWS - 1 + reject.evidence_bytes // ROW_BYTES for reject in rejects)


class Chunk(Struct, frozen=True):
    """Handed over for good."""

    block: Block
    rejects: tuple[Reject, ...] = ()
    gaps: tuple[GapRow, ...] = ()
    feeds: tuple[FeedRow, ...] = ()

    @property
    def rows(self) -> int:
        """Its weight in rows."""
        return max(1, len(self.block) + reject_rows(self.rejects) + len(self.gaps) + len(self.feeds))


class Source(Protocol):
    """Holds rows until the buffer collects them. One with `follows` is collected after all others: what they bring
    may make it hold something for the same batch, which comes in any order."""

    follows: bool

    def prepare(self) -> None:
        """Does what takes long before its rows can be collected; never waits and never raises."""

    def collect(self) -> list[Chunk]:
        """Removes and returns the rows that it holds, without delay; never waits and never raises."""
