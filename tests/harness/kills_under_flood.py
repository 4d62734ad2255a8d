"""Kills of the real service under a flood of everything that goes wrong, each next life under another clock.

Whatever the exchanges have traded is then stored once, or lies in a gap that says so.
"""

from collections.abc import Sequence
from pathlib import Path
from random import Random

import trio

from ops.sandbox import LOOPBACKS, Sandbox, parse_faults
from ops.sandbox.truth import Verdict
from tests.harness.exchange_values import FIVE, NAMELESS, UNCOUNTED
from tests.harness.truth_service import Service

DAY_S = 86_400.0
# How far the host's clock is off in a life: by what a time server corrects, by a zone, by a dead battery.
CLOCKS_S = (0.0, -1.5, 40.0, -90.0, 3_600.0, -7_200.0, 30 * DAY_S, -30 * DAY_S, 400 * DAY_S, -3_650 * DAY_S)
# One frame in a hundred is never sent, where that can be known.
DROPS = ("gap=0.01", "reorder=0.02")
GARBAGE, DUPLICATE = "garbage=0.01", "duplicate=0.05"  # no duplicates where no id could tell them from trades
NOW_AND_THEN = ("flap=0.7", "stall=0.5", "half_open", "close=1006", "outage=1")
RARER = [name for name in LOOPBACKS if name not in FIVE]
RARER_COUNT = 3  # one machine runs the service, the exchanges and the check
HISTORY = ("rest_fail=0.2", "rest_429=0.1")


async def kills_under_flood(
    folder: Path, seed: int, *, lives_s: Sequence[float], rate_per_s: float, settle_s: float
) -> Verdict:
    """A life of the service for each of `lives_s`, all but the last ended by SIGKILL. Raises Untrue."""
    random = Random(seed)
    sandbox = Sandbox((*FIVE, *random.sample(RARER, RARER_COUNT)), rate_per_s, seed=seed, keep_truth=2_000_000)
    clocks = random.sample(CLOCKS_S, len(CLOCKS_S))
    async with trio.open_nursery() as nursery:
        await nursery.start(sandbox.serve)
        with Service(folder, sandbox) as service:
            for life, seconds in enumerate(lives_s):
                service.start(clocks[life % len(clocks)])
                for name in sandbox.exchanges:
                    faults = [GARBAGE, *HISTORY, *random.sample(NOW_AND_THEN, random.randint(0, 2))]
                    faults += () if name in UNCOUNTED else DROPS
                    faults += () if name in NAMELESS else (DUPLICATE,)
                    sandbox.set_faults(parse_faults(faults, every_s=random.uniform(0.5, 3.0)), name)
                await service.records(each=life == 0)
                await trio.sleep(seconds)
                if life < len(lives_s) - 1:
                    service.kill()
                    await trio.sleep(random.uniform(0.0, 0.5))
            sandbox.set_faults(parse_faults([]))
            verdict = await service.settle(seed, settle_s)
            assert service.kills == len(lives_s) - 1
        nursery.cancel_scope.cancel()
    return verdict
