"""SQL text: string literals, digits of decimals, and reading segments from their files."""

from collections.abc import Sequence
from pathlib import Path

from actors.store.tables import BATCH

# DuckDB fails on a folder without any file, so each folder of segments contains this one, without rows.
EMPTY_NAME = "empty.parquet"


def sql_text(value: str | Path) -> str:
    """A string literal: COPY, read_parquet in a view and ATTACH take no bound parameters."""
    return "'" + str(value).replace("'", "''") + "'"


def digits(column: str) -> str:
    """SQL for a DECIMAL(38,18) as text, less the zeros at the end; rtrim() twice takes more than twice the time."""
    return rf"regexp_replace({column}::VARCHAR, '\.?0+$', '')"


def parquet(paths: Sequence[Path], *, filename: bool = False) -> str:
    """SQL that reads these files of one folder, and reads no part of their path ("/data/symbol=x/") as a column.

    The folder's empty segment, which is of this version, supplies the columns that older ones lack: they are NULL.
    """
    empty = paths[0].with_name(EMPTY_NAME)
    listed = ", ".join(map(sql_text, [empty, *paths] if empty.exists() else paths))
    options = "hive_partitioning = false, union_by_name = true" + ", filename = true" * filename
    return f"read_parquet([{listed}], {options})"


def numbered(names: str, paths: Sequence[Path]) -> str:
    """SELECT of these columns of segments, and `batch`: the number of the batch that a row came with.

    The name of a segment of one batch says it, and joined segments have the column. Those joined by an older
    version lack it: their rows count as of the last batch, so that they have the same number in tail and file, and
    are read by batch as well.
    """
    last = "TRY_CAST(split_part(parse_filename(filename, true), '-', 3) AS BIGINT)"
    read = f"SELECT * FROM {parquet(paths, filename=True)}"
    return (
        f"SELECT {names}, coalesce({BATCH}, {last}) AS {BATCH}"
        f" FROM ({read} UNION ALL BY NAME SELECT NULL::BIGINT AS {BATCH} WHERE false)"
    )
