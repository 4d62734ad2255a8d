"""OKX v5: spot, swaps, futures and options; `trades` (one row a taker order and price) or `trades-all`."""

import functools
import re
from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec

from actors.exchanges.contract.feed import (
    Ack,
    CloseNotice,
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
    ms_texts_ns,
    named,
    require_upper,
    text_inside,
)
from actors.model.symbols import Symbol, SymbolError
from actors.model.ticks import Reason
from actors.model.validation import FieldError

# https://www.okx.com/docs-v5/en/#order-book-trading-market-data-ws-trades-channel, read 2026-11-22
# via stored copy.
# Accounts of the EEA and the US have other hosts (unsure which): ws_url replaces this one.
ENDPOINTS = {
    "trades": "wss://ws.okx.com:8443/ws/v5/public",
    "trades-all": "wss://ws.okx.com:8443/ws/v5/business",
}
CHANNELS = tuple(ENDPOINTS)

COUNT_MAX = 10_000  # ours: one order at one price; 21 is the most in recordings, and ids are counted by it

# Not about a market: 50001, 50004, 50013, 50026 and 63999 are troubles of the exchange's own; 50011, 60014 and
# 60023 are about the rate (https://web3.okx.com/onchainos/dev-docs/data/error and .../market/websocket-error-code,
# read 2026-11-26 via stored copy; 60014 was seen on a subscribe: ccxt#25373).
_TRANSIENT = frozenset(("50001", "50004", "50011", "50013", "50026", "60014", "60023", "63999"))
_TRANSIENT_TEXT = re.compile(
    r"too (?:frequent|many)|rate limit|system (?:busy|error)|internal error", re.IGNORECASE
)
_NAMED = re.compile(r"instId:\s*+([^\s,]{1,64})")  # error 60018 names the market only in its text


class _Trade(
    msgspec.Struct,
    gc=False,
    rename={"native": "instId", "id": "tradeId", "price": "px", "volume": "sz", "time": "ts"},
):
    """{"instId":"BTC-USDT","tradeId":"1051102132","px":"78808.8","sz":"0.00504905","side":"sell",
    "ts":"1788118931677","count":"1","source":"0","seqId":80559459948}; `side` is the taker's, tradeId the
    last of `count` fills; frames of 2022 lack the last three keys."""

    native: str
    id: str
    price: str
    volume: str
    side: Literal["buy", "sell"]
    time: str
    count: str = "1"


class _Argument(msgspec.Struct, gc=False):
    channel: Literal["trades", "trades-all"]


class _Frame(msgspec.Struct, gc=False):
    """{"arg":{"channel":"trades","instId":"BTC-USDT"},"data":[...]}"""

    arg: _Argument
    data: Annotated[list[_Trade], msgspec.Meta(min_length=1)]


_decoder = msgspec.json.Decoder(_Frame)


def market(symbol: Symbol, channel: str = "") -> Market:
    """BTC-USDT, BTC-USDT-SWAP, BTC-USD-260925, BTC-USD-260925-100000-C; all but spot count contracts."""
    require_upper(symbol, "okx")
    endpoint = ENDPOINTS[channel or CHANNELS[0]]
    native = f"{symbol.base}-{symbol.quote}"
    if symbol.kind == "spot":
        return Market(str(symbol), native, endpoint)
    # The native name has no settle currency: USD is settled in the base coin, everything else in itself.
    settle = symbol.base if symbol.quote == "USD" else symbol.quote
    if symbol.settle != settle:
        right = msgspec.structs.replace(symbol, settle=settle)
        raise SymbolError(f"{symbol}: okx settles {symbol.base}/{symbol.quote} in {settle}", str(right))
    if symbol.kind == "swap":
        native += "-SWAP"
    else:
        native += "-" + "-".join(filter(None, (symbol.expiry, symbol.strike, symbol.right)))
    return Market(str(symbol), native, endpoint, "contracts")


def subscribe_text(natives: Sequence[str], channel: str, request_id: str) -> str:
    return _request("subscribe", natives, channel, request_id)


def unsubscribe_text(natives: Sequence[str], channel: str, request_id: str) -> str:
    return _request("unsubscribe", natives, channel, request_id)


def _request(op: str, natives: Sequence[str], channel: str, request_id: str) -> str:
    args = [{"channel": channel, "instId": native} for native in natives]
    return compact({"id": request_id, "op": op, "args": args})


def trades(frames: Sequence[bytes]) -> Trades:
    lists = [frame.data for frame in decode_frames(_decoder, frames)]
    rows = [trade for data in lists for trade in data]
    return Trades(
        native=[trade.native for trade in rows],
        price=[trade.price for trade in rows],
        volume=[trade.volume for trade in rows],
        side=[trade.side for trade in rows],
        trade_id=[trade.id for trade in rows],
        exchange_ns=ms_texts_ns([trade.time for trade in rows]),
        snapshot=[False] * len(rows),
        fills=[_fills(trade.count) for trade in rows],
        counts=[len(data) for data in lists],
    )


@functools.lru_cache(maxsize=1024)  # nearly all are "1"
def _fills(count: str) -> int:
    if not (count.isascii() and count.isdecimal() and 0 < len(count) <= 9 and int(count)):
        raise FieldError(Reason.BAD_TYPE, f"count is {count[:60]!r}, no positive whole number")
    if int(count) > COUNT_MAX:
        raise FieldError(Reason.BAD_COUNT, f"count is {count}; a row stands for at most {COUNT_MAX:,} trades")
    return int(count)


def control(message: object) -> Control | None:
    if message == "pong":  # a text, not JSON
        return KeepAlive()
    ours = text_inside(message, "arg", "channel") in CHANNELS
    match text_inside(message, "event"):
        case "subscribe":
            return Ack(named(text_inside(message, "arg", "instId"))) if ours else KeepAlive()
        case "error":
            code, text = text_inside(message, "code"), text_inside(message, "msg")
            natives = named(text_inside(message, "arg", "instId")) or tuple(_NAMED.findall(text))
            request_id = "" if natives else text_inside(message, "id")
            transient = code in _TRANSIENT or bool(_TRANSIENT_TEXT.search(text))
            return Refusal(f"{code} {text}".strip(), natives, request_id, transient)
        case "notice":  # 64008: closed about 60 s later for an upgrade
            return CloseNotice(f"{text_inside(message, 'code')} {text_inside(message, 'msg')}".strip())
        case "channel-conn-count-error":  # too many connections of a channel: its subscriptions here have ended
            reason = "channel-conn-count-error, too many connections of this channel"
            return Unsubscribed((), reason) if text_inside(message, "channel") in ("", *CHANNELS) else KeepAlive()
        case "unsubscribe":
            return Unsubscribed(named(text_inside(message, "arg", "instId"))) if ours else KeepAlive()
        case "channel-conn-count":
            return KeepAlive()
    if not ours:
        return None
    return KeepAlive() if inside(message, "data") == [] else MalformedTrade()
