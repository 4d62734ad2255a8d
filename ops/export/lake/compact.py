"""`tickwarden lake compact`: rewrites the closed days of a lake, joins small files, deletes what nobody needs.

In this order, each in transactions of its own. A run that is killed or repeated, or beside recorders that send,
changes nothing that was right:

  1  the ticks of each closed day and exchange (compact_ticks)
  2  the coverage of the tape on these days (compact_coverage)
  3  the small files of the other tables (delta-rs' optimize: the same rows in fewer files)
  4  files that were replaced longer ago than the retention are deleted (vacuum)

A day is closed an hour after its end, when recorders have sent all but late rows.

Two runs that join the same files at once would leave each row twice: delta-rs 1.6 takes both commits. In a folder
one waits for the other; an object store has no lock, and the documentation asks for one run at a time.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from actors.model.records import FEEDS
from actors.model.ticks import TICKS
from actors.sink.lake.durability import folder_of
from actors.sink.lake.options import secrets
from actors.sink.lake.tables import TABLES
from ops.export.lake.compact_coverage import store_coverage
from ops.export.lake.compact_tables import COMPACTING, COMPACTIONS, COVERAGE, LakeChanged, LakeFolder, keep_order
from ops.export.lake.compact_ticks import How, Part, compact_part, is_compacted, parts_of
from ops.export.lake.opening import compactions, engine_errors, open_lake
from ops.export.query import QueryError
from ops.export.target import ExportError

if TYPE_CHECKING:
    from deltalake import CommitProperties, DeltaTable

CLOSED_AFTER_S = 3600.0
# A reader that opened a version of a table finds its files for this long after they were replaced.
KEEP_HOURS = 168
KEEP_HOURS_MAX = 168  # beyond a week, a table's log does not remember when a file was replaced
# Begins the name of each file of rows that delta-rs writes; hidden ones are what file systems and tools leave.
_DELTA_FILE = "part-"
_OTHERS = (*(name for name in TABLES if name != TICKS.name), COMPACTIONS.name, COVERAGE.name)


@dataclass(frozen=True, slots=True)
class Days:
    """Which closed days: one, those before one, or all; of one exchange or of all."""

    day: date | None = None
    before: date | None = None
    exchange: str | None = None
    closed_after_s: float = CLOSED_AFTER_S
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def last(self) -> date:
        """The newest day that is closed."""
        return (self.now - timedelta(seconds=self.closed_after_s)).date() - timedelta(days=1)

    def contain(self, day: date) -> bool:
        """Is the day one of them?"""
        if self.day is not None:
            return day == self.day <= self.last
        return day <= self.last and (self.before is None or day < self.before)

    def select(self, parts: list[Part]) -> list[Part]:
        """Those of the parts that are of these days and of this exchange."""
        return [one for one in parts if self.contain(one.day) and self.exchange in (None, one.exchange)]


@dataclass(frozen=True, slots=True)
class Done:
    """What happened to one part of a table: its rows, files and bytes before and after; `problem` if it failed."""

    table: str
    exchange: str | None
    day: date | None
    action: str  # compacted, joined, stored, deleted; with "would be " before it nothing was done
    rows_before: int = 0
    rows: int = 0
    files_before: int = 0
    files: int = 0
    bytes_before: int = 0
    bytes: int = 0
    problem: str = ""


def compact(
    lake: LakeFolder,
    days: Days,
    how: How,
    *,
    keep_hours: int = KEEP_HOURS,
    join_open: bool = False,
    dry_run: bool = False,
) -> Iterator[Done]:
    """Compacts these days; yields each step when it is done, with what failed among them.

    With `join_open` the small files of days that are not closed are joined, too. Raises QueryError if there is no
    such lake, or the day is not closed.
    """
    if days.day is not None and not days.contain(days.day):
        raise QueryError(f"{days.day} is not closed: the newest day that is, is {days.last}")
    assert 1 <= keep_hours <= KEEP_HOURS_MAX
    with suppress(ImportError):  # open_lake says so
        keep_order()
    opened = open_lake(lake.uri, lake.options)
    ticks, lasts = opened.tables.get(TICKS.name), compactions(opened)
    for part in [] if ticks is None else days.select(parts_of(ticks)):
        if is_compacted(part, lasts):
            continue
        if dry_run:
            yield _done(TICKS.name, part, part, "would be compacted")
        else:
            yield from _compacted(lake, part, how)
    yield from _covered(lake, days, how, dry_run=dry_run)
    for name in (*((TICKS.name,) if join_open else ()), *_OTHERS):
        with nullcontext() if dry_run else _joining(lake):
            yield from _joined(lake, name, days, join_open=join_open, dry_run=dry_run)
    for name in (*TABLES, COMPACTIONS.name, COVERAGE.name):
        yield from _deleted(lake, name, keep_hours, dry_run=dry_run)


def _compacted(lake: LakeFolder, part: Part, how: How) -> Iterator[Done]:
    try:
        after = compact_part(lake, part, how)
    except QueryError as error:
        yield Done(TICKS.name, part.exchange, part.day, "failed", problem=str(error))
        return
    if after is not None:
        yield _done(TICKS.name, part, after, "compacted")


def _done(table: str, before: Part, after: Part, action: str) -> Done:
    return Done(
        table,
        before.exchange,
        before.day,
        action,
        before.rows,
        after.rows,
        before.files,
        after.files,
        before.bytes,
        after.bytes,
    )


def _covered(lake: LakeFolder, days: Days, how: How, *, dry_run: bool) -> Iterator[Done]:
    """Stores the coverage of these days, from the first that the lake has rows of."""
    try:
        feeds = lake.table(FEEDS.name)
        known = [] if feeds is None else sorted({part.day for part in parts_of(feeds)})
        count = (days.last - known[0]).days + 1 if known else 0
        chosen = [day for day in (known[0] + timedelta(days=n) for n in range(count)) if days.contain(day)]
        with engine_errors(secrets(lake.options)):
            for day, rows in store_coverage(lake, chosen, days.exchange, how.dialects, dry_run=dry_run):
                yield Done(COVERAGE.name, days.exchange, day, "would be stored" if dry_run else "stored", rows=rows)
    except LakeChanged:
        return  # another run stores it
    except (QueryError, ExportError, OSError) as error:  # or it has no room for a temporary file
        yield Done(COVERAGE.name, None, None, "failed", problem=str(error))


@contextmanager
def _joining(lake: LakeFolder) -> Iterator[None]:
    """Keeps other runs on this folder from joining files meanwhile; does nothing where the system has no lock."""
    folder = folder_of(lake.uri)
    if folder is None:
        yield
        return
    opened = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(opened, fcntl.LOCK_EX)
        yield
    finally:
        os.close(opened)


def _joined(lake: LakeFolder, name: str, days: Days, *, join_open: bool, dry_run: bool) -> Iterator[Done]:
    """Joins the small files of a table, one partition after the other."""
    try:
        table = lake.table(name)
        parts = [] if table is None else parts_of(table)
        for part in parts:
            closed = name != TICKS.name and days.contain(part.day)  # compacted ticks have no small files
            ours = (closed or (join_open and part.day > days.last)) and days.exchange in (None, part.exchange)
            if not ours or part.files < 2:
                continue
            if dry_run:
                yield Done(name, part.exchange, part.day, "would be joined", part.rows, part.rows, part.files, 1)
                continue
            where = [("day", "=", part.day.isoformat())]
            if part.exchange is not None:
                where.insert(0, ("exchange", "=", part.exchange))
            fresh = lake.table(name)
            if fresh is None:
                return
            found = lake.commit(name, fresh, (COMPACTING, time.time_ns()), partial(_optimize, fresh, where))
            left = part.files - found["numFilesRemoved"] + found["numFilesAdded"]
            if found["numFilesRemoved"]:
                yield Done(name, part.exchange, part.day, "joined", part.rows, part.rows, part.files, left)
    except LakeChanged:
        return  # the next run joins them
    except QueryError as error:
        yield Done(name, None, None, "failed", problem=str(error))


def _optimize(table: "DeltaTable", where: Any, properties: "CommitProperties") -> dict[str, Any]:
    return table.optimize.compact(partition_filters=where, commit_properties=properties)


def _deleted(lake: LakeFolder, name: str, keep_hours: int, *, dry_run: bool) -> Iterator[Done]:
    """Deletes the files of a table that no version of the last `keep_hours` has, and those of killed writers.

    Deletes nothing where one of them has another name than delta-rs gives: it was put into the lake by mistake.
    """
    try:
        table = lake.table(name)
        if table is None:
            return
        vacuum = partial(table.vacuum, keep_hours, enforce_retention_duration=False, full=True)
        with lake.errors():
            paths = vacuum(dry_run=True)
            strange = [path for path in paths if not path.rpartition("/")[2].startswith((_DELTA_FILE, "."))]
            if paths and not strange and not dry_run:
                paths = vacuum(dry_run=False)
    except LakeChanged:
        return
    except QueryError as error:
        yield Done(name, None, None, "failed", problem=str(error))
        return
    if strange:
        problem = (
            f"nothing of {name} is deleted: {len(strange)} files there are not the lake's, such as"
            f" {name}/{strange[0]}; move them to another folder"
        )
        yield Done(name, None, None, "failed", problem=problem)
    elif paths:
        yield Done(name, None, None, "would be deleted" if dry_run else "deleted", files_before=len(paths))
