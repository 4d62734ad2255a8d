"""No id and no time from the wire is believed alone: a bad one costs its own trade, and nothing else is derived."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.continuity.clock_lead import DOUBTED_MAX
from actors.continuity.continuity import Continuity
from actors.continuity.restore import read_states
from actors.continuity.row import HOLD_S, RESET_ROWS
from actors.continuity.sequence_gaps import JUMP_MAX
from actors.continuity.sequenced import SPAN_SURE
from actors.continuity.suspects import SUSPECTS_MAX
from actors.continuity.tracker_state import TrackerState
from actors.continuity.unconfirmed import NEAR_IDS, WAITING_MAX
from actors.model.records import FeedEvent, FeedRow, GapReason, GapRow, GapStatus
from actors.model.ticks import Block, IdPromise, Reason
from tests.harness.amounts import amount
from tests.harness.continuity_file import new_file, put_feeds, put_gaps, put_ticks
from tests.harness.continuity_rows import BTC, ETH, SECOND_NS, T0_NS, admit, block_of, newest, one, reported, tick

FAR = [20, 1_000, 100_000, 20_000_000, 10**12, 10**17]
HOUR_S = 3_600.0


def gaps_of(continuity: Continuity) -> list[tuple[str | None, str | None, int | None, GapStatus]]:
    rows = newest(continuity.take_gaps()).values()
    return [(row.from_id, row.to_id, row.missing, row.status) for row in rows]


# -- ids far too high ---------------------------------------------------------------------------------


@pytest.mark.parametrize("leap", FAR)
def test_one_id_that_is_far_too_high_costs_its_own_trade_alone(leap: int) -> None:
    continuity = one()
    admit(continuity, range(100), at=0.0)
    assert admit(continuity, [99 + leap], at=0.1) == []
    for n in range(100, 150):
        assert admit(continuity, [n], at=n / 500) == [str(n)]
    assert tick(continuity, HOLD_S + 1) == ([], [str(99 + leap)], 0)
    assert continuity.take_gaps() == []
    assert admit(continuity, [160], at=4.0) == ["160"]
    tick(continuity, 9.0)
    assert gaps_of(continuity) == [("149", "160", 10, GapStatus.OPEN)]


def test_the_valid_trade_with_the_id_of_a_bad_one_is_stored_and_the_bad_one_is_refused() -> None:
    continuity = one()
    admit(continuity, range(100), at=0.0)
    admit(continuity, [120], at=0.05)
    assert admit(continuity, range(100, 125), at=0.1) == [str(n) for n in range(100, 125)]
    assert tick(continuity, 0.2)[1] == ["120"]


def test_a_bad_id_that_the_next_trade_will_have_costs_that_one_nothing() -> None:
    continuity = one()
    admit(continuity, range(100), at=0.0)
    admit(continuity, [120], at=0.05)
    admit(continuity, range(100, 120), at=0.1)
    assert tick(continuity, HOLD_S + 1) == ([], ["120"], 0)
    assert admit(continuity, [120], at=4.0) == ["120"]
    assert continuity.take_gaps() == []


@pytest.mark.parametrize("later_s", [0.0, 0.1], ids=["as old as these", "newer"])
@pytest.mark.parametrize("sound", [True, False])
def test_an_id_that_trades_have_reached_before_silence_costs_nothing_whether_it_is_bad_or_not(
    sound: bool, later_s: float
) -> None:
    """It may be of the connection that is in front, while the other ends just before it."""
    continuity = one()
    continuity.connected([BTC], T0_NS)
    admit(continuity, range(100))
    admit(continuity, [120], at=0.1 + later_s)
    admit(continuity, range(100, 120), at=0.3, time_s=0.1)
    assert tick(continuity, HOLD_S + 1) == (["120"], [], 0)
    for expected in ([] if sound else ["120"], []):
        assert admit(continuity, [120], at=4.0, time_s=0.1 + later_s if sound else 0.9) == expected
    assert admit(continuity, [121], at=5.0) == ["121"]
    assert continuity.take_gaps() == []


def test_several_trades_of_the_connection_in_front_are_stored_if_the_other_ends_just_before_them() -> None:
    continuity = one()
    admit(continuity, range(100))
    for number in (119, 120):
        admit(continuity, [number], at=0.2)
    admit(continuity, range(100, 119), at=0.3, time_s=0.1)
    assert tick(continuity, HOLD_S + 1) == (["119", "120"], [], 0)
    assert continuity.newest(BTC)[0] == "120"
    assert continuity.take_gaps() == []


def test_a_trade_that_is_early_is_stored_once_when_its_predecessors_come() -> None:
    continuity = one()
    admit(continuity, range(100), at=0.0)
    assert admit(continuity, [130], at=0.1) == []
    assert admit(continuity, range(100, 130), at=0.1, time_s=0.05) == [str(n) for n in range(100, 130)]
    assert admit(continuity, [130], at=0.2, time_s=0.1) == ["130"]
    assert admit(continuity, [131], at=0.2) == ["131"]
    assert continuity.take_gaps() == []


@pytest.mark.parametrize("leap", FAR[:3])
def test_a_real_leap_is_a_gap_of_exactly_what_is_missing_once_three_trades_show_it(leap: int) -> None:
    continuity = one()
    admit(continuity, range(100), at=0.0)
    assert admit(continuity, [99 + leap], at=0.1) == []
    assert admit(continuity, [100 + leap], at=0.2) == []
    assert admit(continuity, [101 + leap], at=0.3) == [str(n + leap) for n in (99, 100, 101)]
    tick(continuity, HOLD_S + 1)
    assert gaps_of(continuity) == [("99", str(99 + leap), leap - 1, GapStatus.OPEN)]


@pytest.mark.parametrize("place", range(5))
@pytest.mark.parametrize("beyond", [18, 20, 25])
@pytest.mark.parametrize("leap", [20, 30, 1_000, 100_000])
def test_a_bad_id_among_the_first_trades_after_a_leap_keeps_no_sound_trade_out(
    leap: int, beyond: int, place: int
) -> None:
    continuity = one()
    admit(continuity, range(100))
    sound = range(100 + leap, 150 + leap)
    bad = sound[beyond + place - 1]
    stored = Counter[str | None]()
    for nth, number in enumerate(sound):
        if nth == place:
            stored.update(admit(continuity, [bad], at=1 + nth / 10, time_s=0.9 + nth / 10))
        stored.update(admit(continuity, [number], at=1 + nth / 10))
        stored.update(tick(continuity, 1 + nth / 10)[0])
    assert stored == Counter(map(str, sound))


def test_trades_after_a_leap_that_are_slightly_out_of_order_confirm_each_other() -> None:
    continuity = one()
    admit(continuity, range(100))
    assert admit(continuity, [131, 130]) == []
    assert admit(continuity, [132]) == ["130", "131", "132"]


@pytest.mark.parametrize("leap", FAR)
def test_a_single_trade_after_a_leap_and_then_silence_is_stored_and_believed_when_others_follow(leap: int) -> None:
    continuity = one()
    continuity.connected([BTC], T0_NS)
    admit(continuity, range(100), at=0.0)
    admit(continuity, [99 + leap], at=1.0)
    assert tick(continuity, 1.0 + HOLD_S) == ([str(99 + leap)], [], 0)
    (gap,) = continuity.take_gaps()
    assert (gap.from_id, gap.to_id, gap.bounded) == ("99", None, False)
    assert continuity.settled_ns(gap) is not None, "the history can be asked"
    assert admit(continuity, [99 + leap], at=4.0, time_s=1.0) == []
    admit(continuity, [100 + leap, 101 + leap], at=60.0)
    low, high, missing, status = gaps_of(continuity)[0]
    far = leap > JUMP_MAX
    assert (low, high, missing) == ("99", str(99 + leap), None if far else leap - 1)
    assert status is (GapStatus.UNKNOWN if far else GapStatus.OPEN)


@pytest.mark.parametrize("leap", [18, 30, 200, 2_000, 5_000])
@pytest.mark.parametrize("above", [5, 18, 40, 500])
def test_a_trade_stored_after_silence_is_not_stored_again_when_the_history_comes_to_it(
    leap: int, above: int
) -> None:
    """The history's rows go on below it, as those that deny a bad id do."""
    continuity = one()
    stored: Counter[str | None] = Counter()

    def take(ids: range, at: float, source: str = "stream") -> None:
        stored.update(admit(continuity, ids, at=at, source=source, time_s=1.0 if source == "backfill" else at))
        stored.update(tick(continuity, at + 0.5)[0])

    take(range(101), 0.0)
    continuity.disconnected([BTC], T0_NS + SECOND_NS // 2)
    take(range(100 + leap, 101 + leap), 1.0)
    stored.update(tick(continuity, 1.0 + HOLD_S + 1)[0])
    take(range(101, 106), 5.0, "backfill")
    take(range(100 + leap + above, 103 + leap + above), 6.0)
    take(range(97 + leap, 104 + leap), 7.0, "backfill")
    take(range(106, 100 + leap + above), 8.0, "backfill")
    assert stored == Counter(map(str, range(103 + leap + above)))


@pytest.mark.parametrize("waited_s", [0.5, HOLD_S + 0.5])
@pytest.mark.parametrize("spans", [None, [1, 2]])
@pytest.mark.parametrize("source", ["stream", "snapshot", "backfill"])
@pytest.mark.parametrize("newest_first", [False, True])
def test_the_trades_that_a_leap_passes_are_stored_once_whatever_delivers_them_again(
    waited_s: float, spans: list[int] | None, source: str, newest_first: bool
) -> None:
    """Two trades of a short connection, then three of the next one, all far from each other."""
    continuity = one()
    continuity.connected([BTC], T0_NS)
    stored = Counter(admit(continuity, range(8)))
    stored.update(admit(continuity, [40, 42 if spans else 41], spans=spans, at=1.0))
    stored.update(tick(continuity, 1.0 + waited_s)[0])
    stored.update(admit(continuity, [80, 81, 82], at=5.0))
    again = range(82, 7, -1) if newest_first else range(8, 83)
    for number in again:  # the history has each part of what used up two ids
        made_s = 0.5 if number < 40 else 1.0 if number < 43 else 4.0 if number < 80 else 5.0
        stored.update(admit(continuity, [number], at=6.0, time_s=made_s, source=source))
    held, refused, _ = tick(continuity, 10.0)
    stored.update(held)
    parts = {"41"} if spans else set()  # of the trade with the id 42
    assert (stored, refused) == (Counter({str(n) for n in range(83)} - parts), [])
    assert not continuity.unfinished()


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("waited_s", [0.5, HOLD_S + 0.5])
def test_a_damaged_id_that_a_leap_passes_keeps_no_sound_trade_out(waited_s: float, known: bool) -> None:
    """Trade 8 arrives as 40: no other row confirms that id, so the trade that has it is stored when it comes."""
    continuity = one()
    continuity.connected([BTC], T0_NS)
    admit(continuity, range(8))
    admit(continuity, [40], at=1.0)
    tick(continuity, 1.0 + waited_s)
    admit(continuity, [80, 81, 82], at=80.0)
    stored = frozenset(["40"]) if known else frozenset[str]()  # as a look into the file shows
    for again in (False, True):
        history = admit(continuity, range(8, 80), at=81.0, time_s=79.0, source="backfill", known=stored)
        assert history == ([] if again else [str(n) for n in range(8, 80)])
    tick(continuity, 85.0)
    assert not continuity.unfinished()


def test_a_passed_trade_that_a_connections_first_message_formats_differently_is_stored_once() -> None:
    continuity = one()
    admit(continuity, range(8))
    admit(continuity, [40], at=1.0004)
    assert tick(continuity, 1.5 + HOLD_S)[0] == ["40"]
    admit(continuity, [80, 81, 82], at=5.0)
    block = block_of([(BTC, "40", T0_NS + SECOND_NS)], "snapshot", price="1.00")
    assert continuity.deduplicator.admit(block, 0, None, 5.0) == 1
    assert len(block) == 0


@pytest.mark.parametrize("source", ["stream", "backfill"])
def test_the_sound_trade_with_a_damaged_id_that_was_passed_uses_all_its_ids(source: str) -> None:
    continuity = one()
    continuity.connected([BTC], T0_NS)
    admit(continuity, range(100))
    admit(continuity, [120], at=1.0)
    admit(continuity, [180, 181, 182], at=80.0)
    for again in (False, True):
        stored = [admit(continuity, range(100, 116), at=81.0, time_s=79.0, source=source)]
        stored.append(admit(continuity, [120], spans=[5], at=81.0, time_s=79.0, source=source))
        stored.append(admit(continuity, range(121, 180), at=81.0, time_s=79.0, source=source))
        assert stored[1] == ([] if again else ["120"])
    tick(continuity, 85.0)
    assert not continuity.unfinished()


def test_a_damaged_span_that_a_leap_passes_doubles_no_sound_trade() -> None:
    continuity = one()
    admit(continuity, range(100))
    admit(continuity, [300], spans=[SPAN_SURE + 50], at=1.0)
    admit(continuity, [400, 401, 402], at=80.0)
    stored = Counter(admit(continuity, range(100, 400), at=81.0, time_s=79.0))
    stored.update(admit(continuity, range(100, 400), at=81.1, time_s=79.0))
    assert stored == Counter(map(str, range(100, 400)))


def test_a_numbering_that_begins_again_with_ids_that_were_passed_is_stored_once() -> None:
    continuity = one()
    stored = Counter[str | None]()
    admit(continuity, range(5))
    admit(continuity, [30], spans=[5], at=1.0)
    admit(continuity, [70, 71, 72], at=1.1)
    tick(continuity, 5.0)
    for at in (10.0, 10.05):  # by each of two connections
        for number in range(26, 36):
            stored.update(admit(continuity, [number], at=at, time_s=9 + number / 1_000))
    stored.update(tick(continuity, 14.0)[0])
    assert stored == Counter(map(str, range(26, 36)))


def test_trades_that_use_up_many_ids_show_a_leap_as_soon_as_others_do() -> None:
    continuity = one()
    admit(continuity, range(100))
    assert admit(continuity, [240, 280], spans=[40, 40]) == []
    assert admit(continuity, [320], spans=[40]) == ["240", "280", "320"]


@pytest.mark.parametrize("known", [False, True])
def test_a_damaged_id_that_trades_denied_keeps_no_sound_trade_out(known: bool) -> None:
    continuity = one()
    continuity.connected([BTC], T0_NS)
    admit(continuity, range(8))
    admit(continuity, [40], at=1.0)
    assert tick(continuity, 1.5 + HOLD_S)[0] == ["40"]
    admit(continuity, range(8, 20), at=70.0)
    admit(continuity, [80, 81, 82], at=80.0)
    stored = frozenset(["40"]) if known else frozenset[str]()
    history = admit(continuity, range(20, 80), at=81.0, time_s=79.0, source="backfill", known=stored)
    assert history == [str(n) for n in range(20, 80)]
    tick(continuity, 85.0)
    assert not continuity.unfinished()


def test_any_number_of_trades_that_leaps_passed_is_stored_once() -> None:
    """One trade of each connection, then five of the next; the history answers at last."""
    continuity = one()
    continuity.connected([BTC], T0_NS)
    stored, number, at = Counter(admit(continuity, range(10))), 10, 0.0
    made: dict[int, float] = {}
    for _ in range(100):
        for count in (1, 5):
            at += 5.0
            made.update(dict.fromkeys(range(number, number + 20 + count), at))
            number += 20
            for nth in range(number, number + count):
                stored.update(admit(continuity, [nth], at=at))
            stored.update(tick(continuity, at + HOLD_S + 0.5)[0])
            number += count
    for nth, made_s in made.items():
        stored.update(admit(continuity, [nth], at=at + 5.0, source="backfill", time_s=made_s))
    assert {n for n, times in stored.items() if times > 1} == set()
    assert len(stored) == number


def test_a_damaged_id_that_is_missing_keeps_the_sound_trade_not_out_by_its_newer_time() -> None:
    """Silence follows it, so it is stored, as of a new numbering; the history has another trade with its id."""
    continuity = one()
    continuity.connected([BTC], T0_NS)
    admit(continuity, range(100))
    admit(continuity, [140, 141, 142], at=0.1)
    admit(continuity, [120], at=3.5)
    assert tick(continuity, 6.0)[0] == ["120"]
    history = admit(continuity, range(100, 140), at=7.0, time_s=0.05, source="backfill")
    assert history == [str(n) for n in range(100, 140)]


def test_a_numbering_that_begins_again_within_a_missing_range_fills_little_of_it() -> None:
    continuity = one()
    continuity.connected([BTC], T0_NS)
    admit(continuity, range(490, 500))
    admit(continuity, range(700, 1_001), at=1.0)
    tick(continuity, 4.0)
    for number in range(30):
        admit(continuity, [500 + number], at=1.5 + number / 5)
    (gap, *_) = [row for row in newest(continuity.take_gaps()).values() if row.to_id == "700"]
    assert gap.status is GapStatus.UNKNOWN and gap.recovered < 10


@pytest.mark.parametrize("waited_s", [0.5, HOLD_S + 0.5])
@pytest.mark.parametrize("source", ["stream", "backfill"])
def test_trades_suspected_of_a_reset_are_stored_once_if_their_ids_turn_out_to_be_right(
    source: str, waited_s: float
) -> None:
    """A damaged id a little above the mark makes the ids below it look old."""
    continuity = one()
    continuity.connected([BTC], T0_NS)
    stored = Counter(admit(continuity, range(1_000, 1_047)))
    stored.update(admit(continuity, [1_063]))
    tick(continuity, 4.0)
    stored.update(admit(continuity, [1_047, 1_048], at=5.0))
    stored.update(tick(continuity, 5.0 + waited_s)[0])
    for number in (1_047, 1_048, 1_049):
        stored.update(admit(continuity, [number], at=8.0, time_s=5.0, source=source))
    stored.update(admit(continuity, [1_049, 1_050], at=8.4, time_s=5.0))
    stored.update(tick(continuity, 12.0)[0])
    assert stored == Counter(map(str, [*range(1_000, 1_051), 1_063]))


@pytest.mark.parametrize("leap", [False, True])
def test_a_denied_trade_of_two_ids_uses_both_when_it_comes_again(leap: bool) -> None:
    continuity = one()
    continuity.connected([BTC], T0_NS)
    stored = Counter(admit(continuity, range(8)))
    admit(continuity, [42], spans=[2], at=1.0)
    stored.update(tick(continuity, 1.5 + HOLD_S)[0])
    stored.update(admit(continuity, range(8, 14), at=5.0))
    stored.update(tick(continuity, 6.0)[0])
    if leap:
        stored.update(admit(continuity, [80, 81, 82], at=7.0))
    again = [*range(14, 41), 42, *range(43, 80)]
    for number in again:
        spans, made_s = ([2], 1.0) if number == 42 else (None, 6.0)
        stored.update(admit(continuity, [number], spans=spans, at=8.0, time_s=made_s))
    tick(continuity, 12.0)
    assert stored == Counter(map(str, [*range(41), *range(42, 83 if leap else 80)]))
    assert not continuity.unfinished()


def test_a_trade_that_waits_below_the_copy_of_another_is_stored_once() -> None:
    """A connection that lags goes on below both, then the copy of the higher one comes first."""
    continuity = one()
    stored = Counter(admit(continuity, range(8)))
    stored.update(admit(continuity, [40, 45], at=1.0))
    stored.update(tick(continuity, 2.0 + HOLD_S)[0])
    for number in (*range(8, 31), 45, *range(31, 45)):
        made_s = 1.0 if number in (40, 45) else number / 50
        stored.update(admit(continuity, [number], at=5.0, time_s=made_s))
    assert stored == Counter(map(str, range(46)))


def test_silence_after_a_bad_id_ends_with_the_next_trade_and_nothing_is_missing() -> None:
    continuity = one()
    continuity.connected([BTC], T0_NS)
    admit(continuity, range(100), at=0.0)
    admit(continuity, [20_000_000], at=1.0)
    tick(continuity, 1.0 + HOLD_S)
    assert admit(continuity, [100], at=30.0) == ["100"]
    assert gaps_of(continuity) == [("99", "100", 0, GapStatus.FILLED)]
    admit(continuity, [101, 102, 106], at=40.0)
    tick(continuity, 50.0)
    assert gaps_of(continuity) == [("102", "106", 3, GapStatus.OPEN)]


@pytest.mark.parametrize("source", ["stream", "snapshot", "backfill"])
def test_no_outage_ends_with_a_bad_id(source: str) -> None:
    continuity = one()
    continuity.connected([BTC], T0_NS)
    admit(continuity, range(100), at=0.0)
    continuity.suspect(BTC, T0_NS, GapReason.STALL)
    admit(continuity, [10**9], at=5.0, source=source)
    admit(continuity, range(110, 130), at=6.0)
    tick(continuity, 9.0)
    assert gaps_of(continuity) == [("99", "110", 10, GapStatus.OPEN)]


def test_several_bad_ids_among_valid_trades_confirm_nothing() -> None:
    continuity = one()
    ids = [n for k in range(40) for n in (10 * k, *range(10 * k + 1, 10 * k + 10), 10**6 * (k + 1))]
    admit(continuity, [*ids, *range(400, 410)], at=0.0)
    stored, refused, _ = tick(continuity, HOLD_S)
    assert (stored, len(refused)) == ([], 40)
    assert continuity.newest(BTC)[0] == "409"
    assert continuity.take_gaps() == []


@pytest.mark.parametrize("apart", [75, 150, 1_000])
def test_two_connections_that_deliver_apart_from_each_other_lose_no_trade(apart: int) -> None:
    continuity = one()
    kept = admit(continuity, [0])
    kept += admit(continuity, [apart], time_s=apart / 100)
    kept += admit(continuity, range(1, 5))  # so many that they deny the one that is ahead
    for n in range(5, apart):  # each second trade comes from the connection that is ahead
        kept += admit(continuity, [n + apart - 4], at=n / 100, time_s=(n + apart) / 100)
        kept += admit(continuity, [n], at=n / 100)
    kept += admit(continuity, range(2 * apart - 4, 2 * apart + 5), at=apart / 50)
    assert Counter(kept) == Counter(str(n) for n in range(2 * apart + 5))
    assert tick(continuity, 3 * HOLD_S + apart)[:2] == ([], [])


def test_one_rising_id_that_is_far_too_high_makes_no_later_one_old() -> None:
    continuity = one(IdPromise.INCREASING)
    for n in range(20_000):
        if n % 4_000 == 1_000:
            admit(continuity, [10**20 + n], at=n / 1000)
        assert admit(continuity, [2_100_000_000 + 3 * n], at=n / 1000) == [str(2_100_000_000 + 3 * n)]


# -- what a row claims --------------------------------------------------------------------------------


def test_a_row_that_claims_to_stand_for_many_ids_is_accepted_only_with_those_that_follow() -> None:
    continuity = one()
    admit(continuity, range(100), at=0.0)
    span = 5 * SPAN_SURE
    assert admit(continuity, [99 + span], spans=[span], at=0.1) == []
    assert admit(continuity, [100], spans=[1], at=0.2) == ["100"]
    assert admit(continuity, [104], spans=[1], at=0.3) == ["104"]
    assert admit(continuity, [105], spans=[1], at=0.3) == ["105"]
    assert tick(continuity, 9.0)[1] == [str(99 + span)]
    assert gaps_of(continuity) == [("100", "104", 3, GapStatus.OPEN)]


def test_a_claim_over_open_gaps_fills_none_of_them() -> None:
    continuity = one()
    admit(continuity, [*range(100), 105, 110, 111], at=0.0)
    tick(continuity, 3.0)
    continuity.take_gaps()
    block = block_of([(BTC, "112", T0_NS + 4 * SECOND_NS)])
    block.fills[:] = [100]
    continuity.deduplicator.admit(block, 0, [100], 4.0)
    assert (block.trade_id, block.fills) == (["112"], [1])
    assert {part for row in continuity.unfinished() for part in continuity.missing_ids(row.gap_id)} == {
        (100, 104),
        (106, 109),
    }


# -- ids that are started again -----------------------------------------------------------------------


@pytest.mark.parametrize("start", [1, 700_000, 1_000_005])
@pytest.mark.parametrize("outage", [False, True])
def test_after_the_ids_were_started_again_losses_are_counted_in_the_new_numbering(start: int, outage: bool) -> None:
    continuity = one()
    continuity.connected([BTC], T0_NS)
    admit(continuity, range(1_000_000, 1_000_010), at=0.0)
    if outage:
        continuity.suspect(BTC, T0_NS + SECOND_NS, GapReason.DISCONNECT)
    kept = [n for i in range(40) for n in admit(continuity, [start + i] if i != 30 else [], at=2.0 + i / 10)]
    assert sorted(map(int, filter(None, kept))) == [start + i for i in range(40) if i != 30]
    tick(continuity, 20.0)
    found = gaps_of(continuity)
    assert ("1000009", str(start), None, GapStatus.UNKNOWN) in found
    assert (str(start + 29), str(start + 31), 1, GapStatus.OPEN) in found
    assert len(found) == 2


def test_a_reset_that_is_decided_after_the_delivery_has_ended_does_not_end_the_outage() -> None:
    """Its trades came before the outage began."""
    continuity = one()
    continuity.connected([BTC], T0_NS)
    admit(continuity, range(1_000_000, 1_000_010), at=0.0)
    admit(continuity, [1, 2], at=5.0)
    continuity.disconnected([BTC], T0_NS + 6 * SECOND_NS)
    assert tick(continuity, 5.0 + HOLD_S) == (["1", "2"], [], 0)
    outage = ("1000009", None, None, GapStatus.OPEN)
    assert sorted(gaps_of(continuity), key=str) == [("1000009", "1", None, GapStatus.UNKNOWN), outage]
    continuity.connected([BTC], T0_NS + 50 * SECOND_NS)
    admit(continuity, range(5, 10), at=60.0)
    tick(continuity, 70.0)
    assert gaps_of(continuity) == [("1000009", "2", None, GapStatus.OPEN), ("2", "5", 2, GapStatus.OPEN)]


def test_ids_that_are_started_again_at_once_lose_no_trade_of_the_first_second() -> None:
    continuity = one()
    admit(continuity, range(1000, 2000), at=0.0)
    kept = [n for i in range(300) for n in admit(continuity, [1000 + i], at=0.01 * (i + 1))]
    assert Counter(kept) == Counter(str(1000 + i) for i in range(300))


@pytest.mark.parametrize("count", [1, 2])
def test_a_few_trades_after_a_reset_are_stored_and_what_lies_before_them_is_unknown(count: int) -> None:
    continuity = one()
    admit(continuity, range(1_000_000, 1_000_010), at=0.0)
    assert admit(continuity, range(1, 1 + count), at=5.0) == []
    assert tick(continuity, 5.0 + HOLD_S) == ([str(n) for n in range(1, 1 + count)], [], 0)
    assert gaps_of(continuity) == [("1000009", "1", None, GapStatus.UNKNOWN)]
    assert admit(continuity, range(1, 1 + count), at=8.0, time_s=5.0) == []
    rest = admit(continuity, range(1 + count, 8), at=60.0)
    assert sorted(map(int, filter(None, rest))) == list(range(1 + count, 8))
    admit(continuity, [12], at=61.0)
    tick(continuity, 70.0)
    assert ("7", "12", 4, GapStatus.OPEN) in gaps_of(continuity)


def test_old_trades_that_are_sent_again_are_no_reset() -> None:
    continuity = one()
    admit(continuity, range(1000, 1100), at=100.0)
    for source in ("snapshot", "stream", "backfill"):
        admit(continuity, [900, 901, 902, 1000, 1001], at=200.0, time_s=50.0, source=source)
    assert continuity.take_gaps() == []
    assert [row.event.value for row in continuity.take_feeds()] == ["first"]
    assert continuity.newest(BTC)[0] == "1099"


def test_a_bad_low_id_among_valid_trades_is_refused_and_no_copy() -> None:
    continuity = one()
    admit(continuity, range(1000, 1100), at=0.0)
    admit(continuity, [7], at=5.0)
    assert admit(continuity, range(1100, 1110), at=6.0) == [str(n) for n in range(1100, 1110)]
    assert tick(continuity, 6.1) == ([], ["7"], 0)
    assert continuity.take_gaps() == []


# -- times --------------------------------------------------------------------------------------------


def timed(
    continuity: Continuity, numbers: range | list[int], at: float, ahead_s: float, symbol: str = BTC
) -> Block:
    """Admits trades received at `at` and stamped so far ahead."""
    block = Block("x")
    for n in numbers:
        made_ns, received_ns = (T0_NS + round(s * SECOND_NS) for s in (at + ahead_s, at))
        block.extend([symbol], [made_ns], [received_ns], ["1"], ["1"], ["buy"], [str(n)], ["stream"])
    continuity.deduplicator.admit(block, 0, None, at)
    return block


@pytest.mark.parametrize("promise", [IdPromise.CONTIGUOUS, IdPromise.OPAQUE])
@pytest.mark.parametrize("ahead_s", [10.0, HOUR_S, 365 * 24 * HOUR_S])
@pytest.mark.parametrize("host_s", [0.0, -7 * HOUR_S, 7 * HOUR_S])
def test_a_time_far_ahead_of_the_others_is_rejected_whatever_the_hosts_clock_shows(
    promise: IdPromise, ahead_s: float, host_s: float
) -> None:
    continuity = one(promise)
    kept = [timed(continuity, [n], n / 10, host_s).trade_id for n in range(100)]
    assert [n for ids in kept for n in ids if n] == [str(n) for n in range(100)]
    assert timed(continuity, [100], 10.0, host_s + ahead_s).trade_id == []
    newest_ns = continuity.newest(BTC)[1]
    assert newest_ns is not None and newest_ns <= T0_NS + round((9.9 + host_s) * SECOND_NS)
    timed(continuity, [101, 102], 10.1, host_s)
    continuity.tick(13.0, T0_NS)
    block, decided = continuity.deduplicator.take_decided(13.0)
    assert len(block) == 0
    assert [(refused.row.trade_id, refused.reason) for refused in decided.refused] == [("100", Reason.BAD_TIME)]


def test_a_first_trade_stamped_an_hour_ahead_spoils_nothing() -> None:
    continuity = one(IdPromise.OPAQUE)
    assert len(timed(continuity, [0], 0.0, HOUR_S)) == 0
    assert timed(continuity, [1, 2], 0.1, 0.0).trade_id == ["1", "2"]
    continuity.tick(3.0, T0_NS)
    assert [refused.row.trade_id for refused in continuity.deduplicator.take_decided(3.0)[1].refused] == ["0"]


def test_a_clock_that_is_set_back_costs_no_trade() -> None:
    continuity = Continuity("x", {BTC: IdPromise.CONTIGUOUS, ETH: IdPromise.OPAQUE})
    timed(continuity, range(100), 0.0, 0.0)
    kept = [text for n in range(100, 120) for text in timed(continuity, [n], n / 10, HOUR_S).trade_id]
    assert Counter(kept) == Counter(map(str, range(100, 120)))
    assert timed(continuity, [1], 13.0, HOUR_S, ETH).trade_id == ["1"]


@pytest.mark.parametrize("noticed_s", [9.5, 10.5])
def test_this_hosts_clock_set_back_costs_a_slow_market_no_trade(noticed_s: float) -> None:
    """Its next trade seems to come from the future, and no second one confirms that."""
    continuity, stored = one(), list[str | None]()
    stored += timed(continuity, [1], 0.0, 0.0).trade_id
    for number, at in ((2, 10.0), (3, 20.0), (4, 30.0)):
        if at == 10.0 and noticed_s < at:
            continuity.clock_jumped(-HOUR_S, T0_NS)
        stored += timed(continuity, [number], at, HOUR_S).trade_id
        if at == 10.0 and noticed_s > at:
            continuity.clock_jumped(-HOUR_S, T0_NS)
        continuity.tick(at + HOLD_S + 1, T0_NS)
        block, decided = continuity.deduplicator.take_decided(at + HOLD_S + 1)
        assert decided.refused == []
        stored += block.trade_id
    assert stored == ["1", "2", "3", "4"]


@pytest.mark.parametrize("back_s", [0.5, 3.0, 30.0, HOUR_S])
@pytest.mark.parametrize("market", [BTC, ETH])
@pytest.mark.parametrize("restarted", [False, True])
def test_copies_from_before_an_exchanges_clock_was_set_back_are_no_reset(
    back_s: float, market: str, restarted: bool
) -> None:
    """Their times are newer than the last trade's. ETH trades less often than BTC, which shows the step first."""
    promises = {BTC: IdPromise.CONTIGUOUS, ETH: IdPromise.CONTIGUOUS}
    continuity, kept = Continuity("x", promises), Counter[tuple[str, str | None]]()
    times: dict[str, dict[int, int]] = {BTC: {}, ETH: {}}

    def send(symbol: str, numbers: Iterable[int], now: float, source: str = "stream") -> None:
        block, received_ns = Block("x"), T0_NS + round(now * SECOND_NS)
        for number in numbers:
            columns = (symbol, times[symbol][number], received_ns, "1", "1", "buy", str(number), source)
            block.extend(*([value] for value in columns))
        continuity.deduplicator.admit(block, 0, None, now, session=1)
        continuity.tick(now, T0_NS)
        for rows in (block, continuity.deduplicator.take_decided(now)[0]):
            kept.update(zip(rows.symbol, rows.trade_id, strict=True))

    continuity.connected([BTC, ETH], T0_NS, 1)
    for number in range(240):
        now = number / 10
        if restarted and number == 100:
            stored = [
                TrackerState("x", symbol, last_ns=max(made.values()), mark=max(made), lowest=0)
                for symbol, made in times.items()
            ]
            continuity = Continuity("x", promises)
            continuity.restore(stored, T0_NS)
            continuity.connected([BTC, ETH], T0_NS, 1)
        made_ns = T0_NS + round((now - (back_s if number >= 100 else 0.0)) * SECOND_NS)
        for symbol in (BTC, ETH) if number % 5 == 0 else (BTC,):
            times[symbol][len(times[symbol])] = made_ns
            send(symbol, [len(times[symbol]) - 1], now)
        if number in (130, 200):
            send(market, sorted(times[market])[-50:], now, "snapshot")
    assert set(kept.values()) == {1} and len(kept) == 240 + 48
    assert FeedEvent.RESET not in {row.event for row in continuity.take_feeds()}


def test_this_hosts_clock_set_forward_makes_no_time_of_the_exchange_that_has_not_come() -> None:
    continuity = one()
    timed(continuity, [1], 0.0, HOUR_S)
    timed(continuity, [2, 3, 4], 0.1, HOUR_S)
    assert continuity.exchange_ns(T0_NS) == pytest.approx(T0_NS + HOUR_S * 1e9, abs=1e9)
    continuity.clock_jumped(HOUR_S, T0_NS)
    assert continuity.exchange_ns(T0_NS) == pytest.approx(T0_NS, abs=1e9)


def test_a_single_trade_before_any_other_is_stored_even_if_a_clock_is_wrong() -> None:
    continuity = one()
    assert timed(continuity, [5], 0.0, HOUR_S).trade_id == []
    block, decided = continuity.deduplicator.take_decided(HOLD_S)
    assert (block.trade_id, decided.refused) == (["5"], [])
    assert continuity.newest(BTC)[0] == "5"


def test_of_ids_that_nothing_ever_confirms_each_is_stored_once() -> None:
    """They are far from each other and from the regular ones, which have ended."""
    continuity = one()
    stored = Counter(admit(continuity, [1_000]))
    sent = {str(1_000 + 40 * 3**n): 1.0 + 3 * n for n in range(3 * WAITING_MAX)}
    for number, at in sent.items():
        stored.update(admit(continuity, [number], at=at))
        stored.update(tick(continuity, at + HOLD_S)[0])
    assert stored == Counter(["1000", *sent])
    again = list(sent.items())[-WAITING_MAX:]
    assert [admit(continuity, [number], at=3_000.0, time_s=at) for number, at in again] == [[]] * WAITING_MAX


def test_what_is_held_is_bounded_and_decided_at_the_end() -> None:
    continuity = one()

    def decided_at_the_end(at: float) -> int:
        continuity.deduplicator.take_decided(at)  # what has been decided before
        continuity.tick(at, T0_NS, end=True)
        block, decided = continuity.deduplicator.take_decided(at, end=True)
        return len(block) + len(decided.refused) + decided.copies

    admit(continuity, range(1_000_000, 1_000_010), at=0.0)
    for n in range(WAITING_MAX + 4):  # none stands close to another
        admit(continuity, [1_000_100 + round(40 * 1.7**n)], at=0.1)
    assert WAITING_MAX // 2 < decided_at_the_end(0.2) <= WAITING_MAX + 1
    for n in range(SUSPECTS_MAX * 2):
        admit(continuity, [1_000_000 + n % 2], at=0.5, time_s=0.5 + n / 1e6)
    assert 0 < decided_at_the_end(0.6) <= SUSPECTS_MAX
    for n in range(DOUBTED_MAX * 2):
        timed(continuity, [n], 0.7, HOUR_S + n)
    assert decided_at_the_end(0.8) <= DOUBTED_MAX
    assert decided_at_the_end(0.9) == 0


# -- over a restart -----------------------------------------------------------------------------------


@dataclass
class Run:
    """What reaches the file of runs that follow each other; ids and times of sound trades are the truth."""

    promise: IdPromise = IdPromise.CONTIGUOUS

    def __post_init__(self) -> None:
        self.continuity = one(self.promise)
        self.continuity.connected([BTC], T0_NS)
        self.ticks: list[tuple[str, int, int, str, int]] = []  # id, time, received, source, span
        self.gaps: list[GapRow] = []
        self.feeds: list[FeedRow] = []
        self.received = self.copies = 0
        self.refused: list[tuple[str, int]] = []
        self.now = 0.0

    def feed(self, trades: list[tuple[int, float]], source: str = "stream") -> None:
        block = block_of([(BTC, str(n), T0_NS + round(at * SECOND_NS)) for n, at in trades], source)
        self.received += len(trades)
        self.copies += self.continuity.deduplicator.admit(block, 0, None, self.now)
        self._store(block)

    def _store(self, block: Block) -> None:
        columns = (block.trade_id, block.exchange_ns, block.received_ns, block.source, block.fills)
        self.ticks += zip(*columns, strict=True)  # type: ignore[arg-type]

    def tick(self, *, end: bool = False) -> None:
        self.continuity.tick(self.now, T0_NS + round(self.now * SECOND_NS), end=end)
        block, decided = self.continuity.deduplicator.take_decided(self.now, end=end)
        self._store(block)
        self.copies += decided.copies
        self.refused += [(held.row.trade_id or "", held.row.time_ns or 0) for held in decided.refused]
        self.gaps += self.continuity.take_gaps()
        self.feeds += self.continuity.take_feeds()

    @property
    def held(self) -> int:
        return self.received - self.copies - len(self.refused) - len(self.ticks)

    def restart(self, *, killed: bool) -> None:
        """A kill takes what is held; a stop decides it."""
        self.tick(end=not killed)
        self.received -= self.held
        con = new_file()
        put_ticks(con, self.ticks)
        put_gaps(con, self.gaps)
        put_feeds(con, self.feeds)
        self.continuity = one(self.promise)
        states = read_states(con, {"x": {BTC: self.promise}})["x"]
        self.continuity.restore(states, T0_NS + round(self.now * SECOND_NS))
        self.continuity.connected([BTC], T0_NS + round(self.now * SECOND_NS))

    def listed(self, number: int, made_ns: int) -> bool:
        """Whether an unfilled gap says of a trade that it may be missing, by its id or by its time."""
        return any(
            row.status is not GapStatus.FILLED
            and (
                row.spans(str(number), made_ns)
                or (row.from_ns is not None and row.from_ns <= made_ns <= (row.to_ns or made_ns))
            )
            for row in newest(self.gaps).values()
        )


def test_trades_stored_before_a_restart_confirm_a_leap_together_with_the_first_one_after_it() -> None:
    run = Run()
    run.feed([(n, n / 100) for n in (*range(8), 40, 45)])
    run.now = 2.0 + HOLD_S
    run.tick()
    run.restart(killed=True)
    run.now = 5.0
    run.feed([(50, 4.9)])
    assert run.continuity.newest(BTC)[0] == "50"


def test_a_trade_that_was_stored_before_a_restart_and_passed_by_a_leap_after_it_is_stored_once() -> None:
    run = Run()
    run.feed([(n, n / 100) for n in (*range(8), 40, 41)])
    run.now = 2.0 + HOLD_S
    run.tick()
    run.restart(killed=True)
    run.now = 10.0
    run.feed([(n, n / 100) for n in (80, 81, 82)])
    run.feed([(n, n / 100) for n in range(8, 80)], "backfill")
    assert sorted(int(trade_id) for trade_id, *_ in run.ticks) == list(range(83))


@pytest.mark.parametrize("leap", FAR)
@pytest.mark.parametrize("killed", [False, True])
@pytest.mark.parametrize("silent", [False, True])
def test_a_bad_id_that_was_the_last_before_a_restart_spoils_nothing(leap: int, killed: bool, silent: bool) -> None:
    run = Run()
    run.feed([(n, n / 10) for n in range(100)])
    run.now = 10.0
    run.feed([(99 + leap, 10.0)])
    run.now = 15.0 if silent else 10.1
    run.tick()
    run.restart(killed=killed)
    run.now = 20.0
    run.feed([(n, 20 + n / 10) for n in (*range(110, 140), *range(145, 160))])
    run.now = 40.0
    run.tick()
    sound = [n for n in map(int, (row[0] for row in run.ticks)) if n != 99 + leap or leap == 20]
    assert set(sound) >= {*range(100), *range(110, 140), *range(145, 160)}
    listed_gaps = {
        (row.from_id, row.to_id, row.missing) for row in newest(run.gaps).values() if row.status is GapStatus.OPEN
    }
    assert listed_gaps == {("99", "110", 10), ("139", "145", 5)}


@pytest.mark.parametrize("down", [False, True])
def test_a_reset_is_seen_over_a_restart_and_counts_on_after_the_next(down: bool) -> None:
    run = Run()
    run.feed([(n, n / 1e6) for n in range(1_000_000, 1_000_020)])
    if down:
        run.restart(killed=True)
    run.now = 5.0
    run.feed([(n, 5 + n / 10) for n in range(1, 21)])
    run.tick()
    run.restart(killed=True)
    run.now = 30.0
    run.feed([(n, 30 + n / 10) for n in (*range(23, 40), *range(45, 60))])
    run.now = 60.0
    run.tick()
    assert {n for n in map(int, (row[0] for row in run.ticks)) if n < 1000} == {
        *range(1, 21),
        *range(23, 40),
        *range(45, 60),
    }
    found = {(row.from_id, row.to_id, row.missing, row.status) for row in newest(run.gaps).values()}
    assert ("1000019", "1", None, GapStatus.UNKNOWN) in found
    assert ("20", "23", 2, GapStatus.OPEN) in found
    assert ("39", "45", 5, GapStatus.OPEN) in found


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("live"), st.integers(1, 12)),
        st.tuples(st.just("drop"), st.integers(1, 60)),
        st.tuples(st.just("late"), st.integers(2, 40)),
        st.tuples(st.just("copies"), st.integers(1, 30)),
        st.tuples(st.just("history"), st.integers(1, 60)),
        st.tuples(st.just("kill"), st.just(0)),
        st.tuples(st.just("stop"), st.just(0)),
        st.tuples(st.just("wait"), st.integers(1, 4)),
        st.tuples(st.just("short"), st.integers(1, 60)),
        st.tuples(st.just("bad"), st.sampled_from(FAR)),
        st.tuples(st.just("low"), st.integers(1, 400)),
        st.tuples(st.just("reset"), st.sampled_from([-4_000, -900, 50_000_000])),
    ),
    max_size=14,
)


@settings(max_examples=amount(20, 1_000), deadline=None)
@given(STEPS)
def test_whatever_is_lost_bad_late_or_reset_valid_trades_are_stored_once_or_listed(
    steps: list[tuple[str, int]],
) -> None:
    run, number, truth, bad = Run(), 10_000, {}, set()  # type: ignore[var-annotated]

    def make(count: int) -> list[tuple[int, float]]:
        nonlocal number
        trades = [(number + n, run.now + n / 100) for n in range(count)]
        truth.update(((n, T0_NS + round(at * SECOND_NS)), (n, at)) for n, at in trades)
        number, run.now = number + count, run.now + count / 100
        return trades

    def live(count: int) -> None:
        for trade in make(count):
            run.feed([trade])

    live(8)
    for what, n in steps:
        if what == "live":
            live(n)
        elif what == "drop":
            make(n)
        elif what == "short":  # a connection that brings a few trades after many were lost
            make(NEAR_IDS + n)
            live(1 + n % RESET_ROWS)
        elif what in ("bad", "low"):
            taken = [i for (i, _) in truth if i < number and str(i) in {row[0] for row in run.ticks}]
            trade = (number - 1 + n if what == "bad" else taken[-min(n, len(taken))], run.now + 0.003)
            bad.add((trade[0], T0_NS + round(trade[1] * SECOND_NS)))
            run.feed([trade])
            live(6)
        elif what == "late":
            first, *rest = make(n)
            run.feed(rest)
            run.feed([first])
        elif what == "copies":
            run.feed([(i, at) for i, at in truth.values() if number - n <= i < number and at < run.now])
        elif what == "history":
            run.feed([(i, at) for i, at in truth.values() if number - n <= i < number], "backfill")
        elif what == "reset":
            run.now += 3.0
            run.tick()
            number = max(10, number + n)
            run.now += 0.5
            live(6)
        elif what in ("kill", "stop"):
            run.restart(killed=what == "kill")
            run.now += 2.0
            make(3)
            live(6)
        elif what == "wait":
            run.now += n
            run.tick()
        assert run.held >= 0
    run.now += 3.0
    run.tick()
    live(8)
    run.now += 9.0
    run.tick()
    run.tick(end=True)
    stored = Counter((int(trade_id), made_ns) for trade_id, made_ns, *_ in run.ticks)
    assert run.held == 0
    assert max(stored.values()) == 1
    first = min(truth)[0]
    for n, made_ns in truth:
        assert (n, made_ns) in stored or run.listed(n, made_ns), (n, (made_ns - T0_NS) / 1e9, first)
    for text, made_ns in run.refused:
        assert (int(text), made_ns) in bad or run.listed(int(text), made_ns), text


# -- what was rejected is missing ---------------------------------------------------------------------


def rejects_listed(continuity: Continuity, at: float, *, end: bool = False) -> list[GapRow]:
    """The gaps of rejected trades after one look at the clock."""
    now_ns = T0_NS + round(at * SECOND_NS)
    continuity.tick(at, now_ns)
    continuity.take_decided(at, now_ns, end=end)
    return [gap for gap in continuity.take_gaps() if gap.reason is GapReason.REJECTED]


@pytest.mark.parametrize("host_s", [0.0, -7 * HOUR_S, 7 * HOUR_S])
@pytest.mark.parametrize("promise", [IdPromise.OPAQUE, IdPromise.INCREASING, IdPromise.NONE, IdPromise.REPEATED])
def test_a_trade_rejected_for_its_time_lies_in_a_gap_where_ids_do_not_show_it(
    promise: IdPromise, host_s: float
) -> None:
    continuity = one(promise)
    for n in range(100):
        timed(continuity, [n], n / 10, host_s)
    timed(continuity, [100], 10.0, host_s + HOUR_S)
    timed(continuity, [101, 102], 10.1, host_s)
    (gap,) = rejects_listed(continuity, 13.0)
    made_ns = T0_NS + round((10.0 + host_s) * SECOND_NS)
    assert gap.spans(None, made_ns) and gap.bounded and gap.status is GapStatus.OPEN
    assert (gap.to_ns or 0) - (gap.from_ns or 0) < 5 * SECOND_NS


def test_an_outage_that_began_after_a_rejected_trade_does_not_hide_it() -> None:
    continuity = one(IdPromise.OPAQUE)
    continuity.connected([BTC], T0_NS, 1)
    for n in range(100):
        timed(continuity, [n], n / 10, 0.0)
    timed(continuity, [100], 10.0, HOUR_S)
    timed(continuity, [101], 12.4, 0.0)
    continuity.disconnected([BTC], T0_NS + 12 * SECOND_NS, session=1)
    (gap,) = rejects_listed(continuity, 13.0)
    assert gap.spans(None, T0_NS + 10 * SECOND_NS)


def test_where_ids_count_they_show_that_a_rejected_trade_is_missing() -> None:
    continuity = one(IdPromise.CONTIGUOUS)
    for n in range(100):
        timed(continuity, [n], n / 10, 0.0)
    timed(continuity, [100], 10.0, HOUR_S)
    timed(continuity, [101, 102], 10.1, 0.0)
    assert rejects_listed(continuity, 20.0) == []
    assert reported(continuity.unfinished(), 100)


def test_a_trade_that_another_connection_delivered_as_it_is_is_not_missing() -> None:
    continuity = one(IdPromise.OPAQUE)
    for n in range(101):
        timed(continuity, [n], n / 10, 0.0)
    timed(continuity, [100], 10.0, HOUR_S)
    timed(continuity, [101, 102], 10.1, 0.0)
    assert rejects_listed(continuity, 13.0) == []


def test_trades_that_are_rejected_again_and_again_leave_few_gaps_and_all_lie_in_one() -> None:
    continuity, gaps = one(IdPromise.OPAQUE), list[GapRow]()
    for n in range(600):
        timed(continuity, [n], n / 10, 0.0 if n % 20 else HOUR_S)
        if n % 10 == 0:
            gaps += rejects_listed(continuity, n / 10)
    gaps += rejects_listed(continuity, 60.0, end=True)
    assert 5 <= len(gaps) <= 9
    times = [T0_NS + n * SECOND_NS // 10 for n in range(20, 600, 20)]
    assert all(any(gap.spans(None, made_ns) for gap in gaps) for made_ns in times)
