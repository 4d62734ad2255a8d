"""The registry of loopback servers by exchange name, for the sandbox and the tests; production never imports it."""

from actors.exchanges.binance.loopback import BINANCE
from actors.exchanges.binancecoinm.loopback import BINANCECOINM
from actors.exchanges.binanceusdm.loopback import BINANCEUSDM
from actors.exchanges.bingx.loopback import BINGX
from actors.exchanges.bitfinex.loopback import BITFINEX
from actors.exchanges.bitflyer.loopback import BITFLYER
from actors.exchanges.bitget.loopback import BITGET
from actors.exchanges.bithumb.loopback import BITHUMB
from actors.exchanges.bitmex.loopback import BITMEX
from actors.exchanges.bitstamp.loopback import BITSTAMP
from actors.exchanges.bybit.loopback import BYBIT
from actors.exchanges.coinbase.loopback import COINBASE
from actors.exchanges.coinbaseexchange.loopback import COINBASEEXCHANGE
from actors.exchanges.contract.loopback import Venue
from actors.exchanges.cryptocom.loopback import CRYPTOCOM
from actors.exchanges.deribit.loopback import DERIBIT
from actors.exchanges.dydx.loopback import DYDX
from actors.exchanges.gate.loopback import GATE
from actors.exchanges.gemini.loopback import GEMINI
from actors.exchanges.htx.loopback import HTX
from actors.exchanges.hyperliquid.loopback import HYPERLIQUID
from actors.exchanges.kraken.loopback import KRAKEN
from actors.exchanges.krakenfutures.loopback import KRAKENFUTURES
from actors.exchanges.kucoin.loopback import KUCOIN
from actors.exchanges.mexc.loopback import MEXC
from actors.exchanges.okx.loopback import OKX
from actors.exchanges.phemex.loopback import PHEMEX
from actors.exchanges.poloniex.loopback import POLONIEX
from actors.exchanges.upbit.loopback import UPBIT
from actors.exchanges.whitebit.loopback import WHITEBIT

LOOPBACKS: dict[str, Venue] = {
    "binance": BINANCE,
    "binancecoinm": BINANCECOINM,
    "binanceusdm": BINANCEUSDM,
    "bingx": BINGX,
    "bitfinex": BITFINEX,
    "bitflyer": BITFLYER,
    "bitget": BITGET,
    "bithumb": BITHUMB,
    "bitmex": BITMEX,
    "bitstamp": BITSTAMP,
    "bybit": BYBIT,
    "coinbase": COINBASE,
    "coinbaseexchange": COINBASEEXCHANGE,
    "cryptocom": CRYPTOCOM,
    "deribit": DERIBIT,
    "dydx": DYDX,
    "gate": GATE,
    "gemini": GEMINI,
    "htx": HTX,
    "hyperliquid": HYPERLIQUID,
    "kraken": KRAKEN,
    "krakenfutures": KRAKENFUTURES,
    "kucoin": KUCOIN,
    "mexc": MEXC,
    "okx": OKX,
    "phemex": PHEMEX,
    "poloniex": POLONIEX,
    "upbit": UPBIT,
    "whitebit": WHITEBIT,
}
