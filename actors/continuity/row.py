"""One trade as continuity sees it, and what becomes of it."""

import enum
from collections.abc import Container
from dataclasses import dataclass, field

from actors.model.ticks import Reason

HISTORY_SLACK_NS = 60_000_000_000  # the stream's time of a trade and the history's differ by less
RESET_ROWS = 3  # one or two rows may be damaged frames
HOLD_S = 2.0  # what the next trades must confirm waits so long for them; a busy market confirms within milliseconds


class Verdict(enum.Enum):
    """What becomes of a row."""

    NEW = "new"  # it counts as stored from now on
    COPY = "copy"
    HELD = "held"  # until the next rows confirm it, or none comes


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


@dataclass(frozen=True, slots=True)
class Refused:
    """A held row that turned out to be no sound trade, or a fill that never met the order book."""

    symbol: str
    row: Row
    reason: Reason
    detail: str


@dataclass(slots=True)
class Decided:
    """What became of rows that were held, since it was last taken: stored, refused, or copies."""

    freed: list[tuple[str, Row]] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    copies: int = 0

    def free(self, symbol: str, row: Row) -> None:
        """A held row is stored; no effect for one that is."""
        if not row.stored:
            row.stored = True
            self.freed.append((symbol, row))

    def refuse(self, symbol: str, row: Row, detail: str) -> None:
        """A held row is no sound trade; one that is stored stays so."""
        if not row.stored:
            self.refused.append(Refused(symbol, row, Reason.BAD_ID, detail))

    def take(self) -> "Decided":
        """Moves all of it out."""
        taken = Decided(self.freed, self.refused, self.copies)
        self.freed, self.refused, self.copies = [], [], 0
        return taken
