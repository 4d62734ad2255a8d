"""Runs SQL on a lake with delta-rs' engine (DataFusion), on views that show what the recorders have together.

ticks            the tape: each trade once
recorded_ticks   the ticks of each recorder, as they were stored
gaps, coverage   of the tape
shipments        what each commit sent
NAME             the other tables of the file, with the rows of all recorders
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from actors.model.ticks import TICKS
from actors.sink.lake.tables import TABLES
from ops.export.lake.engine import LakeEngine, counted, lake_engine, raw
from ops.export.lake.opening import LakeTables, open_lake
from ops.export.lake.tape import tape_sql
from ops.export.lake.union import COVERAGE_COLUMNS, COVERAGE_UNION, GAPS_COLUMNS, GAPS_UNION, GROUPED, NEEDED, unite
from ops.export.query import QueryError
from ops.export.write_errors import naming

RECORDED_TICKS = "recorded_ticks"
_COMPUTED = re.compile(r"\b(gaps|coverage)\b", re.I)  # a query that names them; others do not wait for them
# Statements of which the engine has odd things to report, because the views are its own and not the tables of the
# lake, and COPY, which would write over other files.
_CHANGES = re.compile(
    r"(?:\s|--[^\n]*\n|/\*.*?\*/|(?:EXPLAIN|ANALYZE|VERBOSE)\b)*"
    r"(ALTER|COPY|CREATE|DELETE|DROP|INSERT|MERGE|TRUNCATE|UPDATE)\b",
    re.I | re.S,
)
_ROWS = 1024  # fetched at once
NO_DIALECTS: Mapping[str, str] = MappingProxyType({})


class Answer:
    """What a query returns, computed as it is read, which is possible once. The values are those of `Result`."""

    def __init__(self, engine: LakeEngine, sql: str) -> None:
        batches = engine.execute(sql)
        self.columns: tuple[str, ...] = tuple(batches.schema.names)
        self._con = engine.con
        self._con.register("answer", batches)

    @property
    def rows(self) -> Iterator[tuple[Any, ...]]:
        """The rows in order."""
        cursor = self._con.execute("FROM answer")
        while rows := cursor.fetchmany(_ROWS):
            yield from rows

    def write_parquet(self, target: Path) -> int:
        """Writes the rows to a Parquet file; how many. Raises OSError with the file's name."""
        with naming(target):
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
    if change := _CHANGES.match(sql):
        if change[1].upper() == "COPY":
            raise QueryError("a lake is only read, and COPY writes; --out FILE writes what a query returns")
        raise QueryError(
            f"a lake is only read, and {change[1].upper()} changes it; write a query like: SELECT * FROM ticks"
        )
    with lake_engine(open_lake(uri, options)) as engine:
        create_views(engine, sql, dialects)
        yield Answer(engine, sql)


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
        load_union(engine)
        engine.put("gaps", GAPS_UNION)
        engine.put("coverage", COVERAGE_UNION)
    else:
        engine.put("gaps", _empty(GAPS_COLUMNS))
        engine.put("coverage", _empty(COVERAGE_COLUMNS))


def load_union(engine: LakeEngine) -> None:
    """Makes COVERAGE_UNION and GAPS_UNION answerable by the engine's DuckDB."""
    unite(engine.con, {name: engine.execute(_needed(engine.lake, name)) for name in NEEDED})


def _needed(lake: LakeTables, name: str) -> str:
    return f"SELECT {NEEDED[name]} FROM ({counted(lake, name)}) AS t{GROUPED.get(name, '')}"


def _empty(columns: Sequence[str]) -> str:
    pairs = [column.rpartition(" ") for column in columns]
    return f"SELECT {', '.join(f'NULL::{kind} AS {name}' for name, _, kind in pairs)} WHERE false"
