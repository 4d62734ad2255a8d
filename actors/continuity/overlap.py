"""The overlaps of one market to be proved: a session began to deliver it while others seemed to deliver it already.

A connection that hangs without being closed looks like one of a quiet market. So what lies between the newest trade
and the first one of the new session may be missing: it becomes a gap, which is withdrawn once one of the others has
delivered that trade too, or a later one. A connection delivers in order, so it had everything before. The time of
receipt proves nothing: what was received late may have been sent before.
"""

from msgspec import Struct

from actors.continuity.gap_log import GapLog
from actors.continuity.row import Row
from actors.model.records import GapReason, GapStatus


class _Overlap(Struct):
    """`joiner` has begun to deliver, and one of `older` may prove that nothing is missing before. Until its first
    trade `reach_ns` is the newest one of `older` since then; with `first` the `gap` is opened.
    """

    joiner: int
    older: set[int]
    reach_ns: int = -(1 << 63)
    first: Row | None = None
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

    def joined(self, session: int, older: tuple[int, ...]) -> None:
        """The session begins to deliver the market."""
        self._unproven.append(_Overlap(session, set(older)))

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

    def delivered(self, row: Row, last_id: str | None, last_ns: int | None, *, known: bool, outage: bool) -> None:
        """A session delivers a trade, which may be known. The newest one before is given, and whether what follows
        that is a gap already.
        """
        for one in list(self._unproven):
            if one.joiner == row.session and one.first is None:
                self._begin(one, row, last_id, last_ns, known=known, outage=outage)
            elif row.session in one.older and row.source == "stream":
                if one.first is None:
                    one.reach_ns = max(one.reach_ns, row.at_ns)
                elif row.at_ns > one.first.at_ns or (known and _alike(row, one.first)):
                    self._unproven.remove(one)
                    self._book.withdraw(one.gap, row.received_ns)

    def _begin(
        self, one: _Overlap, row: Row, last_id: str | None, last_ns: int | None, *, known: bool, outage: bool
    ) -> None:
        """A trade of a session that has joined: its first one, unless it is older than the newest or known."""
        if row.at_ns < one.reach_ns or (known and row.at_ns == one.reach_ns):
            self._unproven.remove(one)
        elif known or (last_ns is not None and row.at_ns < last_ns):
            return
        elif last_ns is None or outage:
            self._unproven.remove(one)
        else:
            one.first = row
            one.gap = self._book.open(
                self._symbol,
                GapReason.DISCONNECT,
                row.received_ns,
                at_ns=row.received_ns,
                from_id=last_id,
                from_ns=last_ns,
                to_id=row.trade_id,
                to_ns=row.at_ns,
                provisional=True,
            )
            # of a session without a trade of its own it is not known since when it delivers
            one.older -= {other.joiner for other in self._unproven if other.first is None}
            self._keep_gaps()


def _alike(row: Row, other: Row) -> bool:
    return (row.trade_id, row.at_ns, row.content) == (other.trade_id, other.at_ns, other.content)
