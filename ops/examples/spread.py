"""Watches how far the prices of one market differ between exchanges: python -m ops.examples.spread PATH

PATH is a DuckDB file, or the control socket of a running service: the strategy is the same, and so is what it sees.
"""

from contextlib import aclosing
from dataclasses import dataclass
from decimal import Decimal

from ops.client import Tick
from ops.examples.source import arguments, run, ticks_from

STALE_US = 10_000_000  # a price that is older says nothing about now


@dataclass(frozen=True)
class Spread:
    """At this moment one exchange trades so much higher than another."""

    at_us: int
    symbol: str
    low: str
    high: str
    bps: Decimal


class SpreadWatcher:
    """Reports the widest difference of last prices, when it reaches `bps` and each time that it grows."""

    def __init__(self, bps: Decimal) -> None:
        self._bps = bps
        self._last: dict[str, dict[str, Tick]] = {}
        self._reported: dict[str, Decimal] = {}

    def update(self, tick: Tick) -> Spread | None:
        """The next tick in the order of receipt."""
        if tick.source != "stream":
            return None  # of the past
        last = self._last.setdefault(tick.symbol, {})
        last[tick.exchange] = tick
        fresh = [one for one in last.values() if tick.received_us - one.received_us <= STALE_US]
        low, high = min(fresh, key=lambda one: one.price), max(fresh, key=lambda one: one.price)
        bps = (high.price / low.price - 1) * 10_000
        if bps < self._bps:
            self._reported.pop(tick.symbol, None)
            return None
        if bps <= self._reported.get(tick.symbol, Decimal(0)):
            return None
        self._reported[tick.symbol] = bps
        return Spread(tick.received_us, tick.symbol, low.exchange, high.exchange, bps)


async def main() -> None:
    """See the module."""
    parser = arguments(__doc__)
    parser.add_argument("--bps", type=Decimal, default=Decimal(5), help="report from this difference on (5)")
    parser.add_argument("--most", type=int, help="end after so many reports")
    asked = parser.parse_args()
    watcher, reports = SpreadWatcher(asked.bps), 0
    async with aclosing(aiter(ticks_from(asked.path, asked.symbol or ["BTC/USDT"], asked.speed))) as ticks:
        async for tick in ticks:
            spread = watcher.update(tick)
            if spread is None:
                continue
            at = f"{tick.received_at:%H:%M:%S.%f}"
            print(f"{at}  {spread.symbol}  {spread.bps:6.2f} bps  {spread.low} < {spread.high}", flush=True)
            reports += 1
            if reports == asked.most:
                return


if __name__ == "__main__":
    run(main)
