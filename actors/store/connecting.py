"""Opens DuckDB connections and transactions, always with limits of memory and threads; the only place that does.

Data beyond the memory limit is spilled to a folder of the database's own: two databases that share one overwrite
each other's files.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import duckdb
from msgspec import Struct

MEMORY = ":memory:"
JOINS_MAX = 3  # times that a checkpoint joins row groups which are not full; each rewrites up to three full ones


class Limits(Struct, frozen=True):
    """The resources of one database; `memory` in DuckDB's notation, such as "512MB"."""

    memory: str
    spill: Path
    threads: int = 1


def service_limits(store: Path, memory: str, label: str) -> Limits:
    """The limits of a database that the service opens besides its file; `label` distinguishes them."""
    return Limits(memory, store.with_name(f"{store.name}.spill-{label}"))


def command_limits() -> Limits:
    """The limits of a command run beside the service: all cores, and half of the machine's memory."""
    half = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    spill = Path(tempfile.gettempdir()) / f"tickwarden-spill-{os.getpid()}"
    return Limits(f"{half // 1_000_000}MB", spill, os.cpu_count() or 1)


def connect(
    database: str | Path, limits: Limits, *, read_only: bool = False, storage_version: str | None = None
) -> duckdb.DuckDBPyConnection:
    """Opens a file, or MEMORY. Raises duckdb.Error."""
    config: dict[str, str | bool | int | float | list[str]] = {
        "threads": limits.threads,
        "async_threads": limits.threads,  # for files on the network; DuckDB would start 8 for each database
        "max_vacuum_tasks": JOINS_MAX,
        "memory_limit": limits.memory,
        "temp_directory": str(limits.spill),
    }
    if storage_version is not None:
        config["storage_compatibility_version"] = storage_version
    return duckdb.connect(str(database), read_only=read_only, config=config)


def storage_of(con: duckdb.DuckDBPyConnection) -> str:
    """The storage version of an open file, "" if DuckDB does not report it."""
    row = con.execute(
        "SELECT tags['storage_version'] FROM duckdb_databases() WHERE database_name = current_database()"
    ).fetchone()
    found = str(row[0] if row else "").split("+")[0].split(" ")[0]
    return found if found.startswith("v") else ""


def other_storage(con: duckdb.DuckDBPyConnection, wanted: str) -> str:
    """The storage version of an open file if it is not the wanted one, else "".

    A file keeps the one it was created with, and DuckDB ignores a request for another.
    """
    found = storage_of(con)
    return "" if wanted == "latest" or found.split(".")[:2] == wanted.split(".")[:2] else found


@contextmanager
def transaction(con: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Commits what the block does, or rolls it all back if the block or the commit fails."""
    con.execute("BEGIN")
    try:
        yield
        con.execute("COMMIT")
    except BaseException:
        with suppress(duckdb.Error):  # after a failed COMMIT or a fatal error there is no transaction
            con.execute("ROLLBACK")
        raise


def clear_spill(store: Path) -> None:
    """Deletes the spill files of an earlier, killed process; called when the service starts."""
    for folder in store.parent.glob(f"{store.name}.spill-*"):
        if folder.is_dir() and not folder.is_symlink():
            for left in folder.glob("duckdb_temp_*"):
                left.unlink(missing_ok=True)
            if not any(folder.iterdir()):
                folder.rmdir()
