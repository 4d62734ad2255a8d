"""Standard output and error in all conditions: a closed pipe, a terminal of another encoding, a full disk."""

import os
import select
import sys
from pathlib import Path
from typing import TextIO

import click

from ops.terminal.exit_codes import FAILED, OK


def prepare() -> None:
    """Called before anything is printed: characters that the terminal cannot encode become "?", a closed stream
    discards.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # started with >&-
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - until the process ends
        elif name == "stdout" and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def reader_gone() -> bool:
    """Whether a broken pipe is our stdout or stderr: its reader (`| head`) has closed it."""
    return any(_is_broken(stream) for stream in (sys.stdout, sys.stderr))


def silence() -> None:
    """Discards all further output; Python would otherwise report a closed pipe once more at exit."""
    for stream in (sys.stdout, sys.stderr):
        if _is_broken(stream):
            _discard(stream)


def flushed(code: int) -> int:
    """Returns `code` once all output is written; a full disk is a failure, a closed pipe is not."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        silence()
    except OSError as error:
        click.echo(f"the output could not be written: {error.strerror}; write it to another place", err=True)
        _discard(sys.stdout)
        return code if code != OK else FAILED
    return code


def _is_broken(stream: TextIO) -> bool:
    try:
        poll = select.poll()
        poll.register(stream.fileno(), 0)
        return any(event & (select.POLLERR | select.POLLNVAL) for _, event in poll.poll(0))
    except (OSError, ValueError):  # not a file
        return False


def _discard(stream: TextIO) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
