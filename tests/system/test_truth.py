"""The whole truth against the file, in short: exchanges that know every trade they made, and a service in trouble.

The full lengths, a minute of flapping or ten of outage, stand in tests/chaos/test_truth_long.py.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import pytest
import trio

from actors.exchanges.registry import EXCHANGES
from ops.sandbox import Sandbox, parse_faults
from tests.harness.exchange_values import FIVE
from tests.harness.sampling import sample
from tests.harness.truth_service import Service, until

RATE_PER_S = 50.0
LIFE_S = 2.0  # of the service, before it is killed
DEAD_S = 0.5
EVERY_S = 1.0
SETTLE_S = 5.0  # what has not come back by then is listed as open
# Ids that promise no order cannot show that a frame was dropped between two others, so bybit drops none.
LIVES: Sequence[Mapping[str, Sequence[str]]] = (
    {
        "binance": ("half_open", "gap=0.1", "reorder=0.1", "duplicate=0.1"),
        "okx": ("flap=0.7", "mute=0.5"),
        "kraken": ("outage=2",),
        "bybit": ("silence=0.9", "close=1001"),
        "coinbaseexchange": ("close=1008", "gap=0.2"),
    },
    {
        "binance": ("stall=0.5", "close=1006", "garbage=0.1"),
        "okx": ("half_open", "gap=0.1", "reorder=0.1", "duplicate=0.1"),
        "kraken": ("gap=0.1", "garbage=0.1", "reorder=0.1"),
        "bybit": ("outage=1", "duplicate=0.1"),
        "coinbaseexchange": ("flap=1.2", "close=1000"),
    },
)
OTHERS = [name for name in EXCHANGES if name not in FIVE]  # REST alone fails for them
HISTORY = ("rest_fail=0.5", "rest_429=0.2")


@pytest.mark.parametrize("seed", [1])
async def test_every_trade_is_stored_once_or_lies_in_a_gap_that_is_listed(tmp_path: Path, seed: int) -> None:
    sandbox = Sandbox((*FIVE, *sample(OTHERS, 1, "truth")), RATE_PER_S, seed=seed)
    async with trio.open_nursery() as nursery:
        await nursery.start(sandbox.serve)
        with Service(tmp_path, sandbox) as service:
            for life in LIVES:
                service.start()
                await service.records(each=True)
                for name, faults in life.items():
                    sandbox.set_faults(parse_faults((*faults, *HISTORY), EVERY_S), name)
                await trio.sleep(LIFE_S)
                await until(partial(all_struck, sandbox, life))
                if life is LIVES[-1]:
                    await until(partial(history_struck, sandbox))
                else:
                    service.kill()
                    await trio.sleep(DEAD_S)
                sandbox.set_faults(parse_faults([]))
            verdict = await service.settle(seed, SETTLE_S)
        nursery.cancel_scope.cancel()
    print(f"seed {seed}: {verdict}")
    assert verdict.total.gaps_filled > 3, "hardly anything was fetched back"


async def all_struck(sandbox: Sandbox, life: Mapping[str, Sequence[str]]) -> bool:
    return all(sandbox.struck[name][fault.partition("=")[0]] for name, faults in life.items() for fault in faults)


async def history_struck(sandbox: Sandbox) -> bool:
    return all(sum(struck[fault] for struck in sandbox.struck.values()) for fault in ("rest_fail", "rest_429"))
