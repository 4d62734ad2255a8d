"""Stores the coverage of the tape on closed days, so that engines without our views can read it."""

import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb

from actors.store.connecting import MEMORY, command_limits, connect
from ops.export.lake.compact_tables import COMPACTING, COVERAGE, LakeFolder, of_day, replace_day
from ops.export.lake.views import lake_query

_COLUMNS = "exchange, symbol, from_time, to_time, status, proof"
_WANTED = """
CREATE TABLE wanted AS
SELECT exchange, symbol, greatest(from_time, days.day::TIMESTAMPTZ) AS from_time,
       least(to_time, (days.day + 1)::TIMESTAMPTZ) AS to_time, status, proof, days.day
FROM found JOIN days ON from_time < (days.day + 1)::TIMESTAMPTZ AND to_time > days.day::TIMESTAMPTZ
WHERE $1 IS NULL OR exchange = $1
"""
_DIFFERENT = f"""
SELECT DISTINCT day FROM (
  (SELECT {_COLUMNS}, day FROM wanted EXCEPT ALL SELECT {_COLUMNS}, day FROM stored)
  UNION ALL
  (SELECT {_COLUMNS}, day FROM stored EXCEPT ALL SELECT {_COLUMNS}, day FROM wanted))
ORDER BY day
"""


def store_coverage(
    lake: LakeFolder,
    days: Sequence[date],
    exchange: str | None,
    dialects: Mapping[str, str],
    *,
    dry_run: bool = False,
) -> Iterator[tuple[date, int]]:
    """Replaces the stored coverage of each of these days where it differs; yields the day and its rows.

    Of one exchange or of all. Raises QueryError, and LakeChanged if another run stores it at the same time.
    """
    if not days:
        return
    with TemporaryDirectory(prefix="tickwarden-coverage-") as folder, connect(MEMORY, command_limits()) as con:
        con.execute("SET TimeZone = 'UTC'")
        path = Path(folder) / "coverage.parquet"
        with lake_query(lake.uri, lake.options, f"SELECT {_COLUMNS} FROM coverage", dialects) as answer:
            answer.write_parquet(path)
        con.execute("CREATE TABLE found AS FROM read_parquet(?)", [str(path)])
        con.execute("CREATE TABLE days AS SELECT unnest($1::DATE[]) AS day", [list(days)])
        con.execute(_WANTED, [exchange])
        if dry_run and lake.table(COVERAGE.name) is None:
            con.execute("CREATE TABLE stored AS FROM wanted LIMIT 0")
        else:
            _read_stored(lake, con, exchange)
        different = [day for (day,) in con.execute(_DIFFERENT).fetchall()]
        for day in different:
            rows = con.execute("SELECT count(*) FROM wanted WHERE day = $1", [day]).fetchall()[0][0]
            if not dry_run:
                _replace(lake, con, day, exchange)
            yield day, rows


def _read_stored(lake: LakeFolder, con: duckdb.DuckDBPyConnection, exchange: str | None) -> None:
    handle = lake.created(COVERAGE)
    with lake.errors():
        con.register("stream", handle.scan())
        con.execute(
            f"CREATE TABLE stored AS SELECT {_COLUMNS}, day FROM stream SEMI JOIN days USING (day)"
            " WHERE $1 IS NULL OR exchange = $1",
            [exchange],
        )
        con.unregister("stream")


def _replace(lake: LakeFolder, con: duckdb.DuckDBPyConnection, day: date, exchange: str | None) -> None:
    handle = lake.created(COVERAGE)
    rows = con.sql(f"SELECT {_COLUMNS}, day FROM wanted WHERE day = '{day}' ORDER BY exchange, symbol, from_time")
    lake.commit(
        COVERAGE.name,
        handle,
        (COMPACTING, time.time_ns()),
        lambda properties: replace_day(handle, rows, of_day(exchange, day), properties),
    )
