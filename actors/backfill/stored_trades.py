"""Looks up in the file, while the service records, which trades and gaps of one exchange are stored."""

from collections.abc import Callable, Container, Sequence
from typing import Any, Protocol

import duckdb

from actors.continuity.restore import gap_row
from actors.continuity.restore_sql import AT, NEWEST_GAPS
from actors.continuity.twins import StoredTwins, id_of_twins, twin_of
from actors.model.records import GAP_STATES, GapRow
from actors.model.schema import INSTANT
from actors.model.ticks import Block, IdPromise

AROUND_NS = 60 * 10**9  # a trade's times in the stream and in the history differ by less

_STORED = f"""
SELECT trade_id, fills FROM ticks
WHERE exchange = $exchange AND symbol = $symbol
  AND (trade_id IN (SELECT unnest($ids::VARCHAR[])) OR fills > 1)
  AND coalesce(timestamp, received_at) BETWEEN {AT.format("$since")} AND {AT.format("$until")}
"""
_TWINS = f"""
SELECT trade_id, {INSTANT.read.format("timestamp")}, price::VARCHAR, volume::VARCHAR, side FROM ticks
WHERE exchange = $exchange AND symbol = $symbol
  AND coalesce(timestamp, received_at) BETWEEN {AT.format("$since")} AND {AT.format("$until")}
"""
_GAPS = f"""
SELECT {GAP_STATES.read} FROM ({NEWEST_GAPS})
WHERE exchange = $exchange AND symbol = $symbol AND status <> 'filled'
  AND from_time <= {AT.format("$until")} AND (to_time IS NULL OR to_time >= {AT.format("$since")})
ORDER BY opened_at
"""


class Consult(Protocol):
    """Runs a query on the DuckDB file in a worker thread; raises DatabaseLocked."""

    async def __call__(self, question: Callable[[duckdb.DuckDBPyConnection], Any]) -> Any: ...


class StoredTrades:
    """The stored trades of one exchange."""

    def __init__(self, exchange: str, consult: Consult) -> None:
        self._exchange, self._consult = exchange, consult

    async def stored(self, symbol: str, block: Block) -> set[str]:
        """The ids of these rows that are stored, including ids within aggregated rows. Raises DatabaseLocked."""
        times = [time for time in block.exchange_ns if time is not None]
        ids = [trade_id for trade_id in block.trade_id if trade_id is not None]
        if not times or not ids:
            return set()
        values = {"ids": ids, "since": min(times) - AROUND_NS, "until": max(times) + AROUND_NS}
        rows = await self._ask(_STORED, symbol, **values)
        return {one for trade_id, fills in rows for one in _ids_of(trade_id, fills)}

    async def twins(
        self, symbol: str, block: Block, promise: IdPromise, remembered: Container[int] = ()
    ) -> StoredTwins:
        """How many of each trade are stored, where ids do not identify them. Raises DatabaseLocked.

        `promise`: of the market's ids. `remembered`: see StoredTwins.
        """
        times = [time for time in block.exchange_ns if time is not None]
        if not times:
            return StoredTwins((), remembered)
        rows = await self._ask(_TWINS, symbol, since=min(times) - AROUND_NS, until=max(times) + AROUND_NS)
        twins = (twin_of(id_of_twins(trade_id, promise), *rest) for trade_id, *rest in rows)
        return StoredTwins(twins, remembered)

    async def gaps(self, symbol: str, from_ns: int, to_ns: int) -> list[GapRow]:
        """The newest states of the gaps that overlap a range and are not filled. Raises DatabaseLocked."""
        return [gap_row(row) for row in await self._ask(_GAPS, symbol, since=from_ns, until=to_ns)]

    async def _ask(self, sql: str, symbol: str, **values: object) -> Sequence[tuple[Any, ...]]:
        def question(con: duckdb.DuckDBPyConnection) -> list[tuple[Any, ...]]:
            return con.execute(sql, {"exchange": self._exchange, "symbol": symbol, **values}).fetchall()

        rows: Sequence[tuple[Any, ...]] = await self._consult(question)
        return rows


def _ids_of(trade_id: str, fills: int) -> list[str]:
    if fills == 1:
        return [trade_id]
    return [str(number) for number in range(int(trade_id) - fills + 1, int(trade_id) + 1)]
