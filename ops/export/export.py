"""Exports a recording to one DuckDB file, or to Parquet files in folders; completely or not at all."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path

import duckdb

from actors.model.ticks import TICKS
from actors.store.adjacent_tail import lacking_columns
from actors.store.connecting import Limits
from actors.store.partitions import DAY_US, moment, within, write
from actors.store.sql import sql_text
from actors.store.tables import TABLES
from actors.store.views import extra_view_sql
from ops.export.progress import watched
from ops.export.query import LOCK_TIMEOUT_S
from ops.export.source import Source, opened
from ops.export.target import ExportError, check, make_durable, place_file, place_folder, workshop
from ops.export.write_errors import export_errors

STORAGE_VERSION = "v1.2.0"  # the oldest format: every DuckDB since 1.2 opens the copy
MEMORY_LIMIT = "512MB"
UNIT_ROWS_MAX = 5_000_000  # rows sorted at once; beyond the memory limit they are spilled beside the target
THREADS = 2  # a service may be recording on the same machine

Progress = Callable[[int, int], None]  # rows done, rows in total


@dataclass(frozen=True, slots=True)
class Exported:
    """The result: rows by table, and bytes of all files."""

    path: Path
    format: str
    rows: dict[str, int]
    bytes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class TimeRange:
    """From `since_us` to before `until_us`, microseconds UTC; None is no bound."""

    since_us: int | None = None
    until_us: int | None = None

    def of_day(self, day: int) -> tuple[int, int]:
        """The part of it within the day with that number since 1970."""
        first, end = day * DAY_US, (day + 1) * DAY_US
        since = first if self.since_us is None else max(first, self.since_us)
        until = end if self.until_us is None else min(end, self.until_us)
        return since, until


def export(
    source: Path,
    target: Path,
    *,
    time_range: TimeRange = TimeRange(),
    as_folder: bool = False,
    overwrite: bool = False,
    timeout_s: float = LOCK_TIMEOUT_S,
    progress: Progress = lambda _done, _all: None,
    unit_rows_max: int = UNIT_ROWS_MAX,
) -> Exported:
    """Copies `source` and its tail as of one batch; `target` appears complete and durable, or not at all.

    A folder gets the ticks alone, partitioned by exchange, symbol and day, `unit_rows_max` sorted at once. A folder
    with files gets the new ones one by one after all have been written. Raises ExportError, QueryError,
    DatabaseLocked, OSError, and KeyboardInterrupt after cleaning up.
    """
    began = time.monotonic()
    target = target.absolute()
    check(source.absolute(), target, as_folder=as_folder, overwrite=overwrite)
    # One thread writes the rows of a folder in order, see partitions.write.
    place, threads = (place_folder, 1) if as_folder else (place_file, THREADS)
    with workshop(target) as work, interrupts(), export_errors(target, work):
        made, spill = work / "made", work / "spill"
        with opened(source, Limits(MEMORY_LIMIT, spill, threads), timeout_s=timeout_s) as src:
            if as_folder:
                rows = _make_folder(src, made, time_range, progress, unit_rows_max)
            else:
                rows = _make_file(src, made, time_range, progress)
        size = make_durable(made)
        place(made, target, overwrite=overwrite)
    return Exported(target, "parquet" if as_folder else "duckdb", rows, size, time.monotonic() - began)


_INTERRUPTED = "Query interrupted"  # DuckDB's whole text; only this error has the type RuntimeError


@contextmanager
def interrupts() -> Iterator[None]:
    """DuckDB stops a statement on Ctrl-C with an error of its own, which becomes KeyboardInterrupt."""
    try:
        yield
    except RuntimeError as error:
        if str(error) == _INTERRUPTED:
            raise KeyboardInterrupt from error
        raise


def _make_file(src: Source, made: Path, time_range: TimeRange, progress: Progress) -> dict[str, int]:
    """Copies everything that the file shows, as plain tables of the same names and types."""
    con = src.con
    bounds = time_range.since_us, time_range.until_us
    selects = {name: within(name, source, *bounds) for name, source in src.tables.items()}
    wanted = {name: _count(con, select) for name, select in selects.items()}
    done, total = 0, sum(wanted.values())
    con.execute(f"ATTACH {sql_text(made)} AS made (STORAGE_VERSION {sql_text(STORAGE_VERSION)})")
    for name, select in selects.items():
        progress(done, total)
        say = _reporter(progress, done, wanted[name], total)
        watched(con, say, partial(con.execute, f'CREATE TABLE made.main."{name}" AS {select}'))
        written = _count(con, f'SELECT * FROM made.main."{name}"')
        _same(written, wanted[name], name)
        done += written
    if set(wanted) >= {table.name for table in TABLES}:  # a file of an older version may lack some tables
        con.execute("USE made")
        for name, columns in lacking_columns(con).items():
            for column in columns:
                con.execute(f"ALTER TABLE main.{name} ADD COLUMN {column.quoted} {column.kind.sql}")
        for statement in extra_view_sql():
            con.execute(statement)
        con.execute("USE memory")
    con.execute("CHECKPOINT made")
    con.execute("DETACH made")
    progress(done, total)
    return wanted


def _make_folder(
    src: Source, made: Path, time_range: TimeRange, progress: Progress, unit_rows_max: int
) -> dict[str, int]:
    """Writes the ticks as Parquet, day by day; a day of very many rows in groups of symbols."""
    con, name = src.con, TICKS.name
    made.mkdir()
    selected = within(name, src.tables[name], time_range.since_us, time_range.until_us)
    counts = con.execute(
        f"SELECT epoch_us({moment(name)}) // {DAY_US} AS day, exchange, symbol, count(*) FROM ({selected})"
        " GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    done, total = 0, sum(count for *_, count in counts)
    con.execute("CREATE TEMP TABLE wanted (exchange VARCHAR, symbol VARCHAR)")
    for day, of_day in groupby(counts, lambda row: row[0]):
        rows = within(name, src.tables[name], *time_range.of_day(day))
        for unit in _units([row[1:] for row in of_day], unit_rows_max):
            expected = sum(count for *_, count in unit)
            con.execute("DELETE FROM wanted")
            con.executemany("INSERT INTO wanted VALUES (?, ?)", [pair[:2] for pair in unit])
            progress(done, total)
            only = "(exchange, symbol) IN (FROM wanted)"
            say = _reporter(progress, done, expected, total)
            written = watched(con, say, partial(write, con, name, rows, made, "ticks", only=only))
            _same(written, expected, f"ticks of day {day}")
            done += written
    progress(done, total)
    return {name: done}


def _units(pairs: list[tuple[str, str, int]], rows_max: int) -> Iterator[list[tuple[str, str, int]]]:
    """Groups the markets of one day within the maximum of rows; at least one per group."""
    unit: list[tuple[str, str, int]] = []
    rows = 0
    for pair in pairs:
        if unit and rows + pair[2] > rows_max:
            yield unit
            unit, rows = [], 0
        unit.append(pair)
        rows += pair[2]
    if unit:
        yield unit


def _reporter(progress: Progress, done: int, rows: int, total: int) -> Callable[[float], None]:
    """Converts the progress of a statement on so many rows to rows done in total."""
    return lambda part: progress(done + int(part * rows), total)


def _count(con: duckdb.DuckDBPyConnection, select: str) -> int:
    row = con.execute(f"SELECT count(*) FROM ({select})").fetchone()
    return int(row[0]) if row else 0


def _same(written: int, expected: int, what: str) -> None:
    if written != expected:
        raise ExportError(
            f"{what}: {written} rows were written instead of {expected}; nothing was kept: export again"
        )
