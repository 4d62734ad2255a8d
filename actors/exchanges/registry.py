"""The registry of exchanges that can be recorded, by name: one line each, without their loopback servers."""

from collections.abc import Iterator, Mapping
from importlib import import_module

from actors.exchanges.contract.exchange import Exchange


class Registry(Mapping[str, Exchange]):
    """Exchanges by name, from the module and the name of each value there.

    An exchange is imported when it is first looked up: importing all takes 0.2 s of a start that needs a few.
    """

    def __init__(self, places: Mapping[str, str]) -> None:
        self._places = places

    def __getitem__(self, name: str) -> Exchange:
        module, _, value = self._places[name].partition(":")
        exchange = getattr(import_module(module), value)
        assert isinstance(exchange, Exchange)
        return exchange

    def __contains__(self, name: object) -> bool:
        return name in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


EXCHANGES = Registry(
    {
        "binance": "actors.exchanges.binance:BINANCE",
        "binancecoinm": "actors.exchanges.binancecoinm:BINANCECOINM",
        "binanceusdm": "actors.exchanges.binanceusdm:BINANCEUSDM",
        "bingx": "actors.exchanges.bingx:BINGX",
        "bitfinex": "actors.exchanges.bitfinex:BITFINEX",
        "bitflyer": "actors.exchanges.bitflyer:BITFLYER",
        "bitget": "actors.exchanges.bitget:BITGET",
        "bithumb": "actors.exchanges.bithumb:BITHUMB",
        "bitmex": "actors.exchanges.bitmex:BITMEX",
        "bitstamp": "actors.exchanges.bitstamp:BITSTAMP",
        "bybit": "actors.exchanges.bybit:BYBIT",
        "coinbase": "actors.exchanges.coinbase:COINBASE",
        "coinbaseexchange": "actors.exchanges.coinbaseexchange:COINBASEEXCHANGE",
        "cryptocom": "actors.exchanges.cryptocom:CRYPTOCOM",
        "deribit": "actors.exchanges.deribit:DERIBIT",
        "dydx": "actors.exchanges.dydx:DYDX",
        "gate": "actors.exchanges.gate:GATE",
        "gemini": "actors.exchanges.gemini:GEMINI",
        "htx": "actors.exchanges.htx:HTX",
        "hyperliquid": "actors.exchanges.hyperliquid:HYPERLIQUID",
        "kraken": "actors.exchanges.kraken:KRAKEN",
        "krakenfutures": "actors.exchanges.krakenfutures:KRAKENFUTURES",
        "kucoin": "actors.exchanges.kucoin:KUCOIN",
        "mexc": "actors.exchanges.mexc:MEXC",
        "okx": "actors.exchanges.okx:OKX",
        "phemex": "actors.exchanges.phemex:PHEMEX",
        "poloniex": "actors.exchanges.poloniex:POLONIEX",
        "upbit": "actors.exchanges.upbit:UPBIT",
        "whitebit": "actors.exchanges.whitebit:WHITEBIT",
    }
)
