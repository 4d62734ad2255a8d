"""Kraken spot v2, trades: wss://ws.kraken.com/v2, as documented and captured in 2024 to 2026."""

from collections.abc import Mapping, Sequence
from typing import Any

from actors.exchanges.contract.loopback import (
    US,
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
)

CONNECTION_ID = 16_389_994_220_698_793_191  # beyond 63 bits, as the real ones are


def _on_connect(session: ClientSession) -> Answer:
    data = {
        "version": "2.0.10",
        "system": "online",
        "api_version": "v2",
        "connection_id": CONNECTION_ID + session.connection,
    }
    return Answer([compact({"channel": "status", "type": "update", "data": [data]})])


def _on_message(session: ClientSession, text: str) -> Answer:
    message = json_object(text)
    now = rfc3339_us(session.now_ns())
    times = {"time_in": now, "time_out": now}
    if message is None:
        return Answer([compact({"error": "Malformed request", "success": False, **times})])
    method = message.get("method")
    echo = {"req_id": message["req_id"]} if "req_id" in message else {}
    params = message.get("params")
    params = params if isinstance(params, dict) else {}
    if method == "ping":
        return Answer([compact({"method": "pong", **echo, **times})])
    if method not in ("subscribe", "unsubscribe"):
        return Answer(
            [compact({"error": "Unsupported method", "method": method, **echo, "success": False, **times})]
        )

    def refused(error: str, **symbol: str) -> str:
        return compact({"error": error, "method": method, **echo, "success": False, **symbol, **times})

    if params.get("channel") != "trade":
        return Answer([refused("Subscription name invalid")])
    snapshot = params.get("snapshot") is True
    frames: list[str] = []
    names: list[str] = []
    for symbol in string_list(params.get("symbol")):  # each is answered for itself
        if symbol not in session.known:
            frames.append(refused(f"Currency pair not supported {symbol}", symbol=symbol))
        elif method == "subscribe" and (symbol in session.subscribed or symbol in names):
            frames.append(refused("Already subscribed", symbol=symbol))
        else:
            names.append(symbol)
            result: dict[str, object] = {"channel": "trade"}
            if method == "subscribe":
                result["snapshot"] = snapshot
            result["symbol"] = symbol
            frames.append(compact({"method": method, **echo, "result": result, "success": True, **times}))
    if method == "unsubscribe":
        return Answer(frames, remove=names)
    return Answer(frames, add=names, replay=names if snapshot else ())


def _row(market: Market, fill: Fill) -> str:
    # Prices and sizes are JSON numbers with the market's own count of digits, trailing zeros and all.
    return (
        f'{{"symbol":"{market.native}","side":"{fill.side}","price":{fill.price},"qty":{fill.volume},'
        f'"ord_type":"{"limit" if fill.order % 3 else "market"}","trade_id":{fill.trade_id},'
        f'"timestamp":"{rfc3339_us(fill.ns)}"}}'
    )


def _frame(market: Market, kind: str, fills: Sequence[Fill]) -> str:
    rows = ",".join(_row(market, fill) for fill in fills)
    return f'{{"channel":"trade","type":"{kind}","data":[{rows}]}}'


def _trade_frames(market: Market, fills: Sequence[Fill]) -> list[str]:
    return [_frame(market, "update", fills)]


def _replay(market: Market) -> list[str]:
    return [_frame(market, "snapshot", list(market.recent))] if market.recent else []


def _heartbeat(session: ClientSession) -> list[str]:
    return ['{"channel":"heartbeat"}'] if session.subscribed else []


def _seed(frame: Mapping[str, Any]) -> Seed:
    rows = frame["data"]
    return Seed(int(rows[-1]["trade_id"]), 0, [row["price"] for row in rows], [row["qty"] for row in rows])


# The REST side: a pair's trades since a time, oldest first, as recorded in 2025.

REST_ROWS_MAX = 1000
REST_NAMES = {"XBT": "BTC", "XDG": "DOGE"}
REST_QUOTES = ("USDT", "USDC", "USD", "EUR", "GBP", "BTC", "XBT")


def _rest_native(pair: str) -> tuple[str, str]:
    """The WebSocket's name of a pair and the REST answer's: XBTUSD is BTC/USD and XXBTZUSD."""
    quote = next((quote for quote in REST_QUOTES if pair.endswith(quote) and len(pair) > len(quote)), "")
    base = pair.removesuffix(quote)
    own = f"X{base}Z{quote}" if quote in ("USD", "EUR", "GBP") and base in ("XBT", "ETH") else pair
    return f"{REST_NAMES.get(base, base)}/{REST_NAMES.get(quote, quote)}", own


def _rest_row(fill: Fill) -> str:
    # The time is a JSON number, so the zeros at its end are not there.
    seconds, fraction = divmod(fill.ns // 100, 10_000_000)
    time = f"{seconds}.{fraction:07d}".rstrip("0").rstrip(".")
    kind = "l" if fill.order % 3 else "m"
    return f'["{fill.price}","{fill.volume}",{time},"{fill.side[0]}","{kind}","",{fill.trade_id}]'


def _rest_errors(*words: str) -> HttpResponse:
    """Errors come with status 200."""
    return HttpResponse(compact({"error": list(words)}))


def _rest_answer(request: HttpRequest, find: Find) -> HttpResponse:
    native, own = _rest_native(request.query.get("pair", ""))
    tape = find("", native)
    if tape is None:
        return _rest_errors("EQuery:Unknown asset pair")
    count, since = request.limit("count", REST_ROWS_MAX, REST_ROWS_MAX), request.number("since")
    start = max(0, len(tape.fills) - count) if since is None else tape.at_ns(since + 1)
    rows = tape.fills[start : start + count]
    last = rows[-1].ns if rows else since or 0
    return HttpResponse(f'{{"error":[],"result":{{"{own}":[{",".join(map(_rest_row, rows))}],"last":"{last}"}}}}')


def _listed(request: HttpRequest, markets: Sequence[ListedMarket]) -> HttpResponse:
    """Stocks only where they are asked for; the old names of currencies."""
    stocks = request.query.get("aclass_base") == "tokenized_asset"
    old = {new: name for name, new in REST_NAMES.items()}
    rows = {}
    for market in markets:
        base, _, quote = market.symbol.partition("/")
        if base.endswith("x") is stocks:
            name = f"{old.get(base, base)}/{old.get(quote, quote)}"
            rows[name.replace("/", "")] = {
                "altname": name.replace("/", ""),
                "wsname": name,
                "pair_decimals": 1,
                "lot_decimals": 8,
                "tick_size": "0.1",
                "status": "online",
            }
    return HttpResponse(compact({"error": [], "result": rows}))


KRAKEN = Venue(
    name="kraken",
    doc="https://docs.kraken.com/api/docs/websocket-v2/trade",
    paths={"/v2": ""},
    styles={"": Style(resolution_ns=US, trims_zeros=False)},
    seed=_seed,
    on_connect=_on_connect,
    on_message=_on_message,
    trade_frames=_trade_frames,
    replay=_replay,
    heartbeat=_heartbeat,
    heartbeat_when_idle=True,
    connects=(150.0, 600.0),  # about; then banned for 10 minutes, which this one leaves out
    history=HistoryServer(
        doc="https://docs.kraken.com/api/docs/rest-api/get-recent-trades",
        paths=("/0/public/Trades",),
        answer=_rest_answer,
        units=10.0,  # about one a second
        window_s=10.0,
        too_many=_rest_errors("EGeneral:Too many requests"),
    ),
    listing=Listing(paths=("/0/public/AssetPairs",), answer=_listed),
)
