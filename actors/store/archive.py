"""The archive: what retention deletes from the file, as Parquet files by table, exchange, symbol and UTC day.

A piece of a day is written under the name that the DuckDB file has given it. A crash between archiving and
deleting leaves that name as it was, and the next attempt replaces its files; a deletion that has been
committed has moved on to the next name, so rows that come late for an archived day get files of their own.
The name starts with a random word of the DuckDB file's, so that two recordings may share a folder.
"""

import shutil
from pathlib import Path

import duckdb

from actors.store import partitions
from actors.store.filesystem import Files
from actors.store.sql import parquet


class ArchiveWrong(Exception):
    """The archive does not hold what was written to it; nothing is deleted."""


class Archive:
    """One folder with a folder for each table; every method blocks and may raise OSError or duckdb.Error."""

    def __init__(self, root: Path, files: Files) -> None:
        self.root, self._files = root, files

    def keep(self, con: duckdb.DuckDBPyConnection, table: str, rows: str, date: str, name: str) -> int:
        """Makes what the SELECT `rows` gives, all of the UTC day `date`, durable under `name`, and counts it there.

        The connection must have one thread (see partitions.write).
        """
        partial = self.root / f".partial-{name}"
        self._files.make_folder(self.root)
        shutil.rmtree(partial, ignore_errors=True)
        try:
            written = partitions.write(con, table, rows, partial, name)
            made = sorted(partial.rglob("*.parquet"))
            for path in made:
                self._files.sync_file(path)
            self._files.crash_point("archive.written")
            self._remove(table, date, name)
            placed = [self._place(path, self.root / table / path.relative_to(partial)) for path in made]
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        self._files.crash_point("archive.placed")
        counted = self._count(con, placed)
        if counted != written:
            raise ArchiveWrong(f"{self.root} holds {counted} of {written} rows of {table} of {date}")
        return counted

    def _remove(self, table: str, date: str, name: str) -> None:
        """Deletes what an earlier attempt left, of which this one may have no counterpart."""
        for path in (self.root / table).glob(f"**/date={date}/{name}-*.parquet"):
            self._files.remove(path)

    def _place(self, path: Path, target: Path) -> Path:
        self._files.make_folder(target.parent)
        self._files.rename(path, target)
        self._files.sync_folder(target.parent)
        return target

    def _count(self, con: duckdb.DuckDBPyConnection, paths: list[Path]) -> int:
        """Rows by reading the files: what a footer says alone would not show that the values are there."""
        if not paths:
            return 0
        columns = con.execute(f"DESCRIBE FROM {parquet(paths)}").fetchall()
        read = ", ".join(f'max("{column[0]}")' for column in columns)
        row = con.execute(f"SELECT count(*), {read} FROM {parquet(paths)}").fetchone()
        return int(row[0]) if row else 0
