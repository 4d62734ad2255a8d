"""Runs SQL on a lake with delta-rs' engine (DataFusion), on views that show what the recorders have together.

  ticks            the tape: each trade once
  recorded_ticks   the ticks of each recorder, as they were stored
  gaps, coverage   of the tape
  shipments        what each commit sent
  NAME             the other tables of the file, with the rows of all recorders

Rows of other tables count up to the mark of their store: what was sent beyond it belongs to a commit without ticks.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any

import duckdb

from actors.model.ticks import TICKS
from actors.sink.lake.tables import SHIPMENTS, TABLES
from actors.store.connecting import MEMORY, command_limits, connect
from actors.store.sql import sql_text
from ops.export.lake.opening import LakeTables, engine_error, open_lake
from ops.export.lake.tape import tape_sql
from ops.export.lake.union import COVERAGE_COLUMNS, COVERAGE_UNION, GAPS_COLUMNS, GAPS_UNION, GROUPED, NEEDED, unite

RECORDED_TICKS = "recorded_ticks"
_COMPUTED = re.compile(r"\b(gaps|coverage)\b", re.I)  # a query that names them; others do not wait for them
_ROWS = 1024  # fetched at once
NO_DIALECTS: Mapping[str, str] = MappingProxyType({})


class LakeEngine:
    """delta-rs' engine with the tables of a lake; that of NAME, as it is stored, is raw(NAME).

    `con` is an empty DuckDB, `folder` is for what is computed, and is deleted later.
    """

    def __init__(self, lake: LakeTables, con: duckdb.DuckDBPyConnection, folder: Path) -> None:
        from deltalake import QueryBuilder

        self.lake, self.con = lake, con
        self._folder = folder
        self._engine = QueryBuilder({"datafusion.catalog.information_schema": "true"})
        for name, table in TABLES.items():
            if name in lake.tables:
                self._engine.register(raw(name), lake.tables[name])
            else:
                from arro3.core import Table

                self.put(raw(name), Table.from_batches([], schema=table.arrow))

    def execute(self, sql: str) -> Any:
        """Record batches (arro3.core.RecordBatchReader) as they are computed."""
        return self._engine.execute(sql)

    def do(self, sql: str) -> None:
        """Runs a statement to its end."""
        self._engine.execute(sql).read_all()

    def put(self, name: str, rows: Any) -> None:
        """Adds a table with these rows: Arrow, or a query of `con` as text."""
        path = self._folder / f"{name}.parquet"
        if isinstance(rows, str):
            self.con.sql(rows).write_parquet(str(path))
        else:
            self.con.register("put", rows)
            self.con.sql("FROM put").write_parquet(str(path))
            self.con.unregister("put")
        self.do(f"CREATE EXTERNAL TABLE {name} STORED AS PARQUET LOCATION {sql_text(path)}")


@contextmanager
def lake_engine(lake: LakeTables) -> Iterator[LakeEngine]:
    """An engine, closed when the block ends. Raises QueryError, also for what the engine raises in the block."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="tickwarden-lake-")))
        con = stack.enter_context(connect(MEMORY, command_limits()))
        con.execute("SET TimeZone = 'UTC'")
        try:
            yield LakeEngine(lake, con, folder)
        except Exception as error:
            # The engine's own errors are of a private module, or Exception itself.
            if isinstance(error, duckdb.Error) or type(error) is Exception or type(error).__module__ == "_internal":
                raise engine_error(error) from error
            raise


class Answer:
    """What a query returns, computed as it is read, which is possible once. The values are those of `Result`."""

    def __init__(self, con: duckdb.DuckDBPyConnection, batches: Any) -> None:
        con.register("answer", batches)
        self._con = con
        self.columns = tuple(batches.schema.names)

    @property
    def rows(self) -> Iterator[tuple[Any, ...]]:
        """The rows in order."""
        cursor = self._con.execute("FROM answer")
        while rows := cursor.fetchmany(_ROWS):
            yield from rows

    def write_parquet(self, target: Path) -> int:
        """Writes the rows to a Parquet file; how many."""
        self._con.sql("FROM answer").write_parquet(str(target), compression="zstd")
        row = self._con.execute("SELECT num_rows FROM parquet_file_metadata(?)", [str(target)]).fetchone()
        return int(row[0]) if row else 0


@contextmanager
def lake_query(
    uri: str, options: Mapping[str, str], sql: str, dialects: Mapping[str, str] = NO_DIALECTS
) -> Iterator[Answer]:
    """What `sql` returns on the views of the lake at `uri`.

    `options` describe the storage, `dialects` the exchanges whose name is not their dialect. Raises QueryError,
    also for what goes wrong while the block reads.
    """
    with lake_engine(open_lake(uri, options)) as engine:
        create_views(engine, sql, dialects)
        yield Answer(engine.con, engine.execute(sql))


def create_views(engine: LakeEngine, sql: str, dialects: Mapping[str, str] = NO_DIALECTS) -> None:
    """The views for this query. `dialects` are those of exchanges whose name is not their dialect."""
    for name in TABLES:
        if name != TICKS.name:
            engine.do(f"CREATE VIEW {name} AS {counted(engine.lake, name)}")
    columns = ", ".join(f'"{column}"' for column, _ in TABLES[TICKS.name].columns)
    tape = tape_sql(raw(TICKS.name), columns, engine.lake.exchanges(), dialects)
    engine.do(f"CREATE VIEW {RECORDED_TICKS} AS SELECT {columns} FROM {raw(TICKS.name)}")
    engine.do(f"CREATE VIEW {TICKS.name} AS {tape}")
    if _COMPUTED.search(sql):
        unite(engine.con, {name: engine.execute(_needed(engine.lake, name)) for name in NEEDED})
        engine.put("gaps", GAPS_UNION)
        engine.put("coverage", COVERAGE_UNION)
    else:
        engine.put("gaps", _empty(GAPS_COLUMNS))
        engine.put("coverage", _empty(COVERAGE_COLUMNS))


def _needed(lake: LakeTables, name: str) -> str:
    return f"SELECT {NEEDED[name]} FROM ({counted(lake, name)}) AS t{GROUPED.get(name, '')}"


def _empty(columns: Sequence[str]) -> str:
    pairs = [column.rpartition(" ") for column in columns]
    return f"SELECT {', '.join(f'NULL::{kind} AS {name}' for name, _, kind in pairs)} WHERE false"


def counted(lake: LakeTables, name: str) -> str:
    """SELECT of the rows of a table that count."""
    table = TABLES[name]
    columns = ", ".join(f't."{column}"' for column, _ in table.columns)
    number = "through" if table is SHIPMENTS else "batch"
    marks = ", ".join(
        f"({sql_text(one.recorder)}, {sql_text(one.store)}, {mark:d})" for one, mark in lake.marks.items()
    )
    if not marks:
        return f"SELECT {columns} FROM {raw(name)} AS t WHERE false"
    return (
        f"SELECT {columns} FROM {raw(name)} AS t"
        f" JOIN (VALUES {marks}) AS marks(recorder, store, mark)"
        f" ON t.recorder = marks.recorder AND t.store = marks.store WHERE t.{number} <= marks.mark"
    )


def raw(name: str) -> str:
    """The name within the engine of a table as it is stored."""
    return f"raw_{name}"
