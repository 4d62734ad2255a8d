"""The histories that can be asked for, by dialect name."""

from actors.exchanges.binance.history import BINANCE_HISTORY
from actors.exchanges.bybit.history import BYBIT_HISTORY
from actors.exchanges.coinbaseexchange.history import COINBASEEXCHANGE_HISTORY
from actors.exchanges.contract.history import History
from actors.exchanges.kraken.history import KRAKEN_HISTORY
from actors.exchanges.okx.history import OKX_HISTORY

HISTORIES: dict[str, History] = {
    "binance": BINANCE_HISTORY,
    "bybit": BYBIT_HISTORY,
    "coinbaseexchange": COINBASEEXCHANGE_HISTORY,
    "kraken": KRAKEN_HISTORY,
    "okx": OKX_HISTORY,
}
