"""Segments: names, which of them count, and writing the segments of one batch so that they commit together.

A segment holds the rows of the batches FIRST..LAST of one table and is named "LEVEL-FIRST-LAST.parquet".
A flush writes level 0; folding joins several of one level into one of the next. A segment counts
("is live") when it is above the file's watermark and no segment of a higher level reaches its LAST:
whoever lists a folder once can tell, whatever files of a fold are still or already there.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import duckdb

from actors.batch import Batch
from actors.store.files import Files, crash_point
from actors.store.tables import TABLES, TICKS, TableSpec

_NAME = re.compile(r"(\d)-(\d{16})-(\d{16})\.parquet")
PARTIAL_PREFIX = ".partial-"  # DuckDB's "*" passes over names that do not end in .parquet
PARTIAL_SUFFIX = ".tmp"
_FORMAT = "(FORMAT parquet, COMPRESSION zstd, USE_TMP_FILE false)"  # partial names are ours


@dataclass(frozen=True, slots=True, order=True)
class Segment:
    """One segment by its name; sorts by batch."""

    first: int
    last: int
    level: int

    @property
    def name(self) -> str:
        """The file name."""
        return f"{self.level}-{self.first:016}-{self.last:016}.parquet"


# Globbing a folder without any match is an error in DuckDB, so each folder always holds this, with no rows.
EMPTY = Segment(0, 0, 0)


def parse_name(name: str) -> Segment | None:
    """The segment of a file name, or None for any other file."""
    match = _NAME.fullmatch(name)
    return Segment(int(match[2]), int(match[3]), int(match[1])) if match else None


def segments_in(files: Files, folder: Path) -> list[Segment]:
    """All segments in a folder but the empty one, in order of their batches."""
    found = (parse_name(name) for name in files.names(folder))
    return sorted(segment for segment in found if segment is not None and segment != EMPTY)


def live(segments: Iterable[Segment], merged_through: int) -> list[Segment]:
    """Those that count, in order: the rule that `views` says in SQL."""
    everything = list(segments)
    top = {
        level: max((s.last for s in everything if s.level > level), default=0)
        for level in {s.level for s in everything}
    }
    return sorted(s for s in everything if s.last > max(merged_through, top[s.level]))


def sql_text(value: str | Path) -> str:
    """A string literal: COPY, read_parquet in a view and ATTACH take no bound parameters."""
    return "'" + str(value).replace("'", "''") + "'"


class SegmentWriter:
    """Turns batches into segments through an in-memory DuckDB; one thread at a time, close() ends it."""

    def __init__(self, tail: Path, files: Files, memory_limit: str) -> None:
        self._tail, self._files = tail, files
        self._con = duckdb.connect(":memory:", config={"threads": 1, "memory_limit": memory_limit})

    def close(self) -> None:
        """Frees the in-memory database."""
        self._con.close()

    def folder(self, table: TableSpec) -> Path:
        """Where the table's segments lie."""
        return self._tail / table.name

    def prepare(self) -> None:
        """Makes the folders with their empty segments and removes what a crash left half written."""
        for table in TABLES:
            folder = self.folder(table)
            self._files.make_folder(folder)
            for name in self._files.names(folder):
                if name.startswith(PARTIAL_PREFIX):
                    self._files.remove(folder / name)
            if EMPTY.name not in self._files.names(folder):
                partial = self._produce(table, Batch(0))
                self._files.rename(partial, folder / EMPTY.name)
            self._files.sync_folder(folder)

    def write_batch(self, batch: Batch) -> int:
        """Makes the batch durable, all tables or none, and returns its bytes on disk.

        The ticks segment, empty or not, is renamed last, after all others are safe under their names:
        it is the commit. Other tables' segments above the newest ticks segment never happened.
        Safe to call again with the same batch after any error: every file is written anew, because
        after a failed fsync the old one cannot be trusted.
        """
        wanted = [table for table in TABLES if table is TICKS or len(table.columns_of(batch)[0])]
        partials = {table.name: self._produce(table, batch) for table in wanted}
        size = sum(path.stat().st_size for path in partials.values())
        crash_point("segment.synced")
        name = Segment(batch.number, batch.number, 0).name
        for table in wanted:
            if table is TICKS:
                crash_point("segment.uncommitted")
            folder = self.folder(table)
            self._files.rename(partials[table.name], folder / name)
            if table is TICKS:
                crash_point("segment.renamed")
            self._files.sync_folder(folder)
        crash_point("segment.committed")
        return size

    def _produce(self, table: TableSpec, batch: Batch) -> Path:
        path = self.folder(table) / f"{PARTIAL_PREFIX}{batch.number:016}{PARTIAL_SUFFIX}"
        self._files.remove(path)
        self._con.register("batch", table.arrow(batch))
        try:
            sql = f"COPY ({table.select('batch')}) TO {sql_text(path)} {_FORMAT}"
            self._files.produce(path, lambda _: self._con.execute(sql))
        finally:
            self._con.unregister("batch")
        crash_point("segment.written")
        return path

    def join(self, table: TableSpec, sources: list[Segment]) -> Segment:
        """Folds segments of one level into one of the next; the sources stay until nobody can need them."""
        folder = self.folder(table)
        target = Segment(sources[0].first, sources[-1].last, sources[0].level + 1)
        partial = folder / f"{PARTIAL_PREFIX}{target.name}{PARTIAL_SUFFIX}"
        self._files.remove(partial)
        listed = "[" + ", ".join(sql_text(folder / s.name) for s in sources) + "]"
        sql = f"COPY (SELECT {table.names} FROM read_parquet({listed})) TO {sql_text(partial)} {_FORMAT}"
        self._files.produce(partial, lambda _: self._con.execute(sql))
        crash_point("fold.written")
        self._files.rename(partial, folder / target.name)
        self._files.sync_folder(folder)
        crash_point("fold.renamed")
        return target

    def rows(self, table: TableSpec, segment: Segment) -> int:
        """Rows of a segment by its footer; duckdb.Error if it is damaged."""
        path = sql_text(self.folder(table) / segment.name)
        row = self._con.execute(f"SELECT sum(num_rows) FROM parquet_file_metadata({path})").fetchone()
        return int(row[0]) if row and row[0] is not None else 0

    def read_through(self, table: TableSpec, segment: Segment) -> None:
        """Reads every value of a segment; duckdb.Error if it cannot be read."""
        path = sql_text(self.folder(table) / segment.name)
        columns = ", ".join(f"max({column.quoted})" for column in table.columns)
        self._con.execute(f"SELECT {columns} FROM read_parquet({path})").fetchall()
