"""What a merge takes from the feed: python -m tests.bench.merge_cost [--rows N] [--runs N] [--json]

A flood over loopback, the service on one core. Once `--rows` rows are received its rate is measured, and again for
DURING_S while a merge runs that was asked for: on a full core it may last as long as the flood.
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

BESIDE_S = 5.0  # how long the rate is measured before
DURING_S = 25.0  # about a million rows, in parts with rests between them
STORE = {"merge_interval_s": 3600}


def run(folder: Path, rows: int) -> dict[str, float]:
    """One merge; trades a second."""
    with recording(folder, rate=0, store=STORE) as service:
        while service.received() < rows:
            time.sleep(0.2)
        before = rate(service, BESIDE_S)
        threading.Thread(target=merge, args=(service,), daemon=True).start()
        during = rate(service, DURING_S)
        locked_s = service.status()["store"]["locked_s"]
    return {
        "before": round(before),
        "during": round(during),
        "kept": round(during / before, 3),
        "locked_s": locked_s,
    }


def merge(service: Service) -> None:
    """Asks for a merge; the flood may outlast the command, and the service the flood."""
    with suppress(ProblemReply, NoService):
        ControlClient(service.socket).post("/v1/merge")


def rate(service: Service, seconds: float) -> float:
    """Trades received a second, for so long."""
    first, began = service.received(), time.monotonic()
    time.sleep(seconds)
    return (service.received() - first) / (time.monotonic() - began)


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
