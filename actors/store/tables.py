"""The tables of the DuckDB file: columns, types, and how Python columns become typed rows of a segment."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from operator import attrgetter
from typing import Any

from arro3.core import Array, ChunkedArray, DataType, Table

from actors.model.batch import Batch
from actors.model.columns import INT, KINDS, TEXT, constant
from actors.model.ticks import Block

SCHEMA_VERSION = 3

_TEXT, _INT, _REAL, _BYTES = TEXT, INT, DataType.float64(), DataType.binary()
# Prices and volumes: text to DECIMAL is exact, and DuckDB casts a column at once.
_NUMBER = "DECIMAL(38,18)"
# An instant from integer nanoseconds: make_timestamptz does not depend on the session's time zone.
_INSTANT = "make_timestamptz({} // 1000)"


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its SQL type, the Arrow type Python hands over, and the SQL that turns one into the other."""

    name: str
    sql: str
    arrow: Any
    cast: str = "{}"

    @property
    def quoted(self) -> str:
        """The name as an SQL identifier: "at" and "timestamp" are words of the grammar too."""
        return f'"{self.name}"'


@dataclass(frozen=True, slots=True, eq=False)
class TableSpec:
    """One table; `columns_of` takes a batch apart, in the order of `columns`, into Python lists or Arrow arrays."""

    name: str
    columns: tuple[Column, ...]
    columns_of: Callable[[Batch], Sequence[Any]]

    @property
    def names(self) -> str:
        """The columns as an SQL list."""
        return ", ".join(column.quoted for column in self.columns)

    @property
    def definition(self) -> str:
        """The columns with their types, as CREATE TABLE takes them."""
        return ", ".join(f"{column.quoted} {column.sql}" for column in self.columns)

    def select(self, source: str) -> str:
        """SQL that reads the Arrow table `source` as typed rows."""
        casts = ", ".join(f"{c.cast.format(c.quoted)}::{c.sql} AS {c.quoted}" for c in self.columns)
        return f"SELECT {casts} FROM {source}"

    def arrow(self, batch: Batch) -> Table:
        """The batch's rows of this table as an Arrow table (0 rows are fine)."""
        values = self.columns_of(batch)
        return Table.from_pydict(
            {
                c.name: v if isinstance(v, ChunkedArray) else Array(v, type=c.arrow)
                for c, v in zip(self.columns, values, strict=True)
            }
        )


def _ticks(batch: Batch) -> list[Any]:
    """All blocks of the batch, column by column, in their order: those between packed ones are joined."""
    pieces: list[list[Any]] = []
    for packed, group in groupby(batch.blocks, lambda block: block.arrays is not None):
        blocks = list(group)
        pieces += map(_packed, blocks) if packed else [_joined(blocks)]
    return [ChunkedArray(column) for column in zip(*(pieces or [_joined([])]), strict=True)]


def _packed(block: Block) -> list[Any]:
    assert block.arrays is not None
    return [constant(block.exchange, len(block)), *block.arrays.values()]


def _joined(blocks: Sequence[Block]) -> list[Any]:
    """One array a column: making one costs as much as 200 values."""
    exchange = chain.from_iterable([block.exchange] * len(block) for block in blocks)
    return [
        Array(list(exchange), type=_TEXT),
        *(
            Array(list(chain.from_iterable(map(attrgetter(name), blocks))), type=kind)
            for name, kind in KINDS.items()
        ),
    ]


def _fields(rows: Sequence[object], names: Sequence[str]) -> list[list[Any]]:
    return [[getattr(row, name) for row in rows] for name in names]


TICKS = TableSpec(
    "ticks",
    (
        Column("exchange", "VARCHAR", _TEXT),
        Column("symbol", "VARCHAR", _TEXT),
        Column("timestamp", "TIMESTAMPTZ", _INT, _INSTANT),
        Column("received_at", "TIMESTAMPTZ", _INT, _INSTANT),
        Column("price", _NUMBER, _TEXT),
        Column("volume", _NUMBER, _TEXT),
        Column("side", "VARCHAR", _TEXT),
        Column("trade_id", "VARCHAR", _TEXT),
        Column("source", "VARCHAR", _TEXT),
        Column("fills", "BIGINT", _INT),
    ),
    _ticks,
)

REJECTS = TableSpec(
    "rejects",
    (
        Column("received_at", "TIMESTAMPTZ", _INT, _INSTANT),
        Column("exchange", "VARCHAR", _TEXT),
        Column("symbol", "VARCHAR", _TEXT),
        Column("reason", "VARCHAR", _TEXT),
        Column("detail", "VARCHAR", _TEXT),
        Column("payload", "BLOB", _BYTES),
        Column("payload_bytes", "BIGINT", _INT),
    ),
    lambda batch: _fields(
        batch.rejects,
        ("received_ns", "exchange", "symbol", "reason", "detail", "payload", "payload_bytes"),
    ),
)

EVENTS = TableSpec(
    "events",
    (
        Column("at", "TIMESTAMPTZ", _INT, _INSTANT),
        Column("actor", "VARCHAR", _TEXT),
        Column("event", "VARCHAR", _TEXT),
        Column("reason", "VARCHAR", _TEXT),
        Column("restarts", "BIGINT", _INT),
        Column("retry_in_s", "DOUBLE", _REAL),
        Column("detail", "JSON", _TEXT),
    ),
    lambda batch: _fields(
        batch.events, ("at_ns", "actor", "event", "reason", "restarts", "retry_in_s", "detail_json")
    ),
)

AUDIT = TableSpec(
    "audit",
    (
        Column("at", "TIMESTAMPTZ", _INT, _INSTANT),
        Column("exchange", "VARCHAR", _TEXT),
        Column("frames", "BIGINT", _INT),
        Column("received", "BIGINT", _INT),
        Column("stored", "BIGINT", _INT),
        Column("duplicates", "BIGINT", _INT),
        Column("rejected", "BIGINT", _INT),
        Column("in_flight", "BIGINT", _INT),
        Column("run_id", "VARCHAR", _TEXT),
    ),
    lambda batch: _fields(
        batch.audit,
        (
            "at_ns",
            "exchange",
            "frames",
            "received",
            "stored",
            "duplicates",
            "rejected",
            "in_flight",
            "run_id",
        ),
    ),
)

GAP_STATES = TableSpec(
    "gap_states",
    (
        Column("at", "TIMESTAMPTZ", _INT, _INSTANT),
        Column("gap_id", "VARCHAR", _TEXT),
        Column("exchange", "VARCHAR", _TEXT),
        Column("symbol", "VARCHAR", _TEXT),
        Column("reason", "VARCHAR", _TEXT),
        Column("opened_at", "TIMESTAMPTZ", _INT, _INSTANT),
        Column("closed_at", "TIMESTAMPTZ", _INT, _INSTANT),
        Column("from_id", "VARCHAR", _TEXT),
        Column("to_id", "VARCHAR", _TEXT),
        Column("from_time", "TIMESTAMPTZ", _INT, _INSTANT),
        Column("to_time", "TIMESTAMPTZ", _INT, _INSTANT),
        Column("missing", "BIGINT", _INT),
        Column("recovered", "BIGINT", _INT),
        Column("status", "VARCHAR", _TEXT),
    ),
    lambda batch: _fields(
        batch.gaps,
        (
            "at_ns",
            "gap_id",
            "exchange",
            "symbol",
            "reason",
            "opened_ns",
            "closed_ns",
            "from_id",
            "to_id",
            "from_ns",
            "to_ns",
            "missing",
            "recovered",
            "status",
        ),
    ),
)

FEEDS = TableSpec(
    "feeds",
    (
        Column("at", "TIMESTAMPTZ", _INT, _INSTANT),
        Column("exchange", "VARCHAR", _TEXT),
        Column("symbol", "VARCHAR", _TEXT),
        Column("event", "VARCHAR", _TEXT),
        Column("run_id", "VARCHAR", _TEXT),
        Column("trade_id", "VARCHAR", _TEXT),
        Column("time", "TIMESTAMPTZ", _INT, _INSTANT),
    ),
    lambda batch: _fields(batch.feeds, ("at_ns", "exchange", "symbol", "event", "run_id", "trade_id", "time_ns")),
)

LAGS = TableSpec(
    "lags",
    (
        Column("at", "TIMESTAMPTZ", _INT, _INSTANT),
        Column("exchange", "VARCHAR", _TEXT),
        Column("samples", "BIGINT", _INT),
        Column("p50_ms", "DOUBLE", _REAL),
        Column("p99_ms", "DOUBLE", _REAL),
        Column("min_ms", "DOUBLE", _REAL),
        Column("max_ms", "DOUBLE", _REAL),
        Column("negative", "BIGINT", _INT),
        Column("run_id", "VARCHAR", _TEXT),
    ),
    lambda batch: _fields(
        batch.lags,
        ("at_ns", "exchange", "samples", "p50_ms", "p99_ms", "min_ms", "max_ms", "negative", "run_id"),
    ),
)

# Ticks come last: the ticks segment of a batch is what commits the batch (see segments.write_batch).
TABLES: tuple[TableSpec, ...] = (REJECTS, EVENTS, AUDIT, GAP_STATES, FEEDS, LAGS, TICKS)
