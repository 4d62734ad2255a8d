"""OKX v5, trades: wss://ws.okx.com:8443/ws/v5/public, as documented and recorded in 2022, 2025 and 2026."""

from collections.abc import Iterator, Mapping, Sequence
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
    Tape,
    error,
)

REQUEST_BYTES_MAX = 65_536


def _error(session: ClientSession, code: str, msg: str, echo: Mapping[str, object]) -> str:
    return compact({**echo, "event": "error", "code": code, "msg": msg, "connId": _connection_id(session)})


def _connection_id(session: ClientSession) -> str:
    return f"{0xC7F0BA8E + session.connection & 0xFFFFFFFF:08x}"


def _on_message(session: ClientSession, text: str) -> Answer:
    if text == "ping":
        return Answer(["pong"])
    message = json_object(text)
    echo = {"id": message["id"]} if message is not None and "id" in message else {}
    op = message.get("op") if message is not None else None
    args = message.get("args") if message is not None else None
    if op not in ("subscribe", "unsubscribe") or not isinstance(args, list) or len(text) > REQUEST_BYTES_MAX:
        return Answer([_error(session, "60012", f"Invalid request: {text[:200]}", echo)])
    frames: list[str] = []
    names: list[str] = []
    for arg in args:
        channel, inst_id = (arg.get("channel"), str(arg.get("instId"))) if isinstance(arg, dict) else (None, "")
        if channel != "trades" or inst_id not in session.known:
            where = "Please use the correct URL, channel and parameters referring to API document."
            msg = f"Wrong URL or channel:{channel},instId:{inst_id} doesn't exist. {where}"
            frames.append(_error(session, "60018", msg, echo))
            continue
        names.append(inst_id)
        ack = {"event": op, "arg": {"channel": channel, "instId": inst_id}, "connId": _connection_id(session)}
        frames.append(compact({**echo, **ack}))
    if op == "unsubscribe":
        return Answer(frames, remove=names)
    new = [name for name in dict.fromkeys(names) if name not in session.subscribed]
    return Answer(frames, add=new, replay=new)


def _frame(market: Market, fill: Fill) -> str:
    return (
        f'{{"arg":{{"channel":"trades","instId":"{market.native}"}},"data":[{{"instId":"{market.native}",'
        f'"tradeId":"{fill.trade_id}","px":"{fill.price}","sz":"{fill.volume}","side":"{fill.side}",'
        f'"ts":"{fill.ns // MS}","count":"{fill.count}","source":"0","seqId":{fill.seq}}}]}}'
    )


def _trade_frames(market: Market, fills: Sequence[Fill]) -> list[str]:
    return [_frame(market, fill) for fill in fills]


def _replay(market: Market) -> list[str]:
    """The last trade once more, not marked, as OKX was seen to do."""
    return [_frame(market, market.recent[-1])]


def _seed(frame: Mapping[str, Any]) -> Seed:
    row = frame["data"][-1]
    return Seed(int(row["tradeId"]), row["seqId"], [row["px"]], [row["sz"]])


# The REST side: trades and history-trades, single fills, newest first, as recorded in 2025.

REST_ROWS_MAX = {"/api/v5/market/history-trades": 100, "/api/v5/market/trades": 500}
REST_ROWS = 100
BY_TIME = "2"


def _rest_row(native: str, fill: Fill) -> str:
    return (
        f'{{"instId":"{native}","side":"{fill.side}","sz":"{fill.volume}","px":"{fill.price}",'
        f'"tradeId":"{fill.trade_id}","ts":"{fill.ns // MS}"}}'
    )


def _back(tape: Tape, start: int) -> Iterator[Fill]:
    """Single fills, newest first, from this place on: what the feed sent as one row has as many here."""
    for at in range(min(start, len(tape.fills) - 1), -1, -1):
        assert tape.market is not None
        yield from reversed(tape.market.parts(tape.fills[at]))


def _rest_answer(request: HttpRequest, find: Find) -> HttpResponse:
    tape = find("", request.query.get("instId", ""))
    if tape is None:
        return error(200, code="51001", msg="Instrument ID does not exist", data=[])
    limit = request.limit("limit", REST_ROWS, REST_ROWS_MAX[request.path])
    paged = request.path == "/api/v5/market/history-trades"
    after = request.number("after") if paged else None
    before = request.number("before") if paged else None
    if after is None:
        fills = _back(tape, len(tape.fills))
    elif request.query.get("type") == BY_TIME:
        fills = _back(tape, tape.at_ns(after * MS) - 1)
    else:
        fills = (fill for fill in _back(tape, tape.at_id(after)) if int(fill.trade_id) < after)
    rows: list[str] = []
    for fill in fills:
        if len(rows) == limit or (before is not None and int(fill.trade_id) <= before):
            break
        rows.append(_rest_row(tape.native, fill))
    return HttpResponse(f'{{"code":"0","msg":"","data":[{",".join(rows)}]}}')


# The list of instruments, one kind a request.


def _instrument(market: ListedMarket) -> dict[str, str]:
    pair, _, settle = market.symbol.partition(":")
    kind = "SPOT" if not settle else "SWAP" if market.native.endswith("-SWAP") else "FUTURES"
    contract = settle.partition("-")[0]
    return {
        "instType": kind,
        "instId": market.native,
        "baseCcy": "" if contract else pair.partition("/")[0],
        "quoteCcy": "" if contract else pair.partition("/")[2],
        "settleCcy": contract,
        "ctVal": "0.01" if contract else "",
        "ctMult": "1" if contract else "",
        "tickSz": "0.1",
        "lotSz": "0.01" if contract else "0.00000001",
        "state": "live",
    }


def _listing(request: HttpRequest, markets: Sequence[ListedMarket]) -> HttpResponse:
    rows = [row for row in map(_instrument, markets) if row["instType"] == request.query.get("instType")]
    return HttpResponse(compact({"code": "0", "msg": "", "data": rows}))


OKX = Venue(
    name="okx",
    doc="https://www.okx.com/docs-v5/en/#order-book-trading-market-data-ws-trades-channel",
    paths={"/ws/v5/public": ""},
    styles={"": Style(resolution_ns=MS, trims_zeros=True, merges_fills=True)},
    seed=_seed,
    on_message=_on_message,
    trade_frames=_trade_frames,
    replay=_replay,
    idle_timeout_s=30.0,
    pushes_count_as_activity=True,
    idle_close=(4004, "No data received in 30s."),
    requests_per_s=10,
    warm_up=1,
    connects=(3.0, 1.0),
    history=HistoryServer(
        doc="https://www.okx.com/docs-v5/en/#order-book-trading-market-data-get-trades-history",
        paths=tuple(REST_ROWS_MAX),
        answer=_rest_answer,
        units=20.0,
        window_s=2.0,
        too_many=error(429, code="50011", msg="Too Many Requests", data=[]),
    ),
    listing=Listing(paths=("/api/v5/public/instruments",), answer=_listing),
)
