"""Decides when recurring faults occur."""

import random
from collections.abc import Callable

import trio

from ops.sandbox.faults import Faults

LOOK_S = 0.05  # how soon a change of the faults takes effect


async def next_strike(faults: Callable[[], Faults], rng: random.Random) -> Faults:
    """Waits between half of `every_s` and one and a half of it, and returns the faults that are on then.

    If they are changed meanwhile the wait starts again, with the new interval.
    """
    while True:
        current = faults()
        due = trio.current_time() + rng.uniform(0.5, 1.5) * current.every_s
        while faults() is current:
            left_s = due - trio.current_time()
            if left_s <= 0:
                return current
            await trio.sleep(min(LOOK_S, left_s))
