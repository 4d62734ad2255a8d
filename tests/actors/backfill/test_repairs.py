"""What was lost comes back once: repairs of a market whose trades are all known, and the gaps that they close."""

from functools import partial
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.backfill.fetch_job import DEFAULT_LIMITS, BackfillLimits
from actors.backfill.repairs import TooManyRepairs
from actors.model.records import FeedEvent, FeedRow, GapStatus
from actors.model.ticks import IdPromise
from tests.harness.amounts import amount
from tests.harness.continuity_file import put_audit, put_feeds
from tests.harness.continuity_rows import BTC, SECOND_NS, T0_NS, admit, block_of, one, tick
from tests.harness.repair_world import Crashed, World, time_of

PROMISES = tuple(IdPromise)
GAPPED = (IdPromise.CONTIGUOUS, IdPromise.OPAQUE)  # their gaps are kept in two ways
OLD = 30  # trades of an earlier run, of which the memory knows little

Happening = tuple[str, list[int]]
happening: st.SearchStrategy[Any] = st.one_of(
    st.tuples(st.just("live"), st.lists(st.booleans(), min_size=1, max_size=5)),
    st.tuples(st.just("late"), st.lists(st.integers(0, 60), min_size=1, max_size=4)),
    st.tuples(st.just("fill"), st.lists(st.integers(0, 60), min_size=1, max_size=6)),
    st.tuples(st.just("lose"), st.lists(st.integers(0, 60), min_size=1, max_size=6)),
    st.tuples(st.just("flush"), st.just([])),
)


def scripted(world: World, what: Happening) -> None:
    """One thing that happens beside the repair; places count from the newest trade back."""
    kind, numbers = what
    places = sorted({max(0, world.traded - 1 - back) for back in numbers})
    # What the stream and an ordinary backfill bring lies within the memory, as it does where they are used.
    lately = [at for at in places if at >= OLD]
    if kind == "live":
        world.live(*map(bool, numbers))
    elif kind == "late" and lately:
        world.arrive(lately, "stream")
    elif kind == "fill" and lately:
        world.arrive(lately, "backfill")
    elif kind == "lose":
        world.lose(places)
    elif kind == "flush":
        world.flush()


@pytest.mark.parametrize("promise", PROMISES)
@settings(max_examples=amount(20, 2_000))
@given(
    lost=st.sets(st.integers(1, OLD - 2), max_size=12),
    before=st.lists(happening, max_size=6),
    meanwhile=st.lists(happening, max_size=25),
    budget=st.integers(1, 8),
    newest_first=st.booleans(),
)
def test_whatever_happens_during_a_repair_nothing_is_stored_twice_and_an_undisturbed_one_is_complete(
    promise: IdPromise,
    lost: set[int],
    before: list[Happening],
    meanwhile: list[Happening],
    budget: int,
    newest_first: bool,
) -> None:
    async def play() -> None:
        world = World(promise, stored=set(range(OLD)) - lost)
        world.budget = budget
        for what in before:
            scripted(world, what)
        world.script = iter([partial(scripted, world, what) for what in meanwhile])
        await world.repair(0, 80, newest_first=newest_first)
        assert world.copies == []
        world.script = iter(())
        order = await world.repair(0, world.traded, newest_first=newest_first)
        assert world.copies == []
        assert world.lacking == []
        assert order.complete

    trio.run(play, clock=trio.testing.MockClock(autojump_threshold=0))


async def test_a_replay_after_a_repair_of_the_time_before_the_recording_stores_nothing_twice(
    autojump_clock: trio.testing.MockClock,
) -> None:
    world = World(IdPromise.CONTIGUOUS)
    world.traded = 20
    world.live(True, True, True)  # the record begins with these
    order = await world.repair(0, 22)
    assert order.stored == 20
    world.arrive(range(23), "snapshot")
    world.flush()
    assert world.copies == []


@pytest.mark.parametrize("source", ["stream", "backfill"])
async def test_a_missing_range_that_is_filled_while_it_is_requested_is_filled_once(
    source: str, autojump_clock: trio.testing.MockClock
) -> None:
    for moment in range(6):
        world = World(IdPromise.CONTIGUOUS)
        world.live(True, True, False, True, True)
        world.script = iter([*[lambda: None] * moment, partial(world.arrive, [2], source)])
        await world.repair(0, 4)
        assert world.copies == [] and world.lacking == [], moment


async def test_it_counts_what_came_and_what_had_been_missing(autojump_clock: trio.testing.MockClock) -> None:
    world = World(IdPromise.CONTIGUOUS, stored=set(range(OLD)) - {7, 8, 20})
    world.budget = 2
    order = await world.repair(0, OLD - 1)
    assert (order.complete, order.came, order.stored) == (True, OLD, 3)
    again = await world.repair(0, OLD - 1)
    assert (again.complete, again.came, again.stored) == (True, OLD, 0)
    assert world.told == [order, again]


@pytest.mark.parametrize("promise", PROMISES)
async def test_a_crash_in_the_middle_is_carried_on_and_stores_nothing_twice(
    promise: IdPromise, autojump_clock: trio.testing.MockClock
) -> None:
    world = World(promise, stored={0, 5, OLD - 1})
    order = world.repairs.order(BTC, time_of(0), time_of(OLD - 1))
    for pages in range(1, 4):
        world.pages_left = pages
        with pytest.raises(Crashed):
            await world.carry_on()
        assert order.complete is None
        await trio.sleep(DEFAULT_LIMITS.crashed_s)
    world.pages_left = 100
    await world.carry_on()
    world.flush()
    assert (order.complete, order.stored) == (True, OLD - 3)
    assert world.copies == [] and world.lacking == []


@pytest.mark.parametrize("promise", PROMISES)
async def test_a_file_that_another_process_writes_delays_a_repair(
    promise: IdPromise, autojump_clock: trio.testing.MockClock
) -> None:
    world = World(promise, stored=set(range(OLD)) - {3, 4}, real_file=True)
    world.held = True
    order = world.repairs.order(BTC, time_of(0), time_of(OLD - 1))
    for _ in range(600):
        await world.carry_on()
        await trio.sleep(60)
    assert order.reason == "another process writes the file"
    world.held = False
    await trio.sleep(600)
    await world.carry_on()
    world.flush()
    assert (order.complete, order.stored) == (True, 2)
    assert world.copies == [] and world.lacking == []


async def test_a_file_that_is_taken_in_the_middle_of_a_page_delays_a_repair_too(
    autojump_clock: trio.testing.MockClock,
) -> None:
    for moment in range(2, 6):
        world = World(IdPromise.CONTIGUOUS, stored=set(range(OLD)) - {3, 4})
        world.script = iter([*[lambda: None] * moment, partial(setattr, world, "held", True)])
        order = world.repairs.order(BTC, time_of(0), time_of(OLD - 1))
        await world.carry_on()
        assert order.reason == "another process writes the file"
        world.held = False
        await trio.sleep(600)
        await world.carry_on()
        world.flush()
        assert (order.complete, world.copies, world.lacking) == (True, [], [])


async def test_a_market_that_is_not_recorded_any_more_ends_the_order(
    autojump_clock: trio.testing.MockClock,
) -> None:
    world = World(IdPromise.OPAQUE, stored=range(3))
    order = world.repairs.order("ETH/USDT", time_of(0), time_of(2))
    await world.carry_on()
    assert (order.complete, order.reason) == (False, "the market is no longer recorded")


async def test_a_recent_range_is_requested_when_the_history_has_it(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.backfill.repairs.time.time_ns", lambda: time_of(10))
    world = World(IdPromise.CONTIGUOUS, stored=range(11))
    order = world.repairs.order(BTC, time_of(0), time_of(10))
    await world.carry_on()
    assert order.came == 0
    await trio.sleep(2)
    await world.carry_on()
    assert (order.complete, order.came) == (True, 11)


def test_orders_that_are_done_make_room_and_no_others() -> None:
    async def play() -> None:
        world = World(IdPromise.OPAQUE, limits=BackfillLimits(repairs_max=9))
        orders = [world.repairs.order(BTC, T0_NS, T0_NS) for _ in range(9)]
        with pytest.raises(TooManyRepairs, match="9 repairs"):
            world.repairs.order(BTC, T0_NS, T0_NS)
        orders[7].complete = True
        world.repairs.order(BTC, T0_NS, T0_NS)
        assert len(world.repairs.jobs) == 9
        assert orders[7] not in world.repairs.jobs

    trio.run(play)


# -- gaps -------------------------------------------------------------------------------------------------


def with_gap(promise: IdPromise, status: GapStatus, *, old: bool) -> World:
    """Trades 10 to 14 did not come and were given up; `old`: so long ago that the memory has no part in it."""
    world = World(promise, real_file=True)
    continuity = world.continuity
    continuity.connected([BTC], T0_NS)
    world.live(*[True] * 10)
    if promise is IdPromise.CONTIGUOUS:
        world.live(*[False] * 5, *[True] * 10)
        tick(continuity, 100.0)
    else:
        continuity.disconnected([BTC], time_of(10))
        world.live(*[False] * 5)
        continuity.connected([BTC], time_of(14))
        world.live(*[True] * 10)
    (gap,) = continuity.unfinished()
    continuity.resolved(gap.gap_id, 0, status, time_of(25))
    world.flush()
    assert world.con is not None
    put_feeds(world.con, [FeedRow(T0_NS, "x", BTC, FeedEvent.STARTED, run_id="r")])
    put_audit(world.con, "r", time_of(60))
    if old:
        world.restart(range(25))
        world.continuity.take_gaps()  # without the downtime: the file has the gap alone
    return world


def gap_state(world: World) -> tuple[str, int]:
    """What the file says of the gap."""
    assert world.con is not None
    row = world.con.execute(
        "SELECT status, recovered FROM gaps WHERE reason IN ('sequence', 'disconnect')"
    ).fetchone()
    assert row is not None
    return row[0], row[1]


def covered(world: World) -> set[str]:
    assert world.con is not None
    return {word for (word,) in world.con.execute("SELECT status FROM coverage").fetchall()}


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("status", [GapStatus.LOST, GapStatus.UNKNOWN])
@pytest.mark.parametrize("promise", GAPPED)
async def test_a_gap_that_lies_in_the_range_is_filled_and_its_time_is_repaired(
    promise: IdPromise, status: GapStatus, old: bool, autojump_clock: trio.testing.MockClock
) -> None:
    world = with_gap(promise, status, old=old)
    assert covered(world) == {"live", status.value}
    order = await world.repair(0, 24)
    assert (order.complete, order.stored, list(order.gaps.values())) == (True, 5, ["filled"])
    assert gap_state(world) == ("filled", 5)
    assert covered(world) == {"live", "repaired"}
    assert world.copies == [] and world.lacking == []


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("promise", GAPPED)
async def test_a_gap_of_which_a_part_lies_in_the_range_is_partial_and_then_filled(
    promise: IdPromise, old: bool, autojump_clock: trio.testing.MockClock
) -> None:
    world = with_gap(promise, GapStatus.LOST, old=old)
    order = await world.repair(0, 11)
    assert (order.complete, order.stored, list(order.gaps.values())) == (True, 2, ["partial"])
    assert gap_state(world) == ("partial", 2)
    assert covered(world) == {"live", "lost"}
    again = await world.repair(5, 24)
    assert (again.stored, list(again.gaps.values())) == (3, ["filled"])
    assert gap_state(world) == ("filled", 5)


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("promise", GAPPED)
async def test_where_the_history_has_nothing_nothing_changes(
    promise: IdPromise, old: bool, autojump_clock: trio.testing.MockClock
) -> None:
    world = with_gap(promise, GapStatus.LOST, old=old)
    world.depth_from = 20
    order = await world.repair(0, 24)
    assert (order.complete, order.stored, order.gaps) == (False, 0, {})
    assert order.reason == "x gives nothing before that"
    assert gap_state(world) == ("lost", 0)


@pytest.mark.parametrize("old", [False, True])
async def test_ids_that_the_history_lacks_too_stay_lost(old: bool, autojump_clock: trio.testing.MockClock) -> None:
    world = with_gap(IdPromise.CONTIGUOUS, GapStatus.LOST, old=old)
    world.lacks = {11, 12}
    order = await world.repair(0, 24)
    assert (order.stored, list(order.gaps.values())) == (3, ["partial"])
    assert gap_state(world) == ("partial", 3)


async def test_an_unknown_range_in_which_nothing_was_traded_turns_out_to_be_live(
    autojump_clock: trio.testing.MockClock,
) -> None:
    world = with_gap(IdPromise.OPAQUE, GapStatus.UNKNOWN, old=True)
    await world.repair(9, 15)
    assert world.con is not None
    world.con.execute("DELETE FROM gap_states WHERE status IN ('filled', 'partial')")
    order = await world.repair(0, 24)
    assert (order.stored, list(order.gaps.values())) == (0, ["filled"])
    assert gap_state(world) == ("filled", 0)
    assert covered(world) == {"live"}


async def test_what_a_backfill_closed_between_two_rounds_is_not_closed_over(
    autojump_clock: trio.testing.MockClock,
) -> None:
    world = with_gap(IdPromise.OPAQUE, GapStatus.OPEN, old=False)
    world.budget = 1
    order = world.repairs.order(BTC, time_of(0), time_of(24))
    await world.carry_on()
    (gap,) = world.continuity.unfinished()
    world.arrive(range(10, 15), "backfill")
    world.continuity.resolved(gap.gap_id, 5, GapStatus.FILLED, time_of(30))
    world.budget = 100
    for _ in range(3):
        await world.carry_on()
        await trio.sleep(1)
    world.flush()
    assert (order.complete, order.stored, order.gaps) == (True, 0, {})
    assert gap_state(world) == ("filled", 5)


async def test_a_lasting_outage_stays_open_whatever_a_repair_recovers_of_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    world = World(IdPromise.CONTIGUOUS, real_file=True)
    world.continuity.connected([BTC], T0_NS)
    world.live(*[True] * 5)
    world.continuity.disconnected([BTC], time_of(5))
    world.live(*[False] * 10)
    order = await world.repair(7, 12)
    assert (order.stored, list(order.gaps.values())) == (6, ["open"])
    assert gap_state(world)[0] == "open"
    assert world.copies == []


def test_lost_rows_are_stored_again_and_others_are_not() -> None:
    continuity = one(IdPromise.OPAQUE)
    admit(continuity, ["a", "b", "c"])
    block = block_of([(BTC, name, T0_NS + SECOND_NS) for name in ("a", "b", "c", "d")], "backfill")
    assert continuity.deduplicator.remembered(block) == {"a", "b", "c"}
    copies = continuity.deduplicator.admit_again(
        block, continuity.deduplicator.snapshot(BTC), {"a"}, 0.0, gone={"b"}
    )
    assert (copies, list(block.trade_id)) == (2, ["b", "d"])
