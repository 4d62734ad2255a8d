"""The dialects that are spoken, by name."""

from actors.dialect import Dialect
from actors.dialects.binance import BINANCE
from actors.dialects.bybit import BYBIT
from actors.dialects.coinbaseexchange import COINBASEEXCHANGE
from actors.dialects.kraken import KRAKEN
from actors.dialects.okx import OKX

DIALECTS: dict[str, Dialect] = {
    "binance": BINANCE,
    "bybit": BYBIT,
    "coinbaseexchange": COINBASEEXCHANGE,
    "kraken": KRAKEN,
    "okx": OKX,
}
