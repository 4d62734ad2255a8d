"""Notifies systemd of the service's state: sd_notify(3), https://www.freedesktop.org/software/systemd/man/sd_notify.html."""

import os
import socket
import time
from collections.abc import Callable, Mapping

import trio

from supervisor.text import printable

STATUS_EVERY_S = 5.0  # how often the line in `systemctl status` is refreshed
START_EXTENDED_S = 60.0  # the extension requested repeatedly; more than STATUS_EVERY_S
STATUS_CHARS_MAX = 500
WATCHDOG_FLOOR_S = 0.05  # so that an absurd WATCHDOG_USEC does not cause a busy loop


class Notifier:
    """Sends datagrams to $NOTIFY_SOCKET; without it every method does nothing.

    A message that cannot be sent at once (the manager is busy or gone) is lost: nothing here waits or raises.
    Messages that must arrive are repeated: READY=1 with every status, WATCHDOG=1 with the next one.
    """

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        path = environ.get("NOTIFY_SOCKET", "")
        # "@" denotes an abstract socket, whose real name begins with a NUL: unix(7)
        self._address = "\0" + path[1:] if path.startswith("@") else path if path.startswith("/") else ""
        self.watchdog_s = _watchdog_s(environ) if self._address else None
        self._is_ready = False

    def ready(self) -> None:
        """Reports that the service is ready; also ends a state begun by `reloading`."""
        self._is_ready = True
        self._send("READY=1")

    def starting(self) -> None:
        """Extends the start timeout: the start waits for something that a restart would wait for as well."""
        self._send(f"EXTEND_TIMEOUT_USEC={int(START_EXTENDED_S * 1e6)}")

    def reloading(self) -> None:
        """Reports that the configuration is about to be read again; `ready` must follow, whatever the result."""
        self._is_ready = False
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        """Reports that the service is stopping."""
        self._is_ready = False
        self._send("STOPPING=1")

    def status(self, text: str) -> None:
        """Sends one line for people."""
        line = printable(" ".join(text.split()), STATUS_CHARS_MAX)
        self._send(f"STATUS={line}\nREADY=1" if self._is_ready else f"STATUS={line}")

    async def watch(
        self,
        progress: Callable[[], str | None],
        status: Callable[[], str],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Runs until cancelled: keeps the status line up to date, and resets the watchdog while there is progress.

        `progress()` returns the problem, or None. It is called in the loop before each reset: a blocked loop sends
        nothing either, and then systemd kills and restarts the process.
        """
        task_status.started()
        if not self._address:
            return
        beat_s = max(self.watchdog_s / 2, WATCHDOG_FLOOR_S) if self.watchdog_s is not None else STATUS_EVERY_S
        status_at = -STATUS_EVERY_S
        reported = ""
        while True:
            problem = progress()
            if problem is None and self.watchdog_s is not None:
                self._send("WATCHDOG=1")
            if trio.current_time() - status_at >= STATUS_EVERY_S or (problem or "") != reported:
                self.status(problem or status())
                status_at, reported = trio.current_time(), problem or ""
            await trio.sleep(min(beat_s, STATUS_EVERY_S))

    def _send(self, message: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.setblocking(False)
                sender.sendto(message.encode("utf-8", "replace"), self._address)
        except (OSError, ValueError):
            return  # absent, full, too long a path: a problem of the manager, not of the service


def _watchdog_s(environ: Mapping[str, str]) -> float | None:
    """systemd's watchdog timeout; None if there is none, or it applies to another process."""
    period_us, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if not (period_us.isascii() and period_us.isdigit()) or int(period_us) == 0:
        return None
    return int(period_us) / 1e6 if pid in ("", str(os.getpid())) else None
