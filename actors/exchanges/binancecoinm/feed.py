"""Binance COIN-M futures: aggregated trades (`aggTrade`) or individual ones (`trade`), counted in contracts.

The frames are those of spot, with one member more; see actors.exchanges.binance.feed.
"""

from actors.exchanges.contract.feed import Market
from actors.exchanges.contract.feed_helpers import require_upper
from actors.model.symbols import Symbol, SymbolError

# https://developers.binance.com/docs/derivatives/coin-margined-futures/websocket-market-streams, read 2026-11-26
# via stored copy; `trade` is not documented, but was recorded in 2024. Not split in paths as USD-M is (2026-08).
ENDPOINT = "wss://dstream.binance.com/stream"
CHANNELS = ("aggTrade", "trade")


def market(symbol: Symbol, _channel: str = "") -> Market:
    """BTC/USD:BTC is BTCUSD_PERP, BTC/USD:BTC-260925 is BTCUSD_260925; a contract is 100 or 10 dollars."""
    expiry = symbol.expiry if symbol.kind == "future" else ""
    right = Symbol(symbol.base, "USD", symbol.base, expiry)
    if symbol != right:
        if str(right).upper() == str(symbol).upper():  # it was typed in small letters
            require_upper(symbol, "binancecoinm")
        problem = f"{symbol}: binancecoinm has futures against USD that are settled in the base coin"
        raise SymbolError(problem, str(right).upper())
    require_upper(symbol, "binancecoinm")
    return Market(str(symbol), f"{symbol.base}USD_{expiry or 'PERP'}", ENDPOINT, "contracts")
