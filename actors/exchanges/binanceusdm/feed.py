"""Binance USD-M futures: aggregated trades (`aggTrade`) or individual ones (`trade`), each at its own endpoint.

The frames are those of spot, with one member more; see actors.exchanges.binance.feed.
"""

from actors.exchanges.contract.feed import Market
from actors.exchanges.contract.feed_helpers import require_upper
from actors.model.symbols import Symbol, SymbolError

# https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams and its change
# notice of 2026, read 2026-11-26 via stored copies. Without /market, the old host still connects and
# acknowledges, and sends no trade. `trade` is not documented, but was sent in 2026 too (/public).
CHANNELS = ("aggTrade", "trade")
ENDPOINTS = {
    "aggTrade": "wss://fstream.binance.com/market/stream",
    "trade": "wss://fstream.binance.com/public/stream",
}


def market(symbol: Symbol, channel: str = "") -> Market:
    """BTC/USDT:USDT is BTCUSDT, BTC/USDT:USDT-260925 is BTCUSDT_260925; all are settled in their quote currency."""
    base, quote = symbol.base, "USDT" if symbol.quote == "USD" else symbol.quote
    expiry = symbol.expiry if symbol.kind == "future" else ""
    right = Symbol(base, quote, quote, expiry)
    if symbol != right:
        problem = f"{symbol}: binanceusdm has futures that are settled in their quote currency (USDT, USDC)"
        raise SymbolError(problem, str(right).upper())
    require_upper(symbol, "binanceusdm")
    native = base + quote + (f"_{expiry}" if expiry else "")
    return Market(str(symbol), native, ENDPOINTS[channel or CHANNELS[0]])
