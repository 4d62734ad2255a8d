"""Gaps are opened, bounded and closed by what happens; their states are appended and never edited."""

import pytest

from actors.continuity.continuity import Continuity
from actors.continuity.gap_log import OPEN_MAX_PER_SYMBOL, STATE_STEP_NS, GapLog
from actors.continuity.tracker_state import TrackerState
from actors.model.records import GapReason, GapRow, GapStatus, gap_id
from actors.model.ticks import IdPromise
from tests.harness.continuity_rows import BTC, ETH, SECOND_NS, T0_NS, admit, newest, one, remembering

NOW_NS = T0_NS + 100 * SECOND_NS


def states(continuity: Continuity) -> list[GapStatus]:
    return [row.status for row in continuity.take_gaps()]


def cut(promise: IdPromise, ids: list[int]) -> tuple[Continuity, GapRow]:
    """A market that was cut off behind these ids, and the gap that says so."""
    continuity = one(promise)
    continuity.connected([BTC], 0)
    admit(continuity, ids)
    continuity.disconnected([BTC], NOW_NS)
    (row,) = continuity.take_gaps()
    return continuity, row


def test_a_gap_has_the_same_id_wherever_it_is_named() -> None:
    assert gap_id("x", BTC, "stall", "5", 7) == gap_id("x", BTC, "stall", "5", 7)
    assert len({gap_id("x", BTC, r, i, n) for r in ("stall", "overflow") for i in ("5", None) for n in (1, 2)}) == 8


def test_states_of_a_gap_are_apart_by_what_the_file_can_tell_and_never_go_back() -> None:
    book = GapLog("x")
    gap = book.open(BTC, GapReason.STALL, NOW_NS, at_ns=NOW_NS, from_id="1", from_ns=T0_NS)
    book.bound(gap, NOW_NS, "9", NOW_NS, None)
    book.close(gap, GapStatus.LOST, NOW_NS - SECOND_NS)
    at = [row.at_ns for row in book.take()]
    assert at == [NOW_NS, NOW_NS + STATE_STEP_NS, NOW_NS + 2 * STATE_STEP_NS]
    assert gap not in book


def test_a_disconnect_is_a_gap_from_the_last_trade_on() -> None:
    _, row = cut(IdPromise.CONTIGUOUS, [1, 2])
    assert (row.reason, row.status, row.from_id, row.from_ns) == (
        GapReason.DISCONNECT,
        GapStatus.OPEN,
        "2",
        T0_NS,
    )
    assert (row.to_id, row.missing, row.opened_ns, row.bounded) == (None, None, NOW_NS, False)


def test_ids_that_continue_show_that_nothing_was_missed() -> None:
    continuity, opened = cut(IdPromise.CONTIGUOUS, [1, 2])
    continuity.connected([BTC], NOW_NS)
    assert admit(continuity, [3, 4], at=200.0) == ["3", "4"]
    (row,) = continuity.take_gaps()
    assert (row.gap_id, row.status, row.missing, row.recovered) == (opened.gap_id, GapStatus.FILLED, 0, 0)
    assert (row.to_id, row.to_ns) == ("3", T0_NS + 200 * SECOND_NS)


def test_a_disconnect_that_missed_trades_stays_open_with_their_number() -> None:
    continuity, opened = cut(IdPromise.CONTIGUOUS, [1, 2])
    continuity.connected([BTC], NOW_NS)
    admit(continuity, [8, 9], at=200.0)
    (row,) = continuity.unfinished()
    assert (row.gap_id, row.missing, row.to_id, row.bounded) == (opened.gap_id, 5, "8", True)
    assert continuity.missing_ids(row.gap_id) == [(3, 7)]


@pytest.mark.parametrize("order", [1, -1])
def test_what_is_sent_again_on_subscribe_fills_the_gap(order: int) -> None:
    continuity, opened = cut(IdPromise.CONTIGUOUS, [1, 2, 3])
    continuity.connected([BTC], NOW_NS)
    copies, new = list(range(2, 4))[::order], list(range(4, 8))[::order]
    for part in (copies, new)[::order]:
        admit(continuity, part, at=200.0, time_s=0.0 if part is copies else 200.0, source="snapshot")
    assert newest(continuity.take_gaps())[opened.gap_id].status is GapStatus.FILLED
    assert continuity.unfinished() == []


def test_a_backfill_that_overtakes_the_stream_is_counted_at_the_end_of_the_outage() -> None:
    continuity, opened = cut(IdPromise.CONTIGUOUS, [1, 2])
    admit(continuity, [3, 6, 4], at=150.0, source="backfill")
    assert states(continuity) == []
    continuity.connected([BTC], NOW_NS)
    admit(continuity, [9], at=200.0)
    (row,) = continuity.take_gaps()
    assert (row.missing, row.status) == (6, GapStatus.OPEN)
    assert continuity.missing_ids(opened.gap_id) == [(5, 5), (7, 8)]
    admit(continuity, [5, 7, 8], at=201.0, source="backfill")
    (row,) = continuity.take_gaps()
    assert (row.recovered, row.status) == (6, GapStatus.FILLED)


def test_a_market_carried_twice_is_disconnected_only_with_its_last_connection() -> None:
    continuity = one()
    admit(continuity, [1])
    continuity.connected([BTC], 0)
    continuity.connected([BTC], 0)
    continuity.disconnected([BTC], NOW_NS)
    assert continuity.take_gaps() == []
    continuity.disconnected([BTC], NOW_NS)
    assert states(continuity) == [GapStatus.OPEN]


def test_flapping_is_one_gap_until_a_trade_comes() -> None:
    continuity, opened = cut(IdPromise.OPAQUE, [1])
    for n in range(50):
        continuity.connected([BTC], 0)
        continuity.disconnected([BTC], NOW_NS + n)
        continuity.suspect(BTC, NOW_NS + n, GapReason.STALL)
    assert continuity.take_gaps() == []
    assert [row.gap_id for row in continuity.unfinished()] == [opened.gap_id]


def test_a_gap_of_a_market_that_never_traded_begins_with_the_disconnect() -> None:
    continuity = one()
    continuity.connected([BTC], 0)
    continuity.disconnected([BTC, "NEVER/NAMED"], NOW_NS)
    (row,) = continuity.take_gaps()
    assert (row.from_id, row.from_ns) == (None, NOW_NS)
    continuity.connected([BTC], NOW_NS)
    admit(continuity, [5], at=200.0)
    (row,) = continuity.unfinished()
    assert (row.to_id, row.missing) == ("5", None)


def test_without_sequence_a_gap_waits_for_an_answer() -> None:
    continuity, opened = cut(IdPromise.OPAQUE, [1, 2])
    continuity.connected([BTC], NOW_NS)
    admit(continuity, [8], at=200.0)
    (row,) = continuity.unfinished()
    assert (row.gap_id, row.bounded, row.missing) == (opened.gap_id, True, None)
    continuity.resolved(opened.gap_id, 3, GapStatus.FILLED, NOW_NS)
    assert continuity.unfinished() == []
    assert newest(continuity.take_gaps())[opened.gap_id].recovered == 3


@pytest.mark.parametrize("order", [1, -1])
def test_a_replay_that_reaches_back_to_our_last_trade_proves_that_nothing_is_missing(order: int) -> None:
    continuity, opened = cut(IdPromise.OPAQUE, [11, 5, 7])
    ids = [5, 7, 3, 1][::order]
    assert sorted(admit(continuity, ids, at=200.0, source="snapshot"), key=str) == ["1", "3"]
    assert newest(continuity.take_gaps())[opened.gap_id].status is GapStatus.FILLED


def test_a_copy_from_a_second_connection_proves_nothing() -> None:
    continuity, opened = cut(IdPromise.OPAQUE, [11, 5, 7])
    continuity.connected([BTC], NOW_NS)
    assert admit(continuity, [7, 3], at=200.0) == ["3"]
    assert newest(continuity.take_gaps())[opened.gap_id].status is GapStatus.OPEN


@pytest.mark.parametrize("promise", [IdPromise.CONTIGUOUS, IdPromise.INCREASING, IdPromise.OPAQUE])
def test_a_trade_that_was_on_its_way_when_the_delivery_ended_does_not_end_the_outage(promise: IdPromise) -> None:
    continuity, opened = cut(promise, [1])
    assert admit(continuity, [2], at=150.0) == ["2"]
    assert [row.bounded for row in continuity.unfinished()] == [False]
    continuity.connected([BTC], NOW_NS)
    assert admit(continuity, [4, 5], at=200.0) == ["4", "5"]
    (row,) = continuity.unfinished()
    assert (row.gap_id, row.from_id, row.to_id) == (opened.gap_id, "1", "4")
    if promise is IdPromise.CONTIGUOUS:
        assert row.missing == 2 and continuity.missing_ids(row.gap_id) == [(3, 3)]


def test_old_trades_do_not_end_an_outage() -> None:
    continuity, _ = cut(IdPromise.OPAQUE, [11])
    continuity.connected([BTC], NOW_NS)
    assert admit(continuity, [4], at=200.0, time_s=-50.0, source="snapshot") == ["4"]
    assert admit(continuity, [5], at=200.0, source="backfill") == ["5"]
    assert not continuity.unfinished()[0].bounded


@pytest.mark.parametrize("promise", [IdPromise.CONTIGUOUS, IdPromise.OPAQUE])
def test_a_backfill_may_settle_a_gap_whose_market_is_still_quiet(promise: IdPromise) -> None:
    continuity, opened = cut(promise, [1])
    continuity.resolved(opened.gap_id, 0, GapStatus.FILLED, NOW_NS)
    assert continuity.unfinished() == []
    assert admit(continuity, [2, 3], at=200.0) == ["2", "3"]
    assert states(continuity) == [GapStatus.FILLED]


def test_answers_about_gaps_that_are_settled_change_nothing() -> None:
    continuity, opened = cut(IdPromise.CONTIGUOUS, [1])
    continuity.connected([BTC], NOW_NS)
    admit(continuity, [2], at=200.0)
    continuity.take_gaps()
    continuity.resolved(opened.gap_id, 4, GapStatus.LOST, NOW_NS)
    continuity.resolved("no such gap", 4, GapStatus.LOST, NOW_NS)
    assert continuity.take_gaps() == []


def test_unanswered_gaps_beyond_the_maximum_are_recorded_as_unknown() -> None:
    continuity = one(IdPromise.OPAQUE)
    continuity.connected([BTC], 0)
    rows = []
    for n in range(OPEN_MAX_PER_SYMBOL + 8):
        admit(continuity, [n], at=float(n))
        continuity.suspect(BTC, T0_NS + n * SECOND_NS, GapReason.OVERFLOW)
        rows += continuity.take_gaps()
    assert len(continuity.unfinished()) <= OPEN_MAX_PER_SYMBOL + 1
    unknown = [row for row in newest(rows).values() if row.status is GapStatus.UNKNOWN]
    assert {row.from_id for row in unknown} == {str(n) for n in range(len(unknown))}
    assert len(newest(rows)) == OPEN_MAX_PER_SYMBOL + 8


def test_a_restart_opens_a_gap_from_the_last_stored_trade_to_the_first_after() -> None:
    continuity = Continuity("x", {BTC: IdPromise.CONTIGUOUS, ETH: IdPromise.OPAQUE})
    continuity.restore(
        [
            TrackerState("x", BTC, "7", T0_NS, mark=7, lowest=1),
            TrackerState("x", ETH, "e", T0_NS, recent=remembering([("d", T0_NS - 5), ("e", T0_NS)], T0_NS - 5)),
            TrackerState("x", "GONE/USD", "1", T0_NS, mark=1),
        ],
        NOW_NS,
    )
    rows = continuity.take_gaps()
    assert [(row.symbol, row.reason, row.from_id) for row in rows] == [
        (BTC, GapReason.DOWNTIME, "7"),
        (ETH, GapReason.DOWNTIME, "e"),
    ]
    continuity.connected([BTC, ETH], NOW_NS)
    assert admit(continuity, [6, 7], time_s=0.0, at=200.0) == []
    assert admit(continuity, [10], at=200.0) == ["10"]
    assert admit(continuity, ["d", "e", "f"], at=200.0, symbol=ETH) == ["f"]
    assert admit(continuity, ["old"], at=200.0, time_s=-9.0, symbol=ETH, source="snapshot") == []
    missing = {row.symbol: (row.missing, row.to_id) for row in continuity.unfinished()}
    assert missing == {BTC: (2, "10"), ETH: (None, "f")}


def test_a_restart_in_the_middle_of_an_outage_continues_with_its_gap() -> None:
    _, row = cut(IdPromise.CONTIGUOUS, [1, 2])
    continuity = one()
    continuity.restore([TrackerState("x", BTC, "2", T0_NS, mark=2, lowest=1, gaps=(row,))], NOW_NS)
    assert continuity.take_gaps() == []
    continuity.connected([BTC], NOW_NS)
    admit(continuity, [5], at=200.0)
    (bounded,) = continuity.take_gaps()
    assert (bounded.gap_id, bounded.missing, bounded.reason) == (row.gap_id, 2, GapReason.DISCONNECT)


def test_an_outage_of_a_market_that_never_traded_continues_over_a_restart() -> None:
    before = one()
    before.suspect(BTC, NOW_NS, GapReason.STALL)
    (row,) = before.take_gaps()
    continuity = one()
    continuity.restore([TrackerState("x", BTC, gaps=(row,))], NOW_NS)
    continuity.connected([BTC], NOW_NS)
    admit(continuity, [2], at=200.0)
    assert [(r.gap_id, r.to_id, r.status) for r in continuity.take_gaps()] == [(row.gap_id, "2", GapStatus.OPEN)]


def test_a_gap_whose_last_trade_was_lost_with_a_crash_begins_earlier() -> None:
    _, row = cut(IdPromise.CONTIGUOUS, [1, 2])
    continuity = one()
    continuity.restore([TrackerState("x", BTC, "1", T0_NS - 1, mark=1, lowest=1, gaps=(row,))], NOW_NS)
    (rebased,) = continuity.take_gaps()
    continuity.connected([BTC], NOW_NS)
    assert (rebased.gap_id, rebased.from_id, rebased.from_ns) == (row.gap_id, "1", T0_NS - 1)
    admit(continuity, [2, 3], at=200.0)
    assert states(continuity) == [GapStatus.FILLED]


def test_a_gap_whose_end_was_lost_with_a_crash_keeps_its_beginning_where_ids_show_no_missing_ranges() -> None:
    _, row = cut(IdPromise.OPAQUE, [1, 2])
    continuity = one(IdPromise.OPAQUE)
    known = remembering([("1", T0_NS), ("2", T0_NS), ("7", NOW_NS), ("8", NOW_NS + 1)], T0_NS - 5)
    later = TrackerState("x", BTC, "8", NOW_NS + 1, recent=known, gaps=(row,))
    continuity.restore([later], NOW_NS + 2)
    continuity.connected([BTC], NOW_NS + 2)
    admit(continuity, [8], at=200.0, source="snapshot")  # proves nothing of what lies between 2 and 7
    admit(continuity, [9], at=200.0)
    (bounded,) = continuity.unfinished()
    assert (bounded.gap_id, bounded.from_id, bounded.from_ns, bounded.to_id) == (row.gap_id, "2", row.from_ns, "9")


def test_a_gap_without_ids_that_was_closed_before_a_restart_stays_as_it_is() -> None:
    row = GapRow(
        T0_NS,
        "g",
        "x",
        BTC,
        GapReason.STALL,
        T0_NS,
        from_id="a",
        from_ns=T0_NS,
        to_id="b",
        to_ns=NOW_NS,
        status=GapStatus.LOST,
        closed_ns=T0_NS,
    )
    continuity = one(IdPromise.OPAQUE)
    continuity.restore(
        [TrackerState("x", BTC, "b", NOW_NS, recent=remembering([("b", NOW_NS)]), gaps=(row,))], NOW_NS
    )
    continuity.resolved("g", 1, GapStatus.FILLED, NOW_NS)
    assert [r.gap_id for r in continuity.take_gaps() if r.gap_id == "g"] == []
