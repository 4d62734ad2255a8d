"""Notices an actor that is stuck, and says where it stands."""

import traceback

import trio

from supervisor.mailbox import Mailbox
from supervisor.spec import ChildSpec

WATCH_EVERY_S = 1.0  # how often each running actor is looked at
STACK_CHARS_MAX = 16_384  # a stack goes into an event; deep recursion must not make a huge row


class Watchdog:
    """Follows one life of one child. `look()` is called about every `WATCH_EVERY_S`."""

    def __init__(self, spec: ChildSpec) -> None:
        self._spec = spec
        self.waiting = False  # for the world, as the child said itself: see Context.waiting
        self._beats = 0
        self._seen = (-1, -1)
        self._progress_at = self._beat_at = trio.current_time()

    @property
    def needed(self) -> bool:
        """Whether there is anything to judge this child by."""
        return self._spec.mailbox is not None or self._spec.heartbeat_s is not None

    def beat(self) -> None:
        """The child reported work."""
        self._beats += 1

    def look(self, task: trio.lowlevel.Task) -> str | None:
        """What is wrong, in words, or None."""
        now = trio.current_time()
        mailbox, heartbeat_s = self._spec.mailbox, self._spec.heartbeat_s
        statistics = mailbox.statistics() if mailbox is not None else None
        seen = (self._beats, statistics.taken if statistics else 0)
        if seen[0] != self._seen[0]:
            self._beat_at = now
        if seen != self._seen or statistics is None or not statistics.depth:
            self._progress_at = now
        self._seen = seen
        if self.waiting or waits_downstream(task):
            # the world or the next actor is behind (which is noticed itself); to restart this one mends nothing
            self._progress_at = self._beat_at = now
        if statistics is not None and now - self._progress_at >= self._spec.stuck_s:
            return f"handled nothing for {now - self._progress_at:.0f} s with {statistics.depth} waiting"
        if heartbeat_s is not None and now - self._beat_at >= heartbeat_s:
            return f"did not come round for {now - self._beat_at:.0f} s"
        return None


def tasks_below(task: trio.lowlevel.Task) -> list[trio.lowlevel.Task]:
    """The task and every task in its nurseries, however deep."""
    below = (tasks_below(child) for nursery in task.child_nurseries for child in nursery.child_tasks)
    return [task, *(found for tasks in below for found in tasks)]


def waits_downstream(task: trio.lowlevel.Task) -> bool:
    """Whether the task, or one below it, waits to put something into a full mailbox."""
    return any(isinstance(found.custom_sleep_data, Mailbox) for found in tasks_below(task))


def stack_of(task: trio.lowlevel.Task) -> str:
    """Where the task and those below it stand, as tracebacks, innermost call last."""
    parts = []
    for found in tasks_below(task):
        frames = traceback.StackSummary.extract(found.iter_await_frames(), limit=40)
        parts.append(f"task {found.name}\n" + "".join(frames.format()))
    return "".join(parts)[:STACK_CHARS_MAX]
