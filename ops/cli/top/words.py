"""How `top` writes values."""

from collections.abc import Mapping
from datetime import datetime

from ops.terminal.layout import reason_for_people
from supervisor.text import REASON_CHARS_MAX, printable


def number(value: float | None) -> str:
    """Three digits or more: 0.25, 12.5, 1240."""
    if value is None:
        return "-"
    return f"{value:.2f}" if 0 < value < 1 else f"{value:.1f}" if 0 < value < 100 else f"{value:.0f}"


def lag(ms: float | None) -> str:
    if ms is None:
        return ""
    return f"{ms:.1f}ms" if abs(ms) < 100 else f"{ms:.0f}ms" if abs(ms) < 10_000 else f"{ms / 1000:.0f}s"


def fill(box: Mapping[str, int]) -> str:
    """How full a mailbox is."""
    return f"{100 * box['depth'] / box['capacity']:.0f}%"


def until(instant: str | None, now: datetime) -> str:
    if instant is None:
        return ""
    seconds = (datetime.fromisoformat(instant) - now).total_seconds()
    return f"{max(0.0, seconds):.0f}s" if seconds < 600 else f"{seconds / 60:.0f}min"


def plain(reason: str) -> str:
    return printable(reason_for_people(reason), REASON_CHARS_MAX)


def count(number_of: int, what: str) -> str:
    return f"{number_of} {what}{'' if number_of == 1 else 's'}"
