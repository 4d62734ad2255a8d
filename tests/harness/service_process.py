"""The real service as a process of its own, recording from a sandbox of its own."""

import os
import signal
import subprocess
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ops.control.client import ControlClient, NoService
from tests.harness.cli_process import COMMAND, environment, wait_for
from tests.harness.cli_process import running as command_running

QUICK = '[store]\npath = "ticks.duckdb"\nflush_interval_s = 0.1\nmerge_interval_s = 0.5\n'
NAMES = ("--exchange", "binance", "--exchange", "bybit")
STOP_S = 13.0  # connection, buffer and writer at their deadlines; without work each takes no time
PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


class Sandbox:
    """Loopback exchanges in a process of their own."""

    def __init__(self, process: subprocess.Popen[str], printed: str) -> None:
        self._process = process
        self._tables = printed.split("[exchanges.")[1:]

    def tables(self, *names: str) -> str:
        """The configuration of these exchanges."""
        return "".join(f"[exchanges.{part}" for part in self._tables if part.split("]")[0] in names)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """They answer nothing, no goodbye either, so that an orderly end takes its time."""
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with command_running("sandbox", *NAMES, "--rate", "50", folder=tmp_path_factory.mktemp("sandbox")) as process:
        assert process.stdout is not None
        printed = ""
        while "symbols" not in printed.partition("[exchanges.bybit]")[2]:
            line = process.stdout.readline()
            assert line, "the sandbox ended"
            printed += line
        tomllib.loads(printed)
        yield Sandbox(process, printed)


class Service:
    """`tickwarden run` in a folder."""

    def __init__(self, folder: Path, pid: int) -> None:
        self.folder, self.pid = folder, pid
        self._control = ControlClient(folder / "ticks.duckdb.sock")

    def stored(self, exchange: str) -> int:
        """What is durable of that exchange; -1 while there is none of that name, or no service."""
        try:
            status: Any = self._control.get("/v1/status")
        except NoService:
            return -1
        return int(status["exchanges"].get(exchange, {"stored": -1})["stored"])

    def wait_for_more(self, *exchanges: str) -> None:
        """Until all of these have stored more ticks."""
        for exchange in exchanges:
            before = self.stored(exchange)
            wait_for(f"more ticks of {exchange}", lambda name=exchange, n=before: self.stored(name) > max(n, 0))

    def wait_for_log(self, words: str, times: int = 1) -> None:
        """Until the log has these words so often."""
        log = self.folder / "log"
        wait_for(f"{words} in the log", lambda: log.read_text().count(words) >= times)

    def send(self, number: int) -> None:
        os.kill(self.pid, number)


@contextmanager
def recording(
    folder: Path, config: str, command: list[str] | None = None, store: str = QUICK
) -> Iterator[tuple[Service, subprocess.Popen[bytes]]]:
    """A service that has stored something of each exchange; killed when the block is left, if it still runs."""
    (folder / "tickwarden.toml").write_text(store + config)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*(command or COMMAND), "run"],
            cwd=folder,
            env=environment(folder),
            stdout=log,
            stderr=log,
            start_new_session=True,  # without the tester's terminal, which gives SIGHUP another meaning
        )
    service = Service(folder, process.pid)
    try:
        service.wait_for_more(*tomllib.loads(config)["exchanges"])
        yield service, process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
