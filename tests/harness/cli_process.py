"""The command line as a user meets it: a process of its own, its exit code and what it printed."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from ops.cli import main
from tests.harness.exchange_values import FIVE
from tests.harness.paths import ROOT

COMMAND = [sys.executable, "-c", "from ops.cli import main; main()"]
PATIENCE_S = 30.0  # how long anything that should take a second may take on a busy machine


def environment(folder: Path, **more: str) -> dict[str, str]:
    """Nothing of the tester's own configuration may reach the command."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("TICKWARDEN_", "XDG_"))}
    return {**kept, "PYTHONPATH": str(ROOT), "HOME": str(folder), **more}


def tickwarden(*words: str, folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end in `folder`."""
    return subprocess.run(
        [*COMMAND, *words],
        cwd=folder,
        env=environment(folder, **more),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S * 2,
        check=False,
    )


def tickwarden_here(
    *words: str, folder: Path, out: io.TextIOWrapper | None = None
) -> subprocess.CompletedProcess[str]:
    """The same within this process, which has imported everything already: for commands that ask and end.

    What it prints goes to `out` where that is given.
    """
    kept, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    out = out or kept
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        for name in os.environ.keys() - environment(folder).keys():
            patch.delenv(name)
        patch.setenv("HOME", str(folder))
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["tickwarden", *words])
        with pytest.raises(SystemExit) as ended:
            main()
    said = [stream.detach().getvalue().decode() for stream in (kept, err)]
    return subprocess.CompletedProcess(["tickwarden", *words], int(ended.value.code or 0), *said)


@contextmanager
def running(*words: str, folder: Path, **more: str) -> Iterator[subprocess.Popen[str]]:
    """A command that goes on; it is killed when the block is left, if it still runs."""
    process = subprocess.Popen(
        [*COMMAND, *words],
        cwd=folder,
        env=environment(folder, **more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.communicate()


@contextmanager
def sandbox(folder: Path, rate: float = 200.0) -> Iterator[str]:
    """Five loopback exchanges in a process of their own; gives the configuration that points at them."""
    names = [word for name in FIVE for word in ("--exchange", name)]
    with running("sandbox", *names, "--rate", str(rate), folder=folder) as process:
        assert process.stdout is not None
        lines: list[str] = []
        tables = 0
        while not (tables == len(FIVE) and lines[-1].startswith("symbols")):
            lines.append(process.stdout.readline())
            assert lines[-1], "the sandbox ended"
            tables += lines[-1].startswith("[exchanges.")
        yield "".join(lines)


def wait_for(what: str, look: Any, patience_s: float = PATIENCE_S) -> Any:
    """Looks until it sees something true, and returns it."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        if seen := look():
            return seen
        time.sleep(0.05)
    raise AssertionError(f"{what} did not happen within {patience_s:g} s")


def status(folder: Path) -> dict[str, Any]:
    """What `tickwarden status --json` says; {} while there is no service."""
    asked = tickwarden_here("status", "--json", folder=folder)
    return json.loads(asked.stdout) if asked.returncode == 0 else {}
