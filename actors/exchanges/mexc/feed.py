"""MEXC: spot trades in protobuf and `push.deal` of perpetuals in JSON, each on an endpoint of its own."""

import re
from collections.abc import Sequence
from typing import Literal

import msgspec

from actors.exchanges.contract import feed as x
from actors.exchanges.contract.feed_helpers import (
    compact,
    decode_frames,
    digits_column,
    inside,
    require_kind,
    require_upper,
    text_inside,
)
from actors.exchanges.mexc import protobuf
from actors.model.symbols import Symbol, SymbolError

# https://www.mexc.com/api-docs/spot-v3/websocket-market-streams and https://www.mexc.com/api-docs/futures, read
# 2026-11-26 via stored copies; answers as seen up to September 2026.
SPOT_URL, FUTURES_URL = "wss://wbs-api.mexc.com/ws", "wss://contract.mexc.com/edge"
TRADES = "deals"
SPOT_CHANNEL = "spot@public.aggre.deals.v3.api.pb@10ms@"  # every trade, sent together every 10 ms; or 100ms
_SPOT_CHANNELS = ("spot@public.aggre.deals.v3.api.pb", "spot@public.deals.v3.api.pb")
FUTURES_PUSH = "push.deal"

_SPOT_NAME = re.compile(r"spot@public\.(?:aggre\.)?deals\.[^\s,\[\]]*@([^\s,@\[\]]{1,64})")
_CONTRACT = re.compile(r"Contract \[([^\]\s]{1,64})\]")
_TRANSIENT = re.compile(r"too many|frequen|limit|busy|internal|timeout", re.IGNORECASE)
SIDES = {1: "buy", 2: "sell"}


class _Deal(msgspec.Struct, gc=False, rename={"price": "p", "volume": "v", "side": "T", "time": "t", "id": "i"}):
    """{"p":77526,"v":208,"T":1,"O":3,"M":2,"t":1788335243261,"i":"16005949690","cts":"1788335243261"}: `v` counts
    contracts, `T` 1 is bought by the taker and 2 sold. Until 2025 there was no id."""

    price: msgspec.Raw
    volume: msgspec.Raw
    side: Literal[1, 2]
    time: int
    id: str | None = None


class _Frame(msgspec.Struct, gc=False, tag_field="channel", tag=FUTURES_PUSH):
    """{"symbol":"BTC_USDT","data":[...],"channel":"push.deal","ts":1788335243261}, newest first; until 2025 `data`
    was a single trade."""

    symbol: str
    data: list[_Deal] | _Deal


_decoder = msgspec.json.Decoder(_Frame)


def market(symbol: Symbol, _channel: str = "") -> x.Market:
    """BTCUSDT on spot, BTC_USDT for BTC/USDT:USDT, BTC_USD for BTC/USD:BTC."""
    require_kind(symbol, "mexc", ("spot", "swap"))
    require_upper(symbol, "mexc")
    base, quote, settle = symbol.base, symbol.quote, symbol.settle
    if not settle:
        return x.Market(str(symbol), base + quote, SPOT_URL)
    right = Symbol(base, quote, base if quote == "USD" else quote)
    if symbol != right:
        raise SymbolError(f"{symbol}: mexc settles in the quote, or (against USD) in the base coin", str(right))
    return x.Market(str(symbol), f"{base}_{quote}", FUTURES_URL, "contracts")


def subscribe_text(natives: Sequence[str], _channel: str, request_id: str) -> str:
    """One market a request: an answer to contracts names none, and contracts merge fills of an order otherwise."""
    (native,) = natives
    if "_" in native:
        return compact({"method": "sub.deal", "param": {"symbol": native, "compress": False}})
    return compact({"method": "SUBSCRIPTION", "params": [SPOT_CHANNEL + native], "id": int(request_id)})


def unsubscribe_text(natives: Sequence[str], _channel: str, request_id: str) -> str:
    (native,) = natives
    if "_" in native:
        return compact({"method": "unsub.deal", "param": {"symbol": native}})
    return compact({"method": "UNSUBSCRIPTION", "params": [SPOT_CHANNEL + native], "id": int(request_id)})


def trades(frames: Sequence[bytes]) -> x.Trades:
    """All protobuf or all JSON, as each connection carries one of them."""
    return _spot(frames) if protobuf.begins(frames[0]) else _futures(frames)


def _spot(frames: Sequence[bytes]) -> x.Trades:
    """Oldest first."""
    native: list[str] = []
    rows: list[protobuf.Deal] = []
    counts: list[int] = []
    for frame in frames:
        symbol, deals = protobuf.deals(frame)
        if not deals:
            raise ValueError("no trades")
        native += [symbol] * len(deals)
        rows += deals
        counts.append(len(deals))
    return x.Trades(
        native=native,
        price=[row[0] for row in rows],
        volume=[row[1] for row in rows],
        side=[row[2] for row in rows],
        trade_id=[row[3] for row in rows],
        exchange_ns=[row[4] * x.MS for row in rows],
        snapshot=[False] * len(rows),
        counts=counts,
    )


def _futures(frames: Sequence[bytes]) -> x.Trades:
    native: list[str] = []
    rows: list[_Deal] = []
    counts: list[int] = []
    for frame in decode_frames(_decoder, frames):
        data = frame.data if isinstance(frame.data, list) else [frame.data]
        if not data:
            raise ValueError("no trades")
        native += [frame.symbol] * len(data)
        rows += reversed(data)
        counts.append(len(data))
    return x.Trades(
        native=native,
        price=digits_column([row.price for row in rows], "p"),
        volume=digits_column([row.volume for row in rows], "v"),
        side=[SIDES[row.side] for row in rows],
        trade_id=[row.id for row in rows],
        exchange_ns=[row.time * x.MS for row in rows],
        snapshot=[False] * len(rows),
        counts=counts,
    )


def control(message: object) -> x.Control | None:
    if isinstance(message, bytes | str):
        return _binary(message if isinstance(message, bytes) else message.encode("utf-8", "surrogatepass"))
    channel, data = text_inside(message, "channel"), text_inside(message, "data")
    match channel:
        case "":
            return _spot_answer(text_inside(message, "msg"), text_inside(message, "code"))
        case "pong" | "rs.unsub.deal":
            return x.KeepAlive()
        case "rs.sub.deal":
            return x.Ack() if data == "success" else x.Refusal(data)
        case "rs.error":
            natives = tuple(_CONTRACT.findall(data))
            return x.Refusal(data, natives, transient=not natives and bool(_TRANSIENT.search(data)))
        case "push.deal":
            return x.KeepAlive() if inside(message, "data") == [] else x.MalformedTrade()
    return None


def _spot_answer(text: str, code: str) -> x.Control | None:
    """{"id":0,"code":0,"msg":"spot@public.aggre.deals.v3.api.pb@10ms@BTCUSDT"}; a refusal has the code 0 too."""
    if text == "PONG":
        return x.KeepAlive()
    if not text or not code:
        return None
    natives = tuple(_SPOT_NAME.findall(text))
    if text.startswith("spot@") and code == "0":
        return x.Ack(natives) if natives else x.KeepAlive()
    reason = text if code == "0" else f"{code} {text}"
    return x.Refusal(reason, natives, transient=not natives and bool(_TRANSIENT.search(text)))


def _binary(message: bytes) -> x.Control | None:
    """A wrapper that is no sound one of trades."""
    if not protobuf.begins(message):
        return None
    try:
        ours = protobuf.channel(message).startswith(_SPOT_CHANNELS)
        return (x.MalformedTrade() if protobuf.deals(message)[1] else x.KeepAlive()) if ours else None
    except ValueError:
        return x.MalformedTrade() if any(name.encode() in message for name in _SPOT_CHANNELS) else None
