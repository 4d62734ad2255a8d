"""One trade as the trackers see it, and the verdict on it."""

import enum
from collections.abc import Container
from decimal import Decimal

from msgspec import Struct, field

from actors.model.ticks import Reason

HISTORY_SLACK_NS = 60_000_000_000  # a trade's times in the stream and in the history differ by less
RESET_ROWS = 3  # one or two rows may be damaged frames
HOLD_S = 2.0  # how long a row waits to be confirmed by the next trades; a busy market needs milliseconds


class Verdict(enum.Enum):
    """The verdict on a row."""

    NEW = "new"  # counts as stored from now on
    COPY = "copy"
    HELD = "held"  # until the next rows confirm or deny it, or none arrives


class Row(Struct):
    """One trade, received at `now` on the caller's clock.

    `read` numbers the calls, so that rows of one answer can be recognized; `session` the sessions of connections, 0
    for none. `known` are ids found stored by the caller.
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
    mark: int = -1  # the highest accepted id when it was held
    session: int = 0
    stored: bool = False  # although unconfirmed: nothing that decides about it arrived within HOLD_S

    @property
    def at_ns(self) -> int:
        """The exchange's time, or our time of receipt if there is none."""
        return self.received_ns if self.time_ns is None else self.time_ns

    def same(self, other: "Row") -> bool:
        """Whether the other row, with the same id, is the same trade; only histories format trades differently."""
        history = "backfill" in (self.source, other.source)
        return self._same_time(other, history) and (
            history or not other.content[0] or self.content == other.content
        )

    def one_trade(self, stored: "Row") -> bool:
        """The same by time and amounts, whatever delivers it and however they are formatted there. The amounts of a
        trade that uses up several ids are not compared: they may be of a part.
        """
        if not self._same_time(stored, not self.source == stored.source == "stream"):
            return False
        if self.span > 1 or stored.span > 1 or not stored.content[0]:
            return True
        amounts = zip(self.content[:2], stored.content[:2], strict=True)
        return all(Decimal(mine) == Decimal(other) for mine, other in amounts)

    def _same_time(self, other: "Row", roughly: bool) -> bool:
        if self.time_ns is None or other.time_ns is None:
            return True
        return abs(self.time_ns - other.time_ns) <= (HISTORY_SLACK_NS if roughly else 1_000)


class Refused(Struct, frozen=True):
    """A rejected row: held and then found invalid, or a fill that never met the order book."""

    symbol: str
    row: Row
    reason: Reason
    detail: str


class Decided(Struct):
    """The decisions about held rows since they were last taken: stored, rejected, or copies."""

    freed: list[tuple[str, Row]] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    copies: int = 0

    def free(self, symbol: str, row: Row) -> None:
        """Stores a held row; no effect if it is stored already."""
        if not row.stored:
            row.stored = True
            self.freed.append((symbol, row))

    def refuse(self, symbol: str, row: Row, detail: str) -> None:
        """Rejects a held row; one that is stored stays stored."""
        if not row.stored:
            self.refused.append(Refused(symbol, row, Reason.BAD_ID, detail))

    def take(self) -> "Decided":
        """Returns and clears all decisions."""
        taken = Decided(self.freed, self.refused, self.copies)
        self.freed, self.refused, self.copies = [], [], 0
        return taken
