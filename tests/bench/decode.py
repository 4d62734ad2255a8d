"""What decoding costs: microseconds of CPU a trade for each exchange, from messages as they arrive to columns.

`python -m tests.bench.decode [--passes N] [NAME]...` reads recorded frames, the loopback's where there are none, in
batches as a busy connection gets them and one by one as a quiet one does. All exchanges are measured in turn,
several times, so that what else runs for a while does not decide. Medians over the passes, and the fastest round,
which a busy machine disturbs least; decompression is included.
"""

import argparse
import math
import statistics
import time
from collections.abc import Sequence

from actors.exchanges.registry import EXCHANGES
from actors.model.ticks import Block
from tests.harness.wire_frames import NOW_NS, Received, from_loopback, from_recordings

BATCH = 50  # messages of one read
PASSES = 5  # over all exchanges
ROUNDS = 5  # of an exchange in a pass
ROUND_S = 0.02  # of processor time, at least
US = 1e6


def source(name: str) -> tuple[str, Received]:
    """The connection with the most trade frames: a recorded one where there is any."""
    for what, found in (("recorded", from_recordings(name)), ("loopback", from_loopback(name))):
        if any(connection.trades for connection in found):
            return what, max(found, key=lambda connection: len(connection.trades))
    raise ValueError(f"{name} has no trades to decode")


def us_a_trade(connection: Received, batches: Sequence[list[bytes]]) -> tuple[float, float]:
    """The median over rounds and the fastest; every round reads all batches, so often that the clock can tell."""
    decoder, costs = connection.decoder(*connection.others), list[float]()
    for _ in range(ROUNDS):
        trades, began = 0, time.process_time()
        while time.process_time() - began < ROUND_S:
            for batch in batches:
                trades += decoder.read(batch, NOW_NS, Block(connection.exchange)).ticks
        costs.append((time.process_time() - began) / trades * US)
    return statistics.median(costs), min(costs)


def main(names: Sequence[str], passes: int) -> None:
    sources = {name: source(name) for name in names or EXCHANGES}
    busy, quiet = ({name: list[tuple[float, float]]() for name in sources} for _ in range(2))
    each = dict[str, float]()
    for _ in range(passes):
        for name, (_, connection) in sources.items():
            messages = list(connection.trades)
            count = connection.decoder(*connection.others).read(messages, NOW_NS, Block(name)).ticks
            each[name] = count / len(messages)
            messages *= BATCH // math.gcd(BATCH, len(messages))  # so that each batch is a full one
            batches = [messages[at : at + BATCH] for at in range(0, len(messages), BATCH)]
            busy[name].append(us_a_trade(connection, batches))
            quiet[name].append(us_a_trade(connection, [[message] for message in messages]))
    heads = f"{'us a trade':>11} {'fastest':>8} {'one by one':>11}"
    print(f"{'exchange':<17} {'frames':<9} {'trades a frame':>14} {heads}")
    medians = {name: statistics.median(median for median, _ in found) for name, found in busy.items()}
    for name, (what, _) in sources.items():
        fastest = min(fastest for _, fastest in busy[name])
        single = statistics.median(median for median, _ in quiet[name])
        print(f"{name:<17} {what:<9} {each[name]:>14.1f} {medians[name]:>11.2f} {fastest:>8.2f} {single:>11.2f}")
    print(f"median of {len(medians)}: {statistics.median(medians.values()):.2f} us a trade")


if __name__ == "__main__":
    what = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m tests.bench.decode", description=what)
    parser.add_argument("names", nargs="*", metavar="NAME", help="exchanges to measure; all if none is named")
    parser.add_argument("--passes", type=int, default=PASSES, help=f"passes over all of them (default: {PASSES})")
    chosen = parser.parse_args()
    if unknown := [name for name in chosen.names if name not in EXCHANGES]:
        parser.error(f"no such exchange: {', '.join(unknown)}; there are {', '.join(EXCHANGES)}")
    if chosen.passes < 1:
        parser.error(f"--passes must be at least 1, got {chosen.passes}")
    main(chosen.names, chosen.passes)
