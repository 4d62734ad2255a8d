"""The views through which any DuckDB process sees merged rows and tail as one table.

A view must give each row once, whatever is being written, folded or deleted while it is read. Its rule for
which segments count is `tail.live`, in SQL. What makes it sound is the order in which DuckDB (1.2 to 2.0)
binds a query, left before right: the folder is listed for the rule first, once, and for reading second. A
segment that appears between the two is read but does not count, so its rows wait for the next query; a fold
that does count was there before the second listing; and what it replaced stays listed until no query can be
between its two listings, and openable for much longer (see folding).

The pattern ends in "**" because that alone passes over symbolic links: replaced segments hide behind them.
"""

import re
from pathlib import Path

import duckdb

from actors.coverage import COVERAGE_SELECT, GAPS_SELECT
from actors.store.segments import sql_text
from actors.store.tables import TABLES, TICKS, TableSpec

# Views, tables and the watermark stand in two schemas, so that a user's `show tables` lists only what to query.
SCHEMA = "store"

# MATERIALIZED: DuckDB 1.2 would otherwise list the folder once for each mention, and see two states of it.
_LIVE = """(
  WITH listed AS MATERIALIZED (
    SELECT file,
           TRY_CAST(split_part(parse_filename(file, true), '-', 1) AS INTEGER) AS level,
           TRY_CAST(split_part(parse_filename(file, true), '-', 3) AS BIGINT) AS last
    FROM glob({pattern}))
  SELECT file FROM listed
  WHERE last > (SELECT merged_through FROM {schema}.watermark)
    AND last > coalesce((SELECT max(h.last) FROM listed h WHERE h.level > listed.level), 0))"""

_TAIL = re.compile(rf"glob\"?\('((?:[^']|'')+)/{TICKS.name}/\*")


def view_sql(table: TableSpec, tail: Path | None) -> str:
    """CREATE VIEW for one table, with its tail or (None) of the file alone."""
    merged = f"SELECT {table.names} FROM {SCHEMA}.{table.name}"
    head = f"CREATE OR REPLACE VIEW main.{table.name} AS {merged}"
    if tail is None:
        return head
    return f"{head} UNION ALL {tail_select(table, tail)}"


def tail_select(table: TableSpec, tail: Path) -> str:
    """SELECT of the rows of a tail that count."""
    pattern = sql_text(tail / table.name / "**")
    counted = _LIVE.format(pattern=pattern, schema=SCHEMA)
    columns = ", ".join(f"segment.{column.quoted}" for column in table.columns)
    # union_by_name opens the files while binding: their statistics then spare most of them from being read.
    options = "filename = true, union_by_name = true, hive_partitioning = false"
    return (
        f"SELECT {columns} FROM {counted} AS counted"
        f" JOIN read_parquet({pattern}, {options}) AS segment"
        " ON segment.filename = counted.file"
    )


def recorded_tail(con: duckdb.DuckDBPyConnection, database: str | None = None) -> Path | None:
    """The tail that the views of an open file reach into, None if it is complete by itself or not ours."""
    row = con.execute(
        "SELECT sql FROM duckdb_views() WHERE database_name = coalesce(?, current_database())"
        " AND schema_name = 'main' AND view_name = ?",
        [database, TICKS.name],
    ).fetchone()
    match = _TAIL.search(row[0]) if row else None
    return Path(match[1].replace("''", "'")) if match else None


# Views over the views, in the order in which they stand on each other: the newest state of each gap, and what
# is covered.
EXTRA_VIEWS = {"gaps": GAPS_SELECT, "coverage": COVERAGE_SELECT}


def extra_view_sql() -> list[str]:
    """CREATE VIEW for each of them."""
    return [f"CREATE OR REPLACE VIEW main.{name} AS {select}" for name, select in EXTRA_VIEWS.items()]


def schema_sql(version: int) -> list[str]:
    """Everything a new file holds, in order: tables, watermark, and the version of it all."""
    tables = [f"CREATE TABLE {SCHEMA}.{table.name} ({table.definition})" for table in TABLES]
    return [
        f"CREATE SCHEMA {SCHEMA}",
        *tables,
        f"CREATE TABLE {SCHEMA}.watermark (merged_through BIGINT NOT NULL)",
        f"INSERT INTO {SCHEMA}.watermark VALUES (0)",
        "CREATE TABLE main.schema_version (version INTEGER NOT NULL)",
        f"INSERT INTO main.schema_version VALUES ({version:d})",
    ]
