"""Keeps requests within an exchange's rate limits: token buckets by name, shared by all clients of a host."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import trio

from actors.exchanges.contract.history import History, RateLimit


@dataclass(frozen=True, slots=True)
class LimiterStatistics:
    """`waiting` requests are queued; for `paused_s` the exchange wants no request."""

    waiting: int
    paused_s: float
    taken: Mapping[str, float]


class RateLimiters:
    """One RateLimiter for each exchange and host, shared by all tables of the configuration that ask there."""

    def __init__(self) -> None:
        self._limiters: dict[tuple[str, str], RateLimiter] = {}

    def of(self, history: History, rest_url: str | None) -> "RateLimiter":
        """The one to share."""
        key = (history.name, history.origin(rest_url))
        if key not in self._limiters:
            self._limiters[key] = RateLimiter(history.limits)
        return self._limiters[key]


class RateLimiter:
    """Hands out what the limits allow, first come first served. Addresses are limited, not markets: all
    clients of one exchange here must share one."""

    def __init__(self, limits: Sequence[RateLimit]) -> None:
        self._buckets = {limit.name: _Bucket(limit) for limit in limits}
        self._turn = trio.StrictFIFOLock()
        self._paused_until = -math.inf

    async def take(self, costs: Mapping[str, float]) -> None:
        """Waits until `costs` (units by limit name) can be had and takes them; if cancelled, takes nothing.

        Raises ValueError for a cost that no wait can bring, KeyError for a limit that is not known.
        """
        for name, cost in costs.items():
            if cost > self._buckets[name].limit.burst:
                raise ValueError(f"{cost:g} of {name} is more than can be had at once")
        async with self._turn:
            while (wait_s := self._wait_s(costs)) > 0:  # noqa: ASYNC110 - a pause may come meanwhile
                await trio.sleep(wait_s)
            for name, cost in costs.items():
                self._buckets[name].take(cost)

    def pause(self, seconds: float) -> None:
        """Lets no request pass for so long; an earlier pause that lasts longer stays."""
        self._paused_until = max(self._paused_until, trio.current_time() + seconds)

    @property
    def paused_s(self) -> float:
        """How long no request may pass yet."""
        return max(0.0, self._paused_until - trio.current_time())

    def statistics(self) -> LimiterStatistics:
        """The queue, the pause, and what has been taken in all."""
        taken = {name: bucket.taken for name, bucket in self._buckets.items()}
        return LimiterStatistics(self._turn.statistics().tasks_waiting, self.paused_s, taken)

    def _wait_s(self, costs: Mapping[str, float]) -> float:
        waits = (self._buckets[name].wait_s(cost) for name, cost in costs.items())
        return max(self.paused_s, max(waits, default=0.0))


class _Bucket:
    def __init__(self, limit: RateLimit) -> None:
        self.limit = limit
        self.taken = 0.0
        self._tokens = limit.burst
        self._filled_at = -math.inf

    def wait_s(self, cost: float) -> float:
        now = trio.current_time()
        self._tokens = min(self.limit.burst, self._tokens + (now - self._filled_at) * self.limit.rate_per_s)
        self._filled_at = now
        # Rounding must not leave a wait too short to move the clock.
        lacking = cost - self._tokens
        return 0.0 if lacking <= 1e-9 else max(lacking / self.limit.rate_per_s, 1e-6)

    def take(self, cost: float) -> None:
        self._tokens -= cost
        self.taken += cost
