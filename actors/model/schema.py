"""The schema of a table, derived from the class of its rows: columns, Arrow types, SQL types and casts.

A row class declares each column once, as an annotated attribute. `Stored` adds what the Python type does not
express: another name in SQL, or another kind of value. Everything else that lists columns derives from the
`Schema`.
"""

from collections.abc import Mapping
from dataclasses import KW_ONLY
from types import MappingProxyType, UnionType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from arro3.core import DataType
from msgspec import Struct

MERGED_SCHEMA = "store"  # the schema of the merged rows' tables in the DuckDB file; views in "main" show all rows


class Kind(Struct, frozen=True):
    """A kind of value: its SQL type, the Arrow type that Python supplies, and the SQL that converts between them.

    `cast` makes the stored value from the supplied one, `read` the Python value from the stored one.
    """

    sql: str
    arrow: Any
    cast: str = "{}"
    read: str = "{}"


TEXT = Kind("VARCHAR", DataType.string())
INTEGER = Kind("BIGINT", DataType.int64())
REAL = Kind("DOUBLE", DataType.float64())
BOOLEAN = Kind("BOOLEAN", DataType.bool())
BYTES = Kind("BLOB", DataType.binary())
JSON = Kind("JSON", DataType.string())
# Prices and volumes: text to DECIMAL is exact, and DuckDB casts a column at once.
DECIMAL = Kind("DECIMAL(38,18)", DataType.string())
# Integer nanoseconds in Python; make_timestamptz does not depend on the session's time zone.
INSTANT = Kind("TIMESTAMPTZ", DataType.int64(), "make_timestamptz({} // 1000)", "epoch_us({}) * 1000")

# Enums of text are text; a bool is an int too, so it comes first.
_KINDS: Mapping[type, Kind] = {bool: BOOLEAN, str: TEXT, int: INTEGER, float: REAL, bytes: BYTES}


class Stored(Struct, frozen=True):
    """How an attribute is stored; `steady`: its values are mostly the same throughout a block."""

    name: str = ""
    kind: Kind | None = None
    steady: bool = False


class Column(Struct, frozen=True):
    """One column: the attribute of the row class, the name in SQL, and the kind of its values."""

    attribute: str
    name: str
    kind: Kind
    steady: bool = False

    @property
    def quoted(self) -> str:
        """The name as an SQL identifier: "at" and "timestamp" are keywords too."""
        return f'"{self.name}"'


class Schema(Struct, frozen=True, eq=False):
    """One table. Schemas are equal only if they are the same object, so they serve as keys."""

    name: str
    columns: tuple[Column, ...]

    @property
    def names(self) -> str:
        """The columns as an SQL list."""
        return ", ".join(column.quoted for column in self.columns)

    @property
    def definition(self) -> str:
        """The columns with their types, for CREATE TABLE."""
        return ", ".join(f"{column.quoted} {column.kind.sql}" for column in self.columns)

    @property
    def read(self) -> str:
        """The columns as an SQL list of the values that the row class takes, in the order of `attributes`."""
        return ", ".join(column.kind.read.format(column.quoted) for column in self.columns)

    @property
    def attributes(self) -> tuple[str, ...]:
        """The attributes of the row class."""
        return tuple(column.attribute for column in self.columns)

    def select(self, source: str, constants: Mapping[str, str] = MappingProxyType({})) -> str:
        """SQL that reads the Arrow table `source` as typed rows.

        `constants` are SQL for columns, by name, that hold one value.
        """
        casts = {c: constants.get(c.name) or f"{c.kind.cast.format(c.quoted)}::{c.kind.sql}" for c in self.columns}
        return f"SELECT {', '.join(f'{cast} AS {c.quoted}' for c, cast in casts.items())} FROM {source}"


def schema_of(name: str, rows: type) -> Schema:
    """The schema of the table `name`, whose rows (or blocks of rows, with a list per column) this class holds."""
    hints = get_type_hints(rows, include_extras=True)
    return Schema(name, tuple(_column(attribute, hint) for attribute, hint in hints.items() if hint is not KW_ONLY))


def _column(attribute: str, hint: Any) -> Column:
    stored = Stored()
    if get_origin(hint) is Annotated:
        hint, stored = get_args(hint)
    return Column(attribute, stored.name or attribute, stored.kind or _kind(hint), stored.steady)


def _kind(hint: Any) -> Kind:
    """The kind of `str`, `str | None`, `list[str]` and so on."""
    if get_origin(hint) is list:
        (hint,) = get_args(hint)
    if isinstance(hint, UnionType):
        hint = next(option for option in get_args(hint) if option is not type(None))
    return next(kind for base, kind in _KINDS.items() if issubclass(hint, base))
