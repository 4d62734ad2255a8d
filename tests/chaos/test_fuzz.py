"""Mutated frames for as long as wished, and inflated ones.

`TICKWARDEN_FUZZ_S=3600 python -m pytest -s tests/chaos/test_fuzz.py` mutates for an hour; without it for a minute.
The inflated ones take five minutes more. TICKWARDEN_SEED=N repeats a run; the seed is printed.
"""

import ctypes
import gc
import os
import resource
import time
from pathlib import Path
from random import Random

import pytest

from tests.harness.capture_files import EXCHANGES
from tests.harness.fuzz_frames import Mutator, check, inflated
from tests.harness.kill_harness import seed_of_this_run

FUZZ_S = float(os.environ.get("TICKWARDEN_FUZZ_S", "60"))
MESSAGES_AT_ONCE = 50
GROWTH_MB_MAX = 60
SIZE = 40_000  # of the smaller of two messages whose times are compared; four times that is the larger
FACTOR_MAX = 8.0  # linear would be 4
NOISE_S = 0.02
TRIES = 3


def rss_mb() -> float:
    """What the process takes, without what the allocator keeps for later: fragments would look like growth."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


def test_no_mutated_frame_crashes_a_decoder_or_is_unaccounted_for_and_memory_does_not_grow() -> None:
    """The first tenth of the time warms up; what the process takes then is the measure."""
    random = Random(seed_of_this_run())
    mutator, begun, number = Mutator(random), time.monotonic(), 0
    warm = None
    while (elapsed_s := time.monotonic() - begun) < FUZZ_S:
        exchange = random.choice(EXCHANGES)
        check(exchange, [mutator.message(exchange) for _ in range(MESSAGES_AT_ONCE)])
        number += MESSAGES_AT_ONCE
        if warm is None and elapsed_s > FUZZ_S / 10:
            warm = rss_mb()
    print(f"{number:,} messages in {FUZZ_S:g} s, {warm or 0:.0f} MB at first, {rss_mb():.0f} MB now")
    assert warm is not None
    assert rss_mb() < warm + GROWTH_MB_MAX


def seconds(exchange: str, message: bytes) -> float:
    """What checking it takes of the processor."""
    begun = time.process_time()
    check(exchange, [message])
    return time.process_time() - begun


@pytest.mark.parametrize("exchange", EXCHANGES)
def test_four_times_the_bytes_take_about_four_times_as_long(exchange: str) -> None:
    for (name, small), (_, large) in zip(inflated(exchange, SIZE), inflated(exchange, 4 * SIZE), strict=True):
        for _ in range(TRIES):
            short, long = seconds(exchange, small), seconds(exchange, large)
            if long < FACTOR_MAX * short + NOISE_S:
                break
        else:
            raise AssertionError((name, short, long))
