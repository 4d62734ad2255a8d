"""Reads stored ticks in the order of receipt, window by window.

A window has some hundred thousand ticks: only a window is sorted, and a file larger than the memory is read like a
small one.
"""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
from arro3.core import RecordBatch, RecordBatchReader

from actors.store.connecting import Limits
from actors.store.sql import digits
from ops.client.tick import Tick
from ops.export.query import QueryError
from ops.export.source import Source, opened

WINDOW_ROWS = 200_000  # about the ticks of a window
FIRST_WINDOW_US = 60_000_000
ROWS_MAX = 2  # times as many are still read as one window
GROWTH_MAX = 8  # of a window in comparison with the one before: a flood may follow a quiet night
MEMORY_LIMIT = "512MB"  # beyond it a window is sorted on the disk
THREADS = 2
COLUMNS = "exchange, symbol, timestamp, received_at, price, volume, side, trade_id, source"
NO_TIME = -(2**63)
SIDES = (None, "buy", "sell")
SOURCES = ("stream", "snapshot", "backfill")
# Of a Tick. What can be a number is one: a list of numbers takes a fifth of the time that one of texts does.
VALUES = (
    f"exchange, symbol, coalesce(epoch_us(timestamp), {NO_TIME}), epoch_us(received_at), {digits('price')},"
    f" {digits('volume')}, (CASE side WHEN 'buy' THEN 1 WHEN 'sell' THEN 2 ELSE 0 END)::BIGINT, trade_id,"
    " (CASE source WHEN 'snapshot' THEN 1 WHEN 'backfill' THEN 2 ELSE 0 END)::BIGINT"
)


class Window:
    """The ticks of one stretch of time; `source` is the SQL after FROM."""

    def __init__(self, con: duckdb.DuckDBPyConnection, source: str) -> None:
        self.source = source
        self._con = con

    def read(self, columns: str) -> Iterator[RecordBatch]:
        """The columns of its ticks, in order."""
        return read(self._con, f"SELECT {columns} FROM {self.source} ORDER BY received_at, part, place")


def read(con: duckdb.DuckDBPyConnection, sql: str) -> Iterator[RecordBatch]:
    """What a query returns, as it is read; raises QueryError."""
    try:
        yield from RecordBatchReader.from_arrow(con.sql(sql))
    except duckdb.Error as error:
        raise QueryError(str(error)) from error


def fetched(con: duckdb.DuckDBPyConnection, sql: str, parameters: Sequence[object] = ()) -> list[Any]:
    """The few rows that a query returns; raises QueryError."""
    try:
        return con.execute(sql, parameters).fetchall()
    except duckdb.Error as error:
        raise QueryError(str(error)) from error


def ticks_of(batch: RecordBatch) -> Iterator[Tick]:
    """The ticks of a batch that begins with VALUES."""
    exchange, symbol, made, received, price, volume, side, trade_id, source = batch.columns[:9]
    times: list[int | None] = _integers(made)
    if NO_TIME in times:
        times = [None if us == NO_TIME else us for us in times]
    return map(
        Tick,
        exchange.to_pylist(),
        symbol.to_pylist(),
        times,
        _integers(received),
        map(Decimal, price.to_pylist()),
        map(Decimal, volume.to_pylist()),
        map(SIDES.__getitem__, _integers(side)),
        trade_id.to_pylist(),
        map(SOURCES.__getitem__, _integers(source)),
    )


def _integers(column: Any) -> list[Any]:
    """The values of a BIGINT column without NULL."""
    return memoryview(column.buffer()).cast("q").tolist()


def windows(
    src: Source, condition: str, from_us: int | None, to_us: int | None, window_rows: int = WINDOW_ROWS
) -> Iterator[Window]:
    """Windows from the first tick to the last that satisfies the condition, as wide as those before suggest.

    Its ticks are counted before a window is read: after a quiet time it would be wide, and all of a flood in it.
    """
    first, last = _numbers(src, "epoch_us(min(received_at)), epoch_us(max(received_at))", condition, from_us, to_us)
    if first is None:
        return
    width_us = FIRST_WINDOW_US
    while first <= last:
        end = min(first + width_us, last + 1)
        (rows,) = _numbers(src, "count(*)", condition, first, end)
        if not rows:
            (first,) = _numbers(src, "epoch_us(min(received_at))", condition, end, last + 1)
            continue
        if rows <= ROWS_MAX * window_rows or end - first == 1:
            yield Window(src.con, _within(src, condition, first, end))
            first = end
        width_us = max(int(width_us * min(window_rows / rows, GROWTH_MAX)), 1)


def _numbers(
    src: Source, columns: str, condition: str, since_us: int | None, until_us: int | None
) -> tuple[Any, ...]:
    """Totals of a stretch of time."""
    (totals,) = fetched(src.con, f"SELECT {columns} FROM {_within(src, condition, since_us, until_us)}")
    return tuple(totals)


def _within(src: Source, condition: str, since_us: int | None, until_us: int | None) -> str:
    """SQL for the rows of a stretch of time that satisfy the condition."""
    parts = [f"({condition})"]
    if since_us is not None:
        parts.append(f"received_at >= {instant_sql(since_us)}")
    if until_us is not None:
        parts.append(f"received_at < {instant_sql(until_us)}")
    return f"(SELECT * FROM {src.arrivals} WHERE {' AND '.join(parts)})"


def instant_sql(us: int) -> str:
    """Microseconds UTC as SQL."""
    return f"make_timestamptz({us:d}::BIGINT)"


@contextmanager
def recording(file: Path, timeout_s: float) -> Iterator[Source]:
    """The file as of one batch, held until the block ends; raises QueryError and DatabaseLocked."""
    with (
        tempfile.TemporaryDirectory(prefix="tickwarden-replay-") as spill,
        opened(file, Limits(MEMORY_LIMIT, Path(spill), THREADS), timeout_s=timeout_s) as src,
    ):
        src.con.execute("SET enable_progress_bar = false")
        yield src
