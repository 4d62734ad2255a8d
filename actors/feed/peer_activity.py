"""Where else a coin is being traded: what one exchange's silence is compared with. Shared by all exchanges."""

from collections import deque
from collections.abc import Iterable

MOMENTS_KEPT = 120  # seconds with trades, per coin and exchange
MOMENTS_MIN = 3  # fewer could be chance
MOST = 2 / 3  # "everywhere" allows for one of several being down itself


class PeerActivity:
    """Times are seconds on one clock that only rises."""

    def __init__(self) -> None:
        self._moments: dict[str, dict[str, deque[float]]] = {}

    def traded(self, exchange: str, coins: Iterable[str], now: float) -> None:
        """These coins had trades there in the last second or so."""
        for coin in coins:
            there = self._moments.setdefault(coin, {})
            there.setdefault(exchange, deque(maxlen=MOMENTS_KEPT)).append(now)

    def forget(self, exchange: str) -> None:
        """It is not recorded any more."""
        for there in self._moments.values():
            there.pop(exchange, None)

    def busy(self, exchange: str, coin: str, since: float) -> list[str]:
        """The other exchanges, if it is most of those known to trade the coin, where it was traded since then."""
        others = {name: moments for name, moments in self._moments.get(coin, {}).items() if name != exchange}
        busy = [name for name, moments in others.items() if sum(at > since for at in moments) >= MOMENTS_MIN]
        return sorted(busy) if busy and len(busy) >= MOST * len(others) else []
