"""Connections take over from each other without a gap and without a trade twice, and only if they deliver."""

import itertools

import pytest
import trio
from msgspec.structs import replace
from trio.testing import MockClock

from actors.feed.connection_pool import AGED, LEAVING_S, OVERLAP_S, PoolLimits
from actors.model.records import FeedEvent, GapReason, GapStatus
from actors.settings import CONNECTION_STOP_S, LAST_CHUNK_S
from supervisor import Backoff, ChildSpec, Supervisor
from tests.harness.exchange_server import Client
from tests.harness.exchange_values import dialect_of
from tests.harness.memory_exchange import BTC, ETH, Recorder, Venue, recorded, seen

LIFE_S = 20.0
BOTH = ("BTC/USDT", "ETH/USDT")
NOTICE = '{"event":"notice","code":"64008","msg":"The connection will soon be closed for a service upgrade."}'
STOP_S = CONNECTION_STOP_S + LAST_CHUNK_S


def check_whole(recorder: Recorder, venue: Venue, *natives: str) -> None:
    """Every trade that was ever made is stored once, and nothing is said to be missing."""
    for native in natives or (BTC,):
        assert recorder.ids(native.replace("-", "/")) == venue.ids(native)
    assert recorder.gaps() == []


async def test_a_second_connection_takes_over_before_the_first_has_lived_as_long_as_it_may(
    autojump_clock: MockClock,
) -> None:
    venue = Venue()
    async with recorded(venue, lifetime_s=100.0) as recorder, trio.open_nursery() as nursery:
        nursery.start_soon(venue.go_on, BTC, 0.5, 130.0)
        await trio.sleep(AGED[0] * 100 - 1)
        assert recorder.names == ["x:1"]
        await seen(lambda: len(venue.open) == 2)
        began, copies = trio.current_time(), recorder.account.duplicates
        assert began <= AGED[1] * 100 + 2 and recorder.names == ["x:1", "x:2"]
        await seen(lambda: 1 not in venue.open)
        assert OVERLAP_S <= trio.current_time() - began <= OVERLAP_S + 3 and trio.current_time() < 104
        assert recorder.account.duplicates - copies >= 2 * OVERLAP_S - 2
        assert (recorder.names, venue.open) == (["x:2"], [2])
        assert [event.event for event in recorder.reported("replacing", "replaced")] == ["replacing", "replaced"]
        assert venue.server.clients[0].close_code == 1000
    check_whole(recorder, venue)
    recorder.check()


async def test_a_connection_whose_close_is_announced_is_replaced_before_it(autojump_clock: MockClock) -> None:
    venue = Venue()
    async with recorded(venue) as recorder, trio.open_nursery() as nursery:
        nursery.start_soon(venue.go_on, BTC, 0.5, 60.0)
        await trio.sleep(LEAVING_S + 1)
        await venue.say(1, NOTICE)
        await trio.sleep(OVERLAP_S / 2)
        assert recorder.names == ["x:1", "x:2"] == [f"x:{number}" for number in venue.open]
        await trio.sleep(OVERLAP_S / 2 + 4)
        assert (recorder.names, venue.open) == (["x:2"], [2])
        assert "64008" in recorder.reported("replaced")[0].reason
    check_whole(recorder, venue)
    recorder.check()


async def test_an_exchange_that_bids_every_connection_farewell_is_not_overrun(autojump_clock: MockClock) -> None:
    venue = Venue()

    async def farewell() -> None:
        told = 0
        while True:
            await trio.sleep(0.5)
            for number in [number for number in venue.open if number > told]:
                told = number
                await venue.say(number, NOTICE)

    async with recorded(venue) as recorder, trio.open_nursery() as nursery:
        nursery.start_soon(farewell)
        await venue.go_on(BTC, 1.0, 130.0)
        assert 3 <= len(venue.server.clients) <= 130 / LEAVING_S + 1
        nursery.cancel_scope.cancel()
    check_whole(recorder, venue)


async def test_a_replacement_that_never_delivers_is_abandoned_and_retried_after_growing_pauses(
    autojump_clock: MockClock,
) -> None:
    limits = PoolLimits(replacement_s=10.0, again=Backoff(10.0, 3600.0, jitter=0.0))
    venue = Venue()
    venue.deaf = {*range(2, 99)}
    async with recorded(venue, lifetime_s=LIFE_S, pool=limits) as recorder, trio.open_nursery() as nursery:
        nursery.start_soon(venue.go_on, BTC, 1.0, 300.0)
        await trio.sleep(150)
        begun = recorder.reported("replacing")
        failed = recorder.reported("replacement_failed")
        assert [event.at_ns - before.at_ns for before, event in zip(begun, failed, strict=False)] == pytest.approx(
            [10e9] * len(failed), abs=2e9
        )
        pauses = [later.at_ns - event.at_ns for event, later in zip(failed, begun[1:], strict=False)]
        assert pauses == pytest.approx([10e9 * 2**n for n in range(len(pauses))], abs=2e9)
        assert len(pauses) >= 3
        assert 1 in venue.open, "the old one goes on"
        venue.deaf.clear()
        await trio.sleep(10 * 2 ** (len(pauses) + 1))
        assert 1 not in venue.open and recorder.reported("replaced")
        nursery.cancel_scope.cancel()
    check_whole(recorder, venue)
    # What waits for its subscription in vain says so and is connected anew; nobody else fails.
    recorder.check({f"x:{number}" for number in range(2, 99)})


async def test_one_that_lacks_a_market_does_not_take_over(
    autojump_clock: MockClock,
) -> None:
    venue, limits = Venue(), PoolLimits(replacement_s=10.0)
    venue.mute = {(2, ETH)}
    async with recorded(venue, *BOTH, lifetime_s=LIFE_S, pool=limits) as recorder, trio.open_nursery() as nursery:
        nursery.start_soon(venue.go_on, BTC, 1.0, 60.0)
        nursery.start_soon(venue.go_on, ETH, 1.0, 60.0)
        await trio.sleep(LIFE_S + 12)
        assert len(recorder.reported("replacement_failed")) == 1 and recorder.names == ["x:1"]
    check_whole(recorder, venue, BTC, ETH)


async def test_a_market_that_was_only_sent_again_at_the_start_is_not_delivered(autojump_clock: MockClock) -> None:
    venue = Venue()
    async with recorded(venue, lifetime_s=LIFE_S) as recorder, trio.open_nursery() as nursery:
        nursery.start_soon(venue.go_on, BTC, 1.0, 60.0)
        await seen(lambda: 2 in venue.open)
        await trio.sleep(1.3)  # some trades come, and then no more
        venue.mute = {(2, BTC)}
        await trio.sleep(10)
        assert recorder.names == ["x:1", "x:2"], "it has fallen behind"
        venue.mute = set()
        await trio.sleep(OVERLAP_S + 1)
        assert "x:1" not in recorder.names
    check_whole(recorder, venue)


async def test_quiet_markets_do_not_keep_a_second_connection_from_taking_over(autojump_clock: MockClock) -> None:
    venue = Venue()
    async with recorded(venue, *BOTH, lifetime_s=LIFE_S) as recorder:
        await venue.go_on(BTC, 1.0, 30.0)  # ETH never trades
        assert recorder.names == ["x:2"]
    check_whole(recorder, venue)


@pytest.mark.parametrize("late_s", [0.5, OVERLAP_S / 2])
async def test_an_old_one_that_dies_in_the_middle_leaves_its_work_to_the_new_one(
    late_s: float, autojump_clock: MockClock
) -> None:
    venue = Venue()
    async with recorded(venue, lifetime_s=LIFE_S) as recorder, trio.open_nursery() as nursery:
        nursery.start_soon(venue.go_on, BTC, 0.5, 45.0)
        await seen(lambda: 2 in venue.open)
        await trio.sleep(late_s)
        await venue.end(1)
        await trio.sleep(2 * OVERLAP_S)
        assert recorder.names == ["x:2"]
    check_whole(recorder, venue)
    recorder.check({"x:1"})


async def test_a_replacement_that_dies_midway_comes_back_or_is_abandoned(autojump_clock: MockClock) -> None:
    venue = Venue()
    async with recorded(venue, lifetime_s=LIFE_S) as recorder, trio.open_nursery() as nursery:
        nursery.start_soon(venue.go_on, BTC, 0.5, 45.0)
        await seen(lambda: 2 in venue.open)
        await trio.sleep(OVERLAP_S / 2)
        await venue.end(2)
        await trio.sleep(OVERLAP_S / 2 + 1)
        assert recorder.names == ["x:1", "x:2"], "both have to deliver together for so long"
        await trio.sleep(OVERLAP_S + 3)
        assert recorder.names == ["x:2"]
    check_whole(recorder, venue)
    recorder.check({"x:2"})


# -- two at all times --------------------------------------------------------------------------------------


async def test_of_two_connections_one_may_die_and_nothing_is_missed(autojump_clock: MockClock) -> None:
    venue = Venue()
    async with recorded(venue, *BOTH, redundancy=2) as recorder, trio.open_nursery() as nursery:
        nursery.start_soon(venue.go_on, BTC, 0.5, 40.0)
        nursery.start_soon(venue.go_on, ETH, 3.0, 40.0)
        await trio.sleep(4.75)
        assert recorder.names == ["x:1", "x:2"]
        for number in (1, 2, 3):  # whichever it is
            await venue.end(number)
            await trio.sleep(10)
        assert len(venue.open) == 2
        assert recorder.account.duplicates > 60
    check_whole(recorder, venue, BTC, ETH)
    recorder.check({"x:1", "x:2"})


async def test_when_both_die_it_is_one_gap_and_it_is_filled(autojump_clock: MockClock) -> None:
    venue = Venue()
    async with recorded(venue, redundancy=2) as recorder, trio.open_nursery() as nursery:
        nursery.start_soon(venue.go_on, BTC, 0.5, 40.0)
        await trio.sleep(5)
        venue.refuses = True
        for number in (1, 2):
            await venue.end(number)
        await trio.sleep(5)
        venue.refuses = False
        await trio.sleep(25)
    (gap,) = recorder.gaps()
    assert (gap.reason, gap.status) == (GapReason.DISCONNECT, GapStatus.FILLED)
    assert gap.missing == gap.recovered and gap.missing is not None and gap.missing >= 9
    assert sorted(recorder.ids(), key=str) == venue.ids()
    recorder.check({"x:1", "x:2"})


async def test_both_are_replaced_before_they_grow_too_old(autojump_clock: MockClock) -> None:
    venue = Venue()
    async with recorded(venue, redundancy=2, lifetime_s=LIFE_S) as recorder:
        await venue.go_on(BTC, 0.5, 65.0)
        assert len(recorder.names) in (2, 3, 4) and min(venue.open) > 4
        assert len(recorder.reported("replaced")) >= 4
    check_whole(recorder, venue)
    recorder.check()


# -- what else may happen meanwhile ------------------------------------------------------------------------


async def under_way(venue: Venue) -> None:
    """Waits until a second connection is there and delivers."""
    await seen(lambda: 2 in venue.open)
    await trio.sleep(1.5)


async def test_markets_may_change_while_a_connection_is_being_replaced(autojump_clock: MockClock) -> None:
    venue = Venue()
    async with recorded(venue, *BOTH, lifetime_s=LIFE_S) as recorder, trio.open_nursery() as nursery:
        nursery.start_soon(venue.go_on, BTC, 0.5, 150.0)
        nursery.start_soon(venue.go_on, ETH, 0.5, 150.0)
        await under_way(venue)
        await recorder.exchange.change(["SOL/USDT"], ["ETH/USDT"])
        await trio.sleep(3)
        recorder.check()
        assert len(recorder.reported("replacement_dropped")) == 1
        carried = sorted(s for one in recorder.exchange.connections for s in one.state.since)
        assert carried == ["BTC/USDT", "SOL/USDT"]
        await trio.sleep(30)  # and these are replaced in their time
        assert len(recorder.reported("replaced")) >= 1
        nursery.cancel_scope.cancel()
    recorder.check()
    ids = recorder.ids()
    assert len(ids) == len(set(ids)) and sorted(map(str, ids)) == venue.ids()[: len(ids)]
    assert all(gap.status is GapStatus.FILLED for gap in recorder.gaps())


async def test_a_market_may_be_added_while_a_connection_is_being_replaced(autojump_clock: MockClock) -> None:
    venue = Venue()
    async with recorded(venue, lifetime_s=LIFE_S) as recorder, trio.open_nursery() as nursery:
        nursery.start_soon(venue.go_on, BTC, 0.5, 70.0)
        await under_way(venue)
        await recorder.exchange.change(["ETH/USDT"], [])
        await venue.go_on(ETH, 0.5, 10.0)
        assert recorder.names == ["x:2", "x:3"] and len(recorder.reported("replaced")) == 1
        nursery.cancel_scope.cancel()
    check_whole(recorder, venue)
    recorder.check()


@pytest.mark.parametrize("more", [False, True])
async def test_a_removal_while_a_connection_is_being_replaced_leaves_as_many_copies_as_configured(
    more: bool, autojump_clock: MockClock
) -> None:
    """`more`: other connections with room for the market that stays are open."""
    venue, limits = Venue(), replace(dialect_of("okx").limits, symbols_per_connection=2)
    async with recorded(venue, *BOTH, redundancy=2, changes={"limits": limits}) as recorder:
        if more:
            await recorder.exchange.change(["SOL/USDT"], [])
        await recorder.exchange.pool.replace(recorder.connection("x:1"), "a test")
        await trio.sleep(1.0)
        await recorder.exchange.change([], ["ETH/USDT"])
        await trio.sleep(10.0)
        copies = [market.symbol for one in recorder.exchange.connections for market in one.spec.markets]
        assert sorted(copies) == ["BTC/USDT"] * 2 + ["SOL/USDT"] * 2 * more
        assert "x:2" in recorder.names
        await venue.trade()
        await trio.sleep(5.0)
    check_whole(recorder, venue)
    recorder.check()


@pytest.mark.parametrize("after_s", [0.0, 0.3, 2.0, OVERLAP_S + 1.0])
async def test_a_stall_detector_that_is_restarted_in_the_middle_continues_where_it_was(
    after_s: float, autojump_clock: MockClock
) -> None:
    venue = Venue()
    # long enough for the second connection not to be replaced as well
    async with recorded(venue, lifetime_s=2 * LIFE_S) as recorder, trio.open_nursery() as nursery:
        nursery.start_soon(venue.go_on, BTC, 0.5, 80.0)
        await seen(lambda: len(recorder.names) == 2)
        await trio.sleep(after_s)
        await recorder.tree.restart("x:stall_detector")
        await trio.sleep(2 * OVERLAP_S + 3)
        assert (recorder.names, venue.open) == (["x:2"], [2])
    check_whole(recorder, venue)
    recorder.check()


async def test_a_stall_detector_that_crashes_at_any_step_leaves_a_pool_that_continues(
    autojump_clock: MockClock,
) -> None:
    venue = Venue()
    steps, crashing = itertools.count(), trio.Event()

    def crash() -> None:
        """Mostly, once the thing was done and before anybody knew."""
        if crashing.is_set() and next(steps) % 3 != 2:
            raise ZeroDivisionError("a bug of ours")

    class BrittleSupervisor(Supervisor):
        async def start(self, spec: ChildSpec) -> None:
            await super().start(spec)
            crash()

        async def stop_child(self, name: str) -> None:
            await super().stop_child(name)
            crash()

    brittle = recorded(venue, lifetime_s=LIFE_S, supervisor=BrittleSupervisor)
    async with brittle as recorder, trio.open_nursery() as nursery:
        crashing.set()
        nursery.start_soon(venue.go_on, BTC, 0.5, 110.0)
        await trio.sleep(85)
        assert recorder.reported("replaced") and len(recorder.reported("backoff")) >= 2
        await seen(lambda: len(recorder.names) == 1)
        recorder.check({"x:stall_detector"})
    check_whole(recorder, venue)


async def test_what_a_connection_could_not_hand_over_before_it_was_replaced_is_kept(
    autojump_clock: MockClock,
) -> None:
    venue = Venue()
    async with (
        recorded(venue, lifetime_s=LIFE_S, rows=1, consuming=False) as recorder,
        trio.open_nursery() as nursery,
    ):
        await venue.go_on(BTC, 0.5, 40.0)
        assert "x:1" not in recorder.names and recorder.ids() == []
        await recorder.tree.restart("x:gaps")  # which had it in its hands
        nursery.start_soon(recorder.consume)
        await trio.sleep(3)
        nursery.cancel_scope.cancel()
    assert sorted(map(str, recorder.ids())) == venue.ids() and recorder.gaps() == []
    assert recorder.account.balanced


def slow_to_close(venue: Venue, number: int) -> Client:
    """Has a connection bring nothing more, and answer no close, for which its end waits."""
    client = next(client for client in venue.server.clients if client.number == number)

    async def never(data: bytes) -> None:
        del data
        await trio.sleep_forever()

    venue.unsubscribe(number, BTC, ETH)
    client.raw = never  # type: ignore[method-assign]
    return client


def recordings(recorder: Recorder, symbol: str) -> list[FeedEvent]:
    """When its recording began and ended, in order."""
    events = [feed.event for chunk in recorder.chunks for feed in chunk.feeds if feed.symbol == symbol]
    return [event for event in events if event in (FeedEvent.STARTED, FeedEvent.STOPPED)]


async def test_a_market_stays_removed_if_its_connection_is_renewed_while_another_ends(
    autojump_clock: MockClock,
) -> None:
    venue = Venue()
    changes = {"unsubscribe_text": None}
    async with (
        recorded(venue, *BOTH, changes=changes, redundancy=2) as recorder,
        trio.open_nursery() as nursery,
    ):
        client = slow_to_close(venue, 1)
        nursery.start_soon(recorder.exchange.change, [], ["ETH/USDT"])
        await seen(lambda: client.close_code)
        await venue.end(2)
        await seen(lambda: 3 in venue.open)
        assert "ETH" in venue.server.clients[2].asked[0], "it is still requested"
        await seen(lambda: recorder.names == ["x:3", "x:4"])
        await trio.sleep(10.0)
        nursery.cancel_scope.cancel()
    assert recordings(recorder, "ETH/USDT") == [FeedEvent.STARTED, FeedEvent.STOPPED]


async def test_a_change_that_is_cancelled_while_a_connection_ends_leaves_no_market_to_nobody(
    autojump_clock: MockClock,
) -> None:
    """A command over the control socket has only so much time."""
    venue = Venue()
    async with recorded(venue, *BOTH, changes={"unsubscribe_text": None}) as recorder:
        client = slow_to_close(venue, 1)
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(recorder.exchange.change, [], ["ETH/USDT"])
                await seen(lambda: client.close_code)
                scope.cancel()
        await seen(lambda: recorder.names == ["x:2"] and 2 in venue.open)
        await venue.go_on(BTC, 1.0, 10.0)
        await seen(lambda: venue.ids(BTC)[-1] in recorder.ids("BTC/USDT"))


@pytest.mark.parametrize("command", ["restart", "pause"])
async def test_a_connection_that_has_been_replaced_ends_whatever_an_operator_wants_of_it(
    command: str, autojump_clock: MockClock
) -> None:
    venue = Venue()
    async with recorded(venue) as recorder, trio.open_nursery() as nursery:
        client = slow_to_close(venue, 1)
        nursery.start_soon(recorder.exchange.pool.replace, recorder.exchange.pool.connections[0], "a test")
        nursery.start_soon(venue.go_on, BTC, 0.5, 60.0)
        await seen(lambda: client.close_code)
        with pytest.raises(RuntimeError, match="x:1 is stopping"):
            await getattr(recorder.tree, command)("x:1")
        await seen(lambda: recorder.names == ["x:2"])
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("paused", ["x", "x:stall_detector"])
async def test_a_pause_while_a_replaced_connection_ends_leaves_the_new_one(
    paused: str, autojump_clock: MockClock
) -> None:
    venue = Venue()
    async with recorded(venue) as recorder, trio.open_nursery() as nursery:
        client = slow_to_close(venue, 1)
        nursery.start_soon(recorder.exchange.pool.replace, recorder.exchange.pool.connections[0], "a test")
        nursery.start_soon(venue.go_on, BTC, 0.5, 600.0)
        await seen(lambda: client.close_code)
        await recorder.tree.pause(paused)
        await trio.sleep(PoolLimits().replacement_s)
        venue.refuses = True  # the new one delivers nothing at first
        for number in venue.open:
            await venue.end(number)
        await recorder.tree.resume(paused)
        await trio.sleep(3.0)
        venue.refuses = False
        await trio.sleep(3 * OVERLAP_S)
        assert recorder.names == ["x:2"] and recorder.connection("x:2").state.since
        assert [event.event for event in recorder.reported("replaced", "replacement_failed")] == ["replaced"]
        recorder.check({"x:2"})
        nursery.cancel_scope.cancel()


async def test_after_a_crash_at_its_end_a_replaced_connection_leaves_the_new_one(autojump_clock: MockClock) -> None:
    venue, crashed = Venue(), trio.Event()

    class BrittleSupervisor(Supervisor):
        async def stop_child(self, name: str) -> None:
            await super().stop_child(name)
            if not crashed.is_set():
                crashed.set()
                raise ZeroDivisionError("a bug of ours")

    async with recorded(venue, supervisor=BrittleSupervisor) as recorder, trio.open_nursery() as nursery:
        nursery.start_soon(venue.go_on, BTC, 0.5, 600.0)
        await recorder.exchange.pool.replace(recorder.exchange.pool.connections[0], "a test")
        await crashed.wait()
        venue.refuses = True
        await venue.end(2)
        await trio.sleep(2 * PoolLimits().replacement_s)
        venue.refuses = False
        await seen(lambda: recorder.names == ["x:2"] and recorder.connection("x:2").state.since)
        recorder.check({"x:2", "x:stall_detector"})
        nursery.cancel_scope.cancel()


async def test_a_market_stays_removed_if_a_replacement_of_its_connection_begins_meanwhile(
    autojump_clock: MockClock,
) -> None:
    venue = Venue()
    changes = {"unsubscribe_text": None}
    async with (
        recorded(venue, *BOTH, changes=changes, redundancy=2) as recorder,
        trio.open_nursery() as nursery,
    ):
        pool = recorder.exchange.pool
        first, second = pool.connections
        await pool.replace(first, "a test")
        client = slow_to_close(venue, 1)
        await seen(lambda: client.close_code)  # it is about to end
        slow_to_close(venue, 2)
        nursery.start_soon(pool.replace, second, "a test")
        await trio.sleep(0.01)
        nursery.start_soon(recorder.exchange.change, [], ["ETH/USDT"])
        await seen(lambda: 4 in venue.open)
        await seen(lambda: recorder.names == ["x:5", "x:6"])
        await trio.sleep(10.0)
        nursery.cancel_scope.cancel()
    assert any("ETH" in text for text in venue.server.clients[3].asked), "it was still requested"
    assert recordings(recorder, "ETH/USDT") == [FeedEvent.STARTED, FeedEvent.STOPPED]


@pytest.mark.parametrize("after_s", [0.0, 0.05, 1.0, OVERLAP_S])
async def test_a_stop_in_the_middle_is_orderly(after_s: float, autojump_clock: MockClock) -> None:
    venue = Venue()
    async with recorded(venue, lifetime_s=LIFE_S) as recorder, trio.open_nursery() as nursery:
        nursery.start_soon(venue.go_on, BTC, 0.5, 100.0)
        await seen(lambda: len(recorder.names) == 2)
        await trio.sleep(after_s)
        nursery.cancel_scope.cancel()
        began = trio.current_time()
    assert trio.current_time() - began <= STOP_S
    check_whole(recorder, venue)
    assert recorder.reported("backoff", "failed", "stuck") == []
    assert recorder.account.balanced
