"""The loopback servers of the exchanges, by name, for the sandbox and the tests; production never imports them."""

from actors.exchanges.binance.loopback import BINANCE
from actors.exchanges.bybit.loopback import BYBIT
from actors.exchanges.coinbaseexchange.loopback import COINBASEEXCHANGE
from actors.exchanges.contract.loopback import Venue
from actors.exchanges.kraken.loopback import KRAKEN
from actors.exchanges.okx.loopback import OKX

LOOPBACKS: dict[str, Venue] = {
    "binance": BINANCE,
    "bybit": BYBIT,
    "coinbaseexchange": COINBASEEXCHANGE,
    "kraken": KRAKEN,
    "okx": OKX,
}
