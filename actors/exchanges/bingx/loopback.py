"""BingX, trades: wss://open-api-ws.bingx.com/market and wss://open-api-swap.bingx.com/swap-market, as in 2026."""

import gzip
from collections.abc import Mapping, Sequence
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
    error,
)

TOPIC, TOPICS_MAX = "@trade", 200
VOLUME_CHARS = 20  # 18 decimals: what clients are sure to store


def _answer(session: ClientSession, request_id: object, code: int, msg: str) -> str:
    if session.category == "spot":
        return compact({"code": code, "id": request_id, "msg": msg, "timestamp": session.now_ns() // MS})
    text = "" if code == 0 else msg
    return compact({"id": request_id, "code": code, "msg": text, "dataType": "", "data": None})


def _on_message(session: ClientSession, text: str) -> Answer:
    message = json_object(text)
    if text == "Pong" or (message is not None and "pong" in message):
        return Answer(pong=True)
    if message is None:
        return Answer()
    request_id, topic = message.get("id"), str(message.get("dataType"))
    native = topic.removesuffix(TOPIC)
    if message.get("reqType") not in ("sub", "unsub") or not isinstance(request_id, str):
        return Answer([_answer(session, request_id, 100400, "illegal argument")])
    if native not in session.known or topic != native + TOPIC:
        return Answer([_answer(session, request_id, 80015, "dataType not support")])
    if message["reqType"] == "unsub":
        return Answer([_answer(session, request_id, 0, "SUCCESS")], remove=[native])
    if native in session.subscribed:
        return Answer([_answer(session, request_id, 100205, "repeat request")])
    if len(session.subscribed) >= TOPICS_MAX:
        return Answer([_answer(session, request_id, 80403, f"your topic num over max {TOPICS_MAX}")])
    return Answer([_answer(session, request_id, 0, "SUCCESS")], add=[native])


def _trade_frames(market: Market, fills: Sequence[Fill]) -> list[str]:
    topic = f'"dataType":"{market.native}{TOPIC}"'
    if market.category == "swap":
        rows = ",".join(_swap_row(market.native, fill) for fill in fills)
        return [f'{{"code":0,{topic},"data":[{rows}]}}']
    return [
        f'{{"code":0,"data":{_spot_row(market.native, fill)},{topic},"success":true,'
        f'"timestamp":{fill.ns // MS + 20}}}'
        for fill in fills
    ]


def _flag(fill: Fill) -> str:
    """The buyer was the maker."""
    return "true" if fill.side == "sell" else "false"


def _spot_row(native: str, fill: Fill) -> str:
    return (
        f'{{"E":{fill.ns // MS + 14},"T":{fill.ns // MS},"e":"trade","m":{_flag(fill)},"p":"{fill.price}",'
        f'"q":"{fill.volume}","s":"{native}","t":"{fill.trade_id}"}}'
    )


def _swap_row(native: str, fill: Fill) -> str:
    return f'{{"q":"{fill.volume}","p":"{fill.price}","T":{fill.ns // MS},"m":{_flag(fill)},"s":"{native}"}}'


def _seed(frame: Mapping[str, Any]) -> Seed:
    row = frame["data"][0] if isinstance(frame["data"], list) else frame["data"]
    return Seed(int(row.get("t", 0)), 0, [row["p"]], [row["q"][:VOLUME_CHARS]])


# The REST side: the newest trades.

SPOT_PAST, SWAP_PAST = "/openApi/spot/v1/market/trades", "/openApi/swap/v2/quote/trades"
SPOT_LIST, SWAP_LIST = "/openApi/spot/v1/common/symbols", "/openApi/swap/v2/quote/contracts"


def _history(request: HttpRequest, find: Find) -> HttpResponse:
    spot, native = request.path == SPOT_PAST, request.query.get("symbol", "")
    tape = find("spot" if spot else "swap", native)
    if tape is None:
        return error(
            200, code=109400, msg=f"{native},symbol not exist, please verify it in api: {SWAP_LIST}", data={}
        )
    fills = tape.fills[-(request.limit("limit", 100, 500) if spot else request.limit("limit", 500, 1000)) :]
    rows = ",".join(map(_spot_past, reversed(fills)) if spot else map(_swap_past, fills))
    return HttpResponse(f'{{"code":0,"timestamp":1655085975600,"data":[{rows}]}}')


def _spot_past(fill: Fill) -> str:
    return (
        f'{{"id":{fill.trade_id},"price":{fill.price},"qty":{fill.volume},"time":{fill.ns // MS},'
        f'"buyerMaker":{_flag(fill)}}}'
    )


def _swap_past(fill: Fill) -> str:
    return (
        f'{{"time":{fill.ns // MS},"isBuyerMaker":{_flag(fill)},"price":"{fill.price}","qty":"{fill.volume}",'
        f'"quoteQty":"1"}}'
    )


def _list(request: HttpRequest, markets: Sequence[ListedMarket]) -> HttpResponse:
    if request.path == SPOT_LIST:
        pairs = [_pair(market.native) for market in markets if market.category == "spot"]
        return HttpResponse(compact({"code": 0, "msg": "", "data": {"symbols": pairs}}))
    contracts = [_contract(market.native) for market in markets if market.category == "swap"]
    return HttpResponse(compact({"code": 0, "msg": "", "data": contracts}))


def _pair(native: str) -> dict[str, object]:
    return {"symbol": native, "tickSize": 0.01, "stepSize": 1e-6, "status": 1, "apiStateBuy": True}


def _contract(native: str) -> dict[str, object]:
    base, _, quote = native.partition("-")
    return {
        **{"contractId": "100", "symbol": native, "quantityPrecision": 4, "pricePrecision": 1},
        **{"currency": quote, "asset": base, "status": 1, "apiStateOpen": "true"},
    }


BINGX = Venue(
    name="bingx",
    doc="https://bingx-api.github.io/docs/#/en-us/spot/socket/market.html",
    paths={"/market": "spot", "/swap-market": "swap"},
    styles=dict.fromkeys(("spot", "swap"), Style(resolution_ns=MS, trims_zeros=False)),
    seed=_seed,
    on_message=_on_message,
    trade_frames=_trade_frames,
    encode=lambda text: gzip.compress(text.encode(), compresslevel=1),
    binary=True,
    server_ping=lambda _session: "Ping",
    server_ping_s=5.0,
    server_pings_unanswered=6,
    server_ping_close=(1006, ""),
    requests_per_s=10,
    connects=(60.0, 60.0),
    history=HistoryServer(
        doc="https://bingx-api.github.io/docs/#/en-us/spot/market-api.html",
        paths=(SPOT_PAST, SWAP_PAST),
        answer=_history,
        units=500.0,
        window_s=10.0,
        too_many=error(429, code=100410, msg="rate limited"),
    ),
    listing=Listing(paths=(SPOT_LIST, SWAP_LIST), answer=_list),
)
