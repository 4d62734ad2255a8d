"""Runs blocking calls of a sink in a worker thread, one at a time, each to its end."""

import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

import trio

from supervisor import Context

T = TypeVar("T")

PROGRESS_S = 2.0  # how often a long call is reported as progress
# How much nicer upkeep is than the rest: on a full core a tenth of the time is left to it (Linux counts 10 steps as
# a weight of 110 against 1024), on a free one all of it.
UPKEEP_NICE = 10


def at_low_priority(call: Callable[[], T]) -> T:
    """The call's result, from a thread of its own that leaves the processor to recording; blocks until it is done.

    A priority that was lowered cannot be raised again, so no thread that others use may be lowered.
    """
    done: Future[T] = Future()

    def run() -> None:
        if sys.platform == "linux":  # only there has each thread a priority of its own
            own = os.getpriority(os.PRIO_PROCESS, 0)
            os.setpriority(os.PRIO_PROCESS, 0, min(own + UPKEEP_NICE, 19))
        try:
            done.set_result(call())
        except BaseException as error:  # noqa: BLE001 - raised by the caller
            done.set_exception(error)

    threading.Thread(target=run, name="upkeep", daemon=True).start()
    return done.result()


async def in_thread(
    context: Context, limiter: trio.CapacityLimiter, call: Callable[[], T], record: Callable[[T], None]
) -> None:
    """Runs the call to its end, whatever happens, and reports progress meanwhile.

    `record(result)` follows directly, so that no cancellation can separate the call from the recording of its
    result; a cancellation that arrived meanwhile takes effect afterwards.
    """

    async def report_progress() -> None:
        while True:
            await trio.sleep(PROGRESS_S)
            context.handled(0)

    failure: Exception | None = None  # a nursery would wrap it in a group, which `except OSError` does not catch
    async with trio.open_nursery() as nursery:
        nursery.start_soon(report_progress)
        with trio.CancelScope(shield=True):
            try:
                record(await trio.to_thread.run_sync(call, limiter=limiter))
            except Exception as error:  # noqa: BLE001 - raised again below
                failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
