"""Repeats short checks for many tasks with one timer.

With a timer for each of 100 sessions, four times a second, trio's timers took a tenth of the CPU. A task is woken
only when its check asks for it.
"""

import heapq
import itertools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import trio
from trio.lowlevel import Abort, RaiseCancelT, Task

TOGETHER_S = 0.01  # checks due within this time are made together
TURN_S = 0.005  # other tasks run after so long

_tickers: "trio.lowlevel.RunVar[Ticker]" = trio.lowlevel.RunVar("ticker")
_numbers = itertools.count()


@dataclass(slots=True, eq=False)
class _Check:
    every_s: float
    check: Callable[[], bool | None]
    task: Task
    waits: bool = False  # parked, to be woken by an error or to lead
    ended: bool = False
    done: bool = False  # the check returned True
    error: Exception | None = None


class Ticker:
    """One per run. One of the tasks that wait makes the checks of all; if it ends another one goes on."""

    def __init__(self) -> None:
        # a heap by the time when each is due; numbers decide between equal times
        self._checks: list[tuple[float, int, _Check]] = []
        self._leading = False
        self._nap = trio.CancelScope()
        self._made_at = -math.inf

    async def repeat(self, check: Callable[[], bool | None], every_s: float) -> None:
        """Calls `check` every `every_s`, at most TOGETHER_S late, until it returns True, or raises: raises that."""
        mine = _Check(every_s, check, trio.lowlevel.current_task())
        due = trio.current_time() + every_s
        heapq.heappush(self._checks, (due, next(_numbers), mine))
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
                due = max(self._checks[0][0], self._made_at + TOGETHER_S)
                with trio.CancelScope(deadline=due) as self._nap:
                    await trio.sleep_forever()
                self._made_at = trio.current_time()
                await self._make_due()
        finally:
            self._leading = False
            heir = next((one for _, _, one in self._checks if one.waits and not one.ended), None)
            if heir is not None:
                self._wake(heir)

    async def _make_due(self) -> None:
        now, turn_ends = trio.current_time(), time.perf_counter() + TURN_S
        while self._checks and self._checks[0][0] <= now:
            _, number, one = heapq.heappop(self._checks)
            if one.ended:
                continue
            try:
                one.done = bool(one.check())
            except Exception as error:  # noqa: BLE001 - raised in its own task
                one.error, one.done = error, True
            if not one.done:
                heapq.heappush(self._checks, (now + one.every_s, number, one))
            elif one.waits:
                self._wake(one)
            if time.perf_counter() > turn_ends:
                await trio.lowlevel.checkpoint()
                turn_ends = time.perf_counter() + TURN_S

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
