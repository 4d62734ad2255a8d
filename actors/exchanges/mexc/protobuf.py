"""MEXC's spot trades in protobuf, read by their field numbers; unknown fields are skipped."""

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


def begins(message: bytes) -> bool:
    """Whether it may be a wrapper: its first field is the channel. JSON begins with a brace."""
    return message[:1] == b"\x0a"


def channel(message: bytes) -> str:
    """The channel of a wrapper; raises ValueError."""
    return next((value.decode() for number, value in _fields(message) if number == _CHANNEL), "")


def deals(message: bytes) -> tuple[str, list[Deal]]:
    """Symbol and trades of a wrapper; raises ValueError. No trades where it holds no body of trades."""
    symbol, found = "", list[Deal]()
    for number, value in _fields(message):
        if number == _SYMBOL:
            symbol = value.decode()
        elif number in _BODIES:
            found += [_deal(deal) for inner, deal in _fields(value) if inner == _DEALS]
    return symbol, found


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
