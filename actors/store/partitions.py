"""Writes rows as Parquet files in folders by exchange, symbol and UTC day, for exports and the archive.

The layout is Hive's: exchange=binance/symbol=BTC%2FUSDT/date=2026-06-01/NAME-0.parquet. A folder's value is not
repeated as a column of its files (pyarrow refuses such files), and in it everything but letters, digits and "-._~"
is percent-encoded: DuckDB, pyarrow and Polars decode it.
"""

from pathlib import Path

import duckdb

from actors.store.sql import sql_text

DAY_US = 86_400_000_000

# The time of a row, by table: the second column is used where the first is NULL. Tables not listed here are neither
# cut to a time range nor deleted: a feed that began long ago still says how complete today's ticks are.
TIMES = {
    "ticks": ("timestamp", "received_at"),
    "rejects": ("received_at",),
    "events": ("at",),
    "audit": ("at",),
    "lags": ("at",),
}
# The columns besides the day by which a table's files are partitioned.
KEYS = {"ticks": ("exchange", "symbol")}


def moment(table: str) -> str:
    """SQL for the time of a row."""
    return f"coalesce({', '.join(map(_quoted, TIMES[table]))})"


def day(table: str) -> str:
    """SQL for the UTC day of a row, as text; no time zone setting of the session changes it."""
    return f"strftime(make_timestamp(epoch_us({moment(table)})), '%Y-%m-%d')"


def condition(table: str, since_us: int | None, until_us: int | None) -> list[str]:
    """SQL conditions that select, without overlap, the rows with a time in [`since_us`, `until_us`).

    One condition per time column: DuckDB skips row groups by a column's minimum and maximum, which it cannot do for
    coalesce().
    """
    times = [_quoted(column) for column in TIMES[table]]
    found = []
    for index, column in enumerate(times):
        parts = [f"{earlier} IS NULL" for earlier in times[:index]]
        parts += [f"{column} >= make_timestamptz({since_us:d})"] if since_us is not None else []
        parts += [f"{column} < make_timestamptz({until_us:d})"] if until_us is not None else []
        found.append(" AND ".join(parts))
    return found


def within(table: str, source: str, since_us: int | None, until_us: int | None) -> str:
    """SELECT of the rows of `source` with a time in [`since_us`, `until_us`); None is no bound."""
    if (since_us, until_us) == (None, None) or table not in TIMES:
        return f"SELECT * FROM {source}"
    return " UNION ALL ".join(f"SELECT * FROM {source} WHERE {c}" for c in condition(table, since_us, until_us))


def write(
    con: duckdb.DuckDBPyConnection, table: str, rows: str, folder: Path, name: str, *, only: str = "true"
) -> int:
    """Writes the rows of the SELECT `rows` that satisfy `only` into files below `folder`; returns how many rows.

    Each file is sorted by time; rows of the same time keep the order of the table. The connection must have one
    thread: two would write a folder's rows out of order. Nothing is made durable here.
    """
    keys = [*KEYS.get(table, ()), "date"]
    numbered = f"SELECT *, {day(table)} AS date, row_number() OVER () AS arrival FROM ({rows})"
    order = ", ".join([*map(_quoted, keys), moment(table), "arrival"])
    options = (
        f"FORMAT parquet, COMPRESSION zstd, PARTITION_BY ({', '.join(keys)}),"
        f" FILENAME_PATTERN {sql_text(name + '-{i}')}, OVERWRITE_OR_IGNORE"
    )
    ordered = f"SELECT * EXCLUDE (arrival) FROM ({numbered}) WHERE {only} ORDER BY {order}"
    row = con.execute(f"COPY ({ordered}) TO {sql_text(folder)} ({options})").fetchone()
    return int(row[0]) if row else 0


def _quoted(column: str) -> str:
    return f'"{column}"'
