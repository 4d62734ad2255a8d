"""The DuckDB file itself: the short moments in which it is held, and what is done in them.

DuckDB gives a file to one read-write process or to many readers, and the lock (POSIX fcntl) goes as soon as
the process closes any descriptor of the file. So the service does not keep the file: everything here opens
it, works and closes it, and nothing else in the service may open or close that path, not even for reading.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import duckdb

from actors.model.errors import DatabaseLocked
from actors.settings import StoreSettings
from actors.store.adjacent_tail import Owner, TailMissing, owner_of, reach
from actors.store.connecting import connect, service_limits, transaction
from actors.store.duckdb_messages import bare, held, holder
from actors.store.filesystem import Files
from actors.store.migration import STEPS, NoWayUp, migrate
from actors.store.sql import parquet
from actors.store.tables import SCHEMA_VERSION, TABLES
from actors.store.truncation import bytes_counted, bytes_needed
from actors.store.views import SCHEMA, create_views, recorded_tail, schema_sql

T = TypeVar("T")

# What DuckDB 1.5 to 2.0 say when the content cannot be read. Only then is a file set aside: whatever else stops
# DuckDB from opening it (no space, no permission, no locks here) may pass, and the file is left alone. All of these
# are asked of a text without names (see messages).
_CORRUPT = re.compile(
    r"corrupt|not a valid duckdb database|could not read enough bytes|replaying wal|deserializ|invalid storage"
    r"|checksum .* does not match",
    re.IGNORECASE,
)
_CORRUPT_TYPES = (duckdb.SerializationException, duckdb.InternalException)
# What an error about the content can be; any other is about a statement or a value of it.
_CONTENT_TYPES = (*_CORRUPT_TYPES, duckdb.IOException, duckdb.FatalException, duckdb.TransactionException)
# What a full or sick disk looks like in the middle of the work; a failed COMMIT is a TransactionException.
_TROUBLE_TYPES = (
    duckdb.IOException,
    duckdb.OutOfMemoryException,
    duckdb.FatalException,
    duckdb.TransactionException,
)
_REFUSED = re.compile(r"newer version of duckdb|encrypted|crypto", re.IGNORECASE)
_WAL = re.compile(r"replaying wal|corrupt wal", re.IGNORECASE)


class FileDamaged(Exception):
    """The file is there and DuckDB cannot read it; with `wal`, it is only its write-ahead log."""

    def __init__(self, text: str, *, wal: bool = False) -> None:
        super().__init__(text)
        self.wal = wal


class FileTrouble(Exception):
    """The system will not let us have the file now (disk full, no permission): the world's fault."""


class FileRefused(Exception):
    """The file is sound and not for us; it is left untouched. Somebody has to decide."""


class SchemaNewer(FileRefused):
    """The file was written by a later version of this software, or of DuckDB."""


@dataclass(frozen=True, slots=True)
class Found:
    """How a file was before it was adopted: its schema's version, and the tail its views reached into."""

    version: int
    tail: Path | None


def _sorted_out(error: duckdb.Error, path: Path) -> Exception:
    """What an error on opening means."""
    text = bare(error, [path])
    if isinstance(error, duckdb.ConnectionException):
        return DatabaseLocked(path.name, os.getpid())  # somebody in this very process has it open
    if held(error, path):
        return DatabaseLocked(path.name, holder(error))
    if _REFUSED.search(text):
        words = f"{path} cannot be opened by this DuckDB ({str(error)[:300]}); give store.path another file."
        return SchemaNewer(words)
    if isinstance(error, _CORRUPT_TYPES) or _CORRUPT.search(text):
        return FileDamaged(str(error), wal=bool(_WAL.search(text)))
    return FileTrouble(str(error))


def _damaged(error: duckdb.Error, names: Iterable[Path]) -> FileDamaged | None:
    """Whether an error in the middle of the work is about the content of the file."""
    text = bare(error, names)
    if not (type(error) is duckdb.Error or isinstance(error, _CONTENT_TYPES)) or not _CORRUPT.search(text):
        return None
    return FileDamaged(str(error), wal=bool(_WAL.search(text)))


class DuckFile:
    """Opens, fills and checks one file. Not for two threads at once.

    A file that it begins, or that has no id yet, gets `store_id`. `lock` is called for each file that gets or has
    the path, while DuckDB does not have it open here; it raises if the file is another service's.
    """

    def __init__(
        self,
        path: Path,
        settings: StoreSettings,
        tail: Path,
        files: Files,
        *,
        lock: Callable[[Path], None] = lambda _: None,
        migrations: Mapping[int, Sequence[str]] = STEPS,
    ) -> None:
        self.path, self._tail, self._files, self._lock = path, tail, files, lock
        self._migrations = migrations
        self.store_id = ""
        self._group = settings.group
        self._names = [path, tail, *([settings.archive_dir] if settings.archive_dir else [])]
        self.wal = path.with_name(path.name + ".wal")
        self._new = path.with_name(path.name + ".new")
        self._cut_off = (0, 0)  # a length that DuckDB has cut the file to itself, and what it counts on
        self._limits = service_limits(path, settings.memory_limit, "file")
        self._storage_version = settings.storage_version

    @contextmanager
    def opened(self, *, read_only: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
        """The file, held until the block ends; begun if there is none. With `read_only` others may read too.

        Raises DatabaseLocked, FileDamaged (also when the block finds damage), FileTrouble or FileRefused.
        """
        if not self.path.exists():
            self._create()
        self._lock(self.path)
        clean = not self.wal.exists()
        con = self._connect(self.path, read_only=read_only)
        try:
            if clean:
                self._check_size(con)
            yield con
        except duckdb.Error as error:
            if damaged := _damaged(error, self._names):
                raise damaged from error
            if isinstance(error, _TROUBLE_TYPES):
                raise FileTrouble(str(error)) from error
            raise
        finally:
            con.close()

    def _check_size(self, con: duckdb.DuckDBPyConnection) -> None:
        """DuckDB opens a file whose end is missing, and fails only when it comes to a row there."""
        found, counted = self.path.stat().st_size, bytes_counted(con)
        if found >= counted or (found, counted) == self._cut_off:
            return
        needed = bytes_needed(con)
        if found < needed:
            raise FileDamaged(f"its end is missing: it should have {needed} bytes, and has {found}")
        self._cut_off = (found, counted)

    def _connect(self, path: Path, *, read_only: bool = False) -> duckdb.DuckDBPyConnection:
        try:
            return connect(path, self._limits, read_only=read_only, storage_version=self._storage_version)
        except duckdb.Error as error:
            raise _sorted_out(error, path) from error

    def _create(self) -> None:
        """Begins a file under another name, so that a crash leaves none that is half begun; DuckDB makes its
        content durable, and its name is for us to."""
        new_wal = self._new.with_name(self._new.name + ".wal")
        for leftover in (self._new, new_wal):
            self._files.remove(leftover)
        con = self._connect(self._new)
        try:
            self.adopt(con, self.store_id)
        finally:
            con.close()
        self._files.crash_point("create.written")
        self._lock(self._new)  # before it gets the name under which others find it
        if self._group is not None:
            self._files.give(self._new, self._group)
        self._files.publish(self._new, self.path)
        self._files.crash_point("create.named")
        self._files.sync_folder(self.path.parent)

    def consult(self, question: Callable[[duckdb.DuckDBPyConnection], T]) -> T:
        """What `question` finds through the views, beside other readers. Raises DatabaseLocked."""
        try:
            con = connect(self.path, self._limits, read_only=True)
        except duckdb.Error as error:  # what else keeps it from being opened is reported by the merge
            raise DatabaseLocked(self.path.name, holder(error)) from error
        try:
            if not self.exists_in(con):  # not adopted yet: another process keeps us from it
                raise DatabaseLocked(self.path.name)
            with suppress(TailMissing):  # the question may not need it; where it does, the views say so
                reach(con, self.path)
            return question(con)
        finally:
            con.close()

    def peek(self) -> Owner | None:
        """What a file that others read just now says of itself; None if somebody writes it or it is not ours."""
        try:
            con = connect(self.path, self._limits, read_only=True)
        except duckdb.Error:
            return None
        try:
            return owner_of(con)
        except duckdb.Error:
            return None
        finally:
            con.close()

    @staticmethod
    def exists_in(con: duckdb.DuckDBPyConnection) -> bool:
        """Whether our schema is in it; an empty or foreign DuckDB file has none."""
        row = con.execute("SELECT count(*) FROM duckdb_schemas() WHERE schema_name = ?", [SCHEMA]).fetchone()
        return bool(row and row[0])

    def adopt(self, con: duckdb.DuckDBPyConnection, store_id: str) -> Found:
        """Makes the file ours: schema if it has none, brought up to date, our id, views reaching into our tail."""
        try:
            with transaction(con):
                if not self.exists_in(con):
                    for statement in schema_sql(SCHEMA_VERSION):
                        con.execute(statement)
                else:
                    self._check_storage(con)
                found = Found(self._version(con), recorded_tail(con))
                migrate(con, found.version, SCHEMA_VERSION, self._migrations)
                con.execute(f"DELETE FROM {SCHEMA}.identity")
                con.execute(f"INSERT INTO {SCHEMA}.identity VALUES (?)", [store_id])
                create_views(con, self._tail)
        except (duckdb.CatalogException, NoWayUp) as error:
            raise FileRefused(
                f"{self.path} is not laid out as ours are ({str(error)[:200]}); give store.path another file."
            ) from error
        con.execute("CHECKPOINT")
        return found

    def _check_storage(self, con: duckdb.DuckDBPyConnection) -> None:
        """A file keeps the storage version it was begun with; DuckDB passes over a wish for another one."""
        row = con.execute(
            "SELECT tags['storage_version'] FROM duckdb_databases() WHERE database_name = current_database()"
        ).fetchone()
        found, wanted = str(row[0] if row else ""), self._storage_version
        if found.startswith("v") and wanted != "latest" and found.split(".")[:2] != wanted.split(".")[:2]:
            raise FileRefused(
                f"{self.path} was begun with storage version {found.rstrip('+')} and keeps it, but"
                f" store.storage_version is {wanted}. Set it to {found.rstrip('+')}, or give store.path a new file"
                " ('tickwarden export' copies what is recorded)."
            )

    def leave(self, con: duckdb.DuckDBPyConnection) -> None:
        """Makes the file complete by itself: views without a tail."""
        with transaction(con):
            create_views(con, None)
        self._files.crash_point("finish.committed")
        con.execute("CHECKPOINT")

    def _version(self, con: duckdb.DuckDBPyConnection) -> int:
        row = con.execute("SELECT max(version) FROM main.schema_version").fetchone()
        version = int(row[0]) if row and row[0] is not None else 0
        if version > SCHEMA_VERSION:
            raise SchemaNewer(
                f"{self.path} follows version {version} of the schema; this software knows {SCHEMA_VERSION}."
                " Use the newer software, or give store.path another file."
            )
        return version

    @staticmethod
    def merged_through(con: duckdb.DuckDBPyConnection) -> int:
        """The last batch that is in the tables."""
        row = con.execute(f"SELECT max(merged_through) FROM {SCHEMA}.watermark").fetchone()
        return int(row[0]) if row and row[0] is not None else 0

    @staticmethod
    def rows(con: duckdb.DuckDBPyConnection) -> dict[str, int]:
        """Rows of each merged table; DuckDB keeps these counts, so it is cheap."""
        counts = {}
        for table in TABLES:
            row = con.execute(f"SELECT count(*) FROM {SCHEMA}.{table.name}").fetchone()
            counts[table.name] = int(row[0]) if row else 0
        return counts

    def merge(
        self, con: duckdb.DuckDBPyConnection, segments: Mapping[str, Sequence[Path]], through: int
    ) -> dict[str, int]:
        """Takes the segments over and raises the watermark, in one transaction, then writes it all to the file.

        Returns the rows of each table afterwards. After an error nothing of it is in the file, or all is
        (a commit can succeed where the checkpoint behind it fails): read the watermark before trying again.
        """
        with transaction(con):
            for table in TABLES:
                paths = segments.get(table.name)
                if paths:
                    source = f"SELECT {table.names} FROM {parquet(paths)}"
                    # By name: a column that a migration has added stands last.
                    con.execute(f"INSERT INTO {SCHEMA}.{table.name} ({table.names}) {source}")
            con.execute(f"UPDATE {SCHEMA}.watermark SET merged_through = ?", [through])
            self._files.crash_point("merge.inserted")
        self._files.crash_point("merge.committed")
        con.execute("CHECKPOINT")
        self._files.crash_point("merge.checkpointed")
        return self.rows(con)
