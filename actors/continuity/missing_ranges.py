"""Ids that were passed over: intervals in order, from which what comes late is taken out again."""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, replace


@dataclass(slots=True)
class MissingRange:
    """Ids `first` to `last` are missing. `born` is when that was seen, on the clock of the caller.

    `gap_id` is the gap that says so, None as long as none does; `quiet` holes never become a gap: they lie
    where nothing was promised. `to_id` is the row that stands right after, `from_ns` and `to_ns` the times of
    the rows around it.
    """

    first: int
    last: int
    born: float
    opened_ns: int
    from_ns: int | None
    to_id: str
    to_ns: int | None
    gap_id: str | None = None
    quiet: bool = False

    @property
    def count(self) -> int:
        """How many ids it has."""
        return self.last - self.first + 1


def _first(hole: MissingRange) -> int:
    return hole.first


class MissingRanges:
    """Disjoint holes of one market, lowest first."""

    __slots__ = ("_holes",)

    def __init__(self) -> None:
        self._holes: list[MissingRange] = []

    def __len__(self) -> int:
        return len(self._holes)

    def __iter__(self) -> Iterator[MissingRange]:
        return iter(self._holes)

    def __contains__(self, number: int) -> bool:
        return self.find(number) is not None

    def find(self, number: int) -> MissingRange | None:
        """The hole that an id lies in."""
        at = bisect_right(self._holes, number, key=_first) - 1
        return self._holes[at] if at >= 0 and number <= self._holes[at].last else None

    def add(self, hole: MissingRange) -> None:
        """Adds a hole that overlaps none."""
        self._holes.insert(bisect_right(self._holes, hole.first, key=_first), hole)

    def remove(self, hole: MissingRange) -> None:
        """Forgets it."""
        self._holes.remove(hole)

    def take(self, first: int, last: int, row_id: str, time_ns: int | None) -> list[tuple[MissingRange, int]]:
        """Takes the ids of one row out; gives what they lay in, with how many each lost.

        A hole that is cut in two keeps its lower part; the upper part is a new one with the same gap.
        """
        taken = []
        at = max(0, bisect_right(self._holes, first, key=_first) - 1)
        while at < len(self._holes) and self._holes[at].first <= last:
            hole = self._holes[at]
            low, high = max(first, hole.first), min(last, hole.last)
            if low > high:
                at += 1
                continue
            taken.append((hole, high - low + 1))
            rest = replace(hole, first=high + 1, from_ns=time_ns)
            if low > hole.first:
                hole.last, hole.to_id, hole.to_ns = low - 1, row_id, time_ns
                at += 1
            else:
                del self._holes[at]
            if rest.first <= rest.last:
                self._holes.insert(at, rest)
                at += 1
        return taken
