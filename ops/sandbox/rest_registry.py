"""The REST sides of the loopback exchanges by name."""

from actors.exchanges.binance.loopback_rest import BINANCE_PAST
from actors.exchanges.bybit.loopback_rest import BYBIT_PAST
from actors.exchanges.coinbaseexchange.loopback_rest import COINBASEEXCHANGE_PAST
from actors.exchanges.contract.loopback_rest import Past
from actors.exchanges.kraken.loopback_rest import KRAKEN_PAST
from actors.exchanges.okx.loopback_rest import OKX_PAST

PASTS: dict[str, Past] = {
    "binance": BINANCE_PAST,
    "bybit": BYBIT_PAST,
    "coinbaseexchange": COINBASEEXCHANGE_PAST,
    "kraken": KRAKEN_PAST,
    "okx": OKX_PAST,
}
