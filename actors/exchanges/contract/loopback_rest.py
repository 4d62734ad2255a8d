"""What a loopback exchange's REST side is: its answers to questions about the past, as pure functions."""

import json
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from actors.exchanges.contract.loopback_market import Fill, Market


@dataclass(frozen=True, slots=True)
class Question:
    """A request: its path and query, the last value of each parameter; `body` is None for a GET."""

    path: str
    query: Mapping[str, str]
    body: bytes | None = None

    def number(self, name: str, default: int | None = None) -> int | None:
        """A parameter as a whole number; `default` where it is none or missing."""
        text = self.query.get(name, "")
        return int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else default

    def limit(self, name: str, default: int, most: int) -> int:
        """How many rows are wanted, at least 1 and at most `most`."""
        return max(1, min(most, self.number(name, default) or default))


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer; JSON unless `headers` say otherwise (names in small letters)."""

    body: str
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Tape:
    """A market's trades, oldest first: what the WebSocket side sent, as far back as it is kept.

    `market` is None until the first subscription: before that nothing is traded.
    """

    native: str
    market: Market | None
    fills: Sequence[Fill]

    def at_id(self, id_: int) -> int:
        """The place of the first fill whose id is not below."""
        return bisect_left(self.fills, id_, key=lambda fill: int(fill.trade_id))

    def at_ns(self, ns: int) -> int:
        """The place of the first fill that is not earlier."""
        return bisect_left(self.fills, ns, key=lambda fill: fill.ns)


Find = Callable[[str, str], Tape | None]  # (category, native name) -> its tape, None for an unknown market


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """How one exchange answers about the past.

    `paths`: the beginnings of the paths it serves. `cost(question)` in the units of its rate limit, of which
    `units` are allowed in any `window_s`; `too_many` is the answer beyond that. `posts`: it is asked by POST too.
    """

    doc: str
    paths: tuple[str, ...]
    answer: Callable[[Question, Find], Reply]
    units: float
    window_s: float
    too_many: Reply
    cost: Callable[[Question], float] = lambda _question: 1.0
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
    from the rate limit of Past what `cost` says, where there is a Past.
    """

    paths: tuple[str, ...]
    answer: Callable[[Question, Sequence[ListedMarket]], Reply | None]
    cost: Callable[[Question], float] = lambda _question: 1.0


class Meter:
    """Counts what a client takes of the exchange's rate limit."""

    def __init__(self, units: float, window_s: float) -> None:
        self.units, self.window_s = units, window_s
        self._spent: deque[tuple[float, float]] = deque()

    def allows(self, cost: float, now: float) -> bool:
        """Whether there is room for it in the last `window_s`; if so, it is spent."""
        while self._spent and self._spent[0][0] <= now - self.window_s:
            self._spent.popleft()
        if sum(cost for _, cost in self._spent) + cost > self.units:
            return False
        self._spent.append((now, cost))
        return True


def error(status: int, **words: object) -> Reply:
    """An error as a JSON object."""
    return Reply(compact(words), status)


def compact(value: object) -> str:
    """JSON without spaces, as exchanges write it."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
