"""What a merge takes from the feed: python -m tests.bench.merge_cost [--rows N] [--runs N] [--json]

A flood over loopback, the service on one core. Once `--rows` rows are received its rate is measured: before, while
a merge runs that was asked for (its first part: on a full core the rest may last as long as the flood), and after.
"""

import argparse
import json
import statistics
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

from ops.control.client import ControlClient, NoService, ProblemReply
from tests.bench.service import Service, recording

BESIDE_S = 2.0  # how long the rate is measured before and after
STORE = {"merge_interval_s": 3600}


def run(folder: Path, rows: int) -> dict[str, float]:
    """One merge; trades a second."""
    with recording(folder, rate=0, store=STORE) as service:
        while service.received() < rows:
            time.sleep(0.2)
        before, _ = rate(service, lambda: time.sleep(BESIDE_S))
        during, took_s = rate(service, lambda: merge_part(service))
        after, _ = rate(service, lambda: time.sleep(BESIDE_S))
        locked_s = service.status()["store"]["locked_s"]
    beside = (before + after) / 2
    return {
        "before": round(before),
        "during": round(during),
        "after": round(after),
        "kept": round(during / beside, 3),
        "merge_s": round(took_s, 2),
        "locked_s": locked_s,
    }


def merge_part(service: Service) -> None:
    """Asks for a merge, and returns when its first part is done."""

    def ask() -> None:
        with suppress(ProblemReply, NoService):  # the flood may outlast the command, and the service the flood
            ControlClient(service.socket).post("/v1/merge")

    before = service.status()["store"]["last_merge_at"]
    threading.Thread(target=ask, daemon=True).start()
    while service.status()["store"]["last_merge_at"] == before:
        time.sleep(0.2)


def rate(service: Service, wait: object) -> tuple[float, float]:
    """Trades received a second while it waits, and for how long it did."""
    assert callable(wait)
    first, began = service.received(), time.monotonic()
    wait()
    seconds = time.monotonic() - began
    return (service.received() - first) / seconds, seconds


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    found = []
    for _ in range(asked.runs):
        with tempfile.TemporaryDirectory() as folder:
            found.append(run(Path(folder), asked.rows))
        if not asked.json:
            print("  ".join(f"{name} {value:,}" for name, value in found[-1].items()), flush=True)
    kept = statistics.median(row["kept"] for row in found)
    if asked.json:
        json.dump({"runs": found, "kept": kept}, sys.stdout)
    else:
        print(f"the feed kept {kept:.0%} of its rate, median; target 90%")


if __name__ == "__main__":
    main()
