"""Gate: `spot.trades`, and `futures.trades` of perpetual and dated contracts, by settlement coin."""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import msgspec

from actors.exchanges.contract import feed as x
from actors.exchanges.contract.feed_helpers import (
    S_NS,
    Counts,
    compact,
    decode_frames,
    digits_column,
    id_texts,
    inside,
    require_kind,
    require_upper,
    text_inside,
)
from actors.exchanges.contract.instruments import Instrument
from actors.model.symbols import Symbol, SymbolError, parse_symbol
from actors.model.ticks import Reason
from actors.model.validation import FieldError

# https://www.gate.com/docs/developers/apiv4/ws/en/ and https://www.gate.com/docs/developers/futures/ws/en/, read
# 2026-11-26 via stored copies; what is said of live answers was seen in August and September 2026.
# A stored copy of 2026 names api.gate.ws and fx-ws.gate.ws instead, while all clients use these hosts; which of
# them last is unsure. The settings ws_url and rest_url select others.
SPOT_URL = "wss://api.gateio.ws/ws/v4/"
FUTURES_URL = "wss://fx-ws.gateio.ws/v4/ws/"  # and the settlement coin: usdt, btc
DELIVERY_URL = "wss://fx-ws.gateio.ws/v4/ws/delivery/"
# Without it sizes are cut to whole contracts, though some contracts trade in fractions.
HEADERS = (("X-Gate-Size-Decimal", "1"),)
# A market is called SPOT or FUTURES and its name in the frames, because both have a BTC_USDT, and requests name the
# channel of one of them.
SPOT, FUTURES, TRADES = "spot.", "futures.", "trades"

_SERVICE_ERROR = "3"  # 1 and 2: an argument is wrong or unknown, 4: a login is wanted
_TRANSIENT_TEXT = re.compile(r"too many|frequen|rate.?limit|busy|internal|timeout", re.IGNORECASE)
_NAMED = re.compile(r"unknown (?:currency pair|contract):?\s+([^\s,]{1,64})")
MS_DIGITS, NS_CHARS = 13, 20  # 1788336082402.208000
_MS = re.compile(r"(\d{1,16})(?:\.(\d{1,20}))?", re.ASCII)


def _ping(kind: str) -> x.Ping:
    text = compact({"channel": f"{kind}ping"})
    return x.Ping(interval_s=20.0, text=lambda _number: text)


PINGS = {
    SPOT_URL: _ping(SPOT),
    **{f"{url}{coin}": _ping(FUTURES) for url in (FUTURES_URL, DELIVERY_URL) for coin in ("usdt", "btc")},
}


class _SpotTrade(
    msgspec.Struct,
    gc=False,
    rename={"native": "currency_pair", "volume": "amount", "time": "create_time_ms", "number": "id_market"},
):
    """{"id":217831625,"id_market":217831625,"create_time":1788336082,"create_time_ms":"1788336082402.208000",
    "side":"sell","currency_pair":"BTC_USDT","amount":"0.000021","price":"77474","range":"217831625-217831625",...};
    `side` is the taker's. `id_market` counts the trades of a pair, of which one row stands for those in `range`;
    frames of 2021 have neither."""

    native: str
    id: int
    side: Literal["buy", "sell"]
    price: str
    volume: str
    time: str
    number: int | None = None
    range: str = ""


class _FuturesTrade(msgspec.Struct, gc=False, rename={"native": "contract", "time": "create_time_ms"}):
    """{"size":-108,"id":27753479,"create_time":1545136464,"create_time_ms":1545136464123,"price":"96.4",
    "contract":"BTC_USDT","is_internal":true}. The sign of `size`, a text with HEADERS, is the taker's side. Prices
    were JSON numbers at times, and dated contracts had whole seconds only. `is_internal` marks what the insurance
    fund or deleveraging takes over, outside the book."""

    native: str
    id: int
    size: msgspec.Raw
    price: msgspec.Raw
    create_time: int
    time: int | None = None
    is_internal: bool = False


class _SpotFrame(msgspec.Struct, gc=False, tag_field="channel", tag=SPOT + TRADES):
    """{"time":1606292218,"time_ms":1606292218231,"channel":"spot.trades","event":"update","result":{...}}"""

    event: Literal["update"]
    result: _SpotTrade


class _FuturesFrame(msgspec.Struct, gc=False, tag_field="channel", tag=FUTURES + TRADES):
    """The same with a list of trades as `result`."""

    event: Literal["update"]
    result: Annotated[list[_FuturesTrade], msgspec.Meta(min_length=1)]


_decoder = msgspec.json.Decoder(_SpotFrame | _FuturesFrame)


def market(symbol: Symbol, _channel: str = "") -> x.Market:
    """BTC_USDT on spot and for BTC/USDT:USDT, BTC_USD for BTC/USD:BTC, BTC_USDT_20261225 for a dated contract."""
    require_kind(symbol, "gate", ("spot", "swap", "future"))
    require_upper(symbol, "gate")
    name, quote, settle = f"{symbol.base}_{symbol.quote}", symbol.quote, symbol.settle
    if not settle:
        return x.Market(str(symbol), SPOT + name, SPOT_URL)
    if (quote, settle) not in (("USDT", "USDT"), ("USD", "BTC")):
        right = Symbol(symbol.base, *(("USD", "BTC") if quote == "USD" else ("USDT", "USDT")), symbol.expiry)
        raise SymbolError(f"{symbol}: gate's contracts are settled in USDT, or (against USD) in BTC", str(right))
    if symbol.expiry:
        name, url = f"{name}_20{symbol.expiry}", DELIVERY_URL
    else:
        url = FUTURES_URL
    return x.Market(str(symbol), FUTURES + name, f"{url}{settle.lower()}", "contracts")


def listed(instrument: Instrument, channel: str) -> x.Market:
    """The market of a row of the list, which has the name in the frames."""
    return market(parse_symbol(instrument.symbol), channel)


def subscribe_text(natives: Sequence[str], channel: str, request_id: str) -> str:
    """The documents want a `time` too, which is not looked at and may be missing."""
    return _request("subscribe", natives, channel, request_id)


def unsubscribe_text(natives: Sequence[str], channel: str, request_id: str) -> str:
    return _request("unsubscribe", natives, channel, request_id)


def _request(event: str, natives: Sequence[str], channel: str, request_id: str) -> str:
    kind = FUTURES if natives[0].startswith(FUTURES) else SPOT
    names = [native.removeprefix(kind) for native in natives]
    return compact({"id": int(request_id), "channel": kind + channel, "event": event, "payload": names})


class Numbers:
    """Reads the frames of one connection, on which the trades of each spot pair are numbered without holes."""

    def __init__(self, _markets: Mapping[str, x.Market]) -> None:
        self._counts = Counts()

    def trades(self, frames: Sequence[bytes], /) -> x.Trades:
        """All of spot or all of futures, as each connection carries one of them."""
        read = decode_frames(_decoder, frames)
        spot = [frame.result for frame in read if type(frame) is _SpotFrame]
        futures = [frame for frame in read if type(frame) is _FuturesFrame]
        if spot and futures:
            raise ValueError("spot and futures in one batch")
        if futures:
            made = _futures([row for frame in futures for row in _oldest_first(frame.result)])
            made.counts = [len(frame.result) for frame in futures]
            return made
        made = _spot(spot)
        numbers = [-1 if row.number is None else row.number for row in spot]
        firsts = [_first(row.range, number) for row, number in zip(spot, numbers, strict=True)]
        made.breaks = self._counts.breaks(made.native, numbers, firsts)
        return made

    def control(self, message: object, /) -> x.Control | None:
        """What a message that is no trade means."""
        return control(message)


def _first(numbers: str, number: int) -> int:
    """The first of "217831625-217831627"."""
    first = numbers.partition("-")[0]
    if first.isascii() and first.isdecimal() and len(first) <= len(str(number)):
        return min(int(first), number)
    return number


def _spot(rows: Sequence[_SpotTrade]) -> x.Trades:
    return x.Trades(
        native=[SPOT + row.native for row in rows],
        price=[row.price for row in rows],
        volume=[row.volume for row in rows],
        side=[row.side for row in rows],
        trade_id=id_texts([row.id for row in rows]),
        exchange_ns=[ms_ns(row.time) for row in rows],
        snapshot=[False] * len(rows),
    )


def _futures(rows: Sequence[_FuturesTrade]) -> x.Trades:
    sizes = digits_column([row.size for row in rows], "size")
    off_book = [row.is_internal for row in rows]
    return x.Trades(
        native=[FUTURES + row.native for row in rows],
        price=digits_column([row.price for row in rows], "price"),
        volume=[size.removeprefix("-") for size in sizes],
        side=["sell" if size[:1] == "-" else "buy" for size in sizes],
        trade_id=id_texts([row.id for row in rows]),
        exchange_ns=[row.create_time * S_NS if row.time is None else row.time * x.MS for row in rows],
        snapshot=[False] * len(rows),
        off_book=off_book if any(off_book) else None,
    )


def _oldest_first(rows: list[_FuturesTrade]) -> list[_FuturesTrade]:
    """The order is not documented; in all frames known it is this one."""
    return rows[::-1] if len(rows) > 1 and rows[0].id > rows[-1].id else rows


def side_of(size: str) -> str:
    """The taker's side: the sign of the size."""
    return "sell" if size.startswith("-") else "buy"


def ms_ns(text: str) -> int:
    """Nanoseconds of milliseconds with a fraction, "1788336082402.208000", exactly."""
    if len(text) == NS_CHARS and text[MS_DIGITS] == ".":  # as they are now: without the point, nanoseconds
        digits_ns = text[:MS_DIGITS] + text[MS_DIGITS + 1 :]
        if digits_ns.isascii() and digits_ns.isdecimal():
            return int(digits_ns)
    match = _MS.fullmatch(text)
    if match is None:
        raise FieldError(Reason.BAD_TIME, f"not milliseconds: {text[:60]!r}")
    return int(match[1]) * x.MS + int((match[2] or "0")[:6].ljust(6, "0"))


def control(message: object) -> x.Control | None:
    channel, request_id = text_inside(message, "channel"), text_inside(message, "id")
    if channel in (SPOT + "pong", FUTURES + "pong"):
        return x.KeepAlive()
    if channel == FUTURES + "system":
        kind, text = text_inside(message, "result", "type"), text_inside(message, "result", "msg")
        return x.CloseNotice(f"{kind} {text}".strip()) if kind == "upgrade" else x.KeepAlive()
    if channel not in (SPOT + TRADES, FUTURES + TRADES):
        return None
    kind = channel.removesuffix(TRADES)
    payload = inside(message, "payload")
    natives = tuple(kind + name for name in payload if isinstance(name, str)) if isinstance(payload, list) else ()
    event = text_inside(message, "event")
    code, text = text_inside(message, "error", "code"), text_inside(message, "error", "message")
    if event == "subscribe" and (code or text):
        named = tuple(kind + name for name in _NAMED.findall(text))
        transient = code == _SERVICE_ERROR or bool(_TRANSIENT_TEXT.search(text))
        return x.Refusal(f"{code} {text}".strip(), named, request_id, transient)
    match event:
        case "subscribe":
            return x.Ack(natives, request_id)
        case "unsubscribe":
            return x.Unsubscribed(natives) if natives else x.KeepAlive()
        case "update" | "all":
            return x.KeepAlive() if inside(message, "result") == [] else x.MalformedTrade()
    return None
