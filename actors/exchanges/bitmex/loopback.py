"""BitMEX's table `trade`: wss://ws.bitmex.com/realtime, as documented and recorded in 2026."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
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

S_NS = 1_000_000_000
TOPIC = "trade:"


def _iso(ns: int) -> str:
    return f"{datetime.fromtimestamp(ns // S_NS, UTC):%Y-%m-%dT%H:%M:%S}.{ns % S_NS // MS:03d}Z"


def _on_connect(session: ClientSession) -> Answer:
    welcome = {
        "info": "Welcome to the BitMEX Realtime API.",
        "version": "2.0.0",
        "timestamp": _iso(session.now_ns()),
        "docs": "https://www.bitmex.com/app/wsAPI",
        "heartbeatEnabled": False,
    }
    return Answer([compact(welcome)])


def _refused(status: int, reason: str, request: object, **meta: object) -> Answer:
    return Answer([compact({"status": status, "error": reason, "meta": meta, "request": request})])


def _on_message(session: ClientSession, text: str) -> Answer:
    if text == "ping":
        return Answer(["pong"])
    message = json_object(text)
    if message is None:
        return _refused(400, "Unexpected token in JSON", text)
    args, op = message.get("args"), message.get("op")
    topics = [args] if isinstance(args, str) else string_list(args)
    if op not in ("subscribe", "unsubscribe") or not topics:
        return _refused(400, "Unrecognized request.", message)
    frames, natives = list[str](), list[str]()
    for topic in topics:
        native = topic.removeprefix(TOPIC)
        if not topic.startswith(TOPIC):
            frames += _refused(400, f"Unknown table: {topic.partition(':')[0]}", message).frames
        elif native not in session.known:
            frames += _refused(400, "Unknown or expired symbol.", message, symbol=native).frames
        elif op == "subscribe" and native in session.subscribed:
            frames += _refused(400, f"You are already subscribed to this topic: {topic}", message).frames
        else:
            natives.append(native)
            frames.append(compact({"success": True, op: topic, "pool": "Aggregated", "request": message}))
    if op == "unsubscribe":
        return Answer(frames, remove=natives)
    return Answer(frames, add=natives, replay=natives)


def _row(native: str, fill: Fill) -> str:
    base = float(fill.volume) / float(fill.price)
    return (
        f'{{"timestamp":"{_iso(fill.ns)}","symbol":"{native}","side":"{fill.side.capitalize()}","size":{fill.volume},'
        f'"price":{fill.price},"tickDirection":"{"PlusTick" if fill.rising else "MinusTick"}",'
        f'"trdMatchID":"{fill.trade_id}","grossValue":{round(base * 1e8)},"homeNotional":{base:.8f},'
        f'"foreignNotional":{fill.volume}}}'
    )


def _frame(market: Market, action: str, fills: Sequence[Fill]) -> str:
    rows = ",".join(_row(market.native, fill) for fill in fills)
    head = '"table":"trade","action":"partial","keys":[],' if action == "partial" else '"table":"trade",'
    if action == "partial":
        name = f'"filter":{{"pool":"Aggregated","symbol":"{market.native}"}}'
        return f'{{{head}{name},"data":[{rows}]}}'
    return f'{{{head}"action":"insert","data":[{rows}]}}'


def _trade_frames(market: Market, fills: Sequence[Fill]) -> list[str]:
    return [_frame(market, "insert", fills)]


def _replay(market: Market) -> list[str]:
    return [_frame(market, "partial", list(market.recent)[-1:])]


def _seed(frame: Mapping[str, Any]) -> Seed:
    rows = frame["data"]
    return Seed(0, 0, [str(row["price"]) for row in rows], [str(row["size"]) for row in rows])


# The REST side: a market's trades by time, and the list of instruments.

REST_PATH, LIST_PATH = "/api/v1/trade", "/api/v1/instrument/active"
ROWS, ROWS_MAX = 100, 1000


def _ns(text: str) -> int | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return round(moment.timestamp() * 1000) * MS


def _rest_answer(request: HttpRequest, find: Find) -> HttpResponse:
    """`start` leaves out so many rows."""
    tape = find("", request.query.get("symbol", ""))
    if tape is None:
        return error(400, error={"message": "Unknown or expired symbol.", "name": "HTTPError"})
    times = [_ns(request.query[name]) if name in request.query else 0 for name in ("startTime", "endTime")]
    if None in times:
        message = "startTime and endTime must be ISO 8601 dates"
        return error(400, error={"message": message, "name": "HTTPError"})
    start, end = (time or 0 for time in times)
    behind = tape.at_ns(end + MS) if end else len(tape.fills)
    rows, limit = tape.fills[tape.at_ns(start) : behind], request.limit("count", ROWS, ROWS_MAX)
    rows = rows[::-1] if request.query.get("reverse") == "true" else rows
    skip = request.number("start", 0) or 0
    return HttpResponse(f"[{','.join(_row(tape.native, fill) for fill in rows[skip : skip + limit])}]")


def _listing(_request: HttpRequest, markets: Sequence[ListedMarket]) -> HttpResponse:
    rows = []
    for market in markets:
        pair, _, settle = market.symbol.partition(":")
        base, _, quote = pair.partition("/")
        names = {"BTC": "XBT"}
        rows.append(
            {
                "symbol": market.native,
                "state": "Open",
                "typ": "FFWCSX",
                "expiry": None,
                "underlying": names.get(base, base),
                "quoteCurrency": quote,
                "settlCurrency": {"BTC": "XBt", "USDT": "USDt"}[settle],
                "lotSize": 100,
                "tickSize": 0.1,
                "underlyingToPositionMultiplier": None if settle == base else 1_000_000,
                "isQuanto": settle not in (base, quote),
                "isInverse": settle == base,
            }
        )
    return HttpResponse(compact(rows))


BITMEX = Venue(
    name="bitmex",
    doc="https://www.bitmex.com/app/wsAPI",
    paths={"/realtime": ""},
    styles={"": Style(resolution_ns=MS, trims_zeros=False, uuid_ids=True)},
    seed=_seed,
    on_connect=_on_connect,
    on_message=_on_message,
    trade_frames=_trade_frames,
    replay=_replay,
    warm_up=1,
    connects=(40.0, 60.0),
    history=HistoryServer(
        doc="https://www.bitmex.com/api/explorer/#!/Trade/Trade_get",
        paths=(REST_PATH,),
        answer=_rest_answer,
        units=30.0,
        window_s=60.0,
        too_many=error(
            429, error={"message": "Rate limit exceeded, retry in 1 seconds.", "name": "RateLimitError"}
        ),
    ),
    listing=Listing(paths=(LIST_PATH,), answer=_listing),
)
