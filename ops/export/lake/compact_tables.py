"""The tables that compaction adds to a lake, and how it opens and replaces a part of any table.

`compactions` has a row for each attempt to compact a day of an exchange, written before it. The one that counts has
the number that is the transaction `compact/EXCHANGE/DAY` of `ticks`; others are of attempts that failed or were
replaced. `through` is a JSON object: the mark of each store, as RECORDER/STORE, up to which its rows were read.
These marks are true even if the attempt failed.

`coverage` has the coverage of the tape on each closed day, cut at midnight.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, TypeVar

from arro3.core import DataType

from actors.sink.lake.durability import folder_of, sync_commits
from actors.sink.lake.errors import hidden, is_panic, sorted_error
from actors.sink.lake.handles import Handles
from actors.sink.lake.options import delta_options, secrets
from actors.sink.lake.tables import LakeTable
from actors.store.sql import sql_text
from ops.export.query import QueryError

if TYPE_CHECKING:
    from deltalake import CommitProperties, DeltaTable

_TEXT, _LONG, _DATE = DataType.string(), DataType.int64(), DataType.date32()
_INSTANT = DataType.timestamp("us", tz="UTC")

COMPACTIONS = LakeTable(
    "compactions",
    (
        ("exchange", _TEXT),
        ("day", _DATE),
        ("number", _LONG),
        ("rows", _LONG),
        ("checksum", DataType.decimal128(38, 0)),
        ("through", _TEXT),
        ("at", _INSTANT),
    ),
    ("day",),
)
COVERAGE = LakeTable(
    "coverage",
    (
        ("exchange", _TEXT),
        ("symbol", _TEXT),
        ("from_time", _INSTANT),
        ("to_time", _INSTANT),
        ("status", _TEXT),
        ("proof", _TEXT),
        ("day", _DATE),
    ),
    ("exchange", "day"),
)


COMPACTING = "(compact)"  # identifies our transactions; no recorder can be named so
_RETRIES = 50  # delta-rs reads what others committed meanwhile, and tries the next version

T = TypeVar("T")


class LakeChanged(Exception):
    """Somebody else changed the same part of a table first: read it again and repeat."""


@dataclass(frozen=True, slots=True)
class LakeFolder:
    """Where the tables of a lake are: a folder or an address on object storage, with the options of its storage."""

    uri: str
    options: Mapping[str, str]

    @property
    def _options(self) -> dict[str, str]:
        return delta_options(self.uri, self.options)

    @property
    def shown(self) -> str:
        """The address without credentials."""
        return hidden(self.uri, secrets(self.options))

    def table(self, name: str) -> "DeltaTable | None":
        """The table at its newest version, or None if there is none. Raises QueryError."""
        import deltalake

        with self.errors():
            try:
                return deltalake.DeltaTable(f"{self.uri}/{name}", storage_options=self._options)
            except deltalake.exceptions.TableNotFoundError:
                return None

    def created(self, table: LakeTable) -> "DeltaTable":
        """The table at its newest version, created if there is none. Raises QueryError."""
        import deltalake

        with self.errors():
            return Handles(deltalake, self.uri, COMPACTING, self._options).for_writing(table)

    def commit(
        self,
        name: str,
        handle: "DeltaTable",
        transaction: tuple[str, int],
        write: "Callable[[CommitProperties], T]",
    ) -> T:
        """Calls `write` with the properties of a commit to the table, and syncs what it committed to the disk.

        Raises LakeChanged if another has committed the same transaction, or what `write` conflicts with, since the
        handle's version; QueryError.
        """
        import deltalake

        before, folder = handle.version(), folder_of(self.uri)
        transactions = [deltalake.Transaction(*transaction)]
        with self.errors():
            result = write(deltalake.CommitProperties(max_commit_retries=_RETRIES, app_transactions=transactions))
            handle.update_incremental()
            if folder is not None:
                sync_commits(folder / name, range(before + 1, handle.version() + 1), transaction[0])
        return result

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Raises errors of delta-rs as QueryError, a conflict as LakeChanged; shows no credential."""
        import deltalake

        try:
            yield
        except deltalake.exceptions.CommitFailedError as error:
            raise LakeChanged(str(error).splitlines()[0]) from None
        except BaseException as error:
            if not (isinstance(error, deltalake.exceptions.DeltaError | OSError) or is_panic(error)):
                raise
            raise QueryError(
                f"the lake cannot be used: {sorted_error(error, self.shown, secrets(self.options))}"
            ) from None


def of_day(exchange: str | None, day: date) -> str:
    """The predicate for one day of an exchange, or of a table without exchanges; also names the part to replace."""
    within = f"day = {sql_text(day.isoformat())}"
    return within if exchange is None else f"exchange = {sql_text(exchange)} AND {within}"


def keep_order() -> None:
    """Makes delta-rs write rows in the order in which it gets them; call it before delta-rs runs anything.

    On several cores it deals the batches of a stream out to as many writers and mixes what they return. How many it
    uses is decided for the process when its engine is first made, by the cores on which the calling thread may run
    then. On systems where a thread cannot be confined, the rows of a file are sorted in runs.
    """
    import deltalake

    if not hasattr(os, "sched_setaffinity"):
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        deltalake.QueryBuilder()
    finally:
        os.sched_setaffinity(0, before)


def replace_day(
    handle: "DeltaTable", rows: Any, predicate: str, properties: "CommitProperties", **how: Any
) -> None:
    """Replaces the rows that `predicate` names by `rows` (an Arrow stream), in one transaction.

    Whatever was added there since the handle's version is a conflict.
    """
    import deltalake

    deltalake.write_deltalake(
        handle, rows, mode="overwrite", predicate=predicate, commit_properties=properties, **how
    )
