"""What holds for all tests: no property is tried by the clock or, in the normal run, by chance."""

import os

from hypothesis import HealthCheck, settings

from tests.amounts import CHAOS, amount

# The same examples every time, so that a run fails for what was changed; tests/chaos draws new ones.
settings.register_profile(
    "tickwarden",
    deadline=None,
    max_examples=amount(40, 1000),
    derandomize=not os.environ.get(CHAOS),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("tickwarden")
