"""Binance spot: individual trades (`trade`) or one row a taker order and price (`aggTrade`).

Its futures exchanges share the frames: binanceusdm and binancecoinm use the functions of this module.
"""

import re
from collections.abc import Sequence
from typing import ClassVar

import msgspec

from actors.exchanges.contract.feed import (
    MS,
    Ack,
    CloseNotice,
    Control,
    MalformedTrade,
    Market,
    Refusal,
    Trades,
)
from actors.exchanges.contract.feed_helpers import (
    compact,
    decode_frames,
    id_texts,
    inside,
    require_kind,
    require_upper,
    text_inside,
)
from actors.model.symbols import Symbol

# https://github.com/binance/binance-spot-api-docs/blob/master/web-socket-streams.md (a5e0bc3), read
# 2026-11-22 via stored copy; whatever is not from there says so.
ENDPOINT = "wss://stream.binance.com:9443/stream"
CHANNELS = ("trade", "aggTrade")
MARKET = "MARKET"

# Not about a market: the rate, and troubles of its own
# (https://developers.binance.com/docs/binance-spot-api-docs/errors, read 2026-11-26 via stored copy).
_TRANSIENT = frozenset(("-1000", "-1001", "-1003", "-1006", "-1007", "-1008", "-1015", "-1034"))
_TRANSIENT_TEXT = re.compile(r"too many|rate limit|overloaded|timeout|internal error", re.IGNORECASE)


class _Trade(
    msgspec.Struct,
    gc=False,
    tag_field="e",
    tag="trade",
    rename={
        "native": "s",
        "id": "t",
        "price": "p",
        "volume": "q",
        "time": "T",
        "buyer_is_maker": "m",
        "origin": "X",
    },
):
    """{"e":"trade","E":1723161255343,"s":"BTCUSDT","t":3735683259,"p":"61837.63000000","q":"0.02000000",
    "T":1723161255342,"m":true,"M":true}. Keys that differ by case mean different things (m, M). Futures have "X":
    "MARKET" or, for fills that never met the order book, "INSURANCE_FUND", "ADL" or "NA"."""

    native: str
    id: int
    price: str
    volume: str
    time: int
    buyer_is_maker: bool
    origin: str = MARKET


class _AggTrade(
    msgspec.Struct,
    gc=False,
    tag_field="e",
    tag="aggTrade",
    rename={"native": "s", "id": "a", "price": "p", "volume": "q", "time": "T", "buyer_is_maker": "m"},
):
    """{"e":"aggTrade","E":1617566591315,"s":"BTCUSDT","a":665076760,"p":"58001.03000000","q":"0.08620500",
    "f":745522877,"l":745522877,"T":1617566591314,"m":true,"M":true}; `a` has its own id space."""

    native: str
    id: int
    price: str
    volume: str
    time: int
    buyer_is_maker: bool
    origin: ClassVar[str] = MARKET  # fills off the book are not aggregated


class _Combined(msgspec.Struct, gc=False):
    """{"stream":"btcusdt@trade","data":{...}}, the form of /stream; /ws sends the data alone."""

    data: _Trade | _AggTrade


_combined = msgspec.json.Decoder(_Combined)
_raw: msgspec.json.Decoder[_Trade | _AggTrade] = msgspec.json.Decoder(_Trade | _AggTrade)


def market(symbol: Symbol, _channel: str = "") -> Market:
    """BTC/USDT is BTCUSDT in frames (no separator) and btcusdt in stream names."""
    require_kind(symbol, "binance", ("spot",))
    require_upper(symbol, "binance")
    return Market(str(symbol), symbol.base + symbol.quote, ENDPOINT)


def subscribe_text(natives: Sequence[str], channel: str, request_id: str) -> str:
    return _request_text("SUBSCRIBE", natives, channel, request_id)


def unsubscribe_text(natives: Sequence[str], channel: str, request_id: str) -> str:
    return _request_text("UNSUBSCRIBE", natives, channel, request_id)


def _request_text(method: str, natives: Sequence[str], channel: str, request_id: str) -> str:
    streams = [f"{native.lower()}@{channel}" for native in natives]
    return compact({"method": method, "params": streams, "id": int(request_id)})


def trades(frames: Sequence[bytes]) -> Trades:
    return _columns(_decoded(frames))


def futures_trades(frames: Sequence[bytes]) -> Trades:
    """The same of the futures exchanges, whose fills may be off the book."""
    events = _decoded(frames)
    made = _columns(events)
    off_book = [event.origin != MARKET for event in events]
    if True in off_book:
        made.off_book = off_book
    return made


def _decoded(frames: Sequence[bytes]) -> list[_Trade | _AggTrade]:
    if b'"data"' in frames[0]:
        return [frame.data for frame in decode_frames(_combined, frames)]
    return decode_frames(_raw, frames)


def _columns(events: Sequence[_Trade | _AggTrade]) -> Trades:
    ids = [event.id for event in events]
    return Trades(
        native=[event.native for event in events],
        price=[event.price for event in events],
        volume=[event.volume for event in events],
        side=["sell" if event.buyer_is_maker else "buy" for event in events],
        trade_id=id_texts(ids),
        exchange_ns=[event.time * MS for event in events],
        snapshot=[False] * len(events),
        numbers=ids,
    )


def control(message: object) -> Control | None:
    stream = text_inside(message, "stream")
    event = text_inside(message, "data", "e") if stream else text_inside(message, "e")
    if event in CHANNELS or stream.rpartition("@")[2] in CHANNELS:
        return MalformedTrade()
    if event == "serverShutdown":  # ten minutes before the cut, since 2026-05-08 (CHANGELOG)
        return CloseNotice("serverShutdown")
    if not isinstance(message, dict) or stream:
        return None
    request_id = text_inside(message, "id")
    error = message if "code" in message else inside(message, "error")
    if error is not None:
        code, text = text_inside(error, "code"), text_inside(error, "msg")
        transient = code in _TRANSIENT or bool(_TRANSIENT_TEXT.search(text))
        return Refusal(f"{code} {text}".strip(), request_id=request_id, transient=transient)
    # A well-formed symbol that does not exist is acknowledged too, and stays silent (long-standing, unsure).
    return Ack(request_id=request_id) if "result" in message else None
