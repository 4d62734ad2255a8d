"""Counts the failures of one child: those in a row, for its backoff, and its crashes, for its intensity."""

from random import Random

import trio

from supervisor.restart_policy import Backoff, Intensity


class Retries:
    """Counts failures in a row for one child, and forgets them only after `reset_s` of healthy work.

    Healthy work is reported with `healthy()`. Its time is counted from the first report since `started()`, not from
    connecting: a server that accepts and then drops connections must not be called without delay for ever.
    """

    def __init__(self, policy: Backoff, random: Random) -> None:
        self.policy = policy
        self.failures = 0
        self._random = random
        self._healthy_since: float | None = None

    def started(self) -> None:
        """A new incarnation begins; healthy work of the last one no longer counts."""
        self._healthy_since = None

    def healthy(self) -> None:
        """Healthy work is done at this moment."""
        if self._healthy_since is None:
            self._healthy_since = trio.current_time()
        if self.failures and trio.current_time() - self._healthy_since >= self.policy.reset_s:
            self.failures = 0

    def failed(self, retry_after_s: float | None = None) -> float:
        """One more failure; returns the seconds to wait."""
        delay_s = self.policy.delay_s(self.failures, self._random, retry_after_s)
        self.failures += 1
        return delay_s

    def forget(self) -> None:
        """Counts from 0 again."""
        self.failures = 0
        self._healthy_since = None


class Window:
    """The crashes of one child on the monotonic clock."""

    def __init__(self, limit: Intensity) -> None:
        self._limit = limit
        self._moments: list[float] = []  # the newest; an empty deque would take 0.6 kB for each child

    def crashed(self) -> bool:
        """One more crash, now; True when that makes more than `restarts_max` within `period_s`."""
        now = trio.current_time()
        self._moments = [*self._moments, now][-(self._limit.restarts_max + 1) :]
        full = len(self._moments) > self._limit.restarts_max
        return full and now - self._moments[0] <= self._limit.period_s

    def forget(self) -> None:
        """Counts from 0 again."""
        self._moments.clear()
