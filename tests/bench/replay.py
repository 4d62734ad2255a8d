"""How fast a recording is replayed, as Arrow batches and as tick objects: python -m tests.bench replay

    --rows N        rows in the file (3,000,000), as `queries` makes them: merged rows, and a tail
    --keep FILE     replays that file, or builds it there
    --runs N        rounds (3); batches and ticks take turns
    --json          one line of JSON instead of the table

Processor time is of the whole process. DuckDB's threads, a part of it, read the next window while Python uses
one, so that with a free core for each the main thread's time limits the rate of ticks. The peak of memory shows
that the file is streamed.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.bench.queries import build, folder_for

REPLAYER = """
import json, resource, sys, time
from ops.client import replay
began, cpu, main = time.perf_counter(), time.process_time(), time.thread_time()
stored = replay(sys.argv[1])
rows = sum(batch.num_rows for batch in stored.batches()) if sys.argv[2] == "batches" else sum(1 for _ in stored)
print(json.dumps({
    "rows": rows,
    "wall_s": time.perf_counter() - began,
    "cpu_s": time.process_time() - cpu,
    "main_s": time.thread_time() - main,
    "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
}))
"""


def replayed(path: Path, kind: str) -> dict[str, float]:
    """In a process of its own."""
    done = subprocess.run([sys.executable, "-c", REPLAYER, str(path), kind], check=True, stdout=subprocess.PIPE)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=3_000_000)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    found: dict[str, list[dict[str, float]]] = {"batches": [], "ticks": []}
    with folder_for(asked.keep, Path(tempfile.gettempdir())) as path:
        if not path.exists():
            build(path, asked.rows, 0.01, 300_000, lambda text: print(text, file=sys.stderr, flush=True))
        for _ in range(asked.runs):
            for kind, runs in found.items():
                runs.append(replayed(path, kind))
    if asked.json:
        print(json.dumps(found))
        return
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {found['ticks'][0]['rows']:,.0f} ticks")
    print(f"{'':<10}{'ticks/s':>12}{'us CPU a tick':>15}{'of the main thread':>20}{'peak':>9}")
    for kind, runs in found.items():
        rate = statistics.median(run["rows"] / run["wall_s"] for run in runs)
        cost_us = statistics.median(run["cpu_s"] / run["rows"] for run in runs) * 1e6
        main_us = statistics.median(run["main_s"] / run["rows"] for run in runs) * 1e6
        peak = max(run["peak_mb"] for run in runs)
        print(f"{kind:<10}{rate:>12,.0f}{cost_us:>15.2f}{main_us:>20.2f}{peak:>6.0f} MB")


if __name__ == "__main__":
    main()
