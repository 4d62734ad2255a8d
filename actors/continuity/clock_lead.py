"""How far ahead of our clock an exchange stamps its trades: what leads by much more than its others is doubted.

The host's clock may be wrong by hours, and then all trades lead or lag alike. So a trade is measured against those
of the same exchange: the greatest lead of the last minutes is what is believed. A trade that leads by more than
SLACK_NS beyond is held; RESET_ROWS of them, more than there were others since the first, show that a clock was set,
and are taken. Else they are refused when HOLD_S is over, if other trades came meanwhile or if the time lies in our
future as well; with nothing to measure by, they are taken.
"""

from actors.continuity.row import HOLD_S, RESET_ROWS, Decided, Refused, Row
from actors.model.ticks import Reason

SLACK_NS = 5_000_000_000  # connections and markets lag behind each other by less
WINDOW_NS = 300_000_000_000  # a clock that was set back is believed after twice this
DOUBTED_MAX = 1_000  # of one exchange


class Lead:
    """Of one exchange. `limit_ns` is how far ahead of its receipt a trade may be stamped."""

    def __init__(self) -> None:
        self.limit_ns = SLACK_NS
        self.doubted: list[tuple[str, Row]] = []  # symbol and row, in the order of arrival
        self._believed: int | None = None  # the greatest lead of this window and of the one before
        self._peak: int | None = None
        self._turn_ns = 0
        self._others = 0  # rows since the first that is doubted

    def saw(self, lead_ns: int, received_ns: int, rows: int) -> None:
        """So many live rows came, the newest with this lead, which is none to doubt."""
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

    def _believe(self) -> None:
        known = [lead for lead in (self._believed, self._peak) if lead is not None]
        self.limit_ns = (max(known) if known else 0) + SLACK_NS

    def doubt(self, symbol: str, row: Row) -> list[tuple[str, Row]]:
        """Holds a row; gives all that are held once they show that a clock was set."""
        if not self.doubted:
            self._others = 0
        self.doubted.append((symbol, row))
        if len(self.doubted) > DOUBTED_MAX:
            return self._take()
        return self._take() if RESET_ROWS <= len(self.doubted) > self._others else []

    def decide(self, now: float, decided: Decided, *, end: bool = False) -> list[tuple[str, Row]]:
        """Gives what has waited long enough and is taken; what is refused goes to `decided`."""
        if not self.doubted or not (end or now - self.doubted[0][1].now >= HOLD_S):
            return []
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
