"""A bounded memory of the newest trades of one market: packed keys, in slices of the exchange's time.

A trade has the same time on every connection and however late it arrives, so a copy is searched in the one slice
that contains its time. Only the youngest slice is a hash table, quick to add to; the others are sorted arrays of 8
bytes per key. Memory use follows the rate of the market.
"""

from array import array
from bisect import bisect_left, bisect_right

YOUNG_MAX = 128  # keys in the table, about 100 bytes each; older ones are packed
KEYS_MIN = 1_024  # kept at any age: more than a replay or one answer of a history
KEYS_MAX = 262_144  # per market, 2 MiB; at 1,000 trades a second over four minutes
HORIZON_NS = 300 * 10**9  # older ones are dropped: feeds are late by seconds, replays go back minutes
_BEFORE_ALL = -(1 << 63)


class RecentIds:
    """Remembers the trades of the last HORIZON_NS, at least `keys_min` and at most `keys_max` of them.

    Keys are 64-bit hashes of ids: the probability that a new one equals one in the same slice is about 1 in 10^16
    per trade. Times are the exchange's, nanoseconds UTC; None if there is none. `start_ns` is the start of the
    youngest slice; trades before `reach_ns` may have been forgotten.
    """

    __slots__ = ("_kept", "_keys_max", "_keys_min", "_slices", "_starts", "reach_ns", "start_ns", "young")

    def __init__(self, keys_min: int = KEYS_MIN, keys_max: int = KEYS_MAX) -> None:
        self._keys_min, self._keys_max = keys_min, keys_max
        self.young: dict[int, int] = {}  # times by key; read and written by UnsequencedTracker.quick too
        self.start_ns = _BEFORE_ALL
        self.reach_ns: int | None = None
        self._starts: list[int] = []  # the closed slices, oldest first; each ends where the next begins
        self._slices: list[array[int]] = []
        self._kept = 0  # the number of keys in them

    def holds(self, key: int, time_ns: int | None, slack_ns: int = 0) -> bool:
        """Whether this trade is remembered, with a time that differs by `slack_ns` or less."""
        if key in self.young:
            return True
        if time_ns is None:
            return any(_holds(keys, key) for keys in self._slices)
        if time_ns - slack_ns >= self.start_ns:
            return False
        first = max(0, bisect_right(self._starts, time_ns - slack_ns) - 1)
        end = bisect_right(self._starts, time_ns + slack_ns)
        return any(_holds(keys, key) for keys in self._slices[first:end])

    def beyond(self, time_ns: int | None) -> bool:
        """Whether a trade of that time may have been forgotten."""
        return self.reach_ns is not None and time_ns is not None and time_ns < self.reach_ns

    def add(self, key: int, time_ns: int | None) -> None:
        """Adds a trade that it does not hold."""
        if time_ns is None or time_ns >= self.start_ns:
            self.young[key] = self.start_ns if time_ns is None else time_ns
            if len(self.young) >= YOUNG_MAX:
                self.turn()
            return
        at = max(0, bisect_right(self._starts, time_ns) - 1)
        keys = self._slices[at]
        keys.insert(bisect_left(keys, key), key)
        self._kept += 1

    def turn(self) -> None:
        """Packs the older part of the youngest slice, and drops trades that are too old or too many.

        A few trades with times far in the future do not move the start of the youngest slice: it is set at the
        third quartile of the times.
        """
        times = sorted(self.young.values())
        end_ns = times[len(times) * 3 // 4]
        if end_ns <= times[0]:
            end_ns = times[0] + 1
        closed = array("q", sorted(key for key, time_ns in self.young.items() if time_ns < end_ns))
        self.young = {key: time_ns for key, time_ns in self.young.items() if time_ns >= end_ns}
        self._starts.append(self.start_ns)
        self._slices.append(closed)
        self._kept += len(closed)
        self.start_ns = end_ns
        self._forget()

    def _forget(self) -> None:
        old = 0
        while old + 1 < len(self._slices):
            rest = self._kept - len(self._slices[old])
            aged = self._starts[old + 1] < self.start_ns - HORIZON_NS and rest >= self._keys_min
            if not (aged or self._kept > self._keys_max):
                break
            self._kept, old = rest, old + 1
        if old:
            del self._starts[:old], self._slices[:old]
            self.reach_ns = self._starts[0]

    def put_before(self, older: "RecentIds", until_ns: int) -> None:
        """Takes over another memory's trades before `until_ns`, where this one begins."""
        if older.young:
            older._close(until_ns)
        first = len(self._starts) and self._starts[0] == _BEFORE_ALL
        if first:
            self._starts[0] = until_ns
        elif self.start_ns == _BEFORE_ALL:
            self.start_ns = until_ns
        else:
            return  # its trades would be dropped here anyway
        self._starts[:0], self._slices[:0] = older._starts, older._slices
        self._kept += older._kept
        self.reach_ns = older.reach_ns
        self._forget()

    def _close(self, end_ns: int) -> None:
        self._starts.append(self.start_ns)
        self._slices.append(array("q", sorted(self.young)))
        self._kept += len(self.young)
        self.young, self.start_ns = {}, max(end_ns, self.start_ns)

    def __len__(self) -> int:
        return len(self.young) + self._kept


def _holds(keys: "array[int]", key: int) -> bool:
    at = bisect_left(keys, key)
    return at < len(keys) and keys[at] == key


assert YOUNG_MAX < KEYS_MIN < KEYS_MAX
