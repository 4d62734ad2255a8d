"""Promises of the policies: who is to blame, how long to wait, how often is too often, which states may follow."""

import math
from random import Random

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from supervisor import (
    Backoff,
    ChildSpec,
    Context,
    Intensity,
    MisconfiguredError,
    PolicyError,
    State,
    TransientError,
    Verdict,
    check_policy,
    classify,
    describe,
)
from supervisor.child import TRANSITIONS, TransitionError, check_transition
from supervisor.errors import LINE_CHARS_MAX
from supervisor.restart_policy import DELAY_S_MAX, RETRY_AFTER_S_MAX, Retries, Window

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


@pytest.mark.parametrize(
    "values", [(0, 1, 1), (-1, 1, 1), (2, 1, 1), (1, math.inf, 1), (1, 2, -1), (1, 2, math.nan)]
)
def test_a_backoff_that_makes_no_sense_is_refused(values: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="backoff needs"):
        Backoff(*values)


async def test_the_delay_grows_through_short_lives_however_healthy_they_began(autojump_clock: object) -> None:
    retries = Retries(Backoff(1, 64, reset_s=10), Random(1))
    for failures in range(5):
        retries.started()
        retries.healthy()
        await trio.sleep(9)
        retries.healthy()
        assert retries.failures == failures
        retries.failed()


async def test_the_delay_is_reset_only_by_healthy_work_over_the_whole_stretch(autojump_clock: object) -> None:
    retries = Retries(Backoff(1, 64, reset_s=10), Random(1))
    for _ in range(4):
        retries.failed()
    retries.started()
    await trio.sleep(1000)  # connected, but nothing flows
    retries.healthy()
    assert retries.failures == 4
    await trio.sleep(9.9)
    retries.healthy()
    assert retries.failures == 4
    await trio.sleep(0.2)
    retries.healthy()
    assert retries.failures == 0
    assert retries.failed() <= 1


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


def test_a_refused_policy_says_which_numbers_clash_and_what_would_do() -> None:
    with pytest.raises(PolicyError, match=r"restarts_max=10 within restarts_period_s=60 .* set restarts_period_s"):
        ChildSpec("x", _nothing, intensity=Intensity(10, 60))


async def _nothing(context: Context) -> None:
    """A child's run that does nothing."""


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (TransientError("refused"), (Verdict.TRANSIENT, None)),
        (TransientError("slow down", retry_after_s=7), (Verdict.TRANSIENT, 7)),
        (MisconfiguredError("wrong certificate"), (Verdict.MISCONFIGURED, None)),
        (ValueError("ours"), (Verdict.BUG, None)),
        (OSError("not translated at the edge"), (Verdict.BUG, None)),
        (
            ExceptionGroup("", [TransientError("a", retry_after_s=3), TransientError("b", retry_after_s=9)]),
            (Verdict.TRANSIENT, 9),
        ),
        (ExceptionGroup("", [TransientError("a"), MisconfiguredError("b")]), (Verdict.MISCONFIGURED, None)),
        (
            ExceptionGroup("", [TransientError("a"), ExceptionGroup("", [MisconfiguredError("b"), KeyError()])]),
            (Verdict.BUG, None),
        ),
    ],
)
def test_a_failure_is_as_bad_as_its_worst_part(error: Exception, verdict: tuple[Verdict, float | None]) -> None:
    assert classify(error) == verdict


def test_a_description_is_one_bounded_line_naming_each_leaf_once() -> None:
    error = ExceptionGroup(
        "group", [TransientError("refused\nby peer"), TransientError("refused\nby peer"), KeyError()]
    )
    assert describe(error) == "TransientError: refused by peer | KeyError"
    assert len(describe(ValueError("x" * 10_000))) == LINE_CHARS_MAX


@pytest.mark.parametrize("old", list(State))
@pytest.mark.parametrize("new", list(State))
def test_only_the_transitions_of_the_table_pass(old: State, new: State) -> None:
    if new in TRANSITIONS[old]:
        check_transition("x", old, new)
    else:
        with pytest.raises(TransitionError, match=f"x may not go from {old.value} to {new.value}"):
            check_transition("x", old, new)


def test_every_state_can_be_reached_and_every_state_can_be_stopped() -> None:
    assert set(TRANSITIONS) == set(State)
    reached = {State.STOPPED}
    while grown := {new for old in reached for new in TRANSITIONS[old]} - reached:
        reached |= grown
    assert reached == set(State)
    assert all(State.STOPPED in TRANSITIONS[state] for state in State if state is not State.STOPPED)


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": "a b"},
        {"name": "x" * 65},
        {"stop_s": -1},
        {"on_exhausted": "shrug"},
        {"probe_interval_s": 0},
        {"stuck_s": 0},
        {"heartbeat_s": 0},
    ],
)
def test_a_child_specification_is_checked_when_it_is_made(wrong: dict[str, object]) -> None:
    values: dict[str, object] = {"name": "x", "run": _nothing, **wrong}
    with pytest.raises(ValueError, match=r"name|stop_s|on_exhausted|probe_interval_s|stuck_s"):
        ChildSpec(**values)  # type: ignore[arg-type]


def test_an_actor_may_report_to_nobody() -> None:
    context = Context("alone")
    context.ok()
    context.degraded("x")
    context.healthy()
    context.handled()
    context.note("word", a=1)
    context.request_stop()
    assert context.stopping.is_set()
