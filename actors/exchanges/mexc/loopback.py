"""MEXC, trades: wss://wbs-api.mexc.com/ws and wss://contract.mexc.com/edge, as documented and seen in 2026.

Its own frames of spot are written as JSON, with the names of the published schema, and leave as protobuf.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
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

CHANNEL = re.compile(r"(spot@public\.aggre\.deals\.v3\.api\.pb@(?:10|100)ms)@(\w+)")
SUBSCRIPTIONS_MAX = 30
SIDES = {"buy": 1, "sell": 2}


def _on_message(session: ClientSession, text: str) -> Answer:
    message = json_object(text) or {}
    return (_spot if session.category == "spot" else _futures)(session, message)


def _spot(session: ClientSession, message: Mapping[str, Any]) -> Answer:
    """A refusal has the code 0 as well."""
    method, request_id = message.get("method"), message.get("id", 0)
    if method == "PING":
        return Answer([compact({"id": request_id, "code": 0, "msg": "PONG"})])
    frames: list[str] = []
    natives: list[str] = []
    for param in string_list(message.get("params")):
        found = CHANNEL.fullmatch(param)
        full = method == "SUBSCRIPTION" and len(session.subscribed) + len(natives) >= SUBSCRIPTIONS_MAX
        if (
            method not in ("SUBSCRIPTION", "UNSUBSCRIPTION")
            or found is None
            or found[2] not in session.known
            or full
        ):
            param = f"Not Subscribed successfully! [{param}].  Reason\uff1a Blocked! "
        else:
            natives.append(found[2])
        frames.append(compact({"id": request_id, "code": 0, "msg": param}))
    if method == "UNSUBSCRIPTION":
        return Answer(frames, remove=natives)
    return Answer(frames, add=[native for native in dict.fromkeys(natives) if native not in session.subscribed])


def _futures(session: ClientSession, message: Mapping[str, Any]) -> Answer:
    """The acknowledgement names no symbol."""
    ms, method, param = session.now_ns() // MS, message.get("method"), message.get("param")
    if method == "ping":
        return Answer([compact({"channel": "pong", "data": ms, "ts": ms})])
    native = str(param.get("symbol")) if isinstance(param, dict) else ""
    if method not in ("sub.deal", "unsub.deal"):
        return Answer([compact({"channel": "rs.error", "data": f"Method [{method}] not exists", "ts": ms})])
    if native not in session.known:
        return Answer([compact({"channel": "rs.error", "data": f"Contract [{native}] not exists", "ts": ms})])
    ack = [compact({"channel": f"rs.{method}", "data": "success", "ts": ms})]
    if method == "unsub.deal":
        return Answer(ack, remove=[native])
    return Answer(ack, add=[native] if native not in session.subscribed else [])


def _trade_frames(market: Market, fills: Sequence[Fill]) -> list[str]:
    ms = fills[-1].ns // MS
    if market.category == "futures":  # newest first
        rows = ",".join(_futures_row(fill) for fill in reversed(fills))
        return [f'{{"symbol":"{market.native}","data":[{rows}],"channel":"push.deal","ts":{ms}}}']
    event = "spot@public.aggre.deals.v3.api.pb@10ms"
    deals = [
        {
            **{"price": fill.price, "quantity": fill.volume, "tradeType": SIDES[fill.side]},
            **{"time": fill.ns // MS},
        }
        for fill in fills
    ]
    head = {"channel": f"{event}@{market.native}", "symbol": market.native, "sendTime": ms + 4}
    return [compact({**head, "publicAggreDeals": {"deals": deals, "eventType": event}})]


def _futures_row(fill: Fill) -> str:
    ms = fill.ns // MS
    return (
        f'{{"p":{fill.price},"v":{fill.volume},"T":{SIDES[fill.side]},"O":3,"M":1,"t":{ms},"i":"{fill.trade_id}",'
        f'"cts":"{ms}"}}'
    )


def _encode(text: str) -> bytes:
    """Trades of spot as protobuf, all else as it is."""
    if '"publicAggreDeals"' in text:
        try:
            return b"".join(_wrapper(json.loads(text)))
        except (ValueError, TypeError, LookupError, AttributeError):
            pass  # a fault has spoilt it
    return text.encode()


def _wrapper(message: Mapping[str, Any]) -> Iterator[bytes]:
    """PushDataV3ApiWrapper."""
    body = message["publicAggreDeals"]
    yield _text(1, message["channel"])
    yield _text(3, message["symbol"])
    yield _number(6, message["sendTime"])
    deals = b"".join(_sized(1, b"".join(_deal(deal))) for deal in body["deals"])
    yield _sized(314, deals + _text(2, body["eventType"]))


def _deal(deal: Mapping[str, Any]) -> Iterator[bytes]:
    yield _text(1, deal["price"])
    yield _text(2, deal["quantity"])
    yield _number(3, deal["tradeType"])
    yield _number(4, deal["time"])


def _text(number: int, text: str) -> bytes:
    return _sized(number, text.encode())


def _sized(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _varint(value: int) -> bytes:
    if not 0 <= value < 1 << 64:
        raise ValueError("no 64 bits")
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value))


def _seed(frame: Mapping[str, Any]) -> Seed:
    if "publicAggreDeals" in frame:
        row = frame["publicAggreDeals"]["deals"][-1]
        return Seed(0, 0, [row["price"]], [row["quantity"]])
    row = frame["data"][0]
    return Seed(int(row["i"]), 0, [str(row["p"])], [str(row["v"])])


# The REST side: the newest trades, newest first and without ids.

SPOT_PAST, FUTURES_PAST = "/api/v3/trades", "/api/v1/contract/deals/"
SPOT_LIST, FUTURES_LIST = "/api/v3/exchangeInfo", "/api/v1/contract/detail"


def _history(request: HttpRequest, find: Find) -> HttpResponse:
    if request.path == SPOT_PAST:
        tape = find("spot", request.query.get("symbol", ""))
        if tape is None:
            return error(400, code=-1121, msg="Invalid symbol.")
        fills = reversed(tape.fills[-request.limit("limit", 500, 1000) :])
        return HttpResponse(f"[{','.join(map(_spot_past_row, fills))}]")
    tape = find("futures", request.path.rpartition("/")[2])
    if tape is None:
        return error(200, success=False, code=1001, message="Contract does not exist")
    fills = reversed(tape.fills[-request.limit("limit", 100, 100) :])
    return HttpResponse(f'{{"success":true,"code":0,"data":[{",".join(map(_futures_past_row, fills))}]}}')


def _futures_past_row(fill: Fill) -> str:
    """As the documents have it."""
    return f'{{"p":{fill.price},"v":{fill.volume},"T":{SIDES[fill.side]},"O":3,"M":1,"t":{fill.ns // MS}}}'


def _spot_past_row(fill: Fill) -> str:
    sold = fill.side == "sell"
    return (
        f'{{"id":null,"price":"{fill.price}","qty":"{fill.volume}","quoteQty":"1","time":{fill.ns // MS},'
        f'"isBuyerMaker":{str(sold).lower()},"isBestMatch":true,"tradeType":"{"ASK" if sold else "BID"}"}}'
    )


def _list(request: HttpRequest, markets: Sequence[ListedMarket]) -> HttpResponse:
    if request.path == SPOT_LIST:
        pairs = [_pair(market) for market in markets if market.category == "spot"]
        return HttpResponse(compact({"timezone": "CST", "serverTime": 1, "rateLimits": [], "symbols": pairs}))
    contracts = [_contract(market) for market in markets if market.category == "futures"]
    return HttpResponse(compact({"success": True, "code": 0, "data": contracts}))


def _pair(market: ListedMarket) -> dict[str, object]:
    base, _, quote = market.symbol.partition("/")
    return {
        **{"symbol": market.native, "status": "1", "baseAsset": base, "baseAssetPrecision": 8, "quoteAsset": quote},
        **{"quotePrecision": 2, "baseSizePrecision": "0.000001", "isSpotTradingAllowed": True},
    }


def _contract(market: ListedMarket) -> dict[str, object]:
    base, quote = market.native.split("_")
    return {
        **{
            "symbol": market.native,
            "baseCoin": base,
            "quoteCoin": quote,
            "settleCoin": quote,
            "contractSize": 0.0001,
        },
        **{"priceUnit": 0.1, "volUnit": 1, "state": 0, "apiAllowed": False},
    }


MEXC = Venue(
    name="mexc",
    doc="https://www.mexc.com/api-docs/spot-v3/websocket-market-streams",
    paths={"/ws": "spot", "/edge": "futures"},
    styles=dict.fromkeys(("spot", "futures"), Style(resolution_ns=MS, trims_zeros=False)),
    seed=_seed,
    on_message=_on_message,
    trade_frames=_trade_frames,
    encode=_encode,
    binary=True,
    idle_timeout_s=60.0,
    subscribe_within_s=30.0,
    requests_per_s=100,
    connects=(100.0, 1.0),  # ours: none is documented
    history=HistoryServer(
        doc="https://www.mexc.com/api-docs/spot-v3/market-data-endpoints",
        paths=(SPOT_PAST, FUTURES_PAST),
        answer=_history,
        units=20.0,
        window_s=2.0,
        too_many=error(429, code=429, msg="Too Many Requests"),
    ),
    listing=Listing(paths=(SPOT_LIST, FUTURES_LIST), answer=_list),
)
