"""A silence is examined if neither the usual intervals of the market nor its peers explain it, seldom otherwise."""

import itertools
import math
import random
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.feed.interarrival import (
    LEARNT_INTERVALS,
    LONGEST_FACTOR,
    LONGEST_FADES_S,
    PATIENCE_S_MAX,
    RULE_FACTOR,
    UNKNOWN_FACTOR,
    Interarrival,
)
from actors.feed.peer_activity import MOMENTS_KEPT, MOMENTS_MIN, PeerActivity
from tests.harness.memory import allocations

LEAST_S = 10.0
DAY_S = 86_400.0
seconds = st.floats(0.0, 10 * DAY_S)
# What happens to a interarrival: a trade after so long a silence, one after a loss (None), or a doubt ("?").
happenings = st.lists(st.one_of(seconds, st.none(), st.just("?")), max_size=60)


def learnt_from(things: list[float | str | None], least_s: float = LEAST_S) -> tuple[Interarrival, float]:
    """A interarrival after these, and the time that is then."""
    interarrival, now = Interarrival(least_s), 0.0
    for thing in things:
        if isinstance(thing, float):
            now += thing
            interarrival.traded(thing, now)
        elif thing is None:
            interarrival.traded_after_loss()
        else:
            interarrival.doubted(now)
    return interarrival, now


def steady(interval_s: float, count: int = 200) -> tuple[Interarrival, float]:
    return learnt_from([interval_s] * count)


@given(happenings, st.floats(0.1, 3600.0), seconds)
def test_patience_is_never_below_the_least_nor_above_the_cap(
    things: list[float | str | None], least_s: float, later_s: float
) -> None:
    interarrival, now = learnt_from(things, least_s)
    assert least_s <= interarrival.patience_s(now + later_s) <= PATIENCE_S_MAX


@given(happenings, st.integers(1, 30))
def test_each_look_doubles_patience_and_the_next_trade_resets_it(
    things: list[float | str | None], looks: int
) -> None:
    interarrival, now = learnt_from([*things, None])
    first = interarrival.patience_s(now)
    for look in range(1, looks + 1):
        interarrival.doubted(now)
        assert interarrival.patience_s(now) == pytest.approx(min(PATIENCE_S_MAX, first * 2.0 ** min(look, 20)))
    interarrival.traded_after_loss()
    assert interarrival.patience_s(now) == first
    interarrival.doubted(now)
    interarrival.traded(0.0, now)
    assert interarrival.patience_s(now) <= first


@given(st.floats(1.0, 1000.0))
def test_a_steady_market_may_be_silent_for_twenty_times_its_interval(interval_s: float) -> None:
    interarrival, now = steady(interval_s)
    assert interarrival.rule_s == pytest.approx(interval_s)
    assert interarrival.patience_s(now) == pytest.approx(max(LEAST_S, RULE_FACTOR * interval_s))


def test_a_market_of_unknown_interval_may_be_silent_for_longer_than_the_least() -> None:
    interarrival, _ = learnt_from([0.1] * (LEARNT_INTERVALS - 1))
    assert interarrival.patience_s(0.0) == UNKNOWN_FACTOR * LEAST_S and not interarrival.known
    interarrival, _ = learnt_from([0.1] * LEARNT_INTERVALS)
    assert interarrival.patience_s(2.0) == LEAST_S and interarrival.known


def test_the_longest_silence_counts_three_times_and_fades() -> None:
    interarrival, now = steady(0.1)
    interarrival.traded(600.0, now)
    for hours in range(3):
        for _ in range(200):
            interarrival.traded(0.1, now)
        assert interarrival.patience_s(now) == pytest.approx(LONGEST_FACTOR * 600.0 / 2**hours)
        now += LONGEST_FADES_S
    assert interarrival.patience_s(now + DAY_S) == LEAST_S


def test_nothing_is_learnt_of_a_silence_that_was_not_the_markets() -> None:
    interarrival, now = steady(0.1)
    interarrival.traded_after_loss()
    assert interarrival.patience_s(now + 600.0) == LEAST_S and interarrival.rule_s == pytest.approx(0.1)


def test_a_silence_is_examined_again_after_twice_the_time_and_beyond_the_cap_only_now_and_then() -> None:
    interarrival, now = steady(6.0)  # two minutes
    looks = [
        at
        for at in range(int(now), int(now + 5 * DAY_S), 10)
        if interarrival.due(now, at) and looked(interarrival, at)
    ]
    after = [look - now for look in looks]
    for earlier, later in itertools.pairwise(after[:8]):
        assert later == pytest.approx(2 * earlier, abs=30)
    assert len(looks) <= 8 + 5 * DAY_S / (PATIENCE_S_MAX / 2)
    assert interarrival.due(now, 6 * DAY_S, 300.0)  # of a market that is known to be stalled


def looked(interarrival: Interarrival, now: float) -> bool:
    interarrival.doubted(now)
    return True


# -- days of markets ---------------------------------------------------------------------------------------


def length_s(rate_per_s: float) -> float:
    """A day; of busy markets so much that the test does not take long."""
    return min(DAY_S, 60_000 / rate_per_s)


def poisson(rng: random.Random, rate_per_s: float) -> Iterator[float]:
    at = 0.0
    while (at := at + rng.expovariate(rate_per_s)) < length_s(rate_per_s):
        yield at


def bursty(rng: random.Random, rate_per_s: float) -> Iterator[float]:
    """Some twenty trades at once, and then none for twenty times as long."""
    at = 0.0
    while (at := at + rng.expovariate(rate_per_s / 20)) < length_s(rate_per_s):
        for _ in range(1 + int(rng.expovariate(1 / 20))):
            yield at
            at += rng.expovariate(5.0)


def looks_at(moments: Iterator[float]) -> list[float]:
    """When a day of trades would be looked into by somebody who looks each second."""
    interarrival, last, looks = Interarrival(LEAST_S), 0.0, []
    for at in moments:
        now = math.ceil(at)
        while (look := last + interarrival.patience_s(last)) < now - 1:
            at_look = next((t for t in range(math.ceil(look), now) if interarrival.due(last, t)), None)
            if at_look is None:
                break
            interarrival.doubted(at_look)
            looks.append(at_look - last)
        interarrival.traded(max(0.0, at - last - 1.0), now)
        last = at
    return looks


@pytest.mark.parametrize(
    ("market", "every_s", "most"),
    [
        (poisson, 0.2, 0),
        (poisson, 1, 1),
        (poisson, 10, 2),
        (poisson, 60, 8),  # all of them while it is being learnt
        (poisson, 3600, 40),
        (bursty, 0.2, 1),
        (bursty, 10, 20),
        (bursty, 60, 30),
        (bursty, 3600, 40),
    ],
)
def test_a_day_of_a_healthy_market_is_hardly_ever_examined(
    market: Callable[[random.Random, float], Iterator[float]], every_s: float, most: int
) -> None:
    for seed in range(3):
        assert len(looks_at(market(random.Random(seed), 1 / every_s))) <= most, f"seed {seed}"


def test_a_quiet_night_is_learnt() -> None:
    def days(rng: random.Random) -> Iterator[float]:
        """A trade every ten seconds by day, and every ten minutes at night; dusk lasts two hours."""
        at = 0.0
        while at < 3 * DAY_S:
            hour = at % DAY_S / 3600
            depth = max(0.0, min(1.0, (hour - 16) / 2, (24 - hour) / 2))
            at += rng.expovariate(1 / (10.0 * 60**depth))
            yield at

    assert all(len(looks_at(days(random.Random(seed)))) <= 3 for seed in range(3))


# -- neighbours --------------------------------------------------------------------------------------------


def test_a_coin_is_busy_where_most_of_the_others_have_traded_it_several_times_since() -> None:
    neighbours = PeerActivity()
    for second in range(10):
        neighbours.traded("a", ["BTC"], second)
        neighbours.traded("b", ["BTC", "ETH"], second)
    assert neighbours.busy("c", "BTC", 0.0) == ["a", "b"]
    assert neighbours.busy("a", "BTC", 0.0) == ["b"], "an exchange is no witness for itself"
    assert neighbours.busy("b", "ETH", 0.0) == [] == neighbours.busy("c", "DOGE", 0.0)
    assert neighbours.busy("c", "BTC", 9.0 - MOMENTS_MIN) == ["a", "b"]
    assert neighbours.busy("c", "BTC", 10.0 - MOMENTS_MIN) == [], "as few could be chance"
    assert neighbours.busy("c", "BTC", 20.0) == []


@given(st.lists(st.booleans(), min_size=1, max_size=9))
def test_it_is_busy_only_if_two_thirds_of_those_known_to_trade_it_do(trading: list[bool]) -> None:
    neighbours = PeerActivity()
    for number, trades in enumerate(trading):
        for second in range(MOMENTS_MIN):
            neighbours.traded(f"x{number}", ["BTC"], second + (100.0 if trades else 0.0))
    busy = neighbours.busy("mine", "BTC", 50.0)
    enough = any(trading) and 3 * sum(trading) >= 2 * len(trading)
    assert busy == ([f"x{number}" for number, trades in enumerate(trading) if trades] if enough else [])


def test_an_exchange_that_is_forgotten_neither_witnesses_nor_counts() -> None:
    neighbours = PeerActivity()
    for second in range(MOMENTS_MIN):
        for name, since in (("a", 100.0), ("b", 0.0), ("c", 0.0)):
            neighbours.traded(name, ["BTC"], since + second)
    assert neighbours.busy("mine", "BTC", 50.0) == []
    neighbours.forget("b")
    assert neighbours.busy("mine", "BTC", 50.0) == []
    neighbours.forget("c")
    assert neighbours.busy("mine", "BTC", 50.0) == ["a"]
    neighbours.forget("a")
    neighbours.forget("nobody")
    assert neighbours.busy("mine", "BTC", 50.0) == []


def test_what_is_kept_of_a_coin_is_bounded() -> None:
    with allocations("*/feed/peer_activity.py") as held:
        neighbours = PeerActivity()
        for second in range(100 * MOMENTS_KEPT):
            neighbours.traded("a", ["BTC"], second)
        assert 8 * MOMENTS_KEPT <= held() < 4 * 8 * MOMENTS_KEPT  # 8 bytes each, and the containers
