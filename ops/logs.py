"""Logs: structlog to stderr, one line an event, JSON or console, written where no reader can block the loop."""

import logging
import queue
import sys
import threading
from typing import Any

import structlog

from supervisor.states import Event

LINES_MAX = 10_000  # what may wait for a stalled terminal or pipe; more is counted and dropped
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
# An actor's new state, by how loud it is.
_LOUD = {"failed": "error", "stuck": "error", "backoff": "warning", "degraded": "warning"}


class LineSink:
    """A file-like object for structlog: lines go to a thread of their own, and never wait.

    When the reader stalls, lines past LINES_MAX are dropped, and their number is said once it reads again.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._lines: queue.Queue[str | threading.Event] = queue.Queue(LINES_MAX)
        self._dropped = 0
        threading.Thread(target=self._write, name="log-writer", daemon=True).start()

    def write(self, text: str) -> None:
        """Takes a line; what cannot be taken is counted."""
        try:
            self._lines.put_nowait(text)
        except queue.Full:
            self._dropped += 1

    def flush(self) -> None:
        """Does nothing: the thread flushes when it has written."""

    def drain(self, timeout_s: float) -> None:
        """Waits until what was taken is written, or gives up; for the end of the process."""
        done = threading.Event()
        try:
            self._lines.put(done, timeout=timeout_s)
        except queue.Full:
            return
        done.wait(timeout_s)

    def _write(self) -> None:
        while True:
            line = self._lines.get()
            if isinstance(line, threading.Event):
                line.set()
                continue
            dropped, self._dropped = self._dropped, 0
            if dropped:
                line = f"{line.rstrip()}\n({dropped} log lines were dropped: nobody read them)\n"
            try:
                self._stream.write(line)
                if self._lines.empty():
                    self._stream.flush()
            except (OSError, ValueError):
                self._dropped += 1  # a closed or full sink: the service goes on


def configure(level: str, style: str, stream: Any = None) -> LineSink:
    """Sets structlog up. `style` is "console", "json" or "auto" (console on a terminal)."""
    stream = stream if stream is not None else sys.stderr
    sink = LineSink(stream)
    on_terminal = bool(getattr(stream, "isatty", lambda: False)())
    console = style == "console" or (style == "auto" and on_terminal)
    renderer: Any = (
        structlog.dev.ConsoleRenderer(colors=on_terminal)
        if console
        else structlog.processors.JSONRenderer(sort_keys=False)
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(file=sink),  # type: ignore[arg-type]
        cache_logger_on_first_use=False,
    )
    return sink


def set_level(level: str) -> None:
    """From now on only what is at least "debug", "info", "warning" or "error"; for loggers made later."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]))


def log_event(event: Event) -> None:
    """One line for what happened to an actor."""
    details = {"reason": event.reason, "retry_in_s": event.retry_in_s, "restarts": event.restarts or None}
    extra: dict[str, object] = {key: value for key, value in details.items() if value not in (None, "")}
    if "traceback" in event.detail:
        extra["traceback"] = event.detail["traceback"]
    level = _LOUD.get(event.event, "info" if event.reason else "debug")
    getattr(structlog.get_logger(), level)(event.event, actor=event.actor, **extra)
