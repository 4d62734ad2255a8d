"""Standard output and error, whatever they are: a pipe that closes, a terminal of another encoding, a full disk."""

import os
import select
import sys
from pathlib import Path
from typing import TextIO

import click

from ops.terminal.exit_codes import FAILED, OK


def prepare() -> None:
    """Before anything is printed: what the terminal cannot encode becomes "?", a closed stream a silent one."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # started with >&-
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - until the process ends
        elif name == "stdout" and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def reader_gone() -> bool:
    """Whether a broken pipe is ours: who read what we print (`| head`) has had enough."""
    return any(_is_broken(stream) for stream in (sys.stdout, sys.stderr))


def silence() -> None:
    """From now on what is printed goes nowhere; Python would complain of a closed pipe once more at exit."""
    for stream in (sys.stdout, sys.stderr):
        if _is_broken(stream):
            _discard(stream)


def flushed(code: int) -> int:
    """`code`, once all that was printed is written; a full disk is a failure, a reader that left is none."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        silence()
    except OSError as error:
        click.echo(f"the output could not be written: {error.strerror}", err=True)
        _discard(sys.stdout)
        return code if code != OK else FAILED
    return code


def _is_broken(stream: TextIO) -> bool:
    try:
        poll = select.poll()
        poll.register(stream.fileno(), 0)
        return any(event & (select.POLLERR | select.POLLNVAL) for _, event in poll.poll(0))
    except (OSError, ValueError):  # it is no file
        return False


def _discard(stream: TextIO) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
