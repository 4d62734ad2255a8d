"""What an exchange's history over REST is: how old trades are asked for and read, and what a page of it holds.

A `History` is to REST what a `Dialect` is to the WebSocket: a frozen value and pure functions, no I/O.
"""

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode, urlsplit

from actors.dialect import Market, Trades
from supervisor.failures import Weather


class Refused(Exception):
    """The exchange will not answer this question, now or later; the message holds its words."""


class Busy(Weather):
    """The exchange asks for patience, in a sound answer or in words of its own."""


class Garbled(Weather):
    """What came is no answer to what was asked: a page of a proxy, half a body, another shape."""


class Kind(enum.StrEnum):
    """How old trades can be asked for."""

    BY_ID = "by_id"
    BY_TIME = "by_time"
    RECENT_ONLY = "recent_only"  # the newest few, no way further back


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """At most `units` in any `window_s`: `burst` of them at once, the rest refilled evenly.

    A bucket that holds `burst` and gains `rate_per_s` gives out at most burst + rate * window in a window;
    the rate is what makes that `units`.
    """

    name: str
    units: float
    window_s: float
    burst: float

    def __post_init__(self) -> None:
        if not 0 < self.burst < self.units or not self.window_s > 0:
            raise ValueError(f"{self.name}: a rate limit needs 0 < burst < units and a window")

    @property
    def rate_per_s(self) -> float:
        """Units gained a second."""
        return (self.units - self.burst) / self.window_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One request as a value; `costs` is what it takes of each named limit."""

    path: str
    query: tuple[tuple[str, str], ...] = ()
    costs: Mapping[str, float] = field(default_factory=lambda: {"requests": 1.0})
    method: str = "GET"

    @property
    def target(self) -> str:
        """Path and query as they go over the wire."""
        return self.path + (f"?{urlencode(self.query)}" if self.query else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """What is wanted of one market, both ends inclusive: by ids where they are known, else by times.

    `from_id` and `to_id` are the first and last id that is missing; `from_ns` and `to_ns` the times (UTC)
    between which it lies, and may be the last trade's before and the first one's after. An end with both
    is filtered by its id; the time then only says where to look. No upper end means: up to now.
    """

    from_id: int | None = None
    to_id: int | None = None
    from_ns: int | None = None
    to_ns: int | None = None

    def __post_init__(self) -> None:
        if self.from_id is None and self.from_ns is None:
            raise ValueError("a stretch needs a first id or a first time")
        for low, high in ((self.from_id, self.to_id), (self.from_ns, self.to_ns)):
            if low is not None and high is not None and low > high:
                raise ValueError("a stretch begins before it ends")

    @property
    def ids(self) -> int | None:
        """How many ids it spans, None where an end is not known by id."""
        if self.from_id is None or self.to_id is None:
            return None
        return self.to_id - self.from_id + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One page that is wanted; `cursor` is the page before's, None for the first. At most `rows` rows."""

    market: Market
    channel: str
    stretch: Stretch
    rows: int
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """One answer: its trades, and the cursor of the page that follows, None where there is none."""

    trades: Trades
    cursor: str | None

    @property
    def ids(self) -> list[int]:
        """The ids that are numbers."""
        return [int(text) for text in self.trades.trade_id if text is not None and text.isdecimal()]

    @property
    def times_ns(self) -> list[int]:
        """The times that are known."""
        return [time for time in self.trades.exchange_ns if time is not None]


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """How one exchange's old trades are had.

    - `ask(query)`: the request for one page; raises Refused where the stretch cannot be asked for so.
    - `parse(body, headers, query)`: reads the answer with status 200 (header names in small letters);
      raises Garbled, Busy, Refused, or FieldError where a field of some trade cannot be used.
    - `refusal(status, body)`: the exchange's own words in an answer with another status.
    - `newest_first`: pages lead back from the end of the stretch; otherwise on from its beginning.
    - `dense`: every id between two of a market's ids belongs to a trade that the history has.
    - `aggregated`: the channels of which one row stands for several of the history's trades. The ids of
      such a row's inner trades are not missing: who asks for a stretch must leave them out of it, or the
      same volume is recorded twice.
    - `banned`: statuses that mean that all requests of this address are refused for `ban_s`.
    - `slack_ns`: the history's times may differ from the stream's by so much.
    """

    name: str
    kind: Kind
    depth: str
    doc: str
    doc_read: str
    base: str
    limits: tuple[RateLimit, ...]
    page_rows: int
    newest_first: bool
    ask: Callable[[Query], Ask]
    parse: Callable[[bytes, Mapping[str, str], Query], Page]
    refusal: Callable[[int, bytes], str]
    dense: bool = True
    aggregated: frozenset[str] = frozenset()
    banned: Mapping[int, float] = field(default_factory=dict)
    slack_ns: int = 0
    notes: tuple[str, ...] = ()

    def origin(self, rest_url: str | None) -> str:
        """Scheme, host and port: those of `rest_url` where it is set."""
        parts = urlsplit(rest_url or self.base)
        return f"{parts.scheme}://{parts.netloc}"
