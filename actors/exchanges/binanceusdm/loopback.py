"""Binance USD-M futures, aggregated trades: wss://fstream.binance.com/market, as recorded in 2021."""

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
    "/fapi/v1/aggTrades": 20.0,
    "/fapi/v1/trades": 5.0,
    "/fapi/v1/historicalTrades": 20.0,
    "/fapi/v1/exchangeInfo": 1.0,
}


def _natives(session: ClientSession, streams: Sequence[str]) -> list[str]:
    """/public carries no aggregated trades: it acknowledges them and stays silent."""
    return common.known(session, streams, common.AGGREGATES) if session.path.startswith("/market") else []


def _on_message(session: ClientSession, text: str) -> Answer:
    return common.on_message(session, text, common.AGGREGATES, _natives)


def _wrap(session: ClientSession, market: Market, frame: str) -> str:
    return common.wrap(session, market, frame, common.AGGREGATES)


def _amount(fill: Fill) -> str:
    return f'"quoteQty":"{Decimal(fill.price) * Decimal(fill.volume):.2f}"'


def _rest_answer(request: HttpRequest, find: Find) -> HttpResponse:
    return common.futures_history(request, find, _amount)


def _listed(_request: HttpRequest, markets: Sequence[ListedMarket]) -> HttpResponse:
    rows: list[dict[str, object]] = []
    for market in markets:
        base, _, quote = market.symbol.partition(":")[0].partition("/")
        native, _, day = market.native.partition("_")
        rows.append(
            {
                "symbol": market.native,
                "pair": native,
                "contractType": "CURRENT_QUARTER" if day else "PERPETUAL",
                "status": "TRADING",
                "baseAsset": base,
                "quoteAsset": quote,
                "marginAsset": quote,
            }
        )
    return common.exchange_info(rows, "0.00001", "1")


BINANCEUSDM = Venue(
    name="binanceusdm",
    doc="https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams",
    paths={"/market": "", "/public": ""},
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
        doc="https://developers.binance.com/docs/derivatives/usds-margined-futures/market-data/rest-api",
        paths=("/fapi/v1/aggTrades", "/fapi/v1/trades", "/fapi/v1/historicalTrades"),
        answer=_rest_answer,
        units=2400.0,
        window_s=60.0,
        cost=lambda request: WEIGHTS[request.path],
        too_many=HttpResponse('{"code":-1003,"msg":"Too many requests."}', 429, {"retry-after": "10"}),
    ),
    listing=Listing(paths=("/fapi/v1/exchangeInfo",), answer=_listed, cost=lambda request: WEIGHTS[request.path]),
)
