"""Upbit, trades: wss://api.upbit.com/websocket/v1 in the format DEFAULT, as documented and recorded in 2026."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from actors.exchanges.contract.loopback import MS, Answer, ClientSession, Venue, compact
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
DAY_S = 86_400
SIDES = {"sell": "ASK", "buy": "BID"}  # the taker's
TYPES = ("trade", "ticker", "orderbook")


def _error(name: str, message: str) -> Answer:
    """A wrong request ends the connection."""
    return Answer([compact({"error": {"name": name, "message": message}})], close=(1000, ""))


def _on_message(session: ClientSession, text: str) -> Answer:
    """A request replaces all that was asked for before; no request is answered, unknown codes are passed over."""
    if text == "PING":
        return Answer(['{"status":"UP"}'])
    try:
        parts = json.loads(text)
    except (ValueError, RecursionError):
        parts = None
    if not (isinstance(parts, list) and all(isinstance(part, dict) for part in parts)):
        return _error("WRONG_FORMAT", "Format 이 맞지 않습니다.")
    if not any(part.get("ticket") for part in parts):
        return _error("NO_TICKET", "티켓이 존재하지 않거나, 유효하지 않습니다.")
    wanted = [part for part in parts if "ticket" not in part and "format" not in part]
    if not wanted or not all("type" in part for part in wanted):
        return _error("NO_TYPE", "type 필드가 존재하지 않습니다.")
    codes: list[str] = []
    for part in wanted:
        if part["type"] not in TYPES:
            return _error("INVALID_PARAM", f"{part['type']} 은 지원하지 않는 타입입니다.")
        if not isinstance(part.get("codes"), list):
            return _error("NO_CODES", "codes 필드가 존재하지 않습니다.")
        if not part["codes"]:
            return _error("INVALID_PARAM", "codes 필드가 비어 있습니다.")
        if part["type"] == "trade":
            codes += [str(code) for code in part["codes"] if str(code) in session.known]
    now = list(dict.fromkeys(codes))
    return Answer(
        add=[code for code in now if code not in session.subscribed],
        remove=[code for code in session.subscribed if code not in now],
        replay=now,
    )


def _frame(market: Market, fill: Fill, stream: str) -> str:
    moment, touch = datetime.fromtimestamp(fill.ns // S_NS, UTC), fill.price.partition(".")[0]
    return (
        f'{{"type":"trade","code":"{market.native}","timestamp":{fill.ns // MS + 46},'
        f'"trade_date":"{moment:%Y-%m-%d}","trade_time":"{moment:%H:%M:%S}","trade_timestamp":{fill.ns // MS},'
        f'"trade_price":{fill.price},"trade_volume":{fill.volume},"ask_bid":"{SIDES[fill.side]}",'
        f'"prev_closing_price":{fill.price},"change":"EVEN","change_price":0E-8,'
        f'"sequential_id":{fill.trade_id},"best_ask_price":{touch},"best_ask_size":0.00906333,'
        f'"best_bid_price":{touch},"best_bid_size":0.00702247,"stream_type":"{stream}"}}'
    )


def _trade_frames(market: Market, fills: Sequence[Fill]) -> list[str]:
    return [_frame(market, fill, "REALTIME") for fill in fills]


def _replay(market: Market) -> list[str]:
    return [_frame(market, market.recent[-1], "SNAPSHOT")]


def _seed(frame: Mapping[str, Any]) -> Seed:
    return Seed(frame["sequential_id"], 0, [frame["trade_price"]], [frame["trade_volume"]])


# The REST side: the trades of one day, newest first, as recorded in 2018.

REST_PATHS = ("/v1/trades/ticks", "/v1/trades")
REST_ROWS_MAX = 500


def _rest_row(native: str, fill: Fill) -> str:
    moment = datetime.fromtimestamp(fill.ns // S_NS, UTC)
    return (
        f'{{"market":"{native}","trade_date_utc":"{moment:%Y-%m-%d}","trade_time_utc":"{moment:%H:%M:%S}",'
        f'"timestamp":{fill.ns // MS},"trade_price":{fill.price},"trade_volume":{fill.volume},'
        f'"prev_closing_price":{fill.price},"change_price":0E-8,"ask_bid":"{SIDES[fill.side]}",'
        f'"sequential_id":{fill.trade_id}}}'
    )


def _rest_answer(request: HttpRequest, find: Find) -> HttpResponse:
    """Trades of the day that is `days_ago` before that of the newest one, older than `cursor` and before `to`."""
    tape = find("", request.query.get("market", ""))
    if tape is None:
        return error(404, error={"name": 404, "message": "Code not found"})
    ago, to = request.number("days_ago", 0) or 0, request.query.get("to", "").replace(":", "")
    if ago > 7 or (to and not (len(to) == 6 and to.isascii() and to.isdecimal())):
        return error(400, error={"name": 400, "message": "Invalid parameter. Check the given value!"})
    if not tape.fills:
        return HttpResponse("[]")
    day = tape.fills[-1].ns // S_NS // DAY_S - ago
    end_s = DAY_S if not to else int(to[:2]) * 3600 + int(to[2:4]) * 60 + int(to[4:])
    start, end = tape.at_ns(day * DAY_S * S_NS), tape.at_ns((day * DAY_S + end_s) * S_NS)
    if (cursor := request.number("cursor")) is not None:
        end = min(end, tape.at_id(cursor))
    rows = tape.fills[max(start, end - request.limit("count", 1, REST_ROWS_MAX)) : max(start, end)]
    return HttpResponse(f"[{','.join(_rest_row(tape.native, fill) for fill in reversed(rows))}]")


def _listing(_request: HttpRequest, markets: Sequence[ListedMarket]) -> HttpResponse:
    rows = [{"market": m.native, "korean_name": m.native, "english_name": m.native} for m in markets]
    return HttpResponse(compact(rows))


UPBIT = Venue(
    name="upbit",
    doc="https://docs.upbit.com/kr/v1.6.4/reference/websocket-guide",
    paths={"/websocket/v1": ""},
    styles={"": Style(resolution_ns=MS, trims_zeros=False)},
    seed=_seed,
    on_message=_on_message,
    trade_frames=_trade_frames,
    replay=_replay,
    binary=True,
    idle_timeout_s=60.0,
    requests_per_s=5,
    warm_up=1,
    connects=(5.0, 1.0),
    history=HistoryServer(
        doc="https://docs.upbit.com/kr/v1.5.9/reference/%EC%B5%9C%EA%B7%BC-%EC%B2%B4%EA%B2%B0-%EB%82%B4%EC%97%AD",
        paths=REST_PATHS,
        answer=_rest_answer,
        units=10.0,
        window_s=1.0,
        too_many=HttpResponse("Too many API requests", 429, {"content-type": "text/plain"}),
    ),
    listing=Listing(paths=("/v1/market/all",), answer=_listing),
)
