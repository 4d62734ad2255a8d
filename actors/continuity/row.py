"""One trade as continuity sees it."""

from collections.abc import Container
from dataclasses import dataclass

HISTORY_SLACK_NS = 60_000_000_000  # the stream's time of a trade and the history's differ by less


@dataclass(slots=True)
class Row:
    """One trade as the continuity sees it, at `now` on the caller's clock.

    `read` numbers the calls, so that one answer is known as one. `known` are ids that somebody found stored.
    """

    trade_id: str | None
    span: int
    time_ns: int | None
    received_ns: int
    now: float
    source: str
    content: tuple[str, str, str | None]
    read: int = 0
    known: Container[str] = ()
    mark: int = -1  # the highest id believed when it was held
    stored: bool = False  # although it is not believed: nothing came for HOLD_S that would have decided

    @property
    def at_ns(self) -> int:
        """Its time, ours where the exchange has none."""
        return self.received_ns if self.time_ns is None else self.time_ns

    def same(self, other: "Row") -> bool:
        """Whether the other, with the same id, is the same trade; only histories word it differently."""
        if self.time_ns is not None and other.time_ns is not None:
            slack_ns = HISTORY_SLACK_NS if "backfill" in (self.source, other.source) else 1_000
            if abs(self.time_ns - other.time_ns) > slack_ns:
                return False
        return "backfill" in (self.source, other.source) or not other.content[0] or self.content == other.content
