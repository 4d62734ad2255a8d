"""Keeps requests within an exchange's rate limits: token buckets by name, shared by all clients of a host."""

import math
from collections.abc import Mapping, Sequence

import trio
from msgspec import Struct

from actors.exchanges.contract.history import History, RateLimit


class LimiterStatistics(Struct, frozen=True):
    """`waiting` requests are queued; for `paused_s` the exchange wants no request."""

    waiting: int
    paused_s: float
    taken: Mapping[str, float]


class RateLimiters:
    """One RateLimiter for each exchange and host, shared by all exchange tables of the configuration."""

    def __init__(self) -> None:
        self._limiters: dict[tuple[str, str], RateLimiter] = {}

    def of(self, history: History, rest_url: str | None) -> "RateLimiter":
        """The shared RateLimiter."""
        key = (history.name, history.origin(rest_url))
        if key not in self._limiters:
            self._limiters[key] = RateLimiter(history.limits)
        return self._limiters[key]

    def spend(self) -> None:
        """Takes all that may be requested at once: another process of this address may just have requested it."""
        for limiter in self._limiters.values():
            limiter.spend()


class RateLimiter:
    """Grants requests within the limits, first come first served. Limits apply to addresses, not markets: all
    clients of one exchange must share one, or pause together: this one pauses with `beside`.
    """

    def __init__(self, limits: Sequence[RateLimit], *, beside: "RateLimiter | None" = None) -> None:
        self._buckets = {limit.name: _Bucket(limit) for limit in limits}
        self._turn = trio.StrictFIFOLock()
        self._pause: _Pause = _Pause() if beside is None else beside._pause

    async def take(self, costs: Mapping[str, float]) -> None:
        """Waits until `costs` (units by limit name) are available and takes them; if cancelled, takes nothing.

        Raises ValueError for a cost above the limit, KeyError for an unknown limit.
        """
        for name, cost in costs.items():
            if cost > self._buckets[name].limit.burst:
                raise ValueError(f"{cost:g} of {name} exceeds what is allowed at once")
        async with self._turn:
            while (wait_s := self._wait_s(costs)) > 0:  # noqa: ASYNC110 - a pause may begin meanwhile
                await trio.sleep(wait_s)
            for name, cost in costs.items():
                self._buckets[name].take(cost)

    def spend(self) -> None:
        """Takes all that is available now; never waits."""
        for bucket in self._buckets.values():
            bucket.spend()

    def pause(self, seconds: float) -> None:
        """Blocks all requests for this time; an earlier pause that lasts longer remains."""
        self._pause.until = max(self._pause.until, trio.current_time() + seconds)

    @property
    def paused_s(self) -> float:
        """How long requests are still blocked."""
        return max(0.0, self._pause.until - trio.current_time())

    def statistics(self) -> LimiterStatistics:
        """The queue, the pause, and the total taken."""
        taken = {name: bucket.taken for name, bucket in self._buckets.items()}
        return LimiterStatistics(self._turn.statistics().tasks_waiting, self.paused_s, taken)

    def _wait_s(self, costs: Mapping[str, float]) -> float:
        waits = (self._buckets[name].wait_s(cost) for name, cost in costs.items())
        return max(self.paused_s, max(waits, default=0.0))


class _Pause:
    """Until when the exchange wants no request."""

    def __init__(self) -> None:
        self.until = -math.inf


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
        # Rounding must not result in a wait too short to advance the clock.
        lacking = cost - self._tokens
        return 0.0 if lacking <= 1e-9 else max(lacking / self.limit.rate_per_s, 1e-6)

    def spend(self) -> None:
        self._tokens, self._filled_at = 0.0, trio.current_time()

    def take(self, cost: float) -> None:
        self._tokens -= cost
        self.taken += cost
