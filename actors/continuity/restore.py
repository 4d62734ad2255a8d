"""Reads tracker states from the file and its tail after a restart, without scanning months of ticks.

The rows stored last suffice for nearly every market; for a market without any among them the search goes further
back. Contiguous ids need their highest id and the missing ids below it: the gaps that may still change show what
was reported, and jumps outside any gap what a crash left unreported. All other ids need the newest trades, as many
as the memory holds. The queries use bounded memory: they aggregate, sort a bounded piece, or are read row by row.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import duckdb
from msgspec import Struct, field

from actors.continuity.missing_ranges import MissingRange
from actors.continuity.recent_ids import HORIZON_NS, KEYS_MAX, KEYS_MIN, RecentIds
from actors.continuity.restore_sql import (
    AT,
    ENDS,
    FIRSTS,
    GAPS,
    JUMPS,
    MISSING,
    RECENT,
    REPORTED,
    ROWS,
    TOPS,
    TWINS,
    WANTED,
    stored_sql,
)
from actors.continuity.row import Row
from actors.continuity.sequence_gaps import RANGES_MAX
from actors.continuity.tracker_state import Before, TrackerState
from actors.continuity.twins import COMPOSITE, nth_key, twin_of
from actors.continuity.unconfirmed import Top, believed
from actors.model.records import GAP_STATES, GapReason, GapRow, GapStatus
from actors.model.ticks import IdPromise

WINDOW_ROWS = (1_000_000, 20_000_000, 1 << 62)  # merged rows searched: for most markets; for silent ones; all
GAPS_DAYS = 7  # before the newest trade; older gaps need a repair command: they span too many ticks
FINAL_GAPS_DAYS = 1  # the same for closed ones: late trades may still fill them
FETCH_ROWS = 10_000
JUMPS_IDS = 1_000_000  # below the highest id: a crash leaves only the last ids unreported
FEW = 4 * KEYS_MIN  # up to so many trades are all remembered, whatever their times
HOUR_NS = 3_600 * 10**9  # how much the times of a gap and of its trades may differ
DAY_NS = 24 * HOUR_NS
_BEFORE_ANY = float("-inf")
_NEVER = (None, None, None)
assert WINDOW_ROWS[0] >= KEYS_MAX, "the first window must cover what the memory can hold"


def read_states(
    con: duckdb.DuckDBPyConnection,
    exchange: str,
    promises: Mapping[str, IdPromise],
    tail: str | None = None,
    before: Mapping[str, Before] | None = None,
    *,
    windows: Sequence[int] = WINDOW_ROWS,
) -> list[TrackerState]:
    """The state of each of these markets. `con` is a DuckDB connection that sees the views; this function blocks.

    `tail` is the SELECT of the ticks not merged yet, None if all are. `before` gives, for a market, where another
    run began to record it; trades from there on are left out. `windows` are the numbers of merged rows to search.
    """
    return _Reading(con, exchange, promises, tail, before or {}).states(windows)


class _Found(Struct):
    """What was found of one market."""

    last_ns: int
    last_id: str | None
    mark: int | None
    lowest: int | None
    usual_ns: int  # nearly all trades are older; 0 if there are too few to tell
    jumps: list[MissingRange] = field(default_factory=list)
    aside: tuple[Row, ...] = ()
    recent: RecentIds | None = None
    highest: int = -1
    floor: int = -1


class _Reading:
    def __init__(
        self,
        con: duckdb.DuckDBPyConnection,
        exchange: str,
        promises: Mapping[str, IdPromise],
        tail: str | None,
        before: Mapping[str, Before],
    ) -> None:
        self._con, self._exchange, self._promises, self._tail, self._before = con, exchange, promises, tail, before
        self._found: dict[str, _Found] = {}
        self._missing_ranges: dict[str, list[MissingRange]] = {}
        self._left: dict[str, int] = {}
        (self._rows,) = con.execute(ROWS).fetchone() or (0,)
        # For each market ever recorded: since when its ids count, the lowest id, and where its recording began.
        self._firsts = {symbol: (since, lowest, start) for symbol, since, lowest, start in self._ask(FIRSTS)}
        self._reported: dict[str, list[tuple[int, int]]] = {}
        self._gaps: dict[str, list[GapRow]] = {}

    def _ask(self, sql: str, first_row: int = 0, **values: Any) -> Iterator[tuple[Any, ...]]:
        """Executes a query and yields its rows; only one query at a time."""
        sql = sql.format(stored=stored_sql(first_row, self._tail)) if "{stored}" in sql else sql
        result = self._con.execute(sql, {"exchange": self._exchange, **values})
        while rows := result.fetchmany(FETCH_ROWS):
            yield from rows

    def states(self, windows: Sequence[int]) -> list[TrackerState]:
        self._read_gaps()
        for rows in windows:
            first_row = max(0, self._rows - rows)
            wanted = [symbol for symbol in self._promises if symbol not in self._found]
            if rows != windows[0]:
                wanted = [symbol for symbol in wanted if symbol in self._firsts]
            if wanted:
                self._look(wanted, first_row)
            if not first_row:
                break
        self._choose_gaps()
        self._read_missing()
        return [self._state(symbol) for symbol in self._promises]

    def _since(self, symbol: str) -> int | None:
        since: int | None = self._firsts.get(symbol, _NEVER)[0]
        return since

    # -- what is stored -------------------------------------------------------------------------------

    def _look(self, wanted: list[str], first_row: int) -> None:
        self._want(wanted)
        found = {}
        for symbol, last_ns, last_id, mark, lowest, live, count, usual_ns in list(self._ask(ENDS, first_row)):
            other = self._promises[symbol] is not IdPromise.CONTIGUOUS
            if first_row and (not live or (other and count < KEYS_MIN and symbol in self._firsts)):
                continue  # only old times, or too few trades: search further back
            found[symbol] = _Found(last_ns, last_id, mark, lowest, usual_ns if count > FEW else 0)
        self._found.update(found)
        contiguous = [symbol for symbol in found if self._promises[symbol] is IdPromise.CONTIGUOUS]
        if contiguous:
            self._want(contiguous)
            for symbol, tops, denied_ns in self._ask(TOPS, first_row):
                self._take_tops(found[symbol], [Top(*top) for top in tops], denied_ns)
            ceilings = [found[symbol].mark or 0 for symbol in contiguous]
            floors = [(found[symbol].mark or 0) - JUMPS_IDS for symbol in contiguous]
            self._take_jumps(self._ask(JUMPS, first_row, symbols=contiguous, floors=floors, ceilings=ceilings))
        others = [symbol for symbol in found if symbol not in contiguous]
        for symbols, query, take in (
            ([one for one in others if self._promises[one] not in COMPOSITE], RECENT, self._take_recent),
            ([one for one in others if self._promises[one] in COMPOSITE], TWINS, self._take_twins),
        ):
            if symbols:
                self._want(symbols)
                cuts = [max(0, found[symbol].usual_ns - HORIZON_NS) for symbol in symbols]
                take(self._ask(query, first_row, symbols=symbols, cuts=cuts))

    @staticmethod
    def _take_tops(found: _Found, tops: list[Top], denied_ns: int | None) -> None:
        """The highest id is accepted only if others lie near it, as during recording."""
        tops, aside = believed(tops, denied_ns)
        found.mark, found.aside = tops[0].id, tuple(map(Top.row, aside))
        if aside:
            found.last_ns = tops[0].made_ns

    def _want(self, symbols: list[str]) -> None:
        before = [self._before.get(symbol, Before()) for symbol in symbols]
        self._con.execute(WANTED)
        self._con.execute(
            f"INSERT INTO wanted SELECT unnest(?::VARCHAR[]), {AT.format('unnest(?::BIGINT[])')},"
            f" {AT.format('unnest(?::BIGINT[])')}, unnest(?::BIGINT[])",
            [
                symbols,
                [self._since(symbol) for symbol in symbols],
                [one.time_ns for one in before],
                [one.trade_id for one in before],
            ],
        )

    def _take_recent(self, rows: Iterable[tuple[Any, ...]]) -> None:
        lowest: dict[str, tuple[int, int]] = {}
        for symbol, trade_id, number, made_ns in rows:
            found = self._found[symbol]
            if found.recent is None:
                found.recent = RecentIds()
                lowest[symbol] = (made_ns, -1 if number is None else number)
            key = hash(trade_id)
            if not found.recent.holds(key, made_ns) and not found.recent.beyond(made_ns):
                found.recent.add(key, made_ns)
            if number is not None:
                found.highest = max(found.highest, number)
            lowest[symbol] = min(lowest[symbol], (made_ns, -1 if number is None else number))
        for symbol, (made_ns, number) in lowest.items():
            found = self._found[symbol]
            assert found.recent is not None
            if found.recent.reach_ns is None:
                found.recent.reach_ns = made_ns
            found.floor = number

    def _take_twins(self, rows: Iterable[tuple[Any, ...]]) -> None:
        counts: Counter[tuple[str, int]] = Counter()
        oldest: dict[str, int] = {}
        for symbol, trade_id, time_ns, made_ns, price, volume, side in rows:
            recent = self._found[symbol].recent = self._found[symbol].recent or RecentIds()
            twin = twin_of(trade_id, time_ns, price, volume, side)
            counts[symbol, twin] += 1
            key = nth_key(twin, counts[symbol, twin])
            if not recent.holds(key, time_ns) and not recent.beyond(time_ns):
                recent.add(key, time_ns)
            oldest[symbol] = min(made_ns, oldest.get(symbol, made_ns))
        for symbol, made_ns in oldest.items():
            memory = self._found[symbol].recent
            if memory is not None and memory.reach_ns is None:
                memory.reach_ns = made_ns

    def _take_jumps(self, rows: Iterable[tuple[Any, ...]]) -> None:
        """Keeps the parts of jumps that lie in no gap and after the start of the recording."""
        for symbol, first, last, from_ns, to_id, to_ns in rows:
            first = max(first, self._firsts.get(symbol, _NEVER)[2] or 0)
            for low, high in _outside(first, last, self._reported.get(symbol, [])):
                missing_range = MissingRange(
                    low, high, _BEFORE_ANY, to_ns, from_ns, to_id if high == last else str(high + 1), to_ns
                )
                self._found[symbol].jumps.append(missing_range)

    # -- what was reported of it --------------------------------------------------------------------------

    def _read_gaps(self) -> None:
        for row in map(gap_row, self._ask(GAPS)):
            self._gaps.setdefault(row.symbol, []).append(row)
        for symbol, first, last, at_ns in self._ask(REPORTED):
            if at_ns >= (self._since(symbol) or 0):  # otherwise it belongs to ids before a reset
                self._reported.setdefault(symbol, []).append((first, last))
        self._reported = {symbol: _joined(ranges) for symbol, ranges in self._reported.items()}

    def _choose_gaps(self) -> None:
        """The gaps of each market shortly before its newest trade, on the exchange's clock."""
        for symbol, found in self._found.items():
            rows = self._gaps.get(symbol, [])
            self._gaps[symbol] = [
                row for row in rows if not row.bounded or found.last_ns - _at_ns(row) <= _days(row) * DAY_NS
            ]

    def _read_missing(self) -> None:
        """The ids of each gap that are not stored. Ids after a reset prove nothing about older gaps."""
        asked = []
        for symbol in self._found:
            for row in self._gaps.get(symbol, ()):
                if not row.missing or row.to_id is None:
                    continue
                if _at_ns(row) < (self._since(symbol) or 0):
                    self._left[row.gap_id] = row.missing
                else:
                    asked.append(row)
        if not asked:
            return
        self._want(list(self._found))
        reach_ns = min(min(row.from_ns or row.opened_ns, _at_ns(row)) for row in asked) - HOUR_NS
        for symbol, first, last, opened_ns, from_ns, to_id, to_ns, gap, _ in self._ask(
            MISSING, gaps=[row.gap_id for row in asked], reach=max(0, reach_ns)
        ):
            self._left[gap] = self._left.get(gap, 0) + last - first + 1
            missing_ranges = self._missing_ranges.setdefault(symbol, [])
            if len(missing_ranges) < RANGES_MAX and all(
                missing_range.last < first or missing_range.first > last for missing_range in missing_ranges
            ):
                missing_ranges.append(MissingRange(first, last, _BEFORE_ANY, opened_ns, from_ns, to_id, to_ns, gap))

    def _state(self, symbol: str) -> TrackerState:
        gaps = tuple(self._gaps.get(symbol, ()))
        if symbol not in self._found:
            return TrackerState(self._exchange, symbol, gaps=gaps)
        found, first = self._found[symbol], self._firsts.get(symbol, _NEVER)[1]
        return TrackerState(
            exchange=self._exchange,
            symbol=symbol,
            last_id=found.last_id,
            last_ns=found.last_ns,
            mark=found.mark,
            lowest=None if first is None else min(first, first if found.lowest is None else found.lowest),
            missing_ranges=tuple(
                missing_range
                for missing_range in (*self._missing_ranges.get(symbol, ()), *found.jumps)
                if missing_range.first <= (found.mark or 0)
            ),
            left={row.gap_id: self._left[row.gap_id] for row in gaps if row.gap_id in self._left},
            recent=found.recent,
            highest=found.highest,
            floor=found.floor,
            gaps=gaps,
            aside=found.aside,
        )


def _at_ns(row: GapRow) -> int:
    return row.opened_ns if row.to_ns is None else row.to_ns


def _days(row: GapRow) -> int:
    return GAPS_DAYS if row.status in (GapStatus.OPEN, GapStatus.PARTIAL) else FINAL_GAPS_DAYS


def _joined(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges in order of their first ids; adjacent ones are merged."""
    joined: list[tuple[int, int]] = []
    for first, last in ranges:
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
        else:
            joined.append((first, last))
    return joined


def _outside(first: int, last: int, reported: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The parts of a range that lie in none of these disjoint, ordered ranges."""
    at = max(0, bisect_right(reported, (first, last)) - 1)
    while at < len(reported) and reported[at][0] <= last:
        low, high = reported[at]
        if low > first:
            yield first, low - 1
        first, at = max(first, high + 1), at + 1
    if first <= last:
        yield first, last


def gap_row(row: tuple[Any, ...]) -> GapRow:
    """A gap state from the columns GAP_STATES.read."""
    values = dict(zip(GAP_STATES.attributes, row, strict=True))
    return GapRow(**values | {"reason": GapReason(values["reason"]), "status": GapStatus(values["status"])})
