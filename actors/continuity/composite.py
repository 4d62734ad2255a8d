"""Tracks a market whose ids do not identify a trade: there are none, or several fills share one.

A trade is then identified by its time, price, volume and side, by its id if several fills share one, and by the
number of its twins before it (see twins). A live trade is dropped only as the copy of a trade delivered by another
session, never because of an earlier one of its own session.
"""

from collections import Counter
from collections.abc import Iterable

from actors.continuity.row import Row, Verdict
from actors.continuity.tracker import Shared
from actors.continuity.twins import StoredTwins, Twins, file_ns, id_of_twins, nth_key, twin_of
from actors.continuity.unsequenced import UnsequencedTracker
from actors.model.records import GapReason
from actors.model.ticks import IdPromise


class CompositeTracker(UnsequencedTracker):
    """The tracker of one market whose trades are identified by all their fields."""

    def __init__(self, symbol: str, shared: Shared, promise: IdPromise) -> None:
        super().__init__(symbol, shared, sorts=False)
        self._promise = promise
        self._twins = Twins()
        self._newest: int | None = None  # the newest trade counted

    def interrupted(self, reason: GapReason, now_ns: int, since_ns: int | None = None) -> str:
        gap = super().interrupted(reason, now_ns, since_ns)
        self._proof = (str(self._newest), gap) if self._newest is not None else None
        return gap

    def admit(self, row: Row) -> Verdict:
        twin, time_ns = self._twin(row), file_ns(row.time_ns)
        nth = self._twins.live(row, twin) if row.source == "stream" else self._twins.again(row, twin)
        if time_ns is None and id_of_twins(row.trade_id, self._promise) is None and row.source == "stream":
            self._count_twin(row, twin)
            return Verdict.NEW  # nothing relates it to the trades of another session
        key = nth_key(twin, nth)
        held, deleted = self._recent.holds(key, time_ns), False
        if isinstance(row.known, StoredTwins):
            if nth <= row.known.count(twin):
                return Verdict.COPY
            deleted = key in row.known.remembered
        if held and not deleted:
            if row.source == "snapshot" and self._proof is not None and str(twin) == self._proof[0]:
                self._proved(row.received_ns)
            return Verdict.COPY
        if not row.known and self._recent.beyond(time_ns):
            self._taken_for_copy(row)
            return Verdict.COPY
        if not held:
            self._remember(key, time_ns, -1)
        self._count_twin(row, twin)
        return Verdict.NEW

    def _twin(self, row: Row) -> int:
        return twin_of(id_of_twins(row.trade_id, self._promise), row.time_ns, *row.content)

    def _count_twin(self, row: Row, twin: int) -> None:
        last_ns = self._shared.lasts.get(self.symbol)
        if last_ns is None or row.time_ns is None or row.time_ns >= last_ns:
            self._newest = twin
        self._count(row)

    def knows(self, row: Row) -> bool:
        twin = self._twin(row)
        return self._recent.holds(nth_key(twin, self._twins.next_live(row, twin)), file_ns(row.time_ns))

    def remembered(self, rows: Iterable[Row]) -> set[int]:
        """The keys (see nth_key) of the rows of one answer that are remembered."""
        numbers, found = Counter[int](), set[int]()
        for row in rows:
            twin = self._twin(row)
            numbers[twin] += 1
            key = nth_key(twin, numbers[twin])
            if self._recent.holds(key, file_ns(row.time_ns)):
                found.add(key)
        return found

    def remembers(self, trade_id: str | None, time_ns: int | None, slack_ns: int = 0) -> bool:
        del trade_id, time_ns, slack_ns
        return False
