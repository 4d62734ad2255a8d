"""What a lake costs a service: processor time of shipping beside that of recording, and the delay of the lake.

    python -m tests.bench lake [--connections N] [--rate N] [--seconds N] [--ticks N] [--every N]

First slow feeds, as in `paced`, then a flood, as in `flood`, each without and with a lake in a folder in turn. The
delay is that from the receipt of a commit's oldest trade until its commit is there. Of a flood, the processor time
counts until the lake has everything.
"""

import functools
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb

from tests.bench import flood, paced
from tests.bench.clients import Plan, Running, Service, arguments, until
from tests.bench.figures import Figures, medians, report, rounds
from tests.bench.load import Spec


class Lakeless(Service):
    """The service alone."""

    def __init__(self, words: Sequence[str], every_s: float) -> None:
        super().__init__("alone", words)
        self.every_s = every_s
        self.delay_s = 0.0


class WithLake(Lakeless):
    """The service with a lake in its folder."""

    def __init__(self, words: Sequence[str], every_s: float) -> None:
        super().__init__(words, every_s)
        self.name = "lake"

    def command(self, folder: Path, load: Any, spec: Spec, plan: Plan) -> list[str]:
        command = super().command(folder, load, spec, plan)
        with (folder / "tickwarden.toml").open("a") as file:
            file.write(f'\n[lake]\nuri = "lake"\nrecorder = "bench"\nevery_s = {self.every_s}\n')
        return command

    def durable_at(self, running: Running, ticks: int) -> float:
        """As that of the service; returns when the lake has them too."""
        found = super().durable_at(running, ticks)
        until("sending everything", lambda: self._sent(running) >= ticks, running.process)
        return found

    def _sent(self, running: Running) -> int:
        status = self.status(running)
        return int(status["lake"]["ticks"]) if status else 0

    def received(self, running: Running, sent: int) -> int:
        found = super().received(running, sent)
        self.delay_s = max(delays_s(running.folder / "lake" / "ticks"), default=0.0)
        return found


def delays_s(table: Path) -> Iterator[float]:
    """Of each commit with trades."""
    for entry in sorted((table / "_delta_log").glob("*.json")):
        actions = map(json.loads, entry.read_text().splitlines())
        paths = [str(table / action["add"]["path"]) for action in actions if "add" in action]
        if paths:
            query = "SELECT epoch_us(min(received_at)) FROM read_parquet(?, hive_partitioning = false)"
            ((oldest_us,),) = duckdb.execute(query, [paths]).fetchall()
            yield entry.stat().st_mtime - oldest_us / 1e6


def main(words: Sequence[str]) -> None:
    parser = arguments(__doc__)
    parser.add_argument("--connections", type=int, default=100)
    parser.add_argument("--rate", type=float, default=5000, help="messages a second in all")
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--ticks", type=int, default=1_000_000, help="of the flood")
    parser.add_argument("--every", type=float, default=10.0, help="every_s")
    options = parser.parse_args(words)
    command = (options.service or [""])[0].split()
    candidates = [kind(command, options.every) for kind in (Lakeless, WithLake)]

    def slow(candidate: Lakeless) -> Figures:
        plan = paced.plan_of(["binance"], options.connections)
        figures = paced.measured(
            candidate, Spec(["binance"], True), plan, options.rate, options.seconds, options.lock
        )
        return {**figures, "delay_s": round(candidate.delay_s, 2)}

    def flooded(candidate: Lakeless) -> Figures:
        plan = Plan([("binance", flood.PAIRS)], options.ticks)
        return flood.measured(candidate, Spec(["binance"], False), plan, options.lock)

    settings = {"connections": options.connections, "rate": options.rate, "every_s": options.every}
    for part, measure, ratio_of in (("paced", slow, "us_cpu_a_message"), ("flood", flooded, "us_cpu_a_tick")):
        found = rounds(options.runs, {one.name: functools.partial(measure, one) for one in candidates})
        report(f"lake, {part}", settings, found, ratio_of, options.json)
        alone, lake = (medians(found[one.name])[ratio_of] for one in candidates)
        print(f"shipping costs {(lake / alone - 1) * 100:.1f}% of what recording costs")


if __name__ == "__main__":
    main(sys.argv[1:])
