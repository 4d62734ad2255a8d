"""What decoding costs: microseconds of CPU a trade for each exchange, from messages as they arrive to columns.

`python -m tests.bench.decode [NAME]...` reads recorded frames, the loopback's where there are none, in batches as
a busy connection gets them and one by one as a quiet one does. Medians over rounds, and the fastest round, which
a busy machine disturbs least; decompression is included.
"""

import math
import statistics
import sys
import time
from collections.abc import Sequence

from actors.exchanges.registry import EXCHANGES
from actors.model.ticks import Block
from tests.harness.wire_frames import NOW_NS, Received, from_loopback, from_recordings

BATCH = 50  # messages of one read
ROUNDS = 15
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


def main(names: Sequence[str]) -> None:
    heads = f"{'us a trade':>11} {'fastest':>8} {'one by one':>11}"
    print(f"{'exchange':<17} {'frames':<9} {'trades a frame':>14} {heads}")
    medians = []
    for name in names or EXCHANGES:
        what, connection = source(name)
        messages = list(connection.trades)
        count = connection.decoder(*connection.others).read(messages, NOW_NS, Block(name)).ticks
        messages *= BATCH // math.gcd(BATCH, len(messages))  # so that each batch is a full one
        batches = [messages[at : at + BATCH] for at in range(0, len(messages), BATCH)]
        busy, fastest = us_a_trade(connection, batches)
        quiet, _ = us_a_trade(connection, [[message] for message in messages])
        medians.append(busy)
        each = count / len(connection.trades)
        print(f"{name:<17} {what:<9} {each:>14.1f} {busy:>11.2f} {fastest:>8.2f} {quiet:>11.2f}", flush=True)
    print(f"median of {len(medians)}: {statistics.median(medians):.2f} us a trade")


if __name__ == "__main__":
    main(sys.argv[1:])
