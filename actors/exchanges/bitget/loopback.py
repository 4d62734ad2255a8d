"""Bitget v2, trades: wss://ws.bitget.com/v2/ws/public, as documented and recorded in 2024 and 2026."""

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

KINDS = ("SPOT", "USDT-FUTURES", "USDC-FUTURES", "COIN-FUTURES")
REQUEST_BYTES_MAX, REPLAYED = 4096, 30


def _on_message(session: ClientSession, text: str) -> Answer:
    """Each argument has an answer of its own; a market of another kind is acknowledged and stays silent."""
    if text == "ping":
        return Answer(["pong"])
    message = json_object(text)
    op = message.get("op") if message is not None else None
    args = message.get("args") if message is not None else None
    if op not in ("subscribe", "unsubscribe") or not isinstance(args, list) or len(text) > REQUEST_BYTES_MAX:
        return Answer([compact({"event": "error", "code": 30003, "msg": "Invalid op"})])
    elsewhere = {native.partition(":")[2] for native in session.known}
    frames: list[str] = []
    natives: list[str] = []
    for arg in args:
        fields = arg if isinstance(arg, dict) else {}
        kind, channel, name = (str(fields.get(key)) for key in ("instType", "channel", "instId"))
        if kind not in KINDS or channel != "trade" or name not in elsewhere:
            msg = f"instType:{kind},channel:{channel},instId:{name},precision:null doesn't exist"
            frames.append(compact({"event": "error", "arg": arg, "code": 30001, "msg": msg, "op": op}))
            continue
        frames.append(compact({"event": op, "arg": {"instType": kind, "channel": channel, "instId": name}}))
        if (native := f"{kind}:{name}") in session.known:
            natives.append(native)
    if op == "unsubscribe":
        return Answer(frames, remove=natives)
    new = [native for native in dict.fromkeys(natives) if native not in session.subscribed]
    return Answer(frames, add=new, replay=new)


def _frame(market: Market, fills: Sequence[Fill], action: str) -> str:
    """Newest first."""
    kind, _, name = market.native.partition(":")
    rows = ",".join(
        f'{{"ts":"{fill.ns // MS}","price":"{fill.price}","size":"{fill.volume}","side":"{fill.side}",'
        f'"tradeId":"{fill.trade_id}"}}'
        for fill in reversed(fills)
    )
    return (
        f'{{"action":"{action}","arg":{{"instType":"{kind}","channel":"trade","instId":"{name}"}},'
        f'"data":[{rows}],"ts":{fills[-1].ns // MS + 1}}}'
    )


def _trade_frames(market: Market, fills: Sequence[Fill]) -> list[str]:
    return [_frame(market, fills, "update")]


def _replay(market: Market) -> list[str]:
    return [_frame(market, list(market.recent)[-REPLAYED:], "snapshot")]


def _seed(frame: Mapping[str, Any]) -> Seed:
    row = frame["data"][0]
    return Seed(int(row["tradeId"]), 0, [row["price"]], [row["size"]])


# The REST side: trades older than an id, within a week, newest first; perpetuals write the side with a capital.

SPOT_PAST, MIX_PAST = "/api/v2/spot/market/fills-history", "/api/v2/mix/market/fills-history"
SPOT_LIST, MIX_LIST = "/api/v2/spot/public/symbols", "/api/v2/mix/market/contracts"
ROWS, ROWS_MAX, WINDOW_MS = 500, 1000, 7 * 24 * 3600 * 1000


def _rest_error(code: str, msg: str, status: int = 400) -> HttpResponse:
    return error(status, code=code, msg=msg, requestTime=0, data=None)


def _history(request: HttpRequest, find: Find) -> HttpResponse:
    name = request.query.get("symbol", "")
    spot = request.path == SPOT_PAST
    kind = "SPOT" if spot else request.query.get("productType", "").upper()
    tape = find("", f"{kind}:{name}")
    if tape is None:
        return _rest_error("40034", f"Parameter {name} does not exist")
    start_ms, end_ms = request.number("startTime"), request.number("endTime")
    if start_ms is not None and end_ms is not None and not 0 <= end_ms - start_ms <= WINDOW_MS:
        return _rest_error("40017", "Parameter verification failed startTime")
    below = request.number("idLessThan")
    start = 0 if start_ms is None else tape.at_ns(start_ms * MS)
    end = len(tape.fills) if end_ms is None else tape.at_ns((end_ms + 1) * MS)
    if below is not None:
        end = min(end, tape.at_id(below))
    fills = tape.fills[max(start, end - request.limit("limit", ROWS, ROWS_MAX)) : max(start, end)]
    rows = ",".join(
        f'{{"symbol":"{name}","tradeId":"{fill.trade_id}","side":"{fill.side if spot else fill.side.title()}",'
        f'"price":"{fill.price}","size":"{fill.volume}","ts":"{fill.ns // MS}"}}'
        for fill in reversed(fills)
    )
    return HttpResponse(f'{{"code":"00000","msg":"success","requestTime":1695865481335,"data":[{rows}]}}')


def _list(request: HttpRequest, markets: Sequence[ListedMarket]) -> HttpResponse:
    kind = "SPOT" if request.path == SPOT_LIST else request.query.get("productType", "").upper()
    rows = [_row(market, kind) for market in markets if market.native.startswith(f"{kind}:")]
    return HttpResponse(compact({"code": "00000", "msg": "success", "requestTime": 0, "data": rows}))


def _row(market: ListedMarket, kind: str) -> dict[str, object]:
    base, _, rest = market.symbol.partition("/")
    names = {"symbol": market.native.partition(":")[2], "baseCoin": base, "quoteCoin": rest.partition(":")[0]}
    if kind == "SPOT":
        return {**names, "pricePrecision": "2", "quantityPrecision": "6", "quotePrecision": "8", "status": "online"}
    return {
        **names,
        **{"symbolType": "perpetual", "pricePlace": "6", "priceEndStep": "1", "sizeMultiplier": "0.01"},
        **{"volumePlace": "2", "symbolStatus": "normal"},
    }


BITGET = Venue(
    name="bitget",
    doc="https://www.bitget.com/api-doc/spot/websocket/public/Trades-Channel",
    paths={"/v2/ws/public": ""},
    styles={"": Style(resolution_ns=MS, trims_zeros=False)},
    seed=_seed,
    on_message=_on_message,
    trade_frames=_trade_frames,
    replay=_replay,
    warm_up=3,
    idle_timeout_s=120.0,
    requests_per_s=10,
    connects=(300.0, 300.0),
    history=HistoryServer(
        doc="https://www.bitget.com/api-doc/contract/market/Get-Fills-History",
        paths=(SPOT_PAST, MIX_PAST),
        answer=_history,
        units=10.0,
        window_s=1.0,
        too_many=_rest_error("429", "Too Many Requests", 429),
    ),
    listing=Listing(paths=(SPOT_LIST, MIX_LIST), answer=_list),
)
