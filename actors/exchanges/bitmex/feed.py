"""BitMEX: the table `trade` of perpetuals, futures and spot, whose symbols call Bitcoin XBT."""

import calendar
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Annotated, Literal

import msgspec
from msgspec.structs import replace

from actors.exchanges.contract import feed as x
from actors.exchanges.contract.feed_helpers import (
    compact,
    decode_frames,
    digits_column,
    inside,
    named,
    require_kind,
    require_upper,
    rfc3339_column_ns,
    text_inside,
)
from actors.model.symbols import Symbol, SymbolError

# https://www.bitmex.com/app/wsAPI, read 2026-11-26 via stored copies; frames as recorded up to September 2026.
ENDPOINT = "wss://ws.bitmex.com/realtime"
TABLE = "trade"
PING, PONG = "ping", "pong"
NATIVE = {"BTC": "XBT"}
UNIFIED = {native: unified for unified, native in NATIVE.items()}
SPOT_MARK = "_"
_MONTHS = "FGHJKMNQUVXZ"
_LINEAR = ("USDT", "USDC")
_FRIDAY = 4
SIDES = {"Buy": "buy", "Sell": "sell", "": None, None: None}
_SNAPSHOT, _LIVE = "partial", "insert"
_TOO_MANY, _SERVER_ERRORS = "429", "5"


class Trade(
    msgspec.Struct,
    gc=False,
    rename={
        "native": "symbol",
        "id": "trdMatchID",
        "contracts": "size",
        "base": "homeNotional",
        "time": "timestamp",
    },
):
    """{"timestamp":"2026-09-02T07:34:37.309Z","symbol":"XBTUSD","side":"Buy","size":8000,"price":77454.5,
    "tickDirection":"MinusTick","trdMatchID":"00000000-006d-1000-0000-00367d215623","grossValue":10328640,
    "homeNotional":0.1032864,"foreignNotional":8000.0}; `side` is the taker's, absent or empty on settlements.
    `size` is contracts, on spot the smallest unit of the base (unsure), so that spot is read from
    `homeNotional`."""

    native: str
    id: str
    price: msgspec.Raw
    contracts: msgspec.Raw
    time: str
    side: Literal["Buy", "Sell", ""] | None = None
    base: msgspec.Raw = msgspec.Raw()


class _Frame(msgspec.Struct, gc=False, tag_field="table", tag=TABLE):
    """{"table":"trade","action":"insert","data":[...]}, oldest first; "partial" re-sends the last trades on
    subscribe."""

    action: str
    data: Annotated[list[Trade], msgspec.Meta(min_length=1)]


_decoder = msgspec.json.Decoder(_Frame)


def market(symbol: Symbol, _channel: str = "") -> x.Market:
    """XBTUSD for BTC/USD:BTC, ETHUSD for ETH/USD:BTC (quanto), XBTUSDT for BTC/USDT:USDT, XBT_USDT for BTC/USDT;
    futures end on a month and a year: XBTM21, ETHUSDM21, ADAM21 for ADA/BTC:BTC."""
    require_kind(symbol, "bitmex", ("spot", "swap", "future"))
    require_upper(symbol, "bitmex")
    codes = {"base": symbol.base, "quote": symbol.quote, "settle": symbol.settle}
    unified = replace(symbol, **{key: UNIFIED.get(code, code) for key, code in codes.items()})
    if unified != symbol:
        raise SymbolError(f"{symbol}: this is BitMEX's own name of a coin", str(unified))
    base, quote = NATIVE.get(symbol.base, symbol.base), NATIVE.get(symbol.quote, symbol.quote)
    if not symbol.settle:
        return x.Market(str(symbol), f"{base}{SPOT_MARK}{quote}", ENDPOINT)
    settled_so = symbol.settle == (symbol.quote if symbol.quote in _LINEAR else "BTC")
    if not settled_so or symbol.quote not in (*_LINEAR, "USD", *(("BTC",) if symbol.expiry else ())):
        settle = symbol.quote if symbol.quote in _LINEAR else "BTC"
        quoted = symbol.quote if symbol.quote in (*_LINEAR, "USD") else "USD"
        right = str(Symbol(symbol.base, quoted, settle, symbol.expiry))
        raise SymbolError(f"{symbol}: bitmex's contracts are settled in BTC (against USD), or in USDT", right)
    if not symbol.expiry:
        return x.Market(str(symbol), f"{base}{quote}", ENDPOINT, "contracts")
    # XBT/USD and pairs against XBT leave out their quote.
    stem = base if quote == "XBT" or (base, quote) == ("XBT", "USD") else base + quote
    return x.Market(str(symbol), stem + _month(symbol), ENDPOINT, "contracts")


def _month(symbol: Symbol) -> str:
    """M21 of a future that ends on the last Friday of June 2021."""
    day = datetime.strptime(symbol.expiry, "%y%m%d").replace(tzinfo=UTC).date()
    last = last_friday(day.year, day.month)
    if day != last:
        right = Symbol(symbol.base, symbol.quote, symbol.settle, f"{last:%y%m%d}")
        raise SymbolError(f"{symbol}: bitmex's futures end on the last Friday of a month", str(right))
    return f"{_MONTHS[day.month - 1]}{day:%y}"


def last_friday(year: int, month: int) -> date:
    """Of a month."""
    last = date(year, month, calendar.monthrange(year, month)[1])
    return last.replace(day=last.day - (last.weekday() - _FRIDAY) % 7)


def subscribe_text(natives: Sequence[str], channel: str, _request_id: str) -> str:
    return compact({"op": "subscribe", "args": [f"{channel}:{native}" for native in natives]})


def unsubscribe_text(natives: Sequence[str], channel: str, _request_id: str) -> str:
    return compact({"op": "unsubscribe", "args": [f"{channel}:{native}" for native in natives]})


def trades(frames: Sequence[bytes]) -> x.Trades:
    batches = decode_frames(_decoder, frames)
    actions = {batch.action for batch in batches}
    if not actions <= {_LIVE, _SNAPSHOT}:
        raise ValueError("neither new trades nor the last ones")
    rows = [trade for batch in batches for trade in batch.data]
    return x.Trades(
        native=[row.native for row in rows],
        price=digits_column([row.price for row in rows], "price"),
        volume=digits_column([row.base if SPOT_MARK in row.native else row.contracts for row in rows], "size"),
        side=[SIDES[row.side] for row in rows],
        trade_id=[row.id for row in rows],
        exchange_ns=rfc3339_column_ns([row.time for row in rows]),
        snapshot=(
            [batch.action == _SNAPSHOT for batch in batches for _ in batch.data]
            if _SNAPSHOT in actions
            else [False] * len(rows)
        ),
        counts=[len(batch.data) for batch in batches],
    )


def control(message: object) -> x.Control | None:
    if message == PONG or text_inside(message, "info"):
        return x.KeepAlive()
    if text_inside(message, "table") == TABLE:
        return x.KeepAlive() if inside(message, "data") == [] else x.MalformedTrade()
    if (error := text_inside(message, "error")) or inside(message, "status") is not None:
        return _refusal(message, error)
    if inside(message, "success") is True:
        native = _native(text_inside(message, "subscribe"))
        return x.Ack(named(native)) if native else x.KeepAlive()
    return None


def _native(topic: str) -> str:
    stem, _, native = topic.partition(":")
    return native if stem == TABLE else ""


def _refusal(message: object, error: str) -> x.Control:
    """{"status":400,"error":"Unknown or expired symbol.","meta":{"symbol":"NOPE"},"request":{"op":"subscribe",
    "args":[...]}}; where several markets were asked for and none is named, each is asked for again by itself."""
    status, request = text_inside(message, "status"), inside(message, "request")
    if text_inside(request, "op") not in ("", "subscribe"):
        return x.KeepAlive()
    args = inside(request, "args")
    asked = [args] if isinstance(args, str) else args if isinstance(args, list) else []
    natives = [_native(topic) for topic in asked if isinstance(topic, str)]
    native = text_inside(message, "meta", "symbol") or (natives[0] if len(natives) == 1 else "")
    transient = status == _TOO_MANY or status.startswith(_SERVER_ERRORS)
    return x.Refusal(f"{status} {error}".strip(), named(native), transient=transient)
