"""The views through which any DuckDB process sees merged rows and tail as one table.

A view must give each row once, whatever is being written, folded or deleted while it is read. Its rule for
which segments count is `segments.live`, in SQL. What makes it sound is the order in which DuckDB binds a
query, left before right: the folder is listed for the rule first, for reading second. A segment that
appears between the two is read but does not count, so its rows wait for the next query; a fold that does
count was there before the second listing; and what it replaced stays openable (see store.Store.sweep).
"""

from pathlib import Path

from actors.store.segments import sql_text
from actors.store.tables import TABLES, TableSpec

# Views, tables and the watermark stand in two schemas, so that a user's `show tables` lists only what to query.
SCHEMA = "store"

_LIVE = """(
  WITH listed AS (
    SELECT file,
           split_part(parse_filename(file, true), '-', 1)::INTEGER AS level,
           split_part(parse_filename(file, true), '-', 3)::BIGINT AS last
    FROM glob({pattern}))
  SELECT file FROM listed
  WHERE last > (SELECT merged_through FROM {schema}.watermark)
    AND last > coalesce((SELECT max(h.last) FROM listed h WHERE h.level > listed.level), 0))"""


def view_sql(table: TableSpec, tail: Path | None) -> str:
    """CREATE VIEW for one table, with its tail or (None) of the file alone."""
    merged = f"SELECT {table.names} FROM {SCHEMA}.{table.name}"
    head = f"CREATE OR REPLACE VIEW main.{table.name} AS {merged}"
    if tail is None:
        return head
    pattern = sql_text(tail / table.name / "*.parquet")
    counted = _LIVE.format(pattern=pattern, schema=SCHEMA)
    columns = ", ".join(f"segment.{column.quoted}" for column in table.columns)
    # union_by_name opens the files while binding: their statistics then spare most of them from being read.
    return (
        f"{head} UNION ALL SELECT {columns} FROM {counted} AS counted"
        f" JOIN read_parquet({pattern}, filename = true, union_by_name = true) AS segment"
        " ON segment.filename = counted.file"
    )


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
