"""Repeats short checks for many tasks with one timer.

With a timer for each of 100 sessions, four times a second, trio's timers took a tenth of the CPU. A task is woken
only when its check asks for it.
"""

import itertools
import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import trio
from trio.lowlevel import Abort, RaiseCancelT, Task

TOGETHER_S = 0.01  # checks due within this time are made together
TURN_S = 0.005  # other tasks run after so long

_tickers: "trio.lowlevel.RunVar[Ticker]" = trio.lowlevel.RunVar("ticker")


@dataclass(slots=True, eq=False)
class _Check:
    check: Callable[[], bool | None]
    task: Task
    waits: bool = False  # parked, to be woken by an error or to lead
    ended: bool = False
    done: bool = False  # the check returned True
    error: Exception | None = None


class Ticker:
    """One per run. One of the tasks that wait makes the checks of all; if it ends another one goes on."""

    def __init__(self) -> None:
        # by period, each in order of the time when it is due: a heap of thousands would cost more
        self._queues: dict[float, deque[tuple[float, _Check]]] = {}
        self._leading = False
        self._nap = trio.CancelScope()
        self._made_at = -math.inf

    async def repeat(self, check: Callable[[], bool | None], every_s: float) -> None:
        """Calls `check` every `every_s`, at most TOGETHER_S late, until it returns True, or raises: raises that."""
        mine = _Check(check, trio.lowlevel.current_task())
        due = trio.current_time() + every_s
        self._queues.setdefault(every_s, deque()).append((due, mine))
        self._nap.deadline = min(self._nap.deadline, due)
        try:
            while not mine.done:
                if self._leading:
                    await self._park(mine)
                else:
                    await self._lead(mine)
        finally:
            mine.ended = True
        if mine.error is not None:
            raise mine.error

    async def _park(self, mine: _Check) -> None:
        def abort(_: RaiseCancelT) -> Abort:
            mine.waits = False
            return Abort.SUCCEEDED

        mine.waits = True
        await trio.lowlevel.wait_task_rescheduled(abort)

    async def _lead(self, mine: _Check) -> None:
        self._leading = True
        try:
            while not mine.done:
                first = min(queue[0][0] for queue in self._queues.values() if queue)
                due = max(first, self._made_at + TOGETHER_S)
                with trio.CancelScope(deadline=due) as self._nap:
                    await trio.sleep_forever()
                self._made_at = trio.current_time()
                await self._make_due()
        finally:
            self._leading = False
            all_checks = itertools.chain.from_iterable(self._queues.values())
            heir = next((one for _, one in all_checks if one.waits and not one.ended), None)
            if heir is not None:
                self._wake(heir)

    async def _make_due(self) -> None:
        now, turn_ends = trio.current_time(), time.perf_counter() + TURN_S
        for every_s, queue in list(self._queues.items()):
            while queue and queue[0][0] <= now:
                _, one = queue.popleft()
                if one.ended:
                    continue
                try:
                    one.done = bool(one.check())
                except Exception as error:  # noqa: BLE001 - raised in its own task
                    one.error, one.done = error, True
                if not one.done:
                    queue.append((trio.current_time() + every_s, one))
                elif one.waits:
                    self._wake(one)
                if time.perf_counter() > turn_ends:
                    await trio.lowlevel.checkpoint()
                    turn_ends = time.perf_counter() + TURN_S
            if not queue:
                del self._queues[every_s]

    def _wake(self, one: _Check) -> None:
        one.waits = False
        trio.lowlevel.reschedule(one.task)


def ticker() -> Ticker:
    """The run's ticker: all sessions share it."""
    try:
        return _tickers.get()
    except LookupError:
        _tickers.set(made := Ticker())
        return made
