"""Repeats short checks for many owners with one timer and one task.

With a timer for each of 100 sessions, four times a second, trio's timers took a tenth of the CPU. With a task for
each of 1,000 connections, those took 3 MB.
"""

import math
import time
from collections import deque
from collections.abc import Callable

import trio
from msgspec import Struct

from actors.wire.doze import doze

TOGETHER_S = 0.05  # checks due within this time are made together
TURN_S = 0.005  # other tasks run after so long

# Receives the time on trio's clock; is not made again once it returns True or raises.
Check = Callable[[float], bool | None]

_tickers: "trio.lowlevel.RunVar[Ticker]" = trio.lowlevel.RunVar("ticker")


class Repeated(Struct, eq=False):
    """A check that is repeated until it returns True or raises, or its owner ends it."""

    check: Check
    failed: Callable[[Exception], object]
    ended: bool = False

    def end(self) -> None:
        """It is not made again."""
        self.ended = True


class Ticker:
    """One per run; a system task makes the checks."""

    def __init__(self) -> None:
        # by period, each in order of the time when it is due: a heap of thousands would cost more
        self._queues: dict[float, deque[tuple[float, Repeated]]] = {}
        self._nap = trio.CancelScope()
        self._runs = False

    def start(self, check: Check, every_s: float, failed: Callable[[Exception], object]) -> Repeated:
        """Calls `check` every `every_s`, at most TOGETHER_S late, until it returns True or raises.

        `failed` receives the error.
        """
        if not self._runs:
            self._runs = True
            trio.lowlevel.spawn_system_task(self._run, name="ticker")
        one = Repeated(check, failed)
        due = trio.current_time() + every_s
        self._queues.setdefault(every_s, deque()).append((due, one))
        self._nap.deadline = min(self._nap.deadline, due)
        return one

    async def repeat(self, check: Check, every_s: float) -> None:
        """The same for a task: returns when the check returns True, and raises what it raises."""
        task = trio.lowlevel.current_task()
        errors: list[Exception] = []

        def made(now: float) -> bool:
            done = bool(check(now))
            if done and not one.ended:
                trio.lowlevel.reschedule(task)
            return done

        def failed(error: Exception) -> None:
            errors.append(error)
            if not one.ended:
                trio.lowlevel.reschedule(task)

        one = self.start(made, every_s, failed)

        def abort(_: trio.lowlevel.RaiseCancelT) -> trio.lowlevel.Abort:
            one.end()
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)
        for error in errors:
            raise error

    async def _run(self) -> None:
        made_at = -math.inf
        while True:
            first = min((queue[0][0] for queue in self._queues.values() if queue), default=math.inf)
            self._nap = trio.CancelScope(deadline=max(first, made_at + TOGETHER_S))
            await doze(self._nap)
            made_at = trio.current_time()
            await self._make_due(made_at)

    async def _make_due(self, due: float) -> None:
        now, turn_ends = due, time.perf_counter() + TURN_S
        for every_s, queue in list(self._queues.items()):
            while queue and queue[0][0] <= due:
                _, one = queue.popleft()
                if one.ended:
                    continue
                try:
                    done = one.check(now)
                except Exception as error:  # noqa: BLE001 - its owner's
                    one.failed(error)
                else:
                    if not done:
                        queue.append((now + every_s, one))
                if time.perf_counter() > turn_ends:
                    await trio.lowlevel.checkpoint()
                    now, turn_ends = trio.current_time(), time.perf_counter() + TURN_S
            if not queue:
                del self._queues[every_s]


def ticker() -> Ticker:
    """The run's ticker: all sessions share it."""
    try:
        return _tickers.get()
    except LookupError:
        _tickers.set(made := Ticker())
        return made
