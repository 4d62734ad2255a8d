"""Reads from the file what a position has not seen."""

from collections.abc import Iterator
from dataclasses import dataclass

from arro3.core import RecordBatch

from ops.client.position import (
    LATE_US,
    NTH,
    Mark,
    Place,
    Position,
    PositionLost,
    arrived_after,
    place_of,
    places_of,
    received_after,
)
from ops.client.tick import TickFilter
from ops.client.windows import VALUES, fetched, instant_sql, read, ticks_of, windows
from ops.export.source import Source


@dataclass(frozen=True, slots=True)
class Delivered:
    """A tick, and the position of a reader who has seen it; without a tick, of one who has seen all."""

    mark: Mark | None
    position: Position


def missed(src: Source, after: Position | int, wanted: TickFilter, from_us: int = 0) -> Iterator[list[Delivered]]:
    """The stored ticks that a reader has not seen: the late ones, then the others in the order of receipt.

    `after` may be a time in microseconds UTC: whatever was received then or later. Late ones that were received
    before `from_us` are left out. Raises QueryError, and PositionLost if the position does not show all of them.
    """
    seen = after.seen if isinstance(after, Position) else None
    since_us = after if isinstance(after, int) else after.seen.tick.received_us
    only = "true"
    end: Mark | None
    if isinstance(after, Position):
        place = place_of(src, after.seen)
        only = received_after(since_us, place)
        if after.arrived is None:
            _check_clock(src, after.seen, place)
        else:
            place = place_of(src, after.arrived)
        end = _last(src, arrived_after(place)) or after.arrived or after.seen
        if after.arrived is not None:
            for marks in _late(src, wanted, from_us, f"{arrived_after(place)} AND NOT {only}"):
                yield [Delivered(mark, Position(after.seen, mark)) for mark in marks]
    else:
        end = _last(src, f"received_at >= {instant_sql(since_us - LATE_US)}")
    for window in windows(src, wanted.sql, since_us, None):
        for batch in _numbered(src, window.source, "received_at, part, place", only):
            marks = _marks(batch)
            yield [Delivered(mark, Position(mark, end)) for mark in marks]
            seen = marks[-1]
    if seen is not None:
        yield [Delivered(None, Position(seen, end))]


def _late(src: Source, wanted: TickFilter, from_us: int, only: str) -> Iterator[list[Mark]]:
    """In the order of arrival. After the clock was set back, these were received long before the others."""
    where = f"{wanted.sql} AND received_at >= {instant_sql(from_us)}"
    first = f"SELECT epoch_us(min(received_at)) FROM {src.arrivals} WHERE {where} AND {only}"
    ((first_us,),) = fetched(src.con, first)
    if first_us is not None:
        rows = f"(SELECT * FROM {src.arrivals} WHERE {where} AND received_at >= {instant_sql(first_us)})"
        yield from map(_marks, _numbered(src, rows, "part, place", only))


def _check_clock(src: Source, seen: Mark, place: Place) -> None:
    """Raises PositionLost if it cannot be known which of the ticks that were received earlier have been seen."""
    set_back = f"{arrived_after(place)} AND received_at < {instant_sql(seen.tick.received_us - LATE_US)}"
    if fetched(src.con, f"SELECT 1 FROM {src.arrivals} WHERE {set_back} LIMIT 1"):
        raise PositionLost(
            f"the clock was set back after {seen.tick.received_at.isoformat()}: what was recorded since was"
            " received before; pass a time, or the position of a stream, to go on from there"
        )


def _numbered(src: Source, rows: str, order: str, only: str = "true") -> Iterator[RecordBatch]:
    """Rows with their number among those that are alike: these must be in `rows`, but may be left out by `only`."""
    numbered = f"SELECT *, {NTH} AS nth FROM {rows}"
    return read(src.con, f"SELECT {VALUES}, nth FROM ({numbered}) WHERE {only} ORDER BY {order}")


def _marks(batch: RecordBatch) -> list[Mark]:
    return list(map(Mark, ticks_of(batch), batch.columns[-1].to_pylist()))


def _last(src: Source, where: str) -> Mark | None:
    """The tick that arrived last, of those for which it is so."""
    newest = f"(SELECT * FROM {src.arrivals} WHERE {where} ORDER BY part DESC, place DESC LIMIT 1)"
    ticks = [tick for batch in read(src.con, f"SELECT {VALUES} FROM {newest}") for tick in ticks_of(batch)]
    return Mark(ticks[0], len(places_of(src, ticks[0])) - 1) if ticks else None


def sealed_us(src: Source) -> int:
    """When the newest batch in the file was sealed: whatever the service had taken by then is in it, or before.

    The newest is the one that arrived last: others may have later times, from when the clock was ahead.
    """
    if not src.audits:
        return 0
    newest = f'SELECT epoch_us("at") FROM {src.audits} ORDER BY part DESC, place DESC LIMIT 1'
    found = fetched(src.con, newest)
    return int(found[0][0]) if found else 0
