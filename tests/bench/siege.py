"""What a siege of the control socket costs recording: python -m tests.bench.siege [--seconds N] [--rate N]

The real service records loopback exchanges at a fixed rate, first in peace, then while clients of every bad
sort (tests/harness/siege.py) come back as fast as they are thrown out, after a thousand at once.
"""

import argparse
import json
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import trio

from ops.control.client import ControlClient
from tests.harness.cli_process import running, sandbox, wait_for
from tests.harness.siege import RUDE, besiege


def stored(service: ControlClient) -> int:
    status: Any = service.get("/v1/status")
    return sum(row["stored"] for row in status["exchanges"].values())


def memory_kib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


async def pace(service: ControlClient, seconds: float, siege: Path | None) -> float:
    """Durable ticks a second; counted before and after, as the socket is busy in between."""
    before, began = stored(service), trio.current_time()
    with trio.move_on_after(seconds):
        while siege is not None:
            await besiege(siege, RUDE)
        await trio.sleep_forever()
    await trio.sleep(1.0)  # whatever was thrown out has gone
    after = await trio.to_thread.run_sync(partial(patiently, service))
    return (after - before) / (trio.current_time() - began)


def patiently(service: ControlClient) -> int:
    count: int = wait_for("an answer after the siege", lambda: stored(service))
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--rate", type=float, default=1000.0, help="trades a second of each of five exchanges")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with sandbox(folder, options.rate) as config:
            (folder / "tickwarden.toml").write_text(config)
            with running("run", folder=folder) as process:
                socket = folder / "ticks.duckdb.sock"
                service = ControlClient(socket)
                wait_for("recording", lambda: socket.exists() and stored(service))
                quiet = trio.run(pace, service, options.seconds, None)
                rss = memory_kib(process.pid)
                besieged = trio.run(pace, service, options.seconds, socket)
                grown = memory_kib(process.pid) - rss
    figures = {
        "ticks_per_s_quiet": round(quiet),
        "ticks_per_s_besieged": round(besieged),
        "kept": round(besieged / quiet, 3),
        "memory_kib": grown,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
