"""The store: the sink that keeps batches in an immutable tail and merges them into one DuckDB file. All calls
block.

`write` belongs to one thread and everything else to another. They share only the tail's folders, to which `write`
adds files, and from which `merge` and `compact` remove them.
"""

import os
import re
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import duckdb
from msgspec.structs import replace

from actors.model.batch import Batch
from actors.model.errors import DatabaseLocked
from actors.model.ticks import TICKS
from actors.settings import DEFAULT_LIMITS, StoreLimits, StoreSettings
from actors.sink.lake.lake import Batches
from actors.sink.sink import Filtered, Merged, Notice, Retained
from actors.store.acknowledged import Acknowledged
from actors.store.adjacent_tail import Owner, owner_of, tail_of
from actors.store.archive import ArchiveWrong
from actors.store.batch_filter import filter_batch
from actors.store.compaction import Compaction
from actors.store.connecting import clear_spill, service_limits
from actors.store.database import DuckFile, FileDamaged, FileRefused, FileTrouble
from actors.store.disk_full import disk_trouble
from actors.store.filesystem import Files
from actors.store.foreign import ambiguous
from actors.store.identity import Identity, lineage, new_id, read_identity
from actors.store.lock import StoreTaken
from actors.store.manifest import Entry, Manifest
from actors.store.migration import STEPS
from actors.store.notices import locked_at_start, migrated, tail_missing, vanished
from actors.store.quarantine import VERIFY_BYTES_MAX, Quarantine
from actors.store.retention import Retention
from actors.store.segments import SegmentWriter
from actors.store.shipping import Request, Shipping
from actors.store.tables import SCHEMA_VERSION, TABLES
from actors.store.tail import JOURNAL_NAME, Tail, committed, plan
from actors.store.views import SCHEMA

T = TypeVar("T")
AHEAD_US = 100 * 365 * 86_400 * 10**6  # no clock is ever so far ahead
DAMAGES_MAX = 3  # that a start sets aside at once: the write-ahead log, segments, the file

_TRANSIENT = (
    OSError,
    FileTrouble,
    FileRefused,
    ArchiveWrong,
    duckdb.IOException,
    duckdb.OutOfMemoryException,
    duckdb.FatalException,
)
_PATTERN = re.compile(r"[*?\[\]\\]")


class Store:
    """One DuckDB file and its tail; see actors.sink.sink. `lock` is called for each file that gets the path.

    `migrations` upgrade older schemas. Raises ValueError for a path that DuckDB would read as a pattern, or name as
    the schema of the rows.
    """

    def __init__(
        self,
        settings: StoreSettings,
        files: Files | None = None,
        *,
        limits: StoreLimits = DEFAULT_LIMITS.store,
        lock: Callable[[Path], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
        migrations: Mapping[int, Sequence[str]] = STEPS,
    ) -> None:
        # Two names of one file must not make two tails: the file has only one watermark.
        self.path = settings.path.resolve()
        if _PATTERN.search(str(self.path)):
            raise ValueError(
                f"store.path {self.path} contains one of * ? [ ] \\, which DuckDB reads as a pattern;"
                " choose a path without them"
            )
        if ambiguous(self.path):
            raise ValueError(
                f"store.path {self.path}: DuckDB would confuse it with the schema {SCHEMA} in the file;"
                " choose another name, like ticks.duckdb"
            )
        self.tail = tail_of(self.path)
        self._lock, self._limits = lock, limits
        self._files = files or Files(os.environ.get("TICKWARDEN_CRASH_AT", ""), settings.group)
        self._tail = Tail(self.tail, self._files)
        self._duck = DuckFile(self.path, settings, self.tail, self._files, lock=lock, migrations=migrations)
        flush, upkeep = (service_limits(self.path, settings.memory_limit, label) for label in ("flush", "upkeep"))
        self._segments = SegmentWriter(self._tail, self._files, flush, "flush", limits.noted_ids_rows_max)
        self._upkeep = SegmentWriter(self._tail, self._files, upkeep, "upkeep")
        self._compaction = Compaction(self._tail, self._files, self._upkeep, limits, clock)
        self._quarantine = Quarantine(self._tail, self._files, self._upkeep)
        self._acknowledged = Acknowledged(self.tail / JOURNAL_NAME)
        self._manifest = Manifest(self.tail / "manifest.jsonl", self._files)
        self._retention = Retention(
            settings, self._duck, self._files, self._check, self._manifest.append, limits.retention_rows_max
        )
        shipping = service_limits(self.path, settings.memory_limit, "shipping")
        self._shipping = Shipping(self._duck, self._tail, shipping)
        self._deleted: int | None = None  # the tail has all batches above it
        # Of a lake, if there is one: retention deletes no row of a later batch. 0 while it is unknown.
        self.ship_mark: int | None = None
        self._adopted = False
        self._created = False  # a merge has made the file, and none has reported it yet
        self._missing = ""  # the report of a tail that the file was found without
        self._through = 0
        self._asked = False  # whether the file's watermark has been read since the start, or the last failed merge
        self._started = datetime.now(UTC)
        self.unreached = ""  # why other programs do not see the newest rows, if they do not
        self._numbered = 0  # the last number given
        self.newest = 0  # the newest batch in file and tail, by whichever process
        self.released = True  # another process may have the store, until `start`
        self.notices: deque[Notice] = deque(maxlen=1000)
        # When rows were last stored before this start, according to the file system; 0 if there was no file.
        self.touched_ns = 0
        self.segment_count = 0
        self.segment_bytes = 0

    # -- start and end ------------------------------------------------------------------------------

    def make_folder(self) -> None:
        """Creates the folder of the file, if there is none."""
        self._files.make_folder(self.path.parent)

    def start(self) -> None:
        """Recovers from a crash; recording may begin when it returns. Raises OSError, FileRefused.

        If another process holds the file, its recovery is done by the first merge that gets it. May be called again
        after `release`.
        """
        self._adopted = self._asked = False
        self._deleted = None
        self.make_folder()
        if self.path.exists():
            self._lock(self.path)
            for path in (self.path, self._duck.wal):
                self._files.share(path)
        clear_spill(self.path)
        self.touched_ns = max((p.stat().st_mtime_ns for p in (self.path, self.tail) if p.exists()), default=0)
        self._tail.prepare()
        if not self._tail.recall():
            self._tail.mark(Identity(new_id()))
        self._duck.store_id = self._tail.identity.store_id
        self.notices.extend(self._quarantine.clear_strays())
        self._segments.prepare(replace=True)
        self._manifest.load()
        self._acknowledged.load()
        self._through = self._manifest.last.through if self._manifest.last else 0
        listed = self._tail.listed()
        self.newest = max([self._through, *(s.last for segments in listed.values() for s in segments)])
        self._tail.forget_uncommitted(max(self._through, committed(listed)))
        self.released = False
        self._recover_file()
        self.newest = max(self.newest, self._through)
        # Numbers follow the clock, so that they rise even if file and tail were both lost. A watermark that another
        # process hides may be ahead of it, as an earlier clock may have been.
        hidden = self.path.exists() and not self._asked and self._manifest.last is None
        self._numbered = max(self.newest, time.time_ns() // 1000 + (AHEAD_US if hidden else 0))
        self.notices.extend(self._quarantine.find(self._tail.live(self._through), VERIFY_BYTES_MAX))
        self.measure()

    def _recover_file(self) -> None:
        try:
            for _ in range(DAMAGES_MAX):
                if not self.merge(rows_max=0).backlog or self._adopted:
                    break
        except StoreTaken:
            raise
        except DatabaseLocked:
            pass  # recovered by the first merge that gets it
        except (FileTrouble, OSError, duckdb.Error) as error:
            self.notices.append(Notice("store_file_unavailable", f"{self.path.name}: {error}"))

    def _look_at_locked(self, pid: int | None) -> None:
        """Reads what a locked file says to its readers, and reports it if its views do not reach our tail."""
        owner = self._duck.peek()
        reached = self._tail.identity.settled or self._manifest.last is not None
        if owner is not None:
            self._notice_missing(owner)
            if owner.store_id and not self._tail.identity.settled:  # `beside` finds it by this
                self._tail.mark(replace(self._tail.identity, store_id=owner.store_id))
            self._learn(owner.merged_through)
            reached = owner.tail == self.tail
        if reached:
            self.unreached = ""
        elif not self.unreached:
            self.notices.append(locked_at_start(self.path, pid, self._started))
            self.unreached = self.notices[-1].reason

    def next_number(self) -> int:
        """A number for the next batch, above all before it: in tail and file, and in a lake that has got batches of
        a file of which an older copy was put back.
        """
        self._numbered = 1 + max(self._numbered, self._through, self.ship_mark or 0)
        return self._numbered

    def has_tail_ticks(self) -> bool:
        """Whether ticks are not in the file yet, as the folder of the tail is now."""
        return any(segment.rows for segment in self._tail.live(self._through)[TICKS.name])

    def finish(self, deadline: Callable[[], bool]) -> Merged:
        """Merges everything and makes the file complete by itself; stops early when `deadline()` is true.

        If the file is locked (DatabaseLocked) or the time is up the tail stays, and the next start merges it.
        """
        report = Merged(backlog=True)
        while report.backlog and not deadline():
            report = self.merge()
        if report.backlog:
            return report
        try:
            with self._duck.opened() as con:
                self._check(con)
                left = self._tail.live(self._through).values()
                if any(segment.rows for segments in left for segment in segments):
                    return Merged(backlog=True)
                self._duck.leave(con)
                self._files.crash_point("finish.left")
        except FileDamaged as damaged:
            self._set_damage_aside(damaged)
            return Merged(backlog=True)
        self._deleted = self._through
        self._tail.remove_all()
        self._adopted = False
        self.measure()
        return report

    @property
    def transient(self) -> tuple[type[Exception], ...]:
        """Whether it is an error of a failing disk; any other duckdb.Error is about the data: a bug of ours."""
        return _TRANSIENT

    def describe(self, error: Exception, *, merging: bool = False) -> str:
        """The message of a transient error."""
        place = f"merge into {self.path}" if merging else f"write to {self.tail}"
        return f"cannot {place}: {disk_trouble(error, self.path.parent)}"

    def release(self) -> None:
        """Leaves the store to another process: nothing is written any more, until the next `start`."""
        self.released = True
        self.close()

    def close(self) -> None:
        """Frees memory; the file is not held anyway."""
        self._segments.close()
        self._upkeep.close()
        self._shipping.close()

    # -- the flush ----------------------------------------------------------------------------------

    def write(self, batch: Batch) -> None:
        """Makes the batch durable; raises OSError or duckdb.Error, and may then be called with it again."""
        assert not self.released, "another process records into this store"
        size = self._segments.write_batch(batch)
        self.newest = batch.number
        assert self._segments.written is not None
        self._acknowledged.add(self._segments.written)
        self.segment_count += 1
        self.segment_bytes += size

    @staticmethod
    def filter(batch: Batch) -> Filtered:
        """The batch without rows that cannot be stored."""
        return filter_batch(batch)

    # -- the merge ----------------------------------------------------------------------------------

    def merge(self, rows_max: int | None = None) -> Merged:
        """Merges segments into the file, at most about `rows_max` rows.

        Raises DatabaseLocked, FileTrouble, FileRefused, OSError, duckdb.Error. Damaged segments are set aside; the
        report then says that there is more to do.
        """
        assert not self.released, "another process records into this store"
        rows_max = self._limits.merge_rows_max if rows_max is None else rows_max
        self.notices.extend(self._quarantine.clear_strays())
        if self._asked:
            self._miss_vanished()
        if read_identity(self.tail) is None:
            self._upkeep.prepare()  # somebody has deleted the tail
        if rows_max:  # before the file is locked: this takes time
            self._tail.sync()
            self._verify_segments()
        if not self.path.exists():
            self.notices.extend(self._quarantine.set_wal_aside(self._duck.wal, "its file is missing"))
            self._vouch(0)
        began = time.monotonic()
        try:
            with self._duck.opened() as con:
                self._files.crash_point("merge.opened")
                report, state = self._merge_into(con, rows_max)
        except DatabaseLocked as locked:
            if not self._adopted:
                self._look_at_locked(locked.pid)
            raise
        except FileDamaged as damaged:
            self._set_damage_aside(damaged)
            return Merged(backlog=True)
        except (duckdb.Error, FileTrouble):
            if not self._segments_aside():
                raise
            return Merged(backlog=True)
        finally:
            self._created |= bool(self._duck.created)
        self._files.crash_point("merge.closed")
        locked_s = time.monotonic() - began
        if report.segments:
            self._manifest.append(state)
        self.measure()
        created, self._created = self._created, False
        return replace(report, locked_s=locked_s, created=created)

    def _merge_into(self, con: duckdb.DuckDBPyConnection, rows_max: int) -> tuple[Merged, Entry]:
        if not self._adopted or not self._duck.exists_in(con):
            self._adopt(con)
        state = self._check(con)
        # Nobody else can have the file open now, so no query can be about to read the deleted segments.
        # The rows of the last merge have been closed, reopened and counted since.
        if self._tail.identity.through > state.through or self._tail.holds_merged(state.through):
            self._vouch(state.through)
        self._deleted = self._through
        self._compaction.remove_unneeded(self._through)
        self._files.crash_point("merge.deleted")
        if not rows_max:
            return Merged(), state
        chosen = plan(self._tail.live(self._through), rows_max)
        if not chosen.through:
            return Merged(), state
        paths = {table.name: [self._tail.path(table, s) for s in chosen.segments[table.name]] for table in TABLES}
        self._manifest.begin()
        self._asked = False  # a commit may succeed, and the checkpoint after it fail
        counts = self._duck.merge(con, paths, chosen.through)
        self._through, self._asked = chosen.through, True
        segments = sum(map(len, paths.values()))
        return Merged(rows=chosen.rows, segments=segments, backlog=chosen.more), Entry(chosen.through, counts)

    def _adopt(self, con: duckdb.DuckDBPyConnection) -> None:
        """Makes file and tail one store.

        A tail that was created without the file gives it an id of its own: there may be another tail for the old
        id, where the file was copied from.
        """
        self._retention.forget()
        owner, known = owner_of(con), self._tail.identity
        file_id = owner.store_id if owner else None
        if owner is not None:
            self._notice_missing(owner)
        wanted = known
        if known.settled and file_id not in (None, known.store_id):
            why = f"belongs to another DuckDB file than {self.path.name} and was not merged into it"
            self.notices.extend(self._quarantine.set_all_aside(self._tail.listed(), why))
            wanted = Identity(new_id(file_id))
        elif not known.settled and file_id not in (None, self._duck.created, known.store_id):
            wanted = Identity(new_id(file_id))
        wanted = replace(wanted, through=min(wanted.through, owner.merged_through if owner else 0))
        if wanted != known:
            self._tail.mark(wanted)
        self._duck.store_id = wanted.store_id
        found = self._duck.adopt(con, wanted.store_id)
        if found != SCHEMA_VERSION:
            self.notices.append(migrated(self.path, found, SCHEMA_VERSION))
        if not wanted.settled:
            self._tail.mark(replace(wanted, settled=True))
        self._adopted, self.unreached = True, ""

    def _vouch(self, through: int) -> None:
        """Records in the tail that segments merged up to here may be missing, before they are deleted."""
        self._tail.mark(replace(self._tail.identity, through=through))

    def _check(self, con: duckdb.DuckDBPyConnection) -> Entry:
        """Compares the file with the manifest; reports rows that are missing from both file and tail."""
        state = Entry(self._duck.merged_through(con), self._duck.rows(con))
        self._learn(state.through)
        missing = self._manifest.compare(state, self._tail.listed())
        if missing:
            self.notices.append(missing)
        last = self._manifest.last
        if missing or self._manifest.unsure or last is None or last.through != state.through:
            self._manifest.append(state)
        return state

    def _notice_missing(self, owner: Owner) -> None:
        """Reports a file whose views reach into a tail, while ours is new and was not made for it.

        From what is on the disk, as the first start that finds it so may end early; once, as a start repeats its
        attempts. A file with the id of our tail has been adopted, but the end of that may have failed.
        """
        new = not self._tail.identity.settled and self._manifest.last is None
        ours = (self._tail.identity.store_id, self._duck.created)
        if new and owner.tail is not None and owner.store_id not in ours:
            notice = tail_missing(self.path, owner.tail, self.tail)
            if notice.reason != self._missing:
                self.notices.append(notice)
            self._missing = notice.reason

    def _learn(self, through: int) -> None:
        """Called when the file's watermark has been read."""
        if not self._asked:
            last = self._manifest.last
            listed = self._tail.live(last.through if last else 0)
            if through > max(committed(listed), last.through if last else 0):
                why = f"belongs to another DuckDB file than {self.path.name} and was not merged into it"
                # above the watermark there can only be what a failed write has left of its batch
                older = {name: [s for s in segments if s.first <= through] for name, segments in listed.items()}
                self.notices.extend(self._quarantine.set_all_aside(older, why))
            self._asked, self._through = True, through
            self._miss_vanished()
        self._through = through
        self._acknowledged.settle(through)

    def _miss_vanished(self) -> None:
        """Reports acknowledged batches that are neither merged nor in a sound segment."""
        self._acknowledged.settle(self._through)
        until = self._acknowledged.newest  # before the segments are listed: the writer keeps writing
        found = self._acknowledged.missing(self._tail.listed(), self._through, until)
        if found is not None:
            self.notices.append(vanished(found))

    # -- retention ----------------------------------------------------------------------------------

    def retain(self) -> Retained:
        """Archives and deletes a piece of the rows older than keep_days, if the file is free. Call it after
        `merge`.

        Raises as `merge` does, and ArchiveWrong; file and manifest are intact then, and nothing is lost.
        """
        if not self._adopted:
            return Retained()
        try:
            report = self._retention.step(time.time_ns() // 1000, self.ship_mark)
        except DatabaseLocked:
            return Retained(more=True)
        except FileDamaged as damaged:
            self._set_damage_aside(damaged)
            return Retained()
        if report.notice:
            self.notices.append(report.notice)
        return report

    def consult(self, question: Callable[[duckdb.DuckDBPyConnection], T]) -> T:
        """The result of `question` on the views. Raises DatabaseLocked. Not concurrently with `merge`.

        Damage that it meets is set aside, and a new file made at once: what waits for an answer, perhaps before any
        merge, gets one at its next attempt. Only while the store is ours: the process that has it may be well.
        """
        try:
            return self._duck.consult(question)
        except FileDamaged as damaged:
            if not self.released:
                with suppress(DatabaseLocked, StoreTaken, duckdb.Error, *_TRANSIENT):  # left to the next merge
                    self._set_damage_aside(damaged)
                    self.merge(rows_max=0)
            raise DatabaseLocked(self.path.name) from damaged

    # -- shipping -----------------------------------------------------------------------------------

    @property
    def store_id(self) -> str:
        """The id of the file, which it keeps over restarts and moves; "" while it could not be read because another
        process holds the file.
        """
        known = self._tail.identity.settled or self._asked
        return lineage(self._tail.identity.store_id) if known else ""

    def batches(self, above: int, rows_max: int, through: int | None = None) -> Batches | None:
        """The oldest committed batches above `above`: about `rows_max` rows of each table, but at least one batch;
        or all up to `through`. None if there are none.

        The file is opened only where the tail does not have them all. Raises DatabaseLocked, and errors as `merge`
        does. Not concurrently with `merge` and `compact`.
        """
        assert not self.released, "another process records into this store"
        if not self.store_id:
            raise DatabaseLocked(self.path.name)
        request = Request(self.store_id, above, rows_max, through, self.newest)
        known = self._asked or self._manifest.last is not None
        tail_above = self._through if self._deleted is None else self._deleted
        if known and above >= tail_above:
            return self._shipping.from_tail(request, self._through)
        if not self.path.exists():  # the next merge creates it
            raise DatabaseLocked(self.path.name)
        try:
            return self._shipping.from_file(request)
        except FileDamaged as damaged:
            self._set_damage_aside(damaged)
            raise DatabaseLocked(self.path.name) from damaged

    # -- upkeep -------------------------------------------------------------------------------------

    def compact(self) -> int:
        """Joins small segments into larger ones, while merges wait. Returns how many were joined.

        Does nothing while the watermark is in doubt: a compaction across it would be half merged.
        """
        if self._manifest.unsure and not self._asked:
            return 0
        self._verify_segments()
        joined = self._compaction.compact(self._tail.live(self._through))
        if joined:
            self._acknowledged.join(s for s in self._tail.live(self._through)[TICKS.name] if s.level)
        self._compaction.sweep(self._through)
        self.measure()
        return joined

    def measure(self) -> None:
        """Counts the tail again."""
        listed = self._tail.live(self._through)[TICKS.name]
        self.segment_count = len(listed)
        self.segment_bytes = self._tail.size(TICKS, listed)

    # -- damage -------------------------------------------------------------------------------------

    def _verify_segments(self) -> None:
        """Sets damaged segments aside, and reports what was acknowledged of them. This comes before segments are
        merged or joined, as their numbers may enclose it. While the watermark is in doubt `_check` does that.
        """
        found = self._quarantine.find(self._tail.live(self._through))
        self.notices.extend(found)
        if found and (self._asked or not self._manifest.unsure):
            self._miss_vanished()

    def _segments_aside(self) -> bool:
        """After an error in a merge: sets unreadable segments aside; whether there were any."""
        self._quarantine.forget()
        # DuckDB binds every file of the folder, also those that no longer count.
        found = self._quarantine.find(self._tail.live(self._through)) or self._quarantine.find(self._tail.listed())
        self.notices.extend(found)
        return bool(found)

    def _set_damage_aside(self, damaged: FileDamaged) -> None:
        """The file, or what alone makes it unreadable: its write-ahead log, or segments that its views read."""
        if damaged.wal and self._duck.wal.exists():
            self.notices.extend(self._quarantine.set_wal_aside(self._duck.wal, str(damaged)))
            return
        if self._segments_aside():
            return
        rows = self._manifest.last.rows if self._manifest.last else {}
        self.notices.append(self._quarantine.set_file_aside(self.path, self._duck.wal, str(damaged), rows))
        self._adopted = False
        self._manifest.append(Entry(0, {}))
