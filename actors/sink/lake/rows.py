"""The rows of a commit as the lake's tables have them, and how their files are written."""

import time
from types import ModuleType
from typing import TYPE_CHECKING, Any

from arro3.core import Array, ChunkedArray, DataType, Table

from actors.model.ticks import TICKS
from actors.sink.lake.lake import Batches
from actors.sink.lake.tables import SHIPMENTS, LakeTable

if TYPE_CHECKING:
    from deltalake import WriterProperties


def format_of(deltalake: ModuleType, table: LakeTable) -> "WriterProperties":
    """How the table's files are written; see ops/docs/decisions.md for what was tried."""
    of_column = deltalake.ColumnProperties
    columns = {
        name: of_column(
            dictionary_enabled=False,
            statistics_enabled="CHUNK" if name in table.statistics else "NONE",
            encoding="DELTA_BINARY_PACKED",
        )
        for name, kind in table.columns
        if any((DataType.is_timestamp(kind), DataType.is_int64(kind)))
    }
    columns |= {
        name: of_column(dictionary_enabled=True, statistics_enabled="CHUNK")
        for name in table.statistics
        if name not in columns
    }
    if table.name == TICKS.name:  # nearly every id differs from all others
        columns["trade_id"] = of_column(dictionary_enabled=False, statistics_enabled="NONE")
    made: WriterProperties = deltalake.WriterProperties(
        compression="ZSTD",
        compression_level=1,
        default_column_properties=of_column(dictionary_enabled=True, statistics_enabled="NONE"),
        column_properties=columns,
    )
    return made


class Rows:
    """Makes the rows of one recorder; keeps what repeats."""

    def __init__(self, recorder: str) -> None:
        self._recorder = recorder
        self._repeats: dict[tuple[str | None, str], Array] = {}

    def typed(self, table: LakeTable, rows: Table | None, store_id: str) -> Table:
        """The rows with the types and the order of the lake's columns; a column that they lack is null."""
        if rows is None:
            return Table.from_batches([], schema=table.arrow)
        constants = {"recorder": self._recorder, "store": store_id}
        if unknown := set(rows.column_names) - {name for name, _ in table.columns}:
            raise ValueError(f"{table.name} has the columns {sorted(unknown)}, which the lake does not have")
        rows = rows.combine_chunks()
        columns = [
            rows.column(name).cast(kind)
            if name in rows.column_names
            else ChunkedArray([self._repeated(constants.get(name), kind, rows.num_rows)])
            for name, kind in table.columns
        ]
        return Table.from_arrays(columns, schema=table.arrow)

    def _repeated(self, value: str | None, kind: Any, rows: int) -> Array:
        """An array of one value. Arrays are kept, because to fill two of 50,000 rows takes 3 ms."""
        key = value, str(kind)
        if key not in self._repeats or len(self._repeats[key]) < rows:
            self._repeats[key] = Array([value] * rows, kind)
        return self._repeats[key].slice(0, rows)

    def shipments(self, batches: Batches) -> Table:
        """The rows of `shipments` for this commit."""
        sent = sorted(batches.shipped, key=lambda one: (one.table, one.exchange, one.day))
        commit = (self._recorder, batches.store_id, batches.above, batches.through)
        now_us = time.time_ns() // 1000
        return SHIPMENTS.of_rows(
            [(*commit, one.table, one.exchange, one.day, one.rows, one.checksum, now_us) for one in sent]
        )
