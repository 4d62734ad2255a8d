"""A batch: what one flush hands to the writer, with the number under which it is stored exactly once."""

from dataclasses import dataclass

from actors.continuity.gap_log import GapRow
from actors.model.chunk import reject_rows
from actors.model.ticks import Block, Reject
from actors.store.coverage_sql import FeedRow


@dataclass(frozen=True, slots=True)
class EventRow:
    """One row of `events`; `at_ns` nanoseconds UTC, `detail_json` a JSON object as text."""

    at_ns: int
    actor: str
    event: str
    reason: str | None = None
    restarts: int | None = None
    retry_in_s: float | None = None
    detail_json: str = "{}"


@dataclass(frozen=True, slots=True)
class AuditRow:
    """Running totals of one exchange in one run, true at the moment the batch that carries it is durable."""

    at_ns: int
    exchange: str
    frames: int
    received: int
    stored: int
    duplicates: int
    rejected: int
    in_flight: int
    run_id: str


@dataclass(frozen=True, slots=True)
class LagRow:
    """Receipt minus the exchange's own time, in the stretch that ended at `at_ns`; `negative` samples are < 0."""

    at_ns: int
    exchange: str
    samples: int
    p50_ms: float
    p99_ms: float
    min_ms: float
    max_ms: float
    negative: int
    run_id: str


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
