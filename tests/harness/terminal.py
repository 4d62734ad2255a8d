"""A command on a terminal of a given size: what it draws there, and keys that are pressed."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests.harness.cli_process import COMMAND, PATIENCE_S, environment, tickwarden_here

_CONTROLS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]|\r")


class Terminal:
    """The screen's side. `text` is all that was written so far, without what moves the cursor and colours."""

    def __init__(self, side: int, process: subprocess.Popen[bytes] | None) -> None:
        self.side, self._process = side, process
        self._data = b""

    @property
    def raw(self) -> str:
        return self._data.decode("utf-8", "replace")

    @property
    def text(self) -> str:
        return _CONTROLS.sub("", self.raw)

    def press(self, keys: str) -> None:
        os.write(self.side, keys.encode())

    def send(self, number: int) -> None:
        """Sends a signal to the command."""
        assert self._process is not None
        self._process.send_signal(number)

    def read(self, within_s: float) -> bool:
        """Reads once; False when the command has closed the terminal."""
        if select.select([self.side], [], [], within_s)[0]:
            try:
                data = os.read(self.side, 1 << 16)
            except OSError:  # EIO: nobody has it open any more
                return False
            self._data += data
            return bool(data)
        return True

    def until(self, words: str) -> str:
        """Reads until these words are there; returns the text."""
        deadline = time.monotonic() + PATIENCE_S
        while words not in self.text:
            assert time.monotonic() < deadline and self.read(0.2), f"{words!r} did not come in {self.text!r}"
        return self.text

    def end(self) -> int:
        """Reads to the end; returns the exit code."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline and self.read(0.2):
            pass
        assert self._process is not None
        return self._process.wait(PATIENCE_S)


def terminal(
    *words: str, folder: Path, width: int = 80, height: int = 24, **more: str
) -> AbstractContextManager[Terminal]:
    """A command of Tickwarden on a terminal of its own; killed at the end of the block if it still runs."""
    return program_on_terminal([*COMMAND, *words], folder, width, height, **more)


@contextmanager
def program_on_terminal(
    command: Sequence[str], folder: Path, width: int = 80, height: int = 24, **more: str
) -> Iterator[Terminal]:
    """The same for any program."""
    side, other = pty.openpty()
    fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
    surroundings = {
        k: v for k, v in environment(folder, **more).items() if k not in ("COLUMNS", "LINES", "NO_COLOR")
    }
    process = subprocess.Popen(
        command,
        cwd=folder,
        env={**surroundings, "TERM": "xterm", **more},
        stdin=other,
        stdout=other,
        stderr=other,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(other)
    try:
        yield Terminal(side, process)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        os.close(side)


def on_terminal(*words: str, folder: Path, width: int = 80, height: int = 24, **more: str) -> tuple[int, str]:
    """A command that ends: its exit code and what it drew."""
    with terminal(*words, folder=folder, width=width, height=height, **more) as screen:
        code = screen.end()
        return code, screen.text


def drawn_here(*words: str, folder: Path, width: int = 80) -> tuple[int, str]:
    """The same within this process: its exit code and what it drew on standard output."""
    side, other = pty.openpty()
    fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    screen = Terminal(side, None)
    with (
        pytest.MonkeyPatch.context() as patch,
        ThreadPoolExecutor(1) as reader,
        os.fdopen(other, "w", encoding="utf-8") as out,
    ):
        patch.delenv("COLUMNS", raising=False)
        patch.setenv("TERM", "xterm")
        drawing = reader.submit(lambda: all(iter(lambda: screen.read(0.2), False)))
        code = tickwarden_here(*words, folder=folder, out=out).returncode
        out.close()
        drawing.result()
    os.close(side)
    return code, screen.text
