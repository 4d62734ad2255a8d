"""The service as users run it, beside a loopback exchange that never runs dry: what the benches measure on."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ops.control.client import ControlClient
from tests.harness.cli_process import environment, wait_for

FEED = """
[exchanges.feed{number}]
dialect = "binance"
symbols = ["BTC/USDT"]
ws_url = "ws://127.0.0.1:{port}"
rest_url = "http://127.0.0.1:9"
"""
STOP_S = 60.0


@dataclass(frozen=True)
class Service:
    """A service that records."""

    folder: Path
    pid: int

    @property
    def path(self) -> Path:
        """The DuckDB file."""
        return self.folder / "ticks.duckdb"

    @property
    def socket(self) -> Path:
        """The control socket."""
        return self.folder / "ticks.duckdb.sock"

    def status(self) -> Any:
        """What /v1/status answers."""
        return ControlClient(self.socket).get("/v1/status")

    def received(self) -> int:
        """Trades received so far."""
        return sum(row["received"] for row in self.status()["exchanges"].values())

    def cpu_s(self) -> float:
        """User and system time so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rss_mb(self) -> float:
        """Resident memory now."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def python(*words: str, folder: Path, core: int | None, **more: Any) -> subprocess.Popen[str]:
    """Starts Python on one core, where the system lets us choose."""
    process = subprocess.Popen([sys.executable, *words], cwd=folder, text=True, env=environment(folder), **more)
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_setaffinity") else []
    if core is not None and len(cores) > 1:
        os.sched_setaffinity(process.pid, {cores[core % len(cores)]})
    return process


@contextmanager
def recording(
    folder: Path, *, rate: float, feeds: int = 1, store: Mapping[str, object] | None = None, probe: str = ""
) -> Iterator[Service]:
    """A service on the first core, its feeds on the second; stopped in an orderly way at the end.

    `rate` messages a second in all, 0: as many as it takes. `store` are further keys of [store]; `probe` is a
    module that runs the command and writes what it has seen to "probe.json".
    """
    feeder = python("-m", "tests.bench.feeder", "--rate", str(rate), folder=folder, core=1, stdout=subprocess.PIPE)
    assert feeder.stdout is not None
    port = int(feeder.stdout.readline())
    keys = {"path": "ticks.duckdb", **(store or {})}
    tables = ["[store]", *(f"{key} = {json.dumps(value)}" for key, value in keys.items())]
    tables += [FEED.format(number=number, port=port) for number in range(1, feeds + 1)]
    (folder / "tickwarden.toml").write_text("\n".join(tables))
    command = ("-m", probe, "run") if probe else ("-c", "from ops.cli import main; main()", "run")
    with (folder / "log").open("w") as log:
        process = python(*command, folder=folder, core=0, stdout=log, stderr=log)
        service = Service(folder, process.pid)
        try:
            wait_for("recording", lambda: service.socket.exists() and service.received() > 0)
            yield service
            process.send_signal(signal.SIGTERM)
            feeder.kill()  # a flood would go on until the socket is closed
            if process.wait(STOP_S) != 0:
                raise SystemExit(
                    f"the service ended with {process.returncode}: {(folder / 'log').read_text()[-2000:]}"
                )
        finally:
            process.kill()
            feeder.kill()
            process.wait()
            feeder.wait()


def probe_seen(service: Service) -> Any:
    """What the probe wrote at the end."""
    return json.loads((service.folder / "probe.json").read_text())


def quantile(values: list[float], share: float) -> float:
    """The value below which that share of them lies."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]
