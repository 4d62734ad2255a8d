"""A batch: what one flush hands to the writer, with the number under which it is stored exactly once."""

from dataclasses import dataclass

from actors.model.chunk import reject_rows
from actors.model.records import AuditRow, EventRow, FeedRow, GapRow, LagRow
from actors.model.ticks import Block, Reject


@dataclass(frozen=True, slots=True)
class Batch:
    """Handed over for good by the buffer. `number` only ever rises, over restarts too."""

    number: int
    blocks: tuple[Block, ...] = ()
    rejects: tuple[Reject, ...] = ()
    events: tuple[EventRow, ...] = ()
    audit: tuple[AuditRow, ...] = ()
    gaps: tuple[GapRow, ...] = ()
    feeds: tuple[FeedRow, ...] = ()
    lags: tuple[LagRow, ...] = ()

    @property
    def ticks(self) -> int:
        """How many ticks it holds."""
        return sum(map(len, self.blocks))

    @property
    def rows(self) -> int:
        """Its weight in rows, that of the evidence of rejects included; at least 1."""
        small = (self.events, self.audit, self.gaps, self.feeds, self.lags)
        return max(1, self.ticks + reject_rows(self.rejects) + sum(map(len, small)))
