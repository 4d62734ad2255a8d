"""The store as the writer actor uses it: start, write a batch, merge, fold, finish. All calls block.

`write` belongs to one thread and everything else to another: they meet only in the tail's folders, which
`write` adds names to and `merge` and `fold` take names from.
"""

import json
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from actors.batch import Batch, EventRow
from actors.settings import StoreSettings
from actors.store.duckfile import DuckFile, FileDamaged, FileHeld, FileTrouble
from actors.store.files import Files, crash_point
from actors.store.manifest import Entry, Manifest
from actors.store.segments import Segment, SegmentWriter, live, segments_in
from actors.store.tables import TABLES, TICKS
from actors.store.upkeep import Upkeep

MERGE_ROWS_MAX = 2_000_000  # rows folded into the file in one go: about a second of holding it


@dataclass(frozen=True, slots=True)
class Notice:
    """Something an operator must hear of: an event name, and words."""

    event: str
    reason: str
    detail: dict[str, object] = field(default_factory=dict)

    def row(self) -> EventRow:
        """As a row of `events`."""
        return EventRow(time.time_ns(), "store", self.event, self.reason, detail_json=json.dumps(self.detail))


@dataclass(frozen=True, slots=True)
class Merged:
    """How a merge went. `held` with `held_by_pid`: somebody has the file, nothing was done."""

    held: bool = False
    held_by_pid: int | None = None
    rows: int = 0
    segments: int = 0
    locked_s: float = 0.0
    backlog: bool = False


class Store:
    """One DuckDB file and its tail. `notices` fills with what the operator must hear of."""

    def __init__(self, settings: StoreSettings, files: Files | None = None) -> None:
        self.path = settings.path.absolute()
        self.tail = self.path.with_name(self.path.name + ".tail")
        self._files = files or Files()
        self._duck = DuckFile(settings, self.tail)
        self._segments = SegmentWriter(self.tail, self._files, settings.memory_limit)
        self._upkeep = Upkeep(self.tail, self._files, settings.memory_limit)
        self._manifest = Manifest(self.tail / "manifest.jsonl", self._files)
        self._adopted = False
        self._through = 0
        self._state = Entry(0, {})
        self._next = 1
        self.notices: deque[Notice] = deque(maxlen=1000)
        self.segment_count = 0
        self.segment_bytes = 0

    # -- start and end ------------------------------------------------------------------------------

    def start(self) -> None:
        """Recovers what a crash left; recording may begin when it returns. Raises OSError, SchemaNewer.

        If somebody holds the file its recovery waits for the first merge that gets it.
        """
        self._files.make_folder(self.path.parent)
        self._files.make_folder(self.tail)
        self._segments.prepare()
        self._manifest.load()
        self._through = self._manifest.last.through if self._manifest.last else 0
        committed = max([self._through, *(s.last for s in self._listed()[TICKS.name])])
        self._forget_uncommitted(committed)
        self._recover_file()
        # Numbers follow the clock, so that they rise even if file and tail were both out of sight.
        self._next = max(committed, self._through, time.time_ns() // 1000) + 1
        for notice in self._upkeep.set_damaged_aside(self._listed()):
            self.notices.append(Notice(*notice))
        self.measure()

    def _recover_file(self) -> None:
        try:
            report = self.merge(rows_max=0)
        except (FileTrouble, OSError, duckdb.Error) as error:
            self.notices.append(Notice("store_file_unavailable", f"{self.path.name}: {error}"))
            return
        if report.held:
            self._through = max(self._through, self._duck.peek_merged_through() or 0)

    def next_number(self) -> int:
        """A number for the next batch, above all before it."""
        self._next += 1
        return self._next - 1

    def finish(self, deadline: Callable[[], bool]) -> Merged:
        """Merges everything and makes the file complete by itself; stops early when `deadline()` is true.

        If somebody holds the file or time is up the tail stays, and the next start takes it up.
        """
        report = Merged(backlog=True)
        while report.backlog and not deadline():
            report = self.merge()
        if report.held or report.backlog:
            return report
        try:
            with self._duck.opened() as con:
                self._check(con)
                if any(self._live(self._through).values()):
                    return Merged(backlog=True)
                self._duck.leave(con)
                crash_point("finish.left")
        except FileHeld as held:
            return Merged(held=True, held_by_pid=held.pid)
        self._upkeep.remove_tail()
        self.measure()
        return report

    def close(self) -> None:
        """Frees memory; the file is not held anyway."""
        self._segments.close()
        self._upkeep.close()

    # -- the flush ----------------------------------------------------------------------------------

    def write(self, batch: Batch) -> None:
        """Makes the batch durable; raises OSError or duckdb.Error, and may then be called with it again."""
        size = self._segments.write_batch(batch)
        self.segment_count += 1
        self.segment_bytes += size

    # -- the merge ----------------------------------------------------------------------------------

    def merge(self, rows_max: int = MERGE_ROWS_MAX) -> Merged:
        """Folds segments into the file, at most about `rows_max` rows; does nothing if the file is held.

        Raises FileTrouble, OSError, duckdb.Error. A damaged file is set aside and a new one begun.
        """
        began = time.monotonic()
        try:
            with self._duck.opened() as con:
                crash_point("merge.opened")
                report = self._merge_into(con, rows_max)
        except FileHeld as held:
            return Merged(held=True, held_by_pid=held.pid)
        except FileDamaged as damaged:
            self._set_file_aside(str(damaged))
            return Merged(backlog=True)
        crash_point("merge.closed")
        locked_s = time.monotonic() - began
        if report.segments:
            self._manifest.append(self._state)
        self.measure()
        return Merged(rows=report.rows, segments=report.segments, locked_s=locked_s, backlog=report.backlog)

    def _merge_into(self, con: duckdb.DuckDBPyConnection, rows_max: int) -> Merged:
        if not self._adopted:
            self._duck.adopt(con)
            self._adopted = True
        self._check(con)
        # Nobody else can have the file open now, so no query can be about to read what is deleted here.
        # What the last merge took over has been closed, opened again and counted since.
        self._upkeep.remove_unneeded(self._listed(), self._through)
        crash_point("merge.deleted")
        plan, through, rows, more = self._upkeep.plan(self._live(self._through), rows_max)
        if not plan:
            return Merged(backlog=more and rows_max > 0)
        counts = self._duck.merge(con, plan, through)
        self._through = through
        self._state = Entry(through, counts)
        return Merged(rows=rows, segments=sum(map(len, plan.values())), backlog=more)

    def _check(self, con: duckdb.DuckDBPyConnection) -> None:
        """Compares the file with the manifest; rows that are gone and not in the tail either are said aloud."""
        through, counts = self._duck.merged_through(con), self._duck.rows(con)
        self._through = through
        self._state = Entry(through, counts)
        last = self._manifest.last
        if last is None or last.through < through:
            self._manifest.append(self._state)
            return
        again = self._upkeep.rows_between(self._listed(), through, last.through)
        lost = {t: n - counts.get(t, 0) - again.get(t, 0) for t, n in last.rows.items()}
        lost = {table: n for table, n in lost.items() if n > 0}
        if lost:
            self.notices.append(
                Notice(
                    "store_rows_missing",
                    f"{self.path.name} holds fewer rows than were merged into it: {lost} are gone"
                    " (a write-ahead log was lost, or the file was replaced by an older copy)",
                    {"lost": lost, "watermark": through, "manifest": last.through},
                )
            )
        if lost or last.through > through:
            self._manifest.append(self._state)

    # -- upkeep -------------------------------------------------------------------------------------

    def fold(self) -> int:
        """While somebody holds the file: joins small segments into larger ones. Returns how many were joined."""
        joined = self._upkeep.fold(self._live(self._through))
        self._upkeep.sweep(self._listed(), self._through)
        self.measure()
        return joined

    def measure(self) -> None:
        """Counts the tail anew."""
        listed = self._live(self._through)[TICKS.name]
        self.segment_count = len(listed)
        self.segment_bytes = self._upkeep.size(TICKS, listed)

    def _listed(self) -> dict[str, list[Segment]]:
        return {t.name: segments_in(self._files, self.tail / t.name) for t in TABLES}

    def _live(self, through: int) -> dict[str, list[Segment]]:
        """Segments of each table that count, above this watermark."""
        return {name: live(segments, through) for name, segments in self._listed().items()}

    def _forget_uncommitted(self, committed: int) -> None:
        """Other tables' segments of a batch whose ticks segment was never renamed did not happen."""
        for table in TABLES:
            for segment in self._listed()[table.name]:
                if segment.last > committed:
                    self._files.remove(self.tail / table.name / segment.name)

    def _set_file_aside(self, why: str) -> None:
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        moved = []
        for path in (self.path, Path(f"{self.path}.wal")):
            if path.exists():
                aside = path.with_name(f"{path.name}.damaged-{stamp}")
                self._files.rename(path, aside)
                moved.append(str(aside))
        self._files.sync_folder(self.path.parent)
        self._adopted = False
        self._manifest.append(Entry(0, {}))
        self.notices.append(
            Notice(
                "store_file_damaged",
                f"DuckDB cannot read {self.path.name}: {why[:300]}. It was set aside as {moved[0]}"
                " and a new file was begun",
                {"set_aside": moved},
            )
        )
