"""Where a reader of live ticks stands, so that it can go on there later: without a hole, and without a copy.

Ticks are delivered in the order of `received_at`, but some arrive late: an exchange's history answers, or the
service has held a doubtful trade back. So a position has two marks. Delivered are the ticks that arrived up to
`arrived` and, in the order of receipt, do not come after `seen`. The file has the same ticks in the same order of
arrival, and finds both marks again.
"""

import msgspec

from ops.client.tick import Tick
from ops.client.windows import fetched, instant_sql
from ops.export.query import QueryError
from ops.export.source import Source

LATE_US = 600_000_000  # no tick arrives later than this after its receipt, unless the clock is set back meanwhile
LAST = -1  # of the ticks that are alike in every column
_SAME = "exchange, symbol, timestamp, received_at, price, volume, side, trade_id, source"
NTH = f"row_number() OVER (PARTITION BY {_SAME} ORDER BY part, place) - 1"
Place = tuple[int, int]  # of a row in the order of arrival, in one `Source`


class PositionLost(QueryError):
    """The file does not hold the tick of a position: pass a time instead, and expect copies or a hole there."""


class Mark(msgspec.Struct, frozen=True):
    """A tick; `nth` counts those before it that are alike in every column, in the order of arrival."""

    tick: Tick
    nth: int = LAST


class Position(msgspec.Struct, frozen=True):
    """See the module. Without `arrived`, every tick in the file has arrived."""

    seen: Mark
    arrived: Mark | None = None

    def encoded(self) -> bytes:
        """As JSON, to be kept in a file."""
        return msgspec.json.encode(self)

    @staticmethod
    def decoded(data: bytes | str) -> "Position":
        """What `encoded` returned; raises ValueError."""
        return msgspec.json.decode(data, type=Position)


def places_of(src: Source, tick: Tick) -> list[Place]:
    """Where the file has ticks like this one, in the order of arrival."""
    rows = fetched(
        src.con,
        f"SELECT part, place FROM {src.arrivals} WHERE received_at = {instant_sql(tick.received_us)}"
        " AND exchange = $1 AND symbol = $2 AND source = $3 AND side IS NOT DISTINCT FROM $4::VARCHAR"
        " AND trade_id IS NOT DISTINCT FROM $5::VARCHAR AND epoch_us(timestamp) IS NOT DISTINCT FROM $6::BIGINT"
        " AND price = $7::DECIMAL(38,18) AND volume = $8::DECIMAL(38,18) ORDER BY part, place",
        [
            *(tick.exchange, tick.symbol, tick.source, tick.side, tick.trade_id, tick.timestamp_us),
            *(f"{tick.price:f}", f"{tick.volume:f}"),
        ],
    )
    return [(int(part), int(place)) for part, place in rows]


def place_of(src: Source, mark: Mark) -> Place:
    """Where the file has the tick; raises PositionLost."""
    places, tick = places_of(src, mark.tick), mark.tick
    if mark.nth >= len(places) or not places:
        raise PositionLost(
            f"the file does not hold the trade {tick.trade_id} of {tick.symbol} on {tick.exchange}, received at"
            f" {tick.received_at.isoformat()}: it was not durable when the service was killed, or it has been"
            " deleted; pass a time to go on from there"
        )
    return places[mark.nth]


def arrived_after(place: Place) -> str:
    """The condition in SQL for the rows that arrived after a place: so written, DuckDB skips those before it."""
    return f"(part > {place[0]} OR (part = {place[0]} AND place > {place[1]}))"


def received_after(us: int, place: Place) -> str:
    """The condition in SQL for the rows after that place in the order of receipt."""
    at = instant_sql(us)
    return f"(received_at > {at} OR (received_at = {at} AND {arrived_after(place)}))"
