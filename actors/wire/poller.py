"""Reads the sockets of all connections in one task: one turn of the scheduler serves all that are readable.

A task for each socket costs a turn of trio's scheduler, and the bookkeeping of a wait, for each read: 5 us of 22 in
a prototype on 100 TLS connections with 5,000 single messages a second in all. For the same reason a turn waits a
few milliseconds for more, unless somebody watches; the kernel has noted when each message arrived.
"""

import os
import select
import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

import trio
from msgspec import Struct
from trio.lowlevel import Abort, RaiseCancelT, Task

from actors.wire.doze import doze
from supervisor import Context

READ_BYTES = 256 * 1024
TURN_S = 0.005  # other tasks run after so long
REST_S = 0.005  # from one turn to the next one while nothing is urgent
BURST_BYTES = 16 * 1024  # a read of this size is part of a burst: the rest of it is read at once
# While several sockets have bursts, only this part of `most` is read at once: of long frames the kernel may hold no
# more than that, and an exchange with short ones would get more than its share.
SHARED_PART = 2

# socket(7): SO_TIMESTAMPNS, which Python's socket module does not name, and the struct timespec that a read has
_TIMESTAMPS = 35
_timespec = struct.Struct("@ll")
_TIMESTAMP_BYTES = socket.CMSG_SPACE(_timespec.size)


class Readable(Protocol):
    """Takes what is read from one socket. `most` is how many bytes to read at once, at most READ_BYTES."""

    most: int

    def take(self, data: memoryview, received_ns: int, now: float) -> bool:
        """Returns whether reading is to end. `data` is valid until then, and empty at the end of the stream.

        `received_ns` (UTC) is when the newest of it arrived, `now` the time on trio's clock.
        """


class _Reader(Struct):
    """A task that waits while its socket is read."""

    task: Task
    socket: socket.socket
    readable: Readable
    error: Exception | None = None


class Poller:
    """Owned by the pipeline; sockets stay registered across crashes of `run`, and are read while it runs.

    While `watched()` returns True, what arrives is read at once.
    """

    def __init__(self, watched: Callable[[], bool] = lambda: False) -> None:
        self._watched = watched
        self._epoll = select.epoll()
        self._readers: dict[int, _Reader] = {}
        # After a turn that had no time for all: those, then the others. The kernel returns all in the same order.
        self._order: list[int] = []
        self._bursts = 0  # how many sockets had one in the last turn
        self._buffer = memoryview(bytearray(READ_BYTES))  # of all sockets: nothing of it is kept

    async def run(self, context: Context) -> None:
        """Serves the sockets until it is cancelled."""
        context.ok()
        while True:
            await trio.lowlevel.wait_readable(self._epoll.fileno())
            while self._turn(now := trio.current_time()) and not self._watched():
                await doze(trio.CancelScope(deadline=now + REST_S))

    def _turn(self, now: float) -> bool:
        """Reads from each readable socket once. Returns whether the next turn can wait for more."""
        ends = time.perf_counter() + TURN_S
        ready = [fd for fd, _ in self._epoll.poll(0)]
        if self._order:
            readable, before = set(ready), set(self._order)
            ready = [fd for fd in self._order if fd in readable] + [fd for fd in ready if fd not in before]
            self._order = []
        part = 1 if self._bursts < 2 else SHARED_PART
        read = self._bursts = 0
        for at, fd in enumerate(ready, 1):
            reader = self._readers.get(fd)
            if reader is None:  # a turn before has ended it
                continue
            try:
                size, done = self._read(reader, now, part)
                read += size
                self._bursts += size >= BURST_BYTES
            except Exception as error:  # noqa: BLE001 - raised in the task that waits
                reader.error, done = error, True
            if done:
                self._forget(fd)
                trio.lowlevel.reschedule(reader.task)
            if time.perf_counter() > ends:
                self._order = ready[at:] + ready[:at]
                return False
        return read > 0 and not self._bursts

    def _read(self, reader: _Reader, now: float, part: int) -> tuple[int, bool]:
        buffer = self._buffer[: reader.readable.most // part]
        try:
            size, notes, _, _ = reader.socket.recvmsg_into((buffer,), _TIMESTAMP_BYTES)
        except BlockingIOError:
            return 0, False
        except OSError as exc:
            raise trio.BrokenResourceError(f"the connection broke: {os.strerror(exc.errno or 0)}") from exc
        received_ns = _arrived_ns(notes[0][2]) if notes else time.time_ns()
        return size, reader.readable.take(buffer[:size], received_ns, now)

    async def serve(self, fd: int, readable: Readable) -> None:
        """Has `readable` take what arrives, until it returns True or raises, and raises that.

        Raises trio.BrokenResourceError if reading fails. The socket must not block, and must stay open until this
        returns.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        read_from = socket.socket(fileno=fd)
        try:
            with suppress(OSError):  # without it, what is read is as old as the read
                read_from.setsockopt(socket.SOL_SOCKET, _TIMESTAMPS, 1)
            self._epoll.register(fd, select.EPOLLIN)
            reader = self._readers[fd] = _Reader(trio.lowlevel.current_task(), read_from, readable)

            def abort(_: RaiseCancelT) -> Abort:
                self._forget(fd)
                return Abort.SUCCEEDED

            await trio.lowlevel.wait_task_rescheduled(abort)
        finally:
            read_from.detach()  # its owner closes it
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


def _arrived_ns(note: bytes) -> int:
    """The kernel's note, by the clock of time.time_ns."""
    seconds, ns = _timespec.unpack(note)
    return int(seconds * 1_000_000_000 + ns)
