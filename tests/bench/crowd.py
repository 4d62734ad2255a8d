"""Made-up markets of the loopback exchanges, as many as a benchmark wants."""

from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from actors.exchanges.registry import EXCHANGES
from actors.model.symbols import Symbol, SymbolError, parse_symbol
from ops.sandbox.instruments import Listing


def crowd(name: str, rows: Sequence[Listing], count: int) -> Iterator[Listing]:
    """Made-up markets, each like one of these but for its base."""
    dialect = EXCHANGES[name].feed
    templates = [(row, symbol) for row in rows if (symbol := parse_symbol(row.symbol)).settle in ("", symbol.quote)]
    templates = [one for one in templates if one[1].kind in ("spot", "swap")]
    for number in range(count if templates else 0):
        row, symbol = templates[number % len(templates)]
        made: Symbol = replace(symbol, base=f"QA{number:04d}")
        try:
            yield Listing(str(made), dialect.market(made).native, row.category, row.seed)
        except SymbolError:  # its naming rule knows its coins
            return
