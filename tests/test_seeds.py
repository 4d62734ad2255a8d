"""What the file says at start is what the continuity knew when it ended."""

from collections.abc import Iterable

import duckdb

from actors.continuity import Continuity
from actors.coverage import FeedEvent, FeedRow
from actors.dialect import IdPromise
from actors.gaps import GapReason, GapStatus
from actors.recent import GENERATION_KEYS
from actors.seed import Seed
from actors.seeds import DAY_NS, read_seeds
from actors.sequence import REORDER_S
from tests.continuity_file import new_file, put_feeds, put_gaps, put_tick
from tests.continuity_rows import BTC, ETH, SECOND_NS, T0_NS, admit, newest, one, tick

NOW_NS = T0_NS + 600 * SECOND_NS


def seed_of(
    con: duckdb.DuckDBPyConnection, promise: IdPromise = IdPromise.CONTIGUOUS, now_ns: int = NOW_NS
) -> Seed:
    (seed,) = read_seeds(con, "x", {BTC: promise}, now_ns)
    return seed


def holes(seed: Seed) -> list[tuple[int, int]]:
    return sorted((hole.first, hole.last) for hole in seed.holes)


def put(con: duckdb.DuckDBPyConnection, ids: Iterable[int], at_s: float, source: str = "stream") -> None:
    for number in ids:
        put_tick(con, str(number), T0_NS + round(at_s * SECOND_NS), source=source)


def test_an_empty_file_gives_a_seed_that_knows_nothing() -> None:
    assert seed_of(new_file()) == Seed("x", BTC)


def test_the_highest_id_and_the_last_trade_are_found_among_other_markets() -> None:
    con = new_file()
    put(con, range(95, 103), 10.0)
    put_tick(con, "999", T0_NS + 20 * SECOND_NS, symbol=ETH)
    seed = seed_of(con)
    assert (seed.mark, seed.last_ns, seed.holes) == (102, T0_NS + 10 * SECOND_NS, ())
    assert seed.lowest is None


def test_the_lowest_id_is_what_was_said_or_what_is_stored_below_it() -> None:
    con = new_file()
    put(con, range(95, 103), 10.0)
    put_feeds(con, [FeedRow(T0_NS, "x", BTC, FeedEvent.FIRST, trade_id="50")])
    assert seed_of(con).lowest == 50
    put(con, [40], 11.0, "backfill")
    assert seed_of(con).lowest == 40


def test_a_market_that_is_silent_for_days_is_found_if_it_was_ever_recorded() -> None:
    con = new_file()
    put(con, [7], 0.0)
    later_ns = T0_NS + 5 * DAY_NS
    assert seed_of(con, now_ns=later_ns).mark is None
    put_feeds(con, [FeedRow(T0_NS, "x", BTC, FeedEvent.FIRST, trade_id="7")])
    assert seed_of(con, now_ns=later_ns).mark == 7


def test_an_hour_of_answers_about_old_times_does_not_hide_the_highest_id() -> None:
    con = new_file()
    put(con, [5000], 0.0)
    put_tick(con, "20", T0_NS, received_ns=NOW_NS + 7200 * SECOND_NS, source="backfill")
    assert seed_of(con, now_ns=NOW_NS + 7300 * SECOND_NS).mark == 5000


def test_a_jump_just_before_a_crash_is_a_hole_and_older_ones_were_told() -> None:
    con = new_file()
    put(con, [10, 12, 13], 0.0)
    put(con, [14, 15], 100.0)
    put(con, [19, 18, 22], 130.0)
    put(con, [3, 5], 131.0, "backfill")
    assert holes(seed_of(con)) == [(16, 17), (20, 21)]


def test_a_row_that_stands_for_several_ids_is_no_jump() -> None:
    con = new_file()
    put(con, [10], 0.0)
    put_tick(con, "13", T0_NS, fills=3)
    put_tick(con, "18", T0_NS, fills=2)
    assert holes(seed_of(con)) == [(14, 16)]


def test_ids_from_before_they_were_started_anew_do_not_count() -> None:
    con = new_file()
    put(con, range(9000, 9005), 0.0)
    put(con, range(1, 4), 50.0)
    put_feeds(con, [FeedRow(T0_NS, "x", BTC, FeedEvent.FIRST, trade_id="9000")])
    put_feeds(con, [FeedRow(T0_NS + 50 * SECOND_NS, "x", BTC, FeedEvent.RESET, trade_id="1")])
    seed = seed_of(con)
    assert (seed.mark, seed.lowest, seed.holes) == (3, 1, ())


def test_ids_without_sequence_give_the_newest_and_how_far_they_reach() -> None:
    con = new_file()
    count = GENERATION_KEYS + 50
    con.execute(
        "INSERT INTO ticks SELECT 'x', 'BTC/USDT', make_timestamptz($1 + i), make_timestamptz($1 + i), 1, 1, 'buy',"
        " 'id' || i, 'stream', 1 FROM range($2) AS r(i)",
        [T0_NS // 1000, count],
    )
    seed = seed_of(con, IdPromise.OPAQUE)
    assert seed.recent == tuple(f"id{n}" for n in range(50, count))
    assert (seed.reach_ns, seed.last_id) == (T0_NS + 50_000, f"id{count - 1}")


def test_an_id_that_is_no_number_does_not_move_the_mark() -> None:
    con = new_file()
    for text in ("7", "1e5", "99.6", "uuid", None, " 88"):
        put_tick(con, text, T0_NS)
    assert seed_of(con).mark == 7


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
    seed = seed_of(con)
    assert holes(seed) == [(2, 2), (5, 8), (12, 19)]
    assert {hole.gap_id for hole in seed.holes} == {old.gap_id, other.gap_id}
    after = one()
    after.restore([seed], NOW_NS)
    assert after.missing_ids(old.gap_id) == continuity.missing_ids(old.gap_id) == [(2, 2), (5, 8)]
    assert admit(after, [2, 3, 5, 6, 7, 8, 9], at=900.0, source="backfill") == ["2", "5", "6", "7", "8"]
    filled = newest(after.take_gaps())[old.gap_id]
    assert (filled.status, filled.recovered) == (GapStatus.FILLED, 8)


def test_a_gap_that_was_filled_just_before_the_crash_is_closed_at_start() -> None:
    con, continuity = _recorded([1, 4, 5], [2])
    put(con, [3], 201.0, "backfill")
    (gap,) = continuity.unfinished()
    after = one()
    after.restore([seed_of(con)], NOW_NS)
    closed = newest(after.take_gaps())[gap.gap_id]
    assert (closed.status, closed.recovered) == (GapStatus.FILLED, 2)


def test_a_gap_given_up_lately_is_not_told_again() -> None:
    con, continuity = _recorded([1, 4, 5], [])
    (gap,) = continuity.unfinished()
    continuity.resolved(gap.gap_id, 0, GapStatus.LOST, NOW_NS)
    put_gaps(con, continuity.take_gaps())
    after = one()
    after.restore([seed_of(con)], NOW_NS)
    tick(after, 10_000.0)
    assert {row.reason for row in after.take_gaps()} == {GapReason.DOWNTIME}
    assert admit(after, [2, 3], at=900.0, source="backfill") == ["2", "3"]
    assert newest(after.take_gaps())[gap.gap_id].status is GapStatus.FILLED
