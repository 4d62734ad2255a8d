"""Compacts the tail, so that it stays fast to query: joins small segments into larger ones, and deletes replaced
ones.
"""

from collections.abc import Callable, Sequence

from actors.model.schema import Schema
from actors.model.ticks import TICKS
from actors.settings import StoreLimits
from actors.store.filesystem import Files
from actors.store.segments import SegmentWriter
from actors.store.tables import TABLES
from actors.store.tail import LEVEL_MAX, Listed, Segment, Tail


class Compaction:
    """Works on the tail while another thread writes segments; to be used by one thread at a time."""

    def __init__(
        self, tail: Tail, files: Files, writer: SegmentWriter, limits: StoreLimits, clock: Callable[[], float]
    ) -> None:
        self._clock = clock
        self._tail, self._files, self._writer, self._limits = tail, files, writer, limits
        self._since: dict[tuple[Schema, Segment], float] = {}
        self._hidden: set[tuple[Schema, Segment]] = set()

    def compact(self, counted: Listed) -> int:
        """Joins the segments of levels that have too many, oldest first; returns how many segments were joined.

        Other tables are joined only as far as the ticks: a later batch may still fail.
        """
        until = max((s.last for s in counted[TICKS.name]), default=0)
        joined = 0
        for table in TABLES:
            segments = [s for s in counted[table.name] if s.last <= until]
            for level in range(LEVEL_MAX):
                while run := self._run([s for s in segments if s.level == level]):
                    segments = [s for s in segments if s not in run]
                    segments.append(self._writer.join(table, run) if len(run) > 1 else self._promote(table, run[0]))
                    joined += len(run)
        return joined

    def _run(self, same: Sequence[Segment]) -> list[Segment]:
        """The oldest segments of one level to be joined now; a single one is large and moves up."""
        if len(same) < self._limits.compact_width:
            return []
        run: list[Segment] = []
        for segment in same[: self._limits.compact_width]:
            if run and sum(s.rows for s in run) + segment.rows > self._limits.compact_rows_max:
                break
            run.append(segment)
        return run

    def _promote(self, table: Schema, segment: Segment) -> Segment:
        """Moves a large segment to the next level unchanged: levels must not rise from old to new."""
        target = Segment(segment.first, segment.last, segment.level + 1, segment.rows, segment.crc)
        link = self._tail.partial / "promoted"
        self._files.remove(link)
        link.hardlink_to(self._tail.path(table, segment))
        self._files.rename(link, self._tail.path(table, target))
        self._files.sync_folder(self._tail.folder(table))
        return target

    def sweep(self, merged_through: int) -> int:
        """Hides, and later deletes, segments that no longer count; others may be reading. Returns how many."""
        now = self._clock()
        # Merged segments go only when the marker says so: older copies of the file need them (see identity).
        unneeded = [entry for entry in self._tail.unneeded(merged_through) if entry[1].last > merged_through]
        self._since = {entry: self._since.get(entry, now) for entry in unneeded}
        self._hidden &= self._since.keys()
        to_hide = [e for e in unneeded if now - self._since[e] >= self._limits.hide_s and e not in self._hidden]
        old = [e for e in unneeded if now - self._since[e] >= self._limits.keep_s]
        if not (to_hide or old):
            return 0
        self._tail.sync()  # their replacement must be durable first; its own fsync may have failed
        for table, segment in to_hide:
            self._files.hide(self._tail.path(table, segment), self._tail.replaced(table) / segment.name)
            self._files.crash_point("compaction.hidden")
        self._hidden.update(to_hide)
        return self._delete(old, now) if old else 0

    def _delete(self, old: Sequence[tuple[Schema, Segment]], now: float) -> int:
        listed = self._tail.listed()
        in_use = self._files.any_open([self._tail.path(t, s) for t in TABLES for s in listed[t.name]])
        gone = [entry for entry in old if not in_use or now - self._since[entry] >= self._limits.keep_max_s]
        for table, segment in gone:
            self._tail.remove(table, segment)
            self._files.crash_point("compaction.deleted")
        return len(gone)

    def remove_unneeded(self, merged_through: int) -> None:
        """Deletes all segments that do not count, at once: only while we hold the file, so that nobody reads it."""
        unneeded = self._tail.unneeded(merged_through)
        for table, segment in unneeded:
            self._tail.remove(table, segment)
            self._files.crash_point("merge.deleting")
        if any(self._files.names(self._tail.uncommitted(table)) for table in TABLES):
            self._tail.remove_uncommitted()
        self._since.clear()
        self._hidden.clear()
