"""Parses times given on the command line."""

import re
import time
from datetime import UTC, date, datetime, timedelta

import click

_UNITS_US = {"s": 1_000_000, "m": 60_000_000, "min": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def microseconds(text: str) -> int:
    """Microseconds UTC of an RFC 3339 time, or of the start of a day; raises ValueError with what is expected."""
    try:
        if len(text) <= len("2026-06-01"):
            day = date.fromisoformat(text)
            moment = datetime(day.year, day.month, day.day, tzinfo=UTC)
        else:
            moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            f"{text!r} is not a time; write one like 2026-06-01T12:30:00Z, or a day like 2026-06-01"
        ) from None
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone; write {text}Z for UTC, or an offset like {text}+02:00")
    return (moment - _EPOCH) // timedelta(microseconds=1)


def ago_or_instant(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    """The same, also for a duration before now: "90s", "15min", "2h", "3d"."""
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,3})?) ?(s|min|m|h|d)", value or "")
    if match is None:
        try:
            return instant(ctx, param, value)
        except click.BadParameter as error:
            raise click.BadParameter(f"{error.message}, or how long ago, like 15min, 2h or 3d") from error
    return time.time_ns() // 1000 - int(float(match[1]) * _UNITS_US[match[2]])


def instant(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:  # noqa: ARG001
    """An option's callback; the signature is click's."""
    try:
        return None if value is None else microseconds(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
