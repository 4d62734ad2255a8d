"""Bitstamp: `live_trades` of spot and perpetuals; one channel a request, one trade a frame."""

from collections.abc import Sequence
from typing import Literal

import msgspec

from actors.exchanges.contract import feed as x
from actors.exchanges.contract.feed_helpers import (
    compact,
    decode_frames,
    id_texts,
    named,
    require_kind,
    text_inside,
)
from actors.model.symbols import Symbol, SymbolError
from actors.model.ticks import Reason
from actors.model.validation import FieldError

# https://www.bitstamp.net/websocket/v2/, and as recorded from 2019 to 2026.
ENDPOINT = "wss://ws.bitstamp.net"
CHANNEL = "live_trades"
HEARTBEAT = '{"event":"bts:heartbeat"}'
US_NS = 1_000  # nanoseconds in a microsecond
MS_DIGITS = 13  # of milliseconds since 2001, to the year 2286; seconds have ten
US_DIGITS_MAX = 18

_SIDES = ("buy", "sell")  # the taker's: the newer of a trade's two orders is on that side


class _Trade(
    msgspec.Struct,
    gc=False,
    rename={
        "price": "price_str",
        "volume": "amount_str",
        "side": "type",
        "us": "microtimestamp",
        "time": "timestamp",
    },
):
    """{"id":628186942,"timestamp":"1788335012","amount":0.00006514,"amount_str":"0.00006514","price":77558.07,
    "price_str":"77558.07","type":1,"microtimestamp":"1788335012854000","buy_order_id":2045952085757952,
    "sell_order_id":2045952156454912}; `price` and `amount` are binary fractions. `timestamp` counts seconds on spot
    and milliseconds on perpetuals; that these have `microtimestamp` too is not certain."""

    id: int
    price: str
    volume: str
    side: Literal[0, 1]
    us: str = ""
    time: str = ""


class _Frame(msgspec.Struct, gc=False, tag_field="event", tag="trade"):
    """{"data":{...},"channel":"live_trades_btcusd","event":"trade"}"""

    channel: str
    data: _Trade


_decoder = msgspec.json.Decoder(_Frame)


def market(symbol: Symbol, _channel: str = "") -> x.Market:
    """btcusd on spot, btcusd-perp for BTC/USD:USD."""
    require_kind(symbol, "bitstamp", ("spot", "swap"))
    base, quote, settle = symbol.base, symbol.quote, symbol.settle
    if (upper := str(symbol).upper()) != str(symbol):
        raise SymbolError(
            f"{symbol}: unified symbols are written in capitals, although bitstamp's own are not", upper
        )
    if settle and settle != quote:
        raise SymbolError(f"{symbol}: bitstamp's perpetuals are settled in the quote", f"{base}/{quote}:{quote}")
    return x.Market(str(symbol), f"{base}{quote}".lower() + ("-perp" if settle else ""), ENDPOINT)


def _request(event: str, natives: Sequence[str], channel: str) -> str:
    (native,) = natives
    return compact({"event": event, "data": {"channel": f"{channel}_{native}"}})


def subscribe_text(natives: Sequence[str], channel: str, _request_id: str) -> str:
    return _request("bts:subscribe", natives, channel)


def unsubscribe_text(natives: Sequence[str], channel: str, _request_id: str) -> str:
    return _request("bts:unsubscribe", natives, channel)


def trades(frames: Sequence[bytes]) -> x.Trades:
    made = decode_frames(_decoder, frames)
    if [frame for frame in made if not frame.channel.startswith("live_trades_")]:
        raise ValueError("a channel other than live_trades")
    rows = [frame.data for frame in made]
    return x.Trades(
        native=[frame.channel[12:] for frame in made],
        price=[row.price for row in rows],
        volume=[row.volume for row in rows],
        side=[_SIDES[row.side] for row in rows],
        trade_id=id_texts([row.id for row in rows]),
        exchange_ns=[int(text) * US_NS for text in _microseconds(rows)],
        snapshot=[False] * len(rows),
    )


def _microseconds(rows: Sequence[_Trade]) -> list[str]:
    texts = [row.us for row in rows]
    if "" in texts:
        texts = [row.us or row.time + ("000000" if len(row.time) < MS_DIGITS else "000") for row in rows]
    column = "".join(texts)
    if not (column.isascii() and column.isdecimal() and max(map(len, texts)) <= US_DIGITS_MAX):
        raise FieldError(Reason.BAD_TIME, f"not microseconds: {', '.join(texts)[:60]!r}")
    return texts


def control(message: object) -> x.Control | None:
    channel = text_inside(message, "channel")
    native = named(channel.removeprefix("live_trades_")) if channel.startswith("live_trades_") else ()
    match text_inside(message, "event"):
        case "trade" if native:
            return x.MalformedTrade()
        case "bts:subscription_succeeded":
            return x.Ack(native) if native else x.KeepAlive()
        case "bts:unsubscription_succeeded":
            return x.Unsubscribed(native) if native else x.KeepAlive()
        case "bts:heartbeat":
            return x.KeepAlive()
        case "bts:request_reconnect":
            return x.CloseNotice("bitstamp asks for a new connection")
        case "bts:error":  # {"event":"bts:error","channel":"","data":{"code":4009,"message":"..."}}
            code, reason = text_inside(message, "data", "code"), text_inside(message, "data", "message")
            return x.Refusal(f"{code} {reason}".strip(), native, transient="many" in reason or "limit" in reason)
    return None
