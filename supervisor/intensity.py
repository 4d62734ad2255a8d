"""How often a child may crash before it counts as failed: a sliding window, and a check of the policy."""

import math
from collections import deque
from dataclasses import dataclass

import trio

from supervisor.backoff import Backoff

RESTARTS_MAX_MAX = 10_000  # the window remembers that many moments


class PolicyError(ValueError):
    """The policy contradicts itself; the message says how and what would be right."""


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


class Window:
    """The crashes of one child on the monotonic clock."""

    def __init__(self, limit: Intensity) -> None:
        self._limit = limit
        self._moments: deque[float] = deque(maxlen=limit.restarts_max + 1)

    def crashed(self) -> bool:
        """One more crash, now; True when that makes more than `restarts_max` within `period_s`."""
        now = trio.current_time()
        self._moments.append(now)
        full = len(self._moments) > self._limit.restarts_max
        return full and now - self._moments[0] <= self._limit.period_s

    def forget(self) -> None:
        """Start afresh: an operator asked for it."""
        self._moments.clear()


def check_policy(backoff: Backoff, intensity: Intensity) -> None:
    """Refuses a policy whose delays make its intensity unreachable; raises PolicyError.

    A child that crashes the moment it starts must be able to exceed the intensity. Between the first of
    those crashes and the one too many lie `restarts_max` delays; if even their shortest draw is longer
    than the period, the child would crash for ever and never be shown as failed.
    """
    shortest_s = sum(backoff.ceiling_s(n) / 2 for n in range(intensity.restarts_max))
    if shortest_s > intensity.period_s:
        raise PolicyError(
            f"restarts_max={intensity.restarts_max} within restarts_period_s={intensity.period_s:g} can "
            "never be exceeded: the backoff delays between so many restarts "
            f"({backoff.initial_s:g} s doubling to {backoff.max_s:g} s) take at least {shortest_s:.0f} s; "
            f"set restarts_period_s to at least {math.ceil(shortest_s * 2)}, "
            "or lower restarts_max or the delays"
        )
