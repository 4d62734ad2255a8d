"""Runs the tickwarden command and notes how long its event loop pauses, and in what; see tests.bench.pauses.

A pause is what keeps the loop from the next look at its sockets: one turn of it. Three things are noted: each turn,
and each step of a task that takes long, in real and in
CPU time; each collection of garbage; and how late a task wakes that sleeps for a
millisecond, which includes what other threads take of the interpreter's lock.
"""

import functools
import gc
import json
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import trio

from ops.cli import main

BEGIN_S = 3.0  # the start is not measured
TICK_S = 0.001


class Probe(trio.abc.Instrument):
    """All times in milliseconds."""

    def __init__(self) -> None:
        self.begun = time.perf_counter() + BEGIN_S
        self.turns: list[float] = []
        self.late: list[float] = []
        self.steps: dict[str, list[tuple[float, float]]] = defaultdict(list)
        self.collections: dict[int, list[float]] = defaultdict(list)
        self._turn_at = self._step_at = self._collect_at = time.perf_counter()
        self._step_cpu = 0.0
        gc.callbacks.append(self._collected)

    def after_io_wait(self, timeout: float) -> None:
        self._turn_at = time.perf_counter()

    def before_io_wait(self, timeout: float) -> None:
        now = time.perf_counter()
        if now > self.begun:
            self.turns.append((now - self._turn_at) * 1000)

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._step_at, self._step_cpu = time.perf_counter(), time.thread_time()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        now = time.perf_counter()
        if now > self.begun and now - self._step_at > 0.001:
            cpu_s = time.thread_time() - self._step_cpu
            self.steps[task.name].append(((now - self._step_at) * 1000, cpu_s * 1000))

    def _collected(self, phase: str, info: dict[str, int]) -> None:
        now = time.perf_counter()
        if phase == "start":
            self._collect_at = now
        elif now > self.begun:
            self.collections[info["generation"]].append((now - self._collect_at) * 1000)

    async def tick(self) -> None:
        """Sleeps for a millisecond, again and again."""
        while True:
            due = trio.current_time() + TICK_S
            await trio.sleep_until(due)
            if time.perf_counter() > self.begun:
                self.late.append((trio.current_time() - due) * 1000)

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
    trio.run = probed(trio.run, noted)
    try:
        main()
    finally:
        Path("probe.json").write_text(json.dumps(noted.seen()))
