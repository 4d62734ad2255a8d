"""BingX: the `trade` topic of spot and of linear perpetuals; gzip frames and pings to answer."""

import re
from collections.abc import Sequence
from decimal import Decimal

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
from actors.model.validation import DECIMALS_MAX

# https://bingx-api.github.io/docs/#/en-us/spot/socket/market.html and .../swapV2/socket/market.html, read
# 2026-11-26 via stored copies; answers, pings and cuts as seen in September 2026.
SPOT_URL, SWAP_URL = "wss://open-api-ws.bingx.com/market", "wss://open-api-swap.bingx.com/swap-market"
TRADE, TOPIC = "trade", "@trade"
QUOTES = ("USDT", "USDC")  # of perpetuals, which are settled in them

_UNSUBSCRIBE = "u"  # begins the ids of requests to unsubscribe, as their answers are acknowledgements like others
_REPEATED = "100205"  # subscribed to already
# Over the most topics of a connection, too many requests, an internal error, busy.
_TRANSIENT = ("80403", "100410", "100500", "100503")

_SMALL = re.compile(r"\d+(\.\d+)?[eE]-\d{1,2}", re.ASCII)


class _Trade(msgspec.Struct, gc=False, rename={"native": "s", "price": "p", "volume": "q", "time": "T", "id": "t"}):
    """Spot {"E":1788336366302,"T":1788336366288,"e":"trade","m":false,"p":"77495.49","q":"0.0074439581595275245",
    "s":"BTC-USDT","t":"233847470"}, perpetuals {"q":"0.0009","p":"76398.3","T":1788348255196,"m":false,
    "s":"BTC-USDT"}. `m`: the buyer was the maker, so the taker sold. Some clients found it the other way round on
    spot; this follows the documents ("If true, this transaction is an active sell order")."""

    native: str
    price: str
    volume: str
    time: int
    m: bool
    id: str | None = None


class _Frame(msgspec.Struct, gc=False, rename={"topic": "dataType"}):
    """{"code":0,"dataType":"BTC-USDT@trade","data":...}: one trade on spot, a list of them of perpetuals."""

    topic: str
    data: _Trade | list[_Trade]


_decoder = msgspec.json.Decoder(_Frame)


def market(symbol: Symbol, _channel: str = "") -> x.Market:
    """BTC-USDT, on spot and for BTC/USDT:USDT."""
    require_kind(symbol, "bingx", ("spot", "swap"))
    require_upper(symbol, "bingx")
    base, quote, settle = symbol.base, symbol.quote, symbol.settle
    if settle and (quote not in QUOTES or settle != quote):
        coin = quote if quote in QUOTES else QUOTES[0]
        right = str(Symbol(base, coin, coin))
        raise SymbolError(f"{symbol}: bingx's perpetuals are quoted and settled in USDT or USDC here", right)
    return x.Market(str(symbol), f"{base}-{quote}", SWAP_URL if settle else SPOT_URL)


def subscribe_text(natives: Sequence[str], channel: str, request_id: str) -> str:
    (native,) = natives
    return compact({"id": request_id, "reqType": "sub", "dataType": f"{native}@{channel}"})


def unsubscribe_text(natives: Sequence[str], channel: str, request_id: str) -> str:
    (native,) = natives
    return compact({"id": _UNSUBSCRIBE + request_id, "reqType": "unsub", "dataType": f"{native}@{channel}"})


def trades(frames: Sequence[bytes]) -> x.Trades:
    rows: list[_Trade] = []
    counts: list[int] = []
    for frame in decode_frames(_decoder, frames):
        data = frame.data if isinstance(frame.data, list) else [frame.data]
        if not data or not frame.topic.endswith(TOPIC):
            raise ValueError("no trades")
        counts.append(len(data))
        rows += data if data[0].time <= data[-1].time else reversed(data)
    return x.Trades(
        native=[row.native for row in rows],
        price=[row.price for row in rows],
        volume=[held(row.volume) for row in rows],
        side=["sell" if row.m else "buy" for row in rows],
        trade_id=[row.id for row in rows],
        exchange_ns=[row.time * x.MS for row in rows],
        snapshot=[False] * len(rows),
        counts=counts,
    )


def held(volume: str) -> str:
    """What the store can hold of it: volumes of spot have had 19 decimals, and a whole trade is worth more than the
    last of them. The history's are JSON numbers, which may have an exponent."""
    if _SMALL.fullmatch(volume):
        volume = format(Decimal(volume), "f")
    whole, point, decimals = volume.partition(".")
    cut = decimals.isdecimal() and len(decimals) > DECIMALS_MAX
    return whole + point + decimals[:DECIMALS_MAX] if cut else volume


def control(message: object) -> x.Control | None:
    if message == "Ping":  # a text, not JSON
        return x.Reply("Pong")
    if ping := text_inside(message, "ping"):
        return x.Reply(compact({"pong": ping, "time": text_inside(message, "time")}))
    if text_inside(message, "dataType").endswith(TOPIC) and inside(message, "data") is not None:
        return x.KeepAlive() if inside(message, "data") == [] else x.MalformedTrade()
    request_id, code = text_inside(message, "id"), text_inside(message, "code")
    if not code or not request_id:
        return None
    if request_id.startswith(_UNSUBSCRIBE):
        return x.KeepAlive()
    if code in ("0", _REPEATED):
        return x.Ack(request_id=request_id)
    reason = f"{code} {text_inside(message, 'msg')}".strip()
    return x.Refusal(reason, request_id=request_id, transient=code in _TRANSIENT)
