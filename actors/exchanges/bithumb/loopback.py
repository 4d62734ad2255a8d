"""Bithumb, trades: wss://ws-api.bithumb.com/websocket/v1, as quoted of September 2026, and its REST side."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
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
KOREA = timedelta(hours=9)
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
    if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
        return _error("WRONG_FORMAT", "Format 이 맞지 않습니다.")
    if not any(part.get("ticket") for part in parts):
        return _error("NO_TICKET", "티켓이 존재하지 않거나, 유효하지 않습니다.")
    wanted = [part for part in parts if part.get("type") in TYPES]
    if not wanted:
        return _error("NO_TYPE", "type 필드가 존재하지 않습니다.")
    if not all(isinstance(part.get("codes"), list) and part["codes"] for part in wanted):
        return _error("NO_CODES", "codes 필드가 존재하지 않습니다.")
    codes = [str(code) for part in wanted if part["type"] == "trade" for code in part["codes"]]
    now = [code for code in dict.fromkeys(codes) if code in session.known]
    return Answer(
        add=[code for code in now if code not in session.subscribed],
        remove=[code for code in session.subscribed if code not in now],
        replay=now,
    )


def _frame(market: Market, fill: Fill, stream: str) -> str:
    moment = datetime.fromtimestamp(fill.ns // S_NS, UTC) + KOREA
    return (
        f'{{"type":"trade","code":"{market.native}","trade_price":{fill.price},"trade_volume":{fill.volume},'
        f'"ask_bid":"{SIDES[fill.side]}","trade_date":"{moment:%Y-%m-%d}","trade_time":"{moment:%H:%M:%S}",'
        f'"trade_timestamp":{fill.ns // MS},"sequential_id":{fill.trade_id},"timestamp":{fill.ns // MS + 300},'
        f'"stream_type":"{stream}"}}'
    )


def _trade_frames(market: Market, fills: Sequence[Fill]) -> list[str]:
    return [_frame(market, fill, "REALTIME") for fill in fills]


def _replay(market: Market) -> list[str]:
    return [_frame(market, market.recent[-1], "SNAPSHOT")]


def _seed(frame: Mapping[str, Any]) -> Seed:
    return Seed(frame["sequential_id"], 0, [str(frame["trade_price"])], [frame["trade_volume"]])


# The REST side: newest first, before a cursor.

REST_PATHS = ("/v1/trades/ticks",)
REST_ROWS_MAX = 500


def _rest_row(native: str, fill: Fill) -> str:
    moment = datetime.fromtimestamp(fill.ns // S_NS, UTC)
    return (
        f'{{"market":"{native}","trade_date_utc":"{moment:%Y-%m-%d}","trade_time_utc":"{moment:%H:%M:%S}",'
        f'"timestamp":{fill.ns // MS},"trade_price":{fill.price},"trade_volume":{fill.volume},'
        f'"prev_closing_price":{fill.price},"change_price":0,"ask_bid":"{SIDES[fill.side]}",'
        f'"sequential_id":{fill.trade_id}}}'
    )


def _rest_answer(request: HttpRequest, find: Find) -> HttpResponse:
    tape = find("", request.query.get("market", ""))
    if tape is None:
        return error(404, error={"name": 404, "message": "Code not found"})
    if "cursor" in request.query and request.number("cursor") is None:
        return error(400, error={"name": 400, "message": "Invalid parameter. Check the given value!"})
    cursor = request.number("cursor")
    end = len(tape.fills) if cursor is None else tape.at_id(cursor)
    rows = tape.fills[max(0, end - request.limit("count", 1, REST_ROWS_MAX)) : end]
    return HttpResponse(f"[{','.join(_rest_row(tape.native, fill) for fill in reversed(rows))}]")


def _listing(_request: HttpRequest, markets: Sequence[ListedMarket]) -> HttpResponse:
    return HttpResponse(compact([{"market": market.native, "english_name": market.symbol} for market in markets]))


BITHUMB = Venue(
    name="bithumb",
    doc="https://apidocs.bithumb.com/reference",
    paths={"/websocket/v1": ""},
    styles={"": Style(resolution_ns=MS, trims_zeros=True)},
    seed=_seed,
    on_message=_on_message,
    trade_frames=_trade_frames,
    replay=_replay,
    binary=True,
    idle_timeout_s=60.0,
    requests_per_s=5,
    warm_up=1,
    connects=(10.0, 1.0),
    history=HistoryServer(
        doc="https://apidocs.bithumb.com/reference/%EC%B5%9C%EA%B7%BC-%EC%B2%B4%EA%B2%B0-%EB%82%B4%EC%97%AD",
        paths=REST_PATHS,
        answer=_rest_answer,
        units=150.0,
        window_s=1.0,
        too_many=error(429, error={"name": "too_many_requests", "message": "Too many API requests"}),
    ),
    listing=Listing(paths=("/v1/market/all",), answer=_listing),
)
