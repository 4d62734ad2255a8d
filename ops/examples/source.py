"""Where an example reads: the ticks of a file, or those of a running service."""

import argparse
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import trio

from ops.client import Live, Replay, live, replay


def ticks_from(path: Path, symbols: list[str], speed: float | None = None) -> Live | Replay:
    """A control socket delivers live ticks, a DuckDB file stored ones: the strategy does not see which."""
    if path.is_socket():
        return live(path, symbols=symbols)
    return replay(path, symbols=symbols, speed=speed)


def arguments(about: str | None) -> argparse.ArgumentParser:
    """The options of every example."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path, help="a DuckDB file, or the control socket of a running service")
    parser.add_argument(
        "--symbol", action="append", default=[], help='such as BTC/USDT, or a wildcard like "*/USDT"'
    )
    parser.add_argument("--speed", type=float, help="of a replay: 1 keeps the intervals of the recording")
    return parser


def run(main: Callable[[], Awaitable[None]]) -> None:
    """Runs an example; it ends quietly when the reader of its output, such as `head`, has closed it."""
    try:
        trio.run(main)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more at its end
