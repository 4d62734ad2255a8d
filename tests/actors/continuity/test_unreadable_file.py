"""A market recorded while another process has the file open: its stored state is restored when it can be read."""

from collections.abc import Iterable

import duckdb
import pytest

from actors.continuity.continuity import Continuity
from actors.continuity.restore import read_states
from actors.continuity.tracker_state import Before
from actors.model.records import FeedEvent, FeedRow, GapReason, GapStatus
from actors.model.ticks import IdPromise
from tests.harness.continuity_file import new_file, put_feeds, put_gaps, put_tick
from tests.harness.continuity_rows import BTC, SECOND_NS, T0_NS, admit, newest, one, tick

NOW_NS = T0_NS + 100 * SECOND_NS


def blind(promise: IdPromise) -> Continuity:
    continuity = one(promise)
    continuity.go_blind([BTC], T0_NS - 30 * SECOND_NS, NOW_NS)
    continuity.connected([BTC], NOW_NS)
    return continuity


def look_back(continuity: Continuity, promise: IdPromise, stored: range) -> None:
    """The file, in which the blind run has stored what it recorded, can be read."""
    con = new_file()
    for n in stored:
        put_tick(con, str(n), T0_NS + n * SECOND_NS)
    for n in range(90, 95):
        put_tick(con, str(n), T0_NS + n * SECOND_NS)
    asked = continuity.blind
    states = read_states(con, {"x": {BTC: promise}}, before={"x": asked})["x"]
    continuity.restore_late(states, asked, NOW_NS + SECOND_NS)


@pytest.mark.parametrize("promise", [IdPromise.CONTIGUOUS, IdPromise.INCREASING, IdPromise.OPAQUE])
def test_the_downtime_before_is_a_gap_and_what_was_stored_is_not_stored_again(promise: IdPromise) -> None:
    continuity = blind(promise)
    assert admit(continuity, [3, 4], time_s=4.0, source="snapshot") == []
    assert admit(continuity, range(90, 95), time_s=90.0) == [str(n) for n in range(90, 95)]
    look_back(continuity, promise, range(1, 11))
    assert not continuity.blind
    (gap,) = [row for row in newest(continuity.take_gaps()).values() if row.status is GapStatus.OPEN]
    assert (gap.reason, gap.from_id, gap.from_ns) == (GapReason.DOWNTIME, "10", T0_NS + 10 * SECOND_NS)
    assert (gap.to_id, gap.missing) == ("90", 79 if promise is IdPromise.CONTIGUOUS else None)
    assert [n for n in range(1, 11) if admit(continuity, [n], time_s=float(n))] == []
    assert admit(continuity, [11], time_s=11.0, source="backfill") == ["11"]
    assert admit(continuity, [95], time_s=95.0) == ["95"]


def test_a_file_that_is_locked_for_the_whole_run_leaves_a_gap_that_records_it() -> None:
    continuity = blind(IdPromise.OPAQUE)
    admit(continuity, ["a"], time_s=90.0)
    (gap,) = newest(continuity.take_gaps()).values()
    assert (gap.status, gap.from_ns, gap.to_id) == (GapStatus.OPEN, T0_NS - 30 * SECOND_NS, "a")


@pytest.mark.parametrize("promise", [IdPromise.CONTIGUOUS, IdPromise.INCREASING, IdPromise.OPAQUE])
def test_its_recording_does_not_begin_with_a_trade_of_a_subscription_that_has_ended(promise: IdPromise) -> None:
    continuity = blind(promise)
    continuity.disconnected([BTC], NOW_NS)
    assert admit(continuity, [85], time_s=85.0) == []
    continuity.connected([BTC], NOW_NS)
    assert admit(continuity, range(90, 95), time_s=90.0) == [str(n) for n in range(90, 95)]
    look_back(continuity, promise, range(1, 11))
    (gap,) = [row for row in newest(continuity.take_gaps()).values() if row.status is GapStatus.OPEN]
    assert (gap.from_id, gap.to_id) == ("10", "90")


def test_a_market_that_nothing_came_of_meanwhile_is_restored_as_at_a_start() -> None:
    continuity = blind(IdPromise.CONTIGUOUS)
    look_back(continuity, IdPromise.CONTIGUOUS, range(1, 11))
    assert admit(continuity, [9, 94, 95], time_s=95.0) == ["95"]
    tick(continuity, 100.0)
    assert any(row.reason is GapReason.DOWNTIME for row in continuity.take_gaps())


def test_what_the_exchange_sends_again_first_is_not_treated_as_the_beginning() -> None:
    continuity = one(IdPromise.OPAQUE)
    continuity.go_blind([BTC], T0_NS, NOW_NS)
    continuity.connected([BTC], NOW_NS)
    block_time_s = 90.0
    assert admit(continuity, ["new"], time_s=block_time_s) == ["new"]
    assert admit(continuity, ["old"], time_s=20.0) == []


@pytest.mark.parametrize(
    "promise", [IdPromise.CONTIGUOUS, IdPromise.INCREASING, IdPromise.OPAQUE, IdPromise.REPEATED, IdPromise.NONE]
)
def test_what_is_sent_again_after_a_reconnect_of_this_run_is_stored(promise: IdPromise) -> None:
    """Nobody else can have stored what was traded after the first trade of the run."""
    continuity = blind(promise)
    for n in range(90, 95):
        assert admit(continuity, [n], time_s=float(n)) == [str(n)]
    continuity.disconnected([BTC], T0_NS + 95 * SECOND_NS)
    continuity.connected([BTC], T0_NS + 100 * SECOND_NS)
    resent = {n: admit(continuity, [n], time_s=float(n), source="snapshot") for n in [3, 90, *range(93, 101)]}
    assert {n for n, stored in resent.items() if stored} == set(range(95, 101))
    assert admit(continuity, [101], time_s=101.0) == ["101"]
    assert admit(continuity, [102], time_s=102.0, source="snapshot") == ["102"], "a live one that came late"


# -- the file could not be read during the whole run, and the next run finds what it left ---------------

TOUCHED_NS = T0_NS + 70 * SECOND_NS  # another program wrote the file last
NEXT_NS = T0_NS + 200 * SECOND_NS
EACH_UNNUMBERED = pytest.mark.parametrize(
    "promise", [IdPromise.INCREASING, IdPromise.OPAQUE, IdPromise.REPEATED, IdPromise.NONE]
)


def put(con: duckdb.DuckDBPyConnection, promise: IdPromise, numbers: Iterable[int], source: str = "stream") -> None:
    for n in numbers:
        name = None if promise is IdPromise.NONE else str(n)
        put_tick(con, name, T0_NS + n * SECOND_NS, source=source)


def left_by_a_blind_run(
    promise: IdPromise, stored: Iterable[int], *, trades: bool = True
) -> tuple[duckdb.DuckDBPyConnection, str]:
    """The file after a run that never saw what was `stored` before, and the gap that this run opened."""
    con, continuity = new_file(), one(promise)
    put(con, promise, stored)
    continuity.go_blind([BTC], TOUCHED_NS, NOW_NS)
    continuity.connected([BTC], NOW_NS)
    for n in range(90, 95) if trades else ():
        admit(continuity, [None if promise is IdPromise.NONE else n], time_s=float(n))
        put(con, promise, [n])
    gaps = continuity.take_gaps()
    put_gaps(con, gaps)
    put_feeds(con, continuity.take_feeds())
    return con, gaps[0].gap_id


def next_run(
    con: duckdb.DuckDBPyConnection,
    promise: IdPromise,
    *,
    rows: int = 1_000,
    late: bool = False,
    now_ns: int = NEXT_NS,
) -> Continuity:
    """`late`: its file can be read only after it has begun to record, too."""
    continuity, asked = one(promise), dict[str, Before]()
    if late:
        continuity.go_blind([BTC], TOUCHED_NS, NEXT_NS)
        continuity.connected([BTC], NEXT_NS)
        admit(continuity, [None if promise is IdPromise.NONE else 190], time_s=190.0)
        asked = continuity.blind
    states = read_states(con, {"x": {BTC: promise}}, before={"x": asked}, windows=(rows, 1 << 62))["x"]
    if late:
        continuity.restore_late(states, asked, NEXT_NS)
    else:
        continuity.restore(states, now_ns)
    return continuity


@EACH_UNNUMBERED
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("trades", [True, False])
@pytest.mark.parametrize("rows", [1_000, 4])
def test_its_gap_begins_with_the_last_trade_stored_before_it(
    promise: IdPromise, late: bool, trades: bool, rows: int
) -> None:
    con, gap = left_by_a_blind_run(promise, range(1, 11), trades=trades)
    continuity = next_run(con, promise, rows=rows, late=late)
    wide = newest(continuity.take_gaps())[gap]
    assert (wide.from_ns, wide.status) == (
        T0_NS + 10 * SECOND_NS,
        GapStatus.UNKNOWN if late and not trades else "open",
    )
    assert (wide.to_ns is None) == (not trades and not late)
    if trades:
        assert wide.to_ns == T0_NS + 90 * SECOND_NS
        assert gap in [row.gap_id for row in continuity.unfinished()]


@EACH_UNNUMBERED
def test_its_gap_is_moved_once_although_trades_of_it_have_been_stored_since(promise: IdPromise) -> None:
    con, gap = left_by_a_blind_run(promise, range(1, 11))
    put_gaps(con, next_run(con, promise).take_gaps())
    put(con, promise, range(60, 80), "backfill")
    continuity = next_run(con, promise, now_ns=NEXT_NS + SECOND_NS)
    assert gap not in newest(continuity.take_gaps())
    (row,) = [row for row in continuity.unfinished() if row.gap_id == gap]
    assert row.from_ns == T0_NS + 10 * SECOND_NS


@EACH_UNNUMBERED
def test_the_gap_of_a_run_that_could_read_the_file_keeps_its_beginning(promise: IdPromise) -> None:
    """Also where trades have no ids, and where it lasted for a second only."""
    con = new_file()
    put(con, promise, range(1, 11))
    continuity = next_run(con, promise)
    continuity.connected([BTC], NEXT_NS)
    admit(continuity, [None if promise is IdPromise.NONE else 11], time_s=11.0)
    put(con, promise, [11])
    (gap, *_) = gaps = continuity.take_gaps()
    put_gaps(con, gaps)
    assert gap.gap_id not in newest(next_run(con, promise, now_ns=NEXT_NS + SECOND_NS).take_gaps())


@EACH_UNNUMBERED
def test_its_gap_stays_where_no_trade_before_it_is_left(promise: IdPromise) -> None:
    """Old days may have been deleted: to move it back to where the recording began would fetch them again."""
    con, gap = left_by_a_blind_run(promise, [])
    put_feeds(con, [FeedRow(T0_NS + n * SECOND_NS, "x", BTC, FeedEvent.STARTED, run_id="r") for n in (-90, 20)])
    assert gap not in newest(next_run(con, promise).take_gaps())


@pytest.mark.parametrize("rows", [1_000, 4])
def test_ids_missing_before_it_are_found_however_much_it_recorded(rows: int) -> None:
    con, _ = left_by_a_blind_run(IdPromise.CONTIGUOUS, range(1, 11))
    continuity = next_run(con, IdPromise.CONTIGUOUS, rows=rows)
    tick(continuity, 210.0)
    ids = [ids for row in continuity.unfinished() for ids in continuity.missing_ids(row.gap_id)]
    assert ids == [(11, 89)]
    assert admit(continuity, [50], time_s=50.0, source="backfill") == ["50"]
