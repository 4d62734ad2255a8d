"""The REST side of a loopback server: its responses to history requests, as pure functions."""

import json
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from actors.exchanges.contract.loopback_market import Fill, Market


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A client's request: its path and query (the last value of each parameter); `body` is None for a GET."""

    path: str
    query: Mapping[str, str]
    body: bytes | None = None

    def number(self, name: str, default: int | None = None) -> int | None:
        """A parameter as an integer; `default` if it is missing or not an integer."""
        text = self.query.get(name, "")
        return int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else default

    def limit(self, name: str, default: int, most: int) -> int:
        """The number of rows requested, at least 1 and at most `most`."""
        return max(1, min(most, self.number(name, default) or default))


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A response; JSON unless `headers` (names in lower case) set another content type."""

    body: str
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Tape:
    """A market's trades, oldest first: those that the WebSocket side sent and that are still kept.

    `market` is None until the first subscription: before that nothing is traded.
    """

    native: str
    market: Market | None
    fills: Sequence[Fill]

    def at_id(self, id_: int) -> int:
        """The index of the first fill with this id or a higher one."""
        return bisect_left(self.fills, id_, key=lambda fill: int(fill.trade_id))

    def at_ns(self, ns: int) -> int:
        """The index of the first fill at or after this time."""
        return bisect_left(self.fills, ns, key=lambda fill: fill.ns)


Find = Callable[[str, str], Tape | None]  # (category, native name) -> its tape, None for an unknown market


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryServer:
    """How one exchange answers history requests.

    `paths`: prefixes of the paths it serves. `cost(request)` is in units of its rate limit, of which
    `units` are allowed in any `window_s`; `too_many` is the response beyond that. `posts`: it accepts POST too.
    """

    doc: str
    paths: tuple[str, ...]
    answer: Callable[[HttpRequest, Find], HttpResponse]
    units: float
    window_s: float
    too_many: HttpResponse
    cost: Callable[[HttpRequest], float] = lambda _request: 1.0
    posts: bool = False


@dataclass(frozen=True, slots=True)
class ListedMarket:
    """A market that the loopback has: its unified symbol, its name in frames, and the venue's category of it."""

    symbol: str
    native: str
    category: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """How one exchange lists its markets: `answer` to a request for one of `paths`, with the markets there are.

    None where the request is not for the list but for the past, on an exchange with one path for both. It takes
    `cost` units from the rate limit of the HistoryServer, if there is one.
    """

    paths: tuple[str, ...]
    answer: Callable[[HttpRequest, Sequence[ListedMarket]], HttpResponse | None]
    cost: Callable[[HttpRequest], float] = lambda _request: 1.0


class Meter:
    """Counts a client's use of the exchange's rate limit."""

    def __init__(self, units: float, window_s: float) -> None:
        self.units, self.window_s = units, window_s
        self._spent: deque[tuple[float, float]] = deque()

    def allows(self, cost: float, now: float) -> bool:
        """Whether the last `window_s` have room for this cost; if so, counts it."""
        while self._spent and self._spent[0][0] <= now - self.window_s:
            self._spent.popleft()
        if sum(cost for _, cost in self._spent) + cost > self.units:
            return False
        self._spent.append((now, cost))
        return True

    def clear(self) -> None:
        """Forgets what was spent."""
        self._spent.clear()


def error(status: int, **fields: object) -> HttpResponse:
    """An error response with a JSON object of these fields."""
    return HttpResponse(compact(fields), status)


def compact(value: object) -> str:
    """JSON without spaces, as exchanges write it."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
