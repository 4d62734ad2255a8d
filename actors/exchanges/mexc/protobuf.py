"""MEXC's spot trades in protobuf, read by their field numbers; unknown fields are skipped."""

import functools
import re
from collections.abc import Iterator

from actors.model.ticks import Reason
from actors.model.validation import FieldError

# https://github.com/mexcdevelop/websocket-proto (7b8ac7a), read 2026-11-26: PushDataV3ApiWrapper has channel 1,
# symbol 3, createTime 5, sendTime 6 and one body, publicDeals 301 or publicAggreDeals 314; a body has deals 1 and
# eventType 2; a deal has price 1, quantity 2, tradeType 3 (1 bought, 2 sold), time 4 (ms) and, since June 2026,
# tradeId 5.
_CHANNEL, _SYMBOL, _BODIES = 1, 3, (301, 314)
_DEALS = 1
# A field's key is its number and wire type: 0 a varint, 1 eight bytes, 2 a length and so many bytes, 5 four bytes.
_PRICE, _VOLUME, _SIDE, _TIME, _ID = 0x0A, 0x12, 0x18, 0x20, 0x2A
_SIDES: tuple[str | None, ...] = (None, "buy", "sell")
_VARINT_BYTES_MAX = 10

Deal = tuple[str, str, str, str | None, int]  # price, volume, side, id, milliseconds

# How all frames known are written: fields in the order of their numbers, times of six bytes. Field by field a trade
# costs three times as much.
_SIZE, _MS = rb"[\x00-\x7f]", rb"[\x80-\xff]{5}[\x00-\x7f]"
_USUAL_DEAL = (
    rb"\x0a(" + _SIZE + rb")\x0a(" + _SIZE + rb")([0-9.]+)\x12(" + _SIZE + rb")([0-9.]+)"
    rb"\x18([\x01\x02])\x20(" + _MS + rb")(?:\x2a(" + _SIZE + rb")([!-~]+))?"
)
_USUAL = re.compile(
    rb"\x0a(?P<channel_size>"
    + _SIZE
    + rb")(?P<channel>[!-~]+)\x1a(?P<symbol_size>"
    + _SIZE
    + rb")(?P<symbol>[!-~]+)"
    rb"(?:\x28" + _MS + rb")?(?:\x30" + _MS + rb")?(?:\xd2\x13|\xea\x12)(?P<body_size>[\x80-\xff]?" + _SIZE + rb")"
    rb"(?P<deals>(?:" + _USUAL_DEAL + rb")++)\x12(?P<event_size>" + _SIZE + rb")(?P<event>[!-~]+)"
)
_DEAL = re.compile(_USUAL_DEAL)
_USUAL_SIDES = {b"\x01": "buy", b"\x02": "sell"}


def begins(message: bytes) -> bool:
    """Whether it may be a wrapper: its first field is the channel. JSON begins with a brace."""
    return message[:1] == b"\x0a"


def channel(message: bytes) -> str:
    """The channel of a wrapper; raises ValueError."""
    return next((value.decode() for number, value in _fields(message) if number == _CHANNEL), "")


def deals(message: bytes) -> tuple[str, list[Deal]]:
    """Symbol and trades of a wrapper; raises ValueError. No trades where it holds no body of trades."""
    return usual_deals(message) or any_deals(message)


def any_deals(message: bytes) -> tuple[str, list[Deal]]:
    """The same, field by field."""
    symbol, found = "", list[Deal]()
    for number, value in _fields(message):
        if number == _SYMBOL:
            symbol = value.decode()
        elif number in _BODIES:
            found += [_deal(deal) for inner, deal in _fields(value) if inner == _DEALS]
    return symbol, found


def usual_deals(message: bytes) -> tuple[str, list[Deal]] | None:
    """The same of a frame written as usual, whose lengths all agree; None of any other."""
    frame = _USUAL.fullmatch(message)
    if frame is None:
        return None
    channel, symbol, body, event = frame["channel"], frame["symbol"], frame["deals"], frame["event"]
    sizes = (frame["channel_size"][0], frame["symbol_size"][0], frame["event_size"][0])
    if sizes != (len(channel), len(symbol), len(event)):
        return None
    if _varint(frame["body_size"], 0)[0] != len(body) + 2 + len(event):
        return None
    found: list[Deal] = []
    for size, price_size, price, volume_size, volume, side, time, id_size, id_ in _DEAL.findall(body):
        length = len(price) + len(volume) + 13  # and the keys and lengths, side and time
        if id_size:
            length += 2 + len(id_)
        if (size[0], price_size[0], volume_size[0]) != (length, len(price), len(volume)):
            return None
        if id_size and id_size[0] != len(id_):
            return None
        found.append((price.decode(), volume.decode(), _USUAL_SIDES[side], id_.decode() or None, _ms(time)))
    return symbol.decode(), found


@functools.lru_cache(maxsize=64)
def _ms(time: bytes) -> int:
    """Many trades share a time."""
    return _varint(time, 0)[0]


def split(message: bytes) -> Iterator[bytes]:
    """One wrapper for each trade, with channel and symbol; raises ValueError."""
    envelope = b"".join(
        _field(number, value) for number, value in _fields(message) if number in (_CHANNEL, _SYMBOL)
    )
    for number, body in _fields(message):
        if number in _BODIES:
            for inner, deal in _fields(body):
                if inner == _DEALS:
                    yield envelope + _field(number, _field(inner, deal))


def _field(number: int, value: bytes) -> bytes:
    return _encoded(number << 3 | 2) + _encoded(len(value)) + value


def _encoded(number: int) -> bytes:
    """As a varint."""
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + _encoded(rest) if rest else bytes([low])


def _fields(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The fields that have a length; all others are skipped."""
    at, end = 0, len(data)
    while at < end:
        key, at = _varint(data, at)
        kind = key & 7
        if kind == 2:
            size, at = _varint(data, at)
            if at + size > end:
                raise ValueError("a field is longer than its message")
            yield key >> 3, data[at : at + size]
            at += size
        else:
            at = _skip(data, at, kind)


def _skip(data: bytes, at: int, kind: int) -> int:
    if kind == 0:
        return _varint(data, at)[1]
    if kind not in (1, 5):
        raise ValueError(f"wire type {kind} is none of protobuf's")
    return at + (8 if kind == 1 else 4)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, the lowest first, and where it ends."""
    value = shift = 0
    for byte in data[at : at + _VARINT_BYTES_MAX]:
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise ValueError("a number does not end")


def _deal(data: bytes) -> Deal:
    """The keys of a deal's own fields take one byte, and so do the lengths of its texts (or they are refused)."""
    price = volume = ""
    id_: str | None = None
    side = time = -1
    at, end = 0, len(data)
    try:
        while at < end:
            key = data[at]
            at += 1
            if key in (_PRICE, _VOLUME, _ID):
                size = data[at]
                at += 1 + size
                if size > 127 or at > end:
                    raise ValueError("a text of a trade is too long")
                text = data[at - size : at].decode("ascii")
                if key == _PRICE:
                    price = text
                elif key == _VOLUME:
                    volume = text
                else:
                    id_ = text or None
            elif key == _TIME:
                time, at = _varint(data, at)
            elif key == _SIDE:
                side, at = _varint(data, at)
            else:
                at = _after(data, at - 1)
    except IndexError:
        raise ValueError("a trade ends too early") from None
    if not price or not volume or time < 0:
        missing = "price" if not price else "quantity" if not volume else "time"
        raise FieldError(Reason.MISSING_FIELD, f"a trade without `{missing}`")
    taker = _SIDES[side] if 0 < side < len(_SIDES) else None
    if taker is None:
        raise FieldError(Reason.BAD_SIDE, f"tradeType is {side}, neither 1 nor 2")
    return price, volume, taker, id_, time


def _after(data: bytes, at: int) -> int:
    """Where an unknown field ends."""
    key, at = _varint(data, at)
    if key & 7 != 2:
        return _skip(data, at, key & 7)
    size, at = _varint(data, at)
    if at + size > len(data):
        raise ValueError("a field is longer than its trade")
    return at + size
