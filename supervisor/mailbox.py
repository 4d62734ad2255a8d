"""The at-least-once mailbox: bounded, fair, and an item leaves only when its handler has finished."""

from collections import OrderedDict, deque
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from itertools import islice, takewhile
from typing import Generic, TypeVar

import trio
from trio.lowlevel import Abort, ParkingLot, RaiseCancelT, Task

from supervisor.errors import Verdict, classify

T = TypeVar("T")


@dataclass(slots=True)
class _Entry(Generic[T]):
    item: T
    weight: int
    attempts: int = 0
    refused: bool = False  # its producer was waiting when the mailbox was closed


@dataclass(frozen=True, slots=True)
class MailboxStatistics:
    """A mailbox at one moment.

    `depth` counts items, the one in hand included; `weight`, `capacity` and `peak` are in the mailbox's
    unit; `waiting_put` is how many producers wait; `attempts` how often the item at the front has crashed
    its handler; `taken` how many items have left in all; `withdrawn` how many were cancelled while they waited for
    room, in all.
    """

    depth: int
    weight: int
    capacity: int
    peak: int
    waiting_put: int
    attempts: int
    taken: int
    withdrawn: int


class Mailbox(Generic[T]):
    """A queue between actors that outlives both ends' crashes. Many producers, one consumer at a time.

    Bounded by total weight: `weigh(item)` is at least 1, and an item heavier than the whole capacity goes
    in alone. When it is full, `put` waits; those who wait are served in order, also when a later, lighter
    item would fit.

    With respect to cancellation `put` is atomic: either the item is in the mailbox, or it raised
    `trio.Cancelled` and left the mailbox as it was. A received item stays at the front,
    counted, while its handler runs. It leaves when the block ends normally; when the block is cancelled
    or raises, it is still at the front for the next receiver.

    An exception out of the block counts as an attempt if `blames(error)`: by default a bug, and neither a
    cancellation nor a transient or misconfigured error, for a full disk is not the item's fault. The last of
    `attempts_max` attempts hands the item to `on_dead_letter(item, error)` and removes it. The exception
    propagates each time, so that the actor visibly crashes; the restarted one receives the next item. If
    `on_dead_letter` itself raises, the item stays.

    A mailbox has no owner and needs no clean-up. `close()` is the end-of-stream signal.
    """

    def __init__(
        self,
        capacity: int,
        *,
        weigh: Callable[[T], int] = lambda _: 1,
        on_dead_letter: Callable[[T, BaseException], None],
        attempts_max: int = 3,
        blames: Callable[[BaseException], bool] = lambda error: classify(error)[0] is Verdict.BUG,
    ) -> None:
        if capacity < 1 or attempts_max < 1:
            raise ValueError("a mailbox needs a capacity and attempts_max of at least 1")
        self._capacity = capacity
        self._weigh = weigh
        self._on_dead_letter = on_dead_letter
        self._attempts_max = attempts_max
        self._blames = blames
        self._entries: deque[_Entry[T]] = deque()
        self._putters: OrderedDict[Task, _Entry[T]] = OrderedDict()
        self._consumers = ParkingLot()
        self._receiving = False
        self._closed = False
        self._weight = self._peak = self._taken = self._withdrawn = 0

    def put_nowait(self, item: T) -> None:
        """Puts the item in, or raises trio.WouldBlock when it is full or others wait.

        Raises trio.ClosedResourceError after `close()`.
        """
        if not self._accept(self._entry(item)):
            raise trio.WouldBlock

    async def put(self, item: T) -> None:
        """Puts the item in, waiting while the mailbox is full. Raises trio.ClosedResourceError if it is closed,
        also while waiting; then the item is not in.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        entry = self._entry(item)
        if self._accept(entry):
            await trio.lowlevel.cancel_shielded_checkpoint()
            return
        task = trio.lowlevel.current_task()
        self._putters[task] = entry
        task.custom_sleep_data = self  # by this the watchdog recognizes a full mailbox downstream

        def abort(_: RaiseCancelT) -> Abort:
            del self._putters[task]
            self._withdrawn += 1
            self._admit()  # items that waited behind a heavy one may fit
            return Abort.SUCCEEDED

        try:
            await trio.lowlevel.wait_task_rescheduled(abort)
        finally:
            task.custom_sleep_data = None
        if entry.refused:
            raise trio.ClosedResourceError("the mailbox was closed")

    def close(self) -> None:
        """Refuses puts from now on; waiting producers get trio.ClosedResourceError. The consumer drains the rest
        and then gets trio.EndOfChannel. May be called again.
        """
        self._closed = True
        while self._putters:
            task, entry = self._putters.popitem(last=False)
            entry.refused = True
            trio.lowlevel.reschedule(task)
        self._consumers.unpark_all()

    def receive(self) -> AbstractAsyncContextManager[T]:
        """`async with mailbox.receive() as item:` the item leaves when the block ends normally.

        Raises trio.EndOfChannel when the mailbox is closed and empty, trio.BusyResourceError when another
        task is receiving.
        """
        return self._receive_one()

    @asynccontextmanager
    async def _receive_one(self) -> AsyncGenerator[T, None]:
        async with self.receive_many(1) as items:
            yield items[0]

    @asynccontextmanager
    async def receive_many(self, items_max: int) -> AsyncGenerator[list[T], None]:
        """Like `receive`, for the 1 to `items_max` items that are there; all leave together or none.

        After a crash it is unknown which item caused it, so those items are handed out again one at a time, and
        only an item that crashes alone becomes a dead letter.
        """
        if items_max < 1:
            raise ValueError("items_max must be at least 1")
        if self._receiving:
            raise trio.BusyResourceError("another task is receiving from this mailbox")
        self._receiving = True
        try:
            await trio.lowlevel.checkpoint()
            while not self._entries:
                if self._closed:
                    raise trio.EndOfChannel
                await self._consumers.park()
            batch = list(islice(takewhile(lambda entry: not entry.attempts, self._entries), items_max))
            batch = batch or [self._entries[0]]
            try:
                yield [entry.item for entry in batch]
            except Exception as error:
                if self._blames(error):
                    self._crashed(batch, error)
                raise
            self._remove(batch)
        finally:
            self._receiving = False

    @property
    def put_so_far(self) -> int:
        """How many items have been put in, in all."""
        return self._taken + len(self._entries)

    def statistics(self) -> MailboxStatistics:
        """The mailbox at this moment."""
        return MailboxStatistics(
            depth=len(self._entries),
            weight=self._weight,
            capacity=self._capacity,
            peak=self._peak,
            waiting_put=len(self._putters),
            attempts=self._entries[0].attempts if self._entries else 0,
            taken=self._taken,
            withdrawn=self._withdrawn,
        )

    def _entry(self, item: T) -> _Entry[T]:
        weight = self._weigh(item)
        if weight < 1:
            raise ValueError(f"an item must weigh at least 1, or nothing bounds their number; got {weight}")
        return _Entry(item, weight)

    def _accept(self, entry: _Entry[T]) -> bool:
        if self._closed:
            raise trio.ClosedResourceError("the mailbox is closed")
        if self._putters or not self._fits(entry):
            return False
        self._append(entry)
        return True

    def _fits(self, entry: _Entry[T]) -> bool:
        return not self._entries or self._weight + entry.weight <= self._capacity

    def _append(self, entry: _Entry[T]) -> None:
        self._entries.append(entry)
        self._weight += entry.weight
        self._peak = max(self._peak, self._weight)
        self._consumers.unpark()

    def _admit(self) -> None:
        while self._putters:
            task, entry = next(iter(self._putters.items()))
            if not self._fits(entry):
                return
            del self._putters[task]
            self._append(entry)
            trio.lowlevel.reschedule(task)

    def _remove(self, batch: list[_Entry[T]]) -> None:
        for entry in batch:
            left = self._entries.popleft()
            assert left is entry, "only the one consumer takes items off"
            self._weight -= entry.weight
            self._taken += 1
        self._admit()

    def _crashed(self, batch: list[_Entry[T]], error: Exception) -> None:
        for entry in batch:
            entry.attempts += 1
        if len(batch) == 1 and batch[0].attempts >= self._attempts_max:
            self._on_dead_letter(batch[0].item, error)
            self._remove(batch)
