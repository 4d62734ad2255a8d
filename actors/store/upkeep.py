"""Looking after the tail: what to merge next, folding while the file is held, and deleting what nobody needs."""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from actors.store.files import Files, crash_point
from actors.store.segments import EMPTY, Segment, SegmentWriter, live, parse_name
from actors.store.tables import TABLES, TICKS, TableSpec

# While somebody holds the file for hours, a flush a second would leave 86,400 segments a day, and each costs a
# query about 0.1 ms. Joining FOLD_WIDTH of a level whenever it has FOLD_AT keeps it at about a hundred.
FOLD_WIDTH = 16
FOLD_AT = 32
FOLD_ROWS_MAX = 8_000_000  # a segment of more rows (about 150 MB) is not joined again
assert FOLD_WIDTH <= FOLD_AT

# A query lists the tail when it starts and opens files as it goes. What a fold replaced is deleted only after
# GRACE_S, and then only if no process has any file of the tail open, so no query is half-way through it.
GRACE_S = 30.0
GRACE_BLIND_S = 600.0  # where the system cannot say which files are open
GRACE_MAX_S = 3600.0  # a query that takes longer is told by DuckDB that a file is gone, and can be run again
assert GRACE_S <= GRACE_BLIND_S <= GRACE_MAX_S

# At start every segment's footer is read, and the values too while they are few enough not to hold up recording.
READ_THROUGH_ROWS_MAX = 3_000_000

Listed = Mapping[str, Sequence[Segment]]


class Upkeep:
    """Works on the tail's folders beside the thread that writes segments; one thread at a time."""

    def __init__(self, tail: Path, files: Files, memory_limit: str) -> None:
        self._tail, self._files = tail, files
        self._writer = SegmentWriter(tail, files, memory_limit)
        self._rows: dict[str, int] = {}
        self._unneeded_since: dict[Path, float] = {}

    def close(self) -> None:
        """Frees memory."""
        self._writer.close()

    def path(self, table: TableSpec, segment: Segment) -> Path:
        """The file of a segment."""
        return self._tail / table.name / segment.name

    def rows(self, table: TableSpec, segment: Segment) -> int:
        """Rows of a segment, read from its footer once."""
        key = f"{table.name}/{segment.name}"
        if key not in self._rows:
            self._rows[key] = self._writer.rows(table, segment)
        return self._rows[key]

    def size(self, table: TableSpec, segments: Sequence[Segment]) -> int:
        """Bytes on disk."""
        total = 0
        for segment in segments:
            try:
                total += self.path(table, segment).stat().st_size
            except FileNotFoundError:
                continue
        return total

    def plan(self, counted: Listed, rows_max: int) -> tuple[dict[str, list[Path]], int, int, bool]:
        """What to merge next: files by table, the batch they reach, rows of ticks, and whether more is left.

        It ends at a batch where no table's segment goes on, so that the watermark never cuts one in two.
        """
        ticks, others = (
            counted[TICKS.name],
            [s for name, ss in counted.items() if name != TICKS.name for s in ss],
        )
        through, rows = 0, 0
        for index, segment in enumerate(ticks):
            if rows >= rows_max and through:
                return self._up_to(counted, through), through, rows, True
            if rows_max == 0:
                return {}, 0, 0, index < len(ticks)
            rows += self.rows(TICKS, segment)
            if not any(s.first <= segment.last < s.last for s in others):
                through = segment.last
        return (self._up_to(counted, through) if through else {}), through, rows, False

    def _up_to(self, counted: Listed, through: int) -> dict[str, list[Path]]:
        return {
            table.name: [self.path(table, s) for s in counted[table.name] if s.last <= through] for table in TABLES
        }

    def rows_between(self, listed: Listed, above: int, through: int) -> dict[str, int]:
        """Rows that segments still hold of batches in (above, through], by table."""
        return {
            table.name: sum(self.rows(table, s) for s in live(listed[table.name], above) if s.last <= through)
            for table in TABLES
        }

    def fold(self, counted: Listed) -> int:
        """Joins the oldest FOLD_WIDTH segments of every level that has FOLD_AT. Returns how many were joined."""
        joined = 0
        for table in TABLES:
            segments = list(counted[table.name])
            for level in range(8):
                same = [s for s in segments if s.level == level]
                oldest = same[:FOLD_WIDTH]
                if len(same) < FOLD_AT or sum(self.rows(table, s) for s in oldest) > FOLD_ROWS_MAX:
                    continue
                target = self._writer.join(table, oldest)
                segments = sorted([s for s in segments if s not in oldest] + [target])
                joined += len(oldest)
        return joined

    def sweep(self, listed: Listed, merged_through: int) -> int:
        """While somebody holds the file: deletes what a fold replaced, once no query can need it any more."""
        now = time.monotonic()
        unneeded = self._unneeded(listed, merged_through)
        self._unneeded_since = {path: self._unneeded_since.get(path, now) for path in unneeded}
        ages = {path: now - since for path, since in self._unneeded_since.items()}
        ripe = [path for path, age in ages.items() if age >= GRACE_S]
        if not ripe:
            return 0
        in_use = self._files.any_open([self.path(t, s) for t in TABLES for s in listed[t.name]])
        needed_age = {False: GRACE_S, None: GRACE_BLIND_S, True: GRACE_MAX_S}[in_use]
        ripe = [path for path in ripe if ages[path] >= needed_age]
        for path in ripe:
            self._files.remove(path)
            crash_point("fold.deleted")
        return len(ripe)

    def _unneeded(self, listed: Listed, merged_through: int) -> list[Path]:
        return [
            self.path(table, segment)
            for table in TABLES
            for segment in sorted(set(listed[table.name]) - set(live(listed[table.name], merged_through)))
        ]

    def remove_unneeded(self, listed: Listed, merged_through: int) -> None:
        """Deletes all that does not count, at once: only while the file is held by us, so that nobody reads."""
        for path in self._unneeded(listed, merged_through):
            self._files.remove(path)
        self._unneeded_since.clear()
        self._rows.clear()

    def set_damaged_aside(self, listed: Listed) -> list[tuple[str, str, dict[str, object]]]:
        """Moves segments that cannot be read out of sight of every query, and says so (event, words, detail)."""
        said: list[tuple[str, str, dict[str, object]]] = []
        rows_left = READ_THROUGH_ROWS_MAX
        for table in TABLES:
            for segment in listed[table.name]:
                try:
                    rows_left -= self.rows(table, segment)
                    if rows_left > 0:
                        self._writer.read_through(table, segment)
                except duckdb.Error as error:
                    said.append(self._set_aside(table, segment, str(error)))
        return said

    def _set_aside(self, table: TableSpec, segment: Segment, why: str) -> tuple[str, str, dict[str, object]]:
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        aside = self.path(table, segment).with_suffix(f".damaged-{stamp}")
        try:
            rows: int | None = self._writer.rows(table, segment)
        except duckdb.Error:
            rows = None
        self._files.rename(self.path(table, segment), aside)
        self._files.sync_folder(aside.parent)
        how_many = "an unknown number of" if rows is None else str(rows)
        words = f"segment {segment.name} of {table.name} cannot be read ({why[:200]}); set aside as {aside.name}"
        detail: dict[str, object] = {
            "table": table.name,
            "first_batch": segment.first,
            "last_batch": segment.last,
            "rows_lost": rows,
            "set_aside": str(aside),
        }
        return "segment_damaged", f"{words}; {how_many} rows are lost with it", detail

    def remove_tail(self) -> None:
        """After the last merge: deletes the tail, leaving only what was set aside and what is not ours."""
        for table in TABLES:
            folder = self._tail / table.name
            for name in self._files.names(folder):
                segment = parse_name(name)
                if segment is not None or name == EMPTY.name or name.startswith("."):
                    self._files.remove(folder / name)
            _remove_if_empty(folder)
        crash_point("finish.removed")
        self._files.remove(self._tail / "manifest.jsonl")
        _remove_if_empty(self._tail)


def _remove_if_empty(folder: Path) -> None:
    with suppress(OSError):  # something that is not ours to delete is in it
        folder.rmdir()
