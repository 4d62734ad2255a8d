"""A real service with its dashboard, recording from a sandbox: what tests look at in a browser."""

import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from ops.control.client import ControlClient, NoService
from tests.harness.cli_process import running, wait_for

# An exchange that refuses every connection: there is nobody at the port.
REFUSING = (
    '[exchanges.kraken]\nsymbols = ["BTC/USD"]\nws_url = "ws://127.0.0.1:1"\nrest_url = "http://127.0.0.1:1"\n'
)


def free_port() -> int:
    """A port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


class DashboardWorld:
    """`tickwarden run` in `folder`, with its dashboard at `url`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = f"http://127.0.0.1:{free_port()}/"
        self._service: ExitStack | None = None
        self._process: subprocess.Popen[str] | None = None
        self._control = ControlClient(folder / "ticks.duckdb.sock")

    def configure(self, exchanges: str) -> None:
        """Writes the configuration, with these tables of exchanges."""
        http = self.url.removeprefix("http://").rstrip("/")
        quick = '[store]\npath = "ticks.duckdb"\nflush_interval_s = 0.2\nmerge_interval_s = 2\n'
        (self.folder / "tickwarden.toml").write_text(f'{quick}[control]\nhttp = "{http}"\n{exchanges}')

    def status(self) -> dict[str, Any]:
        """/v1/status; {} while there is no service."""
        try:
            answer: Any = self._control.get("/v1/status")
        except NoService:
            return {}
        return dict(answer)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self, exchange: str) -> None:
        """Starts the service; returns when it has stored something of that exchange."""
        self._service = ExitStack()
        self._process = self._service.enter_context(running("run", "--quiet", folder=self.folder))
        wait_for("something stored", lambda: self.status() and self.status()["exchanges"][exchange]["stored"])

    def stop(self) -> None:
        """Stops the service in an orderly way."""
        if self._process is not None and self._service is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.communicate(timeout=30)
            self._service.close()
        self._service = self._process = None


@contextmanager
def dashboard_world(folder: Path, *exchanges: str, rate: float, more: str = "") -> Iterator[DashboardWorld]:
    """A sandbox of these exchanges at this rate each, and a service that records them."""
    words = [word for name in exchanges for word in ("--exchange", name)]
    with running("sandbox", *words, "--rate", str(rate), folder=folder) as sandbox:
        assert sandbox.stdout is not None
        printed = ""
        while len(re.findall(r"^symbols = .*\n", printed, re.M)) < len(exchanges):
            line = sandbox.stdout.readline()
            assert line, "the sandbox ended"
            printed += line
        world = DashboardWorld(folder)
        world.configure(printed + more)
        world.start(exchanges[0])
        try:
            yield world
        finally:
            world.stop()
