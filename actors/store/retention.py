"""Retention: deletes UTC days older than keep_days, in pieces, after writing them to the archive if there is one.

Each piece is small enough that the file is locked for a fraction of a second. Deleted rows are counted in the table
store.retention, in the transaction that deletes them.

How old a row is, this host's clock alone does not decide: set ahead for a moment, as on a virtual machine that
wakes, it would make all rows too old. Now is at most a day after the newest trade, by its exchange's own time.

The newest trades of a market that has no younger ones stay (see quiet).
"""

import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import duckdb
from msgspec import Struct

from actors.model.ticks import TICKS
from actors.settings import StoreSettings
from actors.sink.sink import Notice, Retained
from actors.store.archive import Archive
from actors.store.connecting import transaction
from actors.store.database import DuckFile
from actors.store.filesystem import Files
from actors.store.manifest import Entry
from actors.store.partitions import DAY_US, TIMES, condition, moment, within
from actors.store.quiet import QuietMarkets, held
from actors.store.tables import BATCH
from actors.store.views import SCHEMA

_MINUTE_US = 60_000_000
KEPT = (TICKS.name,)  # tables of which the newest rows stay
AHEAD_US = 60 * _MINUTE_US  # of the newest trade: at most so much too early a wrong clock may delete a day

_LEDGER = f"{SCHEMA}.retention"
# One row per table and day: `word` and `parts` name the archive files of the next piece, `rows` were deleted.
_LEDGER_SQL = (
    f"CREATE TABLE IF NOT EXISTS {_LEDGER}"
    " (table_name VARCHAR NOT NULL, day DATE NOT NULL, word VARCHAR NOT NULL, parts INTEGER NOT NULL,"
    " rows BIGINT NOT NULL)"
)


class Piece(Struct, frozen=True):
    """Rows of one table and day, from the day's start to before `until_us`; `last` if that is the day's end.

    With `shipped_through` without rows of later batches.
    """

    table: str
    day: int
    until_us: int
    rows: int
    last: bool
    shipped_through: int | None

    @property
    def selected(self) -> str:
        """SELECT of its rows."""
        return within(self.table, _deletable(self.table, self.shipped_through, self.bounds), *self.bounds)

    @property
    def date(self) -> str:
        """The day as text."""
        return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=self.day)).date().isoformat()

    @property
    def bounds(self) -> tuple[int, int]:
        """Its first microsecond, and the first one after it."""
        return self.day * DAY_US, self.until_us


class _Changed(Exception):
    """Another process has changed the file since the rows were counted."""


class Retention:
    """Works on an adopted file, in the merging thread.

    `check` compares the open file with the manifest and returns its state, `note` writes a state to the manifest.
    """

    def __init__(
        self,
        settings: StoreSettings,
        duck: DuckFile,
        files: Files,
        check: Callable[[duckdb.DuckDBPyConnection], Entry],
        note: Callable[[Entry], None],
        rows_max: int,
    ) -> None:
        self._rows_max, self._files = rows_max, files
        self._keep_days, self._duck, self._check, self._note = settings.keep_days, duck, check, note
        self._archive = Archive(settings.archive_dir, files) if settings.archive_dir else None
        self._quiet = QuietMarkets()
        self._reached_us: int | None = None  # earlier trades stay, as far as is known

    def forget(self) -> None:
        """To be called when the file may have become another one."""
        self._quiet.forget()
        self._reached_us = None

    def step(self, now_us: int, shipped_through: int | None = None) -> Retained:
        """Archives and deletes one piece of the oldest day that is too old; no row of a batch above
        `shipped_through`, if there is a lake that needs them. `now_us` is this host's clock.

        Raises DatabaseLocked (nothing was done, or archived and not deleted yet: both are safe), FileDamaged,
        FileTrouble, ArchiveWrong, OSError and duckdb.Error.
        """
        began, archive = time.monotonic(), self._archive
        with self._duck.opened() as con:
            state = self._check(con)
            believed_us = _believed(con, now_us)
            before_us = (believed_us // DAY_US - self._keep_days) * DAY_US
            if before_us != self._quiet.before_us:
                self.forget()
            self._quiet.hold(con)
            piece = self._oldest(con, before_us, shipped_through)
            if piece is None:
                return Retained(locked_s=time.monotonic() - began)
            covered = piece.table not in KEPT or self._quiet.covers(con, piece.selected, before_us)
            name = _name(con, piece) if covered else ""
            if covered and archive is None:
                return self._delete(con, piece, state, began)
        locked_s = time.monotonic() - began
        if not covered or archive is None:  # about once a day, or for a market that has been added to an old day
            with self._duck.opened(read_only=True) as con:
                self._quiet.look(con, before_us)
            return self.step(now_us, shipped_through)
        # Others may read while the archive is written; only writers have to wait.
        with self._duck.opened(read_only=True) as con:
            self._quiet.hold(con)
            rows = f"SELECT * EXCLUDE ({BATCH}) FROM ({piece.selected})"  # the columns of the views
            archived = archive.keep(con, piece.table, rows, piece.date, name)
        began = time.monotonic() - locked_s
        with self._duck.opened() as con:
            state = self._check(con)
            self._quiet.hold(con)
            if archived != piece.rows:  # as below
                return Retained(locked_s=time.monotonic() - began, more=True)
            return self._delete(con, piece, state, began)

    def _oldest(self, con: duckdb.DuckDBPyConnection, before_us: int, shipped: int | None) -> Piece | None:
        """The next piece to delete, None if all rows are recent enough, or must stay."""
        for table in TIMES:
            begins = [self._reached_us, None] if table in KEPT and self._reached_us is not None else [None]
            for since_us in begins:
                piece = self._oldest_of(con, table, (since_us, before_us), shipped)
                if piece is not None:
                    if table in KEPT:
                        self._reached_us = piece.day * DAY_US
                    return piece
        return None

    def _oldest_of(
        self, con: duckdb.DuckDBPyConnection, table: str, bounds: tuple[int | None, int], shipped: int | None
    ) -> Piece | None:
        """Which trades must stay takes long to find out of all old ones: first it is looked on the oldest day."""
        for source in (
            f"(SELECT * FROM {SCHEMA}.{table} WHERE {_shipped(shipped)})",
            _deletable(table, shipped, bounds),
        ):
            day = _first_day(con, table, source, *bounds)
            if day is None:
                return None
            piece = _piece(con, table, day, self._rows_max, shipped)
            if piece.rows:
                return piece
        return None

    def _delete(self, con: duckdb.DuckDBPyConnection, piece: Piece, state: Entry, began: float) -> Retained:
        """Writes the manifest first: a file with more rows than it says has lost nothing."""
        rows = {**state.rows, piece.table: state.rows[piece.table] - piece.rows}
        self._note(Entry(state.through, rows))
        self._files.crash_point("retention.noted")
        try:
            with transaction(con):
                _delete(con, piece)
                self._files.crash_point("retention.deleted")
        except _Changed:
            self._note(state)
            return Retained(locked_s=time.monotonic() - began, more=True)
        self._files.crash_point("retention.committed")
        con.execute("CHECKPOINT")
        self._files.crash_point("retention.checkpointed")
        notice = self._notice(con, piece) if piece.last else None
        return Retained(piece.rows, time.monotonic() - began, more=True, notice=notice)

    def _notice(self, con: duckdb.DuckDBPyConnection, piece: Piece) -> Notice:
        row = con.execute(
            f"SELECT rows FROM {_LEDGER} WHERE table_name = ? AND day = ?", [piece.table, piece.date]
        ).fetchone()
        rows = int(row[0]) if row else 0
        kept = f"are in {self._archive.root}" if self._archive else "were not archived: no archive_dir is set"
        return Notice(
            "retention",
            f"{piece.table} of {piece.date} are older than {self._keep_days} days and were deleted:"
            f" {rows} rows so far, which {kept}",
            {
                "table": piece.table,
                "day": piece.date,
                "rows": rows,
                "archive": str(self._archive.root) if self._archive else None,
            },
        )


def _delete(con: duckdb.DuckDBPyConnection, piece: Piece) -> None:
    """Deletes the piece and records its deletion; raises _Changed if its rows are not those counted."""
    deleted = 0
    for where in condition(piece.table, *piece.bounds):
        only = _may_leave(piece.table, piece.shipped_through, piece.bounds)
        row = con.execute(f"DELETE FROM {SCHEMA}.{piece.table} WHERE {where} AND {only}").fetchone()
        deleted += int(row[0]) if row else 0
    if deleted != piece.rows:
        raise _Changed
    con.execute(
        f"UPDATE {_LEDGER} SET parts = parts + 1, rows = rows + ? WHERE table_name = ? AND day = ?",
        [deleted, piece.table, piece.date],
    )


def _shipped(through: int | None) -> str:
    """SQL condition for rows that no lake needs; those without a batch are never shipped."""
    return "true" if through is None else f"({BATCH} IS NULL OR {BATCH} <= {through:d})"


def _may_leave(table: str, through: int | None, bounds: tuple[int | None, int]) -> str:
    """SQL condition for rows, of a time within the bounds, that neither a lake nor a restart needs."""
    return f"{_shipped(through)} AND NOT {held(*bounds)}" if table in KEPT else _shipped(through)


def _deletable(table: str, through: int | None, bounds: tuple[int | None, int]) -> str:
    return f"(SELECT * FROM {SCHEMA}.{table} WHERE {_may_leave(table, through, bounds)})"


def _believed(con: duckdb.DuckDBPyConnection, now_us: int) -> int:
    """The time now: this host's, or that of the newest merged trade, by its exchange's clock, if the host's is more
    than AHEAD_US ahead of it; 0, at which nothing is old, if no exchange has sent a time.
    """
    merged = f"FROM {SCHEMA}.{TICKS.name}"
    # Nearly always true, and DuckDB reads one block for it; the newest of all it finds by reading the whole column.
    if con.execute(
        f"SELECT 1 {merged} WHERE timestamp >= make_timestamptz({now_us - AHEAD_US:d}) LIMIT 1"
    ).fetchone():
        return now_us
    row = con.execute(f"SELECT epoch_us(max(timestamp)) {merged}").fetchone()
    return 0 if row is None or row[0] is None else int(row[0])


def _first_day(
    con: duckdb.DuckDBPyConnection, table: str, source: str, since_us: int | None, before_us: int
) -> int | None:
    rows = within(table, source, since_us, before_us)
    row = con.execute(f"SELECT epoch_us(min({moment(table)})) FROM ({rows})").fetchone()
    return None if row is None or row[0] is None else int(row[0]) // DAY_US


def _piece(con: duckdb.DuckDBPyConnection, table: str, day: int, rows_max: int, shipped: int | None) -> Piece:
    start = day * DAY_US
    rows_of_day = within(table, _deletable(table, shipped, (start, start + DAY_US)), start, start + DAY_US)
    minutes = con.execute(
        f"SELECT (epoch_us({moment(table)}) - {start}) // {_MINUTE_US} AS minute, count(*)"
        f" FROM ({rows_of_day}) GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    rows = taken = 0
    for minute, count in minutes:
        if taken and rows + count > rows_max:
            return Piece(table, day, start + minute * _MINUTE_US, rows, False, shipped)
        rows, taken = rows + count, taken + 1
    return Piece(table, day, start + DAY_US, rows, True, shipped)


def _name(con: duckdb.DuckDBPyConnection, piece: Piece) -> str:
    """The name of the piece's files, durable before the first of them exists."""
    con.execute(_LEDGER_SQL)
    where = f"FROM {_LEDGER} WHERE table_name = ? AND day = ?"
    row = con.execute(f"SELECT word, parts {where}", [piece.table, piece.date]).fetchone()
    if row is None:
        row = (secrets.token_hex(4), 0)
        con.execute(f"INSERT INTO {_LEDGER} VALUES (?, ?, ?, 0, 0)", [piece.table, piece.date, row[0]])
        con.execute("CHECKPOINT")
    return f"{row[0]}-{row[1]:04}"
