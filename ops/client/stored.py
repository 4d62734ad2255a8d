"""Reads from the file what a position has not seen."""

from collections.abc import Iterator
from dataclasses import dataclass

import duckdb
from arro3.core import RecordBatch

from ops.client.position import (
    LATE_US,
    NTH,
    Mark,
    Place,
    Position,
    arrived_after,
    place_of,
    places_of,
    received_after,
)
from ops.client.tick import TickFilter
from ops.client.windows import VALUES, instant_sql, read, ticks_of, windows
from ops.export.query import QueryError
from ops.export.source import Source

BEFORE_ALL: Place = (-1, -1)


@dataclass(frozen=True, slots=True)
class Delivered:
    """A tick, and the position of a reader who has seen it; without a tick, of one who has seen all."""

    mark: Mark | None
    position: Position


def missed(src: Source, after: Position | int, wanted: TickFilter) -> Iterator[list[Delivered]]:
    """The stored ticks that a reader has not seen: the late ones, then the others in the order of receipt.

    `after` may be a time in microseconds UTC: whatever was received then or later. Raises QueryError.
    """
    seen = after.seen if isinstance(after, Position) else None
    since_us = after if isinstance(after, int) else after.seen.tick.received_us
    end, only = _last(src, since_us), "true"
    if isinstance(after, Position):
        only = received_after(since_us, place_of(src, after.seen))
        if after.arrived is not None:
            place = place_of(src, after.arrived)
            for mark in _late(src, wanted, since_us, f"{arrived_after(place)} AND NOT {only}"):
                yield [Delivered(mark, Position(after.seen, mark))]
    for window in windows(src, wanted.sql, since_us, None):
        for batch in _numbered(src, window.source, "received_at, part, place", only):
            marks = _marks(batch)
            window.rows += batch.num_rows
            yield [Delivered(mark, Position(mark, end)) for mark in marks]
            seen = marks[-1]
    if seen is not None:
        yield [Delivered(None, Position(seen, end))]


def _late(src: Source, wanted: TickFilter, since_us: int, only: str) -> list[Mark]:
    """In the order of arrival."""
    rows = f"(SELECT * FROM {src.arrivals} WHERE received_at >= {instant_sql(since_us - LATE_US)} AND {wanted.sql})"
    return [mark for batch in _numbered(src, rows, "part, place", only) for mark in _marks(batch)]


def _numbered(src: Source, rows: str, order: str, only: str = "true") -> Iterator[RecordBatch]:
    """Rows with their number among those that are alike: these must be in `rows`, but may be left out by `only`."""
    numbered = f"SELECT *, {NTH} AS nth FROM {rows}"
    return read(src.con, f"SELECT {VALUES}, nth FROM ({numbered}) WHERE {only} ORDER BY {order}")


def _marks(batch: RecordBatch) -> list[Mark]:
    return list(map(Mark, ticks_of(batch), batch.columns[-1].to_pylist()))


def _last(src: Source, since_us: int) -> Mark | None:
    """The tick that arrived last, of those received since then, some time before included."""
    rows = f"(SELECT * FROM {src.arrivals} WHERE received_at >= {instant_sql(since_us - LATE_US)})"
    newest = f"(SELECT * FROM {rows} ORDER BY part DESC, place DESC LIMIT 1)"
    ticks = [tick for batch in read(src.con, f"SELECT {VALUES} FROM {newest}") for tick in ticks_of(batch)]
    return Mark(ticks[0], len(places_of(src, ticks[0])) - 1) if ticks else None


def sealed_us(src: Source) -> int:
    """When the newest batch in the file was sealed: whatever the service had taken by then is in it, or before."""
    if "audit" not in src.tables:
        return 0
    try:
        ((at,),) = src.con.execute(f'SELECT epoch_us(max("at")) FROM {src.tables["audit"]}').fetchall()
    except duckdb.Error as error:
        raise QueryError(str(error)) from error
    return int(at or 0)
