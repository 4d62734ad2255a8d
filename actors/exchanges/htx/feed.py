"""HTX (formerly Huobi): `trade.detail` of spot, linear and coin-margined swaps; gzip frames and pings to answer."""

import functools
import re
from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec

from actors.exchanges.contract import feed as x
from actors.exchanges.contract.feed_helpers import (
    compact,
    decode_frames,
    digits_column,
    inside,
    named,
    require_kind,
    text_inside,
)
from actors.model.symbols import Symbol, SymbolError

# https://huobiapi.github.io/docs/spot/v1/en/#websocket-market-data, in parts read 2026-11-26 via stored copies; the
# rest (pings, replays, what was measured) is as recorded up to September 2026. The host's /feed has order books.
SPOT = "wss://api.huobi.pro/ws"
# https://www.htx.com/en-us/opend/newApiPages/, USDT-margined and coin-margined contracts
LINEAR = "wss://api.hbdm.com/linear-swap-ws"
COIN = "wss://api.hbdm.com/swap-ws"
SWAP_BASE = "https://api.hbdm.com"  # the REST side of both

# The trades that come with a subscription have no mark, but those recorded were at least so old; live ones are sent
# within some 30 ms. Should the frame's time not be that of sending (unsure), our clock still marks the first row.
REPLAY_AGE_MS = 1_000

_TOPIC = re.compile(r"market\.([^.\s]{1,64})\.trade\.detail")
# Not about a market: the rate, and troubles of the exchange's own (no list of codes is documented).
_TRANSIENT = re.compile(r"too.?many|frequen|limit|429|busy|internal|timeout", re.IGNORECASE)


class _Trade(
    msgspec.Struct,
    gc=False,
    rename={"spot_id": "tradeId", "volume": "amount", "side": "direction", "time": "ts"},
):
    """{"amount":0.0099,"ts":1533265950234,"id":146507451359183894799,"tradeId":102043495674,"price":401.74,
    "direction":"buy"} on spot, where `id` is longer than 64 bits and "to be obsoleted"; swaps have no `tradeId`:
    {"amount":40,"quantity":0.04,"trade_turnover":2350.796,"ts":1616233478583,"id":224199951640000,...}. `amount` is
    contracts there, as HTX counts them (unsure: perhaps the sum of both sides). `direction` is the taker's, or "".
    """

    id: msgspec.Raw
    price: msgspec.Raw
    volume: msgspec.Raw
    side: Literal["buy", "sell", ""]
    time: int
    spot_id: msgspec.Raw = msgspec.Raw()


class _Tick(msgspec.Struct, gc=False):
    data: Annotated[list[_Trade], msgspec.Meta(min_length=1)]


class _Frame(msgspec.Struct, gc=False, rename={"sent": "ts"}):
    """{"ch":"market.btcusdt.trade.detail","ts":1489474082831,"tick":{"id":14650745135,"ts":...,"data":[...]}}"""

    ch: str
    tick: _Tick
    sent: int = 0


_decoder = msgspec.json.Decoder(_Frame)


def market(symbol: Symbol, _channel: str = "") -> x.Market:
    """btcusdt on spot, BTC-USDT for BTC/USDT:USDT, BTC-USD for BTC/USD:BTC."""
    require_kind(symbol, "htx", ("spot", "swap"))
    base, quote, settle = symbol.base, symbol.quote, symbol.settle
    if (upper := str(symbol).upper()) != str(symbol):
        raise SymbolError(f"{symbol}: unified symbols are written in capitals, although HTX's own are not", upper)
    if not settle:
        return x.Market(str(symbol), f"{base}{quote}".lower(), SPOT)
    if (quote, settle) == ("USDT", "USDT"):
        return x.Market(str(symbol), f"{base}-USDT", LINEAR, "contracts")
    if (quote, settle) == ("USD", base):
        return x.Market(str(symbol), f"{base}-USD", COIN, "contracts")
    right = f"{base}/USD:{base}" if quote == "USD" else f"{base}/USDT:USDT"
    raise SymbolError(f"{symbol}: htx's swaps are settled in USDT, or (against USD) in the base coin", right)


def subscribe_text(natives: Sequence[str], channel: str, request_id: str) -> str:
    (native,) = natives
    return compact({"sub": f"market.{native}.{channel}", "id": request_id})


def unsubscribe_text(natives: Sequence[str], channel: str, request_id: str) -> str:
    (native,) = natives
    return compact({"unsub": f"market.{native}.{channel}", "id": request_id})


def trades(frames: Sequence[bytes]) -> x.Trades:
    """Rows of one frame come newest first on spot and oldest first on swaps."""
    native: list[str] = []
    rows: list[_Trade] = []
    snapshot: list[bool] = []
    counts: list[int] = []
    for frame in decode_frames(_decoder, frames):
        data = frame.tick.data
        if len(data) > 1 and _is_newest_first(data[0], data[-1]):
            data.reverse()
        native += [_native(frame.ch)] * len(data)
        rows += data
        counts.append(len(data))
        snapshot += [frame.sent - data[-1].time >= REPLAY_AGE_MS] * len(data)
    return x.Trades(
        native=native,
        price=digits_column([row.price for row in rows], "price"),
        volume=digits_column([row.volume for row in rows], "amount"),
        side=[row.side or None for row in rows],
        trade_id=list(digits_column([row.spot_id or row.id for row in rows], "id")),
        exchange_ns=[row.time * x.MS for row in rows],
        snapshot=snapshot,
        counts=counts,
    )


@functools.lru_cache(maxsize=1024)
def _native(topic: str) -> str:
    match = _TOPIC.fullmatch(topic)
    if match is None:
        raise ValueError("a topic other than trade.detail")
    return match[1]


def _is_newest_first(first: _Trade, last: _Trade) -> bool:
    """By time, and within a millisecond by the id, a number of any length."""
    if first.time != last.time:
        return first.time > last.time
    ids = digits_column([first.spot_id or first.id, last.spot_id or last.id], "id")
    return (len(ids[0]), ids[0]) > (len(ids[1]), ids[1])


def control(message: object) -> x.Control | None:
    ping = inside(message, "ping")
    if isinstance(ping, int) and not isinstance(ping, bool):
        return x.Reply(f'{{"pong":{ping}}}')
    if _TOPIC.fullmatch(text_inside(message, "ch")):
        return x.KeepAlive() if inside(message, "tick", "data") == [] else x.MalformedTrade()
    request_id = text_inside(message, "id")
    if text_inside(message, "status") == "error":
        code, reason = text_inside(message, "err-code"), text_inside(message, "err-msg")
        transient = bool(_TRANSIENT.search(code) or (code != "bad-request" and _TRANSIENT.search(reason)))
        natives = tuple(_TOPIC.findall(reason))
        return x.Refusal(f"{code}: {reason}".strip(": "), natives, "" if natives else request_id, transient)
    if subbed := _TOPIC.fullmatch(text_inside(message, "subbed")):
        return x.Ack(named(subbed[1]))
    if unsubbed := _TOPIC.fullmatch(text_inside(message, "unsubbed")):
        return x.Unsubscribed(named(unsubbed[1]))
    known = any(inside(message, key) is not None for key in ("subbed", "unsubbed", "rep", "pong"))
    return x.KeepAlive() if known else None
