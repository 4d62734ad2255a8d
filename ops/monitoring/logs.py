"""Logs: structlog to stderr, one line per event, JSON or console, repeated problems counted, secrets removed."""

import logging
import os
import sys
import time
from collections.abc import Callable, MutableMapping
from typing import Any

from ops.monitoring.lean_structlog import structlog
from ops.monitoring.log_repeats import Fields, Repeats
from ops.monitoring.log_sink import IDLE_S, LineSink
from ops.monitoring.redact import redact
from supervisor import Event

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
# The log level of an actor's new state, of doubtful times, and of what the store cannot read, find or write.
_LOUD = {
    "failed": "error",
    "stuck": "error",
    "backoff": "warning",
    "degraded": "warning",
    "clock_ahead": "warning",
    "feed_late": "warning",
    "merge_failed": "warning",
    "merge_left": "warning",
    "segment_damaged": "warning",
    "segment_foreign": "warning",
    "segments_vanished": "warning",
    "store_file_damaged": "warning",
    "store_file_unavailable": "warning",
    "store_rows_missing": "warning",
    "store_tail_missing": "warning",
    "store_wal_damaged": "warning",
}
_LIMITED = {"warning", "error", "critical", "exception"}
_COLOURS = {"debug": "\033[2m", "warning": "\033[33m", "error": "\033[31m", "critical": "\033[31m"}
_PLAIN = "\033[0m"
# The prefixes that systemd's journal reads as priorities: sd-daemon(3).
_PRIORITIES = {"debug": "<7>", "info": "<6>", "warning": "<4>", "error": "<3>", "critical": "<2>"}

_current: list[LineSink] = []  # the sink that `configure` created last

_stamp = structlog.processors.TimeStamper(fmt="iso", utc=True, key="at")


def configure(
    level: str,
    style: str,
    stream: Any = None,
    *,
    clock: Callable[[], float] = time.monotonic,
    idle_s: float = IDLE_S,
) -> LineSink:
    """Sets structlog up. `style` is "console", "json" or "auto" (console on a terminal).

    Messages of libraries through `logging` (warnings and above) are written in the same way: their own handler
    would write to stderr from within the loop.
    """
    stream = stream if stream is not None else sys.stderr
    on_terminal = bool(getattr(stream, "isatty", lambda: False)())
    console = style == "console" or (style == "auto" and on_terminal)
    render = (
        _console(colours=on_terminal and not os.environ.get("NO_COLOR"))
        if console
        else structlog.processors.JSONRenderer()
    )
    repeats = Repeats(clock)
    in_journal = _is_journal(stream)

    def rendered(_: Any, __: str, fields: Fields) -> str:
        priority = _PRIORITIES.get(str(fields.get("level")), "") if in_journal else ""
        return f"{priority}{render(None, '', fields)!s}"

    def line(fields: Fields) -> str:
        shown = _hide_secrets(None, "", _stamp(None, "", dict(fields)))
        return f"{rendered(None, '', shown)}\n"

    def limit(_: Any, __: str, fields: Fields) -> Fields:
        if fields.get("level") in _LIMITED and not repeats.admit(fields):
            raise structlog.DropEvent
        return fields

    sink = LineSink(
        stream,
        notice=lambda count: line({"event": "log_lines_dropped", "level": "warning", "count": count}),
        idle=lambda everything: [line(fields) for fields in repeats.due(everything=everything)],
        idle_s=idle_s,
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            limit,
            _stamp,
            structlog.processors.format_exc_info,
            _hide_secrets,
            rendered,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(file=sink),  # type: ignore[arg-type]
        cache_logger_on_first_use=False,  # so that set_level reaches loggers that have been used
    )
    logging.basicConfig(level=logging.WARNING, handlers=[_Libraries()], force=True)
    logging.captureWarnings(True)
    _current[:] = [sink]
    return sink


def _is_journal(stream: Any) -> bool:
    """Whether the stream leads to systemd's journal, according to $JOURNAL_STREAM: systemd.exec(5)."""
    try:
        seen = os.fstat(stream.fileno())
    except (OSError, ValueError, AttributeError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{seen.st_dev}:{seen.st_ino}"


def lines_dropped() -> int:
    """The number of lines lost because nobody read them, or because they could not be written."""
    return sum(sink.dropped for sink in _current)


def drain_logs(timeout_s: float) -> None:
    """Waits until all lines are written, or gives up."""
    for sink in _current:
        sink.drain(timeout_s)


def set_level(level: str) -> None:
    """Logs only lines of this level and above; "debug", "info", "warning" or "error", else KeyError."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]))


def log_event(event: Event) -> None:
    """Logs an actor's event as one line."""
    details = {"reason": event.reason, "retry_in_s": event.retry_in_s, "restarts": event.restarts or None}
    extra: dict[str, object] = {key: value for key, value in details.items() if value not in (None, "")}
    extra |= {key: event.detail[key] for key in ("traceback", "stack") if key in event.detail}
    level = _LOUD.get(event.event, "info" if event.reason else "debug")
    getattr(structlog.get_logger(), level)(event.event, actor=event.actor, **extra)


class _Libraries(logging.Handler):
    """Forwards the log records of libraries."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = record.getMessage()
        except Exception:  # noqa: BLE001 - a library's wrong format string is not our problem
            text = str(record.msg)
        log = structlog.get_logger()
        level = log.error if record.levelno >= logging.ERROR else log.warning
        level("library", actor=record.name, reason=text, exc_info=record.exc_info or None)


def _hide_secrets(_: Any, __: str, fields: MutableMapping[str, Any]) -> Fields:
    return {key: redact(value, key) for key, value in fields.items()}


def _console(*, colours: bool) -> Callable[[Any, str, Fields], str]:
    def render(_: Any, __: str, fields: Fields) -> str:
        at, level, event = (str(fields.pop(key, "")) for key in ("at", "level", "event"))
        words = [f"{name}={_shown(value)}" for name, value in fields.items()]
        text = " ".join([f"{level:<7}", _shown(event), *words])
        colour = _COLOURS.get(level, "") if colours else ""
        return f"{at} {colour}{text}{_PLAIN if colour else ''}"

    return render


def _shown(value: object) -> str:
    """A value, bare if unambiguous; otherwise quoted and escaped, so that no text of a server can end the line,
    imitate another field, or control the terminal.
    """
    text = str(value)
    return text if text.isprintable() and text and not set(text) & set(" ='\"") else repr(text)
