"""How long the event loop pauses: python -m tests.bench.pauses [--rate N] [--feeds N] [--seconds N] [--json]

The service records over loopback, with a merge every two seconds; for the second half this process holds the file
open, so that the tail is compacted instead. `--rate 0` is a flood. tests/bench/pause_probe.py says what is noted.
A pause of the program ("turn_own") is a turn of the loop less the time for which its thread was ready and had no
core. Of it CPU time is the loop's own work, and the rest waits for the interpreter's lock. What the machine gave to
others is in the other figures too, and alone in "machine_late": how late a thread was woken that only sleeps.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import duckdb

from tests.bench.service import probe_seen, quantile, recording

TARGET_MS = 20.0
STEPS_SHOWN = 8
MERGE_INTERVAL_S = 2.0


def run(folder: Path, rate: float, feeds: int, seconds: float) -> dict[str, Any]:
    """One run; times in milliseconds."""
    store = {"merge_interval_s": MERGE_INTERVAL_S}
    late: list[float] = []
    ended = threading.Event()

    def sleep() -> None:
        while not ended.is_set():
            due = time.perf_counter() + 0.001
            time.sleep(0.001)
            late.append((time.perf_counter() - due) * 1000)

    with recording(folder, rate=rate, feeds=feeds, store=store, probe="tests.bench.pause_probe") as service:
        threading.Thread(target=sleep, daemon=True).start()
        before = service.received()
        time.sleep(seconds / 2)
        with hold(service.path):
            time.sleep(seconds / 2)
            status = service.status()
        received = service.received() - before
        ended.set()
        os.kill(service.pid, signal.SIGUSR1)
    seen = probe_seen(service)
    steps = {name: [cpu for _, cpu in found] for name, found in seen["steps"].items()}
    return {
        "messages_per_s": received / seconds,
        "locked_s": status["store"]["locked_s"],
        "turn_own": spread([real - queued for real, _, queued in seen["turns"]]),
        "turn_cpu": spread([cpu for _, cpu, _ in seen["turns"]]),
        "turn": spread([real for real, _, _ in seen["turns"]]),
        "late_wakeup_own": spread([late - queued for late, queued in seen["late"]]),
        "late_wakeup": spread([late for late, _ in seen["late"]]),
        "step_real": spread([real for found in seen["steps"].values() for real, _ in found]),
        "step_cpu": spread([cpu for found in seen["steps"].values() for _, cpu in found]),
        "longest_steps_cpu": dict(
            sorted(((n, max(s)) for n, s in steps.items()), key=lambda x: -x[1])[:STEPS_SHOWN]
        ),
        "gc": {generation: spread(found) for generation, found in seen["collections"].items()},
        "machine_late": spread(late),
    }


def hold(path: Path) -> duckdb.DuckDBPyConnection:
    """The open file; it is locked for moments."""
    while True:
        try:
            return duckdb.connect(str(path), read_only=True)
        except duckdb.IOException:
            time.sleep(0.02)


def spread(values: list[float]) -> dict[str, float]:
    """How many there were, and how long."""
    if not values:
        return {"n": 0}
    shares = {"p50": 0.5, "p99": 0.99, "p999": 0.999, "max": 1.0}
    return {"n": len(values)} | {name: round(quantile(values, share), 2) for name, share in shares.items()}


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=5_000.0)
    parser.add_argument("--feeds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = run(Path(folder), asked.rate, asked.feeds, asked.seconds)
    if asked.json:
        json.dump(found, sys.stdout)
        return
    print(f"{found['messages_per_s']:,.0f} messages/s; times in ms, target {TARGET_MS:g}")
    lines = {name: row for name, row in found.items() if isinstance(row, dict) and "n" in row}
    lines |= {f"collection of generation {generation}": row for generation, row in found["gc"].items()}
    for name, row in lines.items():
        print(f"{name:<30}" + "".join(f"{what:>6} {value:>8,.2f}" for what, value in row.items()))
    for name, value in found["longest_steps_cpu"].items():
        print(f"  longest step, CPU: {value:>6.1f} {name}")


if __name__ == "__main__":
    main()
