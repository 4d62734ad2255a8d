"""Poloniex: `trades` of spot, and of linear perpetuals on its Futures v3 endpoint."""

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec

from actors.exchanges.contract import feed as x
from actors.exchanges.contract.feed_helpers import (
    compact,
    decode_frames,
    inside,
    require_kind,
    require_upper,
    text_inside,
)
from actors.model.symbols import Symbol, SymbolError

# https://api-docs.poloniex.com/spot/websocket/market-data and .../v3/futures/websocket/public/trades, read
# 2026-11-26 via # stored copies; errors and cut-offs were measured in September 2026.
SPOT, SWAP = "wss://ws.poloniex.com/ws/public", "wss://ws.poloniex.com/ws/v3/public"
TRADES = "trades"
PERPETUAL = "_PERP"
PING = '{"event":"ping"}'


class _Trade(
    msgspec.Struct,
    gc=False,
    rename={"native": "symbol", "volume": "quantity", "side": "takerSide", "time": "createTime"},
):
    """{"symbol":"BTC_USDT","amount":"1419.8458164","quantity":"0.018308","takerSide":"sell",
    "createTime":1788335123813,"price":"77553.3","id":"240066176","ts":1788335123827}; `quantity` is base, `amount`
    quote; `createTime` is the trade's time, `ts` that of sending."""

    native: str
    id: str
    price: str
    volume: str
    side: Literal["buy", "sell"]
    time: int


class _Frame(msgspec.Struct, gc=False):
    """{"channel":"trades","data":[...]}"""

    channel: str
    data: Annotated[list[_Trade], msgspec.Meta(min_length=1)]


class _Fill(msgspec.Struct, gc=False, rename={"native": "s", "price": "px", "volume": "qty", "time": "cT"}):
    """{"s":"BTC_USDT_PERP","id":105091009,"side":"sell","px":"103868.38","qty":"1","amt":"103.86838",
    "cT":1734354688285,"ts":...}, as documented: none is recorded. `qty` is contracts."""

    native: str
    id: int | str
    price: str
    volume: str
    side: Literal["buy", "sell"]
    time: int


class _SwapFrame(msgspec.Struct, gc=False):
    channel: str
    data: Annotated[list[_Fill], msgspec.Meta(min_length=1)]


_decoder, _swap_decoder = msgspec.json.Decoder(_Frame), msgspec.json.Decoder(_SwapFrame)


def market(symbol: Symbol, _channel: str = "") -> x.Market:
    """BTC_USDT, BTC_USDT_PERP for BTC/USDT:USDT."""
    require_kind(symbol, "poloniex", ("spot", "swap"))
    require_upper(symbol, "poloniex")
    native = f"{symbol.base}_{symbol.quote}"
    if not symbol.settle:
        return x.Market(str(symbol), native, SPOT)
    if (symbol.quote, symbol.settle) != ("USDT", "USDT"):
        raise SymbolError(f"{symbol}: poloniex's perpetuals are settled in USDT", f"{symbol.base}/USDT:USDT")
    return x.Market(str(symbol), native + PERPETUAL, SWAP, "contracts")


def subscribe_text(natives: Sequence[str], channel: str, _request_id: str) -> str:
    return compact({"event": "subscribe", "channel": [channel], "symbols": list(natives)})


def unsubscribe_text(natives: Sequence[str], channel: str, _request_id: str) -> str:
    return compact({"event": "unsubscribe", "channel": [channel], "symbols": list(natives)})


def trades(frames: Sequence[bytes]) -> x.Trades:
    rows: list[_Trade] | list[_Fill]
    if b'"px"' in frames[0]:  # an endpoint has one form or the other
        fills = decode_frames(_swap_decoder, frames)
        channels, counts = {frame.channel for frame in fills}, [len(frame.data) for frame in fills]
        rows = [row for frame in fills for row in frame.data]
    else:
        spot = decode_frames(_decoder, frames)
        channels, counts = {frame.channel for frame in spot}, [len(frame.data) for frame in spot]
        rows = [row for frame in spot for row in frame.data]
    if channels != {TRADES}:
        raise ValueError("a channel other than trades")
    return x.Trades(
        native=[row.native for row in rows],
        price=[row.price for row in rows],
        volume=[row.volume for row in rows],
        side=[row.side for row in rows],
        trade_id=[str(row.id) for row in rows],
        exchange_ns=[row.time * x.MS for row in rows],
        snapshot=[False] * len(rows),
        counts=counts,
    )


def control(message: object) -> x.Control | None:
    event = text_inside(message, "event")
    if text_inside(message, "channel") == TRADES and not event:
        return x.KeepAlive() if inside(message, "data") == [] else x.MalformedTrade()
    match event:
        case "pong" | "unsubscribe":
            return x.KeepAlive()
        case "subscribe" if text_inside(message, "channel") == TRADES:
            symbols = inside(message, "symbols")
            named = [name for name in symbols if isinstance(name, str)] if isinstance(symbols, list) else []
            return x.Ack(tuple(named))
        case "error":
            reason = text_inside(message, "message")
            return x.Refusal(reason, transient="too many" in reason.lower() or "limit" in reason.lower())
    return x.KeepAlive() if event == "subscribe" else None
