"""Binance COIN-M futures, aggregated trades: wss://dstream.binance.com, as recorded in 2021."""

from collections.abc import Sequence
from decimal import Decimal

from actors.exchanges.binance import loopback_common as common
from actors.exchanges.contract.loopback import MS, Answer, ClientSession, Venue
from actors.exchanges.contract.loopback_market import Fill, Market, Style
from actors.exchanges.contract.loopback_rest import (
    Find,
    HistoryServer,
    HttpRequest,
    HttpResponse,
    ListedMarket,
    Listing,
)

WEIGHTS = {
    "/dapi/v1/aggTrades": 20.0,
    "/dapi/v1/trades": 5.0,
    "/dapi/v1/historicalTrades": 20.0,
    "/dapi/v1/exchangeInfo": 1.0,
}


def _natives(session: ClientSession, streams: Sequence[str]) -> list[str]:
    return common.known(session, streams, common.AGGREGATES)


def _on_message(session: ClientSession, text: str) -> Answer:
    return common.on_message(session, text, common.AGGREGATES, _natives)


def _wrap(session: ClientSession, market: Market, frame: str) -> str:
    return common.wrap(session, market, frame, common.AGGREGATES)


def _amount(fill: Fill) -> str:
    dollars = 100 if Decimal(fill.price) > 5_000 else 10  # a contract's, here by the price
    return f'"baseQty":"{dollars * Decimal(fill.volume) / Decimal(fill.price):.8f}"'


def _rest_answer(request: HttpRequest, find: Find) -> HttpResponse:
    return common.futures_history(request, find, _amount)


def _listed(_request: HttpRequest, markets: Sequence[ListedMarket]) -> HttpResponse:
    rows: list[dict[str, object]] = []
    for market in markets:
        pair, _, day = market.native.partition("_")
        base = pair.removesuffix("USD")
        rows.append(
            {
                "symbol": market.native,
                "pair": pair,
                "contractType": "PERPETUAL" if day == "PERP" else "CURRENT_QUARTER",
                "contractStatus": "TRADING",
                "contractSize": 100 if base == "BTC" else 10,
                "baseAsset": base,
                "quoteAsset": "USD",
                "marginAsset": base,
            }
        )
    return common.exchange_info(rows, "0.001", "1")


BINANCECOINM = Venue(
    name="binancecoinm",
    doc="https://developers.binance.com/docs/derivatives/coin-margined-futures/websocket-market-streams",
    paths={"/ws": "", "/stream": ""},
    styles={"": Style(resolution_ns=MS, trims_zeros=False)},
    seed=common.aggregate_seed,
    on_message=_on_message,
    trade_frames=common.aggregate_frames,
    wrap=_wrap,
    ping_s=180.0,
    pong_s=600.0,
    requests_per_s=10,
    connects=(300.0, 300.0),
    history=HistoryServer(
        doc="https://developers.binance.com/docs/derivatives/coin-margined-futures/market-data/rest-api",
        paths=("/dapi/v1/aggTrades", "/dapi/v1/trades", "/dapi/v1/historicalTrades"),
        answer=_rest_answer,
        units=2400.0,
        window_s=60.0,
        cost=lambda request: WEIGHTS[request.path],
        too_many=HttpResponse('{"code":-1003,"msg":"Too many requests."}', 429, {"retry-after": "10"}),
    ),
    listing=Listing(paths=("/dapi/v1/exchangeInfo",), answer=_listed, cost=lambda request: WEIGHTS[request.path]),
)
