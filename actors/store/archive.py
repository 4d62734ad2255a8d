"""The archive: the rows that retention deletes from the file, as Parquet files by table, exchange, symbol and UTC
day.

A piece of a day is written under a name stored in the DuckDB file. A crash between archiving and deleting leaves
that name unchanged, and the next attempt replaces the piece's files; a committed deletion advances the name, so
rows that arrive late for an archived day get files of their own. The name starts with a random word of the DuckDB
file, so that two recordings may share a folder.
"""

import shutil
from pathlib import Path

import duckdb

from actors.store import partitions
from actors.store.filesystem import Files
from actors.store.sql import parquet


class ArchiveWrong(Exception):
    """The archive does not contain what was written to it; nothing is deleted."""


class Archive:
    """One folder with a subfolder for each table; every method blocks and may raise OSError or duckdb.Error."""

    def __init__(self, root: Path, files: Files) -> None:
        self.root, self._files = root, files

    def keep(self, con: duckdb.DuckDBPyConnection, table: str, rows: str, date: str, name: str) -> int:
        """Writes the rows of the SELECT `rows`, all of the UTC day `date`, durably under `name`, and verifies their
        number.

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
        """Deletes the files of an earlier attempt, some of which this one may not replace."""
        for path in (self.root / table).glob(f"**/date={date}/{name}-*.parquet"):
            self._files.remove(path)

    def _place(self, path: Path, target: Path) -> Path:
        self._files.make_folder(target.parent)
        self._files.rename(path, target)
        self._files.sync_folder(target.parent)
        return target

    def _count(self, con: duckdb.DuckDBPyConnection, paths: list[Path]) -> int:
        """Counts rows by reading the files: a footer alone does not prove that the values exist."""
        if not paths:
            return 0
        columns = con.execute(f"DESCRIBE FROM {parquet(paths)}").fetchall()
        read = ", ".join(f'max("{column[0]}")' for column in columns)
        row = con.execute(f"SELECT count(*), {read} FROM {parquet(paths)}").fetchone()
        return int(row[0]) if row else 0
