"""Crypto.com Exchange v1, trades: as documented, and as recorded in 2026."""

from collections.abc import Mapping, Sequence
from typing import Any

from actors.exchanges.contract.loopback import MS, Answer, ClientSession, Venue, compact, json_object, string_list
from actors.exchanges.contract.loopback_market import Fill, Market, Seed, Style
from actors.exchanges.contract.loopback_rest import (
    Find,
    HistoryServer,
    HttpRequest,
    HttpResponse,
    ListedMarket,
    Listing,
    error,
)

CHANNELS_MAX = 400
REPLAY_ROWS = 100


def _refused(request_id: object, code: int, message: str) -> Answer:
    return Answer([compact({"id": request_id, "method": "subscribe", "code": code, "message": message})])


def _on_message(session: ClientSession, text: str) -> Answer:
    message = json_object(text)
    if message is None:
        return _refused(None, 40003, "Invalid request")
    request_id, params = message.get("id"), message.get("params")
    channels = string_list(params.get("channels")) if isinstance(params, dict) else []
    match message.get("method"):
        case "public/respond-heartbeat":
            return Answer(pong=True)
        case "subscribe":
            return _subscribe(session, request_id, channels)
        case "unsubscribe":
            natives = [channel.removeprefix("trade.") for channel in channels]
            return Answer([compact({"id": request_id, "method": "unsubscribe", "code": 0})], remove=natives)
    return _refused(request_id, 40003, "No such method")


def _subscribe(session: ClientSession, request_id: object, channels: Sequence[str]) -> Answer:
    """Trade channels get no acknowledgement: what they have traded comes at once."""
    natives = [channel.removeprefix("trade.") for channel in channels if channel.startswith("trade.")]
    if len(natives) < len(channels) or not channels:
        return _refused(request_id, 40003, "Unrecognized channel")
    if not all(native in session.known for native in natives):
        return _refused(request_id, 40003, "Unknown symbol")
    if len({*session.subscribed, *natives}) > CHANNELS_MAX:
        return _refused(request_id, 40107, "Maximum subscriptions exceeded")
    return Answer(add=[native for native in natives if native not in session.subscribed], replay=natives)


def _row(native: str, fill: Fill) -> str:
    return (
        f'{{"d":"{fill.trade_id}","t":{fill.ns // MS},"p":"{fill.price}","q":"{fill.volume}",'
        f'"s":"{fill.side.upper()}","i":"{native}","m":"{4611686018690432925 + fill.order}"}}'
    )


def _frame(market: Market, fills: Sequence[Fill]) -> str:
    """Newest first."""
    rows = ",".join(_row(market.native, fill) for fill in reversed(fills))
    name = f'"instrument_name":"{market.native}","subscription":"trade.{market.native}"'
    result = f'{{{name},"channel":"trade","data":[{rows}]}}'
    return f'{{"id":-1,"method":"subscribe","code":0,"result":{result}}}'


def _trade_frames(market: Market, fills: Sequence[Fill]) -> list[str]:
    return [_frame(market, fills)]


def _replay(market: Market) -> list[str]:
    return [_frame(market, list(market.recent)[-REPLAY_ROWS:])]


def _server_ping(session: ClientSession) -> str:
    return compact({"id": session.now_ns() // MS, "method": "public/heartbeat", "code": 0})


def _seed(frame: Mapping[str, Any]) -> Seed:
    rows = frame["result"]["data"]
    return Seed(int(rows[0]["d"]), 0, [row["p"] for row in rows], [row["q"] for row in rows])


# The REST side: an instrument's trades by time, newest first, and the list of instruments.

REST_PATH, LIST_PATH = "/exchange/v1/public/get-trades", "/exchange/v1/public/get-instruments"
ROWS, ROWS_MAX = 25, 150


def _result(method: str, rows: str) -> HttpResponse:
    return HttpResponse(f'{{"id":-1,"method":"{method}","code":0,"result":{{"data":[{rows}]}}}}')


def _rest_answer(request: HttpRequest, find: Find) -> HttpResponse:
    """`end_ts` is exclusive; milliseconds are taken as well."""
    tape = find("", request.query.get("instrument_name", ""))
    if tape is None:
        return error(400, id=-1, method="public/get-trades", code=40004, message="Invalid instrument_name")
    start, end = request.number("start_ts", 0) or 0, request.number("end_ts")
    unit = MS if (end or start) < 10**15 else 1
    behind = len(tape.fills) if end is None else tape.at_ns(end * unit)
    rows = tape.fills[tape.at_ns(start * unit) : behind][-request.limit("count", ROWS, ROWS_MAX) :]
    parts = [f'{_row(tape.native, fill)[:-1]},"tn":"{fill.ns}"}}' for fill in reversed(rows)]
    return _result("public/get-trades", ",".join(parts))


def _listing(_request: HttpRequest, markets: Sequence[ListedMarket]) -> HttpResponse:
    rows = []
    for market in markets:
        base, _, rest = market.symbol.partition("/")
        quote, _, settle = rest.partition(":")
        row = {
            "symbol": market.native,
            "inst_type": "PERPETUAL_SWAP" if settle else "CCY_PAIR",
            "display_name": market.symbol,
            "base_ccy": base,
            "quote_ccy": quote,
            "quote_decimals": 2,
            "quantity_decimals": 5,
            "price_tick_size": "0.01",
            "qty_tick_size": "0.00001",
            "tradable": True,
            "expiry_timestamp_ms": 0,
        }
        rows.append(compact(row | {"contract_size": "1"} if settle else row))
    return _result("public/get-instruments", ",".join(rows))


CRYPTOCOM = Venue(
    name="cryptocom",
    doc="https://exchange-docs.crypto.com/exchange/v1/rest-ws/index.html#trade-instrument_name",
    paths={"/exchange/v1/market": ""},
    styles={"": Style(resolution_ns=MS, trims_zeros=True)},
    seed=_seed,
    on_message=_on_message,
    trade_frames=_trade_frames,
    replay=_replay,
    server_ping=_server_ping,
    server_ping_s=30.0,
    server_pings_unanswered=3,
    requests_per_s=100,
    connects=(10.0, 1.0),
    history=HistoryServer(
        doc="https://exchange-docs.crypto.com/exchange/v1/rest-ws/index.html#public-get-trades",
        paths=(REST_PATH,),
        answer=_rest_answer,
        units=100.0,
        window_s=1.0,
        too_many=error(429, id=-1, method="public/get-trades", code=42901, message="TOO_MANY_REQUESTS"),
    ),
    listing=Listing(paths=(LIST_PATH,), answer=_listing),
)
