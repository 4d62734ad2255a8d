"""Runs blocking calls of a sink in a worker thread, one at a time, each to its end."""

from collections.abc import Callable
from typing import TypeVar

import trio

from supervisor import Context

T = TypeVar("T")

PROGRESS_S = 2.0  # how often a long call is reported as progress


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
