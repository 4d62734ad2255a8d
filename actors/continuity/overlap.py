"""The overlaps of one market to be proved: a session began to deliver it while others seemed to deliver it already.

A connection that hangs without being closed looks like one of a quiet market. So what lies between the newest trade
and the first one of the new session may be missing: it becomes a gap, which is withdrawn once one of the others
delivers a trade received after the new session began. A connection delivers in order, so it had everything before.
"""

from msgspec import Struct

from actors.continuity.gap_log import GapLog
from actors.continuity.row import Row
from actors.model.records import GapReason, GapStatus


class _Overlap(Struct):
    """`joiner` has delivered since `since_ns` (our clock), and one of `older` may prove that nothing is missing
    before; `gap` is opened with the joiner's first trade.
    """

    joiner: int
    older: set[int]
    since_ns: int
    gap: str = ""


class Overlaps:
    """Rows are passed before they are admitted."""

    __slots__ = ("_book", "_symbol", "_unproven")

    def __init__(self, symbol: str, book: GapLog) -> None:
        self._symbol, self._book = symbol, book
        self._unproven: list[_Overlap] = []

    def __bool__(self) -> bool:
        return bool(self._unproven)

    def __contains__(self, gap: str) -> bool:
        """Whether a gap may still be withdrawn, whatever the history has said."""
        return any(one.gap == gap for one in self._unproven)

    def joined(self, session: int, older: tuple[int, ...], now_ns: int) -> None:
        """The session begins to deliver the market."""
        self._unproven.append(_Overlap(session, set(older), now_ns))

    def left(self, session: int) -> None:
        """The session no longer delivers the market."""
        self._unproven = [one for one in self._unproven if one.joiner != session or one.gap]
        self.broke(session)

    def broke(self, session: int) -> None:
        """The session has lost trades, or will deliver no more: it proves nothing that is unproven now."""
        for one in self._unproven:
            one.older.discard(session)
        self._keep_gaps()

    def clear(self) -> None:
        """The market is no longer recorded."""
        self._unproven = [one for one in self._unproven if one.gap]
        for one in self._unproven:
            one.older.clear()
        self._keep_gaps()

    def _keep_gaps(self) -> None:
        """A gap that nobody can withdraw any more stays."""
        for one in self._unproven:
            row = self._book.get(one.gap)
            if not one.older and row is not None and row.status is not GapStatus.OPEN:
                self._book.drop(one.gap)
        self._unproven = [one for one in self._unproven if one.older or not one.gap]

    def prove(self, row: Row) -> None:
        """A session has delivered a live trade: it overlaps with all that joined before the trade was received."""
        for one in [one for one in self._unproven if row.session in one.older and row.received_ns >= one.since_ns]:
            self._unproven.remove(one)
            if one.gap:
                self._book.withdraw(one.gap, row.received_ns)

    def begins(self, session: int) -> bool:
        """Whether this session has joined and its first trade is to come."""
        return any(one.joiner == session and not one.gap for one in self._unproven)

    def begin(self, row: Row, last_id: str | None, last_ns: int | None, *, known_missing: bool) -> None:
        """The first trade of a session that has joined; the newest one before is given, and whether an outage
        since then is a gap already.
        """
        for one in [one for one in self._unproven if one.joiner == row.session and not one.gap]:
            if last_ns is None or known_missing:
                self._unproven.remove(one)
                continue
            one.gap = self._book.open(
                self._symbol,
                GapReason.DISCONNECT,
                row.received_ns,
                at_ns=row.received_ns,
                from_id=last_id,
                from_ns=last_ns,
                to_id=row.trade_id,
                to_ns=row.at_ns,
                urgent=True,
            )
        self._keep_gaps()
