"""Reads committed batches again, for a lake: see actors.sink.lake.lake.BatchSource.

A batch counts by the rule of the views: a segment of its ticks exists, or the file has merged it. Its rows are in
the tail until the merge after the one that took them has the file to itself, so that a reader that is up to date
needs the tail only. Each row has one number (see sql.numbered), the same in tail and file, so that it does not
matter from where it is read.
"""

from collections.abc import Collection
from datetime import date
from typing import Any

import duckdb
from arro3.core import RecordBatchReader, Table
from msgspec import Struct

from actors.model.schema import JSON, Schema
from actors.model.ticks import TICKS
from actors.sink.lake.lake import Batches, Shipped
from actors.store.checksum import checksum_sql, tick_checksums
from actors.store.connecting import MEMORY, Limits, connect
from actors.store.database import DuckFile
from actors.store.sql import numbered
from actors.store.tables import BATCH, TABLES
from actors.store.tail import Listed, Tail, committed, live
from actors.store.views import SCHEMA

DAY = "day"
# The time by whose UTC day the rows of a table are partitioned: the first that is not NULL.
TIMES = {
    "ticks": ("timestamp", "received_at"),
    "rejects": ("received_at",),
    "instruments": ("seen_at",),
}
_TIME = ("at",)


def day_sql(table: Schema) -> str:
    """SQL for the UTC day of a row; no time zone of the session changes it."""
    moment = ", ".join(f'epoch_us("{column}")' for column in TIMES.get(table.name, _TIME))
    return f"make_timestamp(coalesce({moment}, 0))::DATE"


def exchange_sql(table: Schema) -> str:
    """SQL for the exchange of a row, '' where the table has none."""
    return "coalesce(exchange, '')" if any(column.name == "exchange" for column in table.columns) else "''"


class Request(Struct, frozen=True):
    """Asks for batches above `above`; see BatchSource. `written` is the newest batch whose write has returned."""

    store_id: str
    above: int
    rows_max: int
    through: int | None
    written: int


class Shipping:
    """Used by the merging thread, between merges and compactions."""

    def __init__(self, duck: DuckFile, tail: Tail, limits: Limits) -> None:
        self._duck, self._tail, self._limits = duck, tail, limits
        self._con: duckdb.DuckDBPyConnection | None = None  # opening one takes longer than reading a batch

    def close(self) -> None:
        """Frees the in-memory database; the next use creates a new one."""
        if self._con is not None:
            self._con.close()
        self._con = None

    def from_tail(self, request: Request, merged_through: int) -> Batches | None:
        """Reads from the tail alone, which must have all batches above `above`, merged or not."""
        if self._con is None:
            self._con = connect(MEMORY, self._limits)
        segments = _counted(self._tail.listed(), request.above, merged_through)
        try:
            return _Reading(self._con, request, self._tail, segments, merged_through).batches()
        except duckdb.Error:  # after a fatal one a database answers no query
            self.close()
            raise

    def from_file(self, request: Request) -> Batches | None:
        """Reads from file and tail. Raises DatabaseLocked, FileDamaged, FileTrouble."""
        with self._duck.opened(read_only=True) as con:
            merged_through = self._duck.merged_through(con)
            segments = _counted(self._tail.listed(), max(request.above, merged_through), merged_through)
            numbered = _numbered_tables(con)
            return _Reading(con, request, self._tail, segments, merged_through, numbered).batches()


def _numbered_tables(con: duckdb.DuckDBPyConnection) -> set[str]:
    """The tables of the file that have numbers of batches: none in a file that could not be upgraded yet."""
    rows = con.execute(
        "SELECT table_name FROM duckdb_columns() WHERE database_name = current_database() AND schema_name = ?"
        " AND column_name = ?",
        [SCHEMA, BATCH],
    ).fetchall()
    return {name for (name,) in rows}


def _counted(listed: Listed, above: int, merged_through: int) -> Listed:
    """The segments of each table that hold batches above `above`, in order.

    Segments that are merged and not deleted yet count too. No segment reaches across the watermark, and a
    compaction joins those above it only, whatever the levels of those below.
    """
    return {
        name: [
            *live([s for s in segments if s.last <= merged_through], above),
            *live(segments, max(above, merged_through)),
        ]
        for name, segments in listed.items()
    }


class _Reading:
    """Reads these segments, and the `merged` tables of the file, as of one moment."""

    def __init__(
        self,
        con: duckdb.DuckDBPyConnection,
        request: Request,
        tail: Tail,
        segments: Listed,
        merged_through: int,
        merged: Collection[str] = (),
    ) -> None:
        self._con, self._request, self._tail, self._merged = con, request, tail, merged
        self._segments, self._above = segments, request.above
        # A batch whose write has failed may have all its segments, but perhaps not for good.
        self._newest = max(merged_through, min(request.written, committed(segments)))
        con.execute("SET TimeZone = 'UTC'")

    def batches(self) -> Batches | None:
        """The batches up to `through`, or about `rows_max` rows of each table."""
        through = self._bound(self._request.rows_max) if self._request.through is None else self._request.through
        if through <= self._above:
            return None
        tables: dict[str, Any] = {}
        shipped: list[Shipped] = []
        for table in TABLES:
            rows = self._rows(table, through)
            if rows is not None and rows.num_rows:
                tables[table.name] = rows
                shipped += self._described(table, rows)
        ticks = tables[TICKS.name].num_rows if TICKS.name in tables else 0
        return Batches(self._request.store_id, self._above, through, ticks, tables, tuple(shipped))

    def _bound(self, rows_max: int) -> int:
        """The last batch to be read: that of the `rows_max`-th row of any table."""
        bounds = [self._newest]
        for table in TABLES:
            few = sum(segment.rows for segment in self._segments[table.name]) <= rows_max
            source = self._source(table)
            if source and not (few and table.name not in self._merged):
                # Rows lie in the order of their batches, so that the query ends after so many.
                rows = self._con.execute(
                    f"SELECT {BATCH} FROM ({source}) LIMIT 1 OFFSET {rows_max - 1:d}"
                ).fetchall()
                bounds += [int(number) for (number,) in rows]
        return min(bounds)

    def _source(self, table: Schema) -> str:
        """SELECT of the rows above `above`, with the numbers of their batches; "" if there can be none."""
        parts = []
        if table.name in self._merged:
            parts.append(f"SELECT {table.names}, {BATCH} FROM {SCHEMA}.{table.name}")
        if paths := [self._tail.path(table, segment) for segment in self._segments[table.name] if segment.rows]:
            parts.append(numbered(table.names, paths))
        return " UNION ALL ".join(f"SELECT * FROM ({part}) WHERE {BATCH} > {self._above:d}" for part in parts)

    def _rows(self, table: Schema, through: int) -> Table | None:
        source = self._source(table)
        if not source:
            return None
        columns = [f"{c.quoted}::VARCHAR AS {c.quoted}" if c.kind is JSON else c.quoted for c in table.columns]
        select = f"SELECT {', '.join(columns)}, {BATCH}, {day_sql(table)} AS {DAY} FROM ({source})"
        return RecordBatchReader.from_arrow(self._con.sql(f"{select} WHERE {BATCH} <= {through:d}")).read_all()

    def _described(self, table: Schema, rows: Table) -> list[Shipped]:
        self._con.register("shipped", rows)
        found: list[tuple[str, date, int, int]]
        try:
            if table is TICKS:
                found = tick_checksums(self._con, "shipped")
            else:
                found = self._con.execute(
                    f"SELECT {exchange_sql(table)}, {DAY}, count(*), {checksum_sql(table)} FROM shipped"
                    " GROUP BY ALL ORDER BY ALL"
                ).fetchall()
        finally:
            self._con.unregister("shipped")
        return [Shipped(table.name, exchange, day, count, checksum) for exchange, day, count, checksum in found]
