"""How costs grow with the number of connections and of symbols, and what each further idle feed takes.

    python -m tests.bench scaling [--connections N]... [--symbols N]... [--rate N] [--seconds N]

The rate is the same for all numbers. Connections are exchanges of their own, each with one market, over TLS;
symbols are made-up markets of one exchange, on as few connections as it allows. An idle feed is one more of those
connections, from the first to the last of the numbers, over which nothing is sent.
"""

import functools
import sys
from collections.abc import Sequence

from actors.exchanges.loopbacks import LOOPBACKS
from ops.sandbox.instruments import listings
from tests.bench.clients import Candidate, Plan, arguments, services
from tests.bench.crowd import crowd
from tests.bench.figures import Figures, report, rounds
from tests.bench.load import Spec
from tests.bench.paced import measured, plan_of

CONNECTIONS = (1, 10, 100, 1_000)
SYMBOLS = (1, 100, 1_000, 10_000)


def symbols_of(count: int) -> list[str]:
    """So many of the made-up ones."""
    return [row.symbol for row in crowd("binance", listings(LOOPBACKS["binance"]), count)]


def main(words: Sequence[str]) -> None:
    parser = arguments(__doc__)
    parser.add_argument("--connections", type=int, action="append", help=f"by default {CONNECTIONS}")
    parser.add_argument("--symbols", type=int, action="append", help=f"by default {SYMBOLS}")
    parser.add_argument("--rate", type=float, default=1_000, help="messages a second in all")
    parser.add_argument("--seconds", type=float, default=5)
    args = parser.parse_args(words)
    connections, symbols = args.connections or CONNECTIONS, args.symbols or SYMBOLS

    def by_connections(candidate: Candidate, count: int, rate: float) -> Figures:
        spec, plan = Spec(["binance"], tls=True), plan_of(["binance"], count)
        return measured(candidate, spec, plan, rate, args.seconds, args.lock)

    def by_symbols(candidate: Candidate, count: int) -> Figures:
        spec, plan = Spec(["binance"], tls=True, made_up=count), Plan([("binance", symbols_of(count))])
        return measured(candidate, spec, plan, args.rate, args.seconds, args.lock)

    def idle(candidate: Candidate) -> Figures:
        few, many = (by_connections(candidate, count, 0.0) for count in (connections[0], connections[-1]))
        further = max(1, connections[-1] - connections[0])
        return {
            "kib_a_feed": round((many["rss_mb"] - few["rss_mb"]) * 1024 / further, 1),
            "cpu_percent_a_feed": round((many["cpu_percent"] - few["cpu_percent"]) / further, 4),
        }

    for one in services(args):
        measures = {f"{n} connections": functools.partial(by_connections, one, n, args.rate) for n in connections}
        measures |= {f"{n} symbols": functools.partial(by_symbols, one, n) for n in symbols}
        settings = {"service": one.name, "rate": args.rate}
        report("scaling", settings, rounds(args.runs, measures), "us_cpu_a_message", args.json)
        further = rounds(args.runs, {"each further idle feed": functools.partial(idle, one)})
        report(
            "scaling",
            settings | {"from": connections[0], "to": connections[-1]},
            further,
            "kib_a_feed",
            args.json,
        )


if __name__ == "__main__":
    main(sys.argv[1:])
