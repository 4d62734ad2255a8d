"""What slow feeds cost: processor time a message, and memory, for single messages over many connections.

    python -m tests.bench paced [--connections N] [--rate N] [--seconds N] [--mixed] [--plain] [--peers PYTHON]

--mixed: the connections are spread over all exchanges, each with its own frames; the peers stay with Binance's.
"""

import argparse
import functools
import itertools
import sys
import time
from collections.abc import Sequence

from actors.exchanges.loopbacks import LOOPBACKS
from tests.bench.clients import (
    Candidate,
    Peer,
    Plan,
    alone,
    arguments,
    loaded,
    market_of_each,
    running,
    services,
)
from tests.bench.figures import Figures, report, rounds
from tests.bench.load import Spec

PEERS = ("aiohttp", "picows")
SETTLE_S = 3.0


def plan_of(exchanges: Sequence[str], connections: int) -> Plan:
    """One market a connection, of each exchange in turn."""
    names = itertools.islice(itertools.cycle(exchanges), connections)
    return Plan([(name, ["BTC/USDT"] if name == "binance" else [market_of_each(name)]) for name in names])


def measured(candidate: Candidate, spec: Spec, plan: Plan, rate: float, seconds: float, lock: str = "") -> Figures:
    """One client at a steady rate."""
    with loaded(spec) as load, running(candidate, load, spec, plan) as client:
        with alone(lock):
            load.ask("pace", rate)
            time.sleep(SETTLE_S)
            before, sent, began = client.usage(), load.ask("count")["sent"], time.monotonic()
            time.sleep(seconds)
            after, messages, took = client.usage(), load.ask("count")["sent"] - sent, time.monotonic() - began
            load.ask("pace", 0)
        total = load.ask("count")["sent"]
        received = candidate.received(client, total)
        if received < 0.99 * total:
            raise RuntimeError(f"{candidate.name} received {received} of {total} messages")
    return {
        "us_cpu_a_message": round((after.cpu_s - before.cpu_s) / max(messages, 1) * 1e6, 1),
        "cpu_percent": round((after.cpu_s - before.cpu_s) / took * 100, 1),
        "rss_mb": round(after.rss_mb, 1),
        "peak_mb": round(after.peak_mb, 1),
        "messages_a_second": round(messages / took),
    }


def main(words: Sequence[str]) -> None:
    parser = arguments(__doc__, PEERS)
    parser.add_argument("--connections", type=int, default=100)
    parser.add_argument("--rate", type=float, default=5000, help="messages a second in all")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--mixed", action="store_true", help=f"over all {len(LOOPBACKS)} exchanges")
    parser.add_argument("--plain", action="store_true", help="without TLS")
    options = parser.parse_args(words)
    run(options)


def run(options: argparse.Namespace) -> None:
    """Measures all candidates in turn."""
    exchanges = list(LOOPBACKS) if options.mixed else ["binance"]

    def measure(candidate: Candidate, names: Sequence[str]) -> Figures:
        spec, plan = Spec(sorted(set(names)), not options.plain), plan_of(names, options.connections)
        return measured(candidate, spec, plan, options.rate, options.seconds, options.lock)

    measures = {one.name: functools.partial(measure, one, exchanges) for one in services(options)}
    for name in (options.peer or PEERS) if options.peers else ():
        measures[name] = functools.partial(measure, Peer(name, options.peers), ["binance"])
    settings = {
        "connections": options.connections,
        "rate": options.rate,
        "exchanges": len(exchanges),
        "tls": not options.plain,
    }
    report("paced", settings, rounds(options.runs, measures), "us_cpu_a_message", options.json)


if __name__ == "__main__":
    main(sys.argv[1:])
