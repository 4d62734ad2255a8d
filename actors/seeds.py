"""Reads from the file and its tail what continuity starts from, without going through months of ticks.

The newest hour answers for nearly every market; one that is silent there is looked for further back, beyond
a day only if it was recorded before (`feeds` says so). Contiguous ids need their highest and what is missing
below it: the gaps that may still change say what was told, and the ids of the last minute what a crash left
untold (`SETTLED_S`).
"""

from collections.abc import Iterable, Mapping
from typing import Any

import duckdb

from actors.dialect import IdPromise
from actors.gaps import GapReason, GapRow, GapStatus
from actors.holes import Hole
from actors.recent import GENERATION_KEYS
from actors.seed import Seed
from actors.seed_queries import AT, ENDS, FIRSTS, GAPS, JUMPS, LAST, MISSING, RECENT
from actors.sequence import HOLES_MAX

LOOKBACK_HOURS = (1, 6, 24, 240, 2400)  # a market that is silent for longer starts as a new one
DAY_HOURS = 24  # what is looked at of a file that does not say what was recorded before
GAPS_DAYS = 7  # older gaps are filled by asking for a repair; taking them up would mean reading their ticks
FINAL_GAPS_DAYS = 1  # the same for those that were given up: late trades may still fill them
HOUR_NS = 3_600 * 10**9
DAY_NS = 24 * HOUR_NS
_BEFORE_ANY = float("-inf")


def read_seeds(
    con: duckdb.DuckDBPyConnection, exchange: str, promises: Mapping[str, IdPromise], now_ns: int
) -> list[Seed]:
    """One seed for each of these markets. `con` is a DuckDB connection that sees the views; this blocks."""
    return _Reading(con, exchange, promises, now_ns).seeds()


class _Reading:
    def __init__(
        self, con: duckdb.DuckDBPyConnection, exchange: str, promises: Mapping[str, IdPromise], now_ns: int
    ) -> None:
        self._con, self._exchange, self._promises, self._now_ns = con, exchange, promises, now_ns
        self._ends: dict[str, tuple[int, str | None, int | None, int | None]] = {}
        self._holes: dict[str, list[Hole]] = {}
        self._recent: dict[str, tuple[tuple[str, ...], int | None]] = {}

    def _ask(self, sql: str, **values: Any) -> list[tuple[Any, ...]]:
        return self._con.execute(sql, {"exchange": self._exchange, **values}).fetchall()

    def seeds(self) -> list[Seed]:
        firsts = {symbol: (since, lowest) for symbol, since, lowest in self._ask(FIRSTS)}
        gaps: dict[str, list[GapRow]] = {}
        since = self._now_ns - GAPS_DAYS * DAY_NS
        lately = {"since": since, "since_final": self._now_ns - FINAL_GAPS_DAYS * DAY_NS}
        for row in self._ask(GAPS, **lately):
            gaps.setdefault(row[3], []).append(gap_row(row))
        for hours in LOOKBACK_HOURS:
            wanted = {s: firsts.get(s, (0, None))[0] for s in self._promises if s not in self._ends}
            if hours > DAY_HOURS:
                wanted = {symbol: start for symbol, start in wanted.items() if symbol in firsts}
            if wanted:
                self._look(hours, wanted)
        if any(row.missing for rows in gaps.values() for row in rows):
            self._take_holes(self._ask(MISSING, **lately))
        return [
            self._seed(symbol, firsts.get(symbol, (0, None))[1], tuple(gaps.get(symbol, ())))
            for symbol in self._promises
        ]

    def _look(self, hours: int, since_of: Mapping[str, int]) -> None:
        since = self._now_ns - hours * HOUR_NS
        self._want(since_of)
        found = set()
        for symbol, last_ns, last_id, mark, lowest, live in self._ask(LAST + ENDS, since=since):
            if not live and hours < LOOKBACK_HOURS[-1]:
                continue  # answers about old times only: the highest id was received before them
            self._ends[symbol] = (last_ns, last_id, mark, lowest)
            found.add(symbol)
        contiguous = {s for s in found if self._promises[s] is IdPromise.CONTIGUOUS}
        if contiguous:
            self._want({s: since_of[s] for s in contiguous})
            self._take_holes(self._ask(LAST + JUMPS, since=since))
        if found - contiguous:
            self._want({s: since_of[s] for s in found - contiguous})
            for symbol, ids, reach_ns in self._ask(RECENT, since=since):
                self._recent[symbol] = (tuple(ids), reach_ns)
                if len(ids) < GENERATION_KEYS and hours < DAY_HOURS:
                    del self._ends[symbol]  # there is room for more

    def _want(self, since_of: Mapping[str, int]) -> None:
        self._con.execute("CREATE OR REPLACE TEMP TABLE wanted (symbol VARCHAR, since TIMESTAMPTZ)")
        self._con.execute(
            f"INSERT INTO wanted SELECT unnest(?), {AT.format('unnest(?::BIGINT[])')}",
            [list(since_of), list(since_of.values())],
        )

    def _take_holes(self, rows: Iterable[tuple[Any, ...]]) -> None:
        """Holes that a gap names are asked for last and put in the place of the same ones without a name."""
        for symbol, first, last, opened_ns, from_ns, to_id, to_ns, gap in rows:
            holes = self._holes.setdefault(symbol, [])
            if gap is not None:
                holes[:] = [hole for hole in holes if hole.gap_id or hole.last < first or hole.first > last]
            if len(holes) < HOLES_MAX and all(hole.last < first or hole.first > last for hole in holes):
                holes.append(Hole(first, last, _BEFORE_ANY, opened_ns, from_ns, to_id, to_ns, gap))

    def _seed(self, symbol: str, first: int | None, gaps: tuple[GapRow, ...]) -> Seed:
        if symbol not in self._ends:
            return Seed(self._exchange, symbol, gaps=gaps)
        last_ns, last_id, mark, lowest = self._ends[symbol]
        recent, reach_ns = self._recent.get(symbol, ((), None))
        return Seed(
            exchange=self._exchange,
            symbol=symbol,
            last_id=last_id,
            last_ns=last_ns,
            mark=mark,
            lowest=None if first is None else min(first, first if lowest is None else lowest),
            holes=tuple(self._holes.get(symbol, ())),
            recent=recent,
            reach_ns=reach_ns,
            gaps=gaps,
        )


def gap_row(row: tuple[Any, ...]) -> GapRow:
    """A state of a gap from GAP_COLUMNS."""
    (
        at_ns,
        gap,
        exchange,
        symbol,
        reason,
        opened,
        from_id,
        from_ns,
        to_id,
        to_ns,
        missing,
        recovered,
        status,
        closed,
    ) = row
    return GapRow(
        at_ns,
        gap,
        exchange,
        symbol,
        GapReason(reason),
        opened,
        from_id,
        from_ns,
        to_id,
        to_ns,
        missing,
        recovered,
        GapStatus(status),
        closed,
    )
