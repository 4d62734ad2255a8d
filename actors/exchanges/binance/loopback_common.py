"""What the loopback servers of Binance's exchanges share: stream requests, aggregated trades, markets' filters."""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from itertools import groupby
from typing import Any

from actors.exchanges.contract.loopback import MS, Answer, ClientSession, compact, json_object, string_list
from actors.exchanges.contract.loopback_market import Fill, Market, Seed
from actors.exchanges.contract.loopback_rest import Find, HttpRequest, HttpResponse, Tape, error

STREAMS_MAX = 1024  # per connection
REST_ROWS, REST_ROWS_MAX = 500, 1000
HOUR_MS = 3_600_000
AGGREGATES = "@aggTrade"
INVALID_SYMBOL = error(400, code=-1121, msg="Invalid symbol.")
MISSING_SYMBOL = error(
    400, code=-1102, msg="Mandatory parameter 'symbol' was not sent, was empty/null, or malformed."
)


def on_message(
    session: ClientSession, text: str, suffix: str, natives: Callable[[ClientSession, Sequence[str]], list[str]]
) -> Answer:
    """SUBSCRIBE, UNSUBSCRIBE and LIST_SUBSCRIPTIONS; `natives` are the markets of stream names."""
    message = json_object(text)
    if message is None:
        return Answer([compact({"code": 3, "msg": "Invalid JSON: expected value at line 1 column 1"})])
    method, request_id, params = message.get("method"), message.get("id"), string_list(message.get("params"))
    if method == "LIST_SUBSCRIPTIONS":
        streams = [native.lower() + suffix for native in session.subscribed]
        return Answer([compact({"result": streams, "id": request_id})])
    if method not in ("SUBSCRIBE", "UNSUBSCRIBE"):
        variants = "expected one of `SUBSCRIBE`, `UNSUBSCRIBE`, `LIST_SUBSCRIPTIONS`"
        problem = f"Invalid request: unknown variant `{method}`, {variants} at line 1 column 1"
        return Answer([compact({"code": 2, "msg": problem, "id": request_id})])
    ack = compact({"result": None, "id": request_id})
    if method == "UNSUBSCRIBE":
        return Answer([ack], remove=natives(session, params))
    if len(session.subscribed) + len(params) > STREAMS_MAX:
        return Answer(close=(1008, "Too many streams"))
    return Answer([ack], add=natives(session, params))


def known(session: ClientSession, streams: Sequence[str], suffix: str) -> list[str]:
    """The markets of stream names. What is not known stays silent: Binance acknowledges it all the same."""
    names = [stream.removesuffix(suffix).upper() for stream in streams if stream.endswith(suffix)]
    return [name for name in names if name in session.known]


def wrap(session: ClientSession, market: Market, frame: str, suffix: str) -> str:
    """In the envelope of a combined stream, where it is one."""
    if "/stream" not in session.path:
        return frame
    return f'{{"stream":"{market.native.lower()}{suffix}","data":{frame}}}'


def json_bool(value: bool) -> str:
    return "true" if value else "false"


# aggTrades over REST, oldest first.


def groups_of_orders(fills: Sequence[Fill]) -> list[tuple[int, list[Fill]]]:
    """Fills of one order at one price together, counted from 0 at the oldest that is kept."""
    groups = groupby(fills, key=lambda fill: (fill.order, fill.price))
    return [(number, list(group)) for number, (_, group) in enumerate(groups)]


def _row(number: int, fills: Sequence[Fill], spot: bool) -> str:
    volume, first, last = sum(Decimal(fill.volume) for fill in fills), fills[0], fills[-1]
    rest = ',"M":true' if spot else ""
    return (
        f'{{"a":{number},"p":"{first.price}","q":"{volume:f}","f":{first.trade_id},"l":{last.trade_id},'
        f'"T":{first.ns // MS},"m":{json_bool(first.side == "sell")}{rest}}}'
    )


def aggregates(
    request: HttpRequest, rows: Sequence[tuple[int, list[Fill]]], limit: int, *, spot: bool
) -> HttpResponse:
    """The rows from an id on, or between two times, or the newest ones; each is its id and its fills."""
    from_id, start, end = (request.number(name) for name in ("fromId", "startTime", "endTime"))
    if from_id is not None:
        rows = [row for row in rows if row[0] >= from_id][:limit]
    elif start is not None and end is not None and end - start > HOUR_MS:
        return error(400, code=-1127, msg="More than 1 hours between startTime and endTime.")
    else:
        if start is not None:
            rows = [row for row in rows if row[1][0].ns // MS >= start]
        if end is not None:
            rows = [row for row in rows if row[1][0].ns // MS <= end]
        rows = rows[:limit] if start is not None else rows[-limit:]
    return HttpResponse(f"[{','.join(_row(number, fills, spot) for number, fills in rows)}]")


def requested(request: HttpRequest, find: Find) -> Tape | HttpResponse:
    """The trades of the market of a request, or its refusal."""
    if "symbol" not in request.query:
        return MISSING_SYMBOL
    return find("", request.query["symbol"]) or INVALID_SYMBOL


def exchange_info(symbols: Sequence[dict[str, object]], price_step: str, volume_step: str) -> HttpResponse:
    """exchangeInfo with these rows; every market has the same steps."""
    filters = [
        {"filterType": "PRICE_FILTER", "minPrice": price_step, "maxPrice": "1000000", "tickSize": price_step},
        {"filterType": "LOT_SIZE", "minQty": volume_step, "maxQty": "9000", "stepSize": volume_step},
    ]
    rows = [{**row, "filters": filters} for row in symbols]
    return HttpResponse(compact({"timezone": "UTC", "rateLimits": [], "exchangeFilters": [], "symbols": rows}))


# The futures exchanges: aggregated trades, here one for each fill.


def aggregate_frames(market: Market, fills: Sequence[Fill]) -> list[str]:
    return [
        f'{{"e":"aggTrade","E":{fill.ns // MS + 1},"a":{fill.trade_id},"s":"{market.native}","p":"{fill.price}",'
        f'"q":"{fill.volume}","f":{fill.trade_id},"l":{fill.trade_id},"T":{fill.ns // MS},'
        f'"m":{json_bool(fill.side == "sell")}}}'
        for fill in fills
    ]


def aggregate_seed(frame: Mapping[str, Any]) -> Seed:
    return Seed(frame["a"], 0, [frame["p"]], [frame["q"]])


def futures_history(request: HttpRequest, find: Find, amount: Callable[[Fill], str]) -> HttpResponse:
    """aggTrades, and the newest single trades; `amount` is the member that only one of the exchanges has."""
    if request.path.endswith("/historicalTrades"):
        return error(401, code=-2014, msg="API-key format invalid.")
    tape = requested(request, find)
    if isinstance(tape, HttpResponse):
        return tape
    limit = request.limit("limit", REST_ROWS, REST_ROWS_MAX)
    if request.path.endswith("/aggTrades"):
        return aggregates(request, [(int(fill.trade_id), [fill]) for fill in tape.fills], limit, spot=False)
    rows = [
        f'{{"id":{fill.trade_id},"price":"{fill.price}","qty":"{fill.volume}",{amount(fill)},'
        f'"time":{fill.ns // MS},"isBuyerMaker":{json_bool(fill.side == "sell")}}}'
        for fill in tape.fills[-limit:]
    ]
    return HttpResponse(f"[{','.join(rows)}]")
