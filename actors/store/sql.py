"""SQL text: string literals, digits of decimals, and reading segments from their files."""

from collections.abc import Sequence
from pathlib import Path

# DuckDB fails on a folder without any file, so each folder of segments contains this one, without rows.
EMPTY_NAME = "empty.parquet"


def sql_text(value: str | Path) -> str:
    """A string literal: COPY, read_parquet in a view and ATTACH take no bound parameters."""
    return "'" + str(value).replace("'", "''") + "'"


def digits(column: str) -> str:
    """SQL for a DECIMAL(38,18) as text, less the zeros at the end; rtrim() twice takes more than twice the time."""
    return rf"regexp_replace({column}::VARCHAR, '\.?0+$', '')"


def parquet(paths: Sequence[Path]) -> str:
    """SQL that reads these files of one folder, and reads no part of their path ("/data/symbol=x/") as a column.

    The folder's empty segment, which is of this version, supplies the columns that older ones lack: they are NULL.
    """
    empty = paths[0].with_name(EMPTY_NAME)
    listed = ", ".join(sql_text(path) for path in ([empty, *paths] if empty.exists() else paths))
    return f"read_parquet([{listed}], hive_partitioning = false, union_by_name = true)"
