"""A lake of Delta tables, in a folder or on S3-compatible object storage, written through delta-rs.

A transaction identifier is only safe if it is checked and written on one handle: delta-rs compares what was
committed since the handle's version, and refuses the same identifier. A write by URI loads the newest version
first, finds nothing since, and commits a batch twice.
"""

import random
import re
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from arro3.core import Table

from actors.sink.lake.credentials import CredentialsWrong
from actors.sink.lake.durability import folder_of, unusable_in_folder
from actors.sink.lake.errors import (
    LakeMisconfigured,
    LakeMoved,
    LakeUnavailable,
    hidden,
    is_panic,
    shortened,
    sorted_error,
)
from actors.sink.lake.handles import Handles
from actors.sink.lake.lake import Batches, Marks
from actors.sink.lake.options import delta_options, secrets
from actors.sink.lake.rows import Rows, format_of
from actors.sink.lake.tables import SHIPMENTS, TABLES, LakeTable

if TYPE_CHECKING:
    from deltalake import CommitProperties

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")  # of a recorder: a part of a transaction's identifier
_SCHEMES = ("", "file", "s3", "s3a", "gs", "az", "abfs", "abfss")
_TICKS = "ticks"
# delta-rs reads what others committed and tries the next version; of ten recorders one needs up to nine rounds.
_COMMIT_RETRIES_MAX = 50
_CONFLICTS_MAX = 10  # conflicts that delta-rs cannot resolve itself, by one table's commit
_CONFLICT_PAUSE_S = 0.05
COMMIT_S_MAX = 20  # no table is begun later; the next attempt goes on there
INSTALL = "the lake needs the package deltalake: pip install 'tickwarden[lake]'"


def _nothing(_: Path | str) -> None:
    """The default."""


class DeltaLake:
    """One recorder's way into a lake of Delta tables; see `lake.Lake`. For one thread at a time.

    `uri` is a folder, file:// or s3://. `options` are those of delta-rs for the storage, credentials among them, or
    a function that returns them, which is called again after an error, so that new credentials count; they are
    never shown. `make_folder` creates the lake's folder, if it is one; by default delta-rs does. `crash_point` gets
    the names of moments at which tests kill the process. Raises LakeMisconfigured.
    """

    def __init__(
        self,
        uri: str,
        recorder: str,
        options: Mapping[str, str] | Callable[[], Mapping[str, str]],
        *,
        make_folder: Callable[[Path], None] = _nothing,
        crash_point: Callable[[str], None] = _nothing,
    ) -> None:
        if _NAME.fullmatch(recorder) is None:
            raise LakeMisconfigured(f"got the recorder {recorder!r}, expected letters, digits, '.', '_' and '-'")
        if urlsplit(uri).scheme not in _SCHEMES:
            raise LakeMisconfigured(
                f"got the lake {hidden(uri, ())}, expected a folder or an address like s3://bucket/tape"
            )
        folder = folder_of(uri)
        if folder is not None and (odd := unusable_in_folder(folder)):
            raise LakeMisconfigured(f"got the lake {folder}, expected a path without {odd}")
        try:
            import deltalake
        except ImportError:
            raise LakeMisconfigured(INSTALL) from None
        self._deltalake = deltalake
        self._uri, self._recorder = uri.rstrip("/"), recorder
        self._read_options = options if callable(options) else partial(dict, options)
        self._make_folder, self._crash_point = make_folder, crash_point
        self._errors = (Exception, *(vars(deltalake.exceptions)[name] for name in deltalake.exceptions.__all__))
        self._no_hook = deltalake.PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False)
        self._formats = {name: format_of(deltalake, table) for name, table in TABLES.items()}
        self._rows = Rows(recorder)
        self._marks: dict[str, Marks] = {}  # of each store, as the open tables have them
        self._seen: dict[str, int] = {}  # the highest mark of each store
        self._options: dict[str, str] = {}
        self._handles: Handles | None = None

    def __repr__(self) -> str:
        return f"DeltaLake({self._shown}, {self._recorder})"

    @property
    def _shown(self) -> str:
        return hidden(self._uri, secrets(self._options))

    @property
    def transient(self) -> tuple[type[Exception], ...]:
        """The errors after which the same call may succeed later."""
        return (LakeUnavailable,)

    def describe(self, error: Exception) -> str:
        """The message of an error, without credentials, in one line."""
        return shortened(hidden(str(error), secrets(self._options)))

    def close(self) -> None:
        """Frees the tables' memory; the next call reads the options and opens the tables again."""
        self._handles = None
        self._marks.clear()

    def _opened(self) -> Handles:
        if self._handles is None:
            self._options = delta_options(self._uri, self._read_options())
            self._handles = Handles(self._deltalake, self._uri, self._recorder, self._options, self._make_folder)
        return self._handles

    def marks(self, store_id: str) -> Marks:
        """The marks of the store. Raises LakeUnavailable, and LakeMisconfigured also if the mark went back."""
        with _Errors(self):
            committed, intended = (self._mark(table, store_id) for table in (_TICKS, SHIPMENTS.name))
            if committed < self._seen.get(store_id, 0):
                raise LakeMisconfigured(
                    f"{self._shown} had batches through {self._seen[store_id]}, now through {committed}: is it"
                    " mounted? If the lake was deleted on purpose, restart the service"
                )
            self._seen[store_id] = committed
            self._marks[store_id] = Marks(committed, max(committed, intended))
        return self._marks[store_id]

    def commit(self, batches: Batches) -> None:
        """Commits the batches, all tables or none, unless the lake has them. Durable when it returns.

        Raises LakeUnavailable (repeat it; what was done is not done again), LakeMoved if the lake's marks are not
        those the batches start from, and LakeMisconfigured.
        """
        if unknown := batches.tables.keys() - TABLES.keys():
            raise ValueError(f"got the tables {sorted(unknown)}, expected some of {sorted(TABLES)}")
        store_id = batches.store_id
        marks = self._marks.get(store_id) or self.marks(store_id)  # if they are old, the first write shows it
        if marks.committed == batches.through:  # beyond it, another has sent batches that may not be ours
            return
        if marks.committed != batches.above or marks.intended not in (marks.committed, batches.through):
            self.close()
            raise LakeMoved(
                f"{self._shown}: the lake has batches through {marks.committed} and intends {marks.intended},"
                f" got ({batches.above}, {batches.through}]"
            )
        deadline = time.monotonic() + COMMIT_S_MAX
        with _Errors(self):
            self._write(SHIPMENTS, self._rows.shipments(batches), batches)
            self._crash_point("lake.intent")
            for name, table in TABLES.items():
                rows = batches.tables.get(name)
                if table is SHIPMENTS or (rows is None and name != _TICKS):
                    continue
                if time.monotonic() > deadline:
                    raise LakeUnavailable(f"{self._shown}: slow, {COMMIT_S_MAX} s were not enough for a commit")
                if name == _TICKS:
                    self._crash_point("lake.ticks")
                self._write(table, self._rows.typed(table, rows, store_id), batches)
                self._crash_point("lake.committed" if name == _TICKS else "lake.table")
        self._seen[store_id] = batches.through
        self._marks[store_id] = Marks(batches.through, batches.through)

    def _mark(self, table: str, store_id: str) -> int:
        handle = self._opened().newest(table)
        return 0 if handle is None else handle.transaction_version(f"{self._recorder}/{store_id}") or 0

    def _write(self, table: LakeTable, rows: Table, batches: Batches) -> None:
        """Appends the rows in one commit, unless the table has this range."""
        identifier = f"{self._recorder}/{batches.store_id}"
        handles = self._opened()
        for attempt in range(_CONFLICTS_MAX):
            try:
                handle = handles.for_writing(table)
                found = handle.transaction_version(identifier) or 0
                if found == batches.through:
                    return
                if found > batches.above:
                    raise LakeMoved(f"{self._shown}: {table.name} has batches through {found}")
                before = handle.version()
                self._deltalake.write_deltalake(
                    handle,
                    rows,
                    mode="append",
                    schema_mode="merge" if handles.has_more(table) else None,
                    writer_properties=self._formats[table.name],
                    commit_properties=self._properties(identifier, batches.through),
                    post_commithook_properties=self._no_hook,
                )
            except self._deltalake.exceptions.CommitFailedError:
                handles.forget(table.name)
                time.sleep(_CONFLICT_PAUSE_S * 2 ** min(attempt, 5) * random.random())  # noqa: S311
            else:
                self._crash_point("lake.written")
                handles.written(table.name, before)
                return
        raise LakeUnavailable(f"{self._shown}: {table.name} changes too often, {_CONFLICTS_MAX} commits failed")

    def _properties(self, identifier: str, through: int) -> "CommitProperties":
        return self._deltalake.CommitProperties(
            max_commit_retries=_COMMIT_RETRIES_MAX,
            app_transactions=[
                self._deltalake.Transaction(self._recorder, through),
                self._deltalake.Transaction(identifier, through),
            ],
        )


class _Errors:
    """Turns errors of delta-rs into ours, and closes the tables: after one, a handle may not be usable."""

    def __init__(self, lake: DeltaLake) -> None:
        self._lake = lake

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if error is None:
            return
        lake = self._lake
        lake.close()
        if isinstance(error, CredentialsWrong):
            raise LakeMisconfigured(f"the credentials of {lake._shown}: expected {error}") from None
        # delta-rs raises bare Exceptions too; other types are bugs of ours, which must show.
        if isinstance(error, OSError) or type(error) in lake._errors or is_panic(error):
            raise sorted_error(error, lake._shown, secrets(lake._options)) from None
