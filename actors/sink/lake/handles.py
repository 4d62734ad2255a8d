"""The open tables of a lake: created, given new columns, refreshed, and opened again before that costs too much.

What a handle costs, measured with delta-rs 1.6.6: each commit and each opening take 10 us of CPU for every file of
the table (5 us with statistics of three columns only), and each commit with an open handle takes 0.17 ms more for
every version since it was opened, whether there is a checkpoint or not.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

from actors.sink.lake.durability import folder_of, sync_checkpoint, sync_commits
from actors.sink.lake.errors import LakeMisconfigured
from actors.sink.lake.tables import LakeTable

if TYPE_CHECKING:
    from deltalake import DeltaTable

CHECKPOINT_VERSIONS = 20  # between two checkpoints of a table, and before a handle is opened again
CLEANUP_VERSIONS = 100  # between two cleanups of a table's log, which is listed for each
# How long entries stay that a checkpoint contains. In a folder each commit lists all of them, 3 us each; a store
# lists only what is new. A program that follows the log must not be behind by more.
_KEPT_IN_FOLDER_H, _KEPT_IN_STORE_H = 1, 24
_USED_SHARE = 0.5  # of this time, after which a handle is opened again: it needs all entries since it was opened


class _Opened(NamedTuple):
    """A handle, its version then, and time.monotonic() just before."""

    handle: "DeltaTable"
    version: int
    at_s: float


class Handles:
    """The tables of the lake at `uri`, for one recorder. Raises the errors of `deltalake`, and OSError."""

    def __init__(
        self,
        deltalake: ModuleType,
        uri: str,
        recorder: str,
        options: Mapping[str, str],
        make_folder: Callable[[Path], None] = lambda _: None,
    ) -> None:
        self._deltalake, self._uri, self._recorder, self._options = deltalake, uri, recorder, dict(options)
        self._folder, self._make_folder = folder_of(uri), make_folder
        self._kept_h = _KEPT_IN_STORE_H if self._folder is None else _KEPT_IN_FOLDER_H
        self._open: dict[str, _Opened] = {}
        self._checked: set[str] = set()  # have all columns; what an earlier process committed is durable

    def newest(self, name: str) -> "DeltaTable | None":
        """The table at its newest version; None if it does not exist yet."""
        handle = self._usable(name)
        if handle is not None:
            handle.update_incremental()
            return handle
        try:
            return self._remember(
                name, lambda: self._deltalake.DeltaTable(f"{self._uri}/{name}", storage_options=self._options)
            )
        except self._deltalake.exceptions.TableNotFoundError:
            return None

    def for_writing(self, table: LakeTable) -> "DeltaTable":
        """The table with all columns, created if there is none (also if another process creates it now).

        On object storage it is at its newest version: a write reads what others have committed since the handle's
        version one request after the other, and many recorders would wait for each other. In a folder it is at a
        version that this process has seen.
        """
        handle = self._usable(table.name) if self._folder is not None else None
        handle = handle or self.newest(table.name) or self._create(table)
        if table.name not in self._checked:
            self._complete(table, handle)
            self._sync(table.name, handle, max(0, handle.version() - CHECKPOINT_VERSIONS))
            self._checked.add(table.name)
        return handle

    def has_more(self, table: LakeTable) -> bool:
        """Whether the open table has columns that `table` does not know: a later version made them."""
        handle = self._open[table.name].handle
        return len(handle.schema().fields) > len(table.columns)

    def written(self, name: str, before: int) -> None:
        """Makes a commit durable, and writes a checkpoint now and then; `before` is the version before it.

        Of several recorders the one whose commit has such a version writes it.
        """
        handle = self._open[name].handle
        self._sync(name, handle, before + 1)
        version = handle.version()
        if version % CHECKPOINT_VERSIONS == 0:
            with suppress(self._deltalake.exceptions.DeltaError, OSError):  # the next one may succeed
                handle.create_checkpoint()
                if self._folder is not None:
                    sync_checkpoint(self._folder / name, version)
                if version % CLEANUP_VERSIONS == 0:
                    handle.cleanup_metadata()

    def forget(self, name: str) -> None:
        """Opens and checks the table again at its next use."""
        self._open.pop(name, None)
        self._checked.discard(name)

    def clear(self) -> None:
        """Frees the memory of all tables."""
        self._open.clear()

    def _usable(self, name: str) -> "DeltaTable | None":
        opened = self._open.get(name)
        if opened is None or opened.handle.version() - opened.version >= CHECKPOINT_VERSIONS:
            return None
        return opened.handle if time.monotonic() - opened.at_s < _USED_SHARE * self._kept_h * 3600 else None

    def _remember(self, name: str, opening: "Callable[[], DeltaTable]") -> "DeltaTable":
        at_s = time.monotonic()
        handle = opening()
        self._open[name] = _Opened(handle, handle.version(), at_s)
        return handle

    def _create(self, table: LakeTable) -> "DeltaTable":
        if self._folder is not None:
            self._make_folder(self._folder)
        configuration = {
            "delta.checkpointInterval": str(CHECKPOINT_VERSIONS),  # for other programs
            "delta.logRetentionDuration": f"interval {self._kept_h} hours",
        }
        if table.statistics:
            configuration["delta.dataSkippingStatsColumns"] = ",".join(table.statistics)
        create = partial(
            self._deltalake.DeltaTable.create,
            f"{self._uri}/{table.name}",
            table.arrow,
            mode="ignore",
            partition_by=list(table.partitions),
            configuration=configuration,
            storage_options=self._options,
        )
        return self._remember(table.name, create)

    def _complete(self, table: LakeTable, handle: "DeltaTable") -> None:
        """Adds the columns that an older version did not have. Raises LakeMisconfigured if one has another type."""
        found = {field.name: field.type for field in handle.schema().fields}
        wanted = self._deltalake.Schema.from_arrow(table.arrow).fields
        for field in wanted:
            if field.name in found and found[field.name] != field.type:
                raise LakeMisconfigured(
                    f"{table.name}.{field.name} in the lake is {found[field.name]}, expected {field.type}: another"
                    " program made this table; choose another lake"
                )
        if handle.metadata().partition_columns != list(table.partitions):
            raise LakeMisconfigured(
                f"{table.name} in the lake is partitioned by {handle.metadata().partition_columns}, expected"
                f" {list(table.partitions)}: another program made this table; choose another lake"
            )
        missing = [field for field in wanted if field.name not in found]
        if missing:
            handle.alter.add_columns(missing)
            handle.update_incremental()

    def _sync(self, name: str, handle: "DeltaTable", first: int) -> None:
        if self._folder is not None:
            sync_commits(self._folder / name, range(first, handle.version() + 1), self._recorder)
