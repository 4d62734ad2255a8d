"""Makes one-second bars of each market: python -m ops.examples.bars PATH

PATH is a DuckDB file, or the control socket of a running service. A bar is printed, as CSV, when the first tick
after its second arrives; seconds are those of the receipt.
"""

import csv
import sys
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import dataclass
from decimal import Decimal

from ops.client import Tick
from ops.examples.source import arguments, run, ticks_from

SECOND_US = 1_000_000


@dataclass
class Bar:
    """The trades of one market in one second; times in microseconds UTC."""

    exchange: str
    symbol: str
    begin_us: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    trades: int = 1

    def add(self, tick: Tick) -> None:
        """One more trade."""
        self.high, self.low = max(self.high, tick.price), min(self.low, tick.price)
        self.close = tick.price
        self.volume += tick.volume
        self.trades += 1


class Bars:
    """Feed it ticks in the order of receipt."""

    def __init__(self, width_us: int = SECOND_US) -> None:
        self._width_us = width_us
        self._begin_us = 0
        self._bars: dict[tuple[str, str], Bar] = {}

    def update(self, tick: Tick) -> Iterator[Bar]:
        """The next tick; returns the bars that it completes. One that comes late counts in the bar of now."""
        begin_us = tick.received_us - tick.received_us % self._width_us
        if begin_us > self._begin_us:
            yield from self.finish()
            self._begin_us = begin_us
        key = tick.exchange, tick.symbol
        bar = self._bars.get(key)
        if bar is None:
            price = tick.price
            self._bars[key] = Bar(*key, self._begin_us, price, price, price, price, tick.volume)
        else:
            bar.add(tick)

    def finish(self) -> list[Bar]:
        """The bars of the last second."""
        done = list(self._bars.values())
        self._bars.clear()
        return done


async def main() -> None:
    """See the module."""
    parser = arguments(__doc__)
    parser.add_argument("--most", type=int, help="end after so many bars")
    asked = parser.parse_args()
    writer = csv.writer(sys.stdout)
    names = ("exchange", "symbol", "begin_us", "open", "high", "low", "close", "volume", "trades")
    writer.writerow(names)
    bars, written = Bars(), 0
    async with aclosing(aiter(ticks_from(asked.path, asked.symbol, asked.speed))) as ticks:
        async for tick in ticks:
            for bar in bars.update(tick):
                writer.writerow([getattr(bar, name) for name in names])
                written += 1
                if written == asked.most:
                    return
    writer.writerows([getattr(bar, name) for name in names] for bar in bars.finish())


if __name__ == "__main__":
    run(main)
