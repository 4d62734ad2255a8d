"""Gate, trades: wss://api.gateio.ws/ws/v4/ and wss://fx-ws.gateio.ws/v4/ws/..., as documented."""

from collections.abc import Mapping, Sequence
from typing import Any

from actors.exchanges.contract.loopback import (
    MS,
    US,
    Answer,
    ClientSession,
    Venue,
    compact,
    json_object,
    string_list,
)
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
# Category, and what its contracts end with; the other endpoint's are acknowledged and stay silent.
FOREIGN = {"usdt": "_USD", "delivery": "_USD", "btc": "_USDT"}


def _kind(session: ClientSession) -> str:
    return "spot" if session.category == "spot" else "futures"


def _times(session: ClientSession) -> dict[str, int]:
    return {"time": session.now_ns() // S_NS, "time_ms": session.now_ns() // MS}


def _reply(session: ClientSession, message: Mapping[str, Any], fault: tuple[int, str] | None = None) -> str:
    reply: dict[str, object] = {**_times(session), "conn_id": f"{session.connection:x}"}
    reply |= {key: message[key] for key in ("id", "channel", "event", "payload") if key in message}
    if fault is not None:
        return compact({**reply, "error": {"code": fault[0], "message": fault[1]}, "result": {"status": "fail"}})
    return compact({**reply, "result": {"status": "success"}})


def _on_message(session: ClientSession, text: str) -> Answer:
    message, kind = json_object(text), _kind(session)
    if message is None:
        return Answer([_reply(session, {}, (1, "invalid argument struct"))])
    if message.get("channel") == f"{kind}.ping":
        return Answer([compact({**_times(session), "channel": f"{kind}.pong", "event": "", "result": None})])
    if message.get("channel") != f"{kind}.trades" or message.get("event") not in ("subscribe", "unsubscribe"):
        return Answer([_reply(session, message, (2, f"unknown channel: {message.get('channel')}"))])
    names = string_list(message.get("payload"))
    foreign = FOREIGN.get(session.category, "/")
    for name in names:  # one unknown market fails the whole request
        if f"{kind}.{name}" not in session.known and not name.endswith(foreign):
            return Answer([_reply(session, message, (2, f"unknown currency pair: {name}"))])
    natives = [native for name in names if (native := f"{kind}.{name}") in session.known]
    ack = [_reply(session, message)]
    if message["event"] == "unsubscribe":
        return Answer(ack, remove=natives)
    return Answer(ack, add=[native for native in dict.fromkeys(natives) if native not in session.subscribed])


def _name(market: Market) -> str:
    return market.native.partition(".")[2]


def _size(fill: Fill) -> str:
    return fill.volume if fill.side == "buy" else f"-{fill.volume}"


def _spot_frame(market: Market, fill: Fill) -> str:
    s, ms = fill.ns // S_NS, fill.ns // MS
    return (
        f'{{"time":{s},"time_ms":{ms},"channel":"spot.trades","event":"update","result":{{"id":{fill.trade_id},'
        f'"id_market":{fill.trade_id},"create_time":{s},"create_time_ms":"{ms}.{fill.ns % MS // US:03d}000",'
        f'"side":"{fill.side}","currency_pair":"{_name(market)}","amount":"{fill.volume}","price":"{fill.price}",'
        f'"range":"{fill.trade_id}-{fill.trade_id}"}}}}'
    )


def _futures_row(market: Market, fill: Fill) -> str:
    return (
        f'{{"size":"{_size(fill)}","id":{fill.trade_id},"create_time":{fill.ns // S_NS},'
        f'"create_time_ms":{fill.ns // MS},"price":"{fill.price}","contract":"{_name(market)}"}}'
    )


def _trade_frames(market: Market, fills: Sequence[Fill]) -> list[str]:
    if market.category == "spot":
        return [_spot_frame(market, fill) for fill in fills]
    rows = ",".join(_futures_row(market, fill) for fill in fills)
    return [
        f'{{"channel":"futures.trades","event":"update","time":{fills[-1].ns // S_NS},'
        f'"time_ms":{fills[-1].ns // MS},"result":[{rows}]}}'
    ]


def _seed(frame: Mapping[str, Any]) -> Seed:
    result = frame["result"]
    row = result[-1] if isinstance(result, list) else result
    volume = row["amount"] if "amount" in row else row["size"].removeprefix("-")
    return Seed(row["id"], 0, [row["price"]], [volume])


# The REST side: trades not later than `to`, newest first, by page on spot and by offset for contracts.

SPOT_TRADES = "/api/v4/spot/trades"
CONTRACT_TRADES = {
    "/api/v4/futures/usdt/trades": "usdt",
    "/api/v4/futures/btc/trades": "btc",
    "/api/v4/delivery/usdt/trades": "delivery",
    "/api/v4/delivery/btc/trades": "delivery-btc",
}
ROWS, ROWS_MAX, SPOT_OFFSET_MAX = 100, 1000, 100_000
LISTS = {path.replace("/trades", "/contracts"): category for path, category in CONTRACT_TRADES.items()}
SPOT_LIST = "/api/v4/spot/currency_pairs"


def _spot_row(name: str, fill: Fill) -> str:
    return (
        f'{{"id":"{fill.trade_id}","create_time":"{fill.ns // S_NS}",'
        f'"create_time_ms":"{fill.ns // MS}.{fill.ns % MS // US:03d}000","currency_pair":"{name}",'
        f'"side":"{fill.side}","amount":"{fill.volume}","price":"{fill.price}","sequence_id":"{fill.trade_id}"}}'
    )


def _contract_row(name: str, fill: Fill) -> str:
    return (
        f'{{"id":{fill.trade_id},"create_time":{fill.ns // S_NS},'
        f'"create_time_ms":{fill.ns // S_NS}.{fill.ns % S_NS // MS:03d},"contract":"{name}","size":"{_size(fill)}",'
        f'"price":"{fill.price}"}}'
    )


def _history(request: HttpRequest, find: Find) -> HttpResponse:
    limit, category = request.limit("limit", ROWS, ROWS_MAX), CONTRACT_TRADES.get(request.path)
    if category is None:
        name = request.query.get("currency_pair", "")
        tape, row, offset = find("spot", f"spot.{name}"), _spot_row, limit * ((request.number("page") or 1) - 1)
        if tape is None:
            return error(400, label="INVALID_CURRENCY_PAIR", message=f"Invalid currency pair {name}")
        if offset > SPOT_OFFSET_MAX:
            return error(400, label="INVALID_PARAM_VALUE", message="limit * (page - 1) is beyond 100000")
    else:
        name = request.query.get("contract", "")
        tape, row, offset = find(category, f"futures.{name}"), _contract_row, request.number("offset") or 0
        if tape is None:
            return error(400, label="CONTRACT_NOT_FOUND", message=f"contract {name} not found")
    to = request.number("to")
    end = len(tape.fills) if to is None else tape.at_ns((to + 1) * S_NS)
    end = max(0, end - offset)
    return HttpResponse(
        f"[{','.join(row(name, fill) for fill in reversed(tape.fills[max(0, end - limit) : end]))}]"
    )


def _list(request: HttpRequest, markets: Sequence[ListedMarket]) -> HttpResponse:
    category = LISTS.get(request.path, "spot")
    names = [market.native.partition(".")[2] for market in markets if market.category == category]
    if category == "spot":
        return HttpResponse(compact([_pair(name) for name in names]))
    return HttpResponse(compact([_contract(name, inverse=category == "btc") for name in names]))


def _pair(name: str) -> dict[str, object]:
    base, _, quote = name.partition("_")
    return {
        **{"id": name, "base": base, "quote": quote, "fee": "0.2", "min_quote_amount": "1.0"},
        **{"amount_precision": 10, "precision": 10, "trade_status": "tradable", "sell_start": 0, "buy_start": 0},
    }


def _contract(name: str, *, inverse: bool) -> dict[str, object]:
    return {
        **{
            "name": name,
            "type": "inverse" if inverse else "direct",
            "quanto_multiplier": "0" if inverse else "0.0001",
        },
        **{"order_price_round": "0.1", "order_size_min": 1, "in_delisting": False, "status": "trading"},
    }


GATE = Venue(
    name="gate",
    doc="https://www.gate.com/docs/developers/apiv4/ws/en/#public-trades-channel",
    paths={"/ws/v4": "spot", "/v4/ws/usdt": "usdt", "/v4/ws/btc": "btc", "/v4/ws/delivery/usdt": "delivery"},
    styles={
        "spot": Style(resolution_ns=US, trims_zeros=False),
        **dict.fromkeys(("usdt", "btc", "delivery"), Style(resolution_ns=MS, trims_zeros=False)),
    },
    seed=_seed,
    on_message=_on_message,
    trade_frames=_trade_frames,
    requests_per_s=100,  # ours: none is documented
    connects=(300.0, 60.0),  # 300 at a time
    history=HistoryServer(
        doc="https://www.gate.com/docs/developers/apiv4/en/#query-market-transaction-records",
        paths=(SPOT_TRADES, *CONTRACT_TRADES),
        answer=_history,
        units=200.0,
        window_s=10.0,
        too_many=error(429, label="TOO_MANY_REQUESTS", message="Request Rate Limit Exceeded"),
    ),
    listing=Listing(paths=(SPOT_LIST, *LISTS), answer=_list),
)
