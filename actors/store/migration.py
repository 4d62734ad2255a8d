"""Brings a file of an older version of the schema up to date, one version after the other.

Segments that an older version wrote need nothing: where they are read, a column that they lack is NULL.
"""

from collections.abc import Mapping, Sequence

import duckdb

from actors.store.tables import TABLES

# What makes version N + 1 of version N, by N; version 1 was the first. A table's name is store.NAME here. The
# views are gone while these run and are created again afterwards.
STEPS: Mapping[int, Sequence[str]] = {
    1: (
        'CREATE TABLE store.lags ("at" TIMESTAMPTZ, exchange VARCHAR, samples BIGINT, p50_ms DOUBLE, p99_ms DOUBLE,'
        " min_ms DOUBLE, max_ms DOUBLE, negative BIGINT, run_id VARCHAR)",
    ),
    2: (
        "CREATE TABLE IF NOT EXISTS store.identity (store_id VARCHAR NOT NULL)",
    ),  # filled in when the file is adopted
    3: (
        "CREATE TABLE store.instruments (exchange VARCHAR, symbol VARCHAR, native_symbol VARCHAR, kind VARCHAR,"
        " base VARCHAR, quote VARCHAR, settle VARCHAR, volume_unit VARCHAR, contract_size DECIMAL(38,18),"
        " price_step DECIMAL(38,18), volume_step DECIMAL(38,18), active BOOLEAN, seen_at TIMESTAMPTZ,"
        " price_scale BIGINT, volume_scale BIGINT)",
    ),
}


class NoWayUp(Exception):
    """The file follows a version that no step starts from."""


def migrate(
    con: duckdb.DuckDBPyConnection,
    found: int,
    wanted: int,
    steps: Mapping[int, Sequence[str]],
) -> None:
    """From version `found` to `wanted`, within the caller's transaction; raises NoWayUp before it does anything."""
    missing = [version for version in range(found, wanted) if version not in steps]
    if missing:
        raise NoWayUp(
            f"version {found} of the schema cannot be brought to {wanted}: nothing leads on from {missing[0]}"
        )
    if found == wanted:
        return
    for table in TABLES:
        con.execute(f"DROP VIEW IF EXISTS main.{table.name}")
    for version in range(found, wanted):
        for statement in steps[version]:
            con.execute(statement)
    con.execute("UPDATE main.schema_version SET version = ?", [wanted])
