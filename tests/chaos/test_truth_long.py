"""The whole truth at full length, in real time.

`python -m pytest tests/chaos/test_truth_long.py` takes about 24 minutes; with `-k` and a part of a name, such as
`-k outage`, less.

TICKWARDEN_SEED=N repeats the faults of a run (its seed is printed with -s, or when it fails), though not the
moments at which they meet the service; TICKWARDEN_TRUTH_S=N makes everything at once go on for so many seconds.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import trio

from ops.sandbox import LOOPBACKS, Sandbox, parse_faults
from tests.harness.exchange_values import FIVE, FORGETFUL, NAMELESS, UNCOUNTED
from tests.harness.kill_harness import seed_of_this_run
from tests.harness.truth_service import Service

RATE_PER_S = 20.0
FLAPPING_S = 60.0
OUTAGE_S = 600.0
DEAD_S = 60.0
KILLS, KILLS_RATE_PER_S = 20, 150.0  # so busy that whatever falls between two writes holds trades
AT_ONCE_S = float(os.environ.get("TICKWARDEN_TRUTH_S", "180"))
SETTLE_S = 900.0  # at most; a machine that is too slow for all this asks the histories for long
OTHERS = [name for name in LOOPBACKS if name not in FIVE]
OTHERS_COUNT = 5  # one machine runs the service, the exchanges and the check
HISTORY = ("rest_fail=0.5", "rest_429=0.2", "rest_slow=0.5")
CLOSES = ("close=1000", "close=1001", "close=1006", "close=1008")
DUPLICATE = "duplicate=0.1"
STREAM = (
    *("stall=3", "half_open", "silence=0.5", "mute=0.5", "flap=1", "outage=5", "refuse=503"),
    *(DUPLICATE, "reorder=0.1", "gap=0.05", "garbage=0.05", "oversize", "slow=0.2"),
)
UNKNOWABLE = {"gap=0.05", "reorder=0.1"}  # where ids promise no order


@asynccontextmanager
async def recorded(
    folder: Path, seed: int, rate_per_s: float = RATE_PER_S
) -> AsyncIterator[tuple[Sandbox, Service]]:
    """Loopback exchanges, all of them over many seeds, recorded by a service."""
    sandbox = Sandbox((*FIVE, *Random(seed).sample(OTHERS, OTHERS_COUNT)), rate_per_s, seed=seed)
    async with trio.open_nursery() as nursery:
        await nursery.start(sandbox.serve)
        with Service(folder, sandbox) as service:
            service.start()
            await service.records(each=True)
            yield sandbox, service
        nursery.cancel_scope.cancel()


async def test_a_minute_of_connections_that_drop_every_second(tmp_path: Path) -> None:
    seed = seed_of_this_run()
    async with recorded(tmp_path, seed) as (sandbox, service):
        sandbox.set_faults(parse_faults(["flap=1"]))
        # too short for more than one or two trades of a market, far from the last ones
        sandbox.set_faults(parse_faults(["flap=0.4"]), "kraken")
        await trio.sleep(FLAPPING_S)
        flaps = {name: struck["flap"] for name, struck in sandbox.struck.items()}
        sandbox.set_faults(parse_faults([]))
        verdict = await service.settle(seed, SETTLE_S)
    print(f"seed {seed}: {verdict}; dropped {flaps}")
    assert min(flaps.values()) >= 10  # kraken lets nobody connect more often than every five seconds or so
    assert not verdict.listed.keys() - FORGETFUL


async def test_an_outage_of_ten_minutes(tmp_path: Path) -> None:
    seed = seed_of_this_run()
    async with recorded(tmp_path, seed) as (sandbox, service):
        sandbox.set_faults(parse_faults([f"outage={OUTAGE_S}"], every_s=1.0))
        await trio.sleep(OUTAGE_S + 1.0)
        sandbox.set_faults(parse_faults([]))
        verdict = await service.settle(seed, SETTLE_S)
    print(f"seed {seed}: {verdict}")
    assert all(struck["outage"] == 1 for struck in sandbox.struck.values())
    assert not verdict.listed.keys() - FORGETFUL


async def test_kill_9_and_a_minute_without_the_service(tmp_path: Path) -> None:
    seed = seed_of_this_run()
    async with recorded(tmp_path, seed) as (_, service):
        await trio.sleep(5.0)
        service.kill()
        await trio.sleep(DEAD_S)
        service.start()
        await service.records(each=True)
        verdict = await service.settle(seed, SETTLE_S)
    print(f"seed {seed}: {verdict}")
    assert not verdict.listed.keys() - FORGETFUL


async def test_kill_9_again_and_again_while_connections_drop(tmp_path: Path) -> None:
    """Whatever moment it meets between an outage of a market and what is written of it."""
    seed = seed_of_this_run()
    random = Random(seed)
    async with recorded(tmp_path, seed, KILLS_RATE_PER_S) as (sandbox, service):
        sandbox.set_faults(parse_faults(["flap=0.7"]))
        for _ in range(KILLS):
            await trio.sleep(random.uniform(0.0, 2.5))
            service.kill()
            await trio.sleep(0.5)
            service.start()
            await service.records()
        sandbox.set_faults(parse_faults([]))
        verdict = await service.settle(seed, SETTLE_S)
    print(f"seed {seed}: {verdict}")
    assert not verdict.listed.keys() - FORGETFUL


async def test_everything_at_once(tmp_path: Path) -> None:
    """Every few seconds other faults everywhere, chosen by the seed; now and then kill -9, or a clean stop."""
    seed = seed_of_this_run()
    random = Random(seed)
    async with recorded(tmp_path, seed) as (sandbox, service):
        ends_at = trio.current_time() + AT_ONCE_S
        while trio.current_time() < ends_at:
            for name in sandbox.exchanges:
                faults = {*random.sample(STREAM, random.randint(0, 5)), *HISTORY[: random.randint(0, len(HISTORY))]}
                faults |= {random.choice(CLOSES)} if random.random() < 0.5 else set()
                faults -= UNKNOWABLE if name in UNCOUNTED else set()
                faults -= {DUPLICATE} if name in NAMELESS else set()
                sandbox.set_faults(parse_faults(sorted(faults), random.uniform(1.0, 4.0)), name)
            await trio.sleep(random.uniform(3.0, 12.0))
            end = random.random()
            if end < 0.3:
                service.kill()
            elif end < 0.4:
                await service.stop()
            if end < 0.4:
                await trio.sleep(random.uniform(0.5, 8.0))
                service.start()
        sandbox.set_faults(parse_faults([]))
        verdict = await service.settle(seed, SETTLE_S)
    struck = {name: sum(one[name] for one in sandbox.struck.values()) for name in ("half_open", "mute", "outage")}
    print(f"seed {seed}: {verdict}; {service.kills} kills, {struck}")
    assert service.kills
    assert verdict.total.gaps_filled
