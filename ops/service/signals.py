"""Signals that stop or reload the service, recorded from the start of the process, and its terminal.

Only the standard library: this is imported before everything else.
"""

import os
import select
import signal
import stat
import sys
from types import FrameType

_recorded: list[int] = []


class Terminal:
    """The terminal at which the process was started, and whether its end stops the process.

    `ends_with_it`: SIGHUP means that the terminal was closed, and stops the service; otherwise it reloads. With
    nohup, which ignores SIGHUP, the process outlives the terminal.
    """

    def __init__(self) -> None:
        outlives = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        self.ends_with_it = not outlives and _has_terminal()
        self._watched = [] if outlives else [fd for fd in (0, 1, 2) if self._must_stay(fd)]

    def is_gone(self) -> bool:
        """Whether the other end of a standard stream is closed: writing to it fails with EIO or EPIPE."""
        poll = select.poll()
        for fd in self._watched:
            poll.register(fd, 0)  # hang-ups and errors are always reported
        return any(seen & (select.POLLHUP | select.POLLERR) for _, seen in poll.poll(0))

    def let_go(self) -> None:
        """Discards all further output instead of failing: an orderly stop must not fail because of it."""
        nowhere = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        for fd in self._watched:
            os.dup2(nowhere, fd)
        os.close(nowhere)
        self._watched = []

    def _must_stay(self, fd: int) -> bool:
        """Whether the service stops when the stream's other end is closed: for a terminal always; for a pipe with
        the log only if started at a terminal, as under a supervisor the service keeps recording without a reader of
        its log.
        """
        return os.isatty(fd) or (self.ends_with_it and fd > 0 and _is_pipe(fd))


def record_from_now_on() -> None:
    """For `tickwarden run`: records a stop signal that arrives before the service handles signals.

    Otherwise Python would print a traceback on SIGINT and exit at once on SIGTERM; as PID 1 of a container it would
    not stop at all, because there the kernel drops a signal without a handler. May be called again.
    """
    if sys.argv[1:2] != ["run"]:
        return
    signal.signal(signal.SIGINT, _record)
    signal.signal(signal.SIGTERM, _record)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
        signal.signal(signal.SIGHUP, _record if Terminal().ends_with_it else _nothing)


def first_recorded() -> int | None:
    """The stop signal that arrived before the service handled signals; None if there was none."""
    return _recorded[0] if _recorded else None


def _record(number: int, _: FrameType | None) -> None:
    if _recorded:
        os._exit(128 + number)  # the second one means: exit at once
    _recorded.append(number)


def _nothing(_: int, __: FrameType | None) -> None:
    """Ignores SIGHUP: the configuration that a reload would read has not been read yet."""


def _has_terminal() -> bool:
    """Whether the process has a controlling terminal."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def _is_pipe(fd: int) -> bool:
    try:
        return stat.S_ISFIFO(os.fstat(fd).st_mode)
    except OSError:
        return False
