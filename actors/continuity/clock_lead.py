"""Holds trades stamped implausibly far in the future, compared with the other trades of the exchange.

The host's clock may be wrong by hours, and then all trades lead or lag alike. So a trade is compared with the
others of its exchange: the reference is the greatest lead of the last minutes. A trade that exceeds it by more than
SLACK_NS is held. RESET_ROWS held trades, if they outnumber the other trades since the first of them, prove that a
clock was set; they are then accepted. Otherwise they are rejected after HOLD_S if other trades arrived meanwhile or
if their time lies in our future as well; with no reference they are accepted.
"""

from actors.continuity.row import HOLD_S, RESET_ROWS, Decided, Refused, Row
from actors.model.ticks import Reason

SLACK_NS = 5_000_000_000  # connections and markets differ in lag by less
WINDOW_NS = 300_000_000_000  # a clock set back becomes the reference after twice this
DOUBTED_MAX = 1_000  # per exchange


class Lead:
    """The lead of one exchange's clock. `limit_ns`: how far ahead of its receipt a trade may be stamped."""

    def __init__(self) -> None:
        self.limit_ns = SLACK_NS
        self.doubted: list[tuple[str, Row]] = []  # symbol and row, in order of arrival
        self._believed: int | None = None  # the greatest lead of this window and of the one before
        self._peak: int | None = None
        self._turn_ns = 0
        self._others = 0  # plausible rows since the first held one

    @property
    def greatest_ns(self) -> int:
        """The reference: the greatest lead of the last minutes, 0 if there was no trade."""
        return self.limit_ns - SLACK_NS

    def saw(self, lead_ns: int, received_ns: int, rows: int) -> None:
        """Records `rows` plausible live rows; `lead_ns` is the lead of the newest."""
        if self.doubted:
            self._others += rows
        if received_ns >= self._turn_ns or received_ns < self._turn_ns - WINDOW_NS:
            self._turn_ns, self._believed = received_ns + WINDOW_NS, self._peak
            self._peak = lead_ns
        elif self._peak is None or lead_ns > self._peak:
            self._peak = lead_ns
        else:
            return
        self._believe()

    def jumped(self, jump_ns: int) -> None:
        """This host's clock was set by so much, forward if positive: all leads are smaller by it since."""
        self._peak = None if self._peak is None else self._peak - jump_ns
        self._believed = None if self._believed is None else self._believed - jump_ns
        self._turn_ns += jump_ns
        self._believe()

    def _believe(self) -> None:
        known = [lead for lead in (self._believed, self._peak) if lead is not None]
        self.limit_ns = (max(known) if known else 0) + SLACK_NS

    def doubt(self, symbol: str, row: Row) -> list[tuple[str, Row]]:
        """Holds a row; returns all held rows once they prove that a clock was set."""
        if not self.doubted:
            self._others = 0
        self.doubted.append((symbol, row))
        if len(self.doubted) > DOUBTED_MAX:
            return self._take()
        return self._take() if RESET_ROWS <= len(self.doubted) > self._others else []

    def decide(self, now: float, decided: Decided, *, end: bool = False) -> list[tuple[str, Row]]:
        """Returns the rows accepted after their waiting time; rejected ones are added to `decided`."""
        if not self.doubted or not (end or now - self.doubted[0][1].now >= HOLD_S):
            return []
        if all(_lead(row) <= self.limit_ns for _, row in self.doubted):  # the clock has been set meanwhile
            return self._take()
        known = self._peak is not None
        future = all(_lead(row) > SLACK_NS for _, row in self.doubted)
        if self._others < len(self.doubted) and not (known and future):
            return self._take()
        for symbol, row in self.doubted:
            ahead_s = (_lead(row) - self.limit_ns + SLACK_NS) / 1e9
            detail = f"the time lies {ahead_s:,.0f} s ahead of the exchange's other trades"
            decided.refused.append(Refused(symbol, row, Reason.BAD_TIME, detail))
        self.doubted = []
        return []

    def _take(self) -> list[tuple[str, Row]]:
        rows, self.doubted = self.doubted, []
        self._peak = max(min(_lead(row) for _, row in rows), self._peak or -(2**63))
        self._believe()
        return rows


def _lead(row: Row) -> int:
    return row.at_ns - row.received_ns
