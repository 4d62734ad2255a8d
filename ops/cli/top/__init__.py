"""`tickwarden top`: the whole service, live, with scrolling."""

import os
import select
import sys
import termios
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console, RenderableType
from rich.live import Live
from rich.segment import Segment
from rich.text import Text

from ops.cli.common import Number, client, config_option, socket_option
from ops.cli.status import ACTORS, EXCHANGES, actor_rows, exchange_rows, headline
from ops.control.client import ControlClient
from ops.terminal.exit_codes import OK
from ops.terminal.output import PIPE_COLUMNS, laid_out, terminal_width

KEY_BYTES = 64  # bytes of one read from the keyboard
_STEPS = {b"\x1b[A": -1, b"k": -1, b"\x1b[B": 1, b"j": 1}
_PAGES = {b"\x1b[5~": -1, b"b": -1, b"\x1b[6~": 1, b" ": 1}
_ENDS = {b"\x1b[H": 0, b"g": 0, b"\x1b[F": sys.maxsize, b"G": sys.maxsize}
_KEYS = sorted({*_STEPS, *_PAGES, *_ENDS, b"q"}, key=len, reverse=True)


@click.command()
@click.option(
    "--interval", "interval_s", type=Number(min=0.1, max=3600), default=1.0, show_default=True, metavar="S"
)
@click.option("--once", is_flag=True, help="One picture instead of a live view.")
@config_option
@socket_option
def top(interval_s: float, once: bool, config_path: Path | None, socket_path: Path | None) -> int:
    """The whole service, live, until q or Ctrl-C; arrows, page keys, Home and End scroll."""
    service = client(config_path, socket_path)
    width = terminal_width(sys.stdout)
    if once or width is None:
        plain = Console(width=width or PIPE_COLUMNS, highlight=False, markup=False)
        for part in _picture(service, width):
            plain.print(part)
        return OK
    console = Console(highlight=False, markup=False)
    first = 0
    with (
        _keyboard() as keyboard,
        Live(console=console, screen=True, auto_refresh=False, vertical_overflow="crop") as live,
    ):
        while True:
            lines = _lines(console, _picture(service, console.width))
            due = time.monotonic() + interval_s
            while True:
                height = max(console.height - 1, 1)
                first = max(0, min(first, len(lines) - height))
                live.update(_window(lines, first, height), refresh=True)
                keys = _pressed(keyboard, due - time.monotonic())
                if not keys:
                    break
                if b"q" in keys:
                    return OK
                for key in keys:
                    first = max(0, min(_moved(first, key, height), len(lines) - height))


def _picture(service: ControlClient, width: int | None) -> list[RenderableType]:
    """Headline, exchanges and actors, within `width`."""
    status: Any = service.get("/v1/status")
    actors: Any = service.get("/v1/actors")
    lines: list[RenderableType] = [Text(line) for line in headline(status, width)]
    tables = [
        laid_out(*rows, width, fit)[0]
        for rows, fit in ((exchange_rows(status), EXCHANGES), (actor_rows(actors), ACTORS))
    ]
    return [*lines, Text(""), tables[0], Text(""), tables[1]]


def _lines(console: Console, parts: list[RenderableType]) -> list[list[Segment]]:
    return [line for part in parts for line in console.render_lines(part, pad=False)]


class _Window:
    """Lines already drawn, as rich needs them."""

    def __init__(self, lines: list[list[Segment]]) -> None:
        self._lines = lines

    def __rich_console__(self, *_: object) -> Iterator[Segment]:
        for index, line in enumerate(self._lines):
            yield from ([Segment.line()] if index else [])
            yield from line


def _window(lines: list[list[Segment]], first: int, height: int) -> _Window:
    """The lines that fit from `first` on, and a footer with the position if there are more."""
    shown = lines[first : first + height]
    if len(lines) > height:
        text = f"lines {first + 1}-{first + len(shown)} of {len(lines)}; arrows and page keys scroll, q quits"
        shown = [*shown, [Segment(text)]]
    return _Window(shown)


def _moved(first: int, key: bytes, height: int) -> int:
    if key in _ENDS:
        return _ENDS[key]
    return first + _STEPS.get(key, 0) + _PAGES.get(key, 0) * max(height - 1, 1)


@contextmanager
def _keyboard() -> Iterator[int | None]:
    """The terminal's keys one by one, without echo, while the block runs; None without a keyboard."""
    if not sys.stdin.isatty():
        yield None
        return
    keyboard = sys.stdin.fileno()
    before = termios.tcgetattr(keyboard)
    try:
        tty.setcbreak(keyboard)
        yield keyboard
    finally:
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)


def _pressed(keyboard: int | None, within_s: float) -> list[bytes]:
    """The keys pressed until then, returned at the first; [] for none."""
    if keyboard is None:
        time.sleep(max(within_s, 0))
        return []
    if not select.select([keyboard], [], [], max(within_s, 0))[0]:
        return []
    data = os.read(keyboard, KEY_BYTES)
    if not data:  # the terminal is closed; drawing raises an error of its own
        time.sleep(max(within_s, 0))
    found = []
    while data:
        key = next((key for key in _KEYS if data.startswith(key)), data[:1])
        found.append(key)
        data = data[len(key) :]
    return found
