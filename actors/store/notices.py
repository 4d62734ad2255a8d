"""The store's messages to the operator."""

from datetime import datetime
from pathlib import Path

from actors.sink.sink import Notice
from actors.store.acknowledged import Vanished


def migrated(path: Path, before: int, now: int) -> Notice:
    """The file was upgraded from an older version."""
    reason = f"{path.name} was upgraded from schema version {before} to {now}"
    return Notice("store_migrated", reason, {"from": before, "to": now})


def tail_missing(path: Path, there: Path, here: Path) -> Notice:
    """The file was found without the tail that its views reached into."""
    still = " (which still exists, unchanged)" if there != here and there.is_dir() else ""
    return Notice(
        "store_tail_missing",
        f"{path.name} was not closed by a clean stop and was found without its tail {there}"
        f"{still}: rows not merged by then are missing; their number is unknown",
        {"tail": str(there)},
        alarm=True,
    )


def vanished(found: Vanished) -> Notice:
    """Durable rows were lost from the tail."""
    counts = ", ".join(f"{count} of {table}" for table, count in sorted(found.rows.items()))
    return Notice(
        "segments_vanished",
        f"unmerged segments are missing from the tail, or damaged: {counts} rows of the batches {found.first} to"
        f" {found.last} (by a person, a program or the disk); {len(found.gaps)} gaps record where",
        {"rows": found.rows, "first_batch": found.first, "last_batch": found.last, "gaps": len(found.gaps)},
        found.gaps,
        alarm=True,
    )


def locked_at_start(path: Path, pid: int | None, since: datetime) -> Notice:
    """Another process opened the file while it was complete by itself; its views cannot be changed meanwhile."""
    who = f"process {pid}" if pid else "another process"
    return Notice(
        "store_held_at_start",
        f"{who} opened {path.name} before the service started, so it could not be prepared: programs that open it"
        f" see no rows newer than {since:%Y-%m-%d %H:%M:%S} UTC until {who} closes it. 'tickwarden query',"
        " 'gaps', 'coverage' and 'export' see these rows",
        {"since": since.isoformat(), "pid": pid},
    )
