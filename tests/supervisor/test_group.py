"""Promises of a group: which siblings are restarted with a child that crashed, and in which order."""

import pytest
import trio

from supervisor import (
    Backoff,
    ChildSpec,
    Context,
    Intensity,
    MisconfiguredError,
    Restart,
    State,
    Strategy,
    Supervisor,
    TransientError,
)
from tests.harness.supervisor_fakes import Record, crashes, polite, successively, works

BUG = ValueError("bug")
QUICK = Backoff(1, 4, 60)
ALL, REST, ONE = Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE, Strategy.ONE_FOR_ONE


@pytest.mark.parametrize(
    ("strategy", "diary"),
    [
        (ONE, ["-b", "+b"]),
        (REST, ["-b", "-d", "-c", "+b", "+c", "+d"]),
        (ALL, ["-b", "-d", "-c", "-a", "+a", "+b", "+c", "+d"]),
    ],
)
async def test_linked_children_stop_in_reverse_and_start_in_order(
    autojump_clock: object, strategy: Strategy, diary: list[str]
) -> None:
    record = Record()
    async with Supervisor("root", on_event=record, strategy=strategy) as root:
        await root.start(ChildSpec("a", record.writes(polite)))
        await root.start(ChildSpec("b", record.writes(successively(crashes(BUG, after_s=5), works)), backoff=QUICK))
        await root.start(ChildSpec("c", record.writes(polite)))
        await root.start(ChildSpec("d", record.writes(polite)))
        record.diary.clear()
        await trio.sleep(20)
        assert record.diary == diary
        assert {row.state for row in root.snapshot()} == {State.OK}


async def test_waiting_siblings_show_for_which_child_and_how_long(autojump_clock: object) -> None:
    async with Supervisor("root", on_event=Record(), strategy=ALL) as root:
        await root.start(ChildSpec("a", works))
        await root.start(ChildSpec("b", crashes(TransientError("refused", retry_after_s=100), after_s=1)))
        await trio.sleep(2)
        a, b = root.snapshot()
        assert (a.state, a.reason) == (State.BACKOFF, "restarted with b")
        assert a.next_retry_at_ns is not None
        assert b.next_retry_at_ns is not None
        assert abs(a.next_retry_at_ns - b.next_retry_at_ns) < 1e9


async def test_none_starts_again_before_all_have_ended(autojump_clock: object) -> None:
    async def slow_to_end(context: Context) -> None:
        context.ok()
        await context.stopping.wait()
        await trio.sleep(30)

    record = Record()
    async with Supervisor("root", on_event=record, strategy=ALL) as root:
        await root.start(ChildSpec("a", record.writes(slow_to_end), stop_s=40))
        await root.start(ChildSpec("b", record.writes(successively(crashes(BUG, after_s=1), works)), backoff=QUICK))
        await root.start(ChildSpec("c", record.writes(slow_to_end), stop_s=40))
        record.diary.clear()
        begun = trio.current_time()
        await trio.sleep(100)
        assert record.diary == ["-b", "-c", "-a", "+a", "+b", "+c"]
        assert record.times("a", "starting")[1] == begun + 1 + 60


async def test_siblings_stopped_for_a_restart_keep_their_input(autojump_clock: object) -> None:
    closed: list[str] = []
    async with Supervisor("root", on_event=Record(), strategy=ALL) as root:
        await root.start(ChildSpec("a", works, on_stop=lambda: closed.append("a")))
        await root.start(ChildSpec("b", successively(crashes(BUG, after_s=1), works)))
        await trio.sleep(10)
        assert root.health("a").restarts == 1
        assert closed == []
    assert closed == ["a"]


async def test_a_child_that_depends_on_a_failed_one_waits_for_its_probe(autojump_clock: object) -> None:
    record = Record()
    act = successively(crashes(MisconfiguredError("wrong key"), after_s=1), works)
    async with Supervisor("root", on_event=record, strategy=REST) as root:
        await root.start(ChildSpec("a", works))
        await root.start(ChildSpec("b", act, probe_interval_s=100))
        await root.start(ChildSpec("c", works))
        await trio.sleep(50)
        assert [row.state for row in root.snapshot()] == [State.OK, State.FAILED, State.BACKOFF]
        await trio.sleep(60)
        assert [row.state for row in root.snapshot()] == [State.OK, State.OK, State.OK]
    assert record.of("a") == ["starting", "ok", "stopping", "stopped"]


async def test_a_child_added_behind_one_that_waits_starts_in_its_turn(autojump_clock: object) -> None:
    record = Record()
    async with Supervisor("root", on_event=record, strategy=REST) as root:
        act = successively(crashes(TransientError("refused", retry_after_s=50)), works)
        await root.start(ChildSpec("a", record.writes(act)))
        await trio.sleep(1)
        await root.start(ChildSpec("b", record.writes(works)))
        assert record.diary == ["+a", "-a"]
        await trio.sleep(60)
        assert record.diary == ["+a", "-a", "+a", "+b"]


async def test_two_that_crash_together_are_one_restart_for_the_rest(autojump_clock: object) -> None:
    record = Record()
    async with Supervisor("root", on_event=record, strategy=ALL) as root:
        for name in "abc":
            act = works if name == "c" else successively(crashes(BUG, after_s=5), works)
            await root.start(ChildSpec(name, record.writes(act), backoff=QUICK))
        record.diary.clear()
        await trio.sleep(20)
        assert sorted(record.diary[:3]) == ["-a", "-b", "-c"]
        assert record.diary[3:] == ["+a", "+b", "+c"]


@pytest.mark.parametrize("strategy", [ALL, REST])
async def test_a_temporary_sibling_is_stopped_with_the_others_and_not_started_again(
    autojump_clock: object, strategy: Strategy
) -> None:
    record = Record()
    async with Supervisor("root", on_event=record, strategy=strategy) as root:
        await root.start(ChildSpec("a", successively(crashes(BUG, after_s=1), works)))
        await root.start(ChildSpec("once", works, restart=Restart.TEMPORARY))
        await trio.sleep(10)
        assert [(row.name, row.state) for row in root.snapshot()] == [("a", State.OK)]
    assert record.of("once") == ["starting", "ok", "stopping", "stopped"]


async def test_a_paused_or_finished_sibling_stays_so(autojump_clock: object) -> None:
    async def done(context: Context) -> None:
        context.ok()

    async with Supervisor("root", on_event=Record(), strategy=ALL) as root:
        await root.start(ChildSpec("paused", works))
        await root.start(ChildSpec("done", done, restart=Restart.TRANSIENT))
        await root.start(ChildSpec("x", successively(crashes(BUG, after_s=1), works)))
        await root.pause("paused")
        await trio.sleep(10)
        assert [row.state for row in root.snapshot()] == [State.PAUSED, State.STOPPED, State.OK]


async def test_an_operators_restart_touches_only_that_child(autojump_clock: object) -> None:
    record = Record()
    async with Supervisor("root", on_event=record, strategy=ALL) as root:
        for name in "abc":
            await root.start(ChildSpec(name, record.writes(works)))
        record.diary.clear()
        await root.restart("b")
        assert record.diary == ["-b", "+b"]


async def test_a_crash_counts_only_against_the_child_that_crashed(autojump_clock: object) -> None:
    async with Supervisor("root", on_event=Record(), strategy=ALL) as root:
        limit = Intensity(5, 600)
        await root.start(ChildSpec("a", works, intensity=limit))
        act = successively(*[crashes(BUG, after_s=1)] * 5, works)
        await root.start(ChildSpec("b", act, intensity=limit, backoff=QUICK))
        await trio.sleep(60)
        assert [(row.state, row.restarts) for row in root.snapshot()] == [(State.OK, 5), (State.OK, 5)]
