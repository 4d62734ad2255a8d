"""Reads the sockets of all connections in one task: one turn of the scheduler serves all that are readable.

A task for each socket costs a turn of trio's scheduler, and the bookkeeping of a wait, for each read: 5 us of 22 in
a prototype on 100 TLS connections with 5,000 single messages a second in all.
"""

import os
import select
import time
from collections.abc import Callable

import trio
from msgspec import Struct
from trio.lowlevel import Abort, RaiseCancelT, Task

from supervisor import Context

READ_BYTES = 256 * 1024
TURN_S = 0.005  # other tasks run after so long


class _Reader(Struct):
    """A task that waits, and what to do meanwhile when its socket is readable."""

    task: Task
    turn: Callable[[memoryview], bool]
    error: Exception | None = None


class Poller:
    """Owned by the pipeline; sockets stay registered across crashes of `run`, and are read while it runs."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._readers: dict[int, _Reader] = {}
        self._left: list[int] = []  # what the last turn had no time for, see _turn
        self._buffer = memoryview(bytearray(READ_BYTES))  # of all sockets: nothing of it is kept

    async def run(self, context: Context) -> None:
        """Serves the sockets until it is cancelled."""
        context.ok()
        while True:
            await trio.lowlevel.wait_readable(self._epoll.fileno())
            self._turn()

    def _turn(self) -> None:
        ends = time.perf_counter() + TURN_S
        ready = [fd for fd, _ in self._epoll.poll(0)]
        if self._left:  # those first: the kernel returns all in the same order again
            readable, left = set(ready), set(self._left)
            ready = [fd for fd in self._left if fd in readable] + [fd for fd in ready if fd not in left]
            self._left = []
        for at, fd in enumerate(ready, 1):
            reader = self._readers.get(fd)
            if reader is None:  # a turn before has ended it
                continue
            try:
                done = reader.turn(self._buffer)
            except Exception as error:  # noqa: BLE001 - raised in the task that waits
                reader.error, done = error, True
            if done:
                self._forget(fd)
                trio.lowlevel.reschedule(reader.task)
            if time.perf_counter() > ends:
                self._left = ready[at:]
                return

    async def serve(self, fd: int, turn: Callable[[memoryview], bool]) -> None:
        """Calls `turn(buffer)` whenever the socket is readable, until it returns True, and raises what it raises.

        `turn` reads once, without waiting, into the buffer, whose content is valid until it returns. The socket
        must stay open until this returns.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        reader = self._readers[fd] = _Reader(trio.lowlevel.current_task(), turn)
        self._epoll.register(fd, select.EPOLLIN)

        def abort(_: RaiseCancelT) -> Abort:
            self._forget(fd)
            return Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)
        if reader.error is not None:
            raise reader.error

    def notify_closing(self, fd: int) -> None:
        """Must be called before a socket is closed: a task that waits for it gets trio.ClosedResourceError."""
        reader = self._readers.get(fd)
        if reader is not None:
            reader.error = trio.ClosedResourceError("the connection was closed from this side")
            self._forget(fd)
            trio.lowlevel.reschedule(reader.task)

    def _forget(self, fd: int) -> None:
        del self._readers[fd]
        self._epoll.unregister(fd)


def read_into(fd: int, buffer: memoryview) -> memoryview | None:
    """Reads once from a socket that does not block; None if there is nothing. Raises trio.BrokenResourceError."""
    try:
        return buffer[: os.readv(fd, (buffer,))]
    except BlockingIOError:
        return None
    except OSError as exc:
        raise trio.BrokenResourceError(f"the connection broke: {os.strerror(exc.errno or 0)}") from exc
