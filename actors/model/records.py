"""The rows of every table but ticks and rejects, as the buffer collects and the store writes them."""

import enum
import hashlib
from dataclasses import KW_ONLY, dataclass
from typing import Annotated

from msgspec import Struct

from actors.model.schema import DECIMAL, INSTANT, JSON, Stored, schema_of

At = Annotated[int, Stored("at", INSTANT)]  # when the row was created


class GapReason(enum.StrEnum):
    """Why trades may be missing. Stored and queried: never renamed."""

    SEQUENCE = "sequence"  # contiguous ids jumped, or restarted from another number
    DISCONNECT = "disconnect"
    DOWNTIME = "downtime"  # the service was not running, or did not record this market
    OVERFLOW = "overflow"
    STALL = "stall"
    REJECTED = "rejected"  # trades were rejected, or the exchange does not list the market
    DISAGREEMENT = "disagreement"  # of two connections one delivered a trade that the other did not
    VANISHED = "vanished"  # trades that counted as stored are not: deleted before a merge, or refused (see rejects)


class GapStatus(enum.StrEnum):
    """What is known about a gap. Only 'open' may still change by itself."""

    OPEN = "open"
    FILLED = "filled"
    PARTIAL = "partial"
    LOST = "lost"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class GapRow:
    """One state of one gap; the newest by `at_ns` counts. Nanoseconds UTC.

    `from_*` is the last trade stored before, `to_*` the first stored after (None until it arrives); times are the
    exchange's, or ours if it sends none. `missing` trades lie between them, None if that is unknown; `recovered` of
    them were stored later. `closed_ns` is when the status ceased to be 'open'.
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
        """Whether its end is known, so that a backfill can tell when it is complete."""
        return self.to_ns is not None

    def same_range(self, other: "GapRow") -> bool:
        """Whether both states of a gap have the same ends, as far as times tell."""
        return (self.from_ns, self.to_ns) == (other.from_ns, other.to_ns)

    def spans(self, trade_id: str | None, time_ns: int | None) -> bool:
        """Whether a trade that is not stored would lie in it: by its id if ids are numbers, else by its time."""
        low, high, number = decimal(self.from_id), decimal(self.to_id), decimal(trade_id)
        if low is not None and high is not None and number is not None:
            return low < number < high
        if self.from_ns is None or time_ns is None:
            return False
        return self.from_ns <= time_ns and (self.to_ns is None or time_ns <= self.to_ns)


def decimal(trade_id: str | None) -> int | None:
    """The number in a text of canonical form, so that number and text identify each other; else None."""
    if trade_id is None or not (trade_id.isascii() and trade_id.isdecimal()) or len(trade_id) > 18:
        return None
    return None if trade_id[0] == "0" and trade_id != "0" else int(trade_id)


class FeedEvent(enum.StrEnum):
    """The event of a row of `feeds`. Stored and queried: never renamed."""

    STARTED = "started"  # from here on a connection of this run delivers the market
    # It ended in an orderly way, or the clock was set; without this row the newest audit row of the run is the end.
    STOPPED = "stopped"
    FIRST = "first"  # the lowest id of the recording: lower ids are older
    RESET = "reset"  # the exchange restarted its numbering with this id
    PROVED = "proved"  # `proof` shows that from `time_ns` to before `until_ns` only trades of gaps are missing


class Proof(enum.StrEnum):
    """What shows that no trade is missing. Stored and queried: never renamed."""

    IDS = "ids"  # contiguous ids, seen without a hole
    TWO_FEEDS = "two_feeds"  # two connections delivered the same trades
    HISTORY = "history"  # the exchange's history was compared with the record
    NONE = "none"


class FeedRow(Struct, frozen=True):
    """One row of `feeds`; `run_id` is filled in when it is stored.

    `trade_id` and `time_ns` belong to 'first' and 'reset', `time_ns`, `until_ns` and `proof` to 'proved'; times are
    the exchange's, or ours if it sends none.
    """

    at_ns: At
    exchange: str
    symbol: str
    event: FeedEvent
    run_id: str = ""
    trade_id: str | None = None
    time_ns: Annotated[int | None, Stored("time", INSTANT)] = None
    until_ns: Annotated[int | None, Stored("until", INSTANT)] = None
    proof: Proof | None = None


class EventRow(Struct, frozen=True):
    """One row of `events`; `at_ns` nanoseconds UTC, `detail_json` a JSON object as text."""

    at_ns: At
    actor: str
    event: str
    reason: str | None = None
    restarts: int | None = None
    retry_in_s: float | None = None
    detail_json: Annotated[str, Stored("detail", JSON)] = "{}"


class AuditRow(Struct, frozen=True):
    """Running totals of one exchange in one run, valid at the moment at which the batch that contains it is
    durable.
    """

    at_ns: At
    exchange: str
    frames: int
    received: int
    stored: int
    duplicates: int
    rejected: int
    in_flight: int
    run_id: str


class LagRow(Struct, frozen=True):
    """Receipt minus the exchange's own time, in the minute that ended at `at_ns`; `negative` samples are < 0."""

    at_ns: At
    exchange: str
    samples: int
    p50_ms: float
    p99_ms: float
    min_ms: float
    max_ms: float
    negative: int
    run_id: str


class InstrumentRow(Struct, frozen=True):
    """One market as its exchange listed it at `seen_ns`; each change is a row, the newest counts. `seen_ns` rises,
    also if this host's clock is set back.

    `settle` is None for spot; for the decimals and scales see contract.instruments.Instrument.
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
    """A short text that identifies a gap, the same in every run."""
    named = "\0".join((exchange, symbol, reason, from_id or "", str(opened_ns)))
    return hashlib.blake2b(named.encode(), digest_size=8).hexdigest()
