"""Bybit v5, public trades: wss://stream.bybit.com/v5/public/{spot,linear,inverse}, as recorded in 2026."""

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

TOPIC = "publicTrade."
SPOT_ARGS_MAX = 10
ARGS_CHARS_MAX = 21_000


def _reply(session: ClientSession, message: Mapping[str, object], success: bool, ret_msg: str, op: str) -> str:
    reply: dict[str, object] = {
        "success": success,
        "ret_msg": ret_msg,
        "conn_id": f"sandbox-{session.connection:05d}",
    }
    # Derivatives always name the request, spot only where the client did.
    if "req_id" in message or session.category != "spot":
        reply["req_id"] = message.get("req_id", "")
    reply["op"] = op
    return compact(reply)


def _on_message(session: ClientSession, text: str) -> Answer:
    message = json_object(text)
    if message is None:
        return Answer([compact({"success": False, "ret_msg": "error:invalid json", "conn_id": "", "op": ""})])
    op = message.get("op")
    if op == "ping":
        return Answer([_reply(session, message, True, "pong", "ping")])
    if op not in ("subscribe", "unsubscribe"):
        return Answer([_reply(session, message, False, f"error:request op {op} is not supported", str(op))])
    args = string_list(message.get("args"))
    problem = _problem(session, args)
    if problem:  # the whole request fails when one topic is bad
        return Answer([_reply(session, message, False, problem, op)])
    names = [arg.removeprefix(TOPIC) for arg in args]
    ack = _reply(session, message, True, "subscribe" if session.category == "spot" else "", op)
    return Answer([ack], remove=names) if op == "unsubscribe" else Answer([ack], add=names)


def _problem(session: ClientSession, args: Sequence[str]) -> str:
    if not args:
        return "error:args is empty"
    if session.category == "spot" and len(args) > SPOT_ARGS_MAX:
        return f"args size >{SPOT_ARGS_MAX}"
    if sum(map(len, args)) > ARGS_CHARS_MAX:
        return "error:args too long"
    for arg in args:
        if not arg.startswith(TOPIC):
            return f"error:handler not found,topic:{arg}"
        if arg.removeprefix(TOPIC) not in session.known:
            return f"Invalid symbol :[{arg}]"
    return ""


def _direction(fill: Fill) -> str:
    return ("" if fill.changed else "Zero") + ("PlusTick" if fill.rising else "MinusTick")


def _spot_row(market: Market, fill: Fill) -> str:
    return (
        f'{{"i":"{fill.trade_id}","T":{fill.ns // MS},"p":"{fill.price}","v":"{fill.volume}",'
        f'"S":"{fill.side.capitalize()}","seq":{fill.seq},"s":"{market.native}","BT":false,"RPI":false}}'
    )


def _row(market: Market, fill: Fill) -> str:
    return (
        f'{{"T":{fill.ns // MS},"s":"{market.native}","S":"{fill.side.capitalize()}","v":"{fill.volume}",'
        f'"p":"{fill.price}","L":"{_direction(fill)}","i":"{fill.trade_id}","BT":false,"RPI":false,"seq":{fill.seq}}}'
    )


def _trade_frames(market: Market, fills: Sequence[Fill]) -> list[str]:
    """All fills of one order in one frame, oldest first. Every live frame says "snapshot"."""
    topic, ts = f'"topic":"{TOPIC}{market.native}"', f'"ts":{fills[-1].ns // MS + 1}'
    if market.category == "spot":
        rows = ",".join(_spot_row(market, fill) for fill in fills)
        return [f'{{{topic},{ts},"type":"snapshot","data":[{rows}]}}']
    rows = ",".join(_row(market, fill) for fill in fills)
    return [f'{{{topic},"type":"snapshot",{ts},"data":[{rows}]}}']


def _seed(frame: Mapping[str, Any]) -> Seed:
    rows = frame["data"]
    last = rows[-1]
    last_id = int(last["i"]) if last["i"].isdigit() else 0
    return Seed(last_id, last.get("seq", 0), [row["p"] for row in rows], [row["v"] for row in rows])


# The REST side: the newest trades of a market, newest first, and no further.

REST_ROWS = {"spot": (60, 60), "linear": (500, 1000), "inverse": (500, 1000)}


def _rest_row(native: str, fill: Fill) -> str:
    return (
        f'{{"execId":"{fill.trade_id}","symbol":"{native}","price":"{fill.price}","size":"{fill.volume}",'
        f'"side":"{fill.side.capitalize()}","time":"{fill.ns // MS}","isBlockTrade":false,"isRPITrade":false,'
        f'"seq":"{fill.seq}"}}'
    )


def _rest_answer(request: HttpRequest, find: Find) -> HttpResponse:
    category, symbol = request.query.get("category", ""), request.query.get("symbol", "")
    tape = find(category, symbol) if category in REST_ROWS else None
    if tape is None:
        message = "Not supported symbols" if category in REST_ROWS else "params error: Category is invalid"
        return error(200, retCode=10001, retMsg=message, result={}, retExtInfo={}, time=0)
    limit = request.limit("limit", *REST_ROWS[category])
    rows = [_rest_row(tape.native, fill) for fill in tape.fills[-limit:][::-1]]
    result = f'{{"category":"{category}","list":[{",".join(rows)}]}}'
    time = tape.fills[-1].ns // MS if tape.fills else 0
    return HttpResponse(f'{{"retCode":0,"retMsg":"OK","result":{result},"retExtInfo":{{}},"time":{time}}}')


# The list of instruments, one category a request.

CONTRACTS = {"linear": "LinearPerpetual", "inverse": "InversePerpetual"}


def _instrument(market: ListedMarket) -> dict[str, object]:
    pair, _, settle = market.symbol.partition(":")
    base, _, quote = pair.partition("/")
    row: dict[str, object] = {"symbol": market.native, "status": "Trading", "baseCoin": base, "quoteCoin": quote}
    if market.category == "spot":
        lots = {"basePrecision": "0.000001"}
    else:
        row |= {"contractType": CONTRACTS[market.category], "settleCoin": settle}
        lots = {"qtyStep": "0.001"}
    return {**row, "priceFilter": {"tickSize": "0.1"}, "lotSizeFilter": lots}


def _listing(request: HttpRequest, markets: Sequence[ListedMarket]) -> HttpResponse:
    category = request.query.get("category", "")
    if category not in REST_ROWS:
        return error(200, retCode=10001, retMsg="params error: Category is invalid", result={}, time=0)
    rows = [_instrument(market) for market in markets if market.category == category]
    result = {"category": category, "list": rows, "nextPageCursor": ""}
    return HttpResponse(compact({"retCode": 0, "retMsg": "OK", "result": result, "retExtInfo": {}, "time": 0}))


BYBIT = Venue(
    name="bybit",
    doc="https://bybit-exchange.github.io/docs/v5/websocket/public/trade",
    paths={f"/v5/public/{category}": category for category in ("spot", "linear", "inverse")},
    styles={
        "spot": Style(resolution_ns=MS, trims_zeros=True),
        "linear": Style(resolution_ns=MS, trims_zeros=False, uuid_ids=True),
        "inverse": Style(resolution_ns=MS, trims_zeros=False, uuid_ids=True),
    },
    seed=_seed,
    on_message=_on_message,
    trade_frames=_trade_frames,
    idle_timeout_s=600.0,
    idle_close=(1000, "ping timeout"),
    connects=(500.0, 300.0),
    history=HistoryServer(
        doc="https://bybit-exchange.github.io/docs/v5/market/recent-trade",
        paths=("/v5/market/recent-trade",),
        answer=_rest_answer,
        units=600.0,
        window_s=5.0,
        too_many=HttpResponse("access too frequent", 403, {"content-type": "text/plain"}),
    ),
    listing=Listing(paths=("/v5/market/instruments-info",), answer=_listing),
)
