"""Bitget v2: the `trade` channel of spot and of USDT-, USDC- and coin-margined perpetuals, all on one endpoint."""

import re
from collections.abc import Sequence
from typing import Annotated, Literal, NamedTuple

import msgspec

from actors.exchanges.contract import feed as x
from actors.exchanges.contract.feed_helpers import (
    compact,
    decode_frames,
    inside,
    ms_texts_ns,
    named,
    require_kind,
    require_upper,
    text_inside,
)
from actors.exchanges.contract.instruments import Instrument
from actors.model.symbols import Symbol, SymbolError

# https://www.bitget.com/api-doc/spot/websocket/public/Trades-Channel, the same of contract/websocket/public, and
# .../common/websocket-intro, read 2026-11-26 via stored copies.
ENDPOINT = "wss://ws.bitget.com/v2/ws/public"
CHANNEL, CHANNEL_V3 = "trade", "publicTrade"
SPOT, USDT, USDC, COIN = "SPOT", "USDT-FUTURES", "USDC-FUTURES", "COIN-FUTURES"
_KINDS_V1 = {"SP": SPOT, "MC": USDT}
SEPARATOR = ":"  # a market is called "USDT-FUTURES:BTCUSDT", as its trades carry no name and spot has a BTCUSDT too

# 30006: too many requests, 30007: over the limit, the connection is closed.
_TRANSIENT = ("30006", "30007")
_TRANSIENT_TEXT = re.compile(r"too many|frequen|limit|busy|internal|timeout", re.IGNORECASE)


class _Arg(msgspec.Struct, gc=False, rename={"kind": "instType", "name": "instId"}):
    kind: str
    name: str
    channel: Literal["trade"]


class _Trade(msgspec.Struct, gc=False, rename={"id": "tradeId", "volume": "size", "time": "ts"}):
    """{"ts":"1788335044055","price":"77600.75","size":"0.001352","side":"buy","tradeId":"1478949856623706112"}; the
    side is the taker's, and sizes count the base coin, on coin-margined perpetuals as well (unsure)."""

    id: str
    price: str
    volume: str
    side: Literal["buy", "sell"]
    time: str


class _TradeV1(NamedTuple):
    """["1649290076333","0.00003507","271967","sell"], until 2023, without an id."""

    time: str
    price: str
    volume: str
    side: Literal["buy", "sell"]
    id: None = None


class _Frame(msgspec.Struct, gc=False):
    """{"action":"update","arg":{"instType":"SPOT","channel":"trade","instId":"BTCUSDT"},"data":[...],"ts":...}:
    newest first. "snapshot" are old trades, sent on subscribe."""

    action: str
    arg: _Arg
    data: Annotated[list[_Trade | _TradeV1], msgspec.Meta(min_length=1)]


class _ArgV3(msgspec.Struct, gc=False, rename={"kind": "instType", "name": "symbol"}):
    kind: str
    name: str
    topic: Literal["publicTrade"]


class _TradeV3(msgspec.Struct, gc=False, rename={"id": "i", "price": "p", "volume": "v", "side": "S", "time": "T"}):
    """{"i":"1432912488536195072","p":"76671.22","v":"0.001367","S":"sell","T":"1777358880170","isRPI":"no",...}"""

    id: str
    price: str
    volume: str
    side: Literal["buy", "sell"]
    time: str


class _FrameV3(msgspec.Struct, gc=False):
    """{"action":"update","arg":{"instType":"spot","topic":"publicTrade","symbol":"BTCUSDT"},"data":[...]}: what
    Bitget's newer endpoint sends, should this one come to send it too."""

    action: str
    arg: _ArgV3
    data: Annotated[list[_TradeV3], msgspec.Meta(min_length=1)]


_decoder, _decoder_v3 = msgspec.json.Decoder(_Frame), msgspec.json.Decoder(_FrameV3)


def market(symbol: Symbol, _channel: str = "") -> x.Market:
    """BTCUSDT on spot and for BTC/USDT:USDT, BTCPERP for BTC/USDC:USDC, BTCUSD for BTC/USD:BTC."""
    require_kind(symbol, "bitget", ("spot", "swap"))
    require_upper(symbol, "bitget")
    base, quote, settle = symbol.base, symbol.quote, symbol.settle
    if not settle:
        return _market(str(symbol), SPOT, base + quote)
    if (quote, settle) == ("USDT", "USDT"):
        return _market(str(symbol), USDT, f"{base}USDT")
    if (quote, settle) == ("USDC", "USDC"):
        return _market(str(symbol), USDC, f"{base}PERP")
    if (quote, settle) == ("USD", base):
        return _market(str(symbol), COIN, f"{base}USD")
    right = Symbol(base, quote, base if quote == "USD" else quote)
    if quote not in ("USD", "USDT", "USDC"):
        right = Symbol(base, "USDT", "USDT")
    raise SymbolError(f"{symbol}: bitget settles in USDT, USDC, or (against USD) in the base coin", str(right))


def _market(symbol: str, kind: str, name: str) -> x.Market:
    return x.Market(symbol, f"{kind}{SEPARATOR}{name}", ENDPOINT)


def _native(kind: str, name: str) -> str:
    """Kinds are in small letters on the newer endpoint, and were others on the oldest."""
    kind = kind.upper()
    return f"{_KINDS_V1.get(kind, kind)}{SEPARATOR}{name}"


def kind_of(settle: str) -> str:
    """What Bitget calls the markets that are settled so; "" is spot."""
    return {"": SPOT, "USDT": USDT, "USDC": USDC}.get(settle, COIN)


def listed(instrument: Instrument, _channel: str) -> x.Market:
    """The market of a row of the list, where its kind is not part of its name."""
    return _market(instrument.symbol, kind_of(instrument.settle), instrument.native)


def subscribe_text(natives: Sequence[str], channel: str, _request_id: str) -> str:
    """No id: the answers name the markets."""
    return _request("subscribe", natives, channel)


def unsubscribe_text(natives: Sequence[str], channel: str, _request_id: str) -> str:
    return _request("unsubscribe", natives, channel)


def _request(op: str, natives: Sequence[str], channel: str) -> str:
    parts = [native.partition(SEPARATOR) for native in natives]
    return compact(
        {"op": op, "args": [{"instType": kind, "channel": channel, "instId": name} for kind, _, name in parts]}
    )


def trades(frames: Sequence[bytes]) -> x.Trades:
    read: list[_Frame] | list[_FrameV3]
    if CHANNEL_V3.encode() in frames[0]:
        read = decode_frames(_decoder_v3, frames)
    else:
        read = decode_frames(_decoder, frames)
    native: list[str] = []
    snapshot: list[bool] = []
    rows: list[_Trade | _TradeV1 | _TradeV3] = []
    for frame in read:
        count = len(frame.data)
        native += [_native(frame.arg.kind, frame.arg.name)] * count
        snapshot += [frame.action == "snapshot"] * count
        rows += reversed(frame.data)
    return x.Trades(
        native=native,
        price=[row.price for row in rows],
        volume=[row.volume for row in rows],
        side=[row.side for row in rows],
        trade_id=[row.id for row in rows],
        exchange_ns=ms_texts_ns([row.time for row in rows]),
        snapshot=snapshot,
        counts=[len(frame.data) for frame in read],
    )


def control(message: object) -> x.Control | None:
    if message == "pong":  # a text, not JSON
        return x.KeepAlive()
    kind = text_inside(message, "arg", "instType")
    name = text_inside(message, "arg", "instId") or text_inside(message, "arg", "symbol")
    channel = text_inside(message, "arg", "channel") or text_inside(message, "arg", "topic")
    ours = channel in (CHANNEL, CHANNEL_V3)
    natives = named(_native(kind, name) if kind and name else "")
    match text_inside(message, "event"):
        case "subscribe":
            return x.Ack(natives) if ours else x.KeepAlive()
        case "unsubscribe":
            return x.Unsubscribed(natives) if ours and natives else x.KeepAlive()
        case "error":
            if text_inside(message, "op") == "unsubscribe":
                return x.KeepAlive()
            code, text = text_inside(message, "code"), text_inside(message, "msg")
            transient = code in _TRANSIENT or (not natives and bool(_TRANSIENT_TEXT.search(text)))
            return x.Refusal(f"{code} {text}".strip(), natives, transient=transient)
    if not ours:
        return None
    return x.KeepAlive() if inside(message, "data") == [] else x.MalformedTrade()
