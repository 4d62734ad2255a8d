"""Promises of the supervisor: children start in order, stop in reverse, and take commands while they run."""

import math
import time

import pytest
import trio
import trio.testing

from supervisor import (
    Backoff,
    ChildSpec,
    Context,
    Event,
    Intensity,
    Mailbox,
    MisconfiguredError,
    Restart,
    State,
    Strategy,
    Supervisor,
    TransientError,
    UnknownActorError,
    leaves,
)
from tests.harness.supervisor_fakes import Act, Record, crashes, deaf, polite, successively, works

BUG = ValueError("bug")


def box(capacity: int = 10) -> Mailbox[int]:
    return Mailbox[int](capacity, on_dead_letter=lambda item, error: None)


def drains(mailbox: Mailbox[int], stored: list[int], each_s: float = 0.0) -> Act:
    async def run(context: Context) -> None:
        context.ok()
        while True:
            try:
                async with mailbox.receive() as item:
                    await trio.sleep(each_s)
                    stored.append(item)
            except trio.EndOfChannel:
                return

    return run


async def test_children_start_in_order_and_stop_in_reverse(autojump_clock: object) -> None:
    record = Record()
    async with Supervisor("root", on_event=record) as root:
        for name in "abc":
            await root.start(ChildSpec(name, record.writes(works)))
            assert record.diary[-1] == f"+{name}", "start returns when the child is running"
    assert record.diary == ["+a", "+b", "+c", "-c", "-b", "-a"]
    assert record.of("a") == ["starting", "ok", "stopping", "stopped"]


async def test_the_next_child_is_asked_to_stop_only_when_the_one_after_it_has_ended(autojump_clock: object) -> None:
    record = Record()

    async def slow(context: Context) -> None:
        await context.stopping.wait()
        await trio.sleep(3)

    async with Supervisor("root", on_event=record) as root:
        await root.start(ChildSpec("a", slow))
        await root.start(ChildSpec("b", slow))
    (asked_b,), (gone_b,) = record.times("b", "stopping"), record.times("b", "stopped")
    (asked_a,), (gone_a,) = record.times("a", "stopping"), record.times("a", "stopped")
    assert gone_b - asked_b == gone_a - asked_a == 3
    assert asked_a == gone_b


async def test_each_child_has_its_own_deadline_and_is_cancelled_after_it(autojump_clock: object) -> None:
    record = Record()
    async with Supervisor("root", on_event=record) as root:
        await root.start(ChildSpec("a", record.writes(deaf), stop_s=2))
        await root.start(ChildSpec("b", record.writes(deaf), stop_s=7))
        begun = trio.current_time()
    assert record.times("b", "stopped")[0] - begun == 7
    assert record.times("a", "stopped")[0] - begun == 9
    assert record.diary == ["+a", "+b", "-b", "-a"]


async def test_a_child_that_cannot_notice_the_request_is_cancelled_at_once(autojump_clock: object) -> None:
    record = Record()
    async with Supervisor("root", on_event=record) as root:
        await root.start(ChildSpec("a", works, stop_s=100))
        begun = trio.current_time()
    assert trio.current_time() == begun


async def test_equal_children_may_be_stopped_together(autojump_clock: object) -> None:
    record = Record()
    async with Supervisor("root", on_event=record, stop_together=True) as root:
        for n in range(20):
            await root.start(ChildSpec(f"x{n}", deaf, stop_s=2))
        begun = trio.current_time()
    assert trio.current_time() - begun == 2


async def test_a_closed_input_is_drained_before_the_producer_below_is_asked(autojump_clock: object) -> None:
    mailbox, stored, record = box(100), list[int](), Record()

    async def produce(context: Context) -> None:
        n = 0
        while not context.stopping.is_set():
            await mailbox.put(n)
            n += 1
            await trio.sleep(0.1)

    async with Supervisor("root", on_event=record) as root:
        await root.start(
            ChildSpec("sink", drains(mailbox, stored, 0.2), on_stop=mailbox.close, mailbox=mailbox, stop_s=60)
        )
        await root.start(ChildSpec("source", produce))
        await trio.sleep(5)
    assert mailbox.statistics().depth == 0
    assert stored == list(range(len(stored)))
    assert len(stored) >= 49


async def test_draining_ends_at_the_deadline_and_reports_what_is_left(autojump_clock: object) -> None:
    mailbox, stored, record = box(100), list[int](), Record()
    async with Supervisor("root", on_event=record) as root:
        for n in range(10):
            mailbox.put_nowait(n)
        spec = ChildSpec("sink", drains(mailbox, stored, 3), on_stop=mailbox.close, mailbox=mailbox, stop_s=10)
        await root.start(spec)
        begun = trio.current_time()
    assert trio.current_time() - begun == 10
    assert stored == [0, 1, 2]
    assert record.last("sink", "stopped").reason == "7 items left in its mailbox"


async def test_a_crash_while_draining_loses_nothing_that_there_is_time_for(autojump_clock: object) -> None:
    mailbox, stored, record = box(100), list[int](), Record()
    act = successively(works, crashes(BUG), crashes(BUG), drains(mailbox, stored))
    async with Supervisor("root", on_event=record) as root:
        await root.start(ChildSpec("sink", act, on_stop=mailbox.close, mailbox=mailbox, stop_s=10))
        await root.restart("sink")
        for n in range(10):
            mailbox.put_nowait(n)
    assert stored == list(range(10))
    assert record.states["sink"] is State.STOPPED


async def test_work_left_while_in_backoff_is_drained_at_the_stop(autojump_clock: object) -> None:
    mailbox, stored, record = box(), list[int](), Record()
    act = successively(crashes(TransientError("disk full", retry_after_s=1000)), drains(mailbox, stored))
    async with Supervisor("root", on_event=record) as root:
        await root.start(ChildSpec("sink", act, on_stop=mailbox.close, mailbox=mailbox, stop_s=10))
        await mailbox.put(1)
        await trio.sleep(1)
        begun = trio.current_time()
    assert stored == [1]
    assert trio.current_time() == begun
    assert record.of("sink") == ["starting", "backoff", "stopping", "stopped"]


@pytest.mark.parametrize(
    "trouble", [MisconfiguredError("read-only"), TransientError("disk full", retry_after_s=99), BUG]
)
async def test_a_consumer_that_is_down_is_started_for_the_actors_that_drain_into_it(
    autojump_clock: object, trouble: Exception
) -> None:
    first, second, stored, record = box(), box(1), list[int](), Record()

    async def relay(context: Context) -> None:
        while True:
            try:
                async with first.receive() as item:
                    await second.put(item)
            except trio.EndOfChannel:
                return

    async with Supervisor("root", on_event=record) as root:
        act = successively(*[crashes(trouble)] * 3, drains(second, stored))
        limit = Intensity(0, 600)
        await root.start(ChildSpec("store", act, mailbox=second, on_stop=second.close, intensity=limit))
        await root.start(ChildSpec("relay", relay, mailbox=first, on_stop=first.close, stop_s=5))
        for n in range(6):
            await first.put(n)
        await trio.sleep(1)
    assert stored == list(range(6))


async def test_a_drain_that_always_crashes_ends_at_its_deadline(autojump_clock: object) -> None:
    mailbox, record = box(), Record()
    async with Supervisor("root", on_event=record) as root:
        await root.start(ChildSpec("sink", crashes(BUG), on_stop=mailbox.close, mailbox=mailbox, stop_s=10))
        await root.start(ChildSpec("other", works))
        mailbox.put_nowait(1)
        begun = trio.current_time()
    assert trio.current_time() - begun == pytest.approx(10)
    assert len(record.of("sink")) < 20, "it does not spin"


@pytest.mark.parametrize("how", ["leave", "stop_child"])
async def test_a_child_in_backoff_stops_at_once(autojump_clock: object, how: str) -> None:
    record = Record()
    async with Supervisor("root", on_event=record) as root:
        await root.start(ChildSpec("x", crashes(TransientError("refused", retry_after_s=3600))))
        await trio.sleep(1)
        assert root.health("x").state is State.BACKOFF
        begun = trio.current_time()
        if how == "stop_child":
            await root.stop_child("x")
            assert root.snapshot() == []
    assert trio.current_time() == begun
    assert record.of("x") == ["starting", "backoff", "stopped"]


async def test_a_stop_is_not_starved_by_children_that_crash_all_the_time(autojump_clock: object) -> None:
    record = Record()
    async with Supervisor("root", on_event=record, strategy=Strategy.ONE_FOR_ALL) as root:
        for n in range(5):
            await root.start(
                ChildSpec(f"x{n}", crashes(TransientError("refused")), backoff=Backoff(0.001, 0.001, 0))
            )
        await trio.sleep(1)
        begun = trio.current_time()
        with trio.fail_after(0.01):
            await root.stop_child("x2")
    assert trio.current_time() - begun < 0.01
    assert set(record.states.values()) == {State.STOPPED}


async def test_an_exception_in_the_block_stops_in_order_and_propagates_unchanged(autojump_clock: object) -> None:
    record = Record()

    async def main() -> None:
        async with Supervisor("root", on_event=record) as root:
            await root.start(ChildSpec("a", record.writes(polite)))
            await root.start(ChildSpec("b", record.writes(polite)))
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await main()
    assert record.diary == ["+a", "+b", "-b", "-a"]


async def test_a_cancellation_from_outside_waits_for_nothing(autojump_clock: object) -> None:
    record = Record()
    with trio.move_on_after(5) as scope:
        async with Supervisor("root", on_event=record) as root:
            branch = await root.start_supervisor("branch")
            await branch.start(ChildSpec("a", deaf, stop_s=100))
            await branch.start(ChildSpec("b", crashes(TransientError("refused", retry_after_s=99))))
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert set(record.states.values()) == {State.STOPPED}


async def test_pause_stops_a_child_and_only_resume_starts_it_again(autojump_clock: object) -> None:
    record = Record()
    async with Supervisor("root", on_event=record) as root:
        await root.start(ChildSpec("x", record.writes(polite)))
        await root.pause("x")
        assert root.health("x").state is State.PAUSED
        assert record.diary == ["+x", "-x"]
        await trio.sleep(10_000)
        assert root.health("x").state is State.PAUSED
        await root.resume("x")
        assert root.health("x").state is State.OK
        await root.resume("x")
    assert record.of("x") == ["starting", "ok", "stopping", "paused", "starting", "ok", "stopping", "stopped"]


@pytest.mark.parametrize("kind", ["actor", "branch"])
async def test_a_resume_before_a_pause_has_ended_starts_it_again(kind: str, autojump_clock: object) -> None:
    """As does a pause that is taken back and repeated: what counts is the last command."""

    async def slow(context: Context) -> None:
        context.ok()
        await context.stopping.wait()
        await trio.sleep(2)
        context.degraded("not of interest any more")

    async with Supervisor("root", on_event=(record := Record())) as root:
        branch = await root.start_supervisor("branch")
        await branch.start(ChildSpec("actor", slow, stop_s=5))
        async with trio.open_nursery() as nursery:
            for command in (root.pause, root.resume, root.pause, root.resume):
                nursery.start_soon(command, kind)
                await trio.sleep(0.1)
        await trio.sleep(1)  # a resumed branch does not wait for its own
        assert [root.health(name).state for name in ("branch", "actor")] == [State.OK, State.OK]
        assert record.of("actor")[2:] == ["stopping", *["stopped"] * (kind == "branch"), "starting", "ok"]
        async with trio.open_nursery() as nursery:
            for command in (root.pause, root.resume, root.pause):
                nursery.start_soon(command, kind)
                await trio.sleep(0.1)
        assert root.health(kind).state is State.PAUSED


async def test_a_pause_or_restart_leaves_the_input_open(autojump_clock: object) -> None:
    mailbox, stored = box(), list[int]()
    async with Supervisor("root", on_event=Record()) as root:
        spec = ChildSpec("sink", drains(mailbox, stored), on_stop=mailbox.close, mailbox=mailbox)
        await root.start(spec)
        await root.pause("sink")
        await mailbox.put(1)
        await root.resume("sink")
        await root.restart("sink")
        await mailbox.put(2)
        await trio.sleep(1)
        assert stored == [1, 2]
    with pytest.raises(trio.ClosedResourceError):
        mailbox.put_nowait(3)


async def test_a_paused_child_stays_paused_over_its_supervisors_restart(autojump_clock: object) -> None:
    record = Record()
    async with Supervisor("root", on_event=record) as root:
        branch = await root.start_supervisor("branch")
        await branch.start(ChildSpec("a", works))
        await branch.start(ChildSpec("b", works))
        await root.pause("a")
        await root.restart("branch")
        await trio.testing.wait_all_tasks_blocked()
        assert [row.state for row in root.snapshot()] == [State.OK, State.PAUSED, State.OK]


async def test_restart_ends_the_backoff_of_a_child_and_forgets_its_failures(autojump_clock: object) -> None:
    record = Record()
    act = successively(
        crashes(TransientError("refused")), crashes(TransientError("refused", retry_after_s=3600)), works
    )
    async with Supervisor("root", on_event=record) as root:
        await root.start(ChildSpec("x", act))
        await trio.sleep(10)
        assert root.health("x").state is State.BACKOFF
        await root.restart("x")
        assert root.health("x").state is State.OK
        assert root.health("x").restarts == 2
        assert root.health("x").last_error == "TransientError: refused"


async def test_a_stopped_childs_name_is_free_again(autojump_clock: object) -> None:
    record = Record()
    async with Supervisor("root", on_event=record) as root:
        branch = await root.start_supervisor("okx")
        await branch.start(ChildSpec("okx:1", works))
        with pytest.raises(ValueError, match="there is an actor named okx:1 already"):
            await root.start(ChildSpec("okx:1", works))
        await root.stop_child("okx")
        with pytest.raises(UnknownActorError):
            root.health("okx:1")
        await root.start(ChildSpec("okx", works))
        assert [row.name for row in root.snapshot()] == ["okx"]


@pytest.mark.parametrize("command", ["stop_child", "restart", "pause", "resume"])
async def test_a_command_to_an_unknown_actor_is_refused(autojump_clock: object, command: str) -> None:
    async with Supervisor("root", on_event=Record()) as root:
        with pytest.raises(UnknownActorError, match="no actor named 'ghost'"):
            await getattr(root, command)("ghost")


async def test_a_child_that_stops_for_good_takes_no_other_command(autojump_clock: object) -> None:
    """It would live on, and who stops it would wait for ever."""
    async with trio.open_nursery() as nursery, Supervisor("root", on_event=Record()) as root:
        await root.start(ChildSpec("a", deaf, stop_s=5))
        nursery.start_soon(root.stop_child, "a")
        await trio.sleep(1)
        for command in (root.restart, root.pause, root.resume):
            with pytest.raises(RuntimeError, match="a is stopping"):
                await command("a")
        await trio.sleep(5)
        assert not root.snapshot()


async def test_commands_during_the_final_stop_are_refused(autojump_clock: object) -> None:
    refused: list[str] = []

    async def give_commands(root: Supervisor) -> None:
        for command in (root.restart, root.pause, root.resume):
            with pytest.raises(RuntimeError, match="root is stopping"):
                await command("a")
            refused.append(command.__name__)
        with pytest.raises(RuntimeError, match="root is stopping"):
            await root.start(ChildSpec("new", works))
        await root.stop_child("a")

    async with trio.open_nursery() as nursery, Supervisor("root", on_event=Record()) as root:
        await root.start(ChildSpec("a", deaf, stop_s=5))

        async def later() -> None:
            await trio.sleep(1)
            await give_commands(root)

        nursery.start_soon(later)
    assert refused == ["restart", "pause", "resume"]


async def test_a_branch_is_started_in_order_stopped_in_reverse_and_kept_over_a_restart(
    autojump_clock: object,
) -> None:
    record = Record()
    async with Supervisor("root", on_event=record) as root:
        await root.start(ChildSpec("writer", record.writes(polite)))
        exchanges = await root.start_supervisor("exchanges")
        binance = await exchanges.start_supervisor("binance")
        for name in ("binance:1", "binance:2", "binance:3"):
            await binance.start(ChildSpec(name, record.writes(polite)))
        await exchanges.start(ChildSpec("okx", record.writes(polite)))
        rows = [(row.name, row.parent, row.kind) for row in root.snapshot()]
        assert rows == [
            ("writer", None, "worker"),
            ("exchanges", None, "supervisor"),
            ("binance", "exchanges", "supervisor"),
            ("binance:1", "binance", "worker"),
            ("binance:2", "binance", "worker"),
            ("binance:3", "binance", "worker"),
            ("okx", "exchanges", "worker"),
        ]
        record.diary.clear()
        await root.restart("binance")
        await trio.testing.wait_all_tasks_blocked()
        down = ["-binance:3", "-binance:2", "-binance:1"]
        assert record.diary == [*down, "+binance:1", "+binance:2", "+binance:3"]
        record.diary.clear()
    assert record.diary == ["-okx", *down, "-writer"]


async def test_children_added_to_a_paused_branch_start_when_it_is_resumed(autojump_clock: object) -> None:
    record = Record()
    async with Supervisor("root", on_event=record) as root:
        branch = await root.start_supervisor("branch")
        await root.pause("branch")
        await branch.start(ChildSpec("x", record.writes(works)))
        assert record.diary == []
        assert root.health("x").state is State.STOPPED
        await root.resume("branch")
        await trio.testing.wait_all_tasks_blocked()
        assert root.health("x").state is State.OK
        await root.pause("branch")
        await branch.stop_child("x")
        assert [row.name for row in root.snapshot()] == ["branch"]


async def test_a_branch_that_exceeds_its_own_deadline_is_cancelled(autojump_clock: object) -> None:
    record = Record()
    async with Supervisor("root", on_event=record) as root:
        branch = await root.start_supervisor("branch", stop_s=2)
        await branch.start(ChildSpec("a", deaf, stop_s=100))
        await branch.start(ChildSpec("b", deaf, stop_s=100))
        begun = trio.current_time()
    assert trio.current_time() - begun == 2
    assert set(record.states.values()) == {State.STOPPED}


async def test_the_final_stop_closes_inputs_also_in_a_branch_that_does_not_run(autojump_clock: object) -> None:
    mailbox = box(1)
    async with trio.open_nursery() as nursery, Supervisor("root", on_event=Record()) as root:
        branch = await root.start_supervisor("branch")
        await branch.start(ChildSpec("sink", works, on_stop=mailbox.close, mailbox=mailbox))
        await root.pause("branch")
        await mailbox.put(1)

        async def put_in_vain() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await mailbox.put(2)

        nursery.start_soon(put_in_vain)
        await trio.testing.wait_all_tasks_blocked()


async def test_a_failing_listener_or_on_stop_does_not_prevent_the_stop(autojump_clock: object) -> None:
    words: list[str] = []

    def listen(event: Event) -> None:
        words.append(event.event)
        raise RuntimeError("the log is full")

    def refuse() -> None:
        raise OSError("cannot close")

    async with Supervisor("root", on_event=listen) as root:
        await root.start(ChildSpec("x", works, on_stop=refuse))
    assert words == ["starting", "ok", "on_stop_failed", "stopping", "stopped"]
    assert root.event_error == "RuntimeError: the log is full"


async def test_health_shows_what_an_actor_reports(autojump_clock: object) -> None:
    mailbox = Mailbox[int](100, weigh=lambda n: n, on_dead_letter=lambda item, error: None)
    begun_ns = time.time_ns()

    async def report(context: Context) -> None:
        context.handled()
        context.handled(4)
        context.degraded("one symbol refused")
        context.healthy()
        await trio.sleep(1)
        context.ok()
        context.note("reconnected", "went away", code=1001)
        await trio.sleep(1)
        raise TransientError("reset by peer", retry_after_s=50)

    record = Record()
    async with Supervisor("root", on_event=record) as root:
        await root.start(ChildSpec("x", report, kind="exchange", mailbox=mailbox))
        mailbox.put_nowait(30)
        row = root.health("x")
        assert (row.state, row.reason, row.handled) == (State.DEGRADED, "one symbol refused", 5)
        assert row.mailbox is not None
        assert (row.mailbox.depth, row.mailbox.capacity, row.mailbox.peak) == (30, 100, 30)
        assert begun_ns <= row.since_ns <= time.time_ns()
        assert row.next_retry_at_ns is None
        degraded_since_ns = row.since_ns
        await trio.sleep(1.5)
        row = root.health("x")
        assert (row.state, row.reason) == (State.OK, "")
        assert row.since_ns > degraded_since_ns
        await trio.sleep(1)
        row = root.health("x")
        assert (row.state, row.reason, row.kind) == (State.BACKOFF, "TransientError: reset by peer", "exchange")
        assert row.next_retry_at_ns is not None
        assert math.isclose((row.next_retry_at_ns - time.time_ns()) / 1e9, 49.5, abs_tol=1)
    noted = record.last("x", "reconnected")
    assert (noted.reason, noted.detail) == ("went away", {"code": 1001})
    crashed = record.last("x", "backoff")
    assert crashed.retry_in_s == 50
    assert crashed.detail == {"from": "ok", "verdict": "transient", "error": "TransientError: reset by peer"}


async def test_reports_after_an_incarnation_has_ended_are_ignored(autojump_clock: object) -> None:
    contexts: list[Context] = []

    async def keep(context: Context) -> None:
        contexts.append(context)
        context.ok()

    async with Supervisor("root", on_event=Record()) as root:
        await root.start(ChildSpec("x", keep, restart=Restart.TRANSIENT))
        await trio.sleep(1)
        contexts[0].degraded("too late")
        contexts[0].handled(9)
        assert (root.health("x").state, root.health("x").handled) == (State.STOPPED, 0)


async def test_a_keyboard_interrupt_in_a_child_is_not_swallowed(autojump_clock: object) -> None:
    async def interrupted(context: Context) -> None:
        raise KeyboardInterrupt

    async def main() -> None:
        async with Supervisor("root", on_event=record) as root:
            await root.start(ChildSpec("x", interrupted))
            await trio.sleep_forever()

    record = Record()
    with pytest.raises(BaseExceptionGroup) as caught:
        await main()
    assert [type(leaf) for leaf in leaves(caught.value)] == [KeyboardInterrupt]
    assert record.of("x") == ["starting", "stopped"]


async def test_a_child_that_waits_shielded_for_the_end_of_another_does_not_hold_up_a_cancellation(
    autojump_clock: object,
) -> None:
    async def slow(context: Context) -> None:
        await context.stopping.wait()
        await trio.sleep_forever()

    async def ender(context: Context) -> None:
        with trio.CancelScope(shield=True):
            await root.stop_child("slow")

    record = Record()
    with trio.move_on_after(1):
        async with Supervisor("root", on_event=record) as root:
            await root.start(ChildSpec("slow", slow, stop_s=math.inf))
            await root.start(ChildSpec("ender", ender))
            await trio.sleep_forever()
    assert record.of("slow") == ["starting", "stopping", "stopped"]
