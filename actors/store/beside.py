"""Makes the tables of an open file reach into the tail that lies beside it, where the file's own views do not.

They name the tail by its path at the time the service last had the file to itself. Seen under another mount, after a
move, or while a process that opened the file before the service started keeps it from being prepared, they name
another place, or none. Another program then gets an error (or old rows, in the last case, of which health speaks); here
the tail beside the file is looked at, and taken if it belongs to the file.
"""

from dataclasses import dataclass
from pathlib import Path

import duckdb

from actors.store.identity import read_identity
from actors.store.tables import TABLES
from actors.store.views import SCHEMA, extra_view_sql, recorded_tail, select_sql


@dataclass(frozen=True, slots=True)
class Owner:
    """What a file says of itself: its id (None: of an older version), its watermark, and the tail of its views."""

    store_id: str | None
    merged_through: int
    tail: Path | None


def tail_of(path: Path) -> Path:
    """Where the tail of a file lies."""
    path = path.resolve()
    return path.with_name(path.name + ".tail")


def owner_of(con: duckdb.DuckDBPyConnection, database: str | None = None) -> Owner | None:
    """What the open file says of itself; None if it is none of ours."""
    schema = SCHEMA if database is None else f"{database}.{SCHEMA}"
    tables = _tables(con, database)
    if "watermark" not in tables:
        return None
    store_id = None
    if "identity" in tables:
        row = con.execute(f"SELECT max(store_id) FROM {schema}.identity").fetchone()
        store_id = row[0] if row else None
    row = con.execute(f"SELECT max(merged_through) FROM {schema}.watermark").fetchone()
    return Owner(store_id, int(row[0]) if row and row[0] is not None else 0, recorded_tail(con, database))


def fitting_tail(path: Path, owner: Owner) -> Path | None:
    """The tail beside the file if it belongs to it: what is read together with it then lacks nothing."""
    beside = tail_of(path)
    identity = read_identity(beside)
    if identity is None:  # of an older version, which knew no ids
        return beside if owner.store_id is None and owner.tail is not None and beside.is_dir() else None
    return beside if identity.fits(owner.store_id, owner.merged_through) else None


def reach(con: duckdb.DuckDBPyConnection, path: Path) -> Path | None:
    """Puts temporary views in front of those of the open file, if they do not reach the tail beside it.

    Returns that tail, None where the file's own views are left to do.
    """
    owner = owner_of(con)
    tail = fitting_tail(path, owner) if owner else None
    if tail is None or owner is None or owner.tail == tail:
        return None
    merged = _tables(con, None)
    for table in TABLES:
        if (tail / table.name).is_dir():
            select = select_sql(table, tail, merged=SCHEMA if table.name in merged else None, checked=False)
            con.execute(f"CREATE OR REPLACE TEMP VIEW {table.name} AS {select}")
    for statement in extra_view_sql("TEMP VIEW "):
        con.execute(statement)
    return tail


def _tables(con: duckdb.DuckDBPyConnection, database: str | None) -> set[str]:
    rows = con.execute(
        "SELECT table_name FROM duckdb_tables() WHERE database_name = coalesce(?, current_database())"
        " AND schema_name = ?",
        [database, SCHEMA],
    ).fetchall()
    return {name for (name,) in rows}


