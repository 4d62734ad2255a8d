"""Notices from a thread that the event loop itself does not turn, and says what holds it up."""

import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass

import trio

from supervisor.watchdog import STACK_CHARS_MAX

TURNS_PER_LIMIT = 4  # how often within the limit the loop shows that it turns


@dataclass(frozen=True, slots=True)
class Blocked:
    """The loop has not turned for `blocked_s` seconds; `stack` is where its thread stands."""

    blocked_s: float
    stack: str


async def watch_loop(limit_s: float, on_blocked: Callable[[Blocked], None]) -> None:
    """Runs until cancelled, and calls `on_blocked` when the loop has not turned for `limit_s` real seconds.

    It is called once for each stretch, in a thread of its own, while the loop is still held: it must be
    thread-safe and must not wait for the loop. Nothing can be restarted from there: an actor that
    computes or blocks without awaiting cannot be interrupted safely, so the outermost supervisor (systemd's
    watchdog) ends the process. What this adds is the stack, which says whose fault it was.
    """
    turned_at = time.monotonic()
    over = threading.Event()
    loop_thread = threading.get_ident()

    def watch() -> None:
        reported = -1.0
        while not over.wait(limit_s / TURNS_PER_LIMIT):
            seen = turned_at
            blocked_s = time.monotonic() - seen
            if blocked_s >= limit_s and seen != reported:
                reported = seen
                frame = sys._current_frames().get(loop_thread)
                stack = "".join(traceback.format_stack(frame)) if frame is not None else ""
                on_blocked(Blocked(blocked_s, stack[-STACK_CHARS_MAX:]))

    threading.Thread(target=watch, name="loop-watch", daemon=True).start()
    try:
        while True:
            turned_at = time.monotonic()
            await trio.sleep(limit_s / TURNS_PER_LIMIT)
    finally:
        over.set()
