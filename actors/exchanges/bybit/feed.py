"""Bybit v5: `publicTrade` of spot, linear and inverse perpetuals; the category is part of the endpoint."""

import re
from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec

from actors.exchanges.contract.feed import (
    MS,
    Ack,
    Control,
    KeepAlive,
    MalformedTrade,
    Market,
    Refusal,
    Trades,
    Unsubscribed,
)
from actors.exchanges.contract.feed_helpers import (
    compact,
    decode_frames,
    inside,
    require_kind,
    require_upper,
    text_inside,
)
from actors.model.symbols import Symbol, SymbolError

# https://bybit-exchange.github.io/docs/v5/websocket/public/trade (docs 072c197), read
# 2026-11-22 via stored copy.
ENDPOINT = "wss://stream.bybit.com/v5/public/"
TOPIC = "publicTrade."

# Not about a market: the rate (10006, 10018), and troubles of the exchange's own (10016)
# (https://bybit-exchange.github.io/docs/v5/rate-limit and .../v5/error, read 2026-11-26 via stored copy).
_TRANSIENT = frozenset(("10006", "10016", "10018"))
_TRANSIENT_TEXT = re.compile(
    r"too many|too frequent|rate.?limit|timeout|server error|system busy|internal error", re.IGNORECASE
)
_TOPIC = re.compile(r"publicTrade\.([^\s,\]]+)")

_SIDES = {"Buy": "buy", "Sell": "sell"}


class _Trade(
    msgspec.Struct,
    gc=False,
    rename={"native": "s", "id": "i", "price": "p", "volume": "v", "side": "S", "time": "T"},
):
    """{"T":1786310819680,"s":"BTCUSDT","S":"Sell","v":"0.004","p":"65114.20","L":"MinusTick",
    "i":"a9188a0a-82bc-50de-be60-03eedbe3cdd7","BT":false,"RPI":false,"seq":753843954913}; `S` is the taker's
    side; block trades ("BT":true) are trades too and stay. Volumes are USD on inverse, else base."""

    native: str
    id: str
    price: str
    volume: str
    side: Literal["Buy", "Sell"]
    time: int


class _Frame(msgspec.Struct, gc=False):
    """{"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":1786310819681,"data":[...]}: up to 1024 trades,
    oldest first. "snapshot" stands on every live frame and is no replay."""

    topic: str
    data: Annotated[list[_Trade], msgspec.Meta(min_length=1)]


_decoder = msgspec.json.Decoder(_Frame)


def market(symbol: Symbol, _channel: str = "") -> Market:
    """BTCUSDT on spot and linear, BTCPERP for BTC/USDC:USDC, BTCUSD on inverse."""
    require_kind(symbol, "bybit", ("spot", "swap"))
    require_upper(symbol, "bybit")
    base, quote, settle = symbol.base, symbol.quote, symbol.settle
    if not settle:
        return Market(str(symbol), base + quote, ENDPOINT + "spot")
    if (quote, settle) == ("USDT", "USDT"):
        return Market(str(symbol), base + "USDT", ENDPOINT + "linear")
    if (quote, settle) == ("USDC", "USDC"):
        return Market(str(symbol), base + "PERP", ENDPOINT + "linear")
    if (quote, settle) == ("USD", base):
        return Market(str(symbol), base + "USD", ENDPOINT + "inverse", "quote")
    right = f"{base}/{quote}:{quote}" if quote in ("USDT", "USDC") else f"{base}/USD:{base}"
    if quote != "USD" and settle in ("USDT", "USDC"):
        right = f"{base}/{settle}:{settle}"
    raise SymbolError(
        f"{symbol}: bybit's perpetuals are settled in USDT, in USDC, or (against USD) in the base coin", right
    )


def subscribe_text(natives: Sequence[str], channel: str, request_id: str) -> str:
    return _request("subscribe", natives, channel, request_id)


def unsubscribe_text(natives: Sequence[str], channel: str, request_id: str) -> str:
    return _request("unsubscribe", natives, channel, request_id)


def _request(op: str, natives: Sequence[str], channel: str, request_id: str) -> str:
    topics = [f"{channel}.{native}" for native in natives]
    return compact({"req_id": request_id, "op": op, "args": topics})


def trades(frames: Sequence[bytes]) -> Trades:
    batches = decode_frames(_decoder, frames)
    if not all(batch.topic.startswith(TOPIC) for batch in batches):
        raise ValueError("a topic other than publicTrade")
    rows = [trade for batch in batches for trade in batch.data]
    return Trades(
        native=[trade.native for trade in rows],
        price=[trade.price for trade in rows],
        volume=[trade.volume for trade in rows],
        side=[_SIDES[trade.side] for trade in rows],
        trade_id=[trade.id for trade in rows],
        exchange_ns=[trade.time * MS for trade in rows],
        snapshot=[False] * len(rows),
        counts=[len(batch.data) for batch in batches],
    )


def control(message: object) -> Control | None:
    if text_inside(message, "topic").startswith(TOPIC):
        return KeepAlive() if inside(message, "data") == [] else MalformedTrade()
    operation = text_inside(message, "op")
    if "pong" in (operation, text_inside(message, "ret_msg")):
        return KeepAlive()
    request_id = text_inside(message, "req_id")
    match inside(message, "success"):
        case False if operation == "unsubscribe":
            return KeepAlive()
        case False:
            code, reason = text_inside(message, "ret_code"), text_inside(message, "ret_msg")
            if "already subscribed" in reason.lower():
                return Ack(tuple(_TOPIC.findall(reason)), request_id)
            transient = code in _TRANSIENT or bool(_TRANSIENT_TEXT.search(reason))
            return Refusal(reason, request_id=request_id, transient=transient)
        case True if operation == "subscribe":
            return Ack(request_id=request_id)
        case True if operation == "unsubscribe" and request_id:  # the answer to our own request
            return KeepAlive()
        case True if operation == "unsubscribe":
            topics = inside(message, "args")
            named = [text for text in topics if isinstance(text, str)] if isinstance(topics, list) else []
            return Unsubscribed(tuple(_TOPIC.findall(" ".join(named))))
        case True if operation == "ping":
            return KeepAlive()
    return None
