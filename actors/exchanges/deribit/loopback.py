"""Deribit's trades: wss://www.deribit.com/ws/api/v2, as documented and recorded in 2026."""

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
)

INTERVALS = ("100ms", "agg2")
RAW = "raw"
CHANNELS_MAX = 500
CONTRACT = 10  # US dollars


def _result(request_id: object, result: object) -> str:
    return compact({"jsonrpc": "2.0", "id": request_id, "result": result, "usIn": 0, "usOut": 0, "usDiff": 0})


def _error(request_id: object, code: int, message: str, **data: object) -> str:
    return compact({"jsonrpc": "2.0", "id": request_id, "error": {"code": code, "message": message, "data": data}})


def _on_message(session: ClientSession, text: str) -> Answer:
    message = json_object(text)
    if message is None:
        return Answer([_error(None, -32700, "Parse error")])
    request_id, params = message.get("id"), message.get("params")
    params = params if isinstance(params, dict) else {}
    match message.get("method"):
        case "public/set_heartbeat":
            interval = params.get("interval")
            if not isinstance(interval, int) or interval < 10:
                return Answer([_error(request_id, -32602, "Invalid params", param="interval")])
            session.channels["heartbeat"] = {"on"}
            return Answer([_result(request_id, "ok")], pong=True)
        case "public/test":
            return Answer([_result(request_id, {"version": "1.2.26"})], pong=True)
        case "public/subscribe":
            return _subscribe(session, request_id, string_list(params.get("channels")))
        case "public/unsubscribe":
            channels = string_list(params.get("channels"))
            known = [one for one in channels if _native(one) in session.subscribed]
            return Answer([_result(request_id, known)], remove=[_native(one) for one in known])
    return Answer([_error(request_id, -32601, "Method not found")])


def _native(channel: str) -> str:
    return channel.removeprefix("trades.").rpartition(".")[0]


def _subscribe(session: ClientSession, request_id: object, channels: Sequence[str]) -> Answer:
    """What does not exist is missing from the result."""
    if not channels or len(channels) > CHANNELS_MAX:
        return Answer([_error(request_id, -32602, "Invalid params", param="channels")])
    if any(channel.endswith(f".{RAW}") for channel in channels):
        return Answer([_error(request_id, 13778, "raw_subscriptions_not_available_for_unauthorized")])
    taken = [
        channel
        for channel in channels
        if channel.startswith("trades.")
        and channel.rpartition(".")[2] in INTERVALS
        and _native(channel) in session.known
    ]
    natives = [native for native in map(_native, taken) if native not in session.subscribed]
    return Answer([_result(request_id, taken)], add=natives)


def _row(native: str, fill: Fill) -> str:
    """Ids count all trades of a currency, the sequence those of an instrument; here they are the same."""
    contracts = float(fill.volume) / CONTRACT
    return (
        f'{{"timestamp":{fill.ns // MS},"price":{fill.price},"direction":"{fill.side}","index_price":{fill.price},'
        f'"instrument_name":"{native}","trade_seq":{fill.trade_id},"amount":{fill.volume},"mark_price":{fill.price},'
        f'"tick_direction":{3 - fill.changed},"trade_id":"{fill.trade_id}","contracts":{contracts}}}'
    )


def _trade_frames(market: Market, fills: Sequence[Fill]) -> list[str]:
    rows = ",".join(_row(market.native, fill) for fill in fills)
    params = f'{{"channel":"trades.{market.native}.100ms","data":[{rows}]}}'
    return [f'{{"jsonrpc":"2.0","method":"subscription","params":{params}}}']


def _server_ping(session: ClientSession) -> str:
    """A test request, where heartbeats are switched on; else nothing that needs an answer."""
    kind = "test_request" if session.channels.get("heartbeat") else "heartbeat"
    return compact({"jsonrpc": "2.0", "method": "heartbeat", "params": {"type": kind}})


def _seed(frame: Mapping[str, Any]) -> Seed:
    rows = frame["params"]["data"]
    return Seed(int(rows[-1]["trade_id"]), 0, [row["price"] for row in rows], [row["amount"] for row in rows])


# The REST side: an instrument's trades by sequence or by time, and the lists of instruments.

REST_PATH = "/api/v2/public/get_last_trades_by_instrument"
LIST_PATH = "/api/v2/public/get_instruments"
ROWS, ROWS_MAX = 10, 1000


def _rest_answer(request: HttpRequest, find: Find) -> HttpResponse:
    tape = find("", request.query.get("instrument_name", ""))
    if tape is None:
        return HttpResponse(_error(None, -32602, "Invalid params", reason="instrument not found"), 400)
    start, end = 0, len(tape.fills)
    if request.path.endswith("_and_time"):
        start_ms, end_ms = request.number("start_timestamp"), request.number("end_timestamp")
        if start_ms is None or end_ms is None:
            return HttpResponse(_error(None, -32602, "Invalid params", param="start_timestamp"), 400)
        start, end = tape.at_ns(start_ms * MS), tape.at_ns((end_ms + 1) * MS)
    elif (start_seq := request.number("start_seq")) is not None:
        start = tape.at_id(start_seq)
    rows, limit = tape.fills[start:end], request.limit("count", ROWS, ROWS_MAX)
    page = rows[:limit] if request.query.get("sorting") == "asc" else rows[-limit:][::-1]
    trades = ",".join(_row(tape.native, fill) for fill in page)
    more = "true" if len(rows) > len(page) else "false"
    return HttpResponse(f'{{"jsonrpc":"2.0","result":{{"trades":[{trades}],"has_more":{more}}},"usDiff":0}}')


def _listing(request: HttpRequest, markets: Sequence[ListedMarket]) -> HttpResponse:
    """The loopback trades perpetuals only."""
    listed = markets if request.query.get("kind") == "future" else ()
    rows = [
        {
            "instrument_name": market.native,
            "kind": "future",
            "base_currency": market.native.partition("-")[0],
            "quote_currency": "USD",
            "counter_currency": "USD",
            "settlement_currency": market.native.partition("-")[0],
            "settlement_period": "perpetual",
            "instrument_type": "reversed",
            "tick_size": 0.5,
            "min_trade_amount": 10.0,
            "contract_size": 10.0,
            "is_active": True,
        }
        for market in listed
    ]
    return HttpResponse(_result(None, rows))


DERIBIT = Venue(
    name="deribit",
    doc="https://docs.deribit.com/subscriptions/trades/trades-instrument_name-interval",
    paths={"/ws/api/v2": ""},
    styles={"": Style(resolution_ns=MS, trims_zeros=False)},
    seed=_seed,
    on_message=_on_message,
    trade_frames=_trade_frames,
    server_ping=_server_ping,
    server_ping_s=15.0,
    server_pings_unanswered=1,
    connects=(32.0, 1.0),
    history=HistoryServer(
        doc="https://docs.deribit.com/api-reference/market-data/public-get_last_trades_by_instrument",
        paths=(REST_PATH, f"{REST_PATH}_and_time"),
        answer=_rest_answer,
        units=20.0,
        window_s=1.0,
        too_many=HttpResponse(_error(None, 10028, "too_many_requests", wait=1), 429),
    ),
    listing=Listing(paths=(LIST_PATH,), answer=_listing),
)
