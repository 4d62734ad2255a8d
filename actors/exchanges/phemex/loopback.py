"""Phemex's trades: wss://ws.phemex.com, as documented and recorded in 2021 and 2026."""

from collections.abc import Mapping, Sequence
from typing import Any

from actors.exchanges.contract.loopback import Answer, ClientSession, Venue, compact, json_object, string_list
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

SUBSCRIPTIONS_MAX = 101
REPLAY_ROWS, REST_ROWS = 200, 200
SPOT_SCALES, INVERSE_SCALES = (8, 8), (4, 0)


def _linear(native: str) -> bool:
    return native.endswith("USDT") and not native.startswith("s")


def _refused(request_id: object, code: int, message: str) -> Answer:
    return Answer([compact({"error": {"code": code, "message": message}, "id": request_id, "result": None})])


def _on_message(session: ClientSession, text: str) -> Answer:
    message = json_object(text)
    if message is None:
        return _refused(None, 6001, "invalid argument")
    request_id, params = message.get("id"), string_list(message.get("params"))
    done = {"error": None, "id": request_id, "result": {"status": "success"}}
    match message.get("method"):
        case "server.ping":
            return Answer([compact({"error": None, "id": request_id, "result": "pong"})])
        case "trade.unsubscribe" | "trade_p.unsubscribe":
            return Answer([compact(done)], remove=params or list(session.subscribed))
        case "trade.subscribe" | "trade_p.subscribe" as method:
            native = params[0] if params else ""  # what follows is ignored
            if native not in session.known or _linear(native) != (method == "trade_p.subscribe"):
                return _refused(request_id, 6001, "invalid argument")
            if len({*session.subscribed, native}) > SUBSCRIPTIONS_MAX:
                return _refused(request_id, 6015, "subscription limit exceeded")
            return Answer([compact(done)], add=[native], replay=[native])
    return _refused(request_id, 6001, "invalid argument")


def _row(native: str, fill: Fill) -> str:
    side = fill.side.capitalize()
    if _linear(native):
        return f'[{fill.ns},"{side}","{fill.price}","{fill.volume}"]'
    price, volume = (int(text.replace(".", "")) for text in (fill.price, fill.volume))
    return f'[{fill.ns},"{side}",{price},{volume}]'


def _rows(native: str, fills: Sequence[Fill], kind: str, sequence: int) -> str:
    """Newest first."""
    rows = ",".join(_row(native, fill) for fill in reversed(fills))
    if _linear(native):
        return f'{{"sequence":{sequence},"symbol":"{native}","trades_p":[{rows}],"type":"{kind}"}}'
    return f'{{"sequence":{sequence},"symbol":"{native}","trades":[{rows}],"type":"{kind}"}}'


def _trade_frames(market: Market, fills: Sequence[Fill]) -> list[str]:
    return [_rows(market.native, fills, "incremental", fills[-1].seq)]


def _replay(market: Market) -> list[str]:
    newest = list(market.recent)[-REPLAY_ROWS:]
    return [_rows(market.native, newest, "snapshot", newest[-1].seq)]


def _decimal(number: int, scale: int) -> str:
    return f"{number // 10**scale}.{number % 10**scale:0{scale}d}" if scale else str(number)


def _seed(frame: Mapping[str, Any]) -> Seed:
    rows = frame.get("trades_p") or frame["trades"]
    if "trades_p" in frame:
        return Seed(0, frame["sequence"], [row[2] for row in rows], [row[3] for row in rows])
    price, volume = SPOT_SCALES if frame["symbol"].startswith("s") else INVERSE_SCALES
    return Seed(
        0,
        frame["sequence"],
        [_decimal(int(row[2]), price) for row in rows],
        [_decimal(int(row[3]), volume) for row in rows],
    )


# The REST side: the newest trades of a market, and the list of products.

PATHS, LIST_PATH = ("/md/trade", "/md/v2/trade"), "/public/products"


def _rest_answer(request: HttpRequest, find: Find) -> HttpResponse:
    native = request.query.get("symbol", "")
    tape = find("", native)
    if tape is None or _linear(native) != (request.path == PATHS[1]):
        return error(400, error={"code": 6001, "message": "invalid argument"}, id=0, result=None)
    fills = tape.fills[-REST_ROWS:]
    key = "trades_p" if _linear(native) else "trades"
    rows = ",".join(_row(native, fill) for fill in reversed(fills))
    result = f'{{"type":"snapshot","sequence":77702250,"symbol":"{native}","{key}":[{rows}]}}'
    return HttpResponse(f'{{"error":null,"id":0,"result":{result}}}')


def _listing(_request: HttpRequest, markets: Sequence[ListedMarket]) -> HttpResponse:
    products, linear = list[dict[str, object]](), list[dict[str, object]]()
    for market in markets:
        pair, _, settle = market.symbol.partition(":")
        base, _, quote = pair.partition("/")
        row: dict[str, object] = {
            "symbol": market.native,
            "displaySymbol": f"{base} / {quote}",
            "quoteCurrency": quote,
            "status": "Listed",
        }
        if _linear(market.native):
            linear.append(row | {"type": "PerpetualV2", "settleCurrency": settle, "tickSize": "0.1"})
            linear[-1]["qtyStepSize"] = "0.001"
        elif settle:
            products.append(row | {"type": "Perpetual", "settleCurrency": settle, "contractSize": "1 USD"})
            products[-1] |= {"priceScale": 4, "tickSize": 0.5, "lotSize": 1}
        else:
            products.append(row | {"type": "Spot", "priceScale": 8, "baseTickSize": f"0.000001 {base}"})
            products[-1]["quoteTickSize"] = f"0.01 {quote}"
    currencies = [{"currency": code, "valueScale": 8} for code in ("BTC", "ETH", "USDT")]
    data = {"currencies": currencies, "products": products, "perpProductsV2": linear}
    return HttpResponse(compact({"code": 0, "msg": "", "data": data}))


PHEMEX = Venue(
    name="phemex",
    doc="https://phemex-docs.github.io/#subscribe-trade",
    paths={"": ""},
    styles={"": Style(resolution_ns=1, trims_zeros=False)},
    seed=_seed,
    on_message=_on_message,
    trade_frames=_trade_frames,
    replay=_replay,
    warm_up=1,
    idle_timeout_s=31.0,
    requests_per_s=20,
    connects=(200.0, 300.0),
    history=HistoryServer(
        doc="https://phemex-docs.github.io/#query-recent-trades",
        paths=PATHS,
        answer=_rest_answer,
        units=100.0,
        window_s=10.0,
        too_many=error(429, error={"code": 10003, "message": "too many requests"}, id=0, result=None),
    ),
    listing=Listing(paths=(LIST_PATH,), answer=_listing),
)
