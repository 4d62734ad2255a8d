"""HTX, trade.detail of spot, linear and coin-margined swaps, as documented and recorded in 2021, 2022 and 2026."""

import gzip
from collections.abc import Mapping, Sequence
from decimal import Decimal
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

HEAD, TAIL = "market.", ".trade.detail"


def _error(session: ClientSession, echo: Mapping[str, object], message: str) -> Answer:
    error = {"status": "error", "ts": session.now_ns() // MS, **echo, "err-code": "bad-request", "err-msg": message}
    return Answer([compact(error)])


def _on_message(session: ClientSession, text: str) -> Answer:
    message = json_object(text)
    if message is None:
        return _error(session, {}, "invalid message")
    if "pong" in message:
        return Answer(pong=True)
    echo = {"id": message["id"]} if "id" in message else {}
    verb = next((verb for verb in ("sub", "unsub") if verb in message), None)
    if verb is None:
        return _error(session, echo, "invalid command")
    topic = str(message[verb])
    native = topic.removeprefix(HEAD).removesuffix(TAIL)
    if topic != f"{HEAD}{native}{TAIL}" or native not in session.known:
        return _error(session, echo, f"invalid topic {topic}")
    ack = compact({**echo, "status": "ok", f"{verb}bed": topic, "ts": session.now_ns() // MS})
    if verb == "unsub":
        return Answer([ack], remove=[native])
    new = [native] if native not in session.subscribed else []
    return Answer([ack], add=new, replay=new)


def _number(digits: str) -> str:
    """Small numbers as the exchange writes them: 1.98E-4."""
    whole, _, fraction = digits.partition(".")
    significant = fraction.lstrip("0")
    if whole != "0" or len(fraction) - len(significant) < 3 or not significant.rstrip("0"):
        return digits
    significant = significant.rstrip("0")
    shift = len(fraction) - len(fraction.lstrip("0")) + 1
    return f"{significant[0]}.{significant[1:] or '0'}E-{shift}"


def _spot_row(fill: Fill, key: str) -> str:
    """`id` is the match's, then 15 digits: longer than 64 bits, and no number to count with."""
    return (
        f'{{"id":{fill.order + 100_000_000_000}{fill.trade_id:0>15},"ts":{fill.ns // MS},"{key}":{fill.trade_id},'
        f'"amount":{_number(fill.volume)},"price":{fill.price},"direction":"{fill.side}"}}'
    )


def _swap_row(fill: Fill, category: str) -> str:
    turnover = '"trade_turnover":1.5,' if category == "linear" else ""
    return (
        f'{{"amount":{fill.volume},"quantity":0.001,{turnover}"ts":{fill.ns // MS},'
        f'"id":{fill.trade_id},"price":{fill.price},"direction":"{fill.side}"}}'
    )


def _frame(market: Market, fills: Sequence[Fill]) -> str:
    """One taker's fills: newest first on spot, oldest first on swaps."""
    if market.category == "spot":
        rows = [_spot_row(fill, "tradeId") for fill in reversed(fills)]
    else:
        rows = [_swap_row(fill, market.category) for fill in fills]
    ms = fills[-1].ns // MS
    return (
        f'{{"ch":"{HEAD}{market.native}{TAIL}","ts":{ms + 3},"tick":{{"id":{fills[-1].order + 100_000_000_000},'
        f'"ts":{ms},"data":[{",".join(rows)}]}}}}'
    )


def _trade_frames(market: Market, fills: Sequence[Fill]) -> list[str]:
    return [_frame(market, fills)]


def _replay(market: Market) -> list[str]:
    """The last trade once more, in a frame like any other."""
    return [_frame(market, [market.recent[-1]])]


def _seed(frame: Mapping[str, Any]) -> Seed:
    row = frame["tick"]["data"][0]
    return Seed(row.get("tradeId") or row["id"], 0, [row["price"]], [format(Decimal(row["amount"]), "f")])


# The REST side: the newest trades, one match after the other, newest first.

REST_PATHS = {
    "/market/history/trade": ("spot", "symbol"),
    "/linear-swap-ex/market/history/trade": ("linear", "contract_code"),
    "/swap-ex/market/history/trade": ("coin", "contract_code"),
}
REST_ROWS_MAX = 2000


def _rest_error(code: str, message: str, status: int = 200) -> HttpResponse:
    return HttpResponse(compact({"ts": 0, "status": "error", "err-code": code, "err-msg": message}), status)


def _match(fills: Sequence[Fill], category: str) -> str:
    """The trades of one order."""
    rows = [_spot_row(fill, "trade-id") if category == "spot" else _swap_row(fill, category) for fill in fills]
    return f'{{"id":{fills[0].order},"ts":{fills[0].ns // MS},"data":[{",".join(rows)}]}}'


def _rest_answer(request: HttpRequest, find: Find) -> HttpResponse:
    category, key = REST_PATHS[request.path]
    tape = find(category, request.query.get(key, ""))
    if tape is None:
        return _rest_error("invalid-parameter", f"invalid {key}")
    orders: dict[int, list[Fill]] = {}
    for fill in reversed(tape.fills[-request.limit("size", 1, REST_ROWS_MAX) :]):
        orders.setdefault(fill.order, []).append(fill)
    data = ",".join(_match(fills, category) for fills in orders.values())
    return HttpResponse(f'{{"ch":"{HEAD}{tape.native}{TAIL}","status":"ok","ts":0,"data":[{data}]}}')


# The lists of markets.

LIST_PATHS = {
    "/v1/common/symbols": "spot",
    "/linear-swap-api/v1/swap_contract_info": "linear",
    "/swap-api/v1/swap_contract_info": "coin",
}


def _listed(market: ListedMarket) -> dict[str, object]:
    base, _, quote = market.symbol.partition(":")[0].partition("/")
    if market.category == "spot":
        return {
            "base-currency": base.lower(),
            "quote-currency": quote.lower(),
            "price-precision": 2,
            "amount-precision": 6,
            "symbol": market.native,
            "state": "online",
        }
    return {
        "symbol": base,
        "contract_code": market.native,
        "contract_size": 0.001 if market.category == "linear" else 100.0,
        "price_tick": 0.1,
        "contract_status": 1,
    }


def _listing(request: HttpRequest, markets: Sequence[ListedMarket]) -> HttpResponse:
    category = LIST_PATHS[request.path]
    rows = [_listed(market) for market in markets if market.category == category]
    return HttpResponse(compact({"status": "ok", "data": rows}))


HTX = Venue(
    name="htx",
    doc="https://huobiapi.github.io/docs/spot/v1/en/#websocket-market-data",
    paths={"/ws": "spot", "/linear-swap-ws": "linear", "/swap-ws": "coin"},
    styles={
        "spot": Style(resolution_ns=MS, trims_zeros=True),
        "linear": Style(resolution_ns=MS, trims_zeros=True),
        "coin": Style(resolution_ns=MS, trims_zeros=True),
    },
    seed=_seed,
    on_message=_on_message,
    trade_frames=_trade_frames,
    replay=_replay,
    encode=lambda text: gzip.compress(text.encode(), compresslevel=1),
    binary=True,
    server_ping=lambda session: f'{{"ping":{session.now_ns() // MS}}}',
    server_ping_s=5.0,
    server_pings_unanswered=4,
    server_ping_close=(1003, "ping check expired"),
    requests_per_s=40,
    warm_up=1,
    connects=(10.0, 1.0),
    history=HistoryServer(
        doc="https://www.htx.com/en-us/opend/newApiPages/?id=8cb81024-77b5-11ed-9966-0242ac110003",
        paths=tuple(REST_PATHS),
        answer=_rest_answer,
        units=20.0,  # the documents allow 800: a client that takes a fortieth of that needs no more
        window_s=1.0,
        too_many=_rest_error("too-many-requests", "too many requests", 429),
    ),
    listing=Listing(paths=tuple(LIST_PATHS), answer=_listing),
)
