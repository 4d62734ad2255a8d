"""A latch is set once; all tasks that wait for it, before or after, go on."""

import trio
from trio.testing import wait_all_tasks_blocked

from supervisor.latch import Latch


async def test_all_who_wait_go_on_when_it_is_set_and_so_do_those_who_come_later() -> None:
    latch, went_on = Latch(), list[int]()

    async def wait(number: int) -> None:
        await latch.wait()
        went_on.append(number)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait, 1)
        nursery.start_soon(wait, 2)
        await wait_all_tasks_blocked()
        assert not latch.is_set() and not went_on
        latch.set()
        latch.set()
        assert latch.is_set()
        await wait_all_tasks_blocked()
        assert sorted(went_on) == [1, 2]
        nursery.start_soon(wait, 3)
    assert went_on[2:] == [3]


async def test_a_wait_for_one_that_is_set_lets_others_run_and_can_be_cancelled() -> None:
    latch = Latch()
    latch.set()
    with trio.CancelScope() as scope:
        scope.cancel()
        await latch.wait()
    assert scope.cancelled_caught
