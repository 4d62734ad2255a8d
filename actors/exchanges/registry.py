"""The registry of exchanges that can be recorded, by name: one line each, without their loopback servers."""

from actors.exchanges.binance import BINANCE
from actors.exchanges.binancecoinm import BINANCECOINM
from actors.exchanges.binanceusdm import BINANCEUSDM
from actors.exchanges.bingx import BINGX
from actors.exchanges.bitfinex import BITFINEX
from actors.exchanges.bitflyer import BITFLYER
from actors.exchanges.bitget import BITGET
from actors.exchanges.bithumb import BITHUMB
from actors.exchanges.bitmex import BITMEX
from actors.exchanges.bitstamp import BITSTAMP
from actors.exchanges.bybit import BYBIT
from actors.exchanges.coinbase import COINBASE
from actors.exchanges.coinbaseexchange import COINBASEEXCHANGE
from actors.exchanges.contract.exchange import Exchange
from actors.exchanges.cryptocom import CRYPTOCOM
from actors.exchanges.deribit import DERIBIT
from actors.exchanges.dydx import DYDX
from actors.exchanges.gate import GATE
from actors.exchanges.gemini import GEMINI
from actors.exchanges.htx import HTX
from actors.exchanges.hyperliquid import HYPERLIQUID
from actors.exchanges.kraken import KRAKEN
from actors.exchanges.krakenfutures import KRAKENFUTURES
from actors.exchanges.kucoin import KUCOIN
from actors.exchanges.mexc import MEXC
from actors.exchanges.okx import OKX
from actors.exchanges.phemex import PHEMEX
from actors.exchanges.poloniex import POLONIEX
from actors.exchanges.upbit import UPBIT
from actors.exchanges.whitebit import WHITEBIT

EXCHANGES: dict[str, Exchange] = {
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
