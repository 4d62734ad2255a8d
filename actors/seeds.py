"""Reads from the file and its tail what continuity starts from, without going through months of ticks.

The newest day answers for nearly every market; one that was recorded before (`feeds` says so) and is silent
there is looked for further back. Contiguous ids need their highest and what is missing below it: the gaps that
may still change say what was told, and the ids of the last minute what a crash left untold (`SETTLED_S`).
"""

from collections.abc import Iterable, Mapping
from typing import Any

import duckdb

from actors.dialect import IdPromise
from actors.gaps import GapReason, GapRow, GapStatus
from actors.holes import Hole
from actors.recent import GENERATION_KEYS
from actors.seed import Seed
from actors.sequence import HOLES_MAX

LOOKBACK_DAYS = (1, 10, 100)  # a market that is silent for longer starts as a new one
GAPS_DAYS = 7  # older gaps are filled by asking for a repair; taking them up would mean reading their ticks
FINAL_GAPS_DAYS = 1  # the same for those that were given up: late trades may still fill them
SETTLED_S = 60  # a jump so long before the newest trade has been told as a gap, or was none
DAY_NS = 86_400 * 10**9
_BEFORE_ANY = float("-inf")

# A number only if it is written as one, so that number and text stand for each other.
_ID = "CASE WHEN TRY_CAST({0} AS BIGINT)::VARCHAR = {0} THEN TRY_CAST({0} AS BIGINT) END"

# An instant as nanoseconds, as far as the file keeps them.
_NS = "epoch_us({}) * 1000"
_AT = "make_timestamptz({} // 1000)"

# `fills` tells how many ids a row stands for.
_LAST = f"""
WITH recent AS (
  SELECT t.symbol, t.trade_id, {_ID.format("t.trade_id")} AS id, t.received_at,
         coalesce(t.timestamp, t.received_at) AS made_at, t.source, t.fills
  FROM ticks t JOIN wanted w ON w.symbol = t.symbol
  WHERE t.exchange = $exchange AND t.received_at >= {_AT.format("$since")} AND t.received_at >= w.since),
ends AS (
  SELECT symbol, max(made_at) AS last_made, arg_max(trade_id, made_at) AS last_id,
         max(id) AS mark, min(id - fills + 1) AS lowest, max(received_at) AS last_received
  FROM recent GROUP BY symbol),
floors AS (
  SELECT r.symbol, max(r.id) AS floor FROM recent r JOIN ends e USING (symbol)
  WHERE r.received_at < e.last_received - INTERVAL {SETTLED_S} SECOND GROUP BY r.symbol)
"""

_ENDS = f"""
SELECT symbol, {_NS.format("last_made")}, last_id, mark, lowest FROM ends
"""

_JUMPS = f"""
SELECT * FROM (
  SELECT r.symbol,
         lag(r.id) OVER m + 1 AS first, r.id - r.fills AS last,
         {_NS.format("r.received_at")}, {_NS.format("lag(r.made_at) OVER m")},
         r.trade_id, {_NS.format("r.made_at")}, NULL AS gap_id
  FROM recent r LEFT JOIN floors f USING (symbol)
  WHERE r.id >= coalesce(f.floor, 0)
  WINDOW m AS (PARTITION BY r.symbol ORDER BY r.id))
WHERE first <= last ORDER BY last DESC
"""

_UNFILLED = f"""exchange = $exchange AND status <> 'filled' AND opened_at >=
  CASE WHEN status IN ('open', 'partial') THEN {_AT.format("$since")} ELSE {_AT.format("$since_final")} END"""

# Of a gap whose end came: what of its ids is still between no stored ones.
_MISSING = f"""
WITH told AS (
  SELECT gap_id, symbol, opened_at, to_id, from_time, to_time, missing,
         TRY_CAST(from_id AS BIGINT) AS low, TRY_CAST(to_id AS BIGINT) AS high
  FROM ({{gaps}})
  WHERE {_UNFILLED} AND missing > 0 AND to_id IS NOT NULL),
reach AS (SELECT min(opened_at) AS since FROM told),
stored AS (
  SELECT symbol, trade_id, {_ID.format("trade_id")} AS id, fills, coalesce(timestamp, received_at) AS made_at
  FROM ticks
  WHERE exchange = $exchange AND received_at >= (SELECT since - INTERVAL {SETTLED_S} SECOND FROM reach)
    AND symbol IN (SELECT symbol FROM told)),
edges AS (
  SELECT g.gap_id, g.symbol, g.low AS id, 1 AS fills, g.from_time AS made_at, NULL AS trade_id, g.opened_at
  FROM told g
  UNION ALL
  SELECT g.gap_id, g.symbol, s.id, s.fills, s.made_at, s.trade_id, g.opened_at
  FROM told g JOIN stored s ON s.symbol = g.symbol AND s.id > g.low AND s.id <= g.high)
SELECT * FROM (
  SELECT symbol, lag(id) OVER g + 1 AS first, id - fills AS last, {_NS.format("opened_at")},
         {_NS.format("lag(made_at) OVER g")}, trade_id, {_NS.format("made_at")}, gap_id
  FROM edges WINDOW g AS (PARTITION BY gap_id ORDER BY id, trade_id NULLS FIRST))
WHERE first <= last ORDER BY last DESC
"""

_RECENT = f"""
SELECT t.symbol, list_reverse(arg_max(t.trade_id, t.received_at, {GENERATION_KEYS})),
       list_min(arg_max({_NS.format("coalesce(t.timestamp, t.received_at)")}, t.received_at, {GENERATION_KEYS}))
FROM ticks t JOIN wanted w ON w.symbol = t.symbol
WHERE t.exchange = $exchange AND t.received_at >= {_AT.format("$since")} AND t.trade_id IS NOT NULL
GROUP BY t.symbol
"""

_GAPS = f"""
SELECT {_NS.format("at")}, gap_id, exchange, symbol, reason, {_NS.format("opened_at")}, from_id,
       {_NS.format("from_time")}, to_id, {_NS.format("to_time")}, missing, recovered, status,
       {_NS.format("closed_at")}
FROM (SELECT * FROM gap_states QUALIFY row_number() OVER (PARTITION BY gap_id ORDER BY "at" DESC) = 1)
WHERE {_UNFILLED}
ORDER BY opened_at, at
"""

_FIRSTS = """
WITH resets AS (
  SELECT symbol, max("at") AS since FROM feeds WHERE exchange = $exchange AND event = 'reset' GROUP BY symbol)
SELECT f.symbol, epoch_us(coalesce(r.since, 'epoch'::TIMESTAMPTZ)) * 1000,
       min(TRY_CAST(f.trade_id AS BIGINT)) FILTER (
         event IN ('first', 'reset') AND f."at" >= coalesce(r.since, f."at"))
FROM feeds f LEFT JOIN resets r USING (symbol) WHERE f.exchange = $exchange GROUP BY ALL
"""


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
        firsts = {symbol: (since, lowest) for symbol, since, lowest in self._ask(_FIRSTS)}
        gaps: dict[str, list[GapRow]] = {}
        since = self._now_ns - GAPS_DAYS * DAY_NS
        lately = {"since": since, "since_final": self._now_ns - FINAL_GAPS_DAYS * DAY_NS}
        for row in self._ask(_GAPS, **lately):
            gaps.setdefault(row[3], []).append(_gap(row))
        for days in LOOKBACK_DAYS:
            self._look(days, {s: firsts.get(s, (0, None))[0] for s in self._promises if s not in self._ends})
            if not any(symbol in firsts and symbol not in self._ends for symbol in self._promises):
                break
        if any(row.missing for rows in gaps.values() for row in rows):
            select = (
                'SELECT * FROM gap_states QUALIFY row_number() OVER (PARTITION BY gap_id ORDER BY "at" DESC) = 1'
            )
            self._take_holes(self._ask(_MISSING.format(gaps=select), **lately))
        return [
            self._seed(symbol, firsts.get(symbol, (0, None))[1], tuple(gaps.get(symbol, ())))
            for symbol in self._promises
        ]

    def _look(self, days: int, since_of: Mapping[str, int]) -> None:
        if not since_of:
            return
        since = self._now_ns - days * DAY_NS
        self._want(since_of)
        found = set()
        for symbol, last_ns, last_id, mark, lowest in self._ask(_LAST + _ENDS, since=since):
            self._ends[symbol] = (last_ns, last_id, mark, lowest)
            found.add(symbol)
        contiguous = {s for s in found if self._promises[s] is IdPromise.CONTIGUOUS}
        if contiguous:
            self._want({s: since_of[s] for s in contiguous})
            self._take_holes(self._ask(_LAST + _JUMPS, since=since))
        if found - contiguous:
            self._want({s: since_of[s] for s in found - contiguous})
            for symbol, ids, reach_ns in self._ask(_RECENT, since=since):
                self._recent[symbol] = (tuple(ids), reach_ns)

    def _want(self, since_of: Mapping[str, int]) -> None:
        self._con.execute("CREATE OR REPLACE TEMP TABLE wanted (symbol VARCHAR, since TIMESTAMPTZ)")
        self._con.execute(
            f"INSERT INTO wanted SELECT unnest(?), {_AT.format('unnest(?::BIGINT[])')}",
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


def _gap(row: tuple[Any, ...]) -> GapRow:
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
