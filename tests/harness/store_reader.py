"""Reads DuckDB files as another process would, on one instance for all tests: to make one takes 20 ms each time."""

import atexit
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import duckdb

from actors.store.sql import sql_text

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


@contextmanager
def looking(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """The file, opened anew and read-only, until the block ends; times in UTC. Not for two at once."""
    name = f"file{next(_NUMBERS)}"
    with _instance().cursor() as con:
        con.execute("SET TimeZone = 'UTC'")
        con.execute(f"ATTACH {sql_text(path)} AS {name} (READ_ONLY)")
        try:
            con.execute(f"USE {name}")
            yield con
        finally:
            con.execute("USE memory")
            con.execute(f"DETACH {name}")
