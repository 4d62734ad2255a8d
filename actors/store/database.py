"""The DuckDB file: the operations of the short moments in which the service holds it.

DuckDB opens a file for one read-write process or for many readers, and its lock (POSIX fcntl) is released as soon
as the process closes any descriptor of the file. So the service does not keep the file open: everything here opens
it, works and closes it, and nothing else in the service may open or close that path, not even for reading.
"""

import errno
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import duckdb

from actors.model.errors import DatabaseLocked
from actors.settings import StoreSettings
from actors.store.adjacent_tail import Owner, TailMissing, owner_of, reach
from actors.store.connecting import connect, other_storage, service_limits, transaction
from actors.store.duckdb_messages import bare, held, holder, system_reason
from actors.store.filesystem import Files
from actors.store.foreign import foreign
from actors.store.library_pages import release_library_pages
from actors.store.migration import STEPS, NoWayUp, migrate
from actors.store.sql import numbered
from actors.store.tables import BATCH, SCHEMA_VERSION, TABLES
from actors.store.truncation import bytes_counted, bytes_needed
from actors.store.views import SCHEMA, create_views, schema_sql

T = TypeVar("T")

# DuckDB's messages (1.5 to 2.0) for unreadable content. Only then is a file set aside: all other errors on opening
# it (no space, no permission, no locks here) may be temporary, and the file is left alone. All patterns are applied
# to a text without names (see duckdb_messages).
_CORRUPT = re.compile(
    r"corrupt|not a valid duckdb database|could not read enough bytes|replaying wal|deserializ|invalid storage"
    r"|checksum .* does not match",
    re.IGNORECASE,
)
_CORRUPT_TYPES = (duckdb.SerializationException, duckdb.InternalException)
# Types of errors about the content; all others are about a statement or one of its values.
_CONTENT_TYPES = (*_CORRUPT_TYPES, duckdb.IOException, duckdb.FatalException, duckdb.TransactionException)
# Errors of a full or failing disk during the work; a failed COMMIT is a TransactionException.
_TROUBLE_TYPES = (
    duckdb.IOException,
    duckdb.OutOfMemoryException,
    duckdb.FatalException,
    duckdb.TransactionException,
)
# The cause of an error that DuckDB words as damage, such as a write-ahead log that it had no room to replay.
_SYSTEM = (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO, errno.EROFS)
_SHORT = re.compile(r"max_temp_directory_size|out of memory", re.IGNORECASE)
_REFUSED = re.compile(r"newer version of duckdb|encrypted|crypto", re.IGNORECASE)
_WAL = re.compile(r"replaying wal|corrupt wal", re.IGNORECASE)

# A checkpoint joins row groups that are not full, and rewrites them. Small merges need that: each adds a row group
# to each table. Large ones write row groups that may stay as they are; only the small tables need it, now and then.
ROW_GROUP = 122_880  # rows of DuckDB's full one
JOINED_EVERY = 16  # one in so many large merges joins


class FileDamaged(Exception):
    """The file exists and DuckDB cannot read it; with `wal`, only its write-ahead log is unreadable."""

    def __init__(self, text: str, *, wal: bool = False) -> None:
        super().__init__(text)
        self.wal = wal


class FileTrouble(Exception):
    """The system does not give us the file now (disk full, no permission)."""


class FileRefused(Exception):
    """The file is intact but not ours; it is left untouched. An operator has to decide."""


class SchemaNewer(FileRefused):
    """The file was written by a later version of this software, or of DuckDB."""


def refuse_foreign(path: Path) -> None:
    """Raises FileRefused for what can be no recording. To be called before the lock file is made."""
    if what := foreign(path):
        raise FileRefused(
            f"{path} is {what}; it was left unchanged. Move it away, or set store.path to another file."
        )


def opening_error(error: duckdb.Error, path: Path) -> Exception:
    """The meaning of an error on opening."""
    text = bare(error, [path])
    if isinstance(error, duckdb.ConnectionException):
        return DatabaseLocked(path.name, os.getpid())  # it is open in this process
    if held(error, path):
        return DatabaseLocked(path.name, holder(error))
    if _REFUSED.search(text):
        message = f"{path} cannot be opened by this DuckDB ({str(error)[:300]}); set store.path to another file."
        return SchemaNewer(message)
    if _of_system(error, text):
        return FileTrouble(str(error))
    if isinstance(error, _CORRUPT_TYPES) or _CORRUPT.search(text):
        return FileDamaged(str(error), wal=bool(_WAL.search(text)))
    return FileTrouble(str(error))


def _of_system(error: duckdb.Error, text: str) -> bool:
    named = system_reason(text, _SYSTEM) or _SHORT.search(text)
    return isinstance(error, duckdb.OutOfMemoryException) or bool(named)


def _damaged(error: duckdb.Error, names: Iterable[Path]) -> FileDamaged | None:
    """Whether an error during the work is about the content of the file."""
    text = bare(error, names)
    if not (type(error) is duckdb.Error or isinstance(error, _CONTENT_TYPES)) or not _CORRUPT.search(text):
        return None
    if _of_system(error, text):
        return None
    return FileDamaged(str(error), wal=bool(_WAL.search(text)))


class DuckFile:
    """Opens, fills and checks one file. Not for two threads at once.

    A file that it creates, or that has no id yet, gets `store_id`. `lock` is called for each file that gets or has
    the path, while DuckDB does not have it open here; it raises if another service records into that file.
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
        self.created = ""  # the id of the file that `opened` has just created
        self._names = [path, tail, *([settings.archive_dir] if settings.archive_dir else [])]
        self.wal = path.with_name(path.name + ".wal")
        self._new = path.with_name(path.name + ".new")
        self._cut_off = (0, 0)  # a length to which DuckDB itself has cut the file, and the length it counts
        self._limits = service_limits(path, settings.memory_limit, "file")
        self._storage_version = settings.storage_version
        self._merges = 0

    @contextmanager
    def opened(self, *, read_only: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
        """The file, held until the block ends; created if there is none. With `read_only` others may read too.

        Raises DatabaseLocked, FileDamaged (also if the block finds damage), FileTrouble or FileRefused.
        """
        self.created = ""
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
            release_library_pages()

    def _check_size(self, con: duckdb.DuckDBPyConnection) -> None:
        """Detects a truncated file: DuckDB opens it, and fails only when it reads a row of the missing end."""
        found, counted = self.path.stat().st_size, bytes_counted(con)
        if found >= counted or (found, counted) == self._cut_off:
            return
        needed = bytes_needed(con)
        if found < needed:
            raise FileDamaged(f"its end is missing: got {found} bytes, expected {needed}")
        self._cut_off = (found, counted)

    def _connect(self, path: Path, *, read_only: bool = False) -> duckdb.DuckDBPyConnection:
        try:
            return connect(path, self._limits, read_only=read_only, storage_version=self._storage_version)
        except duckdb.Error as error:
            raise opening_error(error, path) from error

    def _create(self) -> None:
        """Creates a file under another name, so that a crash leaves no half-created one. DuckDB makes its content
        durable, this method its name.
        """
        new_wal = self._new.with_name(self._new.name + ".wal")
        for leftover in (self._new, new_wal):
            self._files.remove(leftover)
        con = self._connect(self._new)
        try:
            self.adopt(con, self.store_id)
        finally:
            con.close()
        self._files.crash_point("create.written")
        self._lock(self._new)  # before it gets its final name
        self._files.share(self._new)
        self._files.publish(self._new, self.path)
        self._files.crash_point("create.named")
        self._files.sync_folder(self.path.parent)
        self.created = self.store_id

    def consult(self, question: Callable[[duckdb.DuckDBPyConnection], T]) -> T:
        """The result of `question` on the views, beside other readers. Raises DatabaseLocked and FileDamaged."""
        try:
            con = connect(self.path, self._limits, read_only=True)
        except duckdb.Error as error:  # other errors on opening are reported by the merge
            raise DatabaseLocked(self.path.name, holder(error)) from error
        try:
            if not self.exists_in(con):  # not adopted yet, because another process holds it
                raise DatabaseLocked(self.path.name)
            with suppress(TailMissing):  # the question may not need it; if it does, the views raise an error
                reach(con, self.path)
            return question(con)
        except duckdb.Error as error:
            if damaged := _damaged(error, self._names):
                raise damaged from error
            raise
        finally:
            con.close()
            release_library_pages()

    def peek(self) -> Owner | None:
        """What a file that others are reading says about itself; None if it is being written or is not ours."""
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
        """Whether the file has our schema; an empty or foreign DuckDB file has none."""
        row = con.execute("SELECT count(*) FROM duckdb_schemas() WHERE schema_name = ?", [SCHEMA]).fetchone()
        return bool(row and row[0])

    def adopt(self, con: duckdb.DuckDBPyConnection, store_id: str) -> int:
        """Makes the file ours: creates or upgrades the schema, sets our id, and connects the views to our tail.

        Returns the version of the schema that it had.
        """
        if self.created == store_id != "":
            return SCHEMA_VERSION  # done by `_create`; the views alone take 40 ms
        try:
            with transaction(con):
                self._check_storage(con)
                if not self.exists_in(con):
                    for statement in schema_sql(SCHEMA_VERSION):
                        con.execute(statement)
                found = self._version(con)
                migrate(con, found, SCHEMA_VERSION, self._migrations)
                con.execute(f"DELETE FROM {SCHEMA}.identity")
                con.execute(f"INSERT INTO {SCHEMA}.identity VALUES (?)", [store_id])
                create_views(con, self._tail)
        except (duckdb.CatalogException, NoWayUp) as error:
            raise FileRefused(
                f"{self.path} is not laid out as our files are ({str(error)[:200]});"
                " set store.path to another file."
            ) from error
        con.execute("CHECKPOINT")
        return found

    def _check_storage(self, con: duckdb.DuckDBPyConnection) -> None:
        found = other_storage(con, self._storage_version)
        if found:
            raise FileRefused(
                f"{self.path} was created with storage version {found} and keeps it, but store.storage_version is"
                f" {self._storage_version}. Set it to {found}, or choose a new store.path ('tickwarden export'"
                " copies what is recorded)."
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
                f"{self.path} has schema version {version}; this software supports {SCHEMA_VERSION}."
                " Use the newer software, or set store.path to another file."
            )
        return version

    @staticmethod
    def merged_through(con: duckdb.DuckDBPyConnection) -> int:
        """The last merged batch."""
        row = con.execute(f"SELECT max(merged_through) FROM {SCHEMA}.watermark").fetchone()
        return int(row[0]) if row and row[0] is not None else 0

    @staticmethod
    def rows(con: duckdb.DuckDBPyConnection) -> dict[str, int]:
        """The number of rows of each merged table; cheap, because DuckDB keeps these counts."""
        counts = {}
        for table in TABLES:
            row = con.execute(f"SELECT count(*) FROM {SCHEMA}.{table.name}").fetchone()
            counts[table.name] = int(row[0]) if row else 0
        return counts

    def merge(
        self, con: duckdb.DuckDBPyConnection, segments: Mapping[str, Sequence[Path]], through: int
    ) -> dict[str, int]:
        """Merges the segments and raises the watermark, in one transaction, then checkpoints the file.

        Returns the rows of each table afterwards. After an error the file holds none of it, or all (a commit can
        succeed and the checkpoint after it fail): read the watermark before retrying.
        """
        rows = 0  # of the largest table
        with transaction(con):
            for table in TABLES:
                paths = segments.get(table.name)
                if paths:
                    # By name: a column added by a migration is the last one.
                    into = f"{SCHEMA}.{table.name} ({table.names}, {BATCH})"
                    row = con.execute(f"INSERT INTO {into} {numbered(table.names, paths)}").fetchone()
                    rows = max(rows, row[0] if row else 0)
            con.execute(f"UPDATE {SCHEMA}.watermark SET merged_through = ?", [through])
            self._merges += 1
            if rows >= ROW_GROUP and self._merges % JOINED_EVERY:
                con.execute("SET max_vacuum_tasks = 0")
            self._files.crash_point("merge.inserted")
        self._files.crash_point("merge.committed")
        con.execute("CHECKPOINT")
        self._files.crash_point("merge.checkpointed")
        return self.rows(con)
