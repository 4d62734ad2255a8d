"""The protocol of a lake: tables that several recorders write and many engines read. Delta Lake is one.

A lake has the tables of the file (see actors/store/tables) and `shipments`, which lists what was sent. Each row has
the columns of the file and four more:

  recorder  VARCHAR  the name of the recorder, from [lake]
  store     VARCHAR  the id of its store: a new file has a new one, and other batches
  batch     BIGINT   the number of the batch; numbers of one store only rise
  day       DATE     the UTC day of the row's time

Tables are partitioned by exchange and day (`events`, which has no exchange, by day).

A commit sends the batches in (above, through]: `shipments` first, as the intent, then the other tables, and `ticks`
last. Each table's commit carries `through` as the transaction of (recorder, store), so that a repeated commit skips
what is there. The transaction of `ticks` is the mark: rows of other tables with a batch above it never happened.
"""

from collections.abc import Mapping
from datetime import date
from typing import Any, Protocol

from msgspec import Struct


class Marks(Struct, frozen=True):
    """Batches of this recorder's store in the lake: committed through `committed`.

    If `intended` is higher, a commit of exactly (committed, intended] was begun and has to be repeated as it was.
    """

    committed: int = 0
    intended: int = 0


class Shipped(Struct, frozen=True):
    """What a commit sends of one table, exchange ("" for events) and day; `checksum` is a sum over its rows."""

    table: str
    exchange: str
    day: date
    rows: int
    checksum: int


class Batches(Struct, frozen=True):
    """The rows of all batches in (above, through], `ticks` ticks among them.

    `tables` holds an Arrow table (arro3.core.Table) for each table that has rows: the columns of the file, `batch`
    and `day`. `shipped` describes them.
    """

    store_id: str
    above: int
    through: int
    ticks: int
    tables: Mapping[str, Any]
    shipped: tuple[Shipped, ...] = ()


class BatchSource(Protocol):
    """A store that can read its committed batches again. Calls block."""

    @property
    def store_id(self) -> str:
        """The id of the store."""

    def batches(self, above: int, rows_max: int, through: int | None = None) -> Batches | None:
        """The oldest committed batches above `above`, about `rows_max` rows, or all up to `through`; None if there
        are none. Raises DatabaseLocked.
        """


class Lake(Protocol):
    """One recorder's way into the lake. Calls block and run in one worker thread.

    `transient` are the errors of a lake that is out of reach, slow, full or throttling: repeat the call later.
    """

    @property
    def transient(self) -> tuple[type[Exception], ...]:
        """The errors after which the same call may succeed later."""

    def marks(self, store_id: str) -> Marks:
        """The marks of the store, read from the lake."""

    def commit(self, batches: Batches) -> None:
        """Makes the batches part of the lake, once, however often it is called with them and by however many.

        If the lake has others beyond them, it raises a transient error: the marks are to be read again.
        """

    def describe(self, error: Exception) -> str:
        """The message of a transient error; never contains credentials."""

    def close(self) -> None:
        """Frees memory."""
