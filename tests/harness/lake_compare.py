"""Compares a lake of Delta tables in a folder with the DuckDB file from which it was sent, row by row."""

from pathlib import Path

import duckdb
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError

from actors.store.tables import TABLES


def differences(file: Path, lake: Path) -> dict[str, int]:
    """How many rows of each table only one of both has, or has more often; a table that is missing has no rows.

    The file must be free. Every table of the file is compared, but not rows without a batch.
    """
    found = {}
    with duckdb.connect(file, read_only=True) as con:
        con.execute("SET TimeZone = 'UTC'")
        for table in TABLES:
            columns = ", ".join(f"{column.quoted}::VARCHAR" for column in table.columns)
            ours = f"SELECT {columns} FROM store.{table.name}"
            paths = _paths(lake / table.name)
            theirs = (
                f"SELECT {columns} FROM read_parquet({paths}, hive_partitioning = true, hive_types_autocast = 0)"
            )
            if not paths:
                theirs = f"{ours} WHERE false"
            ((count,),) = con.execute(
                f"SELECT count(*) FROM (({ours} EXCEPT ALL {theirs}) UNION ALL ({theirs} EXCEPT ALL {ours}))"
            ).fetchall()
            found[table.name] = count
    return found


def rows(file: Path) -> dict[str, int]:
    """How many rows each table of the file has."""
    with duckdb.connect(file, read_only=True) as con:
        return {
            table.name: con.execute(f"SELECT count(*) FROM store.{table.name}").fetchall()[0][0] for table in TABLES
        }


def ticks_of(lake: Path) -> int:
    """How many ticks the lake has now."""
    try:
        return int(DeltaTable(lake / "ticks").count())
    except TableNotFoundError:
        return 0


def _paths(table: Path) -> list[str]:
    try:
        return DeltaTable(table).file_uris()
    except TableNotFoundError:
        return []
