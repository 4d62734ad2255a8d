"""Monitors the rejects of one exchange: raises an alarm if their share is considerable, by market.

Single rejects raise no alarm. While any are recent, valid trades of the same markets are counted too; otherwise
nothing is counted, so that valid trades cost nothing here.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct, field

from actors.model.ticks import Reject

SHARE = 0.1  # the share of all trades; below it the rejects themselves are evidence enough
READS_MIN = 5  # reads of a socket with rejects: one frame with many bad trades counts once
UNNAMED_READS_MIN = 10  # the same if no market is named: it may not be a trade at all
SETTLE_S = 5.0  # from the first reject until the share is evaluated, so that valid trades can arrive
WINDOW_S = 60.0  # how long a few rejects are remembered while valid trades arrive
ALARM_WINDOW_S = 10.0  # an alarm ends when the share in a window is small again
EXCERPT_BYTES = 100
SEARCHED_BYTES = 1024  # the part of a payload searched for the name of its market, which is near the beginning
SEARCHED_MAX = 20  # rejects of one read that are searched; the others count as the last one
_TEXT = re.compile(rb'"((?:[^"\\]|\\.)*+)"')
_SIDE = re.compile(rb'"side"\s*:\s*"[^"\\]*"')  # "A" and "B" may be markets too
_PART = re.compile(rb"[^.:@/\s\x00-\x1f]+")


class Refused(Struct):
    """The rejects of one market, or (`symbol` None) of an unknown one: then `markets` are those they may be of.

    Counts are of the current window; `valid` by market. `alarm` is the message, "" while there is none.
    """

    symbol: str | None
    since: float
    since_ns: int
    first: Reject
    markets: set[str] = field(default_factory=set)
    reads: int = 0
    rejects: int = 0
    valid: Counter[str] = field(default_factory=Counter)
    alarm: str = ""
    fresh: bool = False  # a window with rejects is over (or the first raised an alarm): no gap records it yet
    with_valid: frozenset[str] = frozenset()  # markets with valid trades in that window

    @property
    def considerable(self) -> bool:
        """Whether the share of rejects in the window is large enough for an alarm."""
        return self.rejects > 0 and self.rejects >= SHARE * (self.rejects + self.valid.total())

    def begin(self, now: float) -> None:
        """Begins the next window of an alarm."""
        self.show()
        self.since, self.reads, self.rejects = now, 0, 0
        self.valid.clear()

    def show(self) -> None:
        """Sets what the window so far means for gaps."""
        self.fresh, self.with_valid = self.rejects > 0, frozenset(self.valid)


class Refusals:
    """The rejects of one exchange. `now` is any monotonic clock, in seconds."""

    def __init__(self) -> None:
        self.watched: dict[str | None, Refused] = {}

    def note(self, rejects: Sequence[Reject], valid: Iterable[str], markets: Mapping[str, str], now: float) -> None:
        """Adds the rejects of one read of a connection that carries `markets` (unified symbols by native name)."""
        counts = Counter(valid) if self.watched else Counter[str]()
        for symbol, one in self.watched.items():
            if symbol is None:
                one.valid.update(counts)
            elif symbol in counts:
                one.valid[symbol] += counts[symbol]
        found: dict[str | None, list[Reject]] = {}
        subjects: Sequence[str | None] = (None,)
        for at, reject in enumerate(rejects):
            if at < SEARCHED_MAX:
                subjects = [reject.symbol] if reject.symbol else _named(reject.payload, markets) or (None,)
            for symbol in subjects:
                found.setdefault(symbol, []).append(reject)
        for symbol, here in found.items():
            refused = self.watched.get(symbol)
            if refused is None:
                refused = self.watched[symbol] = Refused(symbol, now, here[0].received_ns, here[0])
            refused.markets.update(markets.values() if symbol is None else (symbol,))
            if not refused.rejects:
                refused.since_ns, refused.first = here[0].received_ns, here[0]
            refused.reads += 1
            refused.rejects += len(here)

    def tick(self, now: float) -> tuple[list[Refused], list[Refused]]:
        """Evaluates the windows, about once a second. Returns new alarms, and alarms that have ended."""
        begun, ended = [], []
        for symbol, one in list(self.watched.items()):
            age_s = now - one.since
            if one.alarm:
                if age_s < ALARM_WINDOW_S:
                    continue
                if one.considerable or not one.valid:  # it lasts until valid trades arrive
                    one.begin(now)
                else:
                    ended.append(self.watched.pop(symbol))
            elif age_s >= SETTLE_S and one.considerable and one.reads >= _reads_min(symbol):
                one.alarm = _alarm(one)
                one.show()
                begun.append(one)
            elif age_s >= WINDOW_S and one.valid:
                del self.watched[symbol]
        return begun, ended

    def forget(self, markets: Iterable[str]) -> None:
        """Drops markets that are no longer recorded."""
        for symbol in markets:
            self.watched.pop(symbol, None)

    @property
    def alarms(self) -> list[Refused]:
        """The current alarms."""
        return [one for one in self.watched.values() if one.alarm]


def _reads_min(symbol: str | None) -> int:
    return UNNAMED_READS_MIN if symbol is None else READS_MIN


def _named(payload: bytes, markets: Mapping[str, str]) -> list[str]:
    """The markets whose names appear in a message as strings of their own, in any field but that of the side; else
    those in a part of a string, such as a channel's name, or of what is no JSON.
    """
    begin = _SIDE.sub(b"", payload.lstrip()[:SEARCHED_BYTES].replace(b"\\/", b"/"))
    texts = _TEXT.findall(begin) if begin[:1] in (b"{", b"[") else [begin]
    for names in (texts, [part for text in texts for part in _PART.findall(text)]):
        found = (markets.get(name.decode("utf-8", "replace")) for name in names)
        if named := list(dict.fromkeys(symbol for symbol in found if symbol is not None)):
            return named
    return []


def _alarm(one: Refused) -> str:
    payload = one.first.payload[:EXCERPT_BYTES].decode("utf-8", "replace")
    example = "".join(char if char.isprintable() else "?" for char in payload)
    of = one.rejects + one.valid.total()
    return (
        f"{one.symbol or 'messages of no known market'}: {one.rejects:,} of {of:,} rejected"
        f" ({one.first.reason}: {one.first.detail}), for example {example}"
    )
