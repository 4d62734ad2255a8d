"""Limits the stored evidence of rejects to a number of bytes per exchange and UTC day; beyond it they are only
counted.

Otherwise an exchange that sends invalid data all day would fill the disk with it.
"""

from collections import Counter
from collections.abc import Sequence

from actors.model.ticks import Reject

DAY_NS = 86_400 * 1_000_000_000


class Evidence:
    """`bytes_per_day` limits the size of rows with their payload and detail, see Reject.evidence_bytes."""

    def __init__(self, bytes_per_day: int) -> None:
        self._bytes_max = bytes_per_day
        self._day = 0
        self._bytes: Counter[str] = Counter()
        self._full: set[str] = set()
        self._news: list[str] = []

    def split(self, rejects: Sequence[Reject], now_ns: int) -> tuple[tuple[Reject, ...], list[Reject]]:
        """The rejects whose evidence is kept, in order, and those beyond the limit of their day."""
        if now_ns // DAY_NS != self._day:
            self._day = now_ns // DAY_NS
            self._bytes.clear()
            self._full.clear()
        kept, beyond = [], []
        for reject in rejects:
            name, size = reject.exchange, reject.evidence_bytes
            if self._bytes[name] + size <= self._bytes_max:
                self._bytes[name] += size
                kept.append(reject)
                continue
            beyond.append(reject)
            if name not in self._full:
                self._full.add(name)
                self._news.append(name)
        return tuple(kept), beyond

    def take_news(self) -> list[str]:
        """The exchanges that have reached the limit since the last call; each once a day."""
        news, self._news = self._news, []
        return news
