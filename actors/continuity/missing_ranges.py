"""The missing ids of one market, as ordered disjoint ranges; ids that arrive late are removed again."""

from bisect import bisect_right
from collections.abc import Iterator

from msgspec import Struct
from msgspec.structs import replace


class MissingRange(Struct):
    """Ids `first` to `last` are missing. `born` is when that was detected, on the caller's clock.

    `gap_id` is the gap that reports it, None if none does yet; `quiet` ranges never become a gap, because nothing
    was promised there. `to_id` is the id of the row directly after it, `from_ns` and `to_ns` the times of the rows
    around it.
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
        """The number of its ids."""
        return self.last - self.first + 1


def _first(missing_range: MissingRange) -> int:
    return missing_range.first


class MissingRanges:
    """Disjoint missing ranges of one market, lowest first."""

    __slots__ = ("_missing_ranges",)

    def __init__(self) -> None:
        self._missing_ranges: list[MissingRange] = []

    def __len__(self) -> int:
        return len(self._missing_ranges)

    def __iter__(self) -> Iterator[MissingRange]:
        return iter(self._missing_ranges)

    def __contains__(self, number: int) -> bool:
        return self.find(number) is not None

    def find(self, number: int) -> MissingRange | None:
        """The missing range that contains an id."""
        at = bisect_right(self._missing_ranges, number, key=_first) - 1
        return self._missing_ranges[at] if at >= 0 and number <= self._missing_ranges[at].last else None

    def add(self, missing_range: MissingRange) -> None:
        """Adds a missing range that overlaps none."""
        self._missing_ranges.insert(
            bisect_right(self._missing_ranges, missing_range.first, key=_first), missing_range
        )

    def remove(self, missing_range: MissingRange) -> None:
        """Removes a range."""
        self._missing_ranges.remove(missing_range)

    def take(self, first: int, last: int, row_id: str, time_ns: int | None) -> list[tuple[MissingRange, int]]:
        """Removes the ids of one row; returns the ranges they were in, with how many ids each lost.

        A range that is split keeps its lower part; the upper part is a new range of the same gap.
        """
        taken = []
        at = max(0, bisect_right(self._missing_ranges, first, key=_first) - 1)
        while at < len(self._missing_ranges) and self._missing_ranges[at].first <= last:
            missing_range = self._missing_ranges[at]
            low, high = max(first, missing_range.first), min(last, missing_range.last)
            if low > high:
                at += 1
                continue
            taken.append((missing_range, high - low + 1))
            rest = replace(missing_range, first=high + 1, from_ns=time_ns)
            if low > missing_range.first:
                missing_range.last, missing_range.to_id, missing_range.to_ns = low - 1, row_id, time_ns
                at += 1
            else:
                del self._missing_ranges[at]
            if rest.first <= rest.last:
                self._missing_ranges.insert(at, rest)
                at += 1
        return taken
