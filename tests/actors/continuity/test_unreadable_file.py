"""A market recorded while another process has the file open: its stored state is restored when it can be read."""

import pytest

from actors.continuity.continuity import Continuity
from actors.continuity.restore import read_states
from actors.model.records import GapReason, GapStatus
from actors.model.ticks import IdPromise
from tests.harness.continuity_file import new_file, put_tick
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
