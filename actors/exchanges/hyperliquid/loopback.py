"""Hyperliquid, trades: wss://api.hyperliquid.xyz/ws and POST /info, as recorded in 2025 and 2026."""

import json
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
)

SIDES = {"buy": "B", "sell": "A"}  # the taker's
DROPPED = (1006, "")  # no close comes
REPLAYED = 30


def _error(text: str) -> Answer:
    return Answer([compact({"channel": "error", "data": text})])


def _on_message(session: ClientSession, text: str) -> Answer:
    """One coin a request; a coin that does not exist ends the connection without a word."""
    message = json_object(text)
    wanted = message.get("subscription") if message is not None else None
    match message.get("method") if message is not None else None:
        case "ping":
            return Answer(['{"channel":"pong"}'])
        case ("subscribe" | "unsubscribe") as method if isinstance(wanted, dict):
            coin = wanted.get("coin")
            if wanted.get("type") != "trades" or not isinstance(coin, str):
                return _error(f"Error parsing JSON into valid websocket request: {text}")
            if coin not in session.known:
                return Answer(close=DROPPED)
            done = compact({"channel": "subscriptionResponse", "data": {"method": method, "subscription": wanted}})
            if method == "unsubscribe":
                if coin in session.subscribed:
                    return Answer([done], remove=[coin])
                return _error(f"Already unsubscribed: {compact(wanted)}")
            if coin in session.subscribed:
                return _error(f"Already subscribed: {compact(wanted)}")
            return Answer([done], add=[coin], replay=[coin])
    return _error(f"Error parsing JSON into valid websocket request: {text}")


def _row(native: str, fill: Fill) -> str:
    block = f"{fill.order:064x}"
    return (
        f'{{"coin":"{native}","side":"{SIDES[fill.side]}","px":"{fill.price}","sz":"{fill.volume}",'
        f'"time":{fill.ns // MS},"hash":"0x{block}","tid":{fill.trade_id},'
        f'"users":["0x{block[-40:]}","0x{block[:40]}"]}}'
    )


def _frame(market: Market, fills: Sequence[Fill]) -> str:
    return f'{{"channel":"trades","data":[{",".join(_row(market.native, fill) for fill in fills)}]}}'


def _trade_frames(market: Market, fills: Sequence[Fill]) -> list[str]:
    return [_frame(market, fills)]


def _replay(market: Market) -> list[str]:
    """The last trades once more, oldest first, in a frame like any other."""
    return [_frame(market, list(market.recent)[-REPLAYED:])]


def _seed(frame: Mapping[str, Any]) -> Seed:
    rows = frame["data"]
    return Seed(rows[-1]["tid"], 0, [row["px"] for row in rows], [row["sz"] for row in rows])


# The REST side: everything is a POST to one path.

REST_ROWS = 10
WEIGHTS = {"recentTrades": 20.0, "meta": 20.0, "spotMeta": 20.0, "allPerpMetas": 20.0}
UNREADABLE = HttpResponse(
    "Failed to deserialize the JSON body into the target type", 422, {"content-type": "text/plain"}
)


def _asked(request: HttpRequest) -> Mapping[str, Any]:
    try:
        body = json.loads(request.body or b"")
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _weight(request: HttpRequest) -> float:
    return WEIGHTS.get(str(_asked(request).get("type")), 20.0)


def _rest_answer(request: HttpRequest, find: Find) -> HttpResponse:
    asked = _asked(request)
    if asked.get("type") != "recentTrades" or not isinstance(asked.get("coin"), str):
        return UNREADABLE
    tape = find("", asked["coin"])
    if tape is None:
        return HttpResponse("null")
    rows = reversed(tape.fills[-REST_ROWS:])
    return HttpResponse(f"[{','.join(_row(tape.native, fill) for fill in rows)}]")


def _universe(markets: Sequence[ListedMarket]) -> dict[str, object]:
    rows = [{"szDecimals": 5, "name": market.native, "maxLeverage": 40, "marginTableId": 56} for market in markets]
    return {"universe": rows, "marginTables": [], "collateralToken": 0}


def _listing(request: HttpRequest, markets: Sequence[ListedMarket]) -> HttpResponse | None:
    """Dexes have names with a colon, spot pairs symbols without a settlement."""
    swaps = [market for market in markets if ":" in market.symbol]
    own = _universe([market for market in swaps if ":" not in market.native])
    match _asked(request).get("type"):
        case "meta":
            return HttpResponse(compact(own))
        case "allPerpMetas":
            return HttpResponse(compact([own, _universe([market for market in swaps if ":" in market.native])]))
        case "spotMeta":
            pairs = [market for market in markets if ":" not in market.symbol]
            bases = [market.symbol.split("/")[0] for market in pairs]
            tokens = [{"name": name, "szDecimals": 2, "index": at} for at, name in enumerate(["USDC", *bases])]
            universe = [
                {"tokens": [at, 0], "name": pair.native, "index": at - 1} for at, pair in enumerate(pairs, start=1)
            ]
            return HttpResponse(compact({"universe": universe, "tokens": tokens}))
    return None


HYPERLIQUID = Venue(
    name="hyperliquid",
    doc="https://hyperliquid.gitbook.io/hyperliquid-docs/for-developers/api/websocket/subscriptions",
    paths={"/ws": ""},
    styles={"": Style(resolution_ns=MS, trims_zeros=True)},
    seed=_seed,
    on_message=_on_message,
    trade_frames=_trade_frames,
    replay=_replay,
    idle_timeout_s=60.0,
    pushes_count_as_activity=True,
    requests_per_s=33,  # 2000 a minute
    warm_up=5,
    connects=(30.0, 60.0),
    history=HistoryServer(
        doc="https://hyperliquid.gitbook.io/hyperliquid-docs/for-developers/api/info-endpoint",
        paths=("/info",),
        answer=_rest_answer,
        units=1200.0,
        window_s=60.0,
        too_many=HttpResponse("null", 429),
        cost=_weight,
        posts=True,
    ),
    listing=Listing(paths=("/info",), answer=_listing, cost=_weight),
)
