"""Crypto.com Exchange v1: `trade.INSTRUMENT` of spot, perpetuals and futures; heartbeats to answer."""

from collections.abc import Sequence
from typing import Annotated, Generic, Literal, TypeVar

import msgspec

from actors.exchanges.contract import feed as x
from actors.exchanges.contract.feed_helpers import (
    compact,
    decode_frames,
    inside,
    named,
    numbers_column,
    require_kind,
    require_upper,
    text_inside,
)
from actors.model.symbols import Symbol, SymbolError

# https://exchange-docs.crypto.com/exchange/v1/rest-ws/index.html#websocket-root-endpoints, read 2026-11-26 via
# stored copies; answers, replays and cut-offs as recorded and measured up to September 2026.
ENDPOINT = "wss://stream.crypto.com/exchange/v1/market"
TRADE = "trade"
_SIDES = {"BUY": "buy", "SELL": "sell"}
# Too many requests, the subscriptions of this connection are at their limit, and troubles of the exchange's own
# (https://exchange-docs.crypto.com/exchange/v1/rest-ws/index.html#response-and-reason-codes).
_TRANSIENT = frozenset(("42901", "40107", "10006", "50001", "43003", "43012"))


_NAMES = {"native": "i", "id": "d", "price": "p", "volume": "q", "side": "s", "time": "t"}
T = TypeVar("T")


class _Trade(msgspec.Struct, gc=False, rename=_NAMES):
    """{"d":"1788335095880381802","t":1788335095880,"p":"77558.92","q":"0.00004","s":"SELL","i":"BTC_USDT",
    "m":"4611686018690432925"}; `s` is the taker's, `m` the match. Several rows of a frame may share their `d`."""

    native: str
    id: str
    price: str
    volume: str
    side: Literal["BUY", "SELL"]
    time: int


class _OldTrade(msgspec.Struct, gc=False, rename=_NAMES):
    """{"dataTime":1653917168407,"d":2552833547970376845,"s":"BUY","p":0.00737,"q":6.9,"t":1653917168398,
    "i":"RSR_USDT"}: numbers, as the frames had until 2022."""

    native: str
    id: int
    price: msgspec.Raw
    volume: msgspec.Raw
    side: Literal["BUY", "SELL"]
    time: int


class _Result(msgspec.Struct, Generic[T], gc=False):
    channel: str
    data: Annotated[list[T], msgspec.Meta(min_length=1)]


class _Frame(msgspec.Struct, Generic[T], gc=False):
    """{"id":-1,"method":"subscribe","code":0,"result":{"instrument_name":"BTC_USDT","channel":"trade",
    "subscription":"trade.BTC_USDT","data":[...]}}, newest first. The first one of a market has its last 100
    trades and nothing that says so; its id may be that of the request."""

    result: _Result[T]


_decoder, _old_decoder = msgspec.json.Decoder(_Frame[_Trade]), msgspec.json.Decoder(_Frame[_OldTrade])


def market(symbol: Symbol, _channel: str = "") -> x.Market:
    """BTC_USDT, BTCUSD-PERP for BTC/USD:USD, BTCUSD-260925 for BTC/USD:USD-260925."""
    require_kind(symbol, "cryptocom", ("spot", "swap", "future"))
    require_upper(symbol, "cryptocom")
    base, quote = symbol.base, symbol.quote
    if not symbol.settle:
        return x.Market(str(symbol), f"{base}_{quote}", ENDPOINT)
    if symbol.settle != quote:
        right = str(Symbol(base, quote, quote, symbol.expiry))
        raise SymbolError(f"{symbol}: cryptocom's contracts are settled in what they are quoted in", right)
    return x.Market(str(symbol), f"{base}{quote}-{symbol.expiry or 'PERP'}", ENDPOINT)


def subscribe_text(natives: Sequence[str], channel: str, request_id: str) -> str:
    return _request("subscribe", natives, channel, request_id)


def unsubscribe_text(natives: Sequence[str], channel: str, request_id: str) -> str:
    return _request("unsubscribe", natives, channel, request_id)


def _request(method: str, natives: Sequence[str], channel: str, request_id: str) -> str:
    channels = [f"{channel}.{native}" for native in natives]
    return compact({"id": int(request_id), "method": method, "params": {"channels": channels}})


def trades(frames: Sequence[bytes]) -> x.Trades:
    rows: Sequence[_Trade | _OldTrade]
    counts: list[int]
    try:
        new, counts = _rows(decode_frames(_decoder, frames))
        rows = new
        price, volume = [row.price for row in new], [row.volume for row in new]
        trade_id: list[str | None] = [row.id for row in new]
    except msgspec.ValidationError as error:
        try:
            old, counts = _rows(decode_frames(_old_decoder, frames))
            rows = old
            price = numbers_column([row.price for row in old], "p")
            volume = numbers_column([row.volume for row in old], "q")
            trade_id = [str(row.id) for row in old]
        except ValueError:
            raise error from None
    return x.Trades(
        native=[row.native for row in rows],
        price=price,
        volume=volume,
        side=[_SIDES[row.side] for row in rows],
        trade_id=trade_id,
        exchange_ns=[row.time * x.MS for row in rows],
        snapshot=[False] * len(rows),
        counts=counts,
    )


def _rows(frames: Sequence[_Frame[T]]) -> tuple[list[T], list[int]]:
    """The trades of all frames, and how many each has."""
    if {frame.result.channel for frame in frames} != {TRADE}:
        raise ValueError("a channel other than trade")
    lists = [frame.result.data for frame in frames]
    return [trade for data in lists for trade in reversed(data)], [len(data) for data in lists]


def control(message: object) -> x.Control | None:
    """Trade frames and answers have the method of the request. A market is confirmed by its first frame: trade
    channels had no other answer in September 2026."""
    method = text_inside(message, "method")
    if method == "public/heartbeat":
        request_id = inside(message, "id")
        if isinstance(request_id, int) and not isinstance(request_id, bool):
            return x.Reply(f'{{"id":{request_id},"method":"public/respond-heartbeat"}}')
        return None
    if method not in ("subscribe", "unsubscribe"):
        return _refusal(message) if text_inside(message, "code") not in ("", "0") else None
    if text_inside(message, "code") not in ("", "0"):
        return _refusal(message)
    if inside(message, "result") is not None:
        if text_inside(message, "result", "channel") != TRADE:
            return None
        native = text_inside(message, "result", "instrument_name")
        return x.Ack(named(native)) if inside(message, "result", "data") == [] else x.MalformedTrade()
    channel = text_inside(message, "channel")
    if method == "unsubscribe" or (channel and not _native(channel)):
        return x.KeepAlive()
    return x.Ack(named(_native(channel)), text_inside(message, "id"))


def _native(channel: str) -> str:
    stem, _, native = channel.partition(".")
    return native if stem == TRADE else ""


def _refusal(message: object) -> x.Control:
    """{"id":1,"method":"subscribe","code":40003,"message":"Unknown symbol"}; whether it names the channel is
    unsure."""
    if text_inside(message, "method") == "unsubscribe":
        return x.KeepAlive()
    code, reason = text_inside(message, "code"), text_inside(message, "message")
    native = _native(text_inside(message, "channel"))
    return x.Refusal(
        f"{code} {reason}".strip(),
        named(native),
        "" if native else text_inside(message, "id"),
        transient=code in _TRANSIENT,
    )
