"""Counts twins: trades with the same id (if ids count), time and content, distinguished only by their order.

A connection that receives a trade receives each of its twins once. So the n-th twin of one session is the n-th twin
of every other session, of the history and of the file, whichever delivered it first.
"""

from collections import Counter
from collections.abc import Container, Iterable

from actors.continuity.row import Row
from actors.model.ticks import IdPromise

COMPOSITE = (IdPromise.REPEATED, IdPromise.NONE)  # their ids do not identify a trade
TOGETHER_NS = 2_000_000_000  # twins have the same time, and arrive within this time of it
COUNTS_MIN, COUNTS_MAX = 100, 20_000  # per session: beyond this number older ones are dropped
SESSIONS_MAX = 8  # per market: three connections, their replacements, and those just ended

Side = str | None


def twin_of(trade_id: str | None, time_ns: int | None, price: str, volume: str, side: Side) -> int:
    """A hash that is equal for twins, also for those read from the file: microseconds, and more zeros."""
    time_us = None if time_ns is None else time_ns // 1000
    return hash((trade_id, time_us, _plain(price), _plain(volume), side))


def id_of_twins(trade_id: str | None, promise: IdPromise) -> str | None:
    """The id as a part of what twins share. Where nothing is promised of ids it is no part, although some rows have
    one: the stream may send it and the history not.
    """
    return None if promise is IdPromise.NONE else trade_id


def nth_key(twin: int, nth: int) -> int:
    """A hash for the n-th of several twins."""
    return hash((twin, nth))


def file_ns(time_ns: int | None) -> int | None:
    """A time with the file's resolution."""
    return None if time_ns is None else time_ns // 1000 * 1000


class _Session:
    """The counts of one session: for each twin how many arrived, and its time."""

    __slots__ = ("_counts", "_full")

    def __init__(self) -> None:
        self._counts: dict[int, tuple[int, int]] = {}
        self._full = COUNTS_MIN

    def count(self, twin: int) -> int:
        return self._counts.get(twin, (0, 0))[0]

    def set(self, twin: int, nth: int, at_ns: int) -> None:
        self._counts[twin] = nth, at_ns
        if len(self._counts) >= self._full:
            self._forget(at_ns - TOGETHER_NS)

    def _forget(self, before_ns: int) -> None:
        """Drops older twins, and in a flood within TOGETHER_NS the older half."""
        self._counts = {twin: one for twin, one in self._counts.items() if one[1] >= before_ns}
        if len(self._counts) >= COUNTS_MAX:
            self._counts = dict(list(self._counts.items())[COUNTS_MAX // 2 :])
        self._full = max(COUNTS_MIN, 2 * len(self._counts))


class Twins:
    """The counts of one market, by session. Session 0 is for rows that no connection has read."""

    def __init__(self) -> None:
        self._sessions: dict[int, _Session] = {}
        self._read = -1
        self._in_read: Counter[int] = Counter()

    def live(self, row: Row, twin: int) -> int:
        """Counts a live trade; returns how many of its twins its session has delivered, replayed or not."""
        session = self._of(row.session)
        nth = session.count(twin) + 1
        session.set(twin, nth, row.at_ns)
        return nth

    def next_live(self, row: Row, twin: int) -> int:
        """The result that `live` would have."""
        session = self._sessions.get(row.session)
        return 1 if session is None else session.count(twin) + 1

    def again(self, row: Row, twin: int) -> int:
        """Counts a replayed trade, within the answer that it is part of."""
        if row.read != self._read:
            self._read = row.read
            self._in_read.clear()
        self._in_read[twin] += 1
        nth = self._in_read[twin]
        session = self._of(row.session)
        if nth > session.count(twin):
            session.set(twin, nth, row.at_ns)
        return nth

    def _of(self, number: int) -> _Session:
        session = self._sessions.pop(number, None)
        if session is None:
            session = _Session()
            while len(self._sessions) >= SESSIONS_MAX:
                del self._sessions[next(iter(self._sessions))]
        self._sessions[number] = session  # the session used last comes last
        return session


class StoredTwins:
    """How many of each twin the file has.

    `remembered` are keys (see nth_key) of twins that were admitted before all that had been admitted became
    durable: those of them that the file lacks have been deleted from it, and are stored again.
    """

    def __init__(self, twins: Iterable[int], remembered: Container[int] = ()) -> None:
        self._counts, self.remembered = Counter(twins), remembered

    def __contains__(self, trade_id: object) -> bool:
        return False  # ids do not identify trades here

    def count(self, twin: int) -> int:
        """The number of this twin in the file."""
        return self._counts[twin]


def _plain(digits: str) -> str:
    return digits.rstrip("0").rstrip(".") if "." in digits else digits
