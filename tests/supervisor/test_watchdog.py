"""Promises of the watchdog: a stuck actor is detected within ten seconds, shown with its stack, and restarted."""

import threading
import time

import pytest
import trio

from supervisor import ChildSpec, Context, Mailbox, State, Supervisor
from supervisor.watchdog import Blocked, watch_loop
from tests.harness.supervisor_fakes import Record, successively, works


def box(capacity: int = 10) -> Mailbox[int]:
    return Mailbox[int](capacity, on_dead_letter=lambda item, error: None)


async def waits_for_ever_in_a_nested_call() -> None:
    await trio.sleep_forever()


async def hangs(context: Context) -> None:
    context.ok()
    await waits_for_ever_in_a_nested_call()


async def test_an_actor_that_ignores_its_mailbox_is_detected_shown_and_restarted(
    autojump_clock: object,
) -> None:
    mailbox, stored, record = box(), list[int](), Record()

    async def drains(context: Context) -> None:
        while True:
            async with mailbox.receive() as item:
                stored.append(item)

    async with Supervisor("root", on_event=record) as root:
        await root.start(ChildSpec("sink", successively(hangs, drains), mailbox=mailbox))
        await trio.sleep(1000.5)
        assert record.of("sink") == ["starting", "ok"], "with an empty mailbox it is not stuck"
        begun = trio.current_time()
        await mailbox.put(1)
        await trio.sleep(20)
        assert stored == [1]
    event = record.last("sink", "stuck")
    assert record.times("sink", "stuck")[0] - begun <= 10
    assert event.reason == "handled nothing for 8 s with 1 waiting in its mailbox"
    stack = str(event.detail["stack"])
    assert "waits_for_ever_in_a_nested_call" in stack
    assert "sleep_forever" in stack
    assert record.last("sink", "backoff").detail["verdict"] == "bug"
    assert record.last("sink", "backoff").reason.startswith("Stuck: ")


async def test_a_handler_that_hangs_is_stuck_and_its_item_is_handed_out_again(autojump_clock: object) -> None:
    mailbox, stored, record = box(), list[int](), Record()
    hung: list[int] = []

    async def hangs_once(context: Context) -> None:
        async with mailbox.receive() as item:
            if not hung:
                hung.append(item)
                await trio.sleep_forever()
            stored.append(item)
        await trio.sleep_forever()

    async with Supervisor("root", on_event=record) as root:
        await root.start(ChildSpec("sink", hangs_once, mailbox=mailbox))
        await mailbox.put(7)
        await trio.sleep(20)
    assert hung == stored == [7]
    assert record.of("sink").count("stuck") == 1


async def test_an_actor_that_waits_for_something_outside_is_degraded_and_not_stuck_until_afterwards(
    autojump_clock: object,
) -> None:
    mailbox, record, room = box(), Record(), trio.Event()

    async def waits(context: Context) -> None:
        async with mailbox.receive():
            for _ in range(10):
                with context.waiting("no room"):
                    await trio.sleep(60)
            room.set()
            await trio.sleep_forever()

    async with Supervisor("root", on_event=record) as root:
        await root.start(ChildSpec("sink", waits, mailbox=mailbox))
        await mailbox.put(1)
        await room.wait()
        health = root.health("sink")
        assert (health.state, health.reason, health.restarts) == (State.DEGRADED, "no room", 0)
        assert "stuck" not in record.of("sink")
        await trio.sleep(10)
        assert record.of("sink").count("stuck") == 1


async def test_the_stack_shows_the_tasks_in_an_actors_nursery_too(autojump_clock: object) -> None:
    mailbox, record = box(), Record()

    async def with_nursery(context: Context) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(waits_for_ever_in_a_nested_call)

    async with Supervisor("root", on_event=record) as root:
        await root.start(ChildSpec("sink", with_nursery, mailbox=mailbox))
        await mailbox.put(1)
        await trio.sleep(10)
    stack = str(record.last("sink", "stuck").detail["stack"])
    assert "with_nursery" in stack
    assert "waits_for_ever_in_a_nested_call" in stack


async def test_an_actor_that_waits_for_a_full_mailbox_downstream_is_not_stuck(autojump_clock: object) -> None:
    upstream, downstream, record = box(), box(1), Record()

    async def passes_on(context: Context) -> None:
        context.ok()
        async with upstream.receive() as item, trio.open_nursery() as nursery:
            nursery.start_soon(downstream.put, item)
        await trio.sleep_forever()

    async with Supervisor("root", on_event=record) as root:
        await root.start(ChildSpec("middle", passes_on, mailbox=upstream))
        await downstream.put(0)
        await upstream.put(1)
        await trio.sleep(1000)
        assert root.health("middle").state is State.OK
        async with downstream.receive():
            pass
        await trio.sleep(1)
        assert upstream.statistics().depth == 0
    assert "stuck" not in record.of("middle")


@pytest.mark.parametrize("how", ["handled", "taken"])
async def test_slow_progress_is_not_stuck(autojump_clock: object, how: str) -> None:
    mailbox, record = box(100), Record()

    async def slow(context: Context) -> None:
        while True:
            async with mailbox.receive():
                for _ in range(10 if how == "handled" else 1):
                    await trio.sleep(5)
                    if how == "handled":
                        context.handled(0)

    async with Supervisor("root", on_event=record) as root:
        for n in range(50):
            mailbox.put_nowait(n)
        await root.start(ChildSpec("sink", slow, mailbox=mailbox))
        await trio.sleep(200)
    assert "stuck" not in record.of("sink")


async def test_a_missing_heartbeat_is_detected(autojump_clock: object) -> None:
    async def beats_then_hangs(context: Context) -> None:
        for _ in range(20):
            await trio.sleep(2)
            context.handled(0)
        await trio.sleep_forever()

    record = Record()
    async with Supervisor("root", on_event=record) as root:
        await root.start(ChildSpec("x", successively(beats_then_hangs, works), heartbeat_s=8))
        begun = trio.current_time()
        await trio.sleep(52)
    (detected,) = record.times("x", "stuck")
    assert 48 <= detected - begun <= 50
    assert record.last("x", "stuck").reason == "sent no heartbeat for 8 s"


async def test_an_actor_that_was_asked_to_stop_is_not_reported_as_stuck(autojump_clock: object) -> None:
    mailbox, record = box(), Record()

    async def slow_to_end(context: Context) -> None:
        await context.stopping.wait()
        await trio.sleep(30)

    async with Supervisor("root", on_event=record) as root:
        await root.start(ChildSpec("x", slow_to_end, mailbox=mailbox, stop_s=60))
        await mailbox.put(1)
    assert "stuck" not in record.of("x")


async def test_a_handler_that_hangs_while_draining_loses_no_other_item(autojump_clock: object) -> None:
    mailbox, stored, record = box(), list[int](), Record()

    async def drains(context: Context) -> None:
        while True:
            try:
                async with mailbox.receive() as item:
                    if not record.of("sink").count("stuck"):
                        await trio.sleep_forever()
                    stored.append(item)
            except trio.EndOfChannel:
                return

    async with Supervisor("root", on_event=record) as root:
        spec = ChildSpec("sink", drains, mailbox=mailbox, on_stop=mailbox.close, stop_s=20)
        await root.start(spec)
        for n in range(5):
            mailbox.put_nowait(n)
    assert stored == list(range(5))


def test_a_blocked_loop_is_reported_with_its_stack_while_it_is_blocked() -> None:
    seen, reported = list[Blocked](), threading.Event()

    def on_blocked(blocked: Blocked) -> None:
        seen.append(blocked)
        reported.set()

    def computes_for_ever() -> None:
        assert reported.wait(20), "reported while the loop is still blocked"
        time.sleep(0.3)  # and only once for the same stretch

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch_loop, 0.1, on_blocked)
            await trio.sleep(0.2)
            computes_for_ever()
            nursery.cancel_scope.cancel()

    trio.run(main)
    held = [blocked for blocked in seen if "computes_for_ever" in blocked.stack]
    assert len(held) == 1
    assert held[0].blocked_s >= 0.1
