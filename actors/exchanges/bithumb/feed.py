"""Bithumb spot: the `trade` type of its second API; a request replaces the one before and is not answered.

Frames of the first API, which still answers, are decoded as well.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec

from actors.exchanges.contract import feed as x
from actors.exchanges.contract.feed_helpers import (
    S_NS,
    compact,
    decode_frames,
    digits_column,
    id_texts,
    inside,
    require_kind,
    require_upper,
    rfc3339_column_ns,
    text_inside,
)
from actors.model.symbols import Symbol

# https://apidocs.bithumb.com/reference (WebSocket), as quoted of September 2026: a protocol like Upbit's.
ENDPOINT = "wss://ws-api.bithumb.com/websocket/v1"
CHANNEL = "trade"
KOREA_NS = 9 * 3600 * S_NS  # Korean time is ahead of UTC by so much, all year

_SIDES = {"ASK": "sell", "BID": "buy"}  # the taker's
_FIRST_SIDES = {"1": "sell", "2": "buy"}


class _Trade(
    msgspec.Struct,
    gc=False,
    tag_field="type",
    tag=CHANNEL,
    rename={
        "native": "code",
        "price": "trade_price",
        "volume": "trade_volume",
        "side": "ask_bid",
        "time": "trade_timestamp",
        "id": "sequential_id",
        "stream": "stream_type",
    },
):
    """{"type":"trade","code":"KRW-BTC","trade_price":116208000,"trade_volume":0.0009,"ask_bid":"BID",
    "trade_date":"2026-09-23","trade_time":"12:18:33","trade_timestamp":1790133513739,
    "sequential_id":1079953210371761700,"timestamp":1790133514039,"stream_type":"REALTIME"}; date and time are
    Korean, the timestamps are not. SNAPSHOT is the last trade, once a market and request."""

    native: str
    price: msgspec.Raw
    volume: msgspec.Raw
    side: Literal["ASK", "BID"]
    time: int
    id: int
    stream: str = "REALTIME"


class _FirstTrade(
    msgspec.Struct,
    gc=False,
    rename={"price": "contPrice", "volume": "contQty", "side": "buySellGb", "time": "contDtm"},
):
    """{"buySellGb":"2","contPrice":"3.908","contQty":"12365.191","contAmt":"48323.166",
    "contDtm":"2021-06-02 08:43:34.555058","updn":"dn","symbol":"CON_KRW"}; the time is Korean."""

    symbol: str
    price: str
    volume: str
    side: Literal["1", "2"]
    time: str


class _FirstContent(msgspec.Struct, gc=False, rename={"rows": "list"}):
    rows: Annotated[list[_FirstTrade], msgspec.Meta(min_length=1)]


class _FirstFrame(msgspec.Struct, gc=False, tag_field="type", tag="transaction"):
    """{"type":"transaction","content":{"list":[...]}}"""

    content: _FirstContent


_decoder = msgspec.json.Decoder(_Trade)
_first_decoder = msgspec.json.Decoder(_FirstFrame)


def market(symbol: Symbol, _channel: str = "") -> x.Market:
    """The quote comes first: BTC/KRW is KRW-BTC."""
    require_kind(symbol, "bithumb", ("spot",))
    require_upper(symbol, "bithumb")  # a code in small letters gets no answer
    return x.Market(str(symbol), f"{symbol.quote}-{symbol.base}", ENDPOINT)


def subscribe_text(natives: Sequence[str], channel: str, request_id: str) -> str:
    """The ticket is only a name for the request: there is no answer to find it in."""
    ticket = {"ticket": f"tickwarden-{request_id}"}
    return compact([ticket, {"type": channel, "codes": list(natives)}, {"format": "DEFAULT"}])


def trades(frames: Sequence[bytes]) -> x.Trades:
    """A connection's frames are of one API, which the first one shows."""
    if b'"transaction"' in frames[0]:
        return _first_trades(frames)
    rows = decode_frames(_decoder, frames)
    return x.Trades(
        native=[row.native for row in rows],
        price=digits_column([row.price for row in rows], "trade_price"),
        volume=digits_column([row.volume for row in rows], "trade_volume"),
        side=[_SIDES[row.side] for row in rows],
        trade_id=id_texts([row.id for row in rows]),
        exchange_ns=[row.time * x.MS for row in rows],
        snapshot=[row.stream == "SNAPSHOT" for row in rows],
    )


def _first_trades(frames: Sequence[bytes]) -> x.Trades:
    """Names are as in the second API, KRW-CON for CON_KRW; there are no ids."""
    lists = [frame.content.rows for frame in decode_frames(_first_decoder, frames)]
    rows = [row for listed in lists for row in listed]
    natives = {symbol: "-".join(reversed(symbol.split("_"))) for symbol in {row.symbol for row in rows}}
    return x.Trades(
        native=[natives[row.symbol] for row in rows],
        price=[row.price for row in rows],
        volume=[row.volume for row in rows],
        side=[_FIRST_SIDES[row.side] for row in rows],
        trade_id=[None] * len(rows),
        exchange_ns=rfc3339_column_ns([row.time.replace(" ", "T", 1) + "Z" for row in rows], KOREA_NS),
        snapshot=[False] * len(rows),
        counts=[len(listed) for listed in lists],
    )


def control(message: object) -> x.Control | None:
    if text_inside(message, "type") in (CHANNEL, "transaction"):
        return x.MalformedTrade()
    match text_inside(message, "status"):
        case "UP" | "0000":  # the latter "Connected Successfully" and "Filter Registered Successfully"
            return x.KeepAlive()
        case "5100":
            return x.Refusal(f"5100 {text_inside(message, 'resmsg')}".strip())
    if isinstance(inside(message, "error"), dict):  # {"error":{"name":"NO_TICKET","message":"..."}}, then it closes
        name = text_inside(message, "error", "name")
        reason = f"{name}: {text_inside(message, 'error', 'message')}".strip(": ")
        return x.Refusal(reason, transient="TOO_MANY" in name.upper())
    return None
