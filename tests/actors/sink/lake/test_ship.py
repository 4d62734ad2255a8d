"""The ship actor: each batch once, at its time, whatever the lake does, and never in the way of the store."""

import time
from itertools import pairwise
from random import Random

import pytest
import trio
from trio.testing import MockClock

from actors.sink.lake.backlog import ENTRIES_MAX, Backlog, Behind
from actors.sink.lake.errors import LakeMisconfigured
from actors.sink.lake.lake import Marks
from actors.sink.lake.ship import LATE_INTERVALS, ROWS_MAX, ROWS_PER_S_MAX
from supervisor import MisconfiguredError, leaves
from tests.harness.lake_fakes import EVERY_S, Down, World, until

SECOND_NS = 1_000_000_000
PATIENCE_S = 15.0


@pytest.fixture
def clock() -> MockClock:
    """Jumps when nothing has happened for a moment, which a call in a thread may take."""
    return MockClock(autojump_threshold=0.01)


async def test_what_is_stored_is_sent_at_every_interval(clock: MockClock) -> None:
    async with World().running() as world:
        for number in range(1, 61):
            world.give(number)
            await trio.sleep(1.0)
        await until(lambda: world.lake.marks_kept.committed == 60)
        times = [at for at, _, _, _ in world.lake.commits]
        assert len(times) <= 8 and world.lake.marks_read == world.opened == 1
        assert all(after - before == pytest.approx(EVERY_S, abs=2.5) for before, after in pairwise(times))
        assert world.store.ship_mark == world.ship.mark == 60 and world.ship.behind() == Behind()
        assert (world.ship.commits, world.ship.ticks, world.ship.failures) == (len(times), 60, 0)
        assert world.events == [] and world.ear.reason == ""


async def test_a_commit_that_takes_long_is_followed_sooner_by_the_next(clock: MockClock) -> None:
    world = World()
    world.give(1)
    world.lake.held.clear()
    async with world.running():
        await until(lambda: world.lake.hanging == 1)
        await trio.sleep(0.4 * EVERY_S)
        world.give(2)
        world.lake.held.set()
        await until(lambda: world.ship.mark == 2)
    (first, *_), (second, *_) = world.lake.commits
    assert second - first < 0.5 * EVERY_S  # 0.2 of it, and moments


async def test_until_the_mark_is_known_retention_deletes_nothing(clock: MockClock) -> None:
    world = World()
    assert world.store.ship_mark == 0
    world.lake.marks_kept, world.lake.error = Marks(7, 7), Down("no route")
    async with world.running():
        await until(lambda: world.ship.failures > 1)
        assert world.store.ship_mark == 0 and world.ship.mark is None
        world.lake.error = None
        await until(lambda: world.store.ship_mark == 7)


async def test_a_commit_that_was_begun_is_repeated_as_it_was(clock: MockClock) -> None:
    world = World()
    for number in range(1, 10):
        world.give(number)
    world.lake.marks_kept = Marks(2, 5)
    async with world.running():
        await until(lambda: world.ship.mark == 9)
    assert [(above, through) for _, above, through, _ in world.lake.commits] == [(2, 5), (5, 9)]
    assert world.store.asked[:2] == [(2, 5), (5, None)]


async def test_a_commit_that_was_begun_and_whose_rows_were_lost_is_ended_without_rows(clock: MockClock) -> None:
    world = World()
    world.give(9)
    world.lake.marks_kept = Marks(2, 5)
    async with world.running():
        await until(lambda: world.ship.mark == 9)
    assert [commit[1:] for commit in world.lake.commits] == [(2, 5, 0), (5, 9, 1)]


@pytest.mark.parametrize("marks", [Marks(7, 7), Marks(1, 7)])
async def test_what_a_copy_of_the_file_has_sent_is_not_taken_for_sent(clock: MockClock, marks: Marks) -> None:
    """Both machines count the same batches: nothing tells those of one from those of the other but the file."""
    world = World()
    world.give(1)
    async with world.running():
        await until(lambda: world.ship.mark == 1)
    world.lake.marks_kept = marks
    world.give(5)
    for _ in range(2):  # tried again later, it is no better
        with pytest.raises(ExceptionGroup) as caught, trio.fail_after(100):
            await world.ship.run(world.ear)
        assert [type(one) for one in leaves(caught.value)] == [LakeMisconfigured]
        assert "give one of them another name in [lake] recorder" in str(world.ship.trouble)
    assert world.store.ship_mark == 1 and len(world.lake.commits) == 1


async def test_a_copy_of_the_file_that_sends_meanwhile_is_noticed(clock: MockClock) -> None:
    world = World()
    world.give(1)

    async def another_sends() -> None:
        async with world.running():
            await until(lambda: world.ship.mark == 1)
            world.lake.marks_kept = Marks(7, 7)
            world.give(5)
            await trio.sleep_forever()

    with pytest.raises(ExceptionGroup) as caught, trio.fail_after(100):
        await another_sends()
    assert [type(one) for one in leaves(caught.value)] == [LakeMisconfigured]
    assert world.store.ship_mark == 1


async def test_what_another_process_of_this_store_has_sent_is_taken_for_sent(clock: MockClock) -> None:
    world = World()
    world.give(1)
    async with world.running():
        await until(lambda: world.ship.mark == 1)
    world.give(5)
    world.give(7)
    world.lake.marks_kept = Marks(5, 7)
    async with world.running():
        await until(lambda: world.ship.mark == 7)
    assert [commit[1:] for commit in world.lake.commits] == [(0, 1, 1), (5, 7, 1)]


async def test_a_commit_without_rows_whose_answer_was_lost_is_ours(clock: MockClock) -> None:
    world = World()
    world.lake.marks_kept, world.lake.lost_answer = Marks(2, 5), True
    async with world.running():
        await until(lambda: world.ship.mark == 5)
    assert world.ship.failures == 1


async def test_a_commit_whose_answer_was_lost_is_not_made_twice(clock: MockClock) -> None:
    world = World()
    world.give(1)
    world.lake.lost_answer = True
    async with world.running():
        await until(lambda: world.ship.failures == 1)
        world.give(2)
        await until(lambda: world.ship.mark == 2)
        assert [commit[1:] for commit in world.lake.commits] == [(0, 1, 1), (1, 2, 1)]
        assert world.lake.marks_read == 2


async def test_an_outage_is_one_event_and_health_names_it_once_it_lasts(clock: MockClock) -> None:
    async with World().running() as world:
        world.give(1)
        await until(lambda: world.ship.mark == 1)
        world.lake.error = Down("no route to host")
        world.give(2)
        await until(lambda: world.ship.failures > 3)
        assert world.events == ["lake_unreachable"] and world.ear.reason == ""
        world.ship._backlog.begins(time.time_ns() - int((LATE_INTERVALS * EVERY_S + 1) * SECOND_NS))
        await until(lambda: "100 s behind: out of reach: no route to host" in world.ear.reason)
        world.lake.error = None
        await until(lambda: world.ship.mark == 2 and not world.ear.reason)
        await until(lambda: world.events == ["lake_unreachable", "lake_caught_up"])
        assert world.ship.trouble is None
        await trio.sleep(100)
        assert len(world.events) == 2


async def test_a_lake_that_was_never_reached_is_late_once_the_run_lasts(clock: MockClock) -> None:
    world = World()
    world.lake.error = Down("no route to host")
    async with world.running():
        await until(lambda: world.ship.failures > 0)
        assert world.ear.reason == "" and world.ship.behind().seconds < PATIENCE_S
        world.ship._began_ns -= 101 * SECOND_NS
        await until(lambda: "no route to host" in world.ear.reason)


async def test_failed_calls_are_repeated_less_and_less_often(clock: MockClock) -> None:
    world = World()
    world.lake.error = Down("x")
    async with world.running():
        await trio.sleep(100)
        assert 6 <= world.ship.failures <= 15


async def test_a_backlog_goes_on_at_once_at_a_bounded_rate(clock: MockClock) -> None:
    world = World()
    rows = ROWS_MAX // 2
    for number in range(1, 9):
        world.give(number, rows)
    assert world.ship.behind().batches == 8 and world.ship.behind().ticks == 8 * rows
    async with world.running():
        began = trio.current_time()
        await until(lambda: world.ship.mark == 8)
        took_s = trio.current_time() - began
        assert [ticks for _, _, _, ticks in world.lake.commits] == [ROWS_MAX] * 4
        wanted_s = 3 * ROWS_MAX / ROWS_PER_S_MAX
        assert wanted_s <= took_s < 4 * EVERY_S


async def test_a_locked_database_is_no_failure_of_the_lake(clock: MockClock) -> None:
    world = World()
    world.give(1)
    world.store.locked = True
    async with world.running():
        await until(lambda: len(world.store.asked) > 5)
        assert world.ship.failures == 0 and world.events == []
        world.store.locked = False
        await until(lambda: world.ship.mark == 1)


async def test_a_store_that_gets_another_id_has_other_marks(clock: MockClock) -> None:
    world = World()
    world.store.store_id = ""
    world.give(1)
    async with world.running():
        await trio.sleep(30)
        assert world.lake.marks_read == 0 and world.ship.failures == 0
        world.store.store_id = "store-1"
        await until(lambda: world.ship.mark == 1)
        world.store.store_id, world.lake.marks_kept = "store-2", Marks()
        world.give(2)
        await until(lambda: world.lake.commits[-1][1:3] == (0, 2))


async def test_the_store_is_read_under_its_limiter_and_a_slow_lake_never_holds_it(clock: MockClock) -> None:
    world = World()
    held: list[int] = []
    world.store.during = lambda: held.append(world.limiter.statistics().borrowed_tokens)
    world.give(1)
    world.lake.held.clear()
    async with world.running():
        await until(lambda: world.lake.hanging == 1)
        assert world.limiter.borrowed_tokens == 0 and held == [1] and world.ship.is_calling
        await trio.sleep(40)
        world.ship._backlog.begins(time.time_ns() - 101 * SECOND_NS)
        await until(lambda: "it does not answer" in world.ear.reason)
        world.lake.held.set()
        await until(lambda: world.ship.mark == 1 and not world.ear.reason)


async def test_a_stop_sends_what_is_left(clock: MockClock) -> None:
    async with World().running() as world:
        world.give(1)
        await until(lambda: world.ship.mark == 1)
        world.give(2, ROWS_MAX)
        world.give(3)
        world.ship.stop()
        with trio.fail_after(5):
            await world.ended.wait()
        assert world.ship.mark == 3 and world.events == []


async def test_a_stop_waits_some_seconds_for_a_lake_that_hangs_and_then_leaves_the_call_alone() -> None:
    world = World()
    world.ship = world.new_ship(finish_s=0.3)
    async with world.running():
        world.give(1)
        world.lake.held.clear()
        await until(lambda: world.lake.hanging == 1)
        began = trio.current_time()
        world.ship.stop()
        await world.ended.wait()
        assert 0.2 < trio.current_time() - began < PATIENCE_S
        assert world.events == ["lake_left"] and world.ship.is_calling
        world.lake.held.set()
        await until(lambda: not world.ship.is_calling)


async def test_a_stop_with_a_lake_out_of_reach_leaves_the_rest_for_the_next_start(clock: MockClock) -> None:
    world = World()
    world.give(1)
    world.lake.error = Down("x")
    async with world.running():
        await until(lambda: world.ship.failures == 1)
        world.ship.stop()
        await world.ended.wait()
    assert world.events == ["lake_unreachable", "lake_left"]
    world.lake.error, world.ship = None, world.new_ship()
    world.store.touched_ns = time.time_ns() - 50 * SECOND_NS
    world.store.locked = True
    async with world.running():
        await until(lambda: world.ship.mark == 0)
        assert 50 <= world.ship.behind().seconds < 50 + PATIENCE_S
        world.store.locked = False
        await until(lambda: world.ship.mark == 1)
    assert world.ship.behind() == Behind()


async def test_after_a_pause_the_marks_are_read_when_the_call_that_went_on_has_ended(clock: MockClock) -> None:
    world = World()
    world.give(1)
    world.lake.held.clear()
    async with world.running():
        await until(lambda: world.lake.hanging == 1)
    async with world.running():
        await trio.sleep(5)
        assert world.lake.marks_read == 1 and world.lake.commits == []
        world.lake.held.set()
        world.give(2)
        await until(lambda: world.ship.mark == 2)
        assert (world.lake.marks_read, world.opened) == (2, 1)
        assert [through for _, _, through, _ in world.lake.commits] == [1, 2]


async def test_what_only_an_operator_can_correct_is_shown_until_it_is_corrected(clock: MockClock) -> None:
    world = World()
    world.give(1)
    world.lake.error = MisconfiguredError("no such bucket")
    with pytest.raises(ExceptionGroup) as caught:
        await world.ship.run(world.ear)
    assert [type(one) for one in leaves(caught.value)] == [MisconfiguredError]
    assert world.ship.trouble == "no such bucket" and world.ship.failures == 1
    world.lake.error = None
    async with world.running():
        await until(lambda: world.ship.mark == 1 and world.ship.trouble is None)


async def test_an_error_that_waiting_does_not_help_ends_the_actor(clock: MockClock) -> None:
    world = World()
    world.lake.error = ZeroDivisionError("a bug")
    with pytest.raises(ExceptionGroup) as caught:
        await world.ship.run(world.ear)
    assert [type(one) for one in leaves(caught.value)] == [ZeroDivisionError]


def test_a_backlog_counts_what_is_missing_and_how_old_it_is() -> None:
    backlog = Backlog()
    assert backlog.behind(0) == Behind()
    backlog.earlier(5, 10 * SECOND_NS)
    backlog.stored(6, 3, 20 * SECOND_NS)
    backlog.stored(7, 4, 21 * SECOND_NS)
    assert backlog.behind(30 * SECOND_NS) == Behind(2, 7, 20.0)
    backlog.begins(2 * SECOND_NS)
    assert backlog.behind(30 * SECOND_NS).seconds == 28.0
    backlog.shipped(5)
    assert backlog.behind(30 * SECOND_NS) == Behind(2, 7, 10.0)
    backlog.shipped(6)
    assert backlog.behind(30 * SECOND_NS) == Behind(1, 4, 9.0)
    assert backlog.behind(0).seconds == 0.0
    backlog.shipped(7)
    assert backlog.behind(30 * SECOND_NS) == Behind()


def test_a_backlog_of_days_takes_no_more_memory_and_counts_about_the_same() -> None:
    random, backlog = Random(5), Backlog()
    ticks = [random.randint(0, 9) for _ in range(20 * ENTRIES_MAX)]
    for number, count in enumerate(ticks):
        backlog.stored(number, count, number * SECOND_NS)
        assert len(backlog._entries) <= ENTRIES_MAX + 1
    now = len(ticks) * SECOND_NS
    assert backlog.behind(now) == Behind(len(ticks), sum(ticks), len(ticks))
    for mark in range(0, len(ticks), 777):
        backlog.shipped(mark)
        behind, exact = backlog.behind(now), len(ticks) - mark - 1
        assert exact <= behind.batches <= exact + 64 and behind.ticks >= sum(ticks[mark + 1 :])
    backlog.shipped(len(ticks))
    assert backlog.behind(now) == Behind()
