"""The outages of one loopback exchange, during which it accepts and answers nothing."""

import math
import random
from collections import Counter
from collections.abc import Callable

import trio

from ops.sandbox.fault_schedule import LOOK_S, next_strike
from ops.sandbox.faults import Faults


class Outage:
    """`down` during an outage; trading continues meanwhile. A changed value takes effect at once, also when
    switched off.
    """

    def __init__(self, faults: Callable[[], Faults], rng: random.Random, struck: Counter[str]) -> None:
        self._faults, self._rng, self._struck = faults, rng, struck
        self._began = -math.inf

    @property
    def down(self) -> bool:
        """Whether no client is served now."""
        return trio.current_time() - self._began < self._faults()["outage"]

    @property
    def mute(self) -> bool:
        """Whether new clients are dropped, rather than refused with 503."""
        return self._rng.random() < 0.5

    async def run(self, drop_all: Callable[[], None]) -> None:
        """Runs until cancelled: an outage from time to time, beginning with all connections dropped."""
        while True:
            if (await next_strike(self._faults, self._rng))["outage"]:
                self._struck["outage"] += 1
                self._began = trio.current_time()
                drop_all()
                while self.down:  # noqa: ASYNC110 - no event marks when the fault is switched off
                    await trio.sleep(LOOK_S)
