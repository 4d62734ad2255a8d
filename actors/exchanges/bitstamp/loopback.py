"""Bitstamp, live_trades: wss://ws.bitstamp.net and its REST side, as recorded from 2019 to 2026."""

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

CHANNEL = "live_trades_"
MESSAGE_BYTES_MAX = 512
CHANNELS_MAX = 1024
S_NS = 1_000_000_000


def _event(event: str, channel: str, data: object) -> list[str]:
    return [compact({"event": event, "channel": channel, "data": data})]


def _error(message: str) -> Answer:
    return Answer(_event("bts:error", "", {"code": None, "message": message}))


def _on_message(session: ClientSession, text: str) -> Answer:
    """A pair that does not exist is acknowledged like any other; capitals are not."""
    if len(text.encode()) > MESSAGE_BYTES_MAX:
        return Answer(close=(1009, f"read limited at {MESSAGE_BYTES_MAX + 1} bytes"))
    message = json_object(text)
    if message is None:
        return _error("Incorrect JSON format.")
    event, data = message.get("event"), message.get("data")
    if event == "bts:heartbeat":
        return Answer(_event("bts:heartbeat", "", {"status": "success"}))
    channel = data.get("channel") if isinstance(data, dict) else None
    if event not in ("bts:subscribe", "bts:unsubscribe") or not isinstance(channel, str):
        return _error("Bad subscription string.")
    if not channel.startswith(CHANNEL) or channel != channel.lower():
        return _error("Invalid channel provided.")
    native = channel.removeprefix(CHANNEL)
    known = [native] if native in session.known else []
    if event == "bts:unsubscribe":
        return Answer(_event("bts:unsubscription_succeeded", channel, {}), remove=known)
    if len(session.subscribed) >= CHANNELS_MAX:
        return Answer(close=(1000, ""))
    new = [one for one in known if one not in session.subscribed]
    return Answer(_event("bts:subscription_succeeded", channel, {}), add=new)


def _frame(market: Market, fill: Fill) -> str:
    """`timestamp` counts milliseconds on perpetuals, whose ids come as text too."""
    perpetual = market.native.endswith("-perp")
    time = fill.ns // MS if perpetual else fill.ns // S_NS
    id_str = f'"id_str":"{fill.trade_id}",' if perpetual else ""
    return (
        f'{{"data":{{"id":{fill.trade_id},{id_str}"timestamp":"{time}","amount":{fill.volume},'
        f'"amount_str":"{fill.volume}","price":{fill.price},"price_str":"{fill.price}",'
        f'"type":{0 if fill.side == "buy" else 1},"microtimestamp":"{fill.ns // MS * 1000}",'
        f'"buy_order_id":{fill.order + 2045952085757952},"sell_order_id":{fill.order + 2045952156454912}}},'
        f'"channel":"{CHANNEL}{market.native}","event":"trade"}}'
    )


def _trade_frames(market: Market, fills: Sequence[Fill]) -> list[str]:
    return [_frame(market, fill) for fill in fills]


def _seed(frame: Mapping[str, Any]) -> Seed:
    row = frame["data"]
    return Seed(row["id"], 0, [row["price_str"]], [row["amount_str"]])


# The REST side: a span back from now, newest first, by whole seconds.

REST_PATH = "/api/v2/transactions/"
SPANS = {"minute": 60, "hour": 3_600, "day": 86_400}


def _rest_row(fill: Fill) -> str:
    return (
        f'{{"date":"{fill.ns // S_NS}","tid":"{fill.trade_id}","price":"{fill.price}",'
        f'"type":"{0 if fill.side == "buy" else 1}","amount":"{fill.volume}"}}'
    )


def _rest_error(status: int, **fields: str) -> HttpResponse:
    return HttpResponse(compact({"status": "error", **fields}), status)


def _rest_answer(request: HttpRequest, find: Find) -> HttpResponse:
    """Back from the newest trade, as there is no clock here."""
    tape = find("", request.path.removeprefix(REST_PATH).rstrip("/"))
    if tape is None:
        return HttpResponse("<html><body>404 Not Found</body></html>", 404, {"content-type": "text/html"})
    span = request.query.get("time", "hour")
    if span not in SPANS:
        return _rest_error(400, reason="Invalid time interval.", code="API0011")
    fills = tape.fills
    if fills:
        fills = fills[tape.at_ns(fills[-1].ns - SPANS[span] * S_NS) :]
    return HttpResponse(f"[{','.join(_rest_row(fill) for fill in reversed(fills))}]")


def _listing(_request: HttpRequest, markets: Sequence[ListedMarket]) -> HttpResponse:
    return HttpResponse(compact([_listed(market) for market in markets]))


def _listed(market: ListedMarket) -> dict[str, object]:
    base, quote = market.symbol.split(":")[0].split("/")
    perpetual = ":" in market.symbol
    return {
        "name": f"{base}/{quote}{'-PERP' if perpetual else ''}",
        "market_symbol": market.native,
        "base_currency": base,
        "base_decimals": 8,
        "counter_currency": quote,
        "counter_decimals": 2,
        "trading": "Enabled",
        "market_type": "PERPETUAL" if perpetual else "SPOT",
        **({"payoff_type": "Linear", "contract_size": "1.00000000"} if perpetual else {}),
    }


BITSTAMP = Venue(
    name="bitstamp",
    doc="https://www.bitstamp.net/websocket/v2/",
    paths={"": ""},
    styles={"": Style(resolution_ns=MS, trims_zeros=False)},
    seed=_seed,
    on_message=_on_message,
    trade_frames=_trade_frames,
    ping_s=54.0,
    connects=(10.0, 1.0),
    history=HistoryServer(
        doc="https://www.bitstamp.net/api/#tag/Transactions-public",
        paths=(REST_PATH,),
        answer=_rest_answer,
        units=10_000.0,
        window_s=600.0,
        too_many=_rest_error(429, reason="Request rate limit exceeded.", code="400.002"),
    ),
    listing=Listing(paths=("/api/v2/markets/",), answer=_listing),
)
