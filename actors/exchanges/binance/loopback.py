"""Binance spot, individual trades: wss://stream.binance.com:9443, as recorded in 2024 and 2026."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs

from actors.exchanges.binance import loopback_common as common
from actors.exchanges.contract.loopback import MS, Answer, ClientSession, Venue
from actors.exchanges.contract.loopback_market import Fill, Market, Seed, Style
from actors.exchanges.contract.loopback_rest import (
    Find,
    HistoryServer,
    HttpRequest,
    HttpResponse,
    ListedMarket,
    Listing,
)

SUFFIX = "@trade"


def _natives(session: ClientSession, streams: Sequence[str]) -> list[str]:
    return common.known(session, streams, SUFFIX)


def _on_connect(session: ClientSession) -> Answer:
    """Streams may stand in the URL: /ws/btcusdt@trade or /stream?streams=btcusdt@trade/ethusdt@trade."""
    streams = session.path.split("/")[2:] + "/".join(parse_qs(session.query).get("streams", [])).split("/")
    return Answer(add=_natives(session, streams))


def _on_message(session: ClientSession, text: str) -> Answer:
    return common.on_message(session, text, SUFFIX, _natives)


def _trade_frames(market: Market, fills: Sequence[Fill]) -> list[str]:
    return [
        f'{{"e":"trade","E":{fill.ns // MS + 1},"s":"{market.native}","t":{fill.trade_id},"p":"{fill.price}",'
        f'"q":"{fill.volume}","T":{fill.ns // MS},"m":{common.json_bool(fill.side == "sell")},"M":true}}'
        for fill in fills
    ]


def _wrap(session: ClientSession, market: Market, frame: str) -> str:
    return common.wrap(session, market, frame, SUFFIX)


def _seed(frame: Mapping[str, Any]) -> Seed:
    return Seed(frame["t"], 0, [frame["p"]], [frame["q"]])


# The REST side: trades, historicalTrades and aggTrades, oldest first, as recorded in 2020 and 2023.

REST_WEIGHTS = {
    "/api/v3/historicalTrades": 25.0,
    "/api/v3/trades": 25.0,
    "/api/v3/aggTrades": 4.0,
    "/api/v3/exchangeInfo": 20.0,
}


def _rest_row(fill: Fill) -> str:
    quote = f"{Decimal(fill.price) * Decimal(fill.volume):.8f}"
    return (
        f'{{"id":{fill.trade_id},"price":"{fill.price}","qty":"{fill.volume}","quoteQty":"{quote}",'
        f'"time":{fill.ns // MS},"isBuyerMaker":{common.json_bool(fill.side == "sell")},"isBestMatch":true}}'
    )


def _rest_answer(request: HttpRequest, find: Find) -> HttpResponse:
    tape = common.requested(request, find)
    if isinstance(tape, HttpResponse):
        return tape
    limit = request.limit("limit", common.REST_ROWS, common.REST_ROWS_MAX)
    if request.path == "/api/v3/aggTrades":
        return common.aggregates(request, common.groups_of_orders(tape.fills), limit, spot=True)
    from_id = request.number("fromId") if request.path == "/api/v3/historicalTrades" else None
    start = max(0, len(tape.fills) - limit) if from_id is None else tape.at_id(from_id)
    return HttpResponse(f"[{','.join(map(_rest_row, tape.fills[start : start + limit]))}]")


def _listed(_request: HttpRequest, markets: Sequence[ListedMarket]) -> HttpResponse:
    rows: list[dict[str, object]] = []
    for market in markets:
        base, _, quote = market.symbol.partition("/")
        rows.append({"symbol": market.native, "status": "TRADING", "baseAsset": base, "quoteAsset": quote})
    return common.exchange_info(rows, "0.01000000", "0.00001000")


BINANCE = Venue(
    name="binance",
    doc="https://github.com/binance/binance-spot-api-docs/blob/master/web-socket-streams.md",
    paths={"/ws": "", "/stream": ""},
    styles={"": Style(resolution_ns=MS, trims_zeros=False)},
    seed=_seed,
    on_connect=_on_connect,
    on_message=_on_message,
    trade_frames=_trade_frames,
    wrap=_wrap,
    ping_s=20.0,
    pong_s=60.0,
    requests_per_s=5,
    connects=(300.0, 300.0),
    history=HistoryServer(
        doc="https://github.com/binance/binance-spot-api-docs/blob/master/rest-api.md",
        paths=("/api/v3/historicalTrades", "/api/v3/trades", "/api/v3/aggTrades"),
        answer=_rest_answer,
        units=6000.0,
        window_s=60.0,
        cost=lambda request: REST_WEIGHTS[request.path],
        too_many=HttpResponse('{"code":-1003,"msg":"Too much request weight used."}', 429, {"retry-after": "10"}),
    ),
    listing=Listing(
        paths=("/api/v3/exchangeInfo",), answer=_listed, cost=lambda request: REST_WEIGHTS[request.path]
    ),
)
