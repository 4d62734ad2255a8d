"""Kraken spot, WebSocket v2: the `trade` channel, whose numbers are kept as the wire's digits."""

import re
from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec

from actors.exchanges.contract.feed import (
    Ack,
    Condition,
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
    id_texts,
    inside,
    named,
    numbers_column,
    require_kind,
    require_upper,
    rfc3339_column_ns,
    text_inside,
)
from actors.model.symbols import Symbol, SymbolError

# https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/trade, read 2026-11-22 via stored copy.
ENDPOINT = "wss://ws.kraken.com/v2"

# The status channel says what the trading engine does; in these states orders are not matched
# (https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/status, read 2026-11-26 via stored copy).
_HALTED = ("maintenance", "cancel_only", "post_only")

# Not about a market: {"Error":"Exceeded msg rate"} (bitrich-info/xchange-stream#502), "EAPI:Rate limit exceeded",
# "EService:Busy", "EService:Market in cancel_only mode", "EGeneral:Internal error"
# (https://docs.kraken.com/exchange/guides/general/errors, read 2026-11-26 via stored copy).
_TRANSIENT = re.compile(r"msg rate|rate limit|too many|throttl|EService:|internal error|temporar", re.IGNORECASE)

# v2 knows only the new names; REST still returns the old ones.
RENAMED = {"XBT": "BTC", "XDG": "DOGE"}
# REST's own codes of the oldest assets; "XXBTZUSD" cut at its USD leaves a Z behind.
_OLD = re.compile(r"X(ETC|ETH|LTC|MLN|REP|XBT|XDG|XLM|XMR|XRP|ZEC)Z?|Z(AUD|CAD|EUR|GBP|JPY|USD)")


class _Trade(
    msgspec.Struct,
    gc=False,
    rename={"native": "symbol", "id": "trade_id", "volume": "qty", "time": "timestamp"},
):
    """{"symbol":"BTC/USD","side":"sell","price":68466.9,"qty":0.01919415,"ord_type":"market",
    "trade_id":70635251,"timestamp":"2024-05-27T12:33:10.826003Z"}; `side` is the taker's."""

    native: str
    side: Literal["buy", "sell"]
    price: msgspec.Raw
    volume: msgspec.Raw
    id: int
    time: str


class _Frame(msgspec.Struct, gc=False, tag_field="channel", tag="trade"):
    """{"channel":"trade","type":"update","data":[...]}; `type` is "snapshot" for the last 50 on subscribe."""

    type: str
    data: Annotated[list[_Trade], msgspec.Meta(min_length=1)]


_decoder = msgspec.json.Decoder(_Frame)


def market(symbol: Symbol, _channel: str = "") -> Market:
    """The native name is the unified one; codes may be of mixed case ("AAPLx/USD")."""
    require_kind(symbol, "kraken", ("spot",))
    right = Symbol(_right_code(symbol.base), _right_code(symbol.quote))
    if right != symbol:
        if str(right) == str(symbol).upper():  # it was typed in small letters
            require_upper(symbol, "kraken")
        raise SymbolError(f"{symbol}: Kraken's WebSocket v2 has other codes than its REST interface", str(right))
    return Market(str(symbol), str(symbol), ENDPOINT)


def _right_code(code: str) -> str:
    code = code.upper() if code.islower() else code  # no code is all small letters
    if old := _OLD.fullmatch(code):
        code = old[1] or old[2]
    return RENAMED.get(code, code)


def subscribe_text(natives: Sequence[str], channel: str, request_id: str) -> str:
    params = {"channel": channel, "symbol": list(natives), "snapshot": False}
    return compact({"method": "subscribe", "params": params, "req_id": int(request_id)})


def unsubscribe_text(natives: Sequence[str], channel: str, request_id: str) -> str:
    params = {"channel": channel, "symbol": list(natives)}
    return compact({"method": "unsubscribe", "params": params, "req_id": int(request_id)})


def trades(frames: Sequence[bytes]) -> Trades:
    batches = decode_frames(_decoder, frames)
    rows = [trade for batch in batches for trade in batch.data]
    ids = [trade.id for trade in rows]
    return Trades(
        native=[trade.native for trade in rows],
        price=numbers_column([trade.price for trade in rows], "price"),
        volume=numbers_column([trade.volume for trade in rows], "qty"),
        side=[trade.side for trade in rows],
        trade_id=id_texts(ids),
        exchange_ns=rfc3339_column_ns([trade.time for trade in rows]),
        snapshot=[batch.type == "snapshot" for batch in batches for _ in batch.data],
        counts=[len(batch.data) for batch in batches],
        numbers=ids,
    )


def control(message: object) -> Control | None:
    match text_inside(message, "channel"):
        case "trade":
            return KeepAlive() if inside(message, "data") == [] else MalformedTrade()
        case "heartbeat":
            return KeepAlive()
        case "status":
            return _condition(inside(message, "data"))
    method = text_inside(message, "method")
    refused = text_inside(message, "error") or text_inside(message, "Error")
    if method == "unsubscribe":
        natives = named(text_inside(message, "result", "symbol") or text_inside(message, "symbol"))
        channel = text_inside(message, "result", "channel")
        ours = inside(message, "success") is True and channel in ("", "trade")
        return Unsubscribed(natives) if ours else KeepAlive()
    if inside(message, "success") is False or refused:
        natives = named(text_inside(message, "symbol"))
        request_id = "" if natives else text_inside(message, "req_id")
        if "already subscribed" in refused.lower():
            return Ack(natives, request_id)
        return Refusal(refused, natives, request_id, transient=bool(_TRANSIENT.search(refused)))
    if method == "subscribe" and text_inside(message, "result", "channel") == "trade":
        natives = named(text_inside(message, "result", "symbol"))
        return Ack(natives, "" if natives else text_inside(message, "req_id"))
    return KeepAlive() if method in ("subscribe", "pong") else None


def _condition(data: object) -> Control:
    """{"channel":"status","type":"update","data":[{"system":"maintenance"}]}, on connect and on changes."""
    words = text_inside(data[0], "system") if isinstance(data, list) and data else ""
    return Condition() if words in ("", "online") else Condition(words, matches=words not in _HALTED)
