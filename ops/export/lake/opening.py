"""Opens the tables of a lake, so that what is read from them fits together.

The newest committed batch of each store, its mark, is in the log of `ticks`, which every commit writes last. So
`ticks` is opened first: whatever counts by its marks is in the other tables by then.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING

import duckdb

from actors.model.ticks import TICKS
from actors.sink.lake.errors import hidden, is_panic, shortened, sorted_error
from actors.sink.lake.options import delta_options, secrets
from actors.sink.lake.tables import SHIPMENTS, TABLES
from ops.export.lake.compact_tables import COMPACTIONS
from ops.export.query import QueryError

if TYPE_CHECKING:
    from deltalake import DeltaTable

NAMES = (TICKS.name, *(name for name in TABLES if name != TICKS.name), COMPACTIONS.name)


# What DuckDB puts before an error of the stream that it reads.
_STREAM = re.compile(r"^.*reading the stream registered as '\w+' failed: ")


@dataclass(frozen=True, slots=True, order=True)
class Store:
    """One store of one recorder; a new file of a recorder is a new store, with other batches."""

    recorder: str
    store: str

    @property
    def transaction(self) -> str:
        """What identifies it in the log of a table."""
        return f"{self.recorder}/{self.store}"


@dataclass(frozen=True, slots=True)
class LakeTables:
    """The tables of a lake as of one moment: those that exist, by name, and the mark of each store.

    `hides` is what no message may show.
    """

    uri: str
    tables: Mapping[str, "DeltaTable"]
    marks: Mapping[Store, int] = field(default_factory=dict)
    hides: tuple[str, ...] = field(default=(), repr=False)

    def exchanges(self) -> list[str]:
        """The exchanges that have ticks."""
        ticks = self.tables.get(TICKS.name)
        return sorted({one["exchange"] or "" for one in ticks.partitions()}) if ticks else []


def open_lake(uri: str, options: Mapping[str, str]) -> LakeTables:
    """The lake at `uri`, a folder or an address on object storage, which `options` describe.

    Raises QueryError if there is no lake, none that can be reached, or one whose ticks are gone; no message shows
    an option.
    """
    try:
        import deltalake
    except ImportError as error:
        raise QueryError("a lake is read with the package deltalake: pip install 'tickwarden[lake]'") from error
    hides, uri = secrets(options), uri.rstrip("/")
    shown, storage = hidden(uri, hides), delta_options(uri, options)
    tables = {}
    for name in NAMES:
        try:
            tables[name] = deltalake.DeltaTable(f"{uri}/{name}", storage_options=storage)
        except deltalake.exceptions.TableNotFoundError:
            continue
        except BaseException as error:
            if not (isinstance(error, Exception) or is_panic(error)):
                raise
            raise QueryError(f"the lake cannot be read: {sorted_error(error, shown, hides)}") from None
    if not tables:
        raise QueryError(f"{shown} is no lake: nothing was sent there yet; --uri names another one")
    if TICKS.name not in tables and (lost := _lost_ticks(tables, hides)) is not None:
        # A lake so new that its first commits ended while its tables were opened has the table by now.
        with engine_errors(hides):
            gone = not deltalake.DeltaTable.is_deltatable(f"{uri}/{TICKS.name}", storage)
        if gone:
            raise QueryError(
                f"{shown}: the table ticks is missing, while shipments lists {lost:,} ticks:"
                " restore the folder ticks with its _delta_log from a copy"
            )
    with engine_errors(hides):
        return LakeTables(shown, tables, _marks(tables), tuple(hides))


@contextmanager
def engine_errors(hides: Iterable[str] = ()) -> Iterator[None]:
    """Raises the errors of the engine and of DuckDB as QueryError, in one line; none shows what `hides` has."""
    try:
        yield
    except BaseException as error:
        # The engine's own errors are of a private module, or Exception itself; those of a stream are DuckDB's.
        ours = isinstance(error, duckdb.Error) or type(error) is Exception or is_panic(error)
        if ours or type(error).__module__ == "_internal":
            raise QueryError(shortened(hidden(_STREAM.sub("", str(error)), hides))) from None
        raise


@dataclass(frozen=True, slots=True)
class Compaction:
    """What the newest compaction of a day of an exchange wrote.

    `through` is the mark up to which it had read each store, by the store's transaction.
    """

    exchange: str
    day: date
    rows: int
    checksum: int
    through: Mapping[str, int]


def transaction_of(exchange: str | None, day: date) -> str:
    """The identifier of the transaction that counts the compactions of a day."""
    return f"compact/{exchange}/{day.isoformat()}"


def compactions(lake: LakeTables) -> dict[tuple[str, date], Compaction]:
    """The compaction of each exchange and day that has one: the row whose number `ticks` has. Raises QueryError."""
    ticks, table = lake.tables.get(TICKS.name), lake.tables.get(COMPACTIONS.name)
    if ticks is None or table is None:
        return {}
    from deltalake import QueryBuilder

    columns = "exchange, day, number, rows, checksum, through"
    try:
        with engine_errors(lake.hides):
            found = QueryBuilder().register("t", table).execute(f"SELECT {columns} FROM t").read_all()
    except QueryError as error:
        raise QueryError(f"the table {COMPACTIONS.name} of {lake.uri} cannot be read: {error}") from None
    return {
        (exchange, day): Compaction(exchange, day, rows, int(checksum), json.loads(through))
        for exchange, day, number, rows, checksum, through in zip(
            *(column.to_pylist() for column in found.columns), strict=True
        )
        if number == ticks.transaction_version(transaction_of(exchange, day))
    }


def _lost_ticks(tables: "Mapping[str, DeltaTable]", hides: Iterable[str]) -> int | None:
    """How many ticks `shipments` lists, if there must have been a table of ticks; else None.

    A commit begins above the mark of its store, which is in `ticks`: above 0 if an earlier one has ended. A lake of
    which only the first commit of each store was begun has no ticks yet.
    """
    if (shipments := tables.get(SHIPMENTS.name)) is None:
        return None
    from deltalake import QueryBuilder

    sent = f"sum(CASE WHEN table_name = '{TICKS.name}' THEN rows ELSE 0 END)"
    with engine_errors(hides):
        engine = QueryBuilder().register("t", shipments)
        found = engine.execute(f"SELECT coalesce(max(above), 0), coalesce({sent}, 0) FROM t").read_all()
    above, ticks = (column.to_pylist()[0] for column in found.columns)
    # A compaction is listed only when it has read ticks.
    return int(ticks) if above > 0 or COMPACTIONS.name in tables else None


def _marks(tables: "Mapping[str, DeltaTable]") -> dict[Store, int]:
    """The marks of all stores that have begun a commit: its first part is in `shipments`."""
    ticks, shipments = tables.get(TICKS.name), tables.get(SHIPMENTS.name)
    if ticks is None or shipments is None:
        return {}
    from deltalake import QueryBuilder

    found = QueryBuilder().register("t", shipments).execute("SELECT DISTINCT recorder, store FROM t").read_all()
    pairs = zip(*(column.to_pylist() for column in found.columns), strict=True)
    marks = {one: ticks.transaction_version(one.transaction) for one in sorted(Store(*pair) for pair in pairs)}
    return {one: mark for one, mark in marks.items() if mark is not None}
