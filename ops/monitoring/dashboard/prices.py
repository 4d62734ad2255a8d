"""The last price of each market, taken from what reaches the buffer while somebody looks at the dashboard."""

from collections import Counter
from collections.abc import Sequence

from actors.model.ticks import Block

MARKETS_MAX = 300  # markets shown; those that most exchanges have come first
# Of a packed block, which only a flood makes, the last rows are looked at: each takes 0.5 us, and 450,000 come
# in a second. The price of a market with few of them may then be that of an older trade.
FLOOD_ROWS = 128
_OLD = "backfill"  # the source of trades fetched later, which are not the market's last

Row = tuple[str, str, str | None, int | None]


class Prices:
    """Watches the buffer, see Watcher. It waits for nothing; `refresh` has rows collected that are due later."""

    def __init__(self) -> None:
        self.waiting = False
        self._last: dict[tuple[str, str], tuple[str, int]] = {}
        self._markets: list[tuple[str, str]] = []
        self._ordered: list[tuple[str, str]] = []

    def show(self, blocks: Sequence[Block]) -> None:
        """Notes the newest trade of each market."""
        self.waiting = False
        for block in blocks:
            if block.arrays is None:
                symbols, sources, prices, times = block.symbol, block.source, block.price, block.received_ns
            else:  # to read a column as a list would unpack them all
                first = max(0, len(block) - FLOOD_ROWS)
                symbols, sources, prices, times = (
                    block.arrays[name].slice(first).to_pylist()
                    for name in ("symbol", "source", "price", "received_ns")
                )
            for symbol, at in {symbol: at for at, symbol in enumerate(symbols)}.items():
                if sources[at] != _OLD:
                    self._last[block.exchange, symbol] = prices[at], times[at]

    def end(self) -> None:
        """The next trade shows the price again."""

    def rows(self, markets: list[tuple[str, str]]) -> tuple[list[Row], int]:
        """Exchange, symbol, price and time (ms UTC) of these markets, and how many were left out.

        Markets of one symbol are together; what is not among `markets` any more is forgotten.
        """
        if markets != self._markets:
            self._markets = markets
            exchanges = Counter(symbol for _, symbol in markets)
            self._ordered = sorted(markets, key=lambda market: (-exchanges[market[1]], market[1]))
            self._last = {market: self._last[market] for market in markets if market in self._last}
        rows: list[Row] = []
        for market in self._ordered[:MARKETS_MAX]:
            price, at_ns = self._last.get(market, (None, None))
            rows.append((*market, price, None if at_ns is None else at_ns // 1_000_000))
        return rows, len(markets) - len(rows)
