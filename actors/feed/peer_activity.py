"""Records where else a coin is traded, to compare one exchange's silence with. Shared by all exchanges."""

from collections import deque
from collections.abc import Iterable

MOMENTS_KEPT = 120  # seconds with trades, per coin and exchange
MOMENTS_MIN = 3  # fewer could be a coincidence
MOST = 2 / 3  # not all: one of several exchanges may be down itself


class PeerActivity:
    """Times are seconds on one monotonic clock."""

    def __init__(self) -> None:
        self._moments: dict[str, dict[str, deque[float]]] = {}

    def traded(self, exchange: str, coins: Iterable[str], now: float) -> None:
        """These coins had trades on this exchange in the last second or so."""
        for coin in coins:
            there = self._moments.setdefault(coin, {})
            there.setdefault(exchange, deque(maxlen=MOMENTS_KEPT)).append(now)

    def forget(self, exchange: str) -> None:
        """The exchange is no longer recorded."""
        for there in self._moments.values():
            there.pop(exchange, None)

    def busy(self, exchange: str, coin: str, since: float) -> list[str]:
        """The other exchanges that traded the coin since then, if they are most of those known to trade it."""
        others = {name: moments for name, moments in self._moments.get(coin, {}).items() if name != exchange}
        busy = [name for name, moments in others.items() if sum(at > since for at in moments) >= MOMENTS_MIN]
        return sorted(busy) if busy and len(busy) >= MOST * len(others) else []
