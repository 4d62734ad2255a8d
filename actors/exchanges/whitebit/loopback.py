"""WhiteBIT, trades: wss://wss.whitebit.com/ws, as documented and quoted of September 2026."""

from collections.abc import Mapping, Sequence
from typing import Any

from actors.exchanges.contract.loopback import US, Answer, ClientSession, Venue, json_object, string_list
from actors.exchanges.contract.loopback import compact as tight
from actors.exchanges.contract.loopback_market import Fill, Market, Seed, Style
from actors.exchanges.contract.loopback_rest import HttpRequest, HttpResponse, ListedMarket, Listing

REPLAYED = 100


def _number(request_id: object) -> str:
    return str(request_id) if isinstance(request_id, int) else "null"


def _done(request_id: object, result: str) -> str:
    """With spaces, as received."""
    return f'{{"error": null, "result": {result}, "id": {_number(request_id)}}}'


def _error(request_id: object, code: int, message: str) -> Answer:
    return Answer([tight({"error": {"code": code, "message": message}, "result": None, "id": request_id})])


def _on_message(session: ClientSession, text: str) -> Answer:
    """A request names all markets that are wanted; text that is no JSON ends the connection."""
    message = json_object(text)
    if message is None:
        return Answer(close=(1000, ""))
    request_id, params = message.get("id"), message.get("params")
    match message.get("method"):
        case "ping":
            return Answer([_done(request_id, '"pong"')])
        case "trades_unsubscribe":
            return Answer([_done(request_id, '{"status": "success"}')], remove=list(session.subscribed))
        case "trades_subscribe":
            wanted = list(dict.fromkeys(string_list(params)))
            if not isinstance(params, list) or (params and not wanted):
                return _error(request_id, 1, "invalid argument")
            for native in wanted:
                if native not in session.known:
                    return _error(request_id, 9, f"market {native} does not exist")
            return Answer(
                [_done(request_id, '{"status": "success"}')],
                add=[native for native in wanted if native not in session.subscribed],
                remove=[native for native in session.subscribed if native not in wanted],
                replay=wanted,
            )
    return _error(request_id, 4, "method not found")


def _row(fill: Fill) -> str:
    us = fill.ns // US
    return (
        f'{{"id": {fill.trade_id}, "time": {us // 1_000_000}.{us % 1_000_000:06d}, "price": "{fill.price}", '
        f'"amount": "{fill.volume}", "type": "{fill.side}", "rpi": false}}'
    )


def _frame(market: Market, fills: Sequence[Fill]) -> str:
    rows = ", ".join(_row(fill) for fill in reversed(fills))
    return f'{{"method": "trades_update", "params": ["{market.native}", [{rows}]], "id": null}}'


def _trade_frames(market: Market, fills: Sequence[Fill]) -> list[str]:
    return [_frame(market, fills)]


def _replay(market: Market) -> list[str]:
    return [_frame(market, list(market.recent)[-REPLAYED:])]


def _seed(frame: Mapping[str, Any]) -> Seed:
    rows = frame["params"][1]
    return Seed(rows[0]["id"], 0, [row["price"] for row in rows], [row["amount"] for row in rows])


def _listing(_request: HttpRequest, markets: Sequence[ListedMarket]) -> HttpResponse:
    return HttpResponse(tight([_listed(market) for market in markets]))


def _listed(market: ListedMarket) -> dict[str, object]:
    base, quote = market.symbol.split(":")[0].split("/")
    return {
        "name": market.native,
        "stock": base,
        "money": quote,
        "stockPrec": "6",
        "moneyPrec": "2",
        "feePrec": "4",
        "minAmount": "0.0001",
        "tradesEnabled": True,
        "isCollateral": True,
        "type": "futures" if ":" in market.symbol else "spot",
    }


WHITEBIT = Venue(
    name="whitebit",
    doc="https://docs.whitebit.com/websocket/market-streams/trades",
    paths={"/ws": ""},
    styles={"": Style(resolution_ns=US, trims_zeros=True)},
    seed=_seed,
    on_message=_on_message,
    trade_frames=_trade_frames,
    replay=_replay,
    idle_timeout_s=60.0,
    requests_per_s=1200,
    warm_up=5,
    connects=(1000.0, 60.0),
    listing=Listing(paths=("/api/v4/public/markets",), answer=_listing),
)
