"""How long to wait before a child is started again: exponential, jittered, capped, reset by healthy work."""

import math
from dataclasses import dataclass
from random import Random

import trio

DELAY_S_MAX = 7 * 86_400.0  # nobody means a week; such a value is a slip of the unit
RETRY_AFTER_S_MAX = 7 * 86_400.0  # the longest ban that servers document is three days; more is a mistake


@dataclass(frozen=True, slots=True)
class Backoff:
    """Delays d = min(max_s, initial_s * 2^n) for the n-th failure in a row, all in seconds.

    What is waited is d/2 + uniform(0, d/2): the random half keeps many clients from coming back in step,
    the fixed half keeps a lucky draw from hammering a server that is down.
    """

    initial_s: float = 1.0
    max_s: float = 60.0
    reset_s: float = 60.0

    def __post_init__(self) -> None:
        if not 0 < self.initial_s <= self.max_s <= DELAY_S_MAX:
            raise ValueError(
                f"backoff needs 0 < initial_s <= max_s <= {DELAY_S_MAX:g}, "
                f"not initial_s={self.initial_s:g}, max_s={self.max_s:g}"
            )
        if not (self.reset_s >= 0 and math.isfinite(self.reset_s)):
            raise ValueError(f"backoff needs a finite reset_s of at least 0, not {self.reset_s:g}")

    def ceiling_s(self, failures: int) -> float:
        """The longest wait after so many earlier failures in a row."""
        return min(self.max_s, self.initial_s * 2.0 ** min(failures, 100))

    def delay_s(self, failures: int, random: Random, retry_after_s: float | None = None) -> float:
        """The wait after so many earlier failures in a row.

        `retry_after_s` is a floor and may lift the wait above `max_s`: to ask sooner than a server
        wishes is how a limit becomes a ban. It comes from the wire, so what is absurd in it is bounded.
        """
        ceiling_s = self.ceiling_s(failures)
        delay_s = min(ceiling_s, ceiling_s / 2 + random.uniform(0, ceiling_s / 2))
        if retry_after_s is None or not retry_after_s > delay_s:  # "not >" also meets NaN
            return delay_s
        return min(retry_after_s, RETRY_AFTER_S_MAX)


class Retries:
    """Counts failures in a row for one child, and forgets them only after `reset_s` of healthy work.

    Healthy work is reported with `healthy()`. The stretch begins with the first report since `started()`,
    not with connecting: a server that accepts and then drops must not be met without delay for ever.
    """

    def __init__(self, policy: Backoff, random: Random) -> None:
        self.policy = policy
        self.failures = 0
        self._random = random
        self._healthy_since: float | None = None

    def started(self) -> None:
        """A new life begins; what the last one did well no longer counts."""
        self._healthy_since = None

    def healthy(self) -> None:
        """Real work flows at this moment."""
        now = trio.current_time()
        if self._healthy_since is None:
            self._healthy_since = now
        if self.failures and now - self._healthy_since >= self.policy.reset_s:
            self.failures = 0

    def failed(self, retry_after_s: float | None = None) -> float:
        """One more failure; returns the seconds to wait."""
        delay_s = self.policy.delay_s(self.failures, self._random, retry_after_s)
        self.failures += 1
        return delay_s

    def forget(self) -> None:
        """Start afresh: an operator asked for it."""
        self.failures = 0
        self._healthy_since = None
