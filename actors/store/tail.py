"""The segments of the tail, by their names: which exist, which count, and which may be merged next.

A segment holds the rows of the batches FIRST..LAST of one table. Its name, "LEVEL-FIRST-LAST-ROWS-CRC.parquet",
contains everything needed to plan a merge without reading footers, to count a loss when the file cannot be read,
and to detect corruption (zstd pages carry no checksum).

A flush writes level 0; compaction joins several segments of one level into one of the next. A segment counts ("is
live") if it is above the file's watermark and no segment of a higher level reaches its LAST. So one listing of a
folder is enough to decide, whichever files of a compaction exist at that moment.
"""

import re
import stat
import threading
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from msgspec import Struct

from actors.model.schema import Schema
from actors.model.ticks import TICKS
from actors.store.filesystem import Files
from actors.store.identity import MARKER_NAME, Identity, read_identity, write_identity
from actors.store.sql import EMPTY_NAME
from actors.store.tables import TABLES

_NAME = re.compile(r"(\d)-(\d{16})-(\d{16})-(\d{1,12})-([0-9a-f]{8})\.parquet")
LEVEL_MAX = 9

JOURNAL_NAME = "acknowledged.jsonl"  # see acknowledged.py


class Segment(Struct, frozen=True, order=True):
    """One segment, as described by its name; sorts by batch. `crc` is the CRC-32 of the file."""

    first: int
    last: int
    level: int
    rows: int
    crc: int

    @property
    def name(self) -> str:
        """The file name."""
        return f"{self.level}-{self.first:016}-{self.last:016}-{self.rows}-{self.crc:08x}.parquet"


Listed = Mapping[str, list[Segment]]


def parse_name(name: str) -> Segment | None:
    """The segment of a file name; None for any other file."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    return Segment(int(match[2]), int(match[3]), int(match[1]), int(match[4]), int(match[5], 16))


def live(segments: Iterable[Segment], merged_through: int) -> list[Segment]:
    """The segments that count, in order: the rule that `views` expresses in SQL."""
    everything = list(segments)
    top = {
        level: max((s.last for s in everything if s.level > level), default=0)
        for level in {s.level for s in everything}
    }
    return sorted(s for s in everything if s.last > max(merged_through, top[s.level]))


def rows_between(listed: Listed, above: int, through: int) -> dict[str, int]:
    """The rows in segments of the batches in (above, through], by table."""
    return {
        name: sum(s.rows for s in live(segments, above) if s.last <= through) for name, segments in listed.items()
    }


def committed(listed: Listed) -> int:
    """The newest committed batch: its ticks segment, empty or not, exists."""
    return max((s.last for s in listed[TICKS.name]), default=0)


class Plan(Struct, frozen=True):
    """What one merge takes: segments by table, their last batch, rows of ticks, and whether more remain."""

    segments: Listed
    through: int
    rows: int
    more: bool


def plan(counted: Listed, rows_max: int) -> Plan:
    """Plans a merge of at most about `rows_max` rows of ticks, but at least one segment.

    It ends at a batch where no table's segment continues, so that the watermark never splits one.
    """
    ticks = counted[TICKS.name]
    others = [s for name, segments in counted.items() if name != TICKS.name for s in segments]
    through = rows = taken = 0
    for segment in ticks:
        if through and rows >= rows_max:
            break
        taken += segment.rows
        if not any(s.first <= segment.last < s.last for s in others):
            through, rows = segment.last, taken
    chosen = {name: [s for s in segments if s.last <= through] for name, segments in counted.items()}
    return Plan(chosen, through, rows, bool(ticks) and ticks[-1].last > through)


NAME_BYTES_MAX = 150  # of a file set aside; with a time appended it must still be a valid name


def shown(name: str) -> str:
    """A file name that can be printed and stored: names may contain any bytes."""
    text = "".join(c if c.isprintable() else "_" for c in name.encode("utf-8", "replace").decode())
    return text.encode()[:NAME_BYTES_MAX].decode("utf-8", "ignore")


def stamped(path: Path, word: str) -> Path:
    """The name under which a file is set aside."""
    return path.with_name(f"{path.name}.{word}-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}")


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


class Tail:
    """The folders of the tail. Those of the tables contain only what queries read."""

    def __init__(self, root: Path, files: Files) -> None:
        self.root, self._files = root, files
        self.partial = root / ".partial"  # unfinished files
        self.aside = root / "aside"  # damaged and foreign files
        self.identity = Identity("")  # the marker's content, once `mark` or `recall` was called

    def recall(self) -> bool:
        """Reads the marker; returns whether there is one."""
        found = read_identity(self.root)
        self.identity = found or self.identity
        return found is not None

    def mark(self, identity: Identity) -> None:
        """Writes the marker; durable when it returns."""
        self.identity = identity
        self._files.make_folder(self.partial)
        partial = self.partial / f"marker-{threading.get_ident()}"  # two threads may find it missing
        write_identity(self.root, identity, self._files, partial)

    def keep_mark(self) -> None:
        """Writes the marker again if somebody has deleted it."""
        if self.identity.store_id and read_identity(self.root) is None:
            self.mark(self.identity)

    def folder(self, table: Schema) -> Path:
        """The folder of a table's segments."""
        return self.root / table.name

    def replaced(self, table: Schema) -> Path:
        """The folder of segments that a compaction has replaced and a running query may still open."""
        return self.root / ".replaced" / table.name

    def uncommitted(self, table: Schema) -> Path:
        """The folder of segments of an uncommitted batch, until no query can be reading them."""
        return self.root / ".uncommitted" / table.name

    def path(self, table: Schema, segment: Segment) -> Path:
        """The file of a segment."""
        return self.folder(table) / segment.name

    def listed(self) -> dict[str, list[Segment]]:
        """All segments of each table, in order of their batches.

        A batch is committed when its ticks are there, after its other tables. So ticks are listed first: of a batch
        that is committed meanwhile the listing may have other tables' segments, and never the ticks alone.
        """
        ticks = self._segments(TICKS)
        return {table.name: ticks if table is TICKS else self._segments(table) for table in TABLES}

    def _segments(self, table: Schema) -> list[Segment]:
        forgotten = set(self._files.names(self.uncommitted(table)))
        found = (parse_name(name) for name in self._files.names(self.folder(table)) if name not in forgotten)
        return sorted(segment for segment in found if segment is not None)

    def forget_uncommitted(self, until: int) -> None:
        """Removes other tables' segments above `until`, the last batch with ticks: their batches were never
        committed.

        Others may be reading them, so they go behind symbolic links, and are deleted when nobody has the file.
        Durable when it returns: the next batches get higher numbers, and would make them count.
        """
        for table in TABLES:
            folder, behind = self.folder(table), self.uncommitted(table)
            names = set(self._files.names(behind)) - {
                n for n in self._files.names(folder) if (folder / n).is_symlink()
            }
            names |= {s.name for s in self._segments(table) if s.last > until and table is not TICKS}
            for name in names & set(self._files.names(folder)):
                self._files.hide(folder / name, behind / name)
            if names:
                self._files.sync_folder(behind)
                self._files.sync_folder(folder)

    def remove_uncommitted(self) -> None:
        """Deletes them; only while nobody can be reading."""
        for table in TABLES:
            for name in self._files.names(self.uncommitted(table)):
                self._files.remove(self.folder(table) / name)
            self._files.sync_folder(self.folder(table))
            for name in self._files.names(self.uncommitted(table)):
                self._files.remove(self.uncommitted(table) / name)

    def live(self, merged_through: int) -> dict[str, list[Segment]]:
        """The segments of each table that count, above this watermark."""
        return {name: live(segments, merged_through) for name, segments in self.listed().items()}

    def unneeded(self, merged_through: int) -> list[tuple[Schema, Segment]]:
        """The segments that do not count: merged, or replaced by a compaction."""
        listed = self.listed()
        return [
            (table, segment)
            for table in TABLES
            for segment in sorted(set(listed[table.name]) - set(live(listed[table.name], merged_through)))
        ]

    def holds_merged(self, merged_through: int) -> bool:
        """Whether there are segments that the next merge deletes because the file holds their rows."""
        return any(s.last <= merged_through for segments in self.listed().values() for s in segments)

    def remove(self, table: Schema, segment: Segment) -> None:
        """Deletes a segment, wherever its content is."""
        self._files.remove(self.path(table, segment))
        self._files.remove(self.replaced(table) / segment.name)

    def prepare(self) -> None:
        """At start: creates the folders and removes unfinished files."""
        self._files.make_folder(self.root)
        self._files.share(self.root)  # the group may be new
        for folder in (self.aside, self.partial, self.root / ".replaced", self.root / ".uncommitted"):
            self._make_own_folder(folder)
        for table in TABLES:
            for folder in (self.folder(table), self.replaced(table), self.uncommitted(table)):
                self._make_own_folder(folder)
        for name in self._files.names(self.partial):
            if _is_folder(self.partial / name):
                self.set_aside(self.partial / name, "foreign")
            else:
                self._files.remove(self.partial / name)
        for table in TABLES:
            for name in self._files.names(self.folder(table)):
                path = self.folder(table) / name
                if path.is_symlink() and not path.exists():
                    self._files.remove(path)
            for name in self._files.names(self.replaced(table)):
                kept = (self.folder(table) / name).is_symlink() or _is_folder(self.replaced(table) / name)
                if not kept:
                    self._files.remove(self.replaced(table) / name)
        self.sync()

    def _make_own_folder(self, folder: Path) -> None:
        """Creates a folder; another file of that name is moved aside first: a link could lead anywhere."""
        if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
            self._files.rename(folder, stamped(folder, "foreign"))
        self._files.make_folder(folder)

    def set_aside(self, path: Path, word: str) -> Path:
        """Moves a file of the tail aside; returns its new path."""
        self._files.make_folder(self.aside)
        aside = stamped(self.aside / shown(f"{path.parent.name}-{path.name}"), word)
        self._files.rename(path, aside)
        self._files.sync_folder(aside.parent)
        return aside

    def sync(self) -> None:
        """Makes every name seen here durable: its writer may have crashed or failed before its fsync."""
        for table in TABLES:
            self._files.sync_folder(self.folder(table))

    def strays(self) -> list[Path]:
        """Foreign files in the tables' folders; DuckDB would try to read them, and block for ever at a FIFO."""
        return [
            self.folder(table) / name
            for table in TABLES
            for name in self._files.names(self.folder(table))
            if not self._is_ours(table, name)
        ]

    def _is_ours(self, table: Schema, name: str) -> bool:
        """A regular file with the name of a segment, or the link that stands for a hidden one."""
        if parse_name(name) is None and name != EMPTY_NAME:
            return False
        path = self.folder(table) / name
        try:
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode):
                behind = (self.replaced(table) / name, self.uncommitted(table) / name)
                return path.readlink().parts[-3:] in [hidden.parts[-3:] for hidden in behind]
        except FileNotFoundError:  # deleted meanwhile
            return True
        return stat.S_ISREG(mode)

    def size(self, table: Schema, segments: Iterable[Segment]) -> int:
        """Bytes on disk."""
        total = 0
        for segment in segments:
            try:
                total += self.path(table, segment).stat().st_size
            except FileNotFoundError:
                continue
        return total

    def remove_all(self) -> None:
        """Deletes the tail except the files set aside; the manifest last."""
        for table in TABLES:
            for folder in (self.folder(table), self.replaced(table), self.uncommitted(table)):
                names = self._files.names(folder)
                for name in names:
                    if not _is_folder(folder / name):
                        self._files.remove(folder / name)
                if names:
                    self._files.sync_folder(folder)
                self._files.remove_folder(folder)
        self._files.remove_folder(self.root / ".replaced")
        self._files.remove_folder(self.root / ".uncommitted")
        self._files.remove_folder(self.partial)
        self._files.remove_folder(self.aside)
        for name in (MARKER_NAME, JOURNAL_NAME, "merging", "acknowledged.tmp", "manifest.tmp", "manifest.jsonl"):
            self._files.remove(self.root / name)
        self._files.remove_folder(self.root)
