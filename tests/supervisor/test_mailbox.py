"""Promises of the mailbox: nothing is lost, nothing is doubled, nothing waits for ever."""

from contextlib import suppress
from random import Random

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor import Mailbox, MisconfiguredError, TransientError
from tests.harness.amounts import amount


class Dead:
    """Keeps the dead letters."""

    def __init__(self) -> None:
        self.letters: list[tuple[int, BaseException]] = []

    def __call__(self, item: int, error: BaseException) -> None:
        self.letters.append((item, error))

    @property
    def items(self) -> list[int]:
        return [item for item, _ in self.letters]


def crash_on(poison: int, items: list[int]) -> None:
    if poison in items:
        raise ValueError("poison")


async def take(mailbox: Mailbox[int]) -> int:
    async with mailbox.receive() as item:
        return item


async def crash_on_next(mailbox: Mailbox[int], error: Exception, items_max: int = 1) -> list[int]:
    seen: list[int] = []

    async def live() -> None:
        async with mailbox.receive_many(items_max) as items:
            seen.extend(items)
            raise error

    with pytest.raises(type(error)):
        await live()
    return seen


async def test_items_come_out_in_the_order_they_went_in(autojump_clock: object) -> None:
    mailbox = Mailbox[int](10, on_dead_letter=Dead())
    for n in range(5):
        await mailbox.put(n)
    assert [await take(mailbox) for _ in range(5)] == list(range(5))


async def test_an_item_is_counted_until_its_handler_has_finished() -> None:
    mailbox = Mailbox[int](10, on_dead_letter=Dead())
    mailbox.put_nowait(1)
    async with mailbox.receive():
        assert mailbox.statistics().depth == 1
        assert mailbox.statistics().taken == 0
    assert mailbox.statistics().depth == 0
    assert mailbox.statistics().taken == 1


async def test_a_cancelled_handler_leaves_its_item_at_the_front_and_counts_no_attempt() -> None:
    dead = Dead()
    mailbox = Mailbox[int](10, on_dead_letter=dead, attempts_max=1)
    mailbox.put_nowait(1)
    mailbox.put_nowait(2)
    for _ in range(5):
        with trio.CancelScope() as scope:
            async with mailbox.receive() as item:
                assert item == 1
                scope.cancel()
                await trio.lowlevel.checkpoint()
    assert mailbox.statistics().attempts == 0
    assert [await take(mailbox), await take(mailbox)] == [1, 2]
    assert not dead.letters


async def test_an_item_that_crashes_three_times_becomes_a_dead_letter_and_the_next_is_received() -> None:
    dead = Dead()
    mailbox = Mailbox[int](10, on_dead_letter=dead)
    mailbox.put_nowait(1)
    mailbox.put_nowait(2)
    for attempt in (1, 2):
        assert await crash_on_next(mailbox, ValueError("poison")) == [1]
        assert mailbox.statistics().attempts == attempt
        assert not dead.letters
    assert await crash_on_next(mailbox, ValueError("the last")) == [1]
    assert [(item, str(error)) for item, error in dead.letters] == [(1, "the last")]
    assert await take(mailbox) == 2


@pytest.mark.parametrize(
    "error",
    [TransientError("disk full"), MisconfiguredError("newer schema"), ExceptionGroup("", [TransientError("x")])],
)
async def test_a_transient_error_counts_no_attempt(error: Exception) -> None:
    dead = Dead()
    mailbox = Mailbox[int](10, on_dead_letter=dead)
    mailbox.put_nowait(1)
    for _ in range(10):
        await crash_on_next(mailbox, error)
    assert not dead.letters
    assert await take(mailbox) == 1


async def test_an_item_stays_when_its_dead_letter_cannot_be_handed_over() -> None:
    def refuse(item: int, error: BaseException) -> None:
        raise OSError("no room for rejects")

    mailbox = Mailbox[int](10, on_dead_letter=refuse, attempts_max=1)
    mailbox.put_nowait(1)
    with pytest.raises(OSError, match="no room") as caught:
        async with mailbox.receive():
            raise ValueError("poison")
    assert isinstance(caught.value.__context__, ValueError)
    assert await take(mailbox) == 1


async def test_after_a_crash_a_batch_is_handed_out_one_by_one_until_the_poison_is_found() -> None:
    dead = Dead()
    mailbox = Mailbox[int](10, on_dead_letter=dead)
    for n in range(6):
        mailbox.put_nowait(n)
    seen: list[list[int]] = []
    stored: list[int] = []
    while mailbox.statistics().depth:
        with suppress(ValueError):
            async with mailbox.receive_many(4) as items:
                seen.append(items)
                crash_on(2, items)
                stored += items
    assert seen == [[0, 1, 2, 3], [0], [1], [2], [2], [3], [4, 5]]
    assert stored == [0, 1, 3, 4, 5]
    assert dead.items == [2]


async def test_a_batch_is_never_a_dead_letter_as_a_whole() -> None:
    dead = Dead()
    mailbox = Mailbox[int](10, on_dead_letter=dead, attempts_max=1)
    for n in range(3):
        mailbox.put_nowait(n)
    assert await crash_on_next(mailbox, ValueError(), items_max=3) == [0, 1, 2]
    assert not dead.letters
    assert await crash_on_next(mailbox, ValueError(), items_max=3) == [0]
    assert dead.items == [0]


async def test_a_full_mailbox_makes_producers_wait_and_serves_them_in_order(autojump_clock: object) -> None:
    mailbox = Mailbox[int](2, on_dead_letter=Dead())
    async with trio.open_nursery() as nursery:
        for n in range(5):
            nursery.start_soon(mailbox.put, n)
            await trio.testing.wait_all_tasks_blocked()
        assert mailbox.statistics().waiting_put == 3
        with pytest.raises(trio.WouldBlock):
            mailbox.put_nowait(9)
        assert [await take(mailbox) for _ in range(5)] == [0, 1, 2, 3, 4]
    assert mailbox.statistics().peak == 2


async def test_capacity_is_weight_and_a_light_item_does_not_overtake_a_heavy_one(autojump_clock: object) -> None:
    mailbox = Mailbox[int](10, weigh=lambda n: n, on_dead_letter=Dead())
    await mailbox.put(8)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(mailbox.put, 5)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(mailbox.put, 1)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.WouldBlock):
            mailbox.put_nowait(1)
        assert mailbox.statistics().weight == 8
        assert [await take(mailbox) for _ in range(3)] == [8, 5, 1]


async def test_when_a_heavy_producer_is_cancelled_those_behind_it_are_served(autojump_clock: object) -> None:
    mailbox = Mailbox[int](10, weigh=lambda n: n, on_dead_letter=Dead())
    await mailbox.put(8)
    async with trio.open_nursery() as nursery:
        heavy = trio.CancelScope()

        async def put_heavy() -> None:
            with heavy:
                await mailbox.put(9)

        nursery.start_soon(put_heavy)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(mailbox.put, 2)
        await trio.testing.wait_all_tasks_blocked()
        assert mailbox.statistics().waiting_put == 2
        heavy.cancel()
    assert [await take(mailbox) for _ in range(2)] == [8, 2]


async def test_an_item_heavier_than_the_capacity_goes_in_alone(autojump_clock: object) -> None:
    mailbox = Mailbox[int](10, weigh=lambda n: n, on_dead_letter=Dead())
    await mailbox.put(1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(mailbox.put, 50)
        await trio.testing.wait_all_tasks_blocked()
        assert mailbox.statistics().waiting_put == 1
        assert [await take(mailbox) for _ in range(2)] == [1, 50]


@pytest.mark.parametrize("weight", [0, -1])
async def test_an_item_without_weight_is_refused(weight: int) -> None:
    mailbox = Mailbox[int](10, weigh=lambda _: weight, on_dead_letter=Dead())
    with pytest.raises(ValueError, match="weigh at least 1"):
        await mailbox.put(1)


async def test_close_releases_producers_and_lets_the_consumer_drain(autojump_clock: object) -> None:
    mailbox = Mailbox[int](2, on_dead_letter=Dead())
    async with trio.open_nursery() as nursery:
        await mailbox.put(1)
        await mailbox.put(2)

        async def put_late() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await mailbox.put(3)

        nursery.start_soon(put_late)
        await trio.testing.wait_all_tasks_blocked()
        mailbox.close()
        mailbox.close()
    with pytest.raises(trio.ClosedResourceError):
        await mailbox.put(4)
    assert [await take(mailbox) for _ in range(2)] == [1, 2]
    for _ in range(2):
        with pytest.raises(trio.EndOfChannel):
            await take(mailbox)


async def test_close_wakes_a_consumer_that_waits(autojump_clock: object) -> None:
    mailbox = Mailbox[int](2, on_dead_letter=Dead())

    async def consume() -> None:
        with pytest.raises(trio.EndOfChannel):
            await take(mailbox)

    with trio.fail_after(1):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(consume)
            await trio.testing.wait_all_tasks_blocked()
            mailbox.close()


async def test_two_consumers_at_once_are_refused_and_the_next_one_is_not(autojump_clock: object) -> None:
    mailbox = Mailbox[int](2, on_dead_letter=Dead())
    mailbox.put_nowait(1)
    async with mailbox.receive():
        with pytest.raises(trio.BusyResourceError):
            await take(mailbox)
    mailbox.put_nowait(2)
    assert await take(mailbox) == 2


async def test_a_consumer_cancelled_while_it_waits_makes_room_for_the_next(autojump_clock: object) -> None:
    mailbox = Mailbox[int](2, on_dead_letter=Dead())
    with trio.move_on_after(1):
        await take(mailbox)
    mailbox.put_nowait(1)
    assert await take(mailbox) == 1


async def test_a_batch_of_no_items_is_refused() -> None:
    mailbox = Mailbox[int](2, on_dead_letter=Dead())
    with pytest.raises(ValueError, match="items_max"):
        async with mailbox.receive_many(0):
            pass


async def test_put_and_receive_are_checkpoints() -> None:
    mailbox = Mailbox[int](2, on_dead_letter=Dead())
    with trio.testing.assert_checkpoints():
        await mailbox.put(1)
    with trio.testing.assert_checkpoints():
        await take(mailbox)


async def test_a_cancelled_put_leaves_the_mailbox_as_it_was(autojump_clock: object) -> None:
    mailbox = Mailbox[int](1, on_dead_letter=Dead())
    with trio.CancelScope() as scope:
        scope.cancel()
        await mailbox.put(1)
    assert mailbox.statistics().depth == 0
    await mailbox.put(2)
    with trio.move_on_after(1):
        await mailbox.put(3)
    assert await take(mailbox) == 2
    assert mailbox.statistics().depth == mailbox.statistics().waiting_put == 0


@pytest.mark.parametrize(("capacity", "attempts_max"), [(0, 3), (1, 0)])
def test_a_mailbox_without_room_or_attempts_is_refused(capacity: int, attempts_max: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Mailbox[int](capacity, attempts_max=attempts_max, on_dead_letter=Dead())


async def _storm(seed: int, capacity: int, producers: int, batch: int) -> None:
    """Producers that are cancelled at random, a consumer that crashes and is cancelled at random."""
    random, dead = Random(seed), Dead()
    mailbox = Mailbox[int](capacity, weigh=lambda n: n % 3 + 1, on_dead_letter=dead)
    accepted: list[list[int]] = [[] for _ in range(producers)]
    stored: list[int] = []
    poison = {n for n in range(producers * 1000) if random.random() < 0.05}

    async def produce(which: int) -> None:
        for n in range(which * 1000, which * 1000 + 25):
            with trio.move_on_after(random.choice([0, 0.5, 3, 100])):
                await mailbox.put(n)
                accepted[which].append(n)
            await trio.sleep(random.random() * 2)

    async def live() -> None:
        while True:
            async with mailbox.receive_many(batch) as items:
                await trio.sleep(random.random())
                if random.random() < 0.1:
                    raise TransientError("the disk, not the item")
                if poison & set(items):
                    raise ValueError("poison")
                stored.extend(items)  # the acknowledgement; nothing is awaited after it
                assert mailbox.statistics().weight <= max(capacity, 3)

    async def supervise() -> None:
        while True:
            try:
                with trio.move_on_after(random.random() * 10):
                    await live()
            except (TransientError, ValueError):
                pass
            except trio.EndOfChannel:
                return

    with trio.fail_after(100_000):
        async with trio.open_nursery() as consumer:
            consumer.start_soon(supervise)
            async with trio.open_nursery() as nursery:
                for which in range(producers):
                    nursery.start_soon(produce, which)
            mailbox.close()
    sent = [n for some in accepted for n in some]
    assert sorted(stored + dead.items) == sorted(sent), "lost or doubled"
    assert set(dead.items) == poison & set(sent), "only poison is put aside"
    for some in accepted:
        mine = [n for n in stored if n in some]
        assert mine == [n for n in some if n not in poison], "one producer's order is kept"


@settings(max_examples=amount(40, 1000))
@given(st.integers(0, 2**32), st.integers(1, 12), st.integers(1, 4), st.integers(1, 5))
def test_no_item_is_lost_or_doubled_by_crashes_and_cancellations_anywhere(
    seed: int, capacity: int, producers: int, batch: int
) -> None:
    trio.run(_storm, seed, capacity, producers, batch, clock=trio.testing.MockClock(autojump_threshold=0))
