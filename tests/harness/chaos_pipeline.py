"""The whole pipeline under a seed's bad luck, on the mock clock, and what has to be true all the while.

Everything is the product's own but the edges: exchanges (chaos_venue), store (chaos_store),
wall clock, and threads, whose calls run in place because the mock clock cannot wait for a thread.

Two kinds of misfortune: an actor is cancelled at whatever await it has come to (counted in the loop's
steps) and then crashes; and `door` raises at the operations that actors depend on, before they take
effect. A mailbox that had done its work and then raised would break its own promise, not the pipeline's.
"""

import re
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from random import Random
from typing import Any, TypeVar, cast

import trio
import trio.testing

import actors.wire.websocket
from actors.continuity.continuity import Continuity
from actors.feed.session import Session
from actors.model.ticks import Block
from actors.pipeline import Pipeline
from supervisor import Context, Event, GaveUp, TransientError
from tests.harness.chaos_edges import parts, settings
from tests.harness.chaos_operator import Operator
from tests.harness.chaos_store import Boom, FakeStore, poisoned
from tests.harness.chaos_venue import POISON, Venue

T = TypeVar("T")

HOUR_NS = 3_600_000_000_000
BEGAN_NS = 1_795_000_000_000_000_000
STRIKES_MAX = 40  # so that the run gets somewhere
STEPS_MAX = 40_000  # of the loop; a run takes a few thousand
STRIKES_AT_END_MAX = 2  # once the end was asked for: a drain has its deadline
IDENTITY = re.compile(r"\b\d+\.\d{6}\b")


class Endless(Exception):
    """The run does not come to an end."""


class Chaos(trio.abc.Instrument):
    """One run. `wrong` fills with what should not be, `log` says what was done to it."""

    def __init__(self, seed: int) -> None:
        self.random = random = Random(seed)
        self.wrong: list[str] = []
        self.log: list[str] = []
        # identities in order, by exchange and connection
        self.delivered: dict[tuple[str, str, Continuity], list[str]] = {}
        self.held: set[str] = set()  # those that waited until it was clear whether they are sound
        self.heard: Counter[str] = Counter()  # what has to be booked as received, by exchange
        self.arrived: set[str] = set()  # in the buffer's mailbox
        self.states: dict[str, str] = {}
        self.pipeline: Pipeline  # there from the start of `run`
        self.store: FakeStore
        self.gave_up = False
        self.ending = False
        self.ends_at = random.uniform(0.3, 3.3)
        self.stop_took_s = 0.0
        self.venue = Venue(random, self.door)
        self.poison_hits = random.choice(["reader", "buffer", "store"])
        self.frail = random.random() < 0.05  # gives up after few crashes
        self._lives: dict[str, trio.CancelScope] = {}
        self.steps = 0
        self._every = random.choice([30, 100, 400])
        self._next_strike = random.randint(1, self._every)
        self._strikes_left = random.choice([0, STRIKES_MAX, STRIKES_MAX])
        self._door_share = random.choice([0.0, 0.002, 0.02])
        self._slow_s = random.choice([0.0, 0.01, 0.3, 2.0])
        self._leap_ns = 0

    def clock(self) -> trio.testing.MockClock:
        """One that stops a run which goes on for ever, whatever shields itself from being cancelled."""
        clock = trio.testing.MockClock(autojump_threshold=0)
        sleep_s = clock.deadline_to_sleep_time

        def ask(deadline: float) -> float:
            if self.steps > STEPS_MAX:
                raise Endless(f"at {clock.current_time():.3f} s")
            return sleep_s(deadline)

        clock.deadline_to_sleep_time = ask  # type: ignore[method-assign]
        return clock

    # -- misfortune ---------------------------------------------------------------------------------

    async def door(self, where: str) -> None:
        """An await at which an actor may crash."""
        if self._strikes_left and self.random.random() < self._door_share:
            self._strikes_left -= 1
            self.log.append(f"crash at {where}")
            raise self.random.choice([Boom, TransientError])(where)

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Looks at the books, and strikes when it is time."""
        self.steps += 1
        try:
            self.look()
        except Exception as error:  # noqa: BLE001 - trio would only log it
            self.wrong.append(repr(error))
        if self.steps >= self._next_strike and self._strikes_left and self._lives:
            self._next_strike = self.steps + self.random.randint(1, self._every)
            self._strikes_left -= 1
            name = self.random.choice(list(self._lives))
            self.log.append(f"step {self.steps}: {name} struck")
            self._lives[name].cancel()

    def haunted(self, name: str, run: Callable[[Context], Awaitable[None]]) -> Callable[[Context], Awaitable[None]]:
        """In place of `run`: each incarnation of this actor can be struck."""

        async def live(context: Context) -> None:
            if name in self._lives:
                self.wrong.append(f"two lives of {name} at once")
            scope = self._lives[name] = trio.CancelScope()
            try:
                with scope:
                    await run(context)
            finally:
                del self._lives[name]
            if scope.cancelled_caught:
                raise self.random.choice([Boom, Boom, TransientError])("struck")

        return live

    async def in_place(self, call: Callable[..., T], *args: object, **_: object) -> T:
        """In place of trio.to_thread.run_sync."""
        if self.states:  # before the first event it is the start of the store, which nobody supervises
            await self.door("thread")
        await trio.sleep(0 if self.ending else self.random.random() * self._slow_s)
        return call(*args)

    def wall(self) -> int:
        """In place of time.time_ns."""
        try:
            now_s = trio.current_time()
        except RuntimeError:
            now_s = 0.0
        return BEGAN_NS + self._leap_ns + int(now_s * 1e9)

    @property
    def waiting(self) -> bool:
        """See actors.sink.buffer.Watcher."""
        return True

    def show(self, blocks: Sequence[Block]) -> None:
        """As a watcher of live ticks it cannot bear poison."""
        if self.poison_hits == "buffer" and poisoned(blocks):
            raise Boom("poison")

    def end(self) -> None:
        """Nothing ends with it."""

    def crashes_reader(self, messages: Sequence[bytes]) -> bool:
        """Whether these messages crash the decoder."""
        return self.poison_hits == "reader" and any(b'"qty":' + POISON.encode() in text for text in messages)

    # -- what is seen -------------------------------------------------------------------------------

    def connect(
        self, url: str, *, sink: Any, **more: Any
    ) -> AbstractAsyncContextManager[actors.wire.websocket.WebSocket]:
        """In place of actors.wire.websocket.connect: notes what the wire delivers."""
        session: Session = sink.__self__
        delivered = self.delivered.setdefault((session.settings.name, session.spec.name, session.continuity), [])

        async def noted(messages: list[bytes], received_ns: int) -> None:
            found = [identity for text in messages for identity in IDENTITY.findall(text.decode())]
            delivered.extend(found)
            # of a read that crashes the decoder each message is one reject
            self.heard[session.settings.name] += len(messages) if self.crashes_reader(messages) else len(found)
            await sink(messages, received_ns)

        return actors.wire.websocket.connect(url, sink=noted, dial=self.venue.dial, **more)

    def look(self) -> None:
        """What has to be true at every moment."""
        if not hasattr(self, "pipeline"):
            return
        for name, account in self.pipeline.ledger.accounts.items():
            if not account.balanced:
                self.wrong.append(f"{name} is not balanced: {account}")
            if account.received < self.heard[name]:
                self.wrong.append(f"{name}: {self.heard[name]} heard, {account.received} received")
            if account.stored > self.store.rows.get(name, 0):
                self.wrong.append(f"{name}: {account.stored} called stored, {self.store.rows.get(name)} are")
            if account.in_flight < 0:
                self.wrong.append(f"{name}: less than nothing is in flight")

    def note(self, event: Event) -> None:
        """A listener to the pipeline's events."""
        if "from" in event.detail:
            self.states[event.actor] = event.event

    # -- the run ------------------------------------------------------------------------------------

    async def run(self) -> None:
        """From start to stop."""
        self.pipeline = Pipeline(settings(self.random, frail=self.frail), parts=parts(self))
        self.pipeline.listeners.append(self.note)
        self.pipeline.buffer.watchers.add(self)
        self.store = cast(FakeStore, self.pipeline.store)
        self.store.chokes_on_poison = self.poison_hits == "store"
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._meddle, nursery)
                await self.pipeline.run()
                self.stop_took_s = trio.current_time() - self.ends_at
                nursery.cancel_scope.cancel()
        except* GaveUp:
            self.gave_up = True

    async def _meddle(self, nursery: trio.Nursery) -> None:
        operator = Operator(self)
        with trio.move_on_at(self.ends_at):
            while True:
                await trio.sleep(self.random.expovariate(2))
                self._leap_ns = self.random.choice([0, HOUR_NS, -HOUR_NS])
                nursery.start_soon(operator.command)
        self.log.append("end asked for")
        self.ending = self.venue.calm = True
        self.store.sick = min(self.store.sick, 2)
        self.store.calm = True
        self._strikes_left = min(self._strikes_left, self.random.randint(0, STRIKES_AT_END_MAX))
        self._next_strike = self.steps + self.random.randint(1, 300)
        self.pipeline.stop()
