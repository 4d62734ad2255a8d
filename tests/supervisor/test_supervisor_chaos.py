"""Promises under random crashes, stalls and commands over a whole tree of actors."""

import itertools
from collections.abc import Awaitable, Callable
from random import Random

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor import (
    Backoff,
    ChildSpec,
    Context,
    Intensity,
    Mailbox,
    MisconfiguredError,
    Restart,
    State,
    Strategy,
    Supervisor,
    TransientError,
    UnknownActorError,
)
from tests.harness.amounts import amount
from tests.harness.supervisor_fakes import Record

BLOCKS = 4  # parts of the test, for as many processes
STOP_S = 20.0


class Chaos:
    """A pipeline source -> relay -> store whose actors fail at any await, while random commands are given."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.record = Record()
        self.relayed = Mailbox[int](self.random.randint(1, 5), on_dead_letter=self.bury)
        self.stored_by = Mailbox[list[int]](self.random.randint(1, 5), on_dead_letter=self.bury_all)
        self.numbers = itertools.count()
        self.sent: list[int] = []
        self.stored: list[list[int]] = []
        self.dead: list[int] = []
        self.alive: set[str] = set()
        self.calm = False

    def bury(self, item: int, error: BaseException) -> None:
        self.dead.append(item)

    def bury_all(self, items: list[int], error: BaseException) -> None:
        self.dead += items

    async def hazard(self, context: Context) -> None:
        """An await at which anything may happen."""
        await trio.sleep(self.random.random())
        if self.calm:
            return
        dice = self.random.random()
        if dice < 0.03:
            raise TransientError("reset", retry_after_s=self.random.choice([None, 0, 5]))
        if dice < 0.06:
            raise ValueError("bug")
        if dice < 0.065:
            raise MisconfiguredError("certificate")
        if dice < 0.07:
            await trio.sleep_forever()
        if dice < 0.3:
            context.degraded("impaired")
        elif dice < 0.6:
            context.ok()
        else:
            context.healthy()

    def once_at_a_time(self, act: Callable[[Context], Awaitable[None]]) -> Callable[[Context], Awaitable[None]]:
        async def run(context: Context) -> None:
            assert context.name not in self.alive, "two incarnations of one actor at once"
            self.alive.add(context.name)
            try:
                await act(context)
            finally:
                self.alive.discard(context.name)

        return run

    async def source(self, context: Context) -> None:
        while not context.stopping.is_set():
            await self.hazard(context)
            item = next(self.numbers)
            await self.relayed.put(item)
            self.sent.append(item)  # a put that raised has put nothing; one that returned has
            context.handled()

    async def relay(self, context: Context) -> None:
        while True:
            try:
                async with self.relayed.receive_many(3) as items:
                    await self.hazard(context)
                    await self.stored_by.put(list(items))
            except trio.EndOfChannel:
                return

    async def store(self, context: Context) -> None:
        while True:
            try:
                async with self.stored_by.receive() as items:
                    await self.hazard(context)
                    self.stored.append(items)
            except trio.EndOfChannel:
                return

    async def command(self, root: Supervisor) -> None:
        names = ["store", "relay", "sources", "source:1", "source:2", "extra"]
        while True:
            await trio.sleep(self.random.random() * 20)
            name = self.random.choice(names)
            command = self.random.choice([root.restart, root.pause, root.resume, root.resume])
            try:
                await command(name)
            except UnknownActorError:
                assert name == "extra"

    async def run(self) -> float:
        """Returns the trio seconds that the final stop took."""
        policy = Backoff(0.1, 5, 10)
        async with Supervisor("root", on_event=self.record, random=self.random) as root:

            def spec(name: str, act: Callable[[Context], Awaitable[None]], **more: object) -> ChildSpec:
                values: dict[str, object] = {
                    "backoff": policy, "intensity": Intensity(4, 60), "probe_interval_s": 30.0, "stop_s": STOP_S
                } | more  # fmt: skip
                return ChildSpec(name, self.once_at_a_time(act), **values)  # type: ignore[arg-type]

            await root.start(spec("store", self.store, on_stop=self.stored_by.close, mailbox=self.stored_by))
            await root.start(spec("relay", self.relay, on_stop=self.relayed.close, mailbox=self.relayed))
            strategy = self.random.choice(list(Strategy))
            sources = await root.start_supervisor("sources", strategy=strategy)
            await sources.start(spec("source:1", self.source))
            await sources.start(spec("source:2", self.source))
            await sources.start(spec("extra", self.hazard, restart=self.random.choice(list(Restart))))
            with trio.move_on_after(self.random.random() * 300):
                await self.command(root)
            self.calm = True
            begun = trio.current_time()
        return trio.current_time() - begun


@pytest.mark.parametrize("block", range(BLOCKS))
@settings(max_examples=amount(20, 2000) // BLOCKS)
@given(st.integers(0, 2**32), st.random_module())  # pytest-trio registers trio's scheduler with Hypothesis
def test_under_random_crashes_and_commands_nothing_is_lost_no_actor_runs_twice_and_the_stop_is_in_time(
    block: int, seed: int, scheduler: object
) -> None:
    chaos = Chaos(seed * BLOCKS + block)
    took_s = trio.run(chaos.run, clock=trio.testing.MockClock(autojump_threshold=0))
    assert took_s <= 4 * STOP_S
    assert not chaos.alive
    assert set(chaos.record.states.values()) == {State.STOPPED}
    left = chaos.relayed.statistics().depth + chaos.stored_by.statistics().depth
    assert left == 0, "calm again, all should have been drained"
    arrived = [item for items in chaos.stored for item in items] + chaos.dead
    assert sorted(arrived) == sorted(chaos.sent), "lost or doubled"
