"""Reads the tail that lies beside an open DuckDB file, where the file's own views do not reach it.

The views name the tail by its path when the service last had the file to itself. Under another mount, after a move,
or while a process that opened the file before the service started prevents its preparation, they name another
folder, or none. Other programs then get an error (in the last case: old rows, which health reports). This module
looks for the tail beside the file, and uses it if it belongs to the file.
"""

from collections.abc import Iterable
from pathlib import Path

import duckdb
from msgspec import Struct

from actors.model.records import AUDIT, FEEDS, GAP_STATES
from actors.model.schema import Column, Schema
from actors.model.ticks import TICKS
from actors.store.identity import Identity, read_identity
from actors.store.tables import TABLES
from actors.store.views import SCHEMA, extra_view_sql, recorded_tail, select_sql

OLDEST = (TICKS, GAP_STATES, FEEDS, AUDIT)  # tables of every version, on which the views stand


class Owner(Struct, frozen=True):
    """What a file says about itself: its id (None: older version), its watermark, and the tail of its views."""

    store_id: str | None
    merged_through: int
    tail: Path | None


def tail_of(path: Path) -> Path:
    """The folder of a file's tail."""
    path = path.resolve()
    return path.with_name(path.name + ".tail")


def owner_of(con: duckdb.DuckDBPyConnection, database: str | None = None) -> Owner | None:
    """What the open file says about itself; None if it is not one of ours."""
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
    """The tail beside the file if it belongs to it: read together, they are complete."""
    beside = tail_of(path)
    identity = _identity_of(beside)
    if identity is None:  # of an older version, without ids
        return beside if owner.store_id is None and owner.tail is not None and beside.is_dir() else None
    return beside if _fits(identity, owner) else None


def _identity_of(tail: Path) -> Identity | None:
    try:
        return read_identity(tail)
    except OSError:  # of another user: no tail that can be read
        return None


class TailMissing(Exception):
    """The newest rows of a file cannot be found; the message is for users."""


def usable_tail(path: Path, owner: Owner) -> Path | None:
    """The tail to read with a file, None if it is complete by itself. Raises TailMissing."""
    # A file moved together with its tail names the old folder until a service starts on it.
    found = fitting_tail(path, owner)
    if found is not None or owner.tail is None:
        return found
    identity = _identity_of(owner.tail)
    if owner.tail.is_dir() and (owner.store_id is None if identity is None else _fits(identity, owner)):
        return owner.tail
    beside = tail_of(path)
    places = f"neither {beside} nor {owner.tail}" if beside != owner.tail else f"not {beside}"
    raise TailMissing(
        f"{path} was not closed by a clean stop: its newest rows are in a tail, and that is {places} (which may be"
        " gone, belong to another file, or be newer than this copy). Put the tail back beside the file, copy the"
        " original with 'tickwarden export', or start the service on this file once, which goes on without them."
    )


def _fits(identity: Identity, owner: Owner) -> bool:
    return identity.fits(owner.store_id, owner.merged_through)


def reach(con: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Covers the views of the open file with temporary ones, if they do not reach the tail that belongs to it, or
    if the file is of an older version: the columns that it lacks are then NULL.

    Raises TailMissing; the file's own views are unchanged then, and raise an error when queried.
    """
    owner = owner_of(con)
    tail = usable_tail(path, owner) if owner else None
    moved = tail if owner is not None and owner.tail != tail else None
    lacking = lacking_columns(con)
    if moved is None and not lacking:
        return
    merged = _tables(con, None)
    (database,) = con.execute("SELECT current_database()").fetchone() or ("",)
    for table in TABLES:
        missing = lacking.get(table.name, ())
        if moved is not None and (moved / table.name).is_dir():
            known = Schema(table.name, tuple(column for column in table.columns if column not in missing))
            schema = SCHEMA if table.name in merged else None
            source = f"({select_sql(known, moved, merged=schema, checked=False)})"
        elif missing:
            source = f'"{database}".main.{table.name}'
        else:
            continue
        con.execute(f"CREATE OR REPLACE TEMP VIEW {table.name} AS SELECT *{null_columns(missing)} FROM {source}")
    for statement in extra_view_sql("TEMP VIEW "):
        con.execute(statement)


def lacking_columns(con: duckdb.DuckDBPyConnection, database: str | None = None) -> dict[str, list[Column]]:
    """The columns that a file of an older version lacks, by table; {} for any other file."""
    rows = con.execute(
        "SELECT table_name, list(column_name) FROM duckdb_columns()"
        " WHERE database_name = coalesce(?, current_database()) AND schema_name = 'main' GROUP BY ALL",
        [database],
    ).fetchall()
    found = {name: set(columns) for name, columns in rows}
    if "schema_version" not in found or not {table.name for table in OLDEST} <= found.keys():
        return {}
    lacking = {
        table.name: [column for column in table.columns if column.name not in found[table.name]]
        for table in TABLES
        if table.name in found
    }
    return {name: columns for name, columns in lacking.items() if columns}


def null_columns(missing: Iterable[Column]) -> str:
    """SQL of these columns, all NULL, to follow others in a SELECT."""
    return "".join(f", NULL::{column.kind.sql} AS {column.quoted}" for column in missing)


def _tables(con: duckdb.DuckDBPyConnection, database: str | None) -> set[str]:
    rows = con.execute(
        "SELECT table_name FROM duckdb_tables() WHERE database_name = coalesce(?, current_database())"
        " AND schema_name = ?",
        [database, SCHEMA],
    ).fetchall()
    return {name for (name,) in rows}
