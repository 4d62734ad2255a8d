"""Quarantine: moves unreadable files aside, under a name with the time, so that recording continues."""

import errno
from collections.abc import Iterable
from pathlib import Path

from actors.model.schema import Schema
from actors.model.ticks import TICKS
from actors.sink.sink import Notice
from actors.store.filesystem import Files
from actors.store.segments import SegmentWriter, crc_of
from actors.store.tables import TABLES
from actors.store.tail import Listed, Segment, Tail, live, shown, stamped

VERIFY_BYTES_MAX = 1 << 30  # verified at start, about a second; the rest before it is merged


class Quarantine:
    """Checks each segment once. Used by the merging thread."""

    def __init__(self, tail: Tail, files: Files, writer: SegmentWriter) -> None:
        self._tail, self._files, self._writer = tail, files, writer
        self._sound: set[tuple[Schema, Segment]] = set()

    def forget(self) -> None:
        """Makes `find` check everything again, because something could not be read."""
        self._sound.clear()

    def find(self, counted: Listed, bytes_max: int | None = None) -> list[Notice]:
        """Verifies the segments, newest first, and sets damaged ones aside."""
        there = {(table, s) for table in TABLES for s in counted[table.name]}
        self._sound &= there
        notices: list[Notice] = []
        for table, segment in sorted(there - self._sound, key=lambda entry: entry[1], reverse=True):
            path = self._tail.path(table, segment)
            if bytes_max is not None:
                bytes_max -= path.stat().st_size
                if bytes_max < 0:
                    break
            why = _why_damaged(path, segment)
            if why:
                notices.append(self._set_aside(table, segment, why))
            else:
                self._sound.add((table, segment))
        return notices

    def _set_aside(self, table: Schema, segment: Segment, why: str) -> Notice:
        path = self._tail.path(table, segment)
        aside = self._tail.set_aside(path, "damaged")
        within = [s for s in self._tail.listed()[table.name] if segment.first <= s.first and s.last <= segment.last]
        # The sources of a compacted segment may still exist; they count again without it.
        rows_lost = segment.rows - sum(s.rows for s in live(within, 0))
        if table is TICKS and not any(s.last == segment.last for s in within):
            self._writer.write_empty(table, segment.last)  # its batches are committed: their other segments count
        self._files.sync_folder(path.parent)
        return Notice(
            "segment_damaged",
            f"segment {segment.name} of {table.name} {why}; {rows_lost} rows are lost. It was set aside as {aside}",
            {
                "table": table.name,
                "first_batch": segment.first,
                "last_batch": segment.last,
                "rows_lost": rows_lost,
                "set_aside": str(aside),
            },
            alarm=True,
        )

    def clear_strays(self) -> list[Notice]:
        """Moves foreign files out of the folders that DuckDB reads."""
        found = [
            self._moved(path, "stray_file", "is not a segment, and would make queries fail")
            for path in self._tail.strays()
        ]
        if found:
            self._writer.prepare()  # it may have replaced an empty segment
        return found

    def set_all_aside(self, listed: Listed, why: str) -> list[Notice]:
        """Moves a whole tail aside."""
        return [
            self._moved(self._tail.path(table, segment), "segment_foreign", why)
            for table in TABLES
            for segment in listed[table.name]
        ]

    def _moved(self, path: Path, event: str, why: str) -> Notice:
        aside = self._tail.set_aside(path, "foreign")
        reason = f"{shown(path.name)} in {path.parent.name} {why}; moved to {aside}"
        return Notice(event, reason, {"set_aside": str(aside)}, alarm=event == "segment_foreign")

    def set_wal_aside(self, wal: Path, why: str) -> list[Notice]:
        """Sets aside a write-ahead log that cannot be used; does nothing if there is none."""
        moved = self._renamed([wal])
        reason = (
            f"DuckDB cannot use {wal.name}: {why[:300]}. It was set aside as {', '.join(moved)};"
            " its rows are merged again from the tail, or counted as missing"
        )
        return [Notice("store_wal_damaged", reason, {"set_aside": moved}, alarm=True)] if moved else []

    def set_file_aside(self, path: Path, wal: Path, why: str, rows: dict[str, int]) -> Notice:
        """Sets aside a DuckDB file that cannot be read; `rows` are its rows according to the manifest."""
        moved = self._renamed([path, wal])
        reason = f"DuckDB cannot read {path.name}: {why[:300]}. It was set aside as {', '.join(moved)}"
        return Notice(
            "store_file_damaged",
            f"{reason} and a new file is created",
            {"set_aside": moved, "rows": rows},
            alarm=True,
        )

    def _renamed(self, paths: Iterable[Path]) -> list[str]:
        moved = []
        for path in paths:
            if path.exists():
                aside = stamped(path, "damaged")
                self._files.rename(path, aside)
                self._files.sync_folder(path.parent)
                moved.append(str(aside))
        return moved


def _why_damaged(path: Path, segment: Segment) -> str:
    try:
        return "" if crc_of(path) == segment.crc else "does not match its checksum"
    except OSError as error:
        if error.errno in (errno.EIO, errno.ENOENT, errno.ELOOP):
            return f"cannot be read ({error.strerror})"
        raise
