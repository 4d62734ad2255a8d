"""The dialects that are spoken, by name."""

from actors.exchanges.binance.feed import BINANCE
from actors.exchanges.bybit.feed import BYBIT
from actors.exchanges.coinbaseexchange.feed import COINBASEEXCHANGE
from actors.exchanges.contract.feed import Dialect
from actors.exchanges.kraken.feed import KRAKEN
from actors.exchanges.okx.feed import OKX

DIALECTS: dict[str, Dialect] = {
    "binance": BINANCE,
    "bybit": BYBIT,
    "coinbaseexchange": COINBASEEXCHANGE,
    "kraken": KRAKEN,
    "okx": OKX,
}
