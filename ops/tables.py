"""Rows for people and programs: a table on a terminal, JSON or CSV elsewhere, every decimal digit kept."""

import csv
import json
import math
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any, TextIO

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

PIPE_COLUMNS = 10_000  # not a terminal: nothing is cut to a width that nobody sees


def decimal_text(value: Decimal) -> str:
    """All digits, no exponent, no trailing zeros. Not by normalize(): that rounds to 28 digits."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def plain(value: object) -> Any:
    """A value as JSON can hold it: decimals and times as text, bytes as text with what is no UTF-8 escaped."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case Decimal():
            return decimal_text(value)
        case datetime():
            return _time_text(value)
        case date() | time():
            return value.isoformat()
        case bytes() | bytearray() | memoryview():
            return bytes(value).decode("utf-8", "backslashreplace")
        case dict():
            return {_key(key): plain(inner) for key, inner in value.items()}
        case list() | tuple() | set():
            return [plain(inner) for inner in value]
        case _:
            return str(value)


def _key(key: object) -> str:
    text = plain(key)
    return text if isinstance(text, str) else json.dumps(text)


def _time_text(value: datetime) -> str:
    if value.tzinfo is None:
        return value.isoformat()
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def takes_unicode(file: TextIO) -> bool:
    """Whether every character can be written there; JSON escapes them elsewhere, so that no name is lost."""
    return (getattr(file, "encoding", None) or "utf-8").lower().startswith("utf")


def _distinct(columns: Sequence[str]) -> list[str]:
    """Column names as object keys: SQL allows the same name twice, JSON does not."""
    names: list[str] = []
    for column in columns:
        name, count = column, 1
        while name in names:
            count += 1
            name = f"{column}_{count}"
        names.append(name)
    return names


def write_json(columns: Sequence[str], rows: Iterable[Sequence[object]], file: TextIO) -> None:
    """A JSON array with one object a row, one row a line."""
    names, escaped = _distinct(columns), not takes_unicode(file)
    file.write("[")
    separator = "\n"
    for row in rows:
        entry = {name: plain(value) for name, value in zip(names, row, strict=True)}
        file.write(separator + json.dumps(entry, ensure_ascii=escaped))
        separator = ",\n"
    file.write("\n]\n" if separator == ",\n" else "]\n")


def write_csv(columns: Sequence[str], rows: Iterable[Sequence[object]], file: TextIO) -> None:
    """RFC 4180 with a header; NULL is empty."""
    writer = csv.writer(file, lineterminator="\r\n")
    writer.writerow(columns)
    writer.writerows([_text(value, null="") for value in row] for row in rows)


def write_table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], file: TextIO, *, title: str | None = None
) -> None:
    """A table for reading; colour and the terminal's width only on a terminal."""
    terminal = file.isatty()
    console = Console(file=file, width=None if terminal else PIPE_COLUMNS, highlight=False, markup=False)
    table = Table(box=SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False)
    shown = [list(row) for row in rows]
    for index, column in enumerate(columns):
        numbers = any(_is_number(row[index]) for row in shown)
        table.add_column(Text(_printable(column)), justify="right" if numbers else "left", overflow="fold")
    for row in shown:
        table.add_row(*(_cell(value) for value in row))
    console.print(table)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def _cell(value: object) -> Text:
    if value is None:
        return Text("NULL", style="dim")
    return Text(_printable(_text(value, null="NULL")))


def _text(value: object, *, null: str) -> str:
    if value is None:
        return null
    simple = plain(value)
    return simple if isinstance(simple, str) else json.dumps(simple, ensure_ascii=False)


def _printable(text: str) -> str:
    """Text that came from the wire must not steer the terminal: control characters are written out."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
