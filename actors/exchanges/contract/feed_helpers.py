"""Helpers for feed modules: batch decoding, exact times, nested keys, symbol checks."""

import functools
import re
from collections.abc import Sequence
from datetime import datetime
from struct import Struct
from typing import NamedTuple, TypeVar

import msgspec

from actors.exchanges.contract.feed import MS, Trades
from actors.model.symbols import Symbol, SymbolError
from actors.model.ticks import Reason
from actors.model.validation import FieldError

S_NS = 1_000_000_000
_NUMBER_STARTS = frozenset("-0123456789")
_NUMBERS = b"\n-+.0123456789eE"  # of all JSON, only numbers are written with these alone
_OPENED, _CLOSED = b"{}"
_STARTS, _ENDS = b"{[", b"}]"
_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z", re.ASCII)
_START = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\.")
_START_CHARS, _DECIMALS_MAX = 20, 9
_MS_DECIMALS = 3
_FRACTIONS_NS = {b"%03d" % ms: ms * MS for ms in range(1000)}
_STARTS_MAX = 1024  # that are kept: some minutes of times to the second
# 10 to 18 digits: more is a unit mistake or an attack on int(), not a time
_MS_COLUMN = re.compile(r"(?:[1-9][0-9]{0,17}+\n)*+")
_SECONDS = re.compile(r"(\d{1,12})(?:\.(\d{1,20}))?", re.ASCII)
_SECONDS_COLUMN = re.compile(r"(?:[0-9]{1,12}+(?:\.[0-9]{1,20}+)?+\n)*+")
_integers = msgspec.json.Decoder(list[int | None])
_encode = msgspec.json.Encoder().encode
_FEW_IDS = 4  # are converted one by one

T = TypeVar("T")


class Row(NamedTuple):
    """One trade, as input of `columns`; see Trades for each field."""

    native: str
    price: str
    volume: str
    side: str | None
    trade_id: str | None
    exchange_ns: int | None
    snapshot: bool = False
    fills: int = 1
    off_book: bool = False
    after_break: bool = False


def columns(rows: Sequence[Row]) -> Trades:
    """Converts rows to Trades; raises ValueError if there are none, as Dialect.trades must.

    Convenient, not the fastest: one comprehension per column takes about half as long.
    """
    if not rows:
        raise ValueError("no trades")
    made = Trades(*map(list, zip(*rows, strict=True)))  # Row has the fields of Trades
    if made.fills is not None and set(made.fills) == {1}:
        made.fills = None
    if made.off_book is not None and not any(made.off_book):
        made.off_book = None
    if made.breaks is not None and not any(made.breaks):
        made.breaks = None
    return made


def digits(token: msgspec.Raw, name: str) -> str:
    """A decimal's digits as sent, from a JSON number or a string: a float would lose the last 0 of 0.00123440."""
    text = str(token, "ascii", "replace")
    if text[:1] == '"':
        return text[1:-1]
    if text[:1] not in _NUMBER_STARTS:
        raise FieldError(Reason.BAD_TYPE, f"`{name}` is neither a JSON number nor a string: {text[:60]}")
    return text


def digits_column(tokens: Sequence[msgspec.Raw], name: str) -> list[str]:
    """`digits` of a column, at once where all are JSON numbers or all are strings.

    A line break in a token, as an object or a broken string may have it, makes more lines than tokens.
    """
    column = b"\n".join(tokens)
    if not column.translate(None, _NUMBERS):
        texts = column.decode().split("\n")
        if "" in texts:  # a missing one, by its default
            texts = []
    elif column[:1] == column[-1:] == b'"' and column.count(b"\n") < len(tokens):
        texts = column[1:-1].decode("ascii", "replace").split('"\n"')
    else:
        texts = []
    return texts if len(texts) == len(tokens) else [digits(token, name) for token in tokens]


def numbers_column(tokens: Sequence[msgspec.Raw], name: str) -> list[str]:
    """`digits_column` where only JSON numbers are right; raises FieldError if one is anything else."""
    if b'"' in b"".join(tokens):
        raise FieldError(Reason.BAD_TYPE, f"`{name}` is not a JSON number")
    return digits_column(tokens, name)


def seconds_ns(text: str) -> int:
    """Nanoseconds of seconds in decimal digits, exactly; digits past the ninth decimal are cut off."""
    match = _SECONDS.fullmatch(text)
    if match is None:
        raise FieldError(Reason.BAD_TIME, f"not seconds: {text[:60]!r}")
    return int(match[1]) * S_NS + int((match[2] or "0")[:9].ljust(9, "0"))


def seconds_column_ns(texts: Sequence[str]) -> list[int | None]:
    """`seconds_ns` of a column, at once where all are sound."""
    column = "\n".join((*texts, ""))
    if not _SECONDS_COLUMN.fullmatch(column) or column.count("\n") != len(texts):
        return [seconds_ns(text) for text in texts]
    parts = [text.partition(".") for text in texts]
    return [int(whole + fraction[:9].ljust(9, "0")) for whole, _, fraction in parts]


def decode_frames(decoder: "msgspec.json.Decoder[T]", frames: Sequence[bytes]) -> list[T]:
    """Decodes all frames at once, one value per frame; raises ValueError if a frame is not exactly one value.

    A newline is only white space to JSON, so two broken frames joined by one could make a sound value. They
    cannot where each frame starts with "{" or "[" and ends with "}" or "]", for no value goes on from an end to a
    start without a comma; so each frame is one value or several, and as many values as frames are one each.
    """
    text = b"\n".join(frames)
    if not text.isascii():
        text.decode()  # msgspec does not look into strings that it skips
    if len(frames) == 1:
        return [decoder.decode(text)]  # with white space around it, which the test below would refuse
    if not all(frames):
        raise ValueError("an empty frame")
    start, end = (_OPENED, _CLOSED) if frames[0][0] == _OPENED else (_STARTS[1], _ENDS[1])
    if [frame for frame in frames if frame[0] != start or frame[-1] != end] and [
        frame for frame in frames if frame[0] not in _STARTS or frame[-1] not in _ENDS
    ]:
        raise ValueError("not one JSON object or list a frame")
    values = decoder.decode_lines(text)
    if len(values) != len(frames):
        raise ValueError("more or fewer values than frames")
    return values


def rfc3339_ns(text: str) -> int:
    """Nanoseconds since 1970 of "2021-04-17T16:43:37.089723Z", exactly; raises FieldError."""
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise FieldError(Reason.BAD_TIME, f"not an RFC 3339 time in UTC: {text[:60]!r}")
    return _second(match[1]) * S_NS + int((match[2] or "0").ljust(9, "0"))


def rfc3339_column_ns(texts: Sequence[str], ahead_ns: int = 0) -> list[int | None]:
    """`rfc3339_ns` of a column, at once where all have decimals; of a clock that is ahead of UTC by so much."""
    widths = set(map(len, texts))
    width = max(widths) if len(texts) > 1 else 0
    decimals = width - _START_CHARS - 1
    if 0 < decimals <= _DECIMALS_MAX:
        padded = texts
        if len(widths) > 1:
            padded = [text if len(text) == width else _padded(text, width) for text in texts]
        column = "\n".join((*padded, "")).encode()
        # What stands at one place in all texts; there are no other line breaks, as the rest is compared too.
        places = [column[place :: width + 1] for place in range(_START_CHARS, width + 1)]
        ends = [b"Z" * len(texts), b"\n" * len(texts)]
        if places[-2:] == ends and b"".join(places[:-2]).isdigit() and len(column) == len(texts) * (width + 1):
            scale = 10 ** (_DECIMALS_MAX - decimals)
            rows = _row_of(decimals).iter_unpack(column)
            if decimals == _MS_DECIMALS and not ahead_ns:  # as most exchanges send them
                return [_starts_ns[start] + _FRACTIONS_NS[fraction] for start, fraction in rows]
            return [_starts_ns[start] + int(fraction) * scale - ahead_ns for start, fraction in rows]
    return [rfc3339_ns(text) - ahead_ns for text in texts]


def _padded(text: str, width: int) -> str:
    """A time with so many more zeros, if it has decimals: some exchanges leave the last ones out."""
    decimals = text[_START_CHARS:-1]
    return f"{text[:-1]:0<{width - 1}}Z" if decimals.isdecimal() and text[-1] == "Z" else text


@functools.cache
def _row_of(decimals: int) -> Struct:
    """A line of times with so many decimals: up to the point, and the decimals."""
    return Struct(f"{_START_CHARS}s{decimals}s2x")


class _Starts(dict[bytes, int]):
    """Nanoseconds since 1970 of b"2021-04-17T16:43:37."; many trades share one."""

    def __missing__(self, start: bytes) -> int:
        match = _START.fullmatch(start)
        if match is None:
            raise FieldError(Reason.BAD_TIME, f"not an RFC 3339 time in UTC: {start!r}")
        if len(self) >= _STARTS_MAX:
            self.clear()
        self[start] = found = _second(match[1].decode()) * S_NS
        return found


_starts_ns = _Starts()


@functools.lru_cache(maxsize=64)
def _second(text: str) -> int:
    """Seconds since 1970 of "2021-04-17T16:43:37"; many trades share one."""
    try:
        return int(datetime.fromisoformat(text + "Z").timestamp())
    except ValueError as error:
        raise FieldError(Reason.BAD_TIME, f"{text}: {error}") from error


def id_texts(numbers: list[int]) -> list[str | None]:
    """Integer ids as texts; at once at half the cost."""
    if len(numbers) < _FEW_IDS:
        return [str(number) for number in numbers]
    return [*_encode(numbers)[1:-1].decode().split(",")]


def ms_texts_ns(texts: Sequence[str]) -> list[int | None]:
    """Nanoseconds of milliseconds written as text; raises FieldError."""
    column = "\n".join((*texts, ""))
    if not _MS_COLUMN.fullmatch(column) or column.count("\n") != len(texts):
        raise FieldError(Reason.BAD_TIME, f"not milliseconds: {', '.join(texts)[:60]!r}")
    return _integers.decode(f"[{'000000,'.join(texts)}000000]") if texts else []


class Counts:
    """Finds holes in the numbers by which an exchange counts the trades of each market or, `together`, the messages
    of a connection: then trades of any market may be missing, and the next row of each follows the hole.

    A frame may be read twice, first in a batch that is rejected: a number that goes back is no hole, and a row that
    follows one does so again as long as no batch with a new number came in between.
    """

    def __init__(self, *, together: bool = False) -> None:
        self._together = together
        self._last: dict[str, int] = {}  # by market, or for all together under ""
        self._holes: dict[str, int] = {}  # how many there were, likewise
        self._known: dict[str, int] = {}  # by market, how many there were at its newest row
        self._marked = set[tuple[str, int]]()  # rows of the newest batch

    def breaks(
        self, natives: Sequence[str], numbers: Sequence[int], firsts: Sequence[int] | None = None
    ) -> list[bool] | None:
        """Which rows follow a hole, None where none does. A row may stand for all numbers from its first one on; a
        number below 0 is none."""
        last_by, holes_by, known, together = self._last, self._holes, self._known, self._together
        marked, is_new = set[tuple[str, int]](), False
        for native, number, first in zip(natives, numbers, firsts or numbers, strict=True):
            if number < 0:
                continue
            counted = "" if together else native
            last = last_by.get(counted, number)
            if number >= last:
                if first > last + 1:
                    holes_by[counted] = holes_by.get(counted, 0) + 1
                is_new |= number > last
                last_by[counted] = number
                if holes_by and (holes := holes_by.get(counted, 0)) > known.get(native, 0):
                    known[native] = holes
                    marked.add((native, number))
        marked |= self._marked
        if not marked:
            return None
        rows = list(zip(natives, numbers, strict=True))
        self._marked = marked.intersection(rows) if is_new else marked
        found = [row in marked for row in rows]
        return found if True in found else None


def inside(message: object, *keys: str) -> object:
    """The value at this path of keys in nested objects, None if there is none."""
    for key in keys:
        if not isinstance(message, dict):
            return None
        message = message.get(key)
    return message


def text_inside(message: object, *keys: str) -> str:
    """The text or number at this path of keys, as text; "" if there is neither."""
    value = inside(message, *keys)
    return str(value) if isinstance(value, str | int) else ""


def named(native: str) -> tuple[str, ...]:
    """The native name as a tuple; empty if the message names none."""
    return (native,) if native else ()


def compact(message: object) -> str:
    """JSON without white space, as it goes over the wire."""
    return msgspec.json.encode(message).decode()


def require_kind(symbol: Symbol, exchange: str, kinds: Sequence[str]) -> None:
    """Raises SymbolError if this exchange's markets of that kind are not recorded."""
    if symbol.kind not in kinds:
        swap = Symbol(symbol.base, symbol.quote, symbol.settle)
        right = str(swap) if swap.kind in kinds else f"{symbol.base}/{symbol.quote}"
        raise SymbolError(f"{symbol}: {exchange} records {' and '.join(kinds)} markets only", right)


def require_upper(symbol: Symbol, exchange: str) -> None:
    """Raises SymbolError with the expected spelling if a code is not in capitals."""
    if (upper := str(symbol).upper()) != str(symbol):
        raise SymbolError(f"{symbol}: {exchange} writes its codes in capitals", upper)
