"""One timer serves all connections whose chunks are due at about the same moment."""

import trio
from trio.testing import MockClock

from actors.feed.accumulator import ChunkTimer


async def test_later_waiters_are_woken_with_the_first_and_none_waits_longer_than_a_period(
    autojump_clock: MockClock,
) -> None:
    timer, woken = ChunkTimer(1.0), []

    async def waiter(come_s: float) -> None:
        await trio.sleep(come_s)
        await timer.wait()
        woken.append((come_s, trio.current_time() - start))

    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        for come_s in (0.0, 0.3, 0.9, 1.5, 2.4):
            nursery.start_soon(waiter, come_s)
    assert sorted(woken) == [(0.0, 1.0), (0.3, 1.0), (0.9, 1.0), (1.5, 2.5), (2.4, 2.5)]


async def test_the_others_are_woken_at_once_when_the_first_is_cancelled(autojump_clock: MockClock) -> None:
    timer, woken = ChunkTimer(1.0), []

    async def first() -> None:
        with trio.move_on_after(0.2):
            await timer.wait()

    async def follower() -> None:
        await trio.sleep(0.1)
        await timer.wait()
        woken.append(trio.current_time() - start)
        await timer.wait()
        woken.append(trio.current_time() - start)

    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(first)
        nursery.start_soon(follower)
    assert [round(at, 3) for at in woken] == [0.2, 1.2]
