"""Reads DuckDB files as another process would, on one instance for all tests: to make one takes 20 ms each time."""

import atexit
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import duckdb

from actors.store.sql import sql_text

PATIENCE_S = 10.0
_NUMBERS = count()


@cache
def _instance() -> duckdb.DuckDBPyConnection:
    con = duckdb.connect(config={"threads": 1})
    con.execute("SET enable_external_file_cache = false")  # tests put other bytes under the same name
    atexit.register(con.close)
    return con


def answer(sql: str) -> list[tuple[Any, ...]]:
    """What DuckDB finds in files of other kinds; times in UTC."""
    with _instance().cursor() as con:
        con.execute("SET TimeZone = 'UTC'")
        return con.execute(sql).fetchall()


def _attach(con: duckdb.DuckDBPyConnection, path: Path, name: str) -> None:
    """A merge in this process may have the file open at the moment, which DuckDB does not wait for."""
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            con.execute(f"ATTACH {sql_text(path)} AS {name} (READ_ONLY)")
        except duckdb.BinderException as error:
            if "already attached" not in str(error) or time.monotonic() > end:
                raise
        else:
            return
        time.sleep(0.01)


@contextmanager
def looking(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """The file, opened anew and read-only, until the block ends; times in UTC. Not for two at once."""
    name = f"file{next(_NUMBERS)}"
    with _instance().cursor() as con:
        con.execute("SET TimeZone = 'UTC'")
        _attach(con, path, name)
        try:
            con.execute(f"USE {name}")
            yield con
        finally:
            con.execute("USE memory")
            con.execute(f"DETACH {name}")
