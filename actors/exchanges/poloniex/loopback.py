"""Poloniex's trades: wss://ws.poloniex.com/ws/public and /ws/v3/public, as documented and recorded in 2026."""

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

SWAP = "swap"


def _error(message: str) -> Answer:
    return Answer([compact({"message": message, "event": "error"})])


def _on_message(session: ClientSession, text: str) -> Answer:
    message = json_object(text)
    if message is None:
        return _error("Bad request")
    event, channels, symbols = message.get("event"), message.get("channel"), string_list(message.get("symbols"))
    if event == "ping":
        return Answer(['{"event":"pong"}'])
    if event not in ("subscribe", "unsubscribe"):
        return _error("Invalid event")
    if channels != ["trades"]:
        return _error(f"Invalid channel values {compact(channels)}")
    if symbols == ["all"]:
        return _error("All symbols subscription is not allowed")
    known = [symbol for symbol in symbols if symbol in session.known]
    if not known:
        return _error("no valid symbols")
    frames = [compact({"event": event, "channel": "trades", "symbols": known})]
    if event == "unsubscribe":
        return Answer(frames, remove=known)
    return Answer(frames, add=[symbol for symbol in known if symbol not in session.subscribed])


def _amount(fill: Fill) -> str:
    return f"{float(fill.price) * float(fill.volume):.8f}"


def _row(market: Market, fill: Fill) -> str:
    if market.category == SWAP:
        return f'{{"s":"{market.native}",{_fill(fill)},"ts":{fill.ns // MS + 5}}}'
    return (
        f'{{"symbol":"{market.native}","amount":"{_amount(fill)}","quantity":"{fill.volume}",'
        f'"takerSide":"{fill.side}","createTime":{fill.ns // MS},"price":"{fill.price}","id":"{fill.trade_id}",'
        f'"ts":{fill.ns // MS + 5}}}'
    )


def _fill(fill: Fill) -> str:
    return (
        f'"amt":"{_amount(fill)}","cT":{fill.ns // MS},"id":{fill.trade_id},"px":"{fill.price}",'
        f'"qty":"{fill.volume}","side":"{fill.side}"'
    )


def _trade_frames(market: Market, fills: Sequence[Fill]) -> list[str]:
    return [f'{{"channel":"trades","data":[{_row(market, fill)}]}}' for fill in fills]


def _seed(frame: Mapping[str, Any]) -> Seed:
    row = frame["data"][-1]
    if "px" in row:
        return Seed(int(row["id"]), 0, [row["px"]], [row["qty"]])
    return Seed(int(row["id"]), 0, [row["price"]], [row["quantity"]])


# The REST side: the newest trades of a market, and the lists of markets.

SPOT_PATH, SWAP_PATH = "/markets", "/v3/market/trades"
LIST_PATHS = (SPOT_PATH, "/v3/market/allInstruments")
ROWS, ROWS_MAX = 500, 1000


def _rest_answer(request: HttpRequest, find: Find) -> HttpResponse:
    if request.path == SWAP_PATH:
        tape = find(SWAP, request.query.get("symbol", ""))
        if tape is None:
            return error(200, code=24101, msg="Invalid symbol!", data="")
        fills = tape.fills[-request.limit("limit", ROWS, ROWS_MAX) :]
        rows = ",".join(f"{{{_fill(fill)}}}" for fill in reversed(fills))
        return HttpResponse(f'{{"code":200,"data":[{rows}],"msg":"Success"}}')
    native, _, last = request.path.removeprefix(f"{SPOT_PATH}/").partition("/")
    tape = find("spot", native)
    if tape is None or last != "trades":
        return error(400, code=24101, message="Invalid symbol")
    fills = tape.fills[-request.limit("limit", ROWS, ROWS_MAX) :]
    rows = ",".join(
        f'{{"id":"{fill.trade_id}","price":"{fill.price}","quantity":"{fill.volume}","amount":"{_amount(fill)}",'
        f'"takerSide":"{fill.side.upper()}","ts":{fill.ns // MS + 5},"createTime":{fill.ns // MS}}}'
        for fill in reversed(fills)
    )
    return HttpResponse(f"[{rows}]")


def _listing(request: HttpRequest, markets: Sequence[ListedMarket]) -> HttpResponse | None:
    if request.path not in LIST_PATHS:
        return None
    swap = request.path != SPOT_PATH
    rows = [_listed(market) for market in markets if (market.category == SWAP) == swap]
    return HttpResponse(compact({"code": 200, "msg": "Success", "data": rows} if swap else rows))


def _listed(market: ListedMarket) -> dict[str, object]:
    base, quote = market.native.split("_")[:2]
    if market.category == SWAP:
        names = {"symbol": market.native, "bCcy": base, "qCcy": quote, "sCcy": quote, "status": "OPEN"}
        return {**names, "tSz": "0.01", "lotSz": "1", "ctVal": "0.001", "ctType": "LINEAR", "alias": ""}
    limits = {"symbol": market.native, "priceScale": 2, "quantityScale": 6, "amountScale": 2}
    names = {"symbol": market.native, "baseCurrencyName": base, "quoteCurrencyName": quote}
    return {**names, "displayName": f"{base}/{quote}", "state": "NORMAL", "symbolTradeLimit": limits}


POLONIEX = Venue(
    name="poloniex",
    doc="https://api-docs.poloniex.com/spot/websocket/market-data",
    paths={"/ws/public": "spot", "/ws/v3/public": SWAP},
    styles={
        "spot": Style(resolution_ns=MS, trims_zeros=True),
        SWAP: Style(resolution_ns=MS, trims_zeros=False),
    },
    seed=_seed,
    on_message=_on_message,
    trade_frames=_trade_frames,
    idle_timeout_s=30.0,
    requests_per_s=500,
    connects=(2000.0, 1.0),
    history=HistoryServer(
        doc="https://api-docs.poloniex.com/spot/api/public/market-data#trades",
        paths=(f"{SPOT_PATH}/", SWAP_PATH),
        answer=_rest_answer,
        units=200.0,
        window_s=1.0,
        too_many=error(429, code=429, message="TOO_MANY_REQUEST"),
    ),
    listing=Listing(paths=LIST_PATHS, answer=_listing),
)
