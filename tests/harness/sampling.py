"""Which exchanges the tests take that cost seconds for each: a sample in the normal run, all under tests/chaos.

The environment variable TICKWARDEN_SAMPLE is the number that chooses, or the names to take, with commas between
them. Without it the day is the number: two runs of one day try the same. The end of each run prints it.
"""

import datetime
import os
from collections.abc import Collection
from random import Random

from tests.harness.amounts import amount

SAMPLE = "TICKWARDEN_SAMPLE"


def chosen() -> str:
    """What chooses; the same for all processes of a run, which inherit it."""
    return os.environ.setdefault(SAMPLE, str(datetime.datetime.now(datetime.UTC).toordinal()))


def sample(names: Collection[str], count: int, purpose: str) -> list[str]:
    """`count` of the names, in their order; others for another purpose, so that a run tries many in some way."""
    words = chosen().split(",")
    if wanted := [name for name in names if name in words]:
        return wanted
    found = Random(f"{chosen()}/{purpose}").sample(sorted(names), min(len(names), amount(count, len(names))))
    return [name for name in names if name in found]
