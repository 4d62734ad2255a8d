"""Binance spot, individual trades: wss://stream.binance.com:9443, as recorded in 2024 and 2026."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from itertools import groupby
from typing import Any
from urllib.parse import parse_qs

from actors.exchanges.contract.loopback import MS, Answer, ClientSession, Venue, compact, json_object, string_list
from actors.exchanges.contract.loopback_market import Fill, Market, Seed, Style
from actors.exchanges.contract.loopback_rest import Find, HistoryServer, HttpRequest, HttpResponse, Tape, error

SUFFIX = "@trade"
STREAMS_MAX = 1024  # per connection


def _natives(session: ClientSession, streams: Sequence[str]) -> list[str]:
    """The markets of stream names. What is not known stays silent: Binance acknowledges it all the same."""
    names = [stream.removesuffix(SUFFIX).upper() for stream in streams if stream.endswith(SUFFIX)]
    return [name for name in names if name in session.known]


def _on_connect(session: ClientSession) -> Answer:
    """Streams may stand in the URL: /ws/btcusdt@trade or /stream?streams=btcusdt@trade/ethusdt@trade."""
    streams = session.path.split("/")[2:] + "/".join(parse_qs(session.query).get("streams", [])).split("/")
    return Answer(add=_natives(session, streams))


def _on_message(session: ClientSession, text: str) -> Answer:
    message = json_object(text)
    if message is None:
        return Answer([compact({"code": 3, "msg": "Invalid JSON: expected value at line 1 column 1"})])
    method, request_id, params = message.get("method"), message.get("id"), string_list(message.get("params"))
    if method == "LIST_SUBSCRIPTIONS":
        streams = [native.lower() + SUFFIX for native in session.subscribed]
        return Answer([compact({"result": streams, "id": request_id})])
    if method not in ("SUBSCRIBE", "UNSUBSCRIBE"):
        variants = "expected one of `SUBSCRIBE`, `UNSUBSCRIBE`, `LIST_SUBSCRIPTIONS`"
        problem = f"Invalid request: unknown variant `{method}`, {variants} at line 1 column 1"
        return Answer([compact({"code": 2, "msg": problem, "id": request_id})])
    ack = compact({"result": None, "id": request_id})
    if method == "UNSUBSCRIBE":
        return Answer([ack], remove=_natives(session, params))
    if len(session.subscribed) + len(params) > STREAMS_MAX:
        return Answer(close=(1008, "Too many streams"))
    return Answer([ack], add=_natives(session, params))


def _trade_frames(market: Market, fills: Sequence[Fill]) -> list[str]:
    return [
        f'{{"e":"trade","E":{fill.ns // MS + 1},"s":"{market.native}","t":{fill.trade_id},"p":"{fill.price}",'
        f'"q":"{fill.volume}","T":{fill.ns // MS},"m":{"true" if fill.side == "sell" else "false"},"M":true}}'
        for fill in fills
    ]


def _wrap(session: ClientSession, market: Market, frame: str) -> str:
    if not session.path.startswith("/stream"):
        return frame
    return f'{{"stream":"{market.native.lower()}{SUFFIX}","data":{frame}}}'


def _seed(frame: Mapping[str, Any]) -> Seed:
    return Seed(frame["t"], 0, [frame["p"]], [frame["q"]])


# The REST side: trades, historicalTrades and aggTrades, oldest first, as recorded in 2020 and 2023.

REST_ROWS, REST_ROWS_MAX = 500, 1000
HOUR_MS = 3_600_000
REST_WEIGHTS = {"/api/v3/historicalTrades": 25.0, "/api/v3/trades": 25.0, "/api/v3/aggTrades": 4.0}


def _bool(value: bool) -> str:
    return "true" if value else "false"


def _rest_row(fill: Fill) -> str:
    quote = f"{Decimal(fill.price) * Decimal(fill.volume):.8f}"
    return (
        f'{{"id":{fill.trade_id},"price":"{fill.price}","qty":"{fill.volume}","quoteQty":"{quote}",'
        f'"time":{fill.ns // MS},"isBuyerMaker":{_bool(fill.side == "sell")},"isBestMatch":true}}'
    )


def _aggregates(fills: Sequence[Fill]) -> list[tuple[int, list[Fill]]]:
    """Fills of one order at one price together, counted from 0 at the oldest that is kept."""
    groups = groupby(fills, key=lambda fill: (fill.order, fill.price))
    return [(number, list(group)) for number, (_, group) in enumerate(groups)]


def _aggregate_row(number: int, fills: Sequence[Fill]) -> str:
    volume, first, last = sum(Decimal(fill.volume) for fill in fills), fills[0], fills[-1]
    return (
        f'{{"a":{number},"p":"{first.price}","q":"{volume:f}","f":{first.trade_id},"l":{last.trade_id},'
        f'"T":{first.ns // MS},"m":{_bool(first.side == "sell")},"M":true}}'
    )


def _chosen_rows(request: HttpRequest, tape: Tape, limit: int) -> Sequence[tuple[int, list[Fill]]] | HttpResponse:
    from_id, start, end = (request.number(name) for name in ("fromId", "startTime", "endTime"))
    rows = _aggregates(tape.fills)
    if from_id is not None:
        return rows[from_id : from_id + limit]
    if start is not None and end is not None and end - start > HOUR_MS:
        return error(400, code=-1127, msg="More than 1 hours between startTime and endTime.")
    if start is not None:
        rows = [row for row in rows if row[1][0].ns // MS >= start]
    if end is not None:
        rows = [row for row in rows if row[1][0].ns // MS <= end]
    return rows[:limit] if start is not None else rows[-limit:]


def _rest_answer(request: HttpRequest, find: Find) -> HttpResponse:
    if "symbol" not in request.query:
        return error(
            400, code=-1102, msg="Mandatory parameter 'symbol' was not sent, was empty/null, or malformed."
        )
    tape = find("", request.query["symbol"])
    if tape is None:
        return error(400, code=-1121, msg="Invalid symbol.")
    limit = request.limit("limit", REST_ROWS, REST_ROWS_MAX)
    if request.path == "/api/v3/aggTrades":
        chosen = _chosen_rows(request, tape, limit)
        if isinstance(chosen, HttpResponse):
            return chosen
        return HttpResponse(f"[{','.join(_aggregate_row(number, fills) for number, fills in chosen)}]")
    from_id = request.number("fromId") if request.path == "/api/v3/historicalTrades" else None
    start = max(0, len(tape.fills) - limit) if from_id is None else tape.at_id(from_id)
    return HttpResponse(f"[{','.join(map(_rest_row, tape.fills[start : start + limit]))}]")


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
        paths=tuple(REST_WEIGHTS),
        answer=_rest_answer,
        units=6000.0,
        window_s=60.0,
        cost=lambda request: REST_WEIGHTS[request.path],
        too_many=HttpResponse('{"code":-1003,"msg":"Too much request weight used."}', 429, {"retry-after": "10"}),
    ),
)
