"""What has been merged, written down outside the DuckDB file, so that a file that lost rows is noticed.

One JSON object a line: {"through": 17, "rows": {"ticks": 5000, ...}}, rows being what each table holds in
all after the merge up to batch `through`. Only the newest lines matter; the file is rewritten when it grows.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from actors.store.files import Files

LINES_MAX = 4096  # about 400 KB; a merge a minute reaches it in three days


@dataclass(frozen=True, slots=True)
class Entry:
    """The state of the file after one merge."""

    through: int
    rows: dict[str, int]


class Manifest:
    """Append-only, one process; a torn last line (power loss) is passed over."""

    def __init__(self, path: Path, files: Files) -> None:
        self._path, self._files = path, files
        self._lines = 0
        self.last: Entry | None = None

    def load(self) -> None:
        """Reads the file; `last` is then its newest entry, or None if there is none."""
        entries = self._entries()
        self._lines, self.last = len(entries), (entries[-1] if entries else None)

    def _entries(self) -> list[Entry]:
        try:
            text = self._path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return []
        entries = []
        for line in text.splitlines():
            try:
                raw = json.loads(line)
                entries.append(Entry(int(raw["through"]), {k: int(v) for k, v in raw["rows"].items()}))
            except (ValueError, KeyError, TypeError, AttributeError):
                continue
        return entries

    def append(self, entry: Entry) -> None:
        """Adds an entry and makes it durable before it returns."""
        self.last = entry
        line = json.dumps({"through": entry.through, "rows": entry.rows}, separators=(",", ":")) + "\n"
        if self._lines >= LINES_MAX or not self._path.exists():
            partial = self._path.with_suffix(".tmp")
            self._files.produce(partial, lambda path: path.write_text(line, encoding="utf-8"))
            self._files.rename(partial, self._path)
            self._files.sync_folder(self._path.parent)
            self._lines = 1
            return
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line)
        self._files.sync_file(self._path)
        self._lines += 1
