"""What several histories share: reading answers strictly, exact numbers out of JSON, pages as columns."""

import re
from collections.abc import Sequence
from typing import TypeVar

import msgspec

from actors.dialect import FieldError, Trades
from actors.dialects._common import S_NS, text_inside
from actors.history import Garbled
from actors.ticks import Reason

EXCERPT_CHARS = 120
_SECONDS = re.compile(r"(\d{1,12})(?:\.(\d{1,20}))?", re.ASCII)

T = TypeVar("T")


def decoded(decoder: "msgspec.json.Decoder[T]", body: bytes) -> T:
    """The answer, or Garbled with how it begins."""
    try:
        body.decode()  # msgspec does not look into strings that it skips
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Garbled(f"the answer makes no sense ({error}): {excerpt(body)}") from error


def excerpt(body: bytes) -> str:
    """How a body begins, in one line."""
    return " ".join(body[: 4 * EXCERPT_CHARS].decode("utf-8", "replace").split())[:EXCERPT_CHARS]


def words(body: bytes, *keys: str) -> str:
    """What stands under these keys of an error's JSON object, else how the body begins."""
    try:
        message = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return excerpt(body)
    said = [text_inside(message, key) for key in keys]
    return " ".join(filter(None, said)) or excerpt(body)


def digits(token: msgspec.Raw, name: str) -> str:
    """A decimal as it stands on the wire, a JSON number or a string: a float would lose a 0 of 0.00123440."""
    text = str(token, "ascii", "replace")
    if text[:1] == '"':
        return text[1:-1]
    if text[:1] not in tuple("-0123456789"):
        raise FieldError(Reason.BAD_TYPE, f"`{name}` is neither a JSON number nor a string: {text[:60]}")
    return text


def seconds_ns(text: str) -> int:
    """Nanoseconds of seconds in decimal digits, exactly; digits past the ninth decimal are cut off."""
    match = _SECONDS.fullmatch(text)
    if match is None:
        raise FieldError(Reason.BAD_TIME, f"not seconds: {text[:60]!r}")
    return int(match[1]) * S_NS + int((match[2] or "0")[:9].ljust(9, "0"))


def trades(
    native: str,
    price: Sequence[str],
    volume: Sequence[str],
    side: Sequence[str | None],
    trade_id: Sequence[str | None],
    exchange_ns: Sequence[int | None],
) -> Trades:
    """Columns of one market; none is marked as re-sent."""
    count = len(price)
    return Trades(
        native=[native] * count,
        price=list(price),
        volume=list(volume),
        side=list(side),
        trade_id=list(trade_id),
        exchange_ns=list(exchange_ns),
        snapshot=[False] * count,
    )


NO_TRADES = trades("", [], [], [], [], [])
