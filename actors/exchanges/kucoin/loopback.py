"""KuCoin, trades of spot and perpetuals: wss://ws-api-spot.kucoin.com/, as documented and recorded 2021 to 2026."""

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

US = 1_000
TOPICS_MAX = 100  # in one request
TOPICS = ("/market/match", "/contractMarket/execution")  # spot and futures, which have hosts of their own
BULLET = "2neAiuYvAU61ZDXANAGAsiL4-iAExhsBXZxftpOeh"


def _error(request_id: object, code: int, data: str) -> Answer:
    return Answer([compact({"id": request_id, "type": "error", "code": code, "data": data})])


def _on_connect(session: ClientSession) -> Answer:
    if f"token={BULLET}" not in session.query:
        reason = {"type": "error", "code": 401, "data": "token is invalid"}
        return Answer([compact(reason)], close=(1000, ""))
    return Answer([compact({"id": f"c{session.connection}", "type": "welcome"})])


def _on_message(session: ClientSession, text: str) -> Answer:
    """An unknown market is acknowledged and stays silent."""
    message = json_object(text)
    kind = message.get("type") if message is not None else None
    if message is None or kind not in ("ping", "subscribe", "unsubscribe"):
        return _error(message.get("id") if message is not None else None, 404, "type is not supported")
    request_id = message.get("id")
    if kind == "ping":
        pong = {"id": request_id, "type": "pong", "timestamp": session.now_ns() // US}
        return Answer([compact(pong)])
    topic, _, names = str(message.get("topic")).partition(":")
    natives = [name for name in names.split(",") if name]
    if topic not in TOPICS or not natives:
        return _error(request_id, 404, "topic does not exist")
    if len(natives) > TOPICS_MAX:
        return _error(request_id, 509, f"exceed max subscription count limitation of {TOPICS_MAX} per time")
    known = [name for name in dict.fromkeys(natives) if name in session.known and _topic(name) == topic]
    ack = [compact({"id": request_id, "type": "ack"})] if message.get("response") else []
    if kind == "unsubscribe":
        return Answer(ack, remove=known)
    return Answer(ack, add=[name for name in known if name not in session.subscribed])


def _topic(native: str) -> str:
    return TOPICS[0] if "-" in native else TOPICS[1]


def _trade_frames(market: Market, fills: Sequence[Fill]) -> list[str]:
    return [(_spot_frame if "-" in market.native else _futures_frame)(market.native, fill) for fill in fills]


def _order(fill: Fill) -> str:
    return f"6a97d481ab7e1c00{fill.order:08x}"


def _spot_frame(native: str, fill: Fill) -> str:
    return (
        f'{{"topic":"{TOPICS[0]}:{native}","type":"message","subject":"trade.l3match","data":{{"makerOrderId":'
        f'"{_order(fill)}","price":"{fill.price}","sequence":"{fill.trade_id}","side":"{fill.side}",'
        f'"size":"{fill.volume}","symbol":"{native}","takerOrderId":"{fill.order}","time":"{fill.ns}",'
        f'"tradeId":"{fill.trade_id}"}}}}'
    )


def _futures_frame(native: str, fill: Fill) -> str:
    return (
        f'{{"topic":"{TOPICS[1]}:{native}","type":"message","subject":"match","sn":{fill.trade_id},"data":{{'
        f'"symbol":"{native}","sequence":{fill.trade_id},"makerUserId":"64c104280b64e30001557202",'
        f'"side":"{fill.side}","size":{fill.volume},"price":"{fill.price}","takerOrderId":"{fill.order}",'
        f'"takerUserId":"6508585da44dc2000175cb24","makerOrderId":"{_order(fill)}","tradeId":"{fill.trade_id}",'
        f'"ts":{fill.ns}}}}}'
    )


def _seed(frame: Mapping[str, Any]) -> Seed:
    row = frame["data"]
    return Seed(int(row["sequence"]), 0, [row["price"]], [str(row["size"])])


# The REST side: a token, the newest 100 trades (spot oldest first), and the lists of markets.

SPOT_PAST, FUTURES_PAST = "/api/v1/market/histories", "/api/v1/trade/history"
SPOT_LIST, FUTURES_LIST = "/api/v2/symbols", "/api/v1/contracts/active"
ROWS_MAX = 100


def _token(request: HttpRequest) -> HttpResponse:
    if request.body is None:
        return error(200, code="405000", msg="Request method 'GET' not supported")
    server = {
        **{"endpoint": "wss://ws-api-spot.kucoin.com/", "encrypt": True, "protocol": "websocket"},
        **{"pingInterval": 18000, "pingTimeout": 10000},
    }
    return HttpResponse(compact({"code": "200000", "data": {"token": BULLET, "instanceServers": [server]}}))


def _spot_row(fill: Fill) -> str:
    return (
        f'{{"sequence":"{fill.trade_id}","price":"{fill.price}","size":"{fill.volume}","side":"{fill.side}",'
        f'"time":{fill.ns}}}'
    )


def _futures_row(fill: Fill) -> str:
    return (
        f'{{"sequence":{fill.trade_id},"tradeId":"{fill.trade_id}","takerOrderId":"{fill.order}","makerOrderId":'
        f'"{_order(fill)}","price":"{fill.price}","size":{fill.volume},"side":"{fill.side}","ts":{fill.ns}}}'
    )


def _history(request: HttpRequest, find: Find) -> HttpResponse:
    native = request.query.get("symbol", "")
    spot, tape = request.path == SPOT_PAST, find("", native)
    if tape is None or ("-" in native) != spot:
        return error(400, code="400100", msg="symbol not exists")
    fills = tape.fills[-ROWS_MAX:]
    rows = map(_spot_row, fills) if spot else map(_futures_row, reversed(fills))
    return HttpResponse(f'{{"code":"200000","data":[{",".join(rows)}]}}')


def _list(request: HttpRequest, markets: Sequence[ListedMarket]) -> HttpResponse:
    spot = request.path == SPOT_LIST
    rows = [(_pair if spot else _contract)(market) for market in markets if ("-" in market.native) == spot]
    return HttpResponse(compact({"code": "200000", "data": rows}))


def _pair(market: ListedMarket) -> dict[str, object]:
    base, _, quote = market.native.partition("-")
    return {
        **{"symbol": market.native, "name": market.native, "baseCurrency": base, "quoteCurrency": quote},
        **{"priceIncrement": "0.1", "baseIncrement": "0.00000001", "enableTrading": True, "isMarginEnabled": True},
    }


def _contract(market: ListedMarket) -> dict[str, object]:
    base, _, rest = market.symbol.partition("/")
    quote, _, settle = rest.partition(":")
    base, settle = ("XBT" if code == "BTC" else code for code in (base, settle))
    inverse = quote == "USD"
    return {
        **{"symbol": market.native, "type": "FFWCSX", "expireDate": None, "baseCurrency": base},
        **{"quoteCurrency": quote, "settleCurrency": settle, "lotSize": 1, "tickSize": 0.1},
        **{"multiplier": -1.0 if inverse else 0.001, "isInverse": inverse, "status": "Open"},
    }


KUCOIN = Venue(
    name="kucoin",
    doc="https://www.kucoin.com/docs-new/3470081w0",
    paths={"": ""},
    styles={"": Style(resolution_ns=MS, trims_zeros=False)},
    seed=_seed,
    on_connect=_on_connect,
    on_message=_on_message,
    trade_frames=_trade_frames,
    idle_timeout_s=60.0,
    requests_per_s=10,  # 100 in 10 s
    connects=(30.0, 60.0),
    tokens={"/api/v1/bullet-public": _token},
    history=HistoryServer(
        doc="https://www.kucoin.com/docs-new/rest/spot-trading/market-data/get-trade-history",
        paths=(SPOT_PAST, FUTURES_PAST),
        answer=_history,
        units=400.0,  # 2000 weights in 30 s, of which these take 3 and 5
        window_s=30.0,
        too_many=error(429, code="429000", msg="Too Many Requests"),
    ),
    listing=Listing(paths=(SPOT_LIST, FUTURES_LIST), answer=_list),
)
