"""What merges take from the feed: python -m tests.bench.merge_cost [--rows N] [--runs N] [--json]

A flood over loopback, the service on one core. Once `--rows` rows are received it is asked to merge, which on a
full core lasts as long as the flood, in parts with rests between them. From the end of one part to the end of the
next the rate is compared with that of the rest alone: the two are seconds apart, while the clock of a shared
machine may change by a third from one run to the next.
"""

import argparse
import json
import statistics
import sys
import tempfile
import threading
import time
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

from msgspec import Struct

from ops.control.client import ControlClient, NoService, ProblemReply
from tests.bench.service import Service, recording

DURING_S = 45.0  # about ten parts
EVERY_S = 0.15
PREPARED_S = 0.3  # before a part locks the file, it reads its segments
STORE = {"merge_interval_s": 3600}


class Sample(Struct, frozen=True):
    """What was received, and how long the file had been locked, at a moment."""

    at: float
    received: int
    locked_s: float


def run(folder: Path, rows: int) -> list[tuple[float, float]]:
    """Of each part and the rest before it: trades a second, and their ratio to those of the rest."""
    with recording(folder, rate=0, store=STORE) as service:
        while service.received() < rows:
            time.sleep(EVERY_S)
        threading.Thread(target=merge, args=(service,), daemon=True).start()
        end = time.monotonic() + DURING_S
        samples = []
        while time.monotonic() < end:
            samples.append(sample(service))
            time.sleep(EVERY_S)
    return [(whole, whole / rest) for whole, rest in rates(samples)]


def merge(service: Service) -> None:
    """Asks for a merge; the flood may outlast the command, and the service the flood."""
    with suppress(ProblemReply, NoService):
        ControlClient(service.socket).post("/v1/merge")


def sample(service: Service) -> Sample:
    """What status answers now."""
    began = time.monotonic()
    status = service.status()
    received = sum(row["received"] for row in status["exchanges"].values())
    return Sample((began + time.monotonic()) / 2, received, status["store"]["locked_s"])


def rates(samples: list[Sample]) -> list[tuple[float, float]]:
    """Trades a second from the end of each part to the end of the next one, and in the rest between them."""
    ends = [(new, new.locked_s - old.locked_s) for old, new in pairwise(samples) if new.locked_s > old.locked_s]
    found = []
    for (first, _), (last, locked_s) in pairwise(ends):
        resting_until = last.at - EVERY_S - locked_s - PREPARED_S
        rest = [s for s in samples if first.at <= s.at <= resting_until]
        if len(rest) > 1:
            found.append((rate(first, last), rate(rest[0], rest[-1])))
    return found


def rate(first: Sample, last: Sample) -> float:
    """Trades a second between two samples."""
    return (last.received - first.received) / (last.at - first.at)


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
            parts = run(Path(folder), asked.rows)
        if not parts:
            sys.exit("no two parts were merged: the core was not full, or the machine is too slow")
        whole, kept = (statistics.median(values) for values in zip(*parts, strict=True))
        found.append({"parts": len(parts), "trades a second": round(whole), "kept": round(kept, 3)})
        if not asked.json:
            print("  ".join(f"{name} {value:,}" for name, value in found[-1].items()), flush=True)
    kept = statistics.median(row["kept"] for row in found)
    if asked.json:
        json.dump({"runs": found, "kept": kept}, sys.stdout)
    else:
        print(f"the feed keeps {kept:.1%} of its rate beside merges, median; target 90%")


if __name__ == "__main__":
    main()
