"""Runs the tickwarden command and notes how long its event loop pauses, and in what; see tests.bench.pauses.

A pause is what keeps the loop from the next look at its sockets: one turn of it. Noted are each turn, and each step
of a task that takes long, in real and in CPU time; each collection of garbage; and how late a task wakes that
sleeps for a millisecond. Beside turns and wake-ups stands how long the loop's thread was ready meanwhile and had no
core (schedstat of Linux): that is the machine. What remains beyond CPU time are waits for the interpreter's lock.
"""

import functools
import gc
import json
import os
import signal
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import trio

from ops.cli import main

SCHEDSTAT = Path("/proc/thread-self/schedstat")  # nanoseconds on a core, and ready without one; time slices
SCHEDSTAT_BYTES = 100
BEGIN_S = 3.0  # the start is not measured
TICK_S = 0.001


class Probe(trio.abc.Instrument):
    """All times in milliseconds."""

    def __init__(self) -> None:
        self.begun = time.perf_counter() + BEGIN_S
        self.ended = False  # with SIGUSR1, because the stop is not measured either
        self.turns: list[tuple[float, float, float]] = []  # real, CPU, without a core
        self.late: list[tuple[float, float]] = []  # real, without a core
        self.steps: dict[str, list[tuple[float, float]]] = defaultdict(list)
        self.collections: dict[int, list[float]] = defaultdict(list)
        self._turn_at = self._step_at = self._collect_at = time.perf_counter()
        self._step_cpu = self._turn_cpu = self._turn_queued = 0.0
        self._schedstat = os.open(SCHEDSTAT, os.O_RDONLY) if SCHEDSTAT.exists() else -1  # of the loop's thread
        gc.callbacks.append(self._collected)

    def after_io_wait(self, timeout: float) -> None:
        self._turn_at, self._turn_cpu, self._turn_queued = time.perf_counter(), time.thread_time(), self._queued_s()

    def before_io_wait(self, timeout: float) -> None:
        now = time.perf_counter()
        if self._notes(now):
            cpu_s, queued_s = time.thread_time() - self._turn_cpu, self._queued_s() - self._turn_queued
            self.turns.append(((now - self._turn_at) * 1000, cpu_s * 1000, queued_s * 1000))

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._step_at, self._step_cpu = time.perf_counter(), time.thread_time()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        now = time.perf_counter()
        if now - self._step_at > 0.001 and self._notes(now):
            cpu_s = time.thread_time() - self._step_cpu
            self.steps[task.name].append(((now - self._step_at) * 1000, cpu_s * 1000))

    def _notes(self, now: float) -> bool:
        return now > self.begun and not self.ended

    def _queued_s(self) -> float:
        """How long the loop's thread has been ready without a core so far."""
        return int(os.pread(self._schedstat, SCHEDSTAT_BYTES, 0).split()[1]) / 1e9 if self._schedstat >= 0 else 0.0

    def _collected(self, phase: str, info: dict[str, int]) -> None:
        now = time.perf_counter()
        if phase == "start":
            self._collect_at = now
        elif self._notes(now):
            self.collections[info["generation"]].append((now - self._collect_at) * 1000)

    async def tick(self) -> None:
        """Sleeps for a millisecond, again and again."""
        while True:
            due, queued_s = trio.current_time() + TICK_S, self._queued_s()
            await trio.sleep_until(due)
            if self._notes(time.perf_counter()):
                late_s = trio.current_time() - due
                self.late.append((late_s * 1000, min(late_s, self._queued_s() - queued_s) * 1000))

    def seen(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return {"turns": self.turns, "late": self.late, "steps": self.steps, "collections": self.collections}


def probed(run: Any, probe: Probe) -> Any:
    """trio.run with the probe, and with its sleeper beside the program."""

    @functools.wraps(run)
    def runs(program: Any, *arguments: Any, **options: Any) -> Any:
        async def beside() -> Any:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(probe.tick)
                result = await program(*arguments)
                nursery.cancel_scope.cancel()
            return result

        return run(beside, **options, instruments=[probe])

    return runs


if __name__ == "__main__":
    noted = Probe()
    signal.signal(signal.SIGUSR1, lambda *_: setattr(noted, "ended", True))
    trio.run = probed(trio.run, noted)
    try:
        main()
    finally:
        Path("probe.json").write_text(json.dumps(noted.seen()))
