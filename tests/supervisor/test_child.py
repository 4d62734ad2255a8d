"""Promises of one child's state machine: backoff, failure, probes and escalation, and who may change it."""

import ast
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
import trio

from supervisor import (
    Backoff,
    ChildSpec,
    Context,
    GaveUp,
    Intensity,
    MisconfiguredError,
    Restart,
    State,
    Strategy,
    Supervisor,
    TransientError,
    Verdict,
)
from supervisor.child import TRANSITIONS, TransitionError, check_transition
from tests.harness.paths import ROOT
from tests.harness.supervisor_fakes import Record, crashes, polite, successively, works

BUG = ValueError("bug")
QUICK = Backoff(1, 4, 60)


async def ends(context: Context) -> None:
    """Ends by itself after a second."""
    context.ok()
    await trio.sleep(1)


async def test_transient_backs_off_for_ever_and_is_never_failed(autojump_clock: object) -> None:
    record = Record()
    async with Supervisor("root", on_event=record) as root:
        await root.start(ChildSpec("x", crashes(TransientError("refused")), intensity=Intensity(2, 60)))
        await trio.sleep(24 * 3600)
        assert root.health("x").state is State.BACKOFF
        assert root.health("x").restarts > 1000
    assert "failed" not in record.of("x")
    waits = [event.retry_in_s or 0 for _, event in record.events if event.event == "backoff"]
    for n, wait in enumerate(waits[:8]):
        assert min(60, 2**n) / 2 <= wait <= min(60, 2**n)
    assert all(30 <= wait <= 60 for wait in waits[6:])


async def test_the_announced_wait_is_the_wait(autojump_clock: object) -> None:
    record = Record()
    async with Supervisor("root", on_event=record) as root:
        await root.start(ChildSpec("x", crashes(TransientError("refused"))))
        await trio.sleep(300)
    starts = record.times("x", "starting")
    backoffs = [(at, event.retry_in_s or 0) for at, event in record.events if event.event == "backoff"]
    for (at, wait), start in zip(backoffs, starts[1:], strict=False):
        assert start == pytest.approx(at + wait)


async def test_accept_then_drop_does_not_reset_the_backoff_but_a_healthy_minute_does(
    autojump_clock: object,
) -> None:
    async def accepted_then_dropped(context: Context) -> None:
        context.ok()
        await trio.sleep(100)
        raise TransientError("dropped")

    record = Record()
    healthy = crashes(TransientError("reset"), after_s=61, healthy=True)
    async with Supervisor("root", on_event=record) as root:
        await root.start(ChildSpec("x", successively(*[accepted_then_dropped] * 6, healthy, works)))
        await trio.sleep(2000)
    waits = [event.retry_in_s or 0 for _, event in record.events if event.event == "backoff"]
    assert len(waits) == 7
    assert waits[5] >= 16
    assert waits[6] <= 1


async def test_the_same_seed_gives_the_same_waits(autojump_clock: object) -> None:
    async def waits() -> list[float | None]:
        record = Record()
        async with Supervisor("root", on_event=record, random=Random(7)) as root:
            branch = await root.start_supervisor("branch")
            await branch.start(ChildSpec("x", crashes(TransientError("refused"))))
            await trio.sleep(300)
        return [event.retry_in_s for _, event in record.events if event.event == "backoff"]

    assert await waits() == await waits()


async def test_too_many_bugs_fail_the_child_alone_and_a_probe_brings_it_back(autojump_clock: object) -> None:
    record = Record()
    act = successively(*[crashes(BUG)] * 5, crashes(TransientError("down too")), polite)
    async with Supervisor("root", on_event=record) as root:
        await root.start(ChildSpec("sibling", works))
        await root.start(ChildSpec("x", act, backoff=QUICK, intensity=Intensity(3, 60), probe_interval_s=100))
        await trio.sleep(50)
        row = root.health("x")
        assert (row.state, row.restarts) == (State.FAILED, 3)
        assert row.reason == "more than 3 crashes in 60 s: ValueError: bug"
        assert row.next_retry_at_ns is not None
        await trio.sleep(70)  # the first probe met the bug again
        assert (root.health("x").state, root.health("x").restarts) == (State.FAILED, 4)
        await trio.sleep(100)  # the second one transient: no proof that the bug is gone
        assert (root.health("x").state, root.health("x").restarts) == (State.FAILED, 5)
        await trio.sleep(100)
        assert (root.health("x").state, root.health("x").restarts) == (State.OK, 6)
    assert record.of("sibling") == ["starting", "ok", "stopping", "stopped"]
    failed = record.times("x", "failed")
    assert [round(b - a) for a, b in pairwise(failed)] == [100, 100]
    assert "ValueError" in str(record.last("x", "backoff").detail["traceback"])


async def test_a_failed_child_remains_failed_until_the_probe_reports_that_it_works(autojump_clock: object) -> None:
    async def slow_to_work(context: Context) -> None:
        await trio.sleep(30)
        context.healthy()
        await trio.sleep_forever()

    async with Supervisor("root", on_event=Record()) as root:
        act = successively(crashes(MisconfiguredError("wrong certificate")), slow_to_work)
        await root.start(ChildSpec("x", act, probe_interval_s=100))
        await trio.sleep(1)
        assert (root.health("x").state, root.health("x").reason) == (
            State.FAILED,
            "MisconfiguredError: wrong certificate",
        )
        await trio.sleep(110)
        assert (root.health("x").state, root.health("x").restarts) == (State.FAILED, 1)
        await trio.sleep(30)
        assert root.health("x").state is State.OK


async def test_a_relapse_soon_after_a_probe_is_failed_at_once_but_not_after_an_operators_restart(
    autojump_clock: object,
) -> None:
    record = Record()
    act = successively(*[crashes(BUG)] * 3, crashes(BUG, after_s=5, healthy=True), crashes(BUG), works)
    async with Supervisor("root", on_event=record) as root:
        spec = ChildSpec("x", act, backoff=QUICK, intensity=Intensity(2, 600), probe_interval_s=100)
        await root.start(spec)
        await trio.sleep(150)
        assert record.of("x")[-3:] == ["failed", "ok", "failed"]
        await root.restart("x")
        await trio.sleep(1.5)
        assert record.of("x")[-5:] == ["failed", "starting", "backoff", "starting", "ok"]
        await trio.sleep(10)
        assert root.health("x").state is State.OK


async def test_bugs_that_are_far_apart_never_fail_a_child(autojump_clock: object) -> None:
    record = Record()
    async with Supervisor("root", on_event=record) as root:
        act = crashes(BUG, after_s=40)
        await root.start(ChildSpec("x", act, backoff=QUICK, intensity=Intensity(3, 60)))
        await trio.sleep(10_000)
    assert "failed" not in record.of("x")


async def test_transient_does_not_count_towards_the_intensity(autojump_clock: object) -> None:
    record = Record()
    act = successively(*[crashes(TransientError("refused")), crashes(BUG)] * 3, works)
    async with Supervisor("root", on_event=record) as root:
        await root.start(ChildSpec("x", act, backoff=QUICK, intensity=Intensity(3, 600)))
        await trio.sleep(100)
        assert root.health("x").state is State.OK
    assert "failed" not in record.of("x")


@pytest.mark.parametrize("depth", [0, 1, 2])
async def test_a_child_that_escalates_stops_the_whole_tree_in_order(autojump_clock: object, depth: int) -> None:
    record = Record()
    hasty = {"on_exhausted": "escalate", "intensity": Intensity(0, 600)}

    async def main() -> None:
        async with Supervisor("root", on_event=record) as root:
            await root.start(ChildSpec("a", record.writes(polite)))
            owner = root
            for level in range(depth):
                owner = await owner.start_supervisor(f"s{level}", **hasty)  # type: ignore[arg-type]
            spec = ChildSpec("writer", crashes(BUG, after_s=1), backoff=QUICK, **hasty)  # type: ignore[arg-type]
            await owner.start(spec)
            await root.start(ChildSpec("b", record.writes(polite)))
            await trio.sleep_forever()

    with pytest.raises(GaveUp, match="crashed more than") as caught:
        await main()
    assert record.diary == ["+a", "+b", "-b", "-a"]
    cause: BaseException | None = caught.value
    for _ in range(depth + 1):
        assert isinstance(cause, GaveUp)
        cause = cause.__cause__
    assert isinstance(cause, ValueError)
    assert set(record.states.values()) == {State.STOPPED}
    assert "failed" in record.of("writer")


async def test_a_branch_that_gave_up_is_restarted_with_its_children(autojump_clock: object) -> None:
    record = Record()
    async with Supervisor("root", on_event=record) as root:
        branch = await root.start_supervisor("branch", backoff=QUICK)
        await branch.start(ChildSpec("a", record.writes(works)))
        act = successively(crashes(BUG), crashes(BUG), works)
        spec = ChildSpec("b", act, backoff=QUICK, intensity=Intensity(1, 60), on_exhausted="escalate")
        await branch.start(spec)
        await trio.sleep(30)
        assert [row.state for row in root.snapshot()] == [State.OK] * 3
        assert root.health("branch").last_error is not None
    assert record.diary == ["+a", "-a", "+a", "-a"]
    assert record.of("branch") == ["starting", "ok", "backoff", "starting", "ok", "stopping", "stopped"]


async def test_the_blocks_own_failure_is_noted_when_the_tree_gives_up(autojump_clock: object) -> None:
    async def main() -> None:
        async with Supervisor("root", on_event=Record()) as root:
            await root.start(ChildSpec("x", crashes(BUG), intensity=Intensity(0, 1), on_exhausted="escalate"))
            try:
                await trio.sleep_forever()
            finally:
                raise KeyError("mine as well")

    with pytest.raises(GaveUp) as caught:
        await main()
    assert caught.value.__notes__ == ["the block had failed as well: KeyError: 'mine as well'"]


async def test_permanent_is_restarted_even_after_a_normal_return_which_counts_as_a_bug(
    autojump_clock: object,
) -> None:
    record = Record()
    async with Supervisor("root", on_event=record) as root:
        await root.start(ChildSpec("x", ends, backoff=QUICK, intensity=Intensity(2, 60)))
        await trio.sleep(30)
        assert root.health("x").state is State.FAILED
    assert record.last("x", "backoff").reason == "RuntimeError: returned unasked, though it is permanent"


async def test_transient_is_restarted_only_after_a_failure(autojump_clock: object) -> None:
    record = Record()
    async with Supervisor("root", on_event=record) as root:
        await root.start(ChildSpec("x", successively(crashes(BUG), ends), restart=Restart.TRANSIENT))
        await trio.sleep(100)
        row = root.health("x")
        assert (row.state, row.reason, row.restarts) == (State.STOPPED, "done", 1)
        await root.restart("x")
        assert root.health("x").state is State.OK


@pytest.mark.parametrize(
    "act", [ends, crashes(BUG), crashes(TransientError("refused")), crashes(MisconfiguredError("no"))]
)
async def test_temporary_is_never_restarted_and_then_forgotten(autojump_clock: object, act: object) -> None:
    record = Record()
    async with Supervisor("root", on_event=record, strategy=Strategy.ONE_FOR_ALL) as root:
        await root.start(ChildSpec("sibling", works))
        await root.start(ChildSpec("x", act, restart=Restart.TEMPORARY))  # type: ignore[arg-type]
        await trio.sleep(1000)
        assert [row.name for row in root.snapshot()] == ["sibling"]
    assert record.of("x")[-1] == "stopped"
    assert record.of("sibling") == ["starting", "ok", "stopping", "stopped"]


async def test_a_child_may_classify_its_failures_itself(autojump_clock: object) -> None:
    def forgiving(error: BaseException) -> tuple[Verdict, float | None]:
        return Verdict.TRANSIENT, 42

    async with Supervisor("root", on_event=Record()) as root:
        await root.start(ChildSpec("x", crashes(BUG), classify=forgiving, intensity=Intensity(0, 60)))
        await trio.sleep(1000)
        assert root.health("x").state is State.BACKOFF


async def test_a_classify_that_crashes_makes_it_a_bug(autojump_clock: object) -> None:
    def broken(error: BaseException) -> tuple[Verdict, float | None]:
        raise KeyError("classify")

    record = Record()
    async with Supervisor("root", on_event=record) as root:
        error = TransientError("refused")
        await root.start(ChildSpec("x", crashes(error), classify=broken, intensity=Intensity(0, 60)))
        await trio.sleep(1)
        assert root.health("x").state is State.FAILED
    assert "its classify failed: KeyError" in str(record.last("x", "failed").detail["traceback"])


async def test_a_group_out_of_a_childs_nursery_is_classified_like_its_parts(autojump_clock: object) -> None:
    async def nested(context: Context) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            await trio.sleep(1)
            raise TransientError("reset", retry_after_s=77)

    record = Record()
    async with Supervisor("root", on_event=record) as root:
        await root.start(ChildSpec("x", nested))
        await trio.sleep(2)
        assert root.health("x").reason == "TransientError: reset"
    assert record.last("x", "backoff").retry_in_s == 77


async def test_a_crash_while_stopping_is_reported_and_the_stop_proceeds(autojump_clock: object) -> None:
    async def crashes_on_stop(context: Context) -> None:
        await context.stopping.wait()
        raise BUG

    record = Record()
    async with Supervisor("root", on_event=record) as root:
        await root.start(ChildSpec("x", crashes_on_stop))
    assert record.of("x") == ["starting", "stopping", "stopping", "stopped"]
    assert record.last("x", "stopping").reason == "crashed while stopping: ValueError: bug"


IDLE = (State.STOPPED, State.BACKOFF, State.PAUSED)


@pytest.mark.parametrize("old", IDLE)
@pytest.mark.parametrize("new", [State.OK, State.DEGRADED, State.FAILED])
def test_an_actor_that_does_not_run_can_neither_work_nor_fail(old: State, new: State) -> None:
    with pytest.raises(TransitionError, match=f"x may not go from {old.value} to {new.value}"):
        check_transition("x", old, new)


@pytest.mark.parametrize("new", [State.OK, State.DEGRADED, State.FAILED])
def test_an_actor_that_is_stopping_cannot_return_to_work(new: State) -> None:
    with pytest.raises(TransitionError):
        check_transition("x", State.STOPPING, new)


@pytest.mark.parametrize("old", [State.STARTING, State.OK, State.DEGRADED])
def test_a_running_actor_is_paused_and_restarted_only_by_way_of_a_stop_or_a_failure(old: State) -> None:
    for new in (State.PAUSED, State.STARTING):
        with pytest.raises(TransitionError):
            check_transition("x", old, new)
    for new in (State.STOPPING, State.BACKOFF, State.FAILED):
        check_transition("x", old, new)


def test_every_state_can_be_reached_and_every_state_can_be_stopped() -> None:
    assert set(TRANSITIONS) == set(State)
    reached = {State.STOPPED}
    while grown := {new for old in reached for new in TRANSITIONS[old]} - reached:
        reached |= grown
    assert reached == set(State)
    assert all(State.STOPPED in TRANSITIONS[state] for state in State if state is not State.STOPPED)


def owned_fields() -> set[str]:
    """The fields that the classes of one child assign to themselves."""
    return {
        target.attr
        for name in ("child", "incarnation", "shutdown", "watchdog")
        for target in assigned(ROOT / "supervisor" / f"{name}.py")
        if isinstance(target.value, ast.Name) and target.value.id == "self"
    }


def assigned(path: Path) -> Iterator[ast.Attribute]:
    """The attributes that a module assigns."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store | ast.Del):
            yield node


def test_nobody_writes_the_fields_of_a_child_but_itself() -> None:
    fields = owned_fields()
    assert {"state", "reason", "desired", "due", "asked", "pending", "_since_ns", "_restarts"} <= fields
    foreign = [
        f"{path.name}: {ast.unparse(target)}"
        for path in (ROOT / "supervisor").glob("*.py")
        for target in assigned(path)
        if target.attr in fields and ast.unparse(target.value) not in ("self", "self._scope")  # trio's scope
    ]
    assert foreign == []
