"""All kinds of fetch jobs have one retry policy: at once after progress, with growing waits without."""

import pytest
import trio
from trio.testing import MockClock

from actors.backfill.fetch_job import DEFAULT_LIMITS, BackfillLimits, FetchJob
from supervisor import Backoff

LIMITS = BackfillLimits(retry=Backoff(initial_s=2.0, max_s=60.0), tries_max=8)


def waits_s(job: FetchJob) -> float:
    return job.due - trio.current_time()


async def test_a_round_without_result_is_repeated_after_growing_waits_and_finally_abandoned(
    autojump_clock: MockClock,
) -> None:
    job = FetchJob(symbol="BTC/USDT")
    for tries in range(LIMITS.tries_max):
        assert job.failed(LIMITS, "out of reach") is (tries < LIMITS.tries_max - 1)
        ceiling_s = min(60.0, 2.0 * 2**tries)
        assert ceiling_s / 2 <= waits_s(job) <= ceiling_s and job.reason == "out of reach"
        await trio.sleep_until(job.due)


async def test_progress_begins_the_count_again_and_is_continued_in_the_next_round(
    autojump_clock: MockClock,
) -> None:
    job = FetchJob(symbol="BTC/USDT")
    for _ in range(LIMITS.tries_max - 1):
        assert job.failed(LIMITS, "out of reach")
    job.progressed()
    assert waits_s(job) == 0 and job.tries == 0
    assert job.failed(LIMITS, "out of reach") and waits_s(job) <= 2.0


async def test_a_wait_that_the_exchange_asks_for_is_never_cut_short(autojump_clock: MockClock) -> None:
    job = FetchJob(symbol="BTC/USDT")
    job.failed(LIMITS, "too many requests", 300.0)
    assert waits_s(job) == 300.0
    job.progressed(200.0)
    assert waits_s(job) == 200.0


async def test_a_file_in_use_counts_as_no_try(autojump_clock: MockClock) -> None:
    job = FetchJob(symbol="BTC/USDT")
    for _ in range(1000):
        job.pause(LIMITS.locked_s, "another process writes the file")
    assert (job.tries, waits_s(job)) == (0, LIMITS.locked_s)


def test_by_default_a_history_that_returns_nothing_is_queried_for_about_four_hours() -> None:
    retry, tries = DEFAULT_LIMITS.retry, range(DEFAULT_LIMITS.tries_max - 1)
    mean_s = sum(retry.ceiling_s(failures) * 0.75 for failures in tries)  # half of each wait is left to chance
    assert mean_s == pytest.approx(4 * 3600, rel=0.1)
