"""Keeps a long tail quick to query: joins small segments into larger ones and clears away what that replaced."""

import time
from collections.abc import Sequence

from actors.model.schema import Schema
from actors.model.ticks import TICKS
from actors.store.filesystem import Files, crash_point
from actors.store.segments import SegmentWriter
from actors.store.tables import TABLES
from actors.store.tail import LEVEL_MAX, Listed, Segment, Tail

# While somebody holds the file for hours, a flush a second would leave 86,400 segments a day, and each costs a
# query about 0.1 ms. Joining COMPACT_WIDTH of a level as soon as there are so many keeps it at a few dozen.
COMPACT_WIDTH = 16
COMPACT_ROWS_MAX = 8_000_000  # a segment grows to about so many rows (200 MB); larger ones would be joined for ages

# A query lists the tail when it starts and opens the files as it goes, each perhaps much later. So what a
# compaction replaced stays where it was for those who have listed it: first as it is, for a query that lists twice
# (see views); then behind a symbolic link, which can be opened but is not listed any more, and so costs new
# queries next to nothing; in the end it is deleted, if just then no process has any file of the tail open.
HIDE_S = 10.0
KEEP_S = 1200.0
KEEP_MAX_S = 86_400.0  # a query that has not come to its files after so long is told that one is gone
assert HIDE_S < KEEP_S < KEEP_MAX_S


class Compaction:
    """Works on the tail beside the thread that writes segments; one thread at a time."""

    def __init__(self, tail: Tail, files: Files, writer: SegmentWriter) -> None:
        self._tail, self._files, self._writer = tail, files, writer
        self._since: dict[tuple[Schema, Segment], float] = {}
        self._hidden: set[tuple[Schema, Segment]] = set()

    def compact(self, counted: Listed) -> int:
        """Joins what there is too much of, the oldest first, and returns how many segments were joined.

        Other tables go only as far as the ticks: beyond, a batch may yet fail.
        """
        until = max((s.last for s in counted[TICKS.name]), default=0)
        joined = 0
        for table in TABLES:
            segments = [s for s in counted[table.name] if s.last <= until]
            for level in range(LEVEL_MAX):
                while run := _run([s for s in segments if s.level == level]):
                    segments = [s for s in segments if s not in run]
                    segments.append(self._writer.join(table, run) if len(run) > 1 else self._promote(table, run[0]))
                    joined += len(run)
        return joined

    def _promote(self, table: Schema, segment: Segment) -> Segment:
        """Gives a large segment the next level as it is: levels must not rise from old to new."""
        target = Segment(segment.first, segment.last, segment.level + 1, segment.rows, segment.crc)
        link = self._tail.partial / "promoted"
        self._files.remove(link)
        link.hardlink_to(self._tail.path(table, segment))
        self._files.rename(link, self._tail.path(table, target))
        self._files.sync_folder(self._tail.folder(table))
        return target

    def sweep(self, merged_through: int) -> int:
        """While others may be reading: hides, later deletes what does not count any more. Returns how many."""
        now = time.monotonic()
        # What is merged leaves only when the marker says so, for copies of the file from before (see identity).
        unneeded = [entry for entry in self._tail.unneeded(merged_through) if entry[1].last > merged_through]
        self._since = {entry: self._since.get(entry, now) for entry in unneeded}
        self._hidden &= self._since.keys()
        to_hide = [e for e in unneeded if now - self._since[e] >= HIDE_S and e not in self._hidden]
        old = [e for e in unneeded if now - self._since[e] >= KEEP_S]
        if not (to_hide or old):
            return 0
        self._tail.sync()  # what replaced them must be safe first, should its own fsync have failed
        for table, segment in to_hide:
            self._files.hide(self._tail.path(table, segment), self._tail.replaced(table) / segment.name)
            crash_point("compaction.hidden")
        self._hidden.update(to_hide)
        return self._delete(old, now) if old else 0

    def _delete(self, old: Sequence[tuple[Schema, Segment]], now: float) -> int:
        listed = self._tail.listed()
        in_use = self._files.any_open([self._tail.path(t, s) for t in TABLES for s in listed[t.name]])
        gone = [entry for entry in old if not in_use or now - self._since[entry] >= KEEP_MAX_S]
        for table, segment in gone:
            self._tail.remove(table, segment)
            crash_point("compaction.deleted")
        return len(gone)

    def remove_unneeded(self, merged_through: int) -> None:
        """Deletes all that does not count, at once: only while the file is held by us, so that nobody reads."""
        unneeded = self._tail.unneeded(merged_through)
        for table, segment in unneeded:
            self._tail.remove(table, segment)
            crash_point("merge.deleting")
        if any(self._files.names(self._tail.uncommitted(table)) for table in TABLES):
            self._tail.remove_uncommitted()
        self._since.clear()
        self._hidden.clear()


def _run(same: Sequence[Segment]) -> list[Segment]:
    """Of one level's segments the oldest that are to be joined now; a single one is large and moves up."""
    if len(same) < COMPACT_WIDTH:
        return []
    run: list[Segment] = []
    for segment in same[:COMPACT_WIDTH]:
        if run and sum(s.rows for s in run) + segment.rows > COMPACT_ROWS_MAX:
            break
        run.append(segment)
    return run
