"""Promises of the restart policy: how long to wait, how many crashes are too many, what resets both."""

import math
from random import Random

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from supervisor import (
    Backoff,
    Intensity,
    PolicyError,
    check_policy,
)
from supervisor.restart_count import Retries, Window
from supervisor.restart_policy import DELAY_S_MAX, RETRY_AFTER_S_MAX

policies = st.builds(
    lambda initial, factor, reset: Backoff(initial, min(initial * factor, DELAY_S_MAX), reset),
    st.floats(0.001, 100),
    st.floats(1, 10_000),
    st.floats(0, 1000),
)


@given(policies, st.integers(0, 10_000), st.integers())
def test_every_wait_lies_in_the_upper_half_of_its_doubling_and_never_above_the_cap(
    policy: Backoff, failures: int, seed: int
) -> None:
    ceiling_s = min(policy.max_s, policy.initial_s * 2.0 ** min(failures, 900))
    delay_s = policy.delay_s(failures, Random(seed))
    assert ceiling_s / 2 <= delay_s <= ceiling_s <= policy.max_s


def test_waits_are_jittered_and_repeat_with_the_same_seed() -> None:
    def drawn(seed: int) -> list[float]:
        random = Random(seed)
        return [Backoff().delay_s(5, random) for _ in range(50)]

    assert drawn(1) == drawn(1)
    assert len(set(drawn(1))) > 40


@given(policies, st.integers(0, 50), st.floats())
def test_retry_after_is_a_floor_and_absurd_values_are_bounded(
    policy: Backoff, failures: int, retry_after_s: float
) -> None:
    plain = policy.delay_s(failures, Random(7))
    delay_s = policy.delay_s(failures, Random(7), retry_after_s)
    assert math.isfinite(delay_s)
    if retry_after_s > plain:
        assert delay_s == min(retry_after_s, RETRY_AFTER_S_MAX)
    else:
        assert delay_s == plain


def test_the_factor_and_the_jitter_are_the_policys() -> None:
    plain = Backoff(1, 100, factor=3, jitter=0)
    assert [plain.delay_s(n, Random(1)) for n in range(6)] == [1, 3, 9, 27, 81, 100]
    assert [plain.ceiling_s(n) for n in range(6)] == [1, 3, 9, 27, 81, 100]
    assert Backoff(5, 5, factor=1).ceiling_s(10_000) == 5
    drawn = [Backoff(1, 1, jitter=1).delay_s(0, Random(seed)) for seed in range(200)]
    assert min(drawn) < 0.1
    assert max(drawn) > 0.9


@pytest.mark.parametrize("wrong", [{"factor": 0.9}, {"factor": math.inf}, {"jitter": -0.1}, {"jitter": 1.1}])
def test_a_factor_or_jitter_out_of_range_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Backoff(1, 2, 3, **wrong)


@pytest.mark.parametrize(
    "values", [(0, 1, 1), (-1, 1, 1), (2, 1, 1), (1, math.inf, 1), (1, 2, -1), (1, 2, math.nan)]
)
def test_a_contradictory_backoff_is_refused(values: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="backoff needs"):
        Backoff(*values)


async def test_the_delay_grows_through_short_incarnations_even_if_they_began_healthy(
    autojump_clock: object,
) -> None:
    retries = Retries(Backoff(1, 64, reset_s=10), Random(1))
    for failures in range(5):
        retries.started()
        retries.healthy()
        await trio.sleep(9)
        retries.healthy()
        assert retries.failures == failures
        retries.failed()


async def test_the_delay_is_reset_only_by_healthy_work_over_the_whole_range(autojump_clock: object) -> None:
    retries = Retries(Backoff(1, 64, reset_s=10), Random(1))
    for _ in range(4):
        retries.failed()
    retries.started()
    await trio.sleep(1000)  # connected, without data
    retries.healthy()
    assert retries.failures == 4
    await trio.sleep(9.9)
    retries.healthy()
    assert retries.failures == 4
    await trio.sleep(0.2)
    retries.healthy()
    assert retries.failures == 0
    assert retries.failed() <= 1


@pytest.mark.parametrize("values", [(-1, 60), (10_001, 60), (1, 0), (1, math.inf), (1, math.nan)])
def test_a_contradictory_intensity_is_refused(values: tuple[int, float]) -> None:
    with pytest.raises(ValueError, match=r"restarts_max|period_s"):
        Intensity(*values)


async def test_the_window_slides(autojump_clock: object) -> None:
    window = Window(Intensity(2, 10))
    assert not window.crashed()
    await trio.sleep(4)
    assert not window.crashed()
    await trio.sleep(6.1)
    assert not window.crashed(), "the first one has left the window"
    await trio.sleep(3.8)
    assert window.crashed(), "three within ten seconds are more than two"


async def test_with_no_restart_allowed_the_first_crash_is_too_many(autojump_clock: object) -> None:
    assert Window(Intensity(0, 10)).crashed()


@given(st.lists(st.floats(0, 30), max_size=40), st.integers(0, 5), st.floats(1, 60))
def test_the_window_agrees_with_counting_by_hand(gaps: list[float], restarts_max: int, period_s: float) -> None:
    async def main() -> None:
        window, moments = Window(Intensity(restarts_max, period_s)), []
        for gap in gaps:
            await trio.sleep(gap)
            moments.append(trio.current_time())
            recent = [moment for moment in moments if moments[-1] - moment <= period_s]
            assert window.crashed() == (len(recent) > restarts_max)

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def test_the_documented_defaults_pass_the_policy_check() -> None:
    check_policy(Backoff(1, 60, 60), Intensity(10, 600))


@given(policies, st.integers(0, 30), st.floats(1, 10_000))
def test_a_policy_is_refused_exactly_when_no_draw_of_delays_fits_the_period(
    backoff: Backoff, restarts_max: int, period_s: float
) -> None:
    class Lowest(Random):
        def uniform(self, a: float, b: float) -> float:
            return a

    fastest_s = sum(backoff.delay_s(n, Lowest()) for n in range(restarts_max))
    try:
        check_policy(backoff, Intensity(restarts_max, period_s))
    except PolicyError:
        assert fastest_s > period_s
    else:
        assert fastest_s <= period_s
