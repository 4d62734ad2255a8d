"""An additive checksum of rows: the sum of a number for each row that depends on every value of the row.

It depends neither on the order of the rows, the time zone of the session nor the version of DuckDB (whose hash()
changes between versions): times count as microseconds, decimals and texts as their characters.
"""

from collections.abc import Iterable

from actors.model.schema import BYTES, INSTANT, Column, Schema
from actors.store.tables import BATCH

MODULUS = 1 << 62  # a checksum fits into a signed integer of 64 bits


def checksum_sql(table: Schema) -> str:
    """SQL for the checksum of all rows of a group, which have the columns of the table and `batch`; 0 for none."""
    parts = ", ".join([*(_text(column) for column in table.columns), f"coalesce({BATCH}::VARCHAR, 'n')"])
    row = f"md5_number_lower(concat_ws(chr(31), {parts})) % {MODULUS}"
    return f"(coalesce(sum({row}), 0) % {MODULUS})::BIGINT"


def combined(checksums: Iterable[int]) -> int:
    """The checksum of the rows of several groups."""
    return sum(checksums) % MODULUS


def _text(column: Column) -> str:
    if column.kind is INSTANT:
        value = f"epoch_us({column.quoted})::VARCHAR"
    elif column.kind is BYTES:
        value = f"hex({column.quoted})"
    else:
        value = f"{column.quoted}::VARCHAR"
    return f"coalesce('v' || {value}, 'n')"
