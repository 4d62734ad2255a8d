"""The views through which any DuckDB process sees merged rows and tail as one table.

A view must return each row once, whatever is written, compacted or deleted while it is read. It implements the rule
of `tail.live` in SQL. It is correct because of the order in which DuckDB (1.2 to 2.0) binds a query, left before
right: the folder is listed for the rule first, once, and for reading second. A segment that appears between the two
is read but does not count, so its rows wait for the next query; a compaction that counts existed before the second
listing; and the segments it replaced stay listed until no query can be between its two listings, and can be opened
for much longer (see compaction).

The pattern ends in "**" because only that skips symbolic links: replaced segments are hidden behind them.
"""

import re
from pathlib import Path

import duckdb

from actors.model.schema import MERGED_SCHEMA, Schema
from actors.model.ticks import TICKS
from actors.store.coverage_sql import COVERAGE_SELECT, GAPS_SELECT
from actors.store.identity import MARKER_NAME
from actors.store.sql import sql_text
from actors.store.tables import BATCH, TABLES

# Views are in another schema than tables and watermark, so that a user's `show tables` lists only the views.
SCHEMA = MERGED_SCHEMA

# A window instead of a second reference to the listing, which would list the folder again, in another state. Not
# WITH ... AS MATERIALIZED either: DuckDB 1.4.0 and 1.4.1 cannot read that back from a view.
_LIVE = """(
  SELECT file FROM (
    SELECT file, last,
           max(last) OVER (ORDER BY level DESC RANGE BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS above
    FROM (
      SELECT file,
             TRY_CAST(split_part(parse_filename(file, true), '-', 1) AS INTEGER) AS level,
             TRY_CAST(split_part(parse_filename(file, true), '-', 3) AS BIGINT) AS last
      FROM glob({pattern}))
    WHERE level IS NOT NULL AND last IS NOT NULL)
  WHERE last > (SELECT merged_through FROM {schema}.watermark) AND last > coalesce(above, 0))"""

# Returns no row, or an error. Its content is unknown before it is read, and each column depends on it: otherwise
# DuckDB would skip the whole part if a condition of the query can never be true for it.
_CHECKED = """(
  SELECT content AS said,
         CASE WHEN split_part(content, ' ', 2) = (SELECT max(store_id) FROM {schema}.identity)
               AND TRY_CAST(split_part(content, ' ', 4) AS BIGINT)
                   <= (SELECT merged_through FROM {schema}.watermark)
              THEN false ELSE error({refusal} || filename) END AS wrong
  FROM read_text({marker}))"""
REFUSAL = (
    "this file does not belong to the rows beside it: it was copied or moved while the service was running, and"
    " rows would be missing. Copy a running recording with 'tickwarden export PATH', or query the original."
    " Compared with "
)

_TAIL = re.compile(rf"glob\"?\('((?:[^']|'')+)/{TICKS.name}/\*")


def select_sql(table: Schema, tail: Path | None, *, merged: str | None = SCHEMA, checked: bool = True) -> str:
    """SELECT of one table, with its tail or (None) of the file alone.

    `merged` is the schema of the merged rows, None if the file has no such table; without `checked` file and tail
    are known to belong together.
    """
    parts = [f"SELECT {table.names} FROM {merged}.{table.name}"] if merged else []
    if tail is None:
        return " UNION ALL ".join(parts)
    schema = merged or SCHEMA
    if checked:
        check = _CHECKED.format(schema=schema, refusal=sql_text(REFUSAL), marker=sql_text(tail / MARKER_NAME))
        nothing = ", ".join(
            f"CASE WHEN wrong THEN TRY_CAST(said AS {column.kind.sql}) END" for column in table.columns
        )
        parts.append(f"SELECT {nothing} FROM {check} WHERE wrong")
    return " UNION ALL ".join([*parts, tail_select(table, tail, schema)])


def tail_select(table: Schema, tail: Path, schema: str = SCHEMA) -> str:
    """SELECT of the rows of a tail that count."""
    pattern = sql_text(tail / table.name / "**")
    counted = _LIVE.format(pattern=pattern, schema=schema)
    columns = ", ".join(f"segment.{column.quoted}" for column in table.columns)
    # union_by_name opens the files while binding: thanks to their statistics most are then not read.
    options = "filename = true, union_by_name = true, hive_partitioning = false"
    return (
        f"SELECT {columns} FROM {counted} AS counted"
        f" JOIN read_parquet({pattern}, {options}) AS segment ON segment.filename = counted.file"
    )


def read_tail_once(con: duckdb.DuckDBPyConnection, table: Schema, tail: Path) -> None:
    """Lets all further queries of this connection find the table's rows of the tail in memory, as they are now.

    A query of the view finds and opens the files again, which takes 10 ms. Nothing is done where a temporary view
    covers the file's own, because that one does not reach the tail, or lacks columns (see `reach`).
    """
    covered = "SELECT count(*) FROM duckdb_views() WHERE temporary AND view_name = ?"
    if con.execute(covered, [table.name]).fetchone() != (0,):
        return
    copy = f"tail_{table.name}"
    con.execute(f"CREATE TEMP TABLE {copy} AS {tail_select(table, tail)}")
    con.execute(
        f"CREATE TEMP VIEW {table.name} AS SELECT {table.names} FROM {SCHEMA}.{table.name}"
        f" UNION ALL SELECT {table.names} FROM {copy}"
    )


def view_sql(table: Schema, tail: Path | None) -> str:
    """CREATE VIEW for one table."""
    return f"CREATE OR REPLACE VIEW main.{table.name} AS {select_sql(table, tail)}"


def create_views(con: duckdb.DuckDBPyConnection, tail: Path | None) -> None:
    """Replaces the views of the file, with this tail or (None) of the file alone."""
    for table in TABLES:
        con.execute(view_sql(table, tail))
    for statement in extra_view_sql():
        con.execute(statement)


def recorded_tail(con: duckdb.DuckDBPyConnection, database: str | None = None) -> Path | None:
    """The tail that the views of an open file reach into, None if it is complete by itself or not ours."""
    row = con.execute(
        "SELECT sql FROM duckdb_views() WHERE database_name = coalesce(?, current_database())"
        " AND schema_name = 'main' AND view_name = ?",
        [database, TICKS.name],
    ).fetchone()
    match = _TAIL.search(row[0]) if row else None
    return Path(match[1].replace("''", "'")) if match else None


# Views on these views, each after those that it uses: the newest state of each gap, and coverage.
EXTRA_VIEWS = {"gaps": GAPS_SELECT, "coverage": COVERAGE_SELECT}


def extra_view_sql(kind: str = "VIEW main.") -> list[str]:
    """CREATE VIEW for each of them."""
    return [f"CREATE OR REPLACE {kind}{name} AS {select}" for name, select in EXTRA_VIEWS.items()]


def schema_sql(version: int) -> list[str]:
    """The statements that create a new file, in order: tables, watermark, and the schema version."""
    tables = [f"CREATE TABLE {SCHEMA}.{table.name} ({table.definition}, {BATCH} BIGINT)" for table in TABLES]
    return [
        f"CREATE SCHEMA {SCHEMA}",
        *tables,
        f"CREATE TABLE {SCHEMA}.watermark (merged_through BIGINT NOT NULL)",
        f"INSERT INTO {SCHEMA}.watermark VALUES (0)",
        f"CREATE TABLE {SCHEMA}.identity (store_id VARCHAR NOT NULL)",
        "CREATE TABLE main.schema_version (version INTEGER NOT NULL)",
        f"INSERT INTO main.schema_version VALUES ({version:d})",
    ]
