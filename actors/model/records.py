"""Rows of every table but ticks and rejects, as the buffer collects and the store writes them."""

import enum
import hashlib
from dataclasses import KW_ONLY, dataclass
from typing import Annotated

from actors.model.schema import DECIMAL, INSTANT, JSON, Stored, schema_of

At = Annotated[int, Stored("at", INSTANT)]  # when the row was made


class GapReason(enum.StrEnum):
    """Why something may be missing. Stored and queried: never renamed."""

    SEQUENCE = "sequence"  # contiguous ids jumped, or restarted from another number
    DISCONNECT = "disconnect"
    DOWNTIME = "downtime"  # the service did not run, or did not record this market
    OVERFLOW = "overflow"
    STALL = "stall"
    REJECTED = "rejected"  # trades came and were refused, or the exchange does not have the market
    VANISHED = "vanished"  # it was stored, and somebody or something deleted it before it was merged


class GapStatus(enum.StrEnum):
    """What is known about it. Only 'open' may still change by itself."""

    OPEN = "open"
    FILLED = "filled"
    PARTIAL = "partial"
    LOST = "lost"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class GapRow:
    """One state of one gap; the newest by `at_ns` counts. Nanoseconds UTC.

    `from_*` is the last trade stored before, `to_*` the first stored after (None until it came); times are
    the exchange's, or ours where it has none. `missing` trades lie between them, None where that cannot be
    known; `recovered` of them were stored later. `closed_ns` is when the status stopped being 'open'.
    """

    at_ns: At
    gap_id: str
    exchange: str
    symbol: str
    reason: GapReason
    opened_ns: Annotated[int, Stored("opened_at", INSTANT)]
    _: KW_ONLY
    closed_ns: Annotated[int | None, Stored("closed_at", INSTANT)] = None
    from_id: str | None
    to_id: str | None = None
    from_ns: Annotated[int | None, Stored("from_time", INSTANT)]
    to_ns: Annotated[int | None, Stored("to_time", INSTANT)] = None
    missing: int | None = None
    recovered: int = 0
    status: GapStatus = GapStatus.OPEN

    @property
    def bounded(self) -> bool:
        """Whether its end is known, so that a backfill knows when the ends meet."""
        return self.to_ns is not None

    def spans(self, trade_id: str | None, time_ns: int | None) -> bool:
        """Whether a trade that is not stored would lie in it: by its id where ids are numbers, else by its time."""
        low, high, number = decimal(self.from_id), decimal(self.to_id), decimal(trade_id)
        if low is not None and high is not None and number is not None:
            return low < number < high
        if self.from_ns is None or time_ns is None:
            return False
        return self.from_ns <= time_ns and (self.to_ns is None or time_ns <= self.to_ns)


def decimal(trade_id: str | None) -> int | None:
    """The number, if the text is one in its plain form, so that number and text stand for each other."""
    if trade_id is None or not (trade_id.isascii() and trade_id.isdecimal()) or len(trade_id) > 18:
        return None
    return None if trade_id[0] == "0" and trade_id != "0" else int(trade_id)


class FeedEvent(enum.StrEnum):
    """What a row of `feeds` says. Stored and queried: never renamed."""

    STARTED = "started"  # from here on a connection of this run delivers the market
    STOPPED = "stopped"  # it ended in good order; without it the newest audit row of the run is the end
    FIRST = "first"  # the lowest id of the record: anything below is older than it
    RESET = "reset"  # the exchange restarted its ids with this one


@dataclass(frozen=True, slots=True)
class FeedRow:
    """One row of `feeds`; `trade_id` and `time_ns` for 'first' and 'reset' only, `run_id` filled in when stored."""

    at_ns: At
    exchange: str
    symbol: str
    event: FeedEvent
    run_id: str = ""
    trade_id: str | None = None
    time_ns: Annotated[int | None, Stored("time", INSTANT)] = None


@dataclass(frozen=True, slots=True)
class EventRow:
    """One row of `events`; `at_ns` nanoseconds UTC, `detail_json` a JSON object as text."""

    at_ns: At
    actor: str
    event: str
    reason: str | None = None
    restarts: int | None = None
    retry_in_s: float | None = None
    detail_json: Annotated[str, Stored("detail", JSON)] = "{}"


@dataclass(frozen=True, slots=True)
class AuditRow:
    """Running totals of one exchange in one run, true at the moment the batch that carries it is durable."""

    at_ns: At
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

    at_ns: At
    exchange: str
    samples: int
    p50_ms: float
    p99_ms: float
    min_ms: float
    max_ms: float
    negative: int
    run_id: str


@dataclass(frozen=True, slots=True)
class InstrumentRow:
    """One market as its exchange listed it at `seen_ns`; a row a change, of which the newest counts.

    `settle` is None for spot; of the decimals and scales see contract.instruments.Instrument.
    """

    exchange: str
    symbol: str
    native_symbol: str
    kind: str
    base: str
    quote: str
    settle: str | None
    volume_unit: str
    contract_size: Annotated[str | None, Stored(kind=DECIMAL)]
    price_step: Annotated[str | None, Stored(kind=DECIMAL)]
    volume_step: Annotated[str | None, Stored(kind=DECIMAL)]
    active: bool
    seen_ns: Annotated[int, Stored("seen_at", INSTANT)]
    price_scale: int | None = None
    volume_scale: int | None = None


GAP_STATES = schema_of("gap_states", GapRow)
FEEDS = schema_of("feeds", FeedRow)
EVENTS = schema_of("events", EventRow)
AUDIT = schema_of("audit", AuditRow)
LAGS = schema_of("lags", LagRow)
INSTRUMENTS = schema_of("instruments", InstrumentRow)


def gap_id(exchange: str, symbol: str, reason: str, from_id: str | None, opened_ns: int) -> str:
    """A short text that is the same wherever the same gap is named."""
    named = "\0".join((exchange, symbol, reason, from_id or "", str(opened_ns)))
    return hashlib.blake2b(named.encode(), digest_size=8).hexdigest()
