"""KuCoin: `/market/match` of spot and `/contractMarket/execution` of perpetuals; a token says where to connect."""

import re
from collections.abc import Sequence
from typing import Literal
from urllib.parse import urlencode

import msgspec

from actors.exchanges.contract import feed as x
from actors.exchanges.contract.feed_helpers import (
    compact,
    decode_frames,
    digits_column,
    require_kind,
    require_upper,
    text_inside,
)
from actors.exchanges.contract.rest import Busy, RateLimit, RestRequest
from actors.model.symbols import Symbol, SymbolError
from actors.model.ticks import Reason
from actors.model.validation import FieldError

# https://www.kucoin.com/docs-new/3470081w0 (spot), .../3470084w0 (futures) and .../websocket-api/base-info, read
# 2026-11-26 via stored copies; the older https://github.com/Kucoin/kucoin-api-docs has the limits.
SPOT_URL, FUTURES_URL = "wss://ws-api-spot.kucoin.com/", "wss://ws-api-futures.kucoin.com/"
SPOT_BASE, FUTURES_BASE = "https://api.kucoin.com", "https://api-futures.kucoin.com"
TRADES, SPOT_TOPIC, FUTURES_TOPIC = "trades", "/market/match:", "/contractMarket/execution:"
_OK = "200000"

# Futures call Bitcoin so.
NATIVE = {"BTC": "XBT"}
UNIFIED = {native: unified for unified, native in NATIVE.items()}
_UNSUBSCRIBE = "u"  # begins the ids of requests to unsubscribe, as their answers are acknowledgements like others
_TRANSIENT = re.compile(r"too many|frequen|exceed|limit|busy|internal|timeout|maintenance", re.IGNORECASE)
_NS_DIGITS_MAX = 19


class _SpotTrade(msgspec.Struct, gc=False, rename={"native": "symbol", "id": "tradeId", "volume": "size"}):
    """{"symbol":"BTC-USDT","side":"buy","price":"77550.9","size":"0.01061604","time":"1788335265722000000",
    "sequence":"24193081206521856","tradeId":"24193081206521856",...}; `side` is the taker's, `time` in ns. Ids were
    24 hexadecimal digits until 2022, since then they are the sequence."""

    native: str
    id: str
    side: Literal["buy", "sell"]
    price: str
    volume: str
    time: str


class _FuturesTrade(
    msgspec.Struct, gc=False, rename={"native": "symbol", "id": "tradeId", "volume": "size", "time": "ts"}
):
    """{"symbol":"XBTUSDTM","side":"sell","size":1,"price":"39615","tradeId":"1728107666597",
    "ts":1706068863101000000,...}; `size` counts contracts, and prices were JSON numbers in 2021."""

    native: str
    id: str
    side: Literal["buy", "sell"]
    price: msgspec.Raw
    volume: msgspec.Raw
    time: int


class _SpotFrame(msgspec.Struct, gc=False, tag_field="subject", tag="trade.l3match"):
    """{"type":"message","topic":"/market/match:BTC-USDT","subject":"trade.l3match","data":{...}}"""

    data: _SpotTrade


class _FuturesFrame(msgspec.Struct, gc=False, tag_field="subject", tag="match"):
    """{"topic":"/contractMarket/execution:XBTUSDTM","type":"message","subject":"match","sn":1728107666597,...}"""

    data: _FuturesTrade


_decoder = msgspec.json.Decoder(_SpotFrame | _FuturesFrame)


class _Server(msgspec.Struct, gc=False, rename={"ping_ms": "pingInterval"}):
    endpoint: str
    ping_ms: int


class _Bullet(msgspec.Struct, gc=False, rename={"servers": "instanceServers"}):
    token: str
    servers: list[_Server]


class _Answer(msgspec.Struct, gc=False):
    """{"code":"200000","data":{"token":"2neA...","instanceServers":[{"endpoint":"wss://ws-api-spot.kucoin.com/",
    "encrypt":true,"protocol":"websocket","pingInterval":18000,"pingTimeout":10000}]}}"""

    code: str
    data: _Bullet | None = None
    msg: str = ""


_answer = msgspec.json.Decoder(_Answer)


def parse_token(body: bytes) -> x.Token:
    """The slash before the question mark must stay: without it KuCoin answers with status 400."""
    answer = _answer.decode(body)
    if answer.code != _OK or answer.data is None:
        raise Busy(f"kucoin gives no token: {answer.code} {answer.msg}")
    server = answer.data.servers[0]
    query = urlencode({"token": answer.data.token})
    return x.Token(url=f"{server.endpoint.rstrip('/')}/?{query}", ping_interval_s=server.ping_ms / 1000)


TOKENS = {
    url: x.TokenRequest(
        request=RestRequest(base=base, path="/api/v1/bullet-public", body=b""),
        # Ours; documented are 2000 weights in 30 s, of which this takes 10, and 30 new connections a minute.
        limit=RateLimit(name="requests", units=30.0, window_s=60.0, burst=5.0),
        parse=parse_token,
    )
    for url, base in ((SPOT_URL, SPOT_BASE), (FUTURES_URL, FUTURES_BASE))
}


def market(symbol: Symbol, _channel: str = "") -> x.Market:
    """BTC-USDT on spot, XBTUSDTM for BTC/USDT:USDT, XBTUSDM for BTC/USD:BTC, ETHUSDCM for ETH/USDC:USDC."""
    require_kind(symbol, "kucoin", ("spot", "swap"))
    require_upper(symbol, "kucoin")
    base, quote, settle = symbol.base, symbol.quote, symbol.settle
    if not settle:
        return x.Market(str(symbol), f"{base}-{quote}", SPOT_URL)
    base = UNIFIED.get(base, base)
    right = Symbol(base, "USD", base) if quote == "USD" else Symbol(base, "USDT", "USDT")
    if quote == "USDC":
        right = Symbol(base, quote, quote)
    if right != symbol:
        raise SymbolError(f"{symbol}: kucoin settles in USDT, USDC, or (against USD) in the base coin", str(right))
    return x.Market(str(symbol), f"{NATIVE.get(base, base)}{quote}M", FUTURES_URL, "contracts")


def _topic(natives: Sequence[str]) -> str:
    """Names of contracts have no hyphen."""
    return (SPOT_TOPIC if "-" in natives[0] else FUTURES_TOPIC) + ",".join(natives)


def subscribe_text(natives: Sequence[str], _channel: str, request_id: str) -> str:
    request = {"id": request_id, "type": "subscribe", "topic": _topic(natives)}
    return compact({**request, "privateChannel": False, "response": True})


def unsubscribe_text(natives: Sequence[str], _channel: str, request_id: str) -> str:
    request = {"id": _UNSUBSCRIBE + request_id, "type": "unsubscribe", "topic": _topic(natives)}
    return compact({**request, "privateChannel": False, "response": True})


def trades(frames: Sequence[bytes]) -> x.Trades:
    """One trade a frame; all of spot or all of futures, as each connection carries one of them."""
    read = decode_frames(_decoder, frames)
    spot = [frame.data for frame in read if type(frame) is _SpotFrame]
    futures = [frame.data for frame in read if type(frame) is _FuturesFrame]
    if spot and futures:
        raise ValueError("spot and futures in one batch")
    rows: Sequence[_SpotTrade | _FuturesTrade] = spot or futures
    return x.Trades(
        native=[row.native for row in rows],
        price=[row.price for row in spot] or digits_column([row.price for row in futures], "price"),
        volume=[row.volume for row in spot] or digits_column([row.volume for row in futures], "size"),
        side=[row.side for row in rows],
        trade_id=[row.id for row in rows],
        exchange_ns=[ns(row.time) for row in spot] or [row.time for row in futures],
        snapshot=[False] * len(rows),
    )


def ns(text: str) -> int:
    """Nanoseconds written as text."""
    if not (text.isascii() and text.isdecimal() and len(text) <= _NS_DIGITS_MAX):
        raise FieldError(Reason.BAD_TIME, f"not nanoseconds: {text[:60]!r}")
    return int(text)


def control(message: object) -> x.Control | None:
    request_id = text_inside(message, "id")
    match text_inside(message, "type"):
        case "welcome":
            return x.Welcome()
        case "ack":
            return x.KeepAlive() if request_id.startswith(_UNSUBSCRIBE) else x.Ack(request_id=request_id)
        case "pong":
            return x.KeepAlive()
        case "error":
            reason = f"{text_inside(message, 'code')} {text_inside(message, 'data')}".strip()
            if request_id.startswith(_UNSUBSCRIBE):
                return x.KeepAlive()
            if not request_id:  # {"type":"error","code":400,"data":"ping timeout"}, or a token that has run out
                return x.CloseNotice(reason)
            return x.Refusal(reason, request_id=request_id, transient=bool(_TRANSIENT.search(reason)))
        case "message" if text_inside(message, "topic").startswith((SPOT_TOPIC, FUTURES_TOPIC)):
            return x.MalformedTrade()
    return None
