"""The manifest: what has been merged, recorded outside the DuckDB file, to detect a file that lost rows.

One JSON object per line, newest last: {"through": 17, "rows": {"ticks": 5000, ...}}, where rows are the totals of
each table after the merge up to batch `through`. A merge's segments are deleted only after its line is durable.
While a file "merging" exists beside it, the watermark may already be above the last line's.
"""

import json
from pathlib import Path

from msgspec import Struct

from actors.sink.sink import Notice
from actors.store.filesystem import Files, read_text_if_any
from actors.store.tail import Listed, rows_between

LINES_MAX = 1000  # about 100 KB, for people; the service needs only the last line


class Entry(Struct, frozen=True):
    """The state of the file after one merge."""

    through: int
    rows: dict[str, int]


class Manifest:
    """The manifest of one tail, used by one process."""

    def __init__(self, path: Path, files: Files) -> None:
        self._path, self._files = path, files
        self._merging = path.with_name("merging")
        self._entries: list[Entry] = []
        self.unsure = False

    @property
    def last(self) -> Entry | None:
        """The newest entry, None if there is none."""
        return self._entries[-1] if self._entries else None

    def load(self) -> None:
        """Reads the file, skipping invalid lines. Raises OSError."""
        self._entries = []
        self.unsure = self._merging.exists()
        for line in (read_text_if_any(self._path) or "").splitlines():
            try:
                raw = json.loads(line)
                rows = {str(table): int(count) for table, count in raw["rows"].items()}
                self._entries.append(Entry(int(raw["through"]), rows))
            except (ValueError, KeyError, TypeError, AttributeError):
                continue

    def begin(self) -> None:
        """Records that a merge begins, which may be committed without an entry; durable when it returns."""
        if not self.unsure:
            self._files.produce(self._merging, lambda path: path.touch())
            self._files.sync_folder(self._merging.parent)
        self.unsure = True

    def append(self, entry: Entry) -> None:
        """Adds an entry; durable when it returns. The whole file is replaced, so it is never half written."""
        entries = [*self._entries, entry][-LINES_MAX:]
        lines = "".join(
            json.dumps({"through": e.through, "rows": e.rows}, separators=(",", ":")) + "\n" for e in entries
        )
        partial = self._path.with_suffix(".tmp")
        self._files.produce(partial, lambda path: path.write_text(lines, encoding="utf-8"))
        self._files.rename(partial, self._path)
        self._files.sync_folder(self._path.parent)
        self._entries = entries
        self._files.remove(self._merging)
        self.unsure = False

    def compare(self, file: Entry, listed: Listed) -> Notice | None:
        """What is wrong with the file, compared with what was merged and the segments still there."""
        last = self.last
        if last is None:
            return None
        lower, upper = sorted((last.through, file.through))
        between = rows_between(listed, lower, upper)
        sign = 1 if file.through > last.through else -1
        expected = {t: n + sign * between.get(t, 0) for t, n in last.rows.items()}
        lost = {t: n - file.rows.get(t, 0) for t, n in expected.items() if n > file.rows.get(t, 0)}
        if not lost:
            return None
        counts = ", ".join(f"{n} of {table}" for table, n in lost.items())
        return Notice(
            "store_rows_missing",
            f"the DuckDB file holds fewer rows than were merged into it: {counts} are missing"
            " (a write-ahead log was lost or cut, or the file was replaced by an older copy)",
            {"lost": lost, "watermark": file.through, "manifest": last.through},
            alarm=True,
        )
