"""Kraken Futures, trades: wss://futures.kraken.com/ws/v1, as recorded in 2021 and 2022 and observed in 2026."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from actors.exchanges.contract.loopback import (
    MS,
    Answer,
    ClientSession,
    Venue,
    compact,
    json_object,
    rfc3339_us,
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

ROWS_MAX = 100
HISTORY = "/derivatives/api/v3/history"
INSTRUMENTS = "/derivatives/api/v3/instruments"


def _on_connect(_session: ClientSession) -> Answer:
    return Answer(['{"event":"info","version":1}'])


def _alert(text: str) -> str:
    return compact({"event": "alert", "message": text})


def _on_message(session: ClientSession, text: str) -> Answer:
    """Products in any case; each is answered for itself, in capitals."""
    message = json_object(text)
    if message is None or message.get("event") not in ("subscribe", "unsubscribe"):
        return Answer([_alert("Bad websocket message")])
    if message.get("feed") != "trade":
        return Answer([_alert("Bad request")])
    subscribes = message["event"] == "subscribe"
    known = {native.upper(): native for native in session.known}
    frames: list[str] = []
    names: list[str] = []
    for product in string_list(message.get("product_ids")):
        native = known.get(product.upper())
        if native is None:
            frames.append(_alert(f"Couldn't subscribe to invalid product `{product.upper()}`"))
            continue
        if subscribes and native in session.subscribed:
            frames.append(_alert("Already subscribed to feed, re-requesting"))
        frames.append(compact({"event": f"{message['event']}d", "feed": "trade", "product_ids": [native]}))
        names.append(native)
    return Answer(frames, add=names, replay=names) if subscribes else Answer(frames, remove=names)


def _row(market: Market, fill: Fill) -> str:
    # Sizes and prices are JSON numbers with a fraction always.
    return (
        f'{{"feed":"trade","product_id":"{market.native}","uid":"{fill.trade_id}","side":"{fill.side}",'
        f'"type":"fill","seq":{fill.seq},"time":{fill.ns // MS},"qty":{fill.volume},"price":{fill.price}}}'
    )


def _trade_frames(market: Market, fills: Sequence[Fill]) -> list[str]:
    return [_row(market, fill) for fill in fills]


def _replay(market: Market) -> list[str]:
    rows = ",".join(_row(market, fill) for fill in reversed(market.recent))
    return [f'{{"feed":"trade_snapshot","product_id":"{market.native}","trades":[{rows}]}}']


def _seed(frame: Mapping[str, Any]) -> Seed:
    return Seed(0, frame["seq"], [frame["price"]], [frame["qty"]])


# The REST side: a product's trades before a time, newest first, as recorded in 2019, and the list of products.


def _rest_row(number: int, fill: Fill) -> str:
    return (  # sizes without a fraction, where there is none
        f'{{"time":"{rfc3339_us(fill.ns)[:-4]}Z","trade_id":{number},"price":{fill.price},"size":{fill.volume.removesuffix(".0")},'
        f'"side":"{fill.side}","type":"fill","uid":"{fill.trade_id}"}}'
    )


def _rest_answer(request: HttpRequest, find: Find) -> HttpResponse:
    tape = find("", request.query.get("symbol", ""))
    if tape is None:
        return error(400, result="error", error="invalidArgument: symbol", serverTime="2026-11-26T00:00:00.000Z")
    end, last = len(tape.fills), request.query.get("lastTime")
    if last is not None:
        end = tape.at_ns(int(datetime.fromisoformat(last).astimezone(UTC).timestamp() * 1000) * MS)
    fills = tape.fills[max(0, end - ROWS_MAX) : end][::-1]
    rows = ",".join(_rest_row(len(fills) - at, fill) for at, fill in enumerate(fills))
    return HttpResponse(f'{{"result":"success","history":[{rows}],"serverTime":"2026-11-26T00:00:00.000Z"}}')


def _listed(_request: HttpRequest, markets: Sequence[ListedMarket]) -> HttpResponse:
    rows = []
    for market in markets:
        linear, base = market.native[1] == "F", market.symbol.partition("/")[0]
        rows.append(
            {
                "symbol": market.native,
                "type": "flexible_futures" if linear else "futures_inverse",
                "tickSize": 0.5,
                "contractSize": 1,
                "tradeable": True,
                "contractValueTradePrecision": 4 if linear else 0,
                "base": base,
                "quote": "USD",
                "pair": f"{base}:USD",
            }
        )
    rows.append({"symbol": "in_xbtusd", "type": "spot index", "tradeable": False})
    return HttpResponse(compact({"result": "success", "instruments": rows}))


KRAKENFUTURES = Venue(
    name="krakenfutures",
    doc="https://docs.kraken.com/api/docs/futures-api/websocket/trade",
    paths={"/ws/v1": ""},
    styles={"": Style(resolution_ns=MS, trims_zeros=False, uuid_ids=True, seq_counts_fills=True)},
    seed=_seed,
    on_connect=_on_connect,
    on_message=_on_message,
    trade_frames=_trade_frames,
    replay=_replay,
    warm_up=1,
    requests_per_s=100,
    connects=(100.0, 60.0),
    history=HistoryServer(
        doc="https://docs.kraken.com/api/docs/futures-api/trading/get-history",
        paths=(HISTORY,),
        answer=_rest_answer,
        units=50.0,
        window_s=10.0,
        too_many=error(429, result="error", error="apiLimitExceeded", serverTime="2026-11-26T00:00:00.000Z"),
    ),
    listing=Listing(paths=(INSTRUMENTS,), answer=_listed),
)
