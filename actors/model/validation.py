"""Validates whole columns at speed: which rows may become ticks, and the reasons for rejecting the others."""

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import cast

from actors.model.ticks import Reason

INTEGER_DIGITS_MAX = 20  # DECIMAL(38,18): 20 before the point, 18 after
DECIMALS_MAX = 18
EXPONENT_DIGITS_MAX = 3  # a longer exponent cannot result in 38 digits, and 1e999999999 would fill the memory
TRADE_ID_CHARS_MAX = 128
AMOUNT_CHARS_MAX = 1000  # no number of 38 digits needs more
YEAR_2200_NS = 7_258_118_400 * 1_000_000_000

# One match over "a\nb\n...\n" costs 0.1 us a value; possessive, so that no input makes it backtrack.
_PLAIN = re.compile(r"[1-9][0-9]{0,19}+(?:\.[0-9]{1,18}+)?+|0\.(?=0*+[1-9])[0-9]{1,18}+")
# The same values in runs of either kind, as columns have them: that saves an alternation a value.
_RUN, _SMALL_RUN = (rf"(?:{kind}\n)*+" for kind in _PLAIN.pattern.split("|"))
_PLAIN_COLUMN = re.compile(rf"(?:{_RUN}{_SMALL_RUN})*+")
_PRINTABLE_ASCII = bytes(range(0x20, 0x7F))
_NUMBER = re.compile(r"(?P<sign>-?)(?P<digits>[0-9]+(?:\.[0-9]+)?)(?:[eE](?P<exponent>[+-]?[0-9]+))?")


def amounts(prices: list[str], volumes: list[str]) -> tuple[list[str], list[str]]:
    """Both columns as plain positive decimals that DECIMAL(38,18) holds exactly; raises FieldError.

    Digits stay unchanged; only scientific notation and zeros after the 18th decimal are rewritten, exactly.
    """
    column = "\n".join((*prices, *volumes, ""))
    if _PLAIN_COLUMN.fullmatch(column) and column.count("\n") == len(prices) + len(volumes):
        return prices, volumes
    return (
        [text if _PLAIN.fullmatch(text) else _amount(text, Reason.BAD_PRICE, "price") for text in prices],
        [text if _PLAIN.fullmatch(text) else _amount(text, Reason.BAD_VOLUME, "volume") for text in volumes],
    )


def check_times(times: Sequence[int | None]) -> None:
    """Checks that every time is after 1970 and before 2200; None is a time that the exchange does not send."""
    try:
        sound = not times or (min(times) > 0 and max(times) < YEAR_2200_NS)  # type: ignore[operator,type-var]
    except TypeError:
        check_times([time for time in times if time is not None])
        return
    if not sound:
        raise FieldError(Reason.BAD_TIME, "the time is before 1970 or after 2200")


def check_ids(ids: Sequence[str | None]) -> None:
    """Checks that every id has 1 to 128 printable characters; None is an id that the exchange does not send."""
    try:
        text = "".join(cast(Sequence[str], ids))
    except TypeError:
        ids = [id_ for id_ in ids if id_ is not None]
        text = "".join(cast(Sequence[str], ids))
    lengths = set(map(len, cast(Sequence[str], ids)))
    # Nearly all ids are ASCII, where this takes a tenth of the time of isprintable.
    if not (text.isascii() and not text.encode().translate(None, _PRINTABLE_ASCII)) and not text.isprintable():
        raise FieldError(Reason.BAD_ID, "a trade id with control or other unprintable characters")
    if lengths and not (min(lengths) > 0 and max(lengths) <= TRADE_ID_CHARS_MAX):
        raise FieldError(
            Reason.BAD_ID, f"got a trade id of {max(lengths)} characters, expected 1 to {TRADE_ID_CHARS_MAX}"
        )


def _amount(text: str, reason: Reason, name: str) -> str:
    """One amount in plain digits; raises FieldError with `reason` and the problem."""
    match = _NUMBER.fullmatch(text) if len(text) <= AMOUNT_CHARS_MAX else None
    if match is None:
        raise FieldError(reason, f"the {name} is not a number: {text[:60]!r}")
    if match["sign"]:
        raise FieldError(reason, f"the {name} is negative: {text[:60]}")
    exponent = match["exponent"] or "0"
    if len(exponent.lstrip("+-0")) > EXPONENT_DIGITS_MAX:
        raise FieldError(reason, f"the {name} is out of range: {text[:60]}")
    plain = text if match["exponent"] is None else format(Decimal(text), "f")
    integer, _, decimals = plain.partition(".")
    if not (integer.strip("0") or decimals.strip("0")):
        raise FieldError(reason, f"the {name} is zero")
    if len(decimals) > DECIMALS_MAX:
        decimals = decimals.rstrip("0")  # trailing zeros do not matter
        if len(decimals) > DECIMALS_MAX:
            raise FieldError(reason, f"the {name} has more than {DECIMALS_MAX} decimals: {text[:60]}")
    if len(integer) > INTEGER_DIGITS_MAX:
        integer = integer.lstrip("0") or "0"
        if len(integer) > INTEGER_DIGITS_MAX:
            raise FieldError(reason, f"the {name} has more than {INTEGER_DIGITS_MAX} integer digits: {text[:60]}")
    return f"{integer}.{decimals}" if decimals else integer


class FieldError(ValueError):
    """A field of a trade is invalid: `reason` is the stable code, the text the problem."""

    def __init__(self, reason: Reason, detail: str, symbol: str | None = None) -> None:
        super().__init__(detail)
        self.reason = reason
        self.symbol = symbol


def why_refused(error: Exception) -> tuple[Reason, str | None]:
    """The stable reason of a rejected trade, and its unified symbol if it could be read."""
    if isinstance(error, FieldError):
        return error.reason, error.symbol
    if isinstance(error, UnicodeDecodeError):
        return Reason.NOT_UTF8, None
    text = str(error)
    if text.startswith("Object missing required field"):
        return Reason.MISSING_FIELD, None
    return (Reason.BAD_SIDE if text.startswith("Invalid enum value") else Reason.BAD_TYPE), None
