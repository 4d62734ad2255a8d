"""The loopback exchanges by name."""

from actors.exchanges.binance.loopback import BINANCE
from actors.exchanges.bybit.loopback import BYBIT
from actors.exchanges.coinbaseexchange.loopback import COINBASEEXCHANGE
from actors.exchanges.contract.loopback import Venue
from actors.exchanges.kraken.loopback import KRAKEN
from actors.exchanges.okx.loopback import OKX

VENUES: dict[str, Venue] = {
    "binance": BINANCE,
    "coinbaseexchange": COINBASEEXCHANGE,
    "kraken": KRAKEN,
    "okx": OKX,
    "bybit": BYBIT,
}
