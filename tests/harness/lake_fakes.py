"""A store and a lake in memory for the ship actor, both of which fail, lock and hang on request."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date
from threading import Event

import trio

from actors.model.batch import Batch
from actors.model.errors import DatabaseLocked
from actors.model.ticks import Block
from actors.settings import LakeSettings
from actors.sink.lake.lake import Batches, Marks, Shipped
from actors.sink.lake.ship import Ship
from tests.harness.buffering import block
from tests.harness.supervisor_fakes import Ear

DAY = date(2026, 11, 2)
EVERY_S = 10.0
POLL_S = 0.5
ANSWER_S = 30.0  # a call that is to hang is let go after so long at the latest


class Down(Exception):
    """The lake is out of reach."""


@dataclass
class MemoryStore:
    """Batches by number with their ticks: a `ship.Source`."""

    ship_mark: int | None = None
    store_id: str = "store-1"
    newest: int = 0
    touched_ns: int = 0
    numbers: dict[int, int] = field(default_factory=dict)
    locked: bool = False
    transient: tuple[type[Exception], ...] = (OSError,)
    asked: list[tuple[int, int | None]] = field(default_factory=list)
    during: Callable[[], None] = lambda: None

    def batches(self, above: int, rows_max: int, through: int | None = None) -> Batches | None:
        self.asked.append((above, through))
        self.during()
        if self.locked:
            raise DatabaseLocked
        found, rows = [number for number in self.numbers if above < number <= (through or number)], 0
        for number in found:
            rows += self.numbers[number]
            if rows >= rows_max and through is None:
                found = [one for one in found if one <= number]
                break
        if not found:
            return None
        shipped = (Shipped("ticks", "x", DAY, rows, 0),)
        return Batches(self.store_id, above, through or found[-1], rows, {}, shipped)


@dataclass
class MemoryLake:
    """Tables of one lake; several handles may share `kept`: a `lake.Lake`."""

    marks_kept: Marks = field(default_factory=Marks)
    commits: list[tuple[float, int, int, int]] = field(default_factory=list)  # when, above, through, ticks
    marks_read: int = 0
    error: Exception | None = None
    lost_answer: bool = False
    held: Event = field(default_factory=Event)  # while it is not set a commit hangs
    hanging: int = 0
    transient: tuple[type[Exception], ...] = (Down,)

    def __post_init__(self) -> None:
        self.held.set()

    def marks(self, store_id: str) -> Marks:
        self.marks_read += 1
        if self.error is not None:
            raise self.error
        return self.marks_kept

    def commit(self, batches: Batches) -> None:
        if self.error is not None:
            raise self.error
        self.hanging += 1
        self.held.wait(ANSWER_S)
        self.hanging -= 1
        if self.marks_kept.committed == batches.through:
            return
        if self.marks_kept.committed > batches.through:
            raise Down("it has others")
        assert self.marks_kept.committed == batches.above
        assert self.marks_kept.intended in (batches.above, batches.through)
        now = trio.from_thread.run_sync(trio.current_time) if self.held.is_set() else 0.0
        self.commits.append((now, batches.above, batches.through, batches.ticks))
        self.marks_kept = Marks(batches.through, batches.through)
        if self.lost_answer:
            self.lost_answer = False
            raise Down("the answer was lost")

    def describe(self, error: Exception) -> str:
        return f"out of reach: {error}"

    def close(self) -> None:
        pass


class World:
    """One ship actor between both. `give` stores a batch, as the writer does."""

    def __init__(self) -> None:
        self.store, self.lake, self.limiter, self.ear = MemoryStore(), MemoryLake(), trio.CapacityLimiter(1), Ear()
        self.opened = 0
        self.ship = self.new_ship()
        self.ended = trio.Event()

    def new_ship(self, finish_s: float = 3.0) -> Ship:
        """Another ship actor of the same store."""
        settings = LakeSettings(uri="tape", recorder="r", every_s=EVERY_S)
        return Ship(self.store, self._open, settings, self.limiter, finish_s=finish_s)

    def _open(self) -> MemoryLake:
        self.opened += 1
        return self.lake

    def give(self, number: int, ticks: int = 1) -> None:
        """A batch is durable."""
        self.store.numbers[number], self.store.newest = ticks, number
        blocks: tuple[Block, ...] = (block(ticks),) if ticks else ()
        self.ship.stored(Batch(number, blocks=blocks))

    @property
    def events(self) -> list[str]:
        """The names of the events, without that of the start."""
        return [event for event, _, _ in self.ear.notes if event != "shipping"]

    @asynccontextmanager
    async def running(self) -> AsyncIterator["World"]:
        """The actor runs; it is cancelled at the end of the block."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._run)
            yield self
            nursery.cancel_scope.cancel()

    async def _run(self) -> None:
        await self.ship.run(self.ear)
        self.ended.set()


async def until(done: Callable[[], bool], patience_s: float = 400.0) -> None:
    """Waits, in trio's time."""
    with trio.fail_after(patience_s):
        while not done():  # noqa: ASYNC110 - several tasks and threads change what it looks at
            await trio.sleep(POLL_S)
