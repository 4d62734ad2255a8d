"""The tables of a lake: the columns of the file's tables with their Arrow types, and those that a lake adds."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from arro3.core import Array, DataType, Field, Table
from arro3.core import Schema as ArrowSchema

from actors.model.records import AUDIT, EVENTS, FEEDS, GAP_STATES, INSTRUMENTS, LAGS
from actors.model.schema import BOOLEAN, BYTES, DECIMAL, INSTANT, INTEGER, JSON, REAL, TEXT, Schema
from actors.model.ticks import REJECTS, TICKS

# The Arrow types of stored values, by kind; the kinds' own Arrow types are those of Python's values.
_STORED: Mapping[str, Any] = {
    TEXT.sql: DataType.string(),
    INTEGER.sql: DataType.int64(),
    REAL.sql: DataType.float64(),
    BOOLEAN.sql: DataType.bool(),
    BYTES.sql: DataType.binary(),
    JSON.sql: DataType.string(),
    DECIMAL.sql: DataType.decimal128(38, 18),
    INSTANT.sql: DataType.timestamp("us", tz="UTC"),
}
_DATE = DataType.date32()
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_COUNT = DataType.decimal128(38, 0)  # a sum of checksums exceeds 64 bits
_ADDED = (("recorder", _STORED[TEXT.sql]), ("store", _STORED[TEXT.sql]), ("batch", _STORED[INTEGER.sql]))


_STATISTICS = ("symbol", "timestamp", "at")  # where a table has them


@dataclass(frozen=True, slots=True)
class LakeTable:
    """One table of a lake: its columns and their Arrow types in order, and the columns it is partitioned by.

    The log has the lowest and highest value in each file of the columns `statistics`, so that readers skip files.
    Every further one costs each commit 1 us per file of the table.
    """

    name: str
    columns: tuple[tuple[str, Any], ...]
    partitions: tuple[str, ...]
    statistics: tuple[str, ...] = ()

    @property
    def arrow(self) -> ArrowSchema:
        """The columns as an Arrow schema."""
        return ArrowSchema([Field(name, kind, nullable=True) for name, kind in self.columns])

    def of_rows(self, rows: Sequence[Sequence[Any]]) -> Table:
        """An Arrow table of these rows, whose values are in the order of the columns: text, integers, dates and
        times as microseconds UTC.
        """
        columns = zip(*rows, strict=True) if rows else [()] * len(self.columns)
        arrays = [_array(values, kind) for (_, kind), values in zip(self.columns, columns, strict=True)]
        return Table.from_arrays(arrays, schema=self.arrow)


def _array(values: Sequence[Any], kind: Any) -> Array:
    """Arrow makes dates, times and long counts from these other values only."""
    if kind == _DATE:
        return Array([day.toordinal() - _EPOCH_DAY for day in values], DataType.int32()).cast(kind)
    if kind == _STORED[INSTANT.sql]:
        return Array(list(values), DataType.int64()).cast(kind)
    if kind == _COUNT:
        return Array([str(number) for number in values], DataType.string()).cast(kind)
    return Array(list(values), kind)


def _of(schema: Schema) -> LakeTable:
    """The table of the file, as a lake has it."""
    own = tuple((column.name, _STORED[column.kind.sql]) for column in schema.columns)
    names = {name for name, _ in own}
    return LakeTable(
        schema.name,
        (*own, *_ADDED, ("day", _DATE)),
        ("exchange", "day") if "exchange" in names else ("day",),
        (*(name for name in _STATISTICS if name in names), "batch"),
    )


def _listed(tables: Iterable[LakeTable]) -> Mapping[str, LakeTable]:
    return {table.name: table for table in tables}


SHIPMENTS = LakeTable(
    "shipments",
    (
        ("recorder", _STORED[TEXT.sql]),
        ("store", _STORED[TEXT.sql]),
        ("above", _STORED[INTEGER.sql]),
        ("through", _STORED[INTEGER.sql]),
        ("table_name", _STORED[TEXT.sql]),
        ("exchange", _STORED[TEXT.sql]),
        ("day", _DATE),
        ("rows", _STORED[INTEGER.sql]),
        ("checksum", _COUNT),
        ("at", _STORED[INSTANT.sql]),
    ),
    ("day",),
    ("through",),
)

# In the order of a commit: the intent first, the ticks last, whose transaction is the mark.
TABLES: Mapping[str, LakeTable] = _listed(
    (SHIPMENTS, *map(_of, (REJECTS, EVENTS, AUDIT, GAP_STATES, FEEDS, LAGS, INSTRUMENTS, TICKS)))
)
