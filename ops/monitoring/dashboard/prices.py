"""The last price of each market, taken from what reaches the buffer while somebody looks at the dashboard."""

from collections import Counter
from collections.abc import Sequence

from actors.model.ticks import Block

MARKETS_MAX = 300  # markets shown; those that most exchanges have come first
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
            packed = block.arrays  # to read a column of a packed block would unpack all of them
            symbols = block.symbol if packed is None else packed["symbol"].to_pylist()
            for symbol, at in {symbol: at for at, symbol in enumerate(symbols)}.items():
                if packed is None:
                    source, price, at_ns = block.source[at], block.price[at], block.received_ns[at]
                else:
                    source = packed["source"][at].as_py()
                    price, at_ns = packed["price"][at].as_py(), packed["received_ns"][at].as_py()
                if source != _OLD:
                    self._last[block.exchange, symbol] = price, at_ns

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
