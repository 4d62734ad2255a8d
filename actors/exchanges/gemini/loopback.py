"""Gemini, market data v2: wss://api.gemini.com/v2/marketdata as recorded in 2021 and 2026, and its REST side."""

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

BUSY = error(429, result="error", reason="RateLimit", message="Requests were made too frequently")


def _refused(reason: str) -> Answer:
    return Answer([compact({"reason": reason, "result": "error"})])


def _on_message(session: ClientSession, text: str) -> Answer:
    """Requests are not answered; a request without one known symbol is an error. Symbols are upper case."""
    message = json_object(text)
    verb = message.get("type") if message is not None else None
    wanted = message.get("subscriptions") if message is not None else None
    if verb not in ("subscribe", "unsubscribe") or not isinstance(wanted, list):
        return _refused("MalformedJson")
    symbols = [
        symbol
        for part in wanted
        if isinstance(part, dict) and part.get("name") == "l2"
        for symbol in string_list(part.get("symbols"))
    ]
    known = [symbol for symbol in dict.fromkeys(symbols) if symbol in session.known]
    if not known:
        return _refused("NoValidTradingPairs")
    if verb == "unsubscribe":
        return Answer(remove=known)
    new = [symbol for symbol in known if symbol not in session.subscribed]
    return Answer(add=new, replay=new)


def _row(market: Market, fill: Fill) -> str:
    """In the order of the keys of 2021, with the `tid` of today."""
    return (
        f'{{"type":"trade","symbol":"{market.native}","event_id":{fill.order + 1_764_525_600_000_000},'
        f'"timestamp":{fill.ns // MS},"price":"{fill.price}","quantity":"{fill.volume}","side":"{fill.side}",'
        f'"tid":{fill.trade_id}}}'
    )


def _trade_frames(market: Market, fills: Sequence[Fill]) -> list[str]:
    """A trade a frame, and after them what they changed in the order book."""
    touch = f'["{fills[-1].side}","{fills[-1].price}","0"]'
    book = f'{{"changes":[{touch}],"symbol":"{market.native}","type":"l2_updates"}}'
    return [*(_row(market, fill) for fill in fills), book]


def _replay(market: Market) -> list[str]:
    """The order book, with the last trades, oldest first."""
    rows = ",".join(_row(market, fill) for fill in market.recent)
    changes = f'["buy","{market.recent[-1].price}","1"]'
    return [
        f'{{"auction_events":[],"changes":[{changes}],"symbol":"{market.native}","trades":[{rows}],"type":"l2_updates"}}'
    ]


def _heartbeat(session: ClientSession) -> list[str]:
    return [f'{{"timestamp":{session.now_ns() // MS},"type":"heartbeat"}}']


def _seed(frame: Mapping[str, Any]) -> Seed:
    """The frames recorded singly are of 2021, without a `tid`."""
    return Seed(frame["event_id"], 0, [frame["price"]], [frame["quantity"]])


# The REST side.

REST_PATH, LIST_PATH = "/v1/trades/", "/v1/symbols"
ROWS, ROWS_MAX = 50, 500


def _rest_row(fill: Fill) -> str:
    return (
        f'{{"timestamp":{fill.ns // (1000 * MS)},"timestampms":{fill.ns // MS},"tid":{fill.trade_id},'
        f'"price":"{fill.price}","amount":"{fill.volume}","exchange":"gemini","type":"{fill.side}"}}'
    )


def _rest_answer(request: HttpRequest, find: Find) -> HttpResponse:
    """The trades from a time or behind an id on, newest first; without either the newest ones."""
    name = request.path.removeprefix(REST_PATH)
    tape = find("", name.upper())
    if tape is None:
        return error(
            400, result="error", reason="InvalidSymbol", message=f"Supplied value '{name}' is not a valid symbol"
        )
    limit = request.limit("limit_trades", ROWS, ROWS_MAX)
    since, ms = request.number("since_tid"), request.number("timestamp")
    if since is not None:
        start = tape.at_id(since + 1)
    else:
        start = max(0, len(tape.fills) - limit) if ms is None else tape.at_ns(ms * MS)
    return HttpResponse(f"[{','.join(map(_rest_row, reversed(tape.fills[start : start + limit])))}]")


def _listing(_request: HttpRequest, markets: Sequence[ListedMarket]) -> HttpResponse:
    return HttpResponse(compact([market.native.lower() for market in markets]))


GEMINI = Venue(
    name="gemini",
    doc="https://docs.gemini.com/websocket-api/#market-data-version-2",
    paths={"/v2/marketdata": ""},
    styles={"": Style(resolution_ns=MS, trims_zeros=True)},
    seed=_seed,
    on_message=_on_message,
    trade_frames=_trade_frames,
    replay=_replay,
    heartbeat=_heartbeat,
    heartbeat_s=5.0,
    requests_per_s=1,
    warm_up=5,
    connects=(300.0, 300.0),
    history=HistoryServer(
        doc="https://docs.gemini.com/rest-api/#trade-history",
        paths=(REST_PATH,),
        answer=_rest_answer,
        units=120.0,
        window_s=60.0,
        too_many=BUSY,
    ),
    listing=Listing(paths=(LIST_PATH,), answer=_listing),
)
