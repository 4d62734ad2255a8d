"""The loopback exchanges by name."""

from ops.sandbox.venue import Venue
from ops.sandbox.venues.binance import BINANCE
from ops.sandbox.venues.bybit import BYBIT
from ops.sandbox.venues.coinbaseexchange import COINBASEEXCHANGE
from ops.sandbox.venues.kraken import KRAKEN
from ops.sandbox.venues.okx import OKX

VENUES: dict[str, Venue] = {
    "binance": BINANCE,
    "coinbaseexchange": COINBASEEXCHANGE,
    "kraken": KRAKEN,
    "okx": OKX,
    "bybit": BYBIT,
}
