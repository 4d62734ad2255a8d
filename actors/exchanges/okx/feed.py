"""OKX v5: spot, swaps, futures and options; `trades` (one row a taker order and price) or `trades-all`."""

import dataclasses
import re
from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec

from actors.exchanges.contract.feed import (
    Ack,
    Alive,
    Control,
    Dialect,
    Leaving,
    Limits,
    Market,
    Ping,
    Refusal,
    Request,
    TradeLike,
    Trades,
    Unsubscribed,
)
from actors.exchanges.contract.feed_helpers import (
    compact,
    decode_frames,
    inside,
    ms_texts_ns,
    named,
    requests,
    require_upper,
    text_inside,
)
from actors.model.symbols import Symbol, SymbolError
from actors.model.ticks import IdPromise, Reason
from actors.model.validation import FieldError

# https://www.okx.com/docs-v5/en/#order-book-trading-market-data-ws-trades-channel, read 2026-11-22
# via stored copy.
# Accounts of the EEA and the US have other hosts (unsure which): ws_url replaces this one.
ENDPOINTS = {
    "trades": "wss://ws.okx.com:8443/ws/v5/public",
    "trades-all": "wss://ws.okx.com:8443/ws/v5/business",
}
CHANNELS = tuple(ENDPOINTS)

LIMITS = Limits(
    symbols_per_connection=300,  # ours: no number is documented
    symbols_per_request=100,  # ours; a request with many args costs one of 480 an hour
    request_bytes=60_000,  # 64 KB
    requests_per_s=2.0,  # ours
    requests_per_hour=400,  # 480 an hour and connection, subscribe and unsubscribe together
    connects_per_s=2.0,  # 3 a second an IP
)

COUNT_MAX = 10_000  # ours: one order at one price; 21 is the most in recordings, and ids are counted by it

# Not about a market: 50001, 50004, 50013, 50026 and 63999 are troubles of the exchange's own; 50011, 60014 and
# 60023 are about the rate (https://web3.okx.com/onchainos/dev-docs/data/error and .../market/websocket-error-code,
# read 2026-11-26 via stored copy; 60014 was seen on a subscribe: ccxt#25373).
_PASSING = frozenset(("50001", "50004", "50011", "50013", "50026", "60014", "60023", "63999"))
_PASSING_WORDS = re.compile(r"too (?:frequent|many)|rate limit|system (?:busy|error)|internal error", re.IGNORECASE)
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


def _market(symbol: Symbol, channel: str = "") -> Market:
    """BTC-USDT, BTC-USDT-SWAP, BTC-USD-260925, BTC-USD-260925-100000-C; all but spot count contracts."""
    require_upper(symbol, "okx")
    endpoint = ENDPOINTS[channel or CHANNELS[0]]
    native = f"{symbol.base}-{symbol.quote}"
    if symbol.kind == "spot":
        return Market(str(symbol), native, endpoint)
    # The native name has no settle currency: USD is settled in the base coin, everything else in itself.
    settle = symbol.base if symbol.quote == "USD" else symbol.quote
    if symbol.settle != settle:
        right = dataclasses.replace(symbol, settle=settle)
        raise SymbolError(f"{symbol}: okx settles {symbol.base}/{symbol.quote} in {settle}", str(right))
    if symbol.kind == "swap":
        native += "-SWAP"
    else:
        native += "-" + "-".join(filter(None, (symbol.expiry, symbol.strike, symbol.right)))
    return Market(str(symbol), native, endpoint, "contracts")


def _subscribe(natives: Sequence[str], channel: str, first_id: int) -> list[Request]:
    def render(part: Sequence[str], request_id: str) -> str:
        args = [{"channel": channel, "instId": native} for native in part]
        return compact({"id": request_id, "op": "subscribe", "args": args})

    return requests(natives, LIMITS, first_id, render)


def _trades(frames: Sequence[bytes]) -> Trades:
    trades = [trade for frame in decode_frames(_decoder, frames) for trade in frame.data]
    return Trades(
        native=[trade.native for trade in trades],
        price=[trade.price for trade in trades],
        volume=[trade.volume for trade in trades],
        side=[trade.side for trade in trades],
        trade_id=[trade.id for trade in trades],
        exchange_ns=ms_texts_ns([trade.time for trade in trades]),
        snapshot=[False] * len(trades),
        fills=[_fills(trade.count) for trade in trades],
    )


def _fills(count: str) -> int:
    if not (count.isascii() and count.isdecimal() and 0 < len(count) <= 9 and int(count)):
        raise FieldError(Reason.BAD_TYPE, f"count is {count[:60]!r}, no positive whole number")
    if int(count) > COUNT_MAX:
        raise FieldError(Reason.BAD_COUNT, f"count is {count}; a row stands for at most {COUNT_MAX:,} trades")
    return int(count)


def _control(message: object) -> Control | None:
    if message == "pong":  # a text, not JSON
        return Alive()
    ours = text_inside(message, "arg", "channel") in CHANNELS
    match text_inside(message, "event"):
        case "subscribe":
            return Ack(named(text_inside(message, "arg", "instId"))) if ours else Alive()
        case "error":
            code, text = text_inside(message, "code"), text_inside(message, "msg")
            natives = named(text_inside(message, "arg", "instId")) or tuple(_NAMED.findall(text))
            request_id = "" if natives else text_inside(message, "id")
            passing = code in _PASSING or bool(_PASSING_WORDS.search(text))
            return Refusal(f"{code} {text}".strip(), natives, request_id, passing)
        case "notice":  # 64008: closed about 60 s later for an upgrade
            return Leaving(f"{text_inside(message, 'code')} {text_inside(message, 'msg')}".strip())
        case "channel-conn-count-error":  # too many connections of a channel: its subscriptions here have ended
            reason = "channel-conn-count-error, too many connections of this channel"
            return Unsubscribed((), reason) if text_inside(message, "channel") in ("", *CHANNELS) else Alive()
        case "unsubscribe":  # we never ask for that, so it is the exchange's doing
            return Unsubscribed(named(text_inside(message, "arg", "instId"))) if ours else Alive()
        case "channel-conn-count":
            return Alive()
    if not ours:
        return None
    return Alive() if inside(message, "data") == [] else TradeLike()


OKX = Dialect(
    name="okx",
    title="OKX",
    doc="https://www.okx.com/docs-v5/en/#order-book-trading-market-data-ws-trades-channel",
    doc_read="2026-11-22",
    channels=CHANNELS,
    limits=LIMITS,
    silence_s=45.0,  # our ping is answered every 20 s: two answers missed
    ping=Ping(interval_s=20.0, text=lambda _number: "ping"),  # cut after 30 s without any push
    market=_market,
    examples=("BTC/USDT", "BTC/USDT:USDT", "BTC/USD:BTC"),
    subscribe=_subscribe,
    trades=_trades,
    control=_control,
    list_key="data",
    answers_each=True,
    replays_unmarked=True,  # 18 of 18 markets in recordings of 2021 and 2022, none of 2 in one of 2026
    ids=dict.fromkeys(("spot", "swap", "future", "option"), IdPromise.CONTIGUOUS),
    ids_note="contiguous per market; a row of `trades` stands for `count` fills and takes as many ids",
    history="by id, 3 months: /api/v5/market/history-trades, 100 a request",
    markets_note="BTC/USDT, swaps BTC/USDT:USDT, dated BTC/USD:BTC-261225, options BTC/USD:BTC-261225-9000-C",
    ping_note='the text "ping" every 20 s; the server cuts after 30 s without a word',
    notes=(
        "volumes of swaps, futures and options are contracts",
        "an old trade may come on subscribe, unmarked",
    ),
)
