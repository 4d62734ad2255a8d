"""The REST sides of the loopback exchanges by name."""

from ops.sandbox.history.binance import BINANCE_PAST
from ops.sandbox.history.bybit import BYBIT_PAST
from ops.sandbox.history.coinbaseexchange import COINBASEEXCHANGE_PAST
from ops.sandbox.history.kraken import KRAKEN_PAST
from ops.sandbox.history.okx import OKX_PAST
from ops.sandbox.past import Past

PASTS: dict[str, Past] = {
    "binance": BINANCE_PAST,
    "bybit": BYBIT_PAST,
    "coinbaseexchange": COINBASEEXCHANGE_PAST,
    "kraken": KRAKEN_PAST,
    "okx": OKX_PAST,
}
