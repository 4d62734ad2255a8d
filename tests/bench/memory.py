"""How the service's memory develops over half an hour of slow feeds, with a merge each minute.

    python -m tests.bench memory [--minutes N] [--connections N] [--rate N]

Medians of the resident memory, in MB, of each five minutes; the first five are the start.
"""

import argparse
import dataclasses
import statistics
import sys
import time
from collections.abc import Sequence
from functools import partial

from tests.bench.clients import ORPHAN_S, Candidate, arguments, loaded, running, services
from tests.bench.figures import Figures, report, rounds
from tests.bench.load import Spec
from tests.bench.paced import plan_of

SPAN_S = 300.0
SAMPLE_S = 5.0


def measured(candidate: Candidate, connections: int, rate: float, spans: int) -> Figures:
    """The medians of so many spans, the highest sample of all, and how far the last exceeds the second."""
    spec = Spec(["binance"], tls=True)
    plan = dataclasses.replace(plan_of(["binance"], connections), seconds=spans * SPAN_S + ORPHAN_S)
    found: list[float] = []
    peak_mb = 0.0
    with loaded(spec) as load, running(candidate, load, spec, plan) as client:
        load.ask("pace", rate)
        for number in range(1, spans + 1):
            began, samples = time.monotonic(), list[float]()
            while time.monotonic() - began < SPAN_S:
                time.sleep(SAMPLE_S)
                samples.append(client.usage().rss_mb)
            found.append(round(statistics.median(samples), 1))
            peak_mb = max(peak_mb, *samples)
            print(f"{candidate.name} {number * SPAN_S / 60:.0f} min: {found[-1]} MB", file=sys.stderr, flush=True)
        load.ask("pace", 0)
    spans_mb = {f"mb_{number * SPAN_S / 60:.0f}_min": mb for number, mb in enumerate(found, 1)}
    return spans_mb | {"peak_mb": round(peak_mb, 1), "growth_percent": round((found[-1] / found[1] - 1) * 100, 1)}


def main(words: Sequence[str]) -> None:
    parser = arguments(__doc__)
    parser.add_argument("--minutes", type=int, default=30)
    parser.add_argument("--connections", type=int, default=100)
    parser.add_argument("--rate", type=float, default=5000, help="messages a second in all")
    parser.set_defaults(runs=1)
    run(parser.parse_args(words))


def run(options: argparse.Namespace) -> None:
    """Measures all services in turn."""
    spans = max(2, round(options.minutes * 60 / SPAN_S))
    measure = partial(measured, connections=options.connections, rate=options.rate, spans=spans)
    found = rounds(options.runs, {one.name: partial(measure, one) for one in services(options)})
    settings = {"connections": options.connections, "rate": options.rate}
    report("memory", settings, found, "growth_percent", options.json)


if __name__ == "__main__":
    main(sys.argv[1:])
