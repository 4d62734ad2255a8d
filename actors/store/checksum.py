"""An additive checksum of rows, to compare what was sent with what is there.

It is the sum of a number for each row, modulo P. So it depends neither on the order of the rows, the time zone of
the session nor the version of DuckDB (whose hash() may change), and changes if a value changes or a row is missing
or doubled.

A row's number is 48 bits of the MD5 of its values as text. For ticks, of which there are many, that would take too
long: each of their values counts as an integer (microseconds, the digits of a decimal, the bytes of a short text)
times a constant of its column, and the row as a whole once or, by the last bit of its times, many times. Two ticks
that have exchanged a value are found in half of the cases, a column at the wrong rows always.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable
from decimal import Decimal
from functools import lru_cache
from typing import Any

import duckdb

from actors.model.schema import BYTES, DECIMAL, INSTANT, INTEGER, Column, Schema
from actors.model.ticks import TICKS
from actors.store.tables import BATCH

P = (1 << 61) - 1  # a checksum fits into a signed integer of 64 bits, and a product of two into one of 128
_DECIMAL_MAX = 10**10  # the digits of 10 billion smaller decimals have a sum of 128 bits
_SHORT_BYTES = 12  # 2 billion such texts have a sum of 128 bits
_NULL = -999_983  # counts for NULL
_ODD = 1_442_695_040_888_963_407  # how often a row counts whose times end in a 1
_COLUMNS = (*TICKS.columns[1:], Column(BATCH, BATCH, INTEGER))  # groups of rows have one exchange
_FACTORS = {column.name: pow(3, 41 + 2 * index, P) for index, column in enumerate(_COLUMNS)}
_KEYS = ("symbol", "side", "source")  # their values repeat: each is computed once and counts as often as it occurs
_SUMMED = tuple(column for column in _COLUMNS if column.name not in _KEYS)
_TIMES = " + ".join(f"coalesce(epoch_us({c.quoted}), {_NULL})" for c in _COLUMNS if c.kind is INSTANT)


def combined(checksums: Iterable[int]) -> int:
    """The checksum of the rows of several groups."""
    return sum(checksums) % P


def checksum_sql(table: Schema) -> str:
    """SQL for the checksum of a group of rows of one exchange, which have the columns of the table and `batch`."""
    if table is not TICKS:
        values = ", ".join([*map(_shown, table.columns), BATCH])
        return (
            f"(coalesce(sum({_bits(f'left(md5(concat_ws(chr(31), {values})), {_SHORT_BYTES})')}), 0) % {P})::BIGINT"
        )
    terms = [
        f"({_sum(column, which)}) % {P} * {_FACTORS[column.name] * weight % P} % {P}"
        for column in _COLUMNS
        for weight, which in ((1, ""), (_ODD - 1, f"FILTER (({_TIMES}) & 1 = 1)"))
    ]
    return f"((({' + '.join(terms)}) % {P} + {P}) % {P})::BIGINT"


def tick_checksums(con: duckdb.DuckDBPyConnection, source: str) -> list[tuple[str, Any, int, int]]:
    """Exchange, day, number and checksum of the ticks in `source`: SQL after FROM, with `batch` and `day`.

    The same as checksum_sql, in a third of the time.
    """
    sums = ", ".join(f"sum({c.quoted if c.kind is DECIMAL else _integer(c)})" for c in _SUMMED)
    keys = f"exchange, day, ({_TIMES}) & 1, {', '.join(_KEYS)}"
    try:
        groups = con.execute(f"SELECT {keys}, count(*), {sums} FROM {source} GROUP BY ALL").fetchall()
    except duckdb.OutOfRangeException:  # decimals of 38 digits
        return con.execute(
            f"SELECT exchange, day, count(*), {checksum_sql(TICKS)} FROM {source} GROUP BY ALL"
        ).fetchall()
    rows, checksums = Counter[tuple[str, Any]](), Counter[tuple[str, Any]]()
    factors = [_FACTORS[name] for name in _KEYS] + [_FACTORS[column.name] for column in _SUMMED]
    for exchange, day, odd, *values in groups:
        shared, count, totals = values[: len(_KEYS)], values[len(_KEYS)], values[len(_KEYS) + 1 :]
        numbers = [_number(text) * count for text in shared] + [_digits(total) for total in totals]
        weighed = sum(number * factor for number, factor in zip(numbers, factors, strict=True))
        rows[exchange, day] += count
        checksums[exchange, day] += weighed * _ODD if odd else weighed
    return [(*group, rows[group], checksums[group] % P) for group in sorted(rows)]


def _integer(column: Column) -> str:
    """SQL for the integer of a value of a tick that is no decimal."""
    if column.kind is INSTANT:
        return f"coalesce(epoch_us({column.quoted}), {_NULL})"
    if column.kind is INTEGER:
        return f"coalesce({column.quoted}, {_NULL})"
    text = column.quoted
    is_short = f"strlen({text}) BETWEEN 1 AND {_SHORT_BYTES}"
    short = f"CASE WHEN {is_short} THEN {text} ELSE left(md5({text}), {_SHORT_BYTES}) END"
    return f"CASE WHEN {text} IS NULL THEN {_NULL} ELSE {_bits(short)} END"


@lru_cache(4096)
def _number(text: str | None) -> int:
    """The integer of a text, as `_integer` has it."""
    if text is None:
        return _NULL
    read = text.encode()
    if not 1 <= len(read) <= _SHORT_BYTES:
        read = hashlib.md5(read, usedforsecurity=False).hexdigest()[:_SHORT_BYTES].encode()
    return int.from_bytes(read)


def _bits(text: str) -> str:
    """SQL for the bytes of a text as one integer, the first one the highest."""
    return f"encode({text})::BIT::HUGEINT"


def _sum(column: Column, which: str) -> str:
    """SQL for the sum of a column's integers; it does not overflow, whatever the decimals."""
    if column.kind is not DECIMAL:
        return f"coalesce(sum({_integer(column)}) {which}, 0)::HUGEINT"
    small = f"{column.quoted} BETWEEN -{_DECIMAL_MAX} AND {_DECIMAL_MAX}"
    of_small = _digits_sql(f"(sum(CASE WHEN {small} THEN {column.quoted} END) {which})")
    of_large = f"sum(CASE WHEN {small} THEN 0 ELSE {_digits_sql(column.quoted)} % {P} END) {which}"
    return f"coalesce({of_small}, 0) + coalesce({of_large}, 0)"


def _digits_sql(decimal: str) -> str:
    """SQL for the digits of a decimal with 18 places as an integer."""
    return f"replace({decimal}::VARCHAR, '.', '')::HUGEINT"


def _digits(total: Decimal | int | None) -> int:
    """The same; an integer stays what it is."""
    if not isinstance(total, Decimal):
        return total or 0
    numerator, denominator = total.as_integer_ratio()
    return numerator * 10**18 // denominator


def _shown(column: Column) -> str:
    """SQL for a value as text, different for different values."""
    value = column.quoted
    if column.kind is INSTANT:
        value = f"epoch_us({value})"
    elif column.kind is BYTES:
        value = f"md5({value})"
    return f"coalesce('v' || {value}, 'n')"
