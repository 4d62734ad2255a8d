"""Stalled feeds are distinguished from quiet markets: with evidence they are replaced, without it left alone."""

import itertools
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import groupby

import msgspec
import pytest
import trio
from trio.testing import MockClock

from actors.backfill.fetch_job import BackfillLimits
from actors.exchanges.contract.feed import Condition, Control
from actors.feed.connection_pool import OVERLAP_S
from actors.feed.connection_state import STRAGGLERS_S
from actors.feed.interarrival import UNKNOWN_FACTOR
from actors.feed.peer_activity import PeerActivity
from actors.feed.stall_detector import BEHIND_S, LATE_S, StallLimits
from actors.model.records import GapReason, GapStatus
from supervisor import State
from tests.harness.amounts import variants
from tests.harness.continuity_file import new_file, put_audit, put_feeds, put_gaps
from tests.harness.exchange_server import trade
from tests.harness.exchange_values import dialect_of
from tests.harness.memory_exchange import BTC, EPOCH_NS, ETH, Recorder, Venue, recorded, seen

STALL_S = 2.0
QUIET_S, SUBSTITUTE_S = BackfillLimits().quiet_s, BackfillLimits().substitute_s
LOOKS_S = 3.0  # two looks and a watch: so much later a silence is noticed
LEARN_S = 25.0  # so many looks with trades are enough
BOTH = ("BTC/USDT", "ETH/USDT")


@asynccontextmanager
async def elsewhere(peers: PeerActivity, *coins: str) -> AsyncIterator[None]:
    """Two other exchanges that trade these coins all the while."""
    async with trio.open_nursery() as nursery:

        async def go_on() -> None:
            while True:
                peers.traded("y", coins, trio.current_time())
                peers.traded("z", coins, trio.current_time())
                await trio.sleep(0.5)

        nursery.start_soon(go_on)
        yield
        nursery.cancel_scope.cancel()


def stall_detector_of(recorder: Recorder) -> tuple[State, str]:
    health = recorder.tree.health("x:stall_detector")
    return health.state, health.reason


def check_untouched(recorder: Recorder) -> None:
    """Nobody has done anything about the exchange."""
    assert recorder.names == [
        f"x:{number}" for number in range(1, (recorder.exchange.settings.redundancy or 1) + 1)
    ]
    assert recorder.gaps() == [] == recorder.reported("stalled", "replacing", "degraded")
    recorder.check()


def check_repaired(recorder: Recorder, venue: Venue, *natives: str) -> None:
    """One gap a market, all of it fetched back, every trade stored once."""
    gaps = recorder.gaps()
    assert [gap.status for gap in gaps] == [GapStatus.FILLED] * len(natives)
    assert gaps[0].reason is GapReason.STALL
    for native in natives:
        ids = [str(number) for number in recorder.ids(native.replace("-", "/"))]
        assert sorted(ids) == venue.ids(native)
    recorder.check()


def coverage(recorder: Recorder, now_ns: int) -> list[str]:
    """What the file would say of the one market from the beginning to now, stretch by stretch."""
    con = new_file()
    put_gaps(con, [gap for chunk in recorder.chunks for gap in chunk.gaps])
    put_feeds(con, [msgspec.structs.replace(feed, run_id="r") for chunk in recorder.chunks for feed in chunk.feeds])
    put_audit(con, "r", now_ns)
    rows = con.execute("SELECT status FROM coverage ORDER BY from_time").fetchall()
    return [status for status, _ in groupby(status for (status,) in rows)]


# -- what is evidence --------------------------------------------------------------------------------------


async def test_a_market_that_falls_silent_here_only_is_stalled(autojump_clock: MockClock) -> None:
    venue, peers = Venue(), PeerActivity()
    async with (
        recorded(venue, peers=peers, stall_s=STALL_S) as recorder,
        elsewhere(peers, "BTC"),
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(venue.go_on, BTC, 0.5, LEARN_S + 25.0)
        await trio.sleep(LEARN_S)
        venue.mute, last = {(1, BTC)}, venue.ids()[-1]
        began = trio.current_time()
        await seen(lambda: recorder.reported("stalled"))
        assert trio.current_time() - began <= STALL_S + LOOKS_S
        (stalled,) = recorder.reported("stalled")
        assert "BTC is traded on y, z" in stalled.reason and stalled.detail["connections"] == ["x:1"]
        assert venue.asked == 0, "that was enough"
        await trio.sleep(0.5)
        assert stall_detector_of(recorder) == (State.DEGRADED, stalled.reason)
        await trio.sleep(OVERLAP_S + 3)
        assert venue.open == [2] and stall_detector_of(recorder) == (State.OK, "")
        assert stalled.reason in recorder.reported("replaced")[0].reason
    check_repaired(recorder, venue, BTC)
    assert recorder.gaps()[0].from_id == last


@pytest.mark.parametrize("learnt", [False, True])
async def test_a_market_of_which_the_history_has_more_is_stalled(learnt: bool, autojump_clock: MockClock) -> None:
    venue = Venue()
    venue.mute = set() if learnt else {(1, BTC)}
    async with recorded(venue, stall_s=STALL_S) as recorder, trio.open_nursery() as nursery:
        nursery.start_soon(venue.go_on, BTC, 0.5, 50.0)
        if learnt:
            await trio.sleep(LEARN_S)
            venue.mute = {(1, BTC)}
        began = trio.current_time()
        await seen(lambda: recorder.reported("stalled"))
        patience_s = STALL_S * (1 if learnt else UNKNOWN_FACTOR)
        assert patience_s <= trio.current_time() - began + 1 and trio.current_time() - began <= patience_s + 6
        assert "its history has newer trades" in recorder.reported("stalled")[0].reason
        await trio.sleep(OVERLAP_S + 3)
        assert venue.open == [2]
    check_repaired(recorder, venue, BTC)


async def test_a_market_without_newer_trades_in_the_history_is_quiet_and_probed_ever_less(
    autojump_clock: MockClock,
) -> None:
    venue, peers = Venue(), PeerActivity()
    async with recorded(venue, peers=peers, stall_s=STALL_S) as recorder:
        await venue.go_on(BTC, 0.5, LEARN_S)
        asked_at: list[float] = []
        while trio.current_time() < 300:
            await trio.sleep(1)
            asked_at += [trio.current_time()] * (venue.asked - len(asked_at))
        pauses = [later - earlier for earlier, later in itertools.pairwise(asked_at)]
        assert 5 <= len(asked_at) <= 8 and pauses == sorted(pauses) and pauses[-1] > 90
        check_untouched(recorder)
        await venue.go_on(BTC, 0.5, 5.0)
    check_untouched(recorder)


async def test_where_the_history_cannot_be_reached_the_others_decide_after_a_while(
    autojump_clock: MockClock,
) -> None:
    limits = StallLimits(answer_s=10.0)
    venue, peers = Venue(), PeerActivity()
    venue.mute, venue.answers = {(1, BTC)}, False
    async with (
        recorded(venue, peers=peers, stalls=limits, stall_s=STALL_S) as recorder,
        elsewhere(peers, "BTC"),
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(venue.go_on, BTC, 0.5, 60.0)
        await trio.sleep(UNKNOWN_FACTOR * STALL_S + 10)
        assert venue.asked > 0
        check_untouched(recorder)
        await trio.sleep(LOOKS_S)
        assert "BTC is traded on y, z" in recorder.reported("stalled")[0].reason
        await trio.sleep(OVERLAP_S + 3)
        assert venue.open == [2]
        venue.answers = True
        await seen(lambda: all(gap.status is GapStatus.FILLED for gap in recorder.gaps()))
        nursery.cancel_scope.cancel()
    check_repaired(recorder, venue, BTC)


@pytest.mark.parametrize("history", [False, True])
async def test_a_quiet_market_alone_is_no_reason_for_anything(history: bool, autojump_clock: MockClock) -> None:
    venue, peers = Venue(), PeerActivity()
    venue.answers = False
    async with recorded(venue, *BOTH, peers=peers, stall_s=STALL_S, history=history) as recorder:
        async with elsewhere(peers, "SOL"):
            await venue.go_on(BTC, 0.5, LEARN_S)
            await trio.sleep(120)
        check_untouched(recorder)
        assert {event.event for event in recorder.events if event.actor == "x:stall_detector"} == {"starting", "ok"}


async def test_trades_that_stop_while_others_continue_cause_one_change_of_connections(
    autojump_clock: MockClock,
) -> None:
    venue, peers = Venue(), PeerActivity()
    async with (
        recorded(venue, *BOTH, peers=peers, stall_s=STALL_S) as recorder,
        elsewhere(peers, "BTC", "ETH"),
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(venue.go_on, BTC, 0.5, LEARN_S + 25)
        nursery.start_soon(venue.go_on, ETH, 0.5, LEARN_S + 25)
        await trio.sleep(LEARN_S)
        venue.mute = {(1, BTC), (1, ETH)}
        await trio.sleep(STALL_S + LOOKS_S + OVERLAP_S + 3)
        assert venue.open == [2] and len(venue.server.clients) == 2
    assert len(recorder.reported("replaced")) == 1
    check_repaired(recorder, venue, BTC, ETH)


# -- what is not -------------------------------------------------------------------------------------------


async def test_a_full_buffer_is_not_treated_as_a_stall(autojump_clock: MockClock) -> None:
    venue, peers = Venue(), PeerActivity()
    async with (
        recorded(venue, peers=peers, stall_s=STALL_S, rows=1000, consuming=False) as recorder,
        elsewhere(peers, "BTC"),
        trio.open_nursery() as nursery,
    ):
        await venue.go_on(BTC, 0.5, LEARN_S)
        nursery.start_soon(venue.go_on, BTC, 0.01, 60.0)
        await trio.sleep(60)
        assert recorder.account.received < len(venue.ids())
        check_untouched(recorder)
        nursery.start_soon(recorder.consume)
        await venue.go_on(BTC, 0.5, 10.0)
        check_untouched(recorder)
        nursery.cancel_scope.cancel()
    assert recorder.ids() == venue.ids()


async def test_our_own_standstill_is_neither_a_stall_nor_learnt(autojump_clock: MockClock) -> None:
    venue, peers = Venue(), PeerActivity()
    async with (
        recorded(venue, peers=peers, stall_s=STALL_S) as recorder,
        elsewhere(peers, "BTC"),
    ):
        await venue.go_on(BTC, 0.5, LEARN_S)
        autojump_clock.jump(6 * LATE_S)
        made, now_ns = venue.truth[BTC], time.time_ns()
        missed = [(1000 + len(made) + n, now_ns - 1_000_000_000 * (20 - n)) for n in range(10)]
        made += missed
        await trio.sleep(2)  # it is on its way meanwhile
        for row in missed:
            await venue.say(1, trade("okx", BTC, *row).decode())
        await venue.go_on(BTC, 0.5, 5.0)
        check_untouched(recorder)
        venue.mute = {(1, BTC)}
        await venue.go_on(BTC, 0.5, STALL_S + LOOKS_S)
        assert len(recorder.reported("stalled")) == 1


async def test_a_stall_that_ends_is_forgotten(autojump_clock: MockClock) -> None:
    venue, peers = Venue(), PeerActivity()
    async with (
        recorded(venue, peers=peers, stall_s=STALL_S) as recorder,
        elsewhere(peers, "BTC"),
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(venue.go_on, BTC, 0.5, 90.0)
        await trio.sleep(LEARN_S)
        venue.refuses = True  # so that the same connection comes to itself again
        for count in (1, 2):
            venue.mute = {(1, BTC)}
            await trio.sleep(STALL_S + LOOKS_S)
            assert len(recorder.gaps()) == count and stall_detector_of(recorder)[0] is State.DEGRADED
            await trio.sleep(15)
            venue.mute = set()
            await trio.sleep(LOOKS_S)
            assert stall_detector_of(recorder) == (State.OK, "")
        assert 1 in venue.open
    assert {gap.status for gap in recorder.gaps()} == {GapStatus.FILLED}
    assert sorted(map(str, recorder.ids())) == venue.ids()


async def test_a_lasting_stall_is_reported_now_and_then(
    autojump_clock: MockClock,
) -> None:
    limits = StallLimits(repeat_s=20.0)
    venue, peers = Venue(), PeerActivity()
    async with (
        recorded(venue, peers=peers, stalls=limits, stall_s=STALL_S) as recorder,
        elsewhere(peers, "BTC"),
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(venue.go_on, BTC, 0.5, 200.0)
        await trio.sleep(LEARN_S)
        venue.mute, venue.refuses = {(1, BTC)}, True
        await trio.sleep(120)
        assert 9 <= len(recorder.reported("stalled")) <= 3 + 120 / 10
        assert len(recorder.gaps()) == 1 and stall_detector_of(recorder)[0] is State.DEGRADED
        nursery.cancel_scope.cancel()


# -- the exchange says that no trades are made -------------------------------------------------------------


def with_condition(message: object) -> Control | None:
    """What OKX's control messages mean, if it reported its state under "system" as Kraken does."""
    if isinstance(message, dict) and "system" in message:
        words = message["system"]
        return Condition() if words == "online" else Condition(words, matches=words == "limit_only")
    return dialect_of("okx").control(message)


REPORTS_STATE = {"control": with_condition}


def says(words: str) -> str:
    return json.dumps({"system": words})


@pytest.mark.parametrize("words", variants("maintenance", "post_only"))
@pytest.mark.parametrize("learnt", [False, True])
async def test_while_an_exchange_reports_that_it_does_not_trade_its_silence_is_no_stall(
    words: str, learnt: bool, autojump_clock: MockClock
) -> None:
    venue, peers = Venue(), PeerActivity()
    async with (
        recorded(venue, changes=REPORTS_STATE, peers=peers, stall_s=STALL_S, redundancy=2) as recorder,
        elsewhere(peers, "BTC"),
    ):
        await venue.go_on(BTC, 0.5, LEARN_S if learnt else 2.0)
        for number in (1, 2):
            await venue.say(number, says(words))
        for _ in range(3):  # it says so again and again
            await trio.sleep(100)
            await venue.say(1, says(words))
            assert stall_detector_of(recorder) == (State.DEGRADED, f"x reports: {words}")
        assert (recorder.names, venue.asked, recorder.gaps()) == (["x:1", "x:2"], 0, [])
        for number in (1, 2):
            await venue.say(number, says("online"))
        await trio.sleep(1.5)
        assert stall_detector_of(recorder) == (State.OK, "")
        assert [event.reason for event in recorder.reported("condition")] == [words, "normal again"]
        await venue.go_on(BTC, 0.5, LEARN_S)
        assert not recorder.reported("stalled", "replacing") and not recorder.gaps()
        venue.mute = {(0, BTC)}  # and from now on silence is a stall again, after as little as before
        await venue.go_on(BTC, 0.5, STALL_S + LOOKS_S)
        assert len(recorder.reported("stalled")) == 1
    assert coverage(recorder, time.time_ns())[0] == "live"


@pytest.mark.parametrize("commands", [("restart",), ("pause", "resume")])
async def test_a_stall_detector_that_begins_again_shows_what_is_still_so(
    commands: tuple[str, ...], autojump_clock: MockClock
) -> None:
    venue = Venue()
    async with recorded(venue, changes=REPORTS_STATE) as recorder:
        await venue.trade()
        await venue.say(1, says("maintenance"))
        await seen(lambda: stall_detector_of(recorder)[0] is State.DEGRADED)
        for command in commands:
            await getattr(recorder.tree, command)("x:stall_detector")
        await trio.sleep(LOOKS_S)
        assert stall_detector_of(recorder) == (State.DEGRADED, "x reports: maintenance")


async def test_an_outage_in_a_maintenance_is_no_question_to_the_history_and_no_lost_trades(
    autojump_clock: MockClock,
) -> None:
    venue = Venue()
    async with recorded(venue, changes=REPORTS_STATE, stall_s=STALL_S) as recorder:
        await venue.go_on(BTC, 0.5, 5.0)
        await venue.say(1, says("maintenance"))
        await venue.end(1)
        await seen(lambda: venue.open == [2])
        await venue.say(2, says("maintenance"))
        await trio.sleep(20 * QUIET_S)
        assert (venue.asked, recorder.names) == (0, ["x:1"])
        await venue.say(2, says("online"))
        await venue.go_on(BTC, 0.5, 5.0)
        (gap,) = recorder.gaps()
        assert (gap.reason, gap.status, gap.missing) == (GapReason.DISCONNECT, GapStatus.FILLED, 0)
        assert [event.reason for event in recorder.reported("condition")] == ["maintenance", "normal again"]
        now_ns = time.time_ns()
    assert recorder.ids() == venue.ids()
    assert coverage(recorder, now_ns) == ["live"]


@pytest.mark.parametrize("words", ["limit_only", "maintenance"])
async def test_trades_or_a_state_in_which_they_are_made_keep_the_watch_up(
    words: str, autojump_clock: MockClock
) -> None:
    venue, peers = Venue(), PeerActivity()
    async with (
        recorded(venue, changes=REPORTS_STATE, peers=peers, stall_s=STALL_S) as recorder,
        elsewhere(peers, "BTC"),
    ):
        await venue.go_on(BTC, 0.5, LEARN_S)
        await venue.say(1, says(words))
        await venue.go_on(BTC, 0.5, 2 * STRAGGLERS_S)  # it trades on, whatever it says
        assert stall_detector_of(recorder) == (State.DEGRADED, f"x reports: {words}")
        venue.mute = {(1, BTC)}
        await venue.go_on(BTC, 0.5, STALL_S + LOOKS_S + 1)
        assert len(recorder.reported("stalled")) == 1
        assert any(
            f"x reports: {words}; BTC/USDT silent" in event.reason for event in recorder.reported("degraded")
        )


async def test_no_connection_is_replaced_for_its_age_while_no_trades_are_made(autojump_clock: MockClock) -> None:
    venue = Venue()
    async with recorded(venue, changes=REPORTS_STATE, lifetime_s=100.0) as recorder:
        await venue.go_on(BTC, 0.5, 5.0)
        await venue.say(1, says("maintenance"))
        await trio.sleep(200)
        assert venue.open == [1]
        await venue.say(1, says("online"))
        await venue.go_on(BTC, 0.5, OVERLAP_S + 5)
        assert venue.open == [2]
    assert recorder.gaps() == []


# -- connections compared ----------------------------------------------------------------------------------


async def test_of_two_connections_the_one_that_lacks_a_market_is_replaced_without_a_gap(
    autojump_clock: MockClock,
) -> None:
    venue = Venue()
    venue.deaf = {*range(3, 99)}
    async with (
        recorded(venue, *BOTH, redundancy=2, stall_s=STALL_S, history=False) as recorder,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(venue.go_on, BTC, 0.5, 200.0)
        nursery.start_soon(venue.go_on, ETH, 0.5, 200.0)
        await trio.sleep(LEARN_S)
        venue.mute = {(1, BTC)}
        await trio.sleep(STALL_S + LOOKS_S + BEHIND_S)
        (stalled,) = recorder.reported("stalled")
        assert stalled.reason == "BTC/USDT silent on x:1: x:2 delivers it"
        assert recorder.names == ["x:1", "x:2", "x:3"]
        assert stall_detector_of(recorder) == (State.DEGRADED, stalled.reason)
        await trio.sleep(70)
        assert len(recorder.reported("replacement_failed")) == 1 == len(recorder.reported("stalled")), (
            "and no more words"
        )
        venue.deaf = set()
        await trio.sleep(80)
        assert recorder.names[0] == "x:2" and len(recorder.names) == 2
        assert stall_detector_of(recorder) == (State.OK, "")
    assert recorder.gaps() == []
    assert recorder.ids() == venue.ids() and recorder.ids("ETH/USDT") == venue.ids(ETH)


async def test_a_trade_that_one_connection_has_a_moment_earlier_shows_nothing(autojump_clock: MockClock) -> None:
    venue = Venue()
    async with recorded(venue, redundancy=2, stall_s=STALL_S) as recorder:
        await venue.go_on(BTC, 0.5, LEARN_S)
        await trio.sleep(0.3)  # so that a look falls between the two, when both have been silent for long
        venue.mute = {(2, BTC)}
        await venue.trade()
        await trio.sleep(0.75)
        await venue.say(2, trade("okx", BTC, *venue.truth[BTC][-1]).decode())
        await trio.sleep(60)
    check_untouched(recorder)


async def test_an_exchange_is_no_witness_for_what_it_records_no_more(autojump_clock: MockClock) -> None:
    venue, peers = Venue(), PeerActivity()
    async with (
        recorded(venue, *BOTH, peers=peers) as recorder,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(venue.go_on, BTC, 0.5, 20.0)
        await venue.go_on(ETH, 0.5, 10.0)
        assert peers.busy("y", "ETH", 0.0) == ["x"]
        await recorder.exchange.change([], ["ETH/USDT"])
        assert peers.busy("y", "ETH", 0.0) == []
        await trio.sleep(8)
        assert peers.busy("y", "BTC", 0.0) == ["x"]
    assert peers.busy("y", "BTC", 0.0) == []


# -- outages that no trade ends ----------------------------------------------------------------------------


@pytest.mark.parametrize("missed", [0, 7])
async def test_an_outage_after_which_a_market_is_quiet_is_closed_by_what_the_history_has(
    missed: int, autojump_clock: MockClock
) -> None:
    venue = Venue()
    async with recorded(venue) as recorder:
        await venue.go_on(BTC, 0.5, 5.0)
        venue.refuses = True
        await venue.end(1)
        await trio.sleep(2)
        await venue.trade(count=missed)
        await trio.sleep(3)
        venue.refuses = False
        await seen(lambda: venue.open)
        await trio.sleep(QUIET_S - 2)
        assert [gap.status for gap in recorder.gaps()] == [GapStatus.OPEN]
        await trio.sleep(7)
        (gap,) = recorder.gaps()
        assert (gap.reason, gap.status) == (GapReason.DISCONNECT, GapStatus.FILLED)
        assert (gap.missing, gap.recovered) == (missed, missed)
        assert gap.to_ns is not None and EPOCH_NS < gap.to_ns <= time.time_ns()
        await trio.sleep(20)
        await venue.trade(count=3)  # it goes on where it was
        await trio.sleep(3)
        now_ns = time.time_ns()
    assert recorder.ids() == venue.ids() and len(recorder.gaps()) == 1
    recorder.check({"x:1"})
    assert coverage(recorder, now_ns) == (["live", "repaired", "live"] if missed else ["live"])


@pytest.mark.parametrize(("every_s", "whole"), [(0.5, True), (12.0, True), (12.0, False)])
async def test_while_a_feed_delivers_nothing_after_an_outage_trades_are_fetched_from_the_history(
    every_s: float, whole: bool, autojump_clock: MockClock
) -> None:
    venue = Venue()
    venue.past = venue.past if whole else ()  # so that the history does not reach back as far as it is asked
    venue.mute = {(number, BTC) for number in range(2, 99)}
    async with recorded(venue, stall_s=300.0) as recorder, trio.open_nursery() as nursery:
        nursery.start_soon(venue.go_on, BTC, every_s, 120.0)
        await trio.sleep(3)
        await venue.end(1)
        await trio.sleep(QUIET_S + 15)
        for _ in range(3):
            assert len(venue.ids()) - len(recorder.ids()) <= (SUBSTITUTE_S + 6) / every_s + 2
            assert [gap.status for gap in recorder.gaps()] == [GapStatus.OPEN]
            await trio.sleep(10)
        venue.mute = set()
        await trio.sleep(30)
        (gap,) = recorder.gaps()
        assert gap.status is GapStatus.FILLED and gap.missing == gap.recovered
        nursery.cancel_scope.cancel()
    ids = [str(number) for number in recorder.ids()]
    assert sorted(ids) == venue.ids()[: len(ids)] and len(venue.ids()) - len(ids) <= 1
    recorder.check({"x:1"})


@pytest.mark.parametrize("every_s", [0.5, 4.0, 15.0])
async def test_a_feed_that_delivers_nothing_after_an_outage_is_replaced(
    every_s: float, autojump_clock: MockClock
) -> None:
    venue = Venue()
    venue.mute = {(2, BTC)}
    async with recorded(venue, stall_s=5.0) as recorder, trio.open_nursery() as nursery:
        nursery.start_soon(venue.go_on, BTC, every_s, 200.0)
        await trio.sleep(3)
        await venue.end(1)
        await trio.sleep(80)
        assert venue.open == [3]
        nursery.cancel_scope.cancel()
    assert {gap.status for gap in recorder.gaps()} == {GapStatus.FILLED}


async def test_a_connection_that_ends_before_its_silence_is_judged_is_no_stall(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    """Judging waits for replacements, which may take seconds."""
    venue = Venue()
    async with recorded(venue, stall_s=STALL_S) as recorder:
        pool, ended = recorder.exchange.pool, list[int]()
        look = pool.look

        async def slow_look() -> list[tuple[str, str]]:
            if not ended and venue.open:
                ended.extend(venue.open)
                await venue.end(venue.open[0])
                await trio.sleep(1.0)
            return await look()

        monkeypatch.setattr(pool, "look", slow_look)
        venue.refuses = True
        await seen(lambda: ended)
        await trio.sleep(5.0)
        assert not recorder.reported("stalled")
        recorder.check(restarts=["x:1"])


async def test_a_subscription_that_ends_while_another_market_is_looked_at_is_no_error(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    """What was read and not decoded yet may be the end of both."""
    venue = Venue()
    async with recorded(venue, *BOTH, stall_s=STALL_S) as recorder, trio.open_nursery() as nursery:
        nursery.start_soon(venue.go_on, ETH, 0.1, 60.0)
        await venue.go_on(BTC, 0.5, LEARN_S)
        connection, ended = recorder.connection("x:1"), trio.Event()
        decode = connection.decode

        def decode_an_end() -> None:
            decode()
            for symbol in BOTH:
                connection.state.lost(symbol, "a test")
            ended.set()

        monkeypatch.setattr(connection, "decode", decode_an_end)
        await ended.wait()
        await trio.sleep(LOOKS_S)
        recorder.check()
        nursery.cancel_scope.cancel()
