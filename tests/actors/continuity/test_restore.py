"""The state restored at start is the state at the end of the last run."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

import duckdb
import pytest
from msgspec.structs import asdict

from actors.continuity.continuity import Continuity
from actors.continuity.recent_ids import KEYS_MIN
from actors.continuity.restore import DAY_NS, JUMPS_IDS, WINDOW_ROWS, gap_row, read_states
from actors.continuity.sequence_gaps import RANGES_MAX, REORDER_S
from actors.continuity.tracker_state import TrackerState
from actors.model.records import GAP_STATES, FeedEvent, FeedRow, GapReason, GapRow, GapStatus
from actors.model.ticks import IdPromise
from tests.harness.continuity_file import new_file, put_feeds, put_gaps, put_tick, put_ticks
from tests.harness.continuity_rows import (
    BTC,
    ETH,
    SECOND_NS,
    T0_NS,
    admit,
    block_of,
    newest,
    one,
    reported,
    tick,
)

NOW_NS = T0_NS + 600 * SECOND_NS
DAY_S = 86_400


def gap_rows(con: duckdb.DuckDBPyConnection) -> list[GapRow]:
    return list(map(gap_row, con.execute(f"SELECT {GAP_STATES.read} FROM gap_states").fetchall()))


def state_of(
    con: duckdb.DuckDBPyConnection,
    promise: IdPromise = IdPromise.CONTIGUOUS,
    *,
    windows: Sequence[int] = WINDOW_ROWS,
) -> TrackerState:
    (state,) = read_states(con, {"x": {BTC: promise}}, windows=windows)["x"]
    return state


def missing_ranges(state: TrackerState) -> list[tuple[int, int]]:
    return sorted((missing_range.first, missing_range.last) for missing_range in state.missing_ranges)


def put(con: duckdb.DuckDBPyConnection, ids: Iterable[int], at_s: float, source: str = "stream") -> None:
    for number in ids:
        put_tick(con, str(number), T0_NS + round(at_s * SECOND_NS), source=source)


def test_an_empty_file_restores_an_empty_state() -> None:
    assert state_of(new_file()) == TrackerState("x", BTC)


def test_the_highest_id_and_the_last_trade_are_found_among_other_markets() -> None:
    con = new_file()
    put(con, range(95, 103), 10.0)
    put_tick(con, "999", T0_NS + 20 * SECOND_NS, symbol=ETH)
    state = state_of(con)
    assert (state.mark, state.last_ns, state.missing_ranges) == (102, T0_NS + 10 * SECOND_NS, ())
    assert state.lowest is None


def test_the_lowest_id_is_the_reported_one_or_a_stored_one_below_it() -> None:
    con = new_file()
    put(con, range(95, 103), 10.0)
    put_feeds(con, [FeedRow(T0_NS, "x", BTC, FeedEvent.FIRST, trade_id="50")])
    assert state_of(con).lowest == 50
    put(con, [40], 11.0, "backfill")
    assert state_of(con).lowest == 40


def test_a_market_that_has_been_silent_for_long_is_found_if_it_was_ever_recorded() -> None:
    con = new_file()
    put(con, [7], 0.0)
    put_tick(con, "1", T0_NS, symbol=ETH)
    put_tick(con, "2", T0_NS, symbol=ETH)
    assert state_of(con, windows=(1, 10)).mark is None
    put_feeds(con, [FeedRow(T0_NS, "x", BTC, FeedEvent.FIRST, trade_id="7")])
    assert state_of(con, windows=(1, 10)).mark == 7


def test_answers_about_old_times_do_not_hide_the_highest_id() -> None:
    con = new_file()
    put_feeds(con, [FeedRow(T0_NS, "x", BTC, FeedEvent.FIRST, trade_id="20")])
    put(con, [5000], 0.0)
    put_tick(con, "20", T0_NS, source="backfill")
    assert state_of(con, windows=(1, 10)).mark == 5000


@pytest.mark.parametrize("promise", [IdPromise.CONTIGUOUS, IdPromise.OPAQUE])
@pytest.mark.parametrize("off_s", [-400 * DAY_S, -1, 1, DAY_S, 400 * DAY_S])
def test_what_was_received_under_a_wrong_clock_is_found_all_the_same(promise: IdPromise, off_s: int) -> None:
    """An earlier run's clock was off by so much; the last one, which a kill ended, had the right one."""
    con = new_file()
    for number in range(1, 6):
        put_tick(con, str(number), T0_NS, received_ns=T0_NS + off_s * SECOND_NS)
    put(con, [6, 7], 1.0)
    put(con, [9], 1.5)
    state = state_of(con, promise)
    assert (state.last_id, state.last_ns) == ("9", T0_NS + SECOND_NS * 3 // 2)
    continuity = one(promise)
    continuity.restore([state], T0_NS - 900 * DAY_NS)
    assert admit(continuity, range(1, 6), time_s=0.0) == []
    assert admit(continuity, [6, 7], time_s=1.0) == admit(continuity, [9], time_s=1.5) == []
    if promise is IdPromise.CONTIGUOUS:
        tick(continuity, 0.0)
        assert reported(continuity.take_gaps(), 8)


def test_exchanges_that_are_read_together_are_not_mixed() -> None:
    """Their markets have the same names, and each a numbering, gaps, a reset and a jump of its own."""
    con = new_file()
    promises = {
        "x": {BTC: IdPromise.CONTIGUOUS, ETH: IdPromise.INCREASING},
        "y": {BTC: IdPromise.INCREASING, ETH: IdPromise.CONTIGUOUS},
        "z": {BTC: IdPromise.REPEATED, ETH: IdPromise.CONTIGUOUS},
    }
    for place, (exchange, markets) in enumerate(promises.items()):
        for symbol in markets:
            low = 1000 * (place + 1) + (500 if symbol == ETH else 0)
            at_ns = T0_NS + low * SECOND_NS
            for number in (low, low + 1, low + 2, low + 9, low + 10 + place):
                put_tick(con, str(number), at_ns + number * 1_000_000, exchange=exchange, symbol=symbol)
            put_feeds(con, [FeedRow(at_ns, exchange, symbol, FeedEvent.FIRST, trade_id=str(low - place))])
            if place == 1:
                put_feeds(
                    con, [FeedRow(at_ns, exchange, symbol, FeedEvent.RESET, trade_id=str(low), time_ns=at_ns)]
                )
            gap = GapRow(
                at_ns,
                f"{exchange}{symbol}",
                exchange,
                symbol,
                GapReason.SEQUENCE,
                at_ns,
                from_id=str(low + 2),
                from_ns=at_ns,
                to_id=str(low + 9),
                to_ns=at_ns + 10 * SECOND_NS,
                missing=6,
            )
            put_gaps(con, [gap])
    together = read_states(con, promises)
    for exchange, markets in promises.items():
        for state, alone in zip(together[exchange], read_states(con, {exchange: markets})[exchange], strict=True):
            assert as_dict(state) == as_dict(alone)
    marks = [state.mark for states in together.values() for state in states]
    assert marks == [1010, 1510, 2011, 2511, 3012, 3512]
    assert [len(state.missing_ranges) for states in together.values() for state in states] == [1, 1, 1, 2, 1, 2]
    assert all(len(state.gaps) == 1 for states in together.values() for state in states)


def as_dict(state: TrackerState) -> dict[str, object]:
    recent = None if state.recent is None else (state.recent.young, state.recent.reach_ns)
    return asdict(state) | {"recent": recent}


def test_a_jump_outside_any_gap_is_a_missing_range_however_old_and_a_reported_one_is_not() -> None:
    con = new_file()
    put(con, [10, 12, 13], 0.0)
    put(con, [14, 15], 100.0)
    put(con, [19, 18, 22], 130.0)
    put(con, [3, 5], 131.0, "backfill")
    put_feeds(con, [FeedRow(T0_NS, "x", BTC, FeedEvent.FIRST, trade_id="10")])
    open_gap = GapRow(
        T0_NS, "g", "x", BTC, GapReason.SEQUENCE, T0_NS, from_id="14", from_ns=T0_NS, to_id="18", to_ns=T0_NS
    )
    put_gaps(
        con, [replace(open_gap, status=GapStatus.LOST), replace(open_gap, gap_id="f", from_id="9", to_id="12")]
    )
    put_gaps(
        con, [replace(open_gap, gap_id="f", from_id="9", to_id="12", at_ns=T0_NS + 5_000, status=GapStatus.FILLED)]
    )
    assert missing_ranges(state_of(con)) == [(11, 11), (20, 21)]


def test_a_gap_is_filled_only_when_its_trades_are_stored_though_memory_has_no_room_for_all() -> None:
    con, before = new_file(), one()
    count = RANGES_MAX + 40
    for n in range(count):
        admit(before, [1000 + 2 * n], at=float(n))
        tick(before, float(n))
    tick(before, count + REORDER_S)
    put_gaps(con, before.take_gaps())
    put_feeds(con, before.take_feeds())
    put(con, range(1000, 1000 + 2 * count, 2), 0.0)
    after = one()
    after.restore([state_of(con)], NOW_NS)
    tick(after, 2_000.0)
    con.execute("DELETE FROM gap_states WHERE status <> 'open'")  # what the earlier run said of them at its end
    again = one()
    again.restore([state_of(con)], NOW_NS)
    states = newest(again.take_gaps()).values()
    assert GapStatus.FILLED not in {row.status for row in states}
    missing = {n for n in range(1000, 998 + 2 * count) if n % 2}
    listed = [row for row in gap_rows(con) if row.status is not GapStatus.FILLED] + list(states)
    assert all(reported(listed, n) for n in missing)
    kept = [
        n
        for parts in map(again.missing_ids, {row.gap_id for row in listed})
        for low, high in parts
        for n in range(low, high + 1)
    ]
    assert len(kept) == RANGES_MAX


def test_a_gap_whose_end_never_reached_the_file_is_not_filled_by_what_did() -> None:
    con = new_file()
    put(con, [10, 13, 14], 0.0)
    row = GapRow(
        T0_NS,
        "g",
        "x",
        BTC,
        GapReason.SEQUENCE,
        T0_NS,
        from_id="10",
        from_ns=T0_NS,
        to_id="20",
        to_ns=T0_NS,
        missing=4,
    )
    put_gaps(con, [row])
    continuity = one()
    continuity.restore([state_of(con)], NOW_NS)
    assert admit(continuity, [11, 12], at=900.0, source="backfill") == ["11", "12"]
    assert newest(continuity.take_gaps())["g"].status is GapStatus.UNKNOWN


def test_a_row_that_stands_for_several_ids_is_no_jump() -> None:
    con = new_file()
    put(con, [10], 0.0)
    put_tick(con, "13", T0_NS, fills=3)
    put_tick(con, "18", T0_NS, fills=2)
    assert missing_ranges(state_of(con)) == [(14, 16)]


def test_ids_from_before_they_were_restarted_do_not_count() -> None:
    con = new_file()
    put(con, range(9000, 9005), 0.0)
    put(con, range(1, 4), 50.0)
    put_feeds(con, [FeedRow(T0_NS, "x", BTC, FeedEvent.FIRST, trade_id="9000")])
    put_feeds(con, [FeedRow(T0_NS + 50 * SECOND_NS, "x", BTC, FeedEvent.RESET, trade_id="1")])
    state = state_of(con)
    assert (state.mark, state.lowest, state.missing_ranges) == (3, 1, ())


def put_many(con: duckdb.DuckDBPyConnection, count: int, per_s: int, prefix: str = "") -> None:
    con.execute(
        "INSERT INTO store.ticks SELECT 'x', 'BTC/USDT', t, t, 1, 1, 'buy', $3 || i, 'stream', 1"
        " FROM (SELECT i, make_timestamptz($1 + i * 1000000 // $4) AS t FROM range($2) AS r(i))",
        [T0_NS // 1000, count, prefix, per_s],
    )


@pytest.mark.parametrize("promise", [IdPromise.OPAQUE, IdPromise.INCREASING])
def test_ids_without_sequence_are_remembered_over_a_restart_as_far_back_as_in_one_run(promise: IdPromise) -> None:
    con = new_file()
    count, per_s = 30_000, 50  # ten minutes
    put_many(con, count, per_s)
    put_tick(con, "999999999", T0_NS + 3_600 * SECOND_NS)  # one that is stamped an hour ahead
    continuity = one(promise)
    state = state_of(con, promise)
    assert state.recent is not None and len(state.recent) < count
    continuity.restore([state], NOW_NS)
    tick(continuity, 0.0)
    continuity.take_gaps()
    minutes = [(str(n), n / per_s) for n in range(count - 250 * per_s, count, 111)]
    assert [n for n, at in minutes if admit(continuity, [n], time_s=at)] == []
    assert continuity.unfinished() == [] or {row.reason for row in continuity.unfinished()} == {GapReason.DOWNTIME}
    assert admit(continuity, ["5"], time_s=0.1) == []  # beyond: stored, or not; the history and the file will say
    tick(continuity, 1.0)
    (doubt,) = [row for row in continuity.unfinished() if row.reason is GapReason.OVERFLOW]
    assert (doubt.from_ns, doubt.to_ns) == (T0_NS + SECOND_NS // 10,) * 2
    assert admit(continuity, ["5"], time_s=0.1, source="backfill", known=frozenset({"5"})) == []


def test_an_id_that_is_no_number_does_not_move_the_mark() -> None:
    con = new_file()
    for text in ("7", "1e5", "99.6", "uuid", None, " 88"):
        put_tick(con, text, T0_NS)
    assert state_of(con).mark == 7


def _recorded(ids: list[int], late: list[int]) -> tuple[duckdb.DuckDBPyConnection, Continuity]:
    """A run that saw these ids (and `late` as a backfill), with all of it in the file."""
    con, continuity = new_file(), one()
    for position, number in enumerate(ids):
        admit(continuity, [number], at=float(position))
        put(con, [number], position)
        tick(continuity, float(position))
    tick(continuity, len(ids) + REORDER_S)
    for number in late:
        admit(continuity, [number], at=200.0, time_s=0.0, source="backfill")
        put_tick(con, str(number), T0_NS, received_ns=T0_NS + 200 * SECOND_NS, source="backfill")
    put_gaps(con, continuity.take_gaps())
    put_feeds(con, continuity.take_feeds())
    return con, continuity


def test_a_gap_that_was_partly_filled_keeps_the_rest_of_its_ids() -> None:
    con, continuity = _recorded([1, 10, 11, 20, 21], [3, 4, 9])
    (old, other) = continuity.unfinished()
    state = state_of(con)
    assert missing_ranges(state) == [(2, 2), (5, 8), (12, 19)]
    assert {missing_range.gap_id for missing_range in state.missing_ranges} == {old.gap_id, other.gap_id}
    after = one()
    after.restore([state], NOW_NS)
    assert after.missing_ids(old.gap_id) == continuity.missing_ids(old.gap_id) == [(2, 2), (5, 8)]
    assert admit(after, [2, 3, 5, 6, 7, 8, 9], at=900.0, source="backfill") == ["2", "5", "6", "7", "8"]
    filled = newest(after.take_gaps())[old.gap_id]
    assert (filled.status, filled.recovered) == (GapStatus.FILLED, 8)


def test_a_gap_that_was_filled_just_before_the_crash_is_closed_at_start() -> None:
    con, continuity = _recorded([1, 4, 5], [2])
    put(con, [3], 201.0, "backfill")
    (gap,) = continuity.unfinished()
    after = one()
    after.restore([state_of(con)], NOW_NS)
    closed = newest(after.take_gaps())[gap.gap_id]
    assert (closed.status, closed.recovered) == (GapStatus.FILLED, 2)


def test_a_gap_closed_recently_is_not_reported_again() -> None:
    con, continuity = _recorded([1, 4, 5], [])
    (gap,) = continuity.unfinished()
    continuity.resolved(gap.gap_id, 0, GapStatus.LOST, NOW_NS)
    put_gaps(con, continuity.take_gaps())
    after = one()
    after.restore([state_of(con)], NOW_NS)
    tick(after, 10_000.0)
    assert {row.reason for row in after.take_gaps()} == {GapReason.DOWNTIME}
    assert admit(after, [2, 3], at=900.0, source="backfill") == ["2", "3"]
    assert newest(after.take_gaps())[gap.gap_id].status is GapStatus.FILLED


# -- rows that were stored later than their neighbours ------------------------------------------------


def rows_of(ids: Iterable[int], source: str = "stream", *, step_s: int = 1) -> list[tuple[str, int, int, str, int]]:
    """For put_ticks: one trade each `step_s` seconds."""
    return [(str(n), T0_NS + n * step_s * SECOND_NS, T0_NS, source, 1) for n in ids]


def repaired_late(lacks: Collection[int] = ()) -> duckdb.DuckDBPyConnection:
    """Live ids 1 to 950, except those in `lacks`; a repair has stored 100 to 109 of them shortly before the end."""
    con = new_file()
    put_feeds(con, [FeedRow(T0_NS, "x", BTC, FeedEvent.FIRST, trade_id="1")])
    put_ticks(con, rows_of(n for n in range(1, 901) if not 100 <= n <= 109 and n not in lacks))
    put_ticks(con, rows_of(range(100, 110), "backfill"))
    put_ticks(con, rows_of(range(901, 951)))
    return con


def test_ids_are_not_missing_because_others_were_stored_late() -> None:
    after = one()
    after.restore([state_of(repaired_late(), windows=(100, 1 << 62))], T0_NS + 1_000 * SECOND_NS)
    after.connected([BTC], T0_NS + 1_000 * SECOND_NS)
    assert admit(after, [951], at=1_000.0, time_s=951) == ["951"]
    tick(after, 1_010.0)
    gaps = newest(after.take_gaps()).values()
    assert {(row.reason, row.status) for row in gaps} == {(GapReason.DOWNTIME, GapStatus.FILLED)}
    assert admit(after, range(110, 861), at=1_011.0, time_s=500, source="backfill") == []


def test_among_ids_that_were_stored_earlier_those_that_are_missing_are_found() -> None:
    """Also beside a gap that was reported, which is not looked for again."""
    con = repaired_late(lacks=[*range(300, 306), 400, 500])
    gap = GapRow(
        T0_NS, "g", "x", BTC, GapReason.SEQUENCE, T0_NS, from_id="399", from_ns=T0_NS, to_id="401", to_ns=T0_NS
    )
    put_gaps(con, [replace(gap, status=GapStatus.LOST)])
    put_tick(con, "304", T0_NS + 304 * SECOND_NS, fills=2)
    state = state_of(con, windows=(100, 1 << 62))
    assert missing_ranges(state) == [(300, 302), (305, 305), (500, 500)]
    low, _, high = sorted(state.missing_ranges, key=lambda found: found.first)
    assert (low.from_ns, low.to_id) == (T0_NS + 299 * SECOND_NS, "304")
    assert (high.from_ns, high.to_id, high.to_ns) == (
        T0_NS + 499 * SECOND_NS,
        "501",
        T0_NS + 501 * SECOND_NS,
    )


def test_ids_that_were_stored_out_of_order_where_the_search_begins_are_not_missing() -> None:
    con = new_file()
    put_feeds(con, [FeedRow(T0_NS, "x", BTC, FeedEvent.FIRST, trade_id="1")])
    put_ticks(con, rows_of([*range(1, 50), 52, 51, 50, 53, 54]))
    for rows in range(1, 8):
        assert missing_ranges(state_of(con, windows=(rows, 1 << 62))) == []


def test_each_market_is_looked_up_within_its_own_ids_however_many_there_are() -> None:
    """Markets with equal ids, of which different ones are missing; the trades of one were stored without times."""
    con, count = new_file(), JUMPS_IDS * 2 // 5
    symbols = [f"M{n}/USDT" for n in range(3)]
    for at, symbol in enumerate(symbols):
        put_feeds(con, [FeedRow(T0_NS, "x", symbol, FeedEvent.FIRST, trade_id="1")])
        made = "NULL" if at == 2 else f"make_timestamptz({T0_NS // 1000} + i * 1000)"
        con.execute(
            f"INSERT INTO store.ticks SELECT 'x', '{symbol}', {made}, make_timestamptz({T0_NS // 1000}), 1, 1,"
            f" 'buy', i::VARCHAR, 'stream', 1 FROM range(1, {count}) AS r(i) WHERE i NOT IN (5, {1_000 + at})"
        )
    for symbol in symbols:
        put_tick(con, "5", T0_NS, symbol=symbol, source="backfill")
        put_tick(con, str(count), T0_NS + count * 1_000_000, symbol=symbol)
    states = read_states(con, {"x": dict.fromkeys(symbols, IdPromise.CONTIGUOUS)}, windows=(8, 1 << 62))["x"]
    assert [missing_ranges(state) for state in states] == [[(1_000 + at, 1_000 + at)] for at in range(3)]


EACH_UNNUMBERED = pytest.mark.parametrize(
    "promise", [IdPromise.OPAQUE, IdPromise.INCREASING, IdPromise.REPEATED, IdPromise.NONE]
)


def replayed(continuity: Continuity, ids: Iterable[int]) -> list[str | None]:
    """The exchange repeats these trades on subscribing; gives the ids of those that are stored."""
    continuity.connected([BTC], NOW_NS)
    block = block_of([(BTC, str(n), T0_NS + n * 10 * SECOND_NS) for n in ids], "snapshot")
    continuity.deduplicator.admit(block, 0, None, 0.0)
    return list(block.trade_id)


@EACH_UNNUMBERED
@pytest.mark.parametrize("live_last", [10, KEYS_MIN + 100])
def test_trades_are_remembered_although_a_repair_stored_many_older_ones_after_them(
    promise: IdPromise, live_last: int
) -> None:
    """The rows stored last are old ones nearly all; or enough live ones, and old ones from long before them."""
    con = new_file()
    live, end = 5_000, 5_000 + live_last
    put_feeds(con, [FeedRow(T0_NS, "x", BTC, FeedEvent.STARTED)])
    put_ticks(con, rows_of(range(4_000, live), step_s=10))
    put_ticks(con, rows_of(range(1_000, 2_200), "backfill", step_s=10))
    put_ticks(con, rows_of(range(live, end), step_s=10))
    continuity = one(promise)
    continuity.restore([state_of(con, promise, windows=(1_200 + live_last, 1 << 62))], NOW_NS)
    assert replayed(continuity, range(4_100, end)) == []
    assert replayed(continuity, [end, end + 1]) == [str(end), str(end + 1)]


@EACH_UNNUMBERED
def test_a_single_live_trade_with_a_wrong_time_does_not_make_older_trades_new(promise: IdPromise) -> None:
    con, count = new_file(), KEYS_MIN + 100
    put_feeds(con, [FeedRow(T0_NS, "x", BTC, FeedEvent.STARTED)])
    put_ticks(con, rows_of(range(2_400, 3_000), step_s=10))
    put_tick(con, "3000", T0_NS + 9_000 * SECOND_NS)
    put_ticks(con, rows_of(range(3_001, 3_000 + count), step_s=10))
    continuity = one(promise)
    continuity.restore([state_of(con, promise, windows=(count, 1 << 62))], NOW_NS)
    assert replayed(continuity, range(2_500, 3_000)) == []
