"""delta-rs' engine (DataFusion) on the tables of a lake, and which of their rows count.

Rows of other tables than `ticks` count up to the mark of their store: what was sent beyond it belongs to a commit
without ticks.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import duckdb

from actors.sink.lake.tables import SHIPMENTS, TABLES
from actors.store.connecting import MEMORY, command_limits, connect
from actors.store.sql import sql_text
from ops.export.lake.opening import LakeTables, engine_errors
from ops.export.target import workshop


class LakeEngine:
    """delta-rs' engine with the tables of a lake; that of NAME, as it is stored, is raw(NAME).

    `con` is an empty DuckDB, `folder` is for what is computed, and is deleted later.
    """

    def __init__(self, lake: LakeTables, con: duckdb.DuckDBPyConnection, folder: Path) -> None:
        from deltalake import QueryBuilder

        self.lake, self.con = lake, con
        self._folder = folder
        self._engine = QueryBuilder({"datafusion.catalog.information_schema": "true"})
        # Sorted rows beyond it are spilled, as those of DuckDB; 4 million ticks of one tape take 1.5 GB without it.
        self.do(f"SET datafusion.runtime.memory_limit = '{command_limits().memory.removesuffix('B')}'")
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

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """All rows that `sql` returns."""
        return self.reading(sql).execute("FROM incoming").fetchall()

    def reading(self, sql: str) -> duckdb.DuckDBPyConnection:
        """`con`, in which `incoming` is what `sql` returns, computed while it is read, which is possible once."""
        return self.con.register("incoming", self.execute(sql))

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
        folder = stack.enter_context(workshop(Path(gettempdir(), "tickwarden-lake")))
        con = stack.enter_context(connect(MEMORY, command_limits()))
        con.execute("SET TimeZone = 'UTC'")
        with engine_errors(lake.hides):
            yield LakeEngine(lake, con, folder)


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
