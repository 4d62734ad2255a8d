"""Accepts log lines without blocking, writes them in a thread, and counts lines dropped while nobody reads."""

import os
import select
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

LINES_MAX = 10_000  # the maximum queue for a stalled terminal or pipe; more is counted and dropped
BYTES_MAX = 8 * 1024 * 1024  # the same in bytes: a traceback is a long line
WRITE_BYTES_MAX = 64 * 1024  # of one write: the capacity of a pipe
IDLE_S = 2.0  # how often the thread checks for lines that become due by themselves
POLL_MS = 1000  # how long to wait for a full pipe in non-blocking mode


class LineSink:
    """A file-like object for structlog.

    `notice(count)` renders the line that reports dropped lines; `idle(everything)` returns lines that have become
    due by themselves, all of them at shutdown. Both may be called from the thread.

    A stream with a file descriptor is written directly, not through its buffer: a thread that hangs in a write
    would otherwise hold the buffer's lock, and the interpreter could not exit. No error of the stream (EPIPE,
    ENOSPC, EIO, closed) reaches the caller: lines are dropped, counted in `dropped`, and reported once writing
    works again.
    """

    def __init__(
        self,
        stream: Any,
        *,
        notice: Callable[[int], str],
        idle: Callable[[bool], list[str]] = lambda _: [],
        idle_s: float = IDLE_S,
    ) -> None:
        self._write_out = _writer(stream)
        self._notice, self._idle, self._idle_s = notice, idle, idle_s
        self._changed = threading.Condition()
        self._lines: deque[bytes] = deque()
        self._bytes = 0
        self._unreported = 0
        self._busy = False
        self._closed = False
        self._torn = False  # the last write ended within a line
        self.dropped = 0
        threading.Thread(target=self._run, name="log-writer", daemon=True).start()

    def write(self, text: str) -> None:
        """Queues a line with its newline; counts it if there is no room."""
        line = text.encode("utf-8", "backslashreplace")
        with self._changed:
            if len(self._lines) >= LINES_MAX or self._bytes + len(line) > BYTES_MAX:
                self._drop(1)
                return
            self._lines.append(line)
            self._bytes += len(line)
            self._changed.notify_all()

    def flush(self) -> None:
        """Does nothing: the thread holds nothing back."""

    def drain(self, timeout_s: float) -> None:
        """Waits until all queued lines are written, or gives up; for shutdown."""
        for line in self._idle(True):
            self.write(line)
        self.wait_written(timeout_s)

    def wait_written(self, timeout_s: float) -> bool:
        """Waits until all queued lines are written; False on a timeout."""
        with self._changed:
            return self._changed.wait_for(lambda: not (self._lines or self._busy), timeout_s)

    def close(self, timeout_s: float) -> None:
        """Like `drain`, and ends the thread; later lines are lost."""
        self.drain(timeout_s)
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _drop(self, count: int) -> None:
        self.dropped += count
        self._unreported += count

    def _run(self) -> None:
        while not self._closed:
            data, dropped = self._take()
            if data:
                left = self._put(data)
                with self._changed:
                    if left:
                        lines = left.strip(b"\n").count(b"\n") + 1
                        self._drop(max(0, lines - bool(dropped)))
                        self._unreported += dropped
                    self._busy = False
                    self._changed.notify_all()
            for line in self._idle(False):
                self.write(line)

    def _take(self) -> tuple[bytes, int]:
        """The bytes to write next, and how many dropped lines they report; waits at most `idle_s`."""
        with self._changed:
            if not self._lines and not self._closed:
                self._changed.wait(self._idle_s)
            parts = [b"\n"] if self._torn and self._lines else []
            size = 0
            while self._lines and size < WRITE_BYTES_MAX:
                parts.append(self._lines.popleft())
                size += len(parts[-1])
            self._bytes -= size
            dropped = 0
            if parts and not self._lines and self._unreported:
                dropped, self._unreported = self._unreported, 0
                parts.append(self._notice(dropped).encode())
            self._busy = bool(parts)
            return b"".join(parts), dropped

    def _put(self, data: bytes) -> bytes:
        """Writes; returns the bytes that could not be written."""
        left = data
        with suppress(OSError, ValueError):  # a closed or full sink: the service goes on
            while left:
                left = left[self._write_out(left) :]
        written = data[: len(data) - len(left)]
        if written:
            self._torn = not written.endswith(b"\n")
        return left


def _writer(stream: Any) -> Callable[[bytes], int]:
    """A function that writes some bytes and returns how many; it may block, and may raise OSError or ValueError."""
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError, AttributeError):  # not a file: an object that collects text

        def write_text(data: bytes) -> int:
            stream.write(data.decode())
            stream.flush()
            return len(data)

        return write_text

    def write_bytes(data: bytes) -> int:
        while True:
            try:
                return os.write(descriptor, data)
            except BlockingIOError:
                poll = select.poll()
                poll.register(descriptor, select.POLLOUT)
                poll.poll(POLL_MS)

    return write_bytes
