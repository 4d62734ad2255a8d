"""Upbit spot: the `trade` type; a request replaces the one before and is not answered, frames are binary JSON."""

from collections.abc import Sequence
from typing import Literal

import msgspec

from actors.exchanges.contract import feed as x
from actors.exchanges.contract.feed_helpers import (
    compact,
    decode_frames,
    digits_column,
    id_texts,
    inside,
    require_kind,
    require_upper,
    text_inside,
)
from actors.model.symbols import Symbol

# https://docs.upbit.com/kr/v1.6.4/reference/websocket-guide, read 2026-11-26 via stored copy. Upbit in
# Singapore, Indonesia and Thailand has wss://{sg,id,th}-api.upbit.com/websocket/v1: ws_url replaces this one.
ENDPOINT = "wss://api.upbit.com/websocket/v1"

_SIDES = {"ASK": "sell", "BID": "buy"}  # the taker's


class _Trade(
    msgspec.Struct,
    gc=False,
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
    """{"type":"trade","code":"KRW-BTC","timestamp":1788335180423,"trade_date":"2026-09-02","trade_time":"07:46:20",
    "trade_timestamp":1788335180377,"trade_price":106691000.00000000,"trade_volume":0.00009372,"ask_bid":"ASK",...,
    "sequential_id":17883351803770004,"stream_type":"SNAPSHOT"}; SNAPSHOT is the last trade, once a market and
    request. `timestamp` is when it was sent."""

    type: str
    native: str
    price: msgspec.Raw
    volume: msgspec.Raw
    side: Literal["ASK", "BID"]
    time: int
    id: int
    stream: str = "REALTIME"


class _ShortTrade(
    msgspec.Struct,
    gc=False,
    rename={
        "type": "ty",
        "native": "cd",
        "price": "tp",
        "volume": "tv",
        "side": "ab",
        "time": "ttms",
        "id": "sid",
        "stream": "st",
    },
):
    """The same in the format SIMPLE: {"ty":"trade","cd":"KRW-IQ","tms":1617646621082,"td":"2021-04-05",
    "ttm":"18:17","ttms":1617646620000,"tp":41.2,"tv":12111.68782622,"ab":"ASK",...,"sid":1617646620000000,"st":"REALTIME"}"""

    type: str
    native: str
    price: msgspec.Raw
    volume: msgspec.Raw
    side: Literal["ASK", "BID"]
    time: int
    id: int
    stream: str = "REALTIME"


_decoder = msgspec.json.Decoder(_Trade)
_short_decoder = msgspec.json.Decoder(_ShortTrade)


def market(symbol: Symbol, _channel: str = "") -> x.Market:
    """The quote comes first: BTC/KRW is KRW-BTC."""
    require_kind(symbol, "upbit", ("spot",))
    require_upper(symbol, "upbit")  # a code in small letters gets no answer
    return x.Market(str(symbol), f"{symbol.quote}-{symbol.base}", ENDPOINT)


def subscribe_text(natives: Sequence[str], channel: str, request_id: str) -> str:
    """The ticket is only a name for the request: there is no answer to find it in."""
    ticket = {"ticket": f"tickwarden-{request_id}"}
    return compact([ticket, {"type": channel, "codes": list(natives)}, {"format": "DEFAULT"}])


def trades(frames: Sequence[bytes]) -> x.Trades:
    """A connection's frames have one format, which the first one shows."""
    short = b'"ty"' in frames[0]
    rows = decode_frames(_short_decoder, frames) if short else decode_frames(_decoder, frames)
    if {trade.type for trade in rows} != {"trade"}:
        raise ValueError("a type other than trade")
    return x.Trades(
        native=[trade.native for trade in rows],
        price=digits_column([trade.price for trade in rows], "trade_price"),
        volume=digits_column([trade.volume for trade in rows], "trade_volume"),
        side=[_SIDES[trade.side] for trade in rows],
        trade_id=id_texts([trade.id for trade in rows]),
        exchange_ns=[trade.time * x.MS for trade in rows],
        snapshot=[trade.stream == "SNAPSHOT" for trade in rows],
    )


def control(message: object) -> x.Control | None:
    if "trade" in (text_inside(message, "type"), text_inside(message, "ty")):
        return x.MalformedTrade()
    if text_inside(message, "status") == "UP":
        return x.KeepAlive()
    if isinstance(inside(message, "error"), dict):  # {"error":{"name":"NO_CODES","message":"..."}}, then it closes
        name = text_inside(message, "error", "name")
        reason = f"{name}: {text_inside(message, 'error', 'message')}".strip(": ")
        return x.Refusal(reason, transient="TOO_MANY" in name)
    return None
