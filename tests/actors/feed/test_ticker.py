"""One timer serves the checks of many tasks, and none depends on another task than its own."""

from itertools import pairwise

import pytest
import trio
from trio.testing import MockClock

from actors.feed.ticker import TOGETHER_S, Ticker

CHECKS = 20


async def test_every_check_is_made_in_its_own_rhythm(autojump_clock: MockClock) -> None:
    ticker, made = Ticker(), dict[int, list[float]]()

    async def task(number: int) -> None:
        await trio.sleep(number * 0.013)
        made[number] = []
        await ticker.repeat(made[number].append, 0.25 + number % 3 * 0.25)

    with trio.move_on_after(10):
        async with trio.open_nursery() as nursery:
            for number in range(CHECKS):
                nursery.start_soon(task, number)
    for number, times in made.items():
        every_s = 0.25 + number % 3 * 0.25
        gaps = [later - sooner for sooner, later in pairwise(times)]
        assert all(every_s - 1e-9 <= gap <= every_s + TOGETHER_S + 1e-9 for gap in gaps), gaps
        assert len(times) >= 9.5 / (every_s + TOGETHER_S) - 1


@pytest.mark.parametrize("bad", [0, 1, CHECKS - 1])
async def test_an_error_is_raised_in_the_task_whose_check_it_is_and_the_others_go_on(
    autojump_clock: MockClock, bad: int
) -> None:
    ticker, made, raised = Ticker(), [0] * CHECKS, list[int]()

    async def task(number: int) -> None:
        def check(now: float) -> None:
            made[number] += 1
            if number == bad and made[number] == 3:
                raise ZeroDivisionError

        try:
            await ticker.repeat(check, 0.25)
        except ZeroDivisionError:
            raised.append(number)

    with trio.move_on_after(10):
        async with trio.open_nursery() as nursery:
            for number in range(CHECKS):
                nursery.start_soon(task, number)
    assert raised == [bad] and made[bad] == 3
    assert all(count >= 36 for number, count in enumerate(made) if number != bad)


async def test_whoever_is_cancelled_the_others_go_on(autojump_clock: MockClock) -> None:
    ticker, made = Ticker(), [0] * CHECKS

    async def task(number: int) -> None:
        def check(now: float) -> None:
            made[number] += 1

        with trio.move_on_after(1.1 + number):  # one after the other, the one that makes the checks among them
            await ticker.repeat(check, 0.25)

    async with trio.open_nursery() as nursery:
        for number in range(CHECKS):
            nursery.start_soon(task, number)
    assert all(3.6 * (1 + number) <= count <= 4 * (1.1 + number) for number, count in enumerate(made)), made


async def test_the_owner_of_a_check_receives_its_error_and_the_check_is_not_made_again(
    autojump_clock: MockClock,
) -> None:
    ticker, made, errors = Ticker(), [0, 0], list[Exception]()

    def explode(now: float) -> None:
        made[0] += 1
        raise ZeroDivisionError

    def count(now: float) -> None:
        made[1] += 1

    ticker.start(explode, 0.25, errors.append)
    other = ticker.start(count, 0.25, errors.append)
    await trio.sleep(1.1)
    other.end()
    await trio.sleep(1)
    assert [type(error) for error in errors] == [ZeroDivisionError] and made == [1, 4]


@pytest.mark.parametrize("fails", [False, True])
async def test_a_check_may_cancel_the_task_that_waits_for_it(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    woken, wake, waiting = list[object](), trio.lowlevel.reschedule, trio.lowlevel.current_task()

    def reschedule(task: trio.lowlevel.Task) -> None:
        if task is waiting:
            woken.append(task)  # trio wakes it already, and nobody may twice
        else:
            wake(task)

    monkeypatch.setattr(trio.lowlevel, "reschedule", reschedule)

    def check(now: float) -> bool:
        scope.cancel()
        return bool(1 / (not fails))

    with trio.CancelScope() as scope:
        await Ticker().repeat(check, 0.25)
    assert scope.cancelled_caught and not woken


async def test_one_that_is_due_sooner_than_all_others_does_not_wait_for_them(autojump_clock: MockClock) -> None:
    ticker, made = Ticker(), list[float]()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ticker.repeat, lambda now: None, 100.0)
        await trio.sleep(1)
        nursery.start_soon(ticker.repeat, made.append, 0.5)
        await trio.sleep(1.2)
        nursery.cancel_scope.cancel()
    assert made == pytest.approx([1.5, 2.0], abs=2 * TOGETHER_S)
