"""Counts what is durable and not in the lake yet."""

from collections import deque

from msgspec import Struct

ENTRIES_MAX = 1024  # of which each stands for more batches, the longer the lake is behind


class Behind(Struct, frozen=True):
    """How far the lake is behind: batches and ticks of this run, and the age of the oldest batch of any run.

    `seconds` is 0 if nothing is missing.
    """

    batches: int = 0
    ticks: int = 0
    seconds: float = 0.0


class _Entry(Struct):
    through: int
    batches: int
    ticks: int
    at_ns: int


class Backlog:
    """Call `stored` with each durable batch, in order, and `shipped` with each mark."""

    def __init__(self) -> None:
        self._entries: deque[_Entry] = deque()
        self._batches = self._ticks = 0
        self._width = 1  # batches of an entry

    def earlier(self, newest: int, at_ns: int) -> None:
        """There are batches from before this run, the oldest from `at_ns`, as far as known; see Source.newest."""
        through = self._entries[0].through - 1 if self._entries else newest
        self._entries.appendleft(_Entry(through, 0, 0, at_ns))

    def stored(self, number: int, ticks: int, at_ns: int) -> None:
        """A batch is durable since `at_ns`."""
        self._batches += 1
        self._ticks += ticks
        last = self._entries[-1] if self._entries else None
        if last is not None and 0 < last.batches < self._width:
            last.through, last.batches, last.ticks = number, last.batches + 1, last.ticks + ticks
            return
        self._entries.append(_Entry(number, 1, ticks, at_ns))
        if len(self._entries) > ENTRIES_MAX:
            self._join()

    def begins(self, at_ns: int) -> None:
        """The oldest batch that is missing has a row of this time."""
        if self._entries:
            self._entries[0].at_ns = at_ns

    def shipped(self, mark: int) -> None:
        """The lake has all batches through `mark`."""
        while self._entries and self._entries[0].through <= mark:
            entry = self._entries.popleft()
            self._batches -= entry.batches
            self._ticks -= entry.ticks
        if not self._entries:
            self._width = 1

    def behind(self, now_ns: int) -> Behind:
        """What is missing now."""
        if not self._entries:
            return Behind()
        return Behind(self._batches, self._ticks, max(0.0, (now_ns - self._entries[0].at_ns) / 1e9))

    def _join(self) -> None:
        """Joins pairs of neighbours: they count until both are in the lake."""
        entries, self._entries = list(self._entries), deque()
        self._width *= 2
        for first, second in zip(entries[::2], entries[1::2], strict=False):
            self._entries.append(
                _Entry(second.through, first.batches + second.batches, first.ticks + second.ticks, first.at_ns)
            )
        if len(entries) % 2:
            self._entries.append(entries[-1])
