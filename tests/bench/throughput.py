"""How fast the real service makes a flood durable: python tests/bench/throughput.py [--ticks N] [--runs N]

A loopback exchange (flood.py) on one core floods one connection of `tickwarden run` on another core. The
time runs from the first receipt to the last segment on disk; afterwards every tick must be in the file
once and the books must agree. Exits 1 below the promised rate.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb

ROOT = Path(__file__).parent.parent.parent
PROMISED_PER_S = 150_000
POLL_S = 0.2  # seldom, so that asking costs nothing
PATIENCE_S = 300.0
CONFIG = """
[store]
path = "ticks.duckdb"
merge_interval_s = 3600
[exchanges.binance]
symbols = ["BTC/USDT"]
ws_url = "ws://127.0.0.1:{port}"
"""


@dataclass(frozen=True)
class Figures:
    """What one run gave."""

    ticks_per_s: float
    cpu_us_per_tick: float
    rss_mb: float
    segments: int
    seconds: float


def pinned(core: int, *command: str, folder: Path, **more: Any) -> subprocess.Popen[str]:
    """Starts Python with these words on one core, where the system lets us choose."""
    process = subprocess.Popen(
        [sys.executable, *command], cwd=folder, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, **more
    )
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_setaffinity") else []
    if len(cores) > 1:
        os.sched_setaffinity(process.pid, {cores[core % len(cores)]})
    return process


def cpu_s(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_mb(pid: int) -> float:
    """The most memory a process has had."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def stored(folder: Path) -> int:
    """What the service says is durable; -1 while it does not answer or is starting, which is not measured."""
    from ops.control.client import ControlClient, NoService

    try:
        status: Any = ControlClient(folder / "ticks.duckdb.sock").get("/v1/status")
    except NoService:
        return -1
    if status["state"] == "starting":
        return -1
    return int(status["exchanges"]["binance"]["stored"])


def wait_until_stored(folder: Path, service: subprocess.Popen[str], ticks: int) -> None:
    """Until so many ticks are durable."""
    deadline = time.monotonic() + PATIENCE_S
    while stored(folder) < ticks:
        if service.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"{ticks} ticks did not become durable; see {folder}/log")
        time.sleep(POLL_S)


def run(folder: Path, ticks: int) -> Figures:
    """One flood, from an empty folder to a finished file."""
    flood = pinned(1, str(ROOT / "tests/bench/flood.py"), str(ticks), folder=folder, stdout=subprocess.PIPE)
    assert flood.stdout is not None
    (folder / "tickwarden.toml").write_text(CONFIG.format(port=int(flood.stdout.readline())))
    with (folder / "log").open("w") as log:
        command = ("-c", "from ops.cli import main; main()", "run")
        service = pinned(0, *command, folder=folder, stdout=log, stderr=log)
        try:
            wait_until_stored(folder, service, 0)
            before_s = cpu_s(service.pid)
            wait_until_stored(folder, service, ticks)
            used_s, memory_mb = cpu_s(service.pid) - before_s, rss_mb(service.pid)
            segments = [
                path for path in folder.glob("ticks.duckdb.tail/ticks/*.parquet") if path.stat().st_size > 5000
            ]
            durable_at = max(path.stat().st_mtime for path in segments)
            service.send_signal(signal.SIGTERM)
            if service.wait(PATIENCE_S) != 0:
                raise SystemExit(f"the service ended with {service.returncode}; see {folder}/log")
        finally:
            service.kill()
            flood.kill()
            service.wait()
            flood.wait()
    seconds = durable_at - check(folder, ticks).timestamp()
    return Figures(ticks / seconds, used_s / ticks * 1e6, memory_mb, len(segments), seconds)


def check(folder: Path, ticks: int) -> datetime:
    """Every tick once, exact, and books that agree; returns the first receipt."""
    with duckdb.connect(str(folder / "ticks.duckdb"), read_only=True) as con:
        con.execute("SET enable_progress_bar = false")
        row = con.execute(
            "SELECT count(*), count(DISTINCT trade_id), min(trade_id::INT), max(trade_id::INT), min(received_at)"
            " FROM ticks"
        ).fetchone()
        unequal = con.execute(
            "SELECT count(*) FROM audit WHERE received <> stored + duplicates + rejected + in_flight"
        ).fetchone()
        last = con.execute("SELECT max(received), max(stored), max(rejected) FROM audit").fetchone()
    assert row is not None
    assert row[:4] == (ticks, ticks, 0, ticks - 1), f"in the file: {row[:4]}"
    assert unequal == (0,) and last == (ticks, ticks, 0), f"the audit says {last}, {unequal} rows do not add up"
    first: datetime = row[4]
    return first


def main() -> int:
    """Prints the figures of each run; the best one counts, for a busy machine only ever slows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--ticks", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3)
    asked = parser.parse_args()
    best = 0.0
    for _ in range(asked.runs):
        with tempfile.TemporaryDirectory() as folder:
            figures = run(Path(folder), asked.ticks)
        best = max(best, figures.ticks_per_s)
        print(
            f"{figures.ticks_per_s:,.0f} ticks/s from first receipt to durable"
            f" ({asked.ticks:,} ticks in {figures.seconds:.2f} s, {figures.segments} segments),"
            f" {figures.cpu_us_per_tick:.2f} us CPU a tick, {figures.rss_mb:.0f} MB at most; all stored once",
            flush=True,
        )
    print(f"best {best:,.0f} ticks/s; promised are {PROMISED_PER_S:,}")
    return 0 if best >= PROMISED_PER_S else 1


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
