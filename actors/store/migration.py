"""Upgrades a file of an older schema version, one version after the other.

Segments of an older version need no upgrade: when they are read, a column that they lack is NULL.
"""

from collections.abc import Mapping, Sequence

import duckdb

from actors.store.tables import BATCH, TABLES

# The steps from version N to N + 1, by N; version 1 was the first. A table's name is store.NAME here. The
# views are dropped before these run and are created again afterwards.
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
    4: (
        "ALTER TABLE store.feeds ADD COLUMN until TIMESTAMPTZ",
        "ALTER TABLE store.feeds ADD COLUMN proof VARCHAR",
    ),
    # Constant time: DuckDB stores the NULLs of a new column as one constant for each row group.
    5: tuple(f"ALTER TABLE store.{table.name} ADD COLUMN {BATCH} BIGINT" for table in TABLES),
}


class NoWayUp(Exception):
    """No migration step starts from the file's version."""


def migrate(
    con: duckdb.DuckDBPyConnection,
    found: int,
    wanted: int,
    steps: Mapping[int, Sequence[str]],
) -> None:
    """Upgrades from version `found` to `wanted`, within the caller's transaction; raises NoWayUp before it changes
    anything.
    """
    missing = [version for version in range(found, wanted) if version not in steps]
    if missing:
        raise NoWayUp(f"schema version {found} cannot be upgraded to {wanted}: there is no step from {missing[0]}")
    if found == wanted:
        return
    for table in TABLES:
        con.execute(f"DROP VIEW IF EXISTS main.{table.name}")
    for version in range(found, wanted):
        for statement in steps[version]:
            con.execute(statement)
    con.execute("UPDATE main.schema_version SET version = ?", [wanted])
