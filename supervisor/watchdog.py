"""Detects an actor that is stuck and an event loop that is blocked, and reports the stack of each."""

import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass

import trio

from supervisor.mailbox import Mailbox
from supervisor.spec import ChildSpec
from supervisor.text import DETAIL_CHARS_MAX

WATCH_EVERY_S = 1.0  # how often each running actor is checked
TURNS_PER_LIMIT = 4  # how often within the limit the loop records that it is running


class Watchdog:
    """Watches one incarnation of a child. `look()` is called about every `WATCH_EVERY_S`."""

    def __init__(self, spec: ChildSpec) -> None:
        self._spec = spec
        self._waiting = False  # for something outside, as the child reported: see Context.waiting
        self._beats = 0
        self._seen = (-1, -1)
        self._progress_at = self._beat_at = trio.current_time()

    def beat(self) -> None:
        """The child reported work."""
        self._beats += 1

    def set_waiting(self, waiting: bool) -> None:
        """The child began or ceased to wait for something outside."""
        self._waiting = waiting

    def look(self, task: trio.lowlevel.Task) -> str | None:
        """Why the child is stuck, or None if it is not."""
        now = trio.current_time()
        mailbox, heartbeat_s = self._spec.mailbox, self._spec.heartbeat_s
        statistics = mailbox.statistics() if mailbox is not None else None
        seen = (self._beats, statistics.taken if statistics else 0)
        if seen[0] != self._seen[0]:
            self._beat_at = now
        if seen != self._seen or statistics is None or not statistics.depth:
            self._progress_at = now
        self._seen = seen
        if self._waiting or waits_downstream(task):
            # something outside or the next actor is behind (which is detected there); a restart would not help
            self._progress_at = self._beat_at = now
        if statistics is not None and now - self._progress_at >= self._spec.stuck_s:
            idle_s = now - self._progress_at
            return f"handled nothing for {idle_s:.0f} s with {statistics.depth} waiting in its mailbox"
        if heartbeat_s is not None and now - self._beat_at >= heartbeat_s:
            return f"sent no heartbeat for {now - self._beat_at:.0f} s"
        return None


def tasks_below(task: trio.lowlevel.Task) -> list[trio.lowlevel.Task]:
    """The task and every task in its nurseries, however deep."""
    below = (tasks_below(child) for nursery in task.child_nurseries for child in nursery.child_tasks)
    return [task, *(found for tasks in below for found in tasks)]


def waits_downstream(task: trio.lowlevel.Task) -> bool:
    """Whether the task, or one below it, waits to put something into a full mailbox."""
    return any(isinstance(found.custom_sleep_data, Mailbox) for found in tasks_below(task))


def stack_of(task: trio.lowlevel.Task) -> str:
    """The stacks of the task and those below it, as tracebacks, innermost call last."""
    parts = []
    for found in tasks_below(task):
        frames = traceback.StackSummary.extract(found.iter_await_frames(), limit=40)
        parts.append(f"task {found.name}\n" + "".join(frames.format()))
    return "".join(parts)[:DETAIL_CHARS_MAX]


@dataclass(frozen=True, slots=True)
class Blocked:
    """The event loop has been blocked for `blocked_s` seconds; `stack` is its thread's."""

    blocked_s: float
    stack: str


async def watch_loop(limit_s: float, on_blocked: Callable[[Blocked], None]) -> None:
    """Runs until cancelled, and calls `on_blocked` when the event loop has been blocked for `limit_s` real seconds.

    It is called once for each blockage, in a thread of its own, while the loop is still blocked: it must be
    thread-safe and must not wait for the loop. Nothing can be restarted from there: an actor that computes or
    blocks without awaiting cannot be interrupted safely, so the outermost supervisor (systemd's watchdog) ends the
    process. What this adds is the stack, which shows the cause.
    """
    ran_at = time.monotonic()
    finished = threading.Event()
    loop_thread = threading.get_ident()

    def watch() -> None:
        reported = -1.0
        while not finished.wait(limit_s / TURNS_PER_LIMIT):
            seen = ran_at
            blocked_s = time.monotonic() - seen
            if blocked_s >= limit_s and seen != reported:
                reported = seen
                frame = sys._current_frames().get(loop_thread)
                stack = "".join(traceback.format_stack(frame)) if frame is not None else ""
                on_blocked(Blocked(blocked_s, stack[-DETAIL_CHARS_MAX:]))

    threading.Thread(target=watch, name="loop-watch", daemon=True).start()
    try:
        while True:
            ran_at = time.monotonic()
            await trio.sleep(limit_s / TURNS_PER_LIMIT)
    finally:
        finished.set()
