"""Restart policy: exponential backoff between restarts, and the restart intensity above which a child is failed."""

import math
from dataclasses import dataclass
from random import Random

DELAY_S_MAX = 7 * 86_400.0  # a longer delay is a mistake in the unit
RETRY_AFTER_S_MAX = 7 * 86_400.0  # the longest ban that servers document is three days; more is a mistake
FACTOR_MAX = 100.0
EXPONENT_MAX = 100  # keeps the power finite: FACTOR_MAX to this power is still a float
RESTARTS_MAX_MAX = 10_000  # the window keeps that many timestamps


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential backoff: d = min(max_s, initial_s * factor^n) after n earlier failures in a row, in seconds.

    `jitter` is the share of d that is random: d * (1 - jitter) + uniform(0, d * jitter) is waited. The random
    part keeps many clients from coming back in step, the fixed part keeps a lucky draw from hammering a
    server that is down. `reset_s` is the healthy work after which `Retries` counts from 0 again.
    """

    initial_s: float = 1.0
    max_s: float = 60.0
    reset_s: float = 60.0
    factor: float = 2.0
    jitter: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.initial_s <= self.max_s <= DELAY_S_MAX:
            raise ValueError(
                f"backoff needs 0 < initial_s <= max_s <= {DELAY_S_MAX:g}, "
                f"not initial_s={self.initial_s:g}, max_s={self.max_s:g}"
            )
        if not (self.reset_s >= 0 and math.isfinite(self.reset_s)):
            raise ValueError(f"backoff needs a finite reset_s of at least 0, not {self.reset_s:g}")
        if not 1 <= self.factor <= FACTOR_MAX:
            raise ValueError(f"backoff needs 1 <= factor <= {FACTOR_MAX:g}, not {self.factor:g}")
        if not 0 <= self.jitter <= 1:
            raise ValueError(f"backoff needs 0 <= jitter <= 1, not {self.jitter:g}")

    def ceiling_s(self, failures: int) -> float:
        """The longest wait after so many earlier failures in a row: the wait itself where there is no jitter."""
        return min(self.max_s, self.initial_s * self.factor ** min(failures, EXPONENT_MAX))

    def shortest_s(self, failures: int) -> float:
        """The shortest wait after so many earlier failures in a row."""
        return self.ceiling_s(failures) * (1 - self.jitter)

    def delay_s(self, failures: int, random: Random, retry_after_s: float | None = None) -> float:
        """The wait after so many earlier failures in a row, jittered.

        `retry_after_s` is a floor and may lift the wait above `max_s`: to ask sooner than a server
        permits is how a limit becomes a ban. It comes from the wire, so absurd values are bounded.
        """
        shortest_s, ceiling_s = self.shortest_s(failures), self.ceiling_s(failures)
        delay_s = min(ceiling_s, shortest_s + random.uniform(0, ceiling_s - shortest_s))
        if retry_after_s is None or not retry_after_s > delay_s:  # "not >" also meets NaN
            return delay_s
        return min(retry_after_s, RETRY_AFTER_S_MAX)


class PolicyError(ValueError):
    """The policy contradicts itself; the message names the values and what to set."""


@dataclass(frozen=True, slots=True)
class Intensity:
    """More than `restarts_max` crashes within `period_s` seconds are too many."""

    restarts_max: int = 10
    period_s: float = 600.0

    def __post_init__(self) -> None:
        if not 0 <= self.restarts_max <= RESTARTS_MAX_MAX:
            raise ValueError(f"restarts_max must be 0 to {RESTARTS_MAX_MAX}, not {self.restarts_max}")
        if not (self.period_s > 0 and math.isfinite(self.period_s)):
            raise ValueError(f"period_s must be a finite number above 0, not {self.period_s:g}")


def check_policy(backoff: Backoff, intensity: Intensity) -> None:
    """Raises PolicyError for a policy whose delays make its intensity unreachable.

    A child that crashes the moment it starts must be able to exceed the intensity. Between the first of
    those crashes and the one too many lie `restarts_max` delays; if even their shortest draw is longer
    than the period, the child would crash for ever and never be shown as failed.
    """
    shortest_s = sum(backoff.shortest_s(n) for n in range(intensity.restarts_max))
    if shortest_s > intensity.period_s:
        raise PolicyError(
            f"restarts_max={intensity.restarts_max} within restarts_period_s={intensity.period_s:g} can "
            "never be exceeded: the backoff delays between so many restarts "
            f"({backoff.initial_s:g} s growing to {backoff.max_s:g} s) take at least {shortest_s:.0f} s; "
            f"set restarts_period_s to at least {math.ceil(shortest_s * 2)}, "
            "or lower restarts_max or the delays"
        )
