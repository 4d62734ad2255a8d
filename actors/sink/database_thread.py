"""Runs blocking calls of a sink in a worker thread, one at a time, each to its end."""

import time
from collections.abc import Callable
from typing import TypeVar

import trio

from supervisor import Context

T = TypeVar("T")

PROGRESS_S = 2.0  # how often a long call is reported as progress
UPKEEP_SHARE = 0.07  # the part of a full core that upkeep takes
CONTENDED = 1.5  # a call that takes so many times its processor time has waited for others, or for the disk


def with_rest(call: Callable[[], T]) -> tuple[T, float]:
    """The call's result, and how long to rest after it (seconds) so that it takes UPKEEP_SHARE of a full core.

    No rest where the processor was free. A lower priority would not do: on a full machine the call would hardly
    run, and what it has locked would stay locked.
    """
    began, cpu_began = time.monotonic(), time.thread_time()
    result = call()
    took_s, cpu_s = time.monotonic() - began, time.thread_time() - cpu_began
    if took_s < CONTENDED * cpu_s:
        return result, 0.0
    return result, max(0.0, cpu_s / UPKEEP_SHARE - took_s)


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
