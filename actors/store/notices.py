"""The notices of the store: what an operator has to know about it."""

from datetime import datetime
from pathlib import Path

from actors.sink.sink import Notice
from actors.store.acknowledged import Vanished


def migrated(path: Path, before: int, now: int) -> Notice:
    """The file came from an older version."""
    words = f"{path.name} followed version {before} of the schema; it now follows {now}"
    return Notice("store_migrated", words, {"from": before, "to": now})


def tail_missing(path: Path, there: Path, here: Path) -> Notice:
    """The file came without the tail that its views reached into."""
    still = " (it is still there, untouched)" if there != here and there.is_dir() else ""
    return Notice(
        "store_tail_missing",
        f"{path.name} was not closed by a clean stop and is here without its tail {there}"
        f"{still}: what had not been merged by then is missing, and how much cannot be told",
        {"tail": str(there)},
        alarm=True,
    )


def vanished(found: Vanished) -> Notice:
    """Rows that were durable are gone from the tail."""
    words = ", ".join(f"{count} of {table}" for table, count in sorted(found.rows.items()))
    return Notice(
        "segments_vanished",
        f"segments that were not merged yet are gone from the tail: {words} rows of the batches {found.first} to"
        f" {found.last} (deleted by a person or a program, or lost by the disk); {len(found.gaps)} gaps say where",
        {"rows": found.rows, "first_batch": found.first, "last_batch": found.last, "gaps": len(found.gaps)},
        found.gaps,
        alarm=True,
    )


def locked_at_start(path: Path, pid: int | None, since: datetime) -> Notice:
    """Somebody opened the file while it was complete by itself; its views can not be changed under them."""
    who = f"process {pid}" if pid else "another process"
    return Notice(
        "store_held_at_start",
        f"{who} opened {path.name} before the service started, which could not prepare it: programs that open it"
        f" see no rows newer than {since:%Y-%m-%d %H:%M:%S} UTC until {who} closes it. 'tickwarden query',"
        " 'gaps', 'coverage' and 'export' see them all the same",
        {"since": since.isoformat(), "pid": pid},
    )
