"""The exchanges that can be recorded, by name: one line for each, and nothing of the loopbacks."""

from actors.exchanges.binance import BINANCE
from actors.exchanges.bybit import BYBIT
from actors.exchanges.coinbaseexchange import COINBASEEXCHANGE
from actors.exchanges.contract.exchange import Exchange
from actors.exchanges.kraken import KRAKEN
from actors.exchanges.okx import OKX

EXCHANGES: dict[str, Exchange] = {
    "binance": BINANCE,
    "bybit": BYBIT,
    "coinbaseexchange": COINBASEEXCHANGE,
    "kraken": KRAKEN,
    "okx": OKX,
}
