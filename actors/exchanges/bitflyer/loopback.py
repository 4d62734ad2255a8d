"""bitFlyer, executions: wss://ws.lightstream.bitflyer.com/json-rpc and its REST side, as recorded up to 2026."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from actors.exchanges.contract.loopback import MS, Answer, ClientSession, Venue, compact, json_object
from actors.exchanges.contract.loopback_market import Fill, Market, Seed, Style
from actors.exchanges.contract.loopback_rest import (
    Find,
    HistoryServer,
    HttpRequest,
    HttpResponse,
    ListedMarket,
    Listing,
)

CHANNEL = "lightning_executions_"
KINDS = ("lightning_board_snapshot_", "lightning_board_", "lightning_ticker_", CHANNEL)


def _result(request_id: object) -> list[str]:
    """A request without an id gets no answer."""
    return [] if request_id is None else [compact({"jsonrpc": "2.0", "id": request_id, "result": True})]


def _error(request_id: object, code: int, message: str) -> Answer:
    if request_id is None:
        return Answer()
    return Answer([compact({"jsonrpc": "2.0", "id": request_id, "error": {"code": code, "message": message}})])


def _on_message(session: ClientSession, text: str) -> Answer:
    """A product that does not exist is acknowledged like any other."""
    message = json_object(text)
    if message is None:
        broken = {"code": -32700, "message": "Parse error", "data": "Invalid JSON"}
        return Answer([compact({"jsonrpc": "2.0", "error": broken, "id": None})])
    request_id, params = message.get("id"), message.get("params")
    channel = str(params.get("channel")) if isinstance(params, dict) else ""
    if message.get("method") not in ("subscribe", "unsubscribe"):
        return _error(request_id, -32601, "Method not found")
    if not channel.startswith(KINDS):
        return _error(request_id, -32602, "invalid channel")
    native = channel.removeprefix(CHANNEL)
    known = channel.startswith(CHANNEL) and native in session.known
    if message["method"] == "unsubscribe":
        return Answer(_result(request_id), remove=[native] if known else [])
    if native in session.subscribed:
        return _error(request_id, -32009, "already subscribed")
    return Answer(_result(request_id), add=[native] if known else [])


def _row(fill: Fill, time: str) -> str:
    accepted = f"{datetime.fromtimestamp(fill.ns // MS // 1000, UTC):JRF%Y%m%d-%H%M%S}"
    return (
        f'{{"id":{fill.trade_id},"side":"{fill.side.upper()}","price":{fill.price},"size":{fill.volume},'
        f'"exec_date":"{time}","buy_child_order_acceptance_id":"{accepted}-{fill.order:06d}",'
        f'"sell_child_order_acceptance_id":"{accepted}-{fill.order + 7:06d}"}}'
    )


def _time(fill: Fill, digits: int) -> str:
    moment = datetime.fromtimestamp(fill.ns // MS // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{fill.ns % 1_000_000_000:09d}"[: 20 + digits]


def _trade_frames(market: Market, fills: Sequence[Fill]) -> list[str]:
    rows = ",".join(_row(fill, _time(fill, 7) + "Z") for fill in fills)
    return [
        f'{{"jsonrpc":"2.0","method":"channelMessage","params":{{"channel":"{CHANNEL}{market.native}",'
        f'"message":[{rows}]}}}}'
    ]


def _seed(frame: Mapping[str, Any]) -> Seed:
    rows = frame["params"]["message"]
    return Seed(rows[-1]["id"], 0, [row["price"] for row in rows], [row["size"] for row in rows])


# The REST side: newest first, between two ids; times have three decimals and no zone.

REST_ROWS_MAX = 500


def _rest_error(status: int, code: int, message: str) -> HttpResponse:
    return HttpResponse(compact({"status": code, "error_message": message, "data": None}), status)


def _rest_answer(request: HttpRequest, find: Find) -> HttpResponse:
    tape = find("", request.query.get("product_code", "BTC_JPY"))
    if tape is None:
        return _rest_error(400, -100, "Invalid product")
    before, after = request.number("before"), request.number("after")
    fills = tape.fills[: len(tape.fills) if before is None else tape.at_id(before)]
    if after is not None:
        fills = [fill for fill in fills if int(fill.trade_id) > after]
    rows = fills[-request.limit("count", 100, REST_ROWS_MAX) :]
    return HttpResponse(f"[{','.join(_row(fill, _time(fill, 3)) for fill in reversed(rows))}]")


def _listing(_request: HttpRequest, markets: Sequence[ListedMarket]) -> HttpResponse:
    kinds = [("FX" if ":" in market.symbol else "Spot", market.native) for market in markets]
    return HttpResponse(compact([{"product_code": native, "market_type": kind} for kind, native in kinds]))


BITFLYER = Venue(
    name="bitflyer",
    doc="https://bf-lightning-api.readme.io/docs/realtime-executions",
    paths={"/json-rpc": ""},
    styles={"": Style(resolution_ns=100, trims_zeros=False)},
    seed=_seed,
    on_message=_on_message,
    trade_frames=_trade_frames,
    ping_s=15.0,
    connects=(10.0, 1.0),
    history=HistoryServer(
        doc="https://lightning.bitflyer.com/docs?lang=en",
        paths=("/v1/executions",),
        answer=_rest_answer,
        units=500.0,
        window_s=300.0,
        too_many=_rest_error(429, -1, "Over API limit per period, per IP address"),
    ),
    listing=Listing(paths=("/v1/markets", "/v1/markets/usa", "/v1/markets/eu"), answer=_listing),
)
