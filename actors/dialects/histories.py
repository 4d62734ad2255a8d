"""The histories that can be asked for, by dialect name."""

from actors.dialects.binance_history import BINANCE_HISTORY
from actors.dialects.bybit_history import BYBIT_HISTORY
from actors.dialects.coinbaseexchange_history import COINBASEEXCHANGE_HISTORY
from actors.dialects.kraken_history import KRAKEN_HISTORY
from actors.dialects.okx_history import OKX_HISTORY
from actors.history import History

HISTORIES: dict[str, History] = {
    "binance": BINANCE_HISTORY,
    "bybit": BYBIT_HISTORY,
    "coinbaseexchange": COINBASEEXCHANGE_HISTORY,
    "kraken": KRAKEN_HISTORY,
    "okx": OKX_HISTORY,
}
