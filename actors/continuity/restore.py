"""Reads tracker states from the file and its tail after a restart, without scanning months of ticks.

The rows stored last suffice for nearly every market; for a market without any among them the search goes further
back. Contiguous ids need their highest id and the missing ids below it: the gaps that may still change show what
was reported, and jumps outside any gap what a crash left unreported. All other ids need the newest trades, as many
as the memory holds. What was fetched from a history was stored later than its neighbours, which need not be among
the last rows: a jump counts only if the whole file has it, and trades are remembered only as far back as live ones
show that none is left out. The queries use bounded memory: they aggregate, sort a bounded piece, or are read row by
row.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import duckdb
from msgspec import Struct, field

from actors.continuity.missing_ranges import MissingRange
from actors.continuity.recent_ids import HORIZON_NS, KEYS_MAX, KEYS_MIN, RecentIds
from actors.continuity.restore_sql import (
    AT,
    BEGUN,
    ENDS,
    FIRSTS,
    GAPS,
    JUMPS,
    MISSING,
    RECENT,
    REPORTED,
    ROWS,
    STARTS,
    TOPS,
    TWINS,
    WANTED,
    stored_sql,
)
from actors.continuity.row import Row
from actors.continuity.sequence_gaps import RANGES_MAX
from actors.continuity.tracker_state import Before, TrackerState
from actors.continuity.twins import COMPOSITE, id_of_twins, nth_key, twin_of
from actors.continuity.unconfirmed import Top, believed
from actors.model.records import GAP_STATES, GapReason, GapRow, GapStatus, decimal
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
_NEVER = (None, None, None, None)
_Key = tuple[str, str]  # exchange and symbol
_T = TypeVar("_T")
assert WINDOW_ROWS[0] >= KEYS_MAX, "the first window must cover what the memory can hold"


def read_states(
    con: duckdb.DuckDBPyConnection,
    promises: Mapping[str, Mapping[str, IdPromise]],
    tail: str | None = None,
    before: Mapping[str, Mapping[str, Before]] | None = None,
    *,
    run_id: str = "",
    windows: Sequence[int] = WINDOW_ROWS,
) -> dict[str, list[TrackerState]]:
    """The states of these markets, by exchange, as `promises` and `before` are. This function blocks.

    `con` is a DuckDB connection that sees the views. All exchanges are read at once: for a few markets the queries
    take longer to plan than to run. `tail` is the SELECT of the ticks not merged yet, None if all are. `before`
    gives, for a market, where another run began to record it; trades from there on are left out. A recording by the
    run `run_id` does not count as an earlier one. `windows` are the numbers of merged rows to search.
    """
    return _Reading(con, promises, tail, before or {}, run_id).states(windows)


class _Found(Struct):
    """What was found of one market."""

    last_ns: int
    last_id: str | None
    mark: int | None
    lowest: int | None
    cut_ns: int  # only trades from then on are remembered
    jumps: list[MissingRange] = field(default_factory=list)
    aside: tuple[Row, ...] = ()
    recent: RecentIds | None = None
    highest: int = -1
    floor: int = -1


class _Span(Struct, frozen=True):
    """Ids to search for jumps, both ends included, and since when their trades were made."""

    floor: int
    ceiling: int
    since_ns: int = 0

    def joined(self, other: "_Span") -> "_Span":
        """The span of both."""
        return _Span(
            min(self.floor, other.floor), max(self.ceiling, other.ceiling), min(self.since_ns, other.since_ns)
        )


class _Reading:
    def __init__(
        self,
        con: duckdb.DuckDBPyConnection,
        promises: Mapping[str, Mapping[str, IdPromise]],
        tail: str | None,
        before: Mapping[str, Mapping[str, Before]],
        run_id: str,
    ) -> None:
        self._con, self._exchanges, self._tail = con, promises, tail
        self._promises, self._before = _flat(promises), _flat(before)
        self._found: dict[_Key, _Found] = {}
        self._missing_ranges: dict[_Key, list[MissingRange]] = {}
        self._left: dict[str, int] = {}
        (self._rows,) = con.execute(ROWS).fetchone() or (0,)
        # For each market ever recorded: since when its ids count, the lowest id, with which id its recording began,
        # and when it last began.
        self._firsts = {key: tuple(values) for key, *values in self._ask_reported(FIRSTS, run=run_id)}
        self._reported: dict[_Key, list[tuple[int, int]]] = {}
        self._gaps: dict[_Key, list[GapRow]] = {}
        self._rebased: set[str] = set()

    def _ask(self, sql: str, **values: Any) -> Iterator[tuple[Any, ...]]:
        """Executes a query and yields its rows; only one query at a time."""
        result = self._con.execute(sql, values)
        while rows := result.fetchmany(FETCH_ROWS):
            yield from rows

    def _ask_reported(self, sql: str, **values: Any) -> Iterator[tuple[Any, ...]]:
        """Of what was reported; each row begins with the market."""
        return _keyed(self._ask(sql, exchanges=list(self._exchanges), **values))

    def _ask_stored(
        self, sql: str, values: Mapping[str, Any], first_row: int = 0, reach_ns: int = 0
    ) -> Iterator[tuple[Any, ...]]:
        """Of the trades from that row of the file on, made from `reach_ns` on; each row begins with the market."""
        stored = stored_sql(first_row, self._tail, reach=reach_ns > 0)
        reach = {"reach": reach_ns} if reach_ns > 0 else {}
        return _keyed(self._ask(sql.format(stored=stored), **values, **reach))

    def states(self, windows: Sequence[int]) -> dict[str, list[TrackerState]]:
        self._read_gaps()
        for rows in windows:
            first_row = max(0, self._rows - rows)
            wanted = [key for key in self._promises if key not in self._found]
            if rows != windows[0]:
                wanted = [key for key in wanted if key in self._firsts]
            if wanted:
                self._look(wanted, first_row)
            if not first_row:
                break
        self._choose_gaps()
        self._rebase_blind(windows)
        self._read_missing()
        return {name: [self._state((name, symbol)) for symbol in by] for name, by in self._exchanges.items()}

    def _since(self, key: _Key) -> int | None:
        since: int | None = self._firsts.get(key, _NEVER)[0]
        return since

    # -- what is stored -------------------------------------------------------------------------------

    def _look(self, wanted: list[_Key], first_row: int) -> None:
        self._want(wanted)
        found = {}
        for key, last_ns, last_id, mark, lowest, live, count, times_us in self._ask_stored(ENDS, {}, first_row):
            other = self._promises[key] is not IdPromise.CONTIGUOUS
            if first_row and (not live or (other and live < KEYS_MIN and key in self._firsts)):
                continue  # only old times, or too few trades: search further back
            early_us, late_us = times_us or (0, 0)  # nearly all live trades lie between them
            cut_ns = max(early_us * 1000 if first_row else 0, late_us * 1000 - HORIZON_NS if count > FEW else 0)
            found[key] = _Found(last_ns, last_id, mark, lowest, cut_ns)
        self._found.update(found)
        contiguous, others = list[_Key](), list[_Key]()
        for key in found:
            (contiguous if self._promises[key] is IdPromise.CONTIGUOUS else others).append(key)
        if contiguous:
            self._want(contiguous)
            for key, tops, denied_ns in self._ask_stored(TOPS, {}, first_row):
                self._take_tops(found[key], [Top(*top) for top in tops], denied_ns)
            self._look_for_jumps({key: found[key].mark or 0 for key in contiguous}, first_row)
        for keys, query, take in (
            ([one for one in others if self._promises[one] not in COMPOSITE], RECENT, self._take_recent),
            ([one for one in others if self._promises[one] in COMPOSITE], TWINS, self._take_twins),
        ):
            if keys:
                self._want(keys)
                cuts = [found[key].cut_ns for key in keys]
                take(self._ask_stored(query, _names(keys) | {"cuts": cuts}, first_row))

    @staticmethod
    def _take_tops(found: _Found, tops: list[Top], denied_ns: int | None) -> None:
        """The highest id is accepted only if others lie near it, as during recording."""
        tops, aside = believed(tops, denied_ns)
        found.mark, found.aside = tops[0].id, tuple(map(Top.row, aside))
        if aside:
            found.last_ns = tops[0].made_ns

    def _want(self, keys: Sequence[_Key]) -> None:
        before = [self._before.get(key, Before()) for key in keys]
        self._con.execute(WANTED)
        self._con.execute(
            "INSERT INTO wanted SELECT unnest($exchanges::VARCHAR[]), unnest($symbols::VARCHAR[]),"
            f" {AT.format('unnest($since::BIGINT[])')}, {AT.format('unnest($until::BIGINT[])')},"
            " unnest($below::BIGINT[])",
            {
                **_names(keys),
                "since": [self._since(key) for key in keys],
                "until": [one.time_ns for one in before],
                "below": [one.trade_id for one in before],
            },
        )

    def _take_recent(self, rows: Iterable[tuple[Any, ...]]) -> None:
        lowest: dict[_Key, tuple[int, int]] = {}
        for key, trade_id, number, made_ns in rows:
            found = self._found[key]
            if found.recent is None:
                found.recent = RecentIds()
                lowest[key] = (made_ns, -1 if number is None else number)
            hashed = hash(trade_id)
            if not found.recent.holds(hashed, made_ns) and not found.recent.beyond(made_ns):
                found.recent.add(hashed, made_ns)
            if number is not None:
                found.highest = max(found.highest, number)
            lowest[key] = min(lowest[key], (made_ns, -1 if number is None else number))
        for key, (made_ns, number) in lowest.items():
            found = self._found[key]
            assert found.recent is not None
            if found.recent.reach_ns is None:
                found.recent.reach_ns = made_ns
            found.floor = number

    def _take_twins(self, rows: Iterable[tuple[Any, ...]]) -> None:
        counts: Counter[tuple[_Key, int]] = Counter()
        oldest: dict[_Key, int] = {}
        for key, trade_id, time_ns, made_ns, price, volume, side in rows:
            recent = self._found[key].recent = self._found[key].recent or RecentIds()
            twin = twin_of(id_of_twins(trade_id, self._promises[key]), time_ns, price, volume, side)
            counts[key, twin] += 1
            nth = nth_key(twin, counts[key, twin])
            if not recent.holds(nth, time_ns) and not recent.beyond(time_ns):
                recent.add(nth, time_ns)
            oldest[key] = min(made_ns, oldest.get(key, made_ns))
        for key, made_ns in oldest.items():
            memory = self._found[key].recent
            if memory is not None and memory.reach_ns is None:
                memory.reach_ns = made_ns

    def _look_for_jumps(self, marks: Mapping[_Key, int], first_row: int) -> None:
        """Finds jumps below these marks in the rows stored last, and looks whether the whole file has them too."""
        jumps = self._jumps({key: _Span(mark - JUMPS_IDS, mark) for key, mark in marks.items()}, first_row)
        if first_row:
            spans: dict[_Key, _Span] = {}
            for key, span, _ in jumps:
                spans[key] = spans.get(key, span).joined(span)
            jumps = [jump for portion in _portions(spans) for jump in self._jumps(portion, 0)]
        for key, _, missing_range in jumps:
            self._found[key].jumps.append(missing_range)

    def _add_jumps(self, spans: Mapping[_Key, _Span]) -> None:
        """Adds the jumps within these spans that are not found yet."""
        self._want(list(spans))
        for portion in _portions(spans):
            for key, _, jump in self._jumps(portion, 0):
                found = self._found[key].jumps
                if all(one.last < jump.first or one.first > jump.last for one in found):
                    found.append(jump)

    def _jumps(self, spans: Mapping[_Key, _Span], first_row: int) -> list[tuple[_Key, _Span, MissingRange]]:
        """The parts of jumps that lie in no gap and after the start of the recording, each with the span from the
        row before the jump to the one after it.
        """
        found = []
        within = spans.values()
        values = _names(list(spans)) | {
            "floors": [span.floor for span in within],
            "ceilings": [span.ceiling for span in within],
        }
        reach_ns = min(span.since_ns for span in within)
        for key, first, last, from_ns, to_id, to_ns in self._ask_stored(JUMPS, values, first_row, reach_ns):
            span = _Span(first - 1, int(to_id), min(from_ns, to_ns) - HOUR_NS)
            start = max(first, self._firsts.get(key, _NEVER)[2] or 0)
            for low, high in _outside(start, last, self._reported.get(key, [])):
                to = to_id if high == last else str(high + 1)
                found.append((key, span, MissingRange(low, high, _BEFORE_ANY, to_ns, from_ns, to, to_ns)))
        return found

    # -- what was reported of it --------------------------------------------------------------------------

    def _read_gaps(self) -> None:
        for row in map(gap_row, self._ask(GAPS, exchanges=list(self._exchanges))):
            self._gaps.setdefault((row.exchange, row.symbol), []).append(row)
        for key, first, last, at_ns in self._ask_reported(REPORTED):
            if at_ns >= (self._since(key) or 0):  # otherwise it belongs to ids before a reset
                self._reported.setdefault(key, []).append((first, last))
        self._reported = {key: _joined(ranges) for key, ranges in self._reported.items()}

    def _choose_gaps(self) -> None:
        """The gaps of each market shortly before its newest trade, on the exchange's clock."""
        for key, found in self._found.items():
            rows = self._gaps.get(key, [])
            self._gaps[key] = [
                row for row in rows if not row.bounded or found.last_ns - _at_ns(row) <= _days(row) * DAY_NS
            ]

    def _rebase_blind(self, windows: Sequence[int]) -> None:
        """Moves back the starts of gaps that a run opened without knowing what is stored: to the newest trade
        before them; if there is none, as where old days have been deleted, they stay. Where ids count the trades,
        they show what is missing there, also if more was stored since than `_look_for_jumps` searches.
        """
        left = {
            row.gap_id: row
            for key in self._promises
            for row in self._gaps.get(key, ())
            if row.reason is GapReason.DOWNTIME and row.from_id is None and row.from_ns is not None
        }
        if not left:
            return
        for _, gap in list(self._ask_stored(BEGUN, _times(left, [row.from_ns for row in left.values()]))):
            del left[gap]
        spans: dict[_Key, _Span] = {}
        for first_row in (max(0, self._rows - rows) for rows in windows):
            if not left:
                break
            values = _times(left, [row.to_ns for row in left.values()])
            for key, gap, from_ns, from_id, live in self._ask_stored(STARTS, values, first_row):
                if live or not first_row:
                    row = left.pop(gap)
                    low, high = decimal(from_id), decimal(row.to_id)
                    if self._promises[key] is not IdPromise.CONTIGUOUS:
                        self._rebase(row, from_id, from_ns)
                    elif low is not None and high is not None and key in self._found:
                        span = _Span(low, high, from_ns - HOUR_NS)
                        spans[key] = spans.get(key, span).joined(span)
        if spans:
            self._add_jumps(spans)

    def _rebase(self, row: GapRow, from_id: str | None, from_ns: int) -> None:
        """If that is earlier."""
        if from_ns >= (row.from_ns or 0):
            return
        key = row.exchange, row.symbol
        wide = replace(row, from_id=from_id, from_ns=from_ns, status=GapStatus.OPEN, closed_ns=None)
        self._gaps[key] = [wide if one is row else one for one in self._gaps[key]]
        self._rebased.add(row.gap_id)

    def _read_missing(self) -> None:
        """The ids of each gap that are not stored. Ids after a reset prove nothing about older gaps."""
        asked: dict[_Key, list[GapRow]] = {}
        for key in self._found:
            for row in self._gaps.get(key, ()):
                if not row.missing or row.to_id is None:
                    continue
                if _at_ns(row) < (self._since(key) or 0):
                    self._left[row.gap_id] = row.missing
                else:
                    asked.setdefault(key, []).append(row)
        if not asked:
            return
        self._want(list(asked))
        gaps = [row for rows in asked.values() for row in rows]
        reach_ns = min(min(row.from_ns or row.opened_ns, _at_ns(row)) for row in gaps) - HOUR_NS
        for key, first, last, opened_ns, from_ns, to_id, to_ns, gap, _ in self._ask_stored(
            MISSING, {"gaps": [row.gap_id for row in gaps]}, reach_ns=reach_ns
        ):
            self._left[gap] = self._left.get(gap, 0) + last - first + 1
            missing_ranges = self._missing_ranges.setdefault(key, [])
            if len(missing_ranges) < RANGES_MAX and all(
                missing_range.last < first or missing_range.first > last for missing_range in missing_ranges
            ):
                missing_ranges.append(MissingRange(first, last, _BEFORE_ANY, opened_ns, from_ns, to_id, to_ns, gap))

    def _state(self, key: _Key) -> TrackerState:
        exchange, symbol = key
        gaps = tuple(self._gaps.get(key, ()))
        rebased = frozenset(row.gap_id for row in gaps if row.gap_id in self._rebased)
        _, first, _, recorded_ns = self._firsts.get(key, _NEVER)
        if key not in self._found:
            return TrackerState(exchange, symbol, recorded_ns=recorded_ns, gaps=gaps, rebased=rebased)
        found = self._found[key]
        return TrackerState(
            exchange=exchange,
            symbol=symbol,
            last_id=found.last_id,
            last_ns=found.last_ns,
            mark=found.mark,
            lowest=None if first is None else min(first, first if found.lowest is None else found.lowest),
            missing_ranges=tuple(
                missing_range
                for missing_range in (*self._missing_ranges.get(key, ()), *found.jumps)
                if missing_range.first <= (found.mark or 0)
            ),
            left={row.gap_id: self._left[row.gap_id] for row in gaps if row.gap_id in self._left},
            recent=found.recent,
            highest=found.highest,
            floor=found.floor,
            gaps=gaps,
            aside=found.aside,
            recorded_ns=recorded_ns,
            rebased=rebased,
        )


def _flat(by_exchange: Mapping[str, Mapping[str, _T]]) -> dict[_Key, _T]:
    return {(name, symbol): value for name, by in by_exchange.items() for symbol, value in by.items()}


def _keyed(rows: Iterator[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    """Rows that begin with exchange and symbol, with both as one value."""
    return (((exchange, symbol), *rest) for exchange, symbol, *rest in rows)


def _names(keys: Sequence[_Key]) -> dict[str, list[Any]]:
    return {"exchanges": [exchange for exchange, _ in keys], "symbols": [symbol for _, symbol in keys]}


def _times(gaps: Mapping[str, GapRow], times: list[int | None]) -> dict[str, list[Any]]:
    return _names([(row.exchange, row.symbol) for row in gaps.values()]) | {"gaps": list(gaps), "times": times}


def _portions(spans: Mapping[_Key, _Span]) -> Iterator[dict[_Key, _Span]]:
    """Markets to look up together: a query sorts all their ids."""
    portion: dict[_Key, _Span] = {}
    ids = 0
    for key, span in spans.items():
        size = span.ceiling - span.floor
        if portion and ids + size > JUMPS_IDS:
            yield portion
            portion, ids = {}, 0
        portion[key] = span
        ids += size
    if portion:
        yield portion


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
