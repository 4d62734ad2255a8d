"""How fast ticks came in the last minutes, for each exchange."""

from collections import deque

from ops.cli.top.sample import Sample

POINTS_MAX = 240  # of each exchange; wider than the sparkline on any screen
RATE_OVER_S = 5.0  # slow feeds are decoded once a second, so two looks at them differ by none or by twice as much
SMOOTHED_OVER = 2  # looks, for the same reason
BARS = "▁▂▃▄▅▆▇"  # no full block, which would touch the row above


class History:
    """The totals of one run of the service, as they were at each look. Another run begins a new history."""

    def __init__(self) -> None:
        self._run_id = ""
        self._points: dict[str, deque[tuple[float, int]]] = {}

    def add(self, sample: Sample) -> None:
        if self._run_id != sample.status["run_id"]:
            self._run_id = sample.status["run_id"]
            self._points.clear()
        exchanges = sample.status["exchanges"]
        self._points = {name: self._points.get(name) or deque(maxlen=POINTS_MAX) for name in exchanges}
        for name, row in exchanges.items():
            ticks = row["received"] - row["duplicates"] - row["rejected"]
            self._points[name].append((sample.monotonic_s, ticks))

    def rate(self, name: str) -> float | None:
        """Ticks a second lately; None before the second look."""
        points = self._points[name]
        at_s, ticks = points[-1]
        first_s, first = next(point for point in points if at_s - point[0] <= RATE_OVER_S)
        if first_s == at_s and len(points) > 1:  # the looks are further apart than that
            first_s, first = points[-2]
        return (ticks - first) / (at_s - first_s) if at_s > first_s else None

    def sparkline(self, name: str, width: int) -> str:
        """A bar for each of the last looks, the newest at the right, the highest as high as a line is."""
        points = list(self._points[name])[-width - SMOOTHED_OVER :]
        rates = [
            max(0.0, (points[i][1] - points[max(0, i - SMOOTHED_OVER)][1]))
            / (points[i][0] - points[max(0, i - SMOOTHED_OVER)][0])
            for i in range(1, len(points))
        ][-width:]
        most = max(rates, default=0.0)
        bars = "".join(BARS[round(rate / most * (len(BARS) - 1))] if most else BARS[0] for rate in rates)
        return bars.rjust(width)
