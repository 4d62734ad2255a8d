"""A histogram for metrics that is cheap to update: counts in fixed buckets."""

from bisect import bisect_left
from collections.abc import Sequence

# Seconds, from a fast exchange nearby to a feed that is useless.
LAG_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
# For work on the disk: a flush takes milliseconds, a merge of a long tail a second, a failing disk minutes.
WORK_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Histogram:
    """Counts observations by upper bound (inclusive, ascending), with one more bucket above the last bound.

    Used by one thread. `total` is the sum of all values. Negative values (two clocks that disagree) count as zero,
    so that `total` never falls.
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        assert list(bounds) == sorted(set(bounds)), "bounds ascend"
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.total = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        """Counts `value` `times` times."""
        value = max(value, 0.0)
        self.counts[bisect_left(self.bounds, value)] += times
        self.total += value * times
