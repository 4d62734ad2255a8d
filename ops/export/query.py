"""Runs one SQL query on the DuckDB file, whether the service uses it or not."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import duckdb

from actors.model.errors import DatabaseLocked
from actors.model.ticks import TICKS
from actors.store.adjacent_tail import TailMissing, reach
from actors.store.connecting import command_limits, connect
from actors.store.duckdb_messages import held, holder
from actors.store.foreign import foreign, special
from ops.export.write_errors import naming
from supervisor import Backoff

# The service holds the lock for some tens of milliseconds per merge: retry soon, then less often.
LOCKED_RETRY = Backoff(initial_s=0.01, max_s=0.25)
LOCK_TIMEOUT_S = 10.0
INTERRUPT_S = 0.1

T = TypeVar("T")


class QueryError(Exception):
    """The query cannot be answered: no such file, not a DuckDB file, or invalid SQL. The message is for people."""


@dataclass(frozen=True, slots=True)
class Result:
    """Rows in order. DECIMAL is Decimal, TIMESTAMPTZ an aware datetime in UTC; `more` if rows were left out."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    more: bool = False


def run_query(
    path: Path,
    sql: str,
    *,
    values: Sequence[object] = (),
    timeout_s: float = LOCK_TIMEOUT_S,
    rows_max: int | None = None,
) -> Result:
    """Runs `sql` read-only and returns at most `rows_max` rows; the file is closed before this returns.

    `values` are bound to $1, $2 and so on. If the views of the file do not reach the tail that lies beside it and
    belongs to it, they are replaced for this query. Waits up to `timeout_s` for another process to release the
    file, then raises DatabaseLocked; raises QueryError for every other problem. The query itself may take as long
    as it needs.
    """
    with reading(path, timeout_s=timeout_s) as connection:
        return interruptible(connection, partial(_fetch, connection, sql, values, rows_max))


def _fetch(
    connection: duckdb.DuckDBPyConnection, sql: str, values: Sequence[object], rows_max: int | None
) -> Result:
    # Unlike its type stubs, DuckDB returns None if there is no statement at all.
    cursor: duckdb.DuckDBPyConnection | None = connection.execute(sql, values or None)
    if cursor is None:
        raise QueryError("the query is empty; write one like: SELECT count(*) FROM ticks")
    columns = tuple(column[0] for column in cursor.description)
    if rows_max is None:
        return Result(columns, cursor.fetchall())
    rows = cursor.fetchmany(rows_max + 1)
    return Result(columns, rows[:rows_max], len(rows) > rows_max)


def write_parquet(path: Path, sql: str, target: Path, *, timeout_s: float = LOCK_TIMEOUT_S) -> int:
    """Writes what `sql` returns to a Parquet file without holding the rows in memory; how many.

    Raises likewise, and OSError with the file's name if it cannot be written.
    """
    with reading(path, timeout_s=timeout_s) as connection:
        return interruptible(connection, partial(_write, connection, sql, target))


def _write(connection: duckdb.DuckDBPyConnection, sql: str, target: Path) -> int:
    # Unlike its type stubs, DuckDB returns None for a statement without rows.
    found: duckdb.DuckDBPyRelation | None = connection.sql(sql)
    if found is None:
        raise QueryError("the query returns no rows to write; write one like: FROM ticks")
    with naming(target):
        found.write_parquet(str(target), compression="zstd")
    row = connection.execute("SELECT num_rows FROM parquet_file_metadata(?)", [str(target)]).fetchone()
    return int(row[0]) if row else 0


def interruptible(connection: duckdb.DuckDBPyConnection, statement: Callable[[], T]) -> T:
    """Runs `statement`, which uses the connection, so that Ctrl-C stops it: on the main thread, DuckDB looks for
    signals only between parts of a statement, which may take minutes. Raises KeyboardInterrupt once it has ended.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="query") as executor:
        running = executor.submit(statement)
        try:
            return running.result()
        except KeyboardInterrupt:
            while not running.done():
                connection.interrupt()  # has no effect before the statement has begun
                wait([running], INTERRUPT_S)
            raise


def check_file(path: Path) -> None:
    """Raises QueryError where there is no file to open."""
    if kind := special(path):
        raise QueryError(f"{path} is {kind}; --file names the DuckDB file of a recording")
    if not path.is_file():
        raise QueryError(f"{path}: no such file; it appears with the first merge, or --file names another one")


def holds_ticks(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether the open file is a recording, or a copy of one."""
    row = connection.execute(
        "SELECT count(*) FROM information_schema.tables WHERE table_catalog = current_database()"
        " AND table_schema = 'main' AND table_name = ?",
        [TICKS.name],
    ).fetchone()
    return bool(row and row[0])


def no_recording(path: Path) -> QueryError:
    """The error for a DuckDB file of something else."""
    return QueryError(f"{path} holds no ticks: it is not a file of Tickwarden's; --file names another one")


@contextmanager
def reading(path: Path, *, timeout_s: float = LOCK_TIMEOUT_S) -> Iterator[duckdb.DuckDBPyConnection]:
    """A read-only connection on which the views of the file reach its tail; closed when the block ends.

    Raises as `run_query` does, also for what DuckDB raises in the block.
    """
    check_file(path)
    connection = unlocked(path, timeout_s, lambda: connect(path, command_limits(), read_only=True))
    try:
        connection.execute("SET TimeZone = 'UTC'")
        with suppress(TailMissing):  # a query that needs no tail is answered all the same
            reach(connection, path)
        yield connection
    except duckdb.Error as error:
        raise QueryError(_explained(connection, path, error)) from error
    finally:
        connection.close()


def _explained(connection: duckdb.DuckDBPyConnection, path: Path, error: duckdb.Error) -> str:
    """DuckDB's error, after the problem of the file if there is one."""
    try:
        if isinstance(error, duckdb.CatalogException) and not holds_ticks(connection):
            return f"{no_recording(path)} ({str(error).splitlines()[0]})"
        reach(connection, path)
    except TailMissing as missing:
        return f"{missing} DuckDB says: {error}"
    except duckdb.Error:  # a fatal error: the connection answers no further query
        pass
    return str(error)


def unlocked(path: Path, timeout_s: float, attempt: Callable[[], T]) -> T:
    """The result of `attempt`, retried while another process holds the file.

    Raises DatabaseLocked after `timeout_s`, QueryError for every other error of DuckDB.
    """
    deadline, failures, jitter = time.monotonic() + timeout_s, 0, Random()  # noqa: S311 - no secret
    while True:
        try:
            return attempt()
        except duckdb.Error as error:
            if not held(error, path):
                if what := foreign(path) or ("an empty file" if path.stat().st_size == 0 else ""):
                    raise QueryError(f"{path} is {what}; --file names the DuckDB file of a recording") from error
                raise QueryError(f"{path}: {error}") from error
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise DatabaseLocked(str(path), holder(error), "; try again later") from error
        # Spreads concurrent processes; the last attempt is made at the deadline.
        time.sleep(min(left_s, LOCKED_RETRY.delay_s(failures, jitter)))
        failures += 1
