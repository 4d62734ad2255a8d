"""What floods cost: trades as fast as they are taken, from the first one sent to the last one durable, on one core.

    python -m tests.bench flood [--ticks N] [--tls] [--exchanges N] [--peers PYTHON]

One connection with two markets of Binance in turn, or with --exchanges one connection each to so many exchanges,
all at once, of which the figures then also give the smallest and the largest share: an exchange's part of what was
received until the first of them had sent all, as a multiple of an equal part. Every trade must be stored once.
"""

import functools
import sys
from collections.abc import Sequence

import duckdb

from actors.exchanges.loopbacks import LOOPBACKS
from tests.bench.clients import (
    Candidate,
    Peer,
    Plan,
    Running,
    Service,
    alone,
    arguments,
    loaded,
    market_of_each,
    running,
    services,
)
from tests.bench.figures import Figures, report, rounds
from tests.bench.load import AGGREGATES, STRETCH, Spec
from tests.harness.exchange_values import FIVE

PEERS = ("limit", "aiohttp", "cryptofeed", "ccxt")
DIALECTS = {"cryptofeed": AGGREGATES}
SHARES = {"aiohttp": 0.5, "cryptofeed": 0.5, "ccxt": 0.1}  # of the trades are enough for the slower ones
PAIRS = ("BTC/USDT", "ETH/USDT")
# An exchange's part of what came until the first had sent all.
SHARE = """
WITH ends AS (SELECT max(received_at) AS last FROM ticks GROUP BY exchange),
     until AS (SELECT count(*) AS n FROM ticks WHERE received_at <= (SELECT min(last) FROM ends) GROUP BY exchange)
SELECT min(n) * count(*) / sum(n), max(n) * count(*) / sum(n) FROM until
"""
STORED = """
SELECT count(*), count(DISTINCT (exchange, symbol, trade_id)), (SELECT count(*) FROM gaps),
    (SELECT count(*) FROM audit WHERE received <> stored + duplicates + rejected + in_flight)
FROM ticks WHERE source = 'stream'
"""


def check(client: Running, ticks: int) -> tuple[float, float]:
    """Every tick is stored once, with no gap, and the books agree; returns the smallest and the largest share."""
    client.stop()
    if client.process.wait(60) != 0:
        raise RuntimeError(f"the service ended with {client.process.returncode}")
    with duckdb.connect(str(client.folder / "ticks.duckdb"), read_only=True) as con:
        con.execute("SET enable_progress_bar = false")
        found, shares = con.execute(STORED).fetchone(), con.execute(SHARE).fetchone()
    if found != (ticks, ticks, 0, 0):
        raise RuntimeError(f"stored, different, gaps, wrong audits: {found}, expected {ticks} trades once")
    assert shares is not None
    return float(shares[0]), float(shares[1])


def measured(candidate: Candidate, spec: Spec, plan: Plan, lock: str = "") -> Figures:
    """One client under flood."""
    each = plan.ticks // len(plan.tables)
    with loaded(spec) as load, running(candidate, load, spec, plan) as client:
        ticks = int(load.ask("build", each)["ticks"])
        if isinstance(candidate, Peer) and ticks != plan.ticks:
            raise RuntimeError(f"a flood of {plan.ticks} trades cannot be made, but one of {ticks}")
        with alone(lock):
            before = client.usage()
            began_at = load.ask("go")["began_at"]
            durable_at = candidate.durable_at(client, ticks)
            after = client.usage()
        figures = {
            "ticks_a_second": round(ticks / (durable_at - began_at)),
            "us_cpu_a_tick": round((after.cpu_s - before.cpu_s) / ticks * 1e6, 2),
            "peak_mb": round(after.peak_mb, 1),
            "ticks": ticks,
        }
        if isinstance(candidate, Service):
            shares = check(client, ticks)
            if len(plan.tables) > 1:
                figures |= {"least_share": round(shares[0], 2), "largest_share": round(shares[1], 2)}
    return figures


def main(words: Sequence[str]) -> None:
    parser = arguments(__doc__, PEERS)
    parser.add_argument("--ticks", type=int, default=1_000_000)
    parser.add_argument("--exchanges", type=int, default=1, choices=range(1, len(FIVE) + 1))
    parser.add_argument("--tls", action="store_true")
    options = parser.parse_args(words)
    names = [name for name in FIVE if name in LOOPBACKS][: options.exchanges]

    def measure(candidate: Candidate) -> Figures:
        tables: list[tuple[str, Sequence[str]]] = [(candidate.dialect, PAIRS)]
        if len(names) > 1:
            tables = [(name, [market_of_each(name)]) for name in names]
        ticks, whole = round(options.ticks * candidate.share), STRETCH * len(PAIRS)
        ticks -= ticks % whole if ticks > whole else 0  # what the load makes without a remainder
        spec = Spec([name for name, _ in tables], options.tls)
        return measured(candidate, spec, Plan(tables, ticks), options.lock)

    measures = {one.name: functools.partial(measure, one) for one in services(options)}
    for name in (options.peer or PEERS) if options.peers and len(names) == 1 else ():
        peer = Peer(name, options.peers, DIALECTS.get(name, "binance"), SHARES.get(name, 1.0))
        measures[name] = functools.partial(measure, peer)
    settings = {"ticks": options.ticks, "exchanges": len(names), "tls": options.tls}
    report("flood", settings, rounds(options.runs, measures), "ticks_a_second", options.json)


if __name__ == "__main__":
    main(sys.argv[1:])
