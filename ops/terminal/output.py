"""Writes rows as a table, JSON, CSV or Markdown, with every decimal digit."""

import csv
import json
import math
import os
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TextIO

from ops.terminal.layout import GAP, Fit, fitted, shortened, width_of, wrapped
from supervisor.text import printable

if TYPE_CHECKING:
    from rich.console import JustifyMethod
    from rich.table import Table

PIPE_COLUMNS = 10_000  # not a terminal: nothing is cut
COLUMNS = 80  # for a terminal that does not report its width
ANY_TABLE = Fit()
WIDER = "a wider terminal shows them"  # columns for which there is no room, where no option prints them
CELL_CHARS_MAX = 1_000_000  # a value of a query is shown whole; a table cuts it to its column


def decimal_text(value: Decimal) -> str:
    """All digits, no exponent, no trailing zeros. Not by normalize(): that rounds to 28 digits."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def plain(value: object) -> Any:
    """A value for JSON: decimals and times as text, bytes as text with invalid UTF-8 escaped."""
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


def instant_text(us: int) -> str:
    """Microseconds UTC as RFC 3339, always with all six digits."""
    second, rest = divmod(us, 1_000_000)
    return f"{_second_text(second)}.{rest:06}Z"


@lru_cache(64)  # neighbouring ticks share it
def _second_text(second: int) -> str:
    return f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}"


def terminal_width(file: TextIO) -> int | None:
    """The columns of the terminal that the file is ($COLUMNS if set), None if it is not a terminal."""
    if not file.isatty():
        return None
    wanted = os.environ.get("COLUMNS", "")
    try:
        found = int(wanted) if wanted.isdecimal() else os.get_terminal_size(file.fileno()).columns
    except OSError:
        found = 0
    return found or COLUMNS


def takes_unicode(file: TextIO) -> bool:
    """Whether every character can be written there; JSON escapes them elsewhere, so that no name is lost."""
    return (getattr(file, "encoding", None) or "utf-8").lower().startswith("utf")


def json_text(value: object, *, ascii_only: bool = False) -> str:
    """One line of JSON without control sequences for a terminal: only unprintable characters are escaped."""
    text = json.dumps(value, ensure_ascii=ascii_only)
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in text)


def _shown(text: str) -> str:
    """A value on a terminal: whole, without control sequences."""
    return printable(text, CELL_CHARS_MAX)


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
    """A JSON array with one object per row, one row per line."""
    names, escaped = _distinct(columns), not takes_unicode(file)
    file.write("[")
    separator = "\n"
    for row in rows:
        entry = {name: plain(value) for name, value in zip(names, row, strict=True)}
        file.write(separator + json_text(entry, ascii_only=escaped))
        separator = ",\n"
    file.write("\n]\n" if separator == ",\n" else "]\n")


def write_csv(columns: Sequence[str], rows: Iterable[Sequence[object]], file: TextIO) -> None:
    """RFC 4180 with a header; NULL is empty."""
    writer = csv.writer(file, lineterminator="\r\n")
    writer.writerow(columns)
    shown = _shown if file.isatty() else str  # a program gets every character
    writer.writerows([shown(_text(value, null="")) for value in row] for row in rows)


def write_markdown(columns: Sequence[str], rows: Iterable[Sequence[object]], file: TextIO) -> None:
    """A table as GitHub's Markdown has them: one line per row, numbers to the right."""
    kept = [list(row) for row in rows]
    rules = ("---:" if any(_is_number(row[i]) for row in kept) else "---" for i in range(len(columns)))
    lines = [[_markdown(_shown(column)) for column in columns], list(rules)]
    lines += [[_markdown(_cell(value, _time_text)) for value in row] for row in kept]
    file.writelines(f"| {' | '.join(line)} |\n" for line in lines)


def _markdown(text: str) -> str:
    """Text in a cell: nothing in it ends the cell or is markup."""
    return re.sub(r"([\\`*|<\[~&]|(?<![a-zA-Z0-9])_|_(?![a-zA-Z0-9]))", r"\\\1", text)


def write_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    file: TextIO,
    *,
    title: str | None = None,
    fit: Fit = ANY_TABLE,
    elsewhere: str = "--json prints all",
) -> None:
    """A table for reading; on a terminal within its width, elsewhere whole with one line per row.

    `elsewhere` says where the columns are for which there is no room.
    """
    shown = [list(row) for row in rows]
    width = terminal_width(file)
    if width is None:
        _write_plain(columns, shown, file, title)
        return
    from rich.console import Console  # 40 ms, which no command should take that prints no table on a terminal

    console = Console(file=file, width=width, highlight=False, markup=False)
    table, left_out = laid_out(columns, shown, width, fit)
    table.title = title
    console.print(table)
    if left_out:
        text = f"not shown at this width: {', '.join(left_out)}; {elsewhere}"
        for line in wrapped(text, width):
            console.print(line, style="dim")


def _write_plain(columns: Sequence[str], rows: Sequence[Sequence[object]], file: TextIO, title: str | None) -> None:
    """The same without rich, which takes 200 us per row."""
    names = [_shown(column) for column in columns]
    right = [any(_is_number(row[i]) for row in rows) for i in range(len(names))]
    cells = [[_cell(value, _time_text) for value in row] for row in rows]
    sizes = [max(map(width_of, (name, *(row[i] for row in cells)))) for i, name in enumerate(names)]

    def line(texts: Sequence[str]) -> str:
        pieces = []
        for text, size, to_right in zip(texts, sizes, right, strict=True):
            pad = " " * (size - width_of(text))
            pieces.append(pad + text if to_right else text + pad)
        return (" " * GAP).join(pieces).rstrip() + "\n"

    if title:
        file.write(f"{title}\n")
    rule = "─" if takes_unicode(file) else "-"
    file.write(line(names) + rule * (sum(sizes) + GAP * (len(sizes) - 1)) + "\n")
    file.writelines(line(row) for row in cells)


def laid_out(
    columns: Sequence[str], rows: Sequence[Sequence[object]], width: int | None, fit: Fit = ANY_TABLE
) -> "tuple[Table, list[str]]":
    """A table of at most `width` (None: unlimited), and the columns that it leaves out."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    names = [_shown(column) for column in columns]
    numbers = [any(_is_number(row[i]) for row in rows) for i in range(len(names))]
    texts = [not numbers[i] and not any(isinstance(row[i], datetime) for row in rows) for i in range(len(names))]
    for shown in _TIMES:
        cells = [[_cell(value, shown) for value in row] for row in rows]
        fits = fitted(names, cells, texts, width or PIPE_COLUMNS, fit)
        if fits.whole:
            break
    table = Table(box=SIMPLE_HEAD, title_justify="left", show_edge=False, padding=(0, 1, 0, 0), pad_edge=False)
    for i, size in zip(fits.kept, fits.widths, strict=True):
        justify: JustifyMethod = "right" if numbers[i] else "left"
        table.add_column(Text(shortened(names[i], size)), justify=justify, no_wrap=True, min_width=size)
    for row, line in zip(rows, cells, strict=True):
        styles = ["dim" if row[i] is None else "" for i in fits.kept]
        pieces = zip(fits.kept, fits.widths, styles, strict=True)
        table.add_row(*(Text(shortened(line[i], size), style=style) for i, size, style in pieces))
    return table, fits.left_out


def _seconds(value: datetime) -> str:
    return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}" if value.tzinfo else f"{value:%Y-%m-%d %H:%M:%S}"


def _without_year(value: datetime) -> str:
    return _seconds(value).removeprefix(f"{datetime.now(UTC):%Y-}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def _cell(value: object, time_shown: Callable[[datetime], str]) -> str:
    return time_shown(value) if isinstance(value, datetime) else _shown(_text(value, null="NULL"))


def _text(value: object, *, null: str) -> str:
    if value is None:
        return null
    simple = plain(value)
    return simple if isinstance(simple, str) else json.dumps(simple, ensure_ascii=False)


# As much of a time as fits: all of it, without fractions of a second, or without the current year.
_TIMES: tuple[Callable[[datetime], str], ...] = (_time_text, _seconds, _without_year)
