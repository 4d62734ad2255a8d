"""Opens a recording and its tail as of one batch, for reading as long as needed.

While the file is open here the service merges nothing, so the merged rows do not change. The tail keeps growing and
being compacted: it is listed once, ticks first, because a batch's ticks segment is its commit. Rows of other tables
beyond that batch are left out, so `audit` describes exactly these `ticks`.
"""

import os
import resource
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from actors.model.records import AUDIT
from actors.model.schema import MERGED_SCHEMA
from actors.model.ticks import TICKS
from actors.store.adjacent_tail import TailMissing, lacking_columns, null_columns, owner_of, usable_tail
from actors.store.connecting import MEMORY, Limits, command_limits, connect
from actors.store.filesystem import Files
from actors.store.sql import sql_text
from actors.store.tables import BATCH, TABLES
from actors.store.tail import Segment, Tail, committed
from actors.store.views import EXTRA_VIEWS, extra_view_sql
from ops.export.query import QueryError, check_file, no_recording, unlocked

_OPEN_FILES = Path("/proc/self/fd")
# The columns of the views; a file of an older version lacks the other one.
_SEEN = f"COLUMNS(lambda c: c <> '{BATCH}')"


@dataclass(frozen=True, slots=True)
class Source:
    """`tables` holds for each table the text after FROM; `con` has the file attached as `src`.

    `arrivals` is the ticks' with two more columns: (part, place) rises in the order in which they arrived. So has
    `audits` the rows of `audit`; a file of an older version has none.
    """

    con: duckdb.DuckDBPyConnection
    tables: dict[str, str] = field(default_factory=dict)
    arrivals: str = ""
    audits: str = ""


@contextmanager
def opened(path: Path, limits: Limits, *, timeout_s: float) -> Iterator[Source]:
    """Holds the file until the block ends; raises DatabaseLocked after `timeout_s`, QueryError for no such file."""
    check_file(path)
    with connect(MEMORY, limits) as con, ExitStack() as stack:
        # DuckDB counts the progress, and leaves the display to us.
        con.execute("SET enable_progress_bar = true; SET enable_progress_bar_print = false")
        con.execute("SET TimeZone = 'UTC'")
        attach = f"ATTACH {sql_text(path.absolute())} AS src (READ_ONLY)"
        unlocked(path, timeout_s, lambda: con.execute(attach))
        names = _relations(con)
        if TICKS.name not in names:
            raise no_recording(path)
        pinned = _pinned(con, path.absolute(), stack)
        tables = {name: _rows(name, pinned[name]) if name in pinned else f'src.main."{name}"' for name in names}
        audits = _arrivals(con, AUDIT.name, pinned.get(AUDIT.name, [])) if AUDIT.name in names else ""
        yield Source(con, tables, _arrivals(con, TICKS.name, pinned.get(TICKS.name, [])), audits)


@contextmanager
def one_batch(path: Path, *, timeout_s: float) -> Iterator[duckdb.DuckDBPyConnection]:
    """As `query.reading`, but all statements of the block see the file as of the same batch."""
    try:
        with opened(path, command_limits(), timeout_s=timeout_s) as src:
            src.con.execute("SET enable_progress_bar = false")
            _name(src)
            yield src.con
    except duckdb.Error as error:
        raise QueryError(str(error)) from error


def _name(src: Source) -> None:
    """Gives the tables, and the views on them, the names that they have in the file."""
    names = [name for name in (*(table.name for table in TABLES), "schema_version") if name in src.tables]
    for name in names:
        src.con.execute(f"CREATE TEMP VIEW {name} AS SELECT * FROM {src.tables[name]}")
    for name, missing in lacking_columns(src.con, "temp").items():
        view = f"CREATE OR REPLACE TEMP VIEW {name} AS SELECT *{null_columns(missing)} FROM {src.tables[name]}"
        src.con.execute(view)
    for statement in extra_view_sql("TEMP VIEW "):
        src.con.execute(statement)


def _relations(con: duckdb.DuckDBPyConnection) -> list[str]:
    """The tables and views that a user sees in the file; without views that only describe the others."""
    found = con.execute(
        "SELECT table_name FROM duckdb_tables() WHERE database_name = 'src' AND schema_name = 'main'"
        " UNION SELECT view_name FROM duckdb_views() WHERE database_name = 'src' AND schema_name = 'main'"
        " AND NOT internal ORDER BY 1"
    ).fetchall()
    return [name for (name,) in found if name not in EXTRA_VIEWS]


def _pinned(con: duckdb.DuckDBPyConnection, path: Path, stack: ExitStack) -> dict[str, list[str]]:
    """For each table with a tail, the files of the tail's rows as of one batch, in the order of the batches."""
    tail = _tail(con, path)
    if tail is None:
        return {}
    row = con.execute("SELECT max(merged_through) FROM src.store.watermark").fetchone()
    merged_through = int(row[0]) if row and row[0] is not None else 0
    while True:
        try:
            with ExitStack() as attempt:
                files = {
                    name: [_hold(tail.root / name / segment.name, attempt) for segment in segments]
                    for name, segments in _as_of_one_batch(tail, merged_through).items()
                }
                stack.enter_context(attempt.pop_all())
                return files
        except FileNotFoundError:  # compacted and deleted before it was opened: list again
            continue


def _tail(con: duckdb.DuckDBPyConnection, path: Path) -> Tail | None:
    """The tail that belongs to the file, None if the file is complete by itself."""
    owner = owner_of(con, "src")
    try:
        root = usable_tail(path, owner) if owner else None
    except TailMissing as missing:
        raise QueryError(str(missing)) from missing
    return Tail(root, Files()) if root else None


def _as_of_one_batch(tail: Tail, merged_through: int) -> dict[str, list[Segment]]:
    """Drops segments of later batches than the newest ticks; lists again if a compaction has just joined both."""
    while True:
        found = tail.live(merged_through)
        until = max(committed(found), merged_through)
        later = {segment for segments in found.values() for segment in segments if segment.last > until}
        if not any(segment.first <= until for segment in later):
            return {name: [s for s in segments if s not in later] for name, segments in found.items()}


def _hold(path: Path, stack: ExitStack) -> str:
    """Keeps a segment readable even after the service has deleted it; returns the name to read it by."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    stack.callback(os.close, fd)
    return f"{_OPEN_FILES}/{fd}" if _OPEN_FILES.is_dir() else str(path)


def _rows(table: str, paths: list[str]) -> str:
    merged = f"SELECT {_SEEN} FROM src.store.{table}"
    if not paths:
        return f"({merged})"
    listed = _listed(paths)
    options = "union_by_name = true, hive_partitioning = false"
    return f"({merged} UNION ALL BY NAME SELECT {_SEEN} FROM read_parquet({listed}, {options}))"


def _arrivals(con: duckdb.DuckDBPyConnection, table: str, paths: list[str]) -> str:
    """Merged rows and the tail's with their places. A standalone copy has a table instead of a view."""
    copied = "SELECT 1 FROM duckdb_tables() WHERE database_name = 'src' AND schema_name = 'main' AND table_name = ?"
    schema = "main" if con.execute(copied, [table]).fetchall() else MERGED_SCHEMA
    merged = f"SELECT 0 AS part, rowid AS place, {_SEEN} FROM src.{schema}.{table}"
    if not paths:
        return f"({merged})"
    listed = _listed(paths)
    options = "union_by_name = true, hive_partitioning = false, filename = true, file_row_number = true"
    return (
        f"({merged} UNION ALL BY NAME"
        f" SELECT list_position({listed}, filename) AS part, file_row_number AS place,"
        f" COLUMNS(lambda c: c NOT IN ('filename', 'file_row_number', '{BATCH}'))"
        f" FROM read_parquet({listed}, {options}))"
    )


def _listed(paths: list[str]) -> str:
    return "[" + ", ".join(map(sql_text, paths)) + "]"
