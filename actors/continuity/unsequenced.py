"""Tracks a market whose ids only rise or have no order, by remembering its newest trades.

A trade older than the memory reaches is treated as a copy, so nothing is stored twice. If it was a new one, its
loss is not hidden: its time becomes a gap, for which the history is queried and compared with the file.
"""

from actors.continuity.overlap import Overlaps
from actors.continuity.recent_ids import KEYS_MAX, KEYS_MIN, YOUNG_MAX, RecentIds
from actors.continuity.row import HISTORY_SLACK_NS, RESET_ROWS, Row, Verdict
from actors.continuity.tracker import Shared, Tracker
from actors.continuity.tracker_state import Before, TrackerState
from actors.continuity.twins import Twins, nth_key, twin_of
from actors.model.records import GapReason, GapRow, GapStatus, Proof


class UnsequencedTracker(Tracker):
    """The tracker of one market whose ids promise no sequence.

    `sorts`: ids rise. If the exchange sends no times, an id at or below `floor`, where the memory ends, counts as a
    duplicate rather than as new.
    """

    def __init__(
        self,
        symbol: str,
        shared: Shared,
        *,
        sorts: bool,
        keys_min: int = KEYS_MIN,
        keys_max: int = KEYS_MAX,
    ) -> None:
        self._overlaps = Overlaps(symbol, shared.book)
        super().__init__(symbol, shared)
        self._sorts = sorts
        self._recent = RecentIds(keys_min, keys_max)
        self._highest = -1
        self._above = (-1, -1, 0)  # the highest id, the last id below it, and how many rose there
        self._floors = (-1, -1)  # the highest id after the last KEYS_MIN trades, and after the KEYS_MIN before them
        self._added = 0
        self._beyond: tuple[int, int] | None = None  # times of live trades treated as copies: first, last
        self._last_id: str | None = None
        self._nameless = Twins()
        self._proof: tuple[str, str] | None = None  # (last id before, gap): if it is replayed, nothing is missing

    @property
    def mark(self) -> int | None:
        return self._highest

    @property
    def last_id(self) -> str | None:
        return self._last_id

    @property
    def floor(self) -> int:
        """Ids at or below it may have been forgotten."""
        return self._floors[1]

    def restore(self, state: TrackerState, now_ns: int, *, delivered: bool = False) -> None:
        self._last_id = state.last_id
        if state.recent is not None:
            self._recent = state.recent
            self._highest, self._floors = state.highest, (state.floor, state.floor)
        super().restore(state, now_ns, delivered=delivered)
        for row in state.gaps:
            if row.status is not GapStatus.OPEN:
                self._book.drop(row.gap_id)
        going_on = self._book.get(self.outage or "")
        if going_on is not None and self._last_id is not None and going_on.from_id == self._last_id:
            self._proof = (self._last_id, going_on.gap_id)

    def _take_before(self, state: TrackerState, began: Before, gap: str, now_ns: int) -> int | None:
        del gap, now_ns
        if state.recent is not None and began.time_ns is not None:
            self._recent.put_before(state.recent, began.time_ns)
            self._floors = (max(self._floors[0], state.floor), max(self._floors[1], state.floor))
        for row in state.gaps:
            if row.status is not GapStatus.OPEN:
                self._book.drop(row.gap_id)
        return None

    def _rebases(self, gap: GapRow, state: TrackerState) -> bool:
        """Trades stored after the gap began had ended it, but a crash came before that was stored.

        Only this gap records what is missing before them, so it keeps its start and ends later.
        """
        return gap.from_ns is None or state.last_ns is None or state.last_ns < gap.from_ns

    # -- what delivers it -------------------------------------------------------------------------------

    def _note_unsettled(self) -> None:
        super()._note_unsettled()
        self.unsettled |= bool(self._overlaps)

    def carried(self, now_ns: int, session: int) -> None:
        if self.carriers and session:
            self._overlaps.joined(session, self.carriers)
        super().carried(now_ns, session)
        self._note_unsettled()

    def uncarried(self, reason: GapReason, now_ns: int, session: int) -> None:
        self._overlaps.left(session)
        super().uncarried(reason, now_ns, session)
        self._note_unsettled()

    def dropped(self, now_ns: int) -> None:
        self._overlaps.clear()
        super().dropped(now_ns)
        self._note_unsettled()

    def broke(self, session: int) -> None:
        self._overlaps.broke(session)

    def delivered(self, row: Row) -> None:
        super().delivered(row)
        if self._overlaps and row.session:
            last_ns, outage = self._shared.lasts.get(self.symbol), self.outage is not None
            self._overlaps.delivered(row, self._last_id, last_ns, known=self.knows(row), outage=outage)
            self._note_unsettled()

    def interrupted(self, reason: GapReason, now_ns: int, since_ns: int | None = None) -> str:
        gap = super().interrupted(reason, now_ns, since_ns)
        self._proof = (self._last_id, gap) if self._last_id is not None else None
        return gap

    def quick(self, trade_id: str | None, time_ns: int | None) -> bool:
        """Accepts a live row if its id shows that it is certainly new; all others go through `admit`."""
        if trade_id is None or time_ns is None or self.unsettled or self.blind:
            return False
        recent, key = self._recent, hash(trade_id)
        if time_ns < recent.start_ns or key in recent.young:
            return False
        if self._sorts:
            number = _number(trade_id)
            if number <= self._highest:
                return False
            self._highest = number
        recent.young[key] = time_ns
        if len(recent.young) >= YOUNG_MAX:
            recent.turn()
            self._turned(YOUNG_MAX)
        lasts = self._shared.lasts
        last_ns = lasts.get(self.symbol)
        if last_ns is None or time_ns >= last_ns:
            lasts[self.symbol], self._last_id = time_ns, trade_id
        return True

    def admit(self, row: Row) -> Verdict:
        if row.trade_id is None:
            return self._admit_nameless(row)
        if row.trade_id in row.known:
            return Verdict.COPY
        key = hash(row.trade_id)
        # A replay may come after the same trade of a history that cuts its times off.
        slack_ns = 0 if row.source == "stream" else HISTORY_SLACK_NS
        if self._recent.holds(key, row.time_ns, slack_ns):
            if row.source == "snapshot" and self._proof is not None and row.trade_id == self._proof[0]:
                self._proved(row.received_ns)
            return Verdict.COPY
        number = _number(row.trade_id) if self._sorts else -1
        if not row.known and self._recent.beyond(row.time_ns):
            self._taken_for_copy(row)
            return Verdict.COPY
        low = 0 <= number <= self.floor and not row.known
        verdict = self._suspect(row, number, None) if low else None
        if verdict is Verdict.NEW:
            self._reset(row)
        if verdict is not None:
            return verdict
        if low and row.time_ns is None:
            return Verdict.COPY
        if number < self._highest and row.source == "stream":
            self._lower(number)
        self._remember(key, row.time_ns, number)
        if not low:  # otherwise it is late
            self._count(row)
        return Verdict.NEW

    def _reset(self, row: Row) -> None:
        """Treats the suspects as the start of a new numbering."""
        rows = self._take_suspects(row)
        if row.time_ns is None:
            self._recent = RecentIds()
        self._highest, self._floors, self._added = -1, (-1, -1), 0
        for number, suspect in rows:
            self._remember(hash(suspect.trade_id), suspect.time_ns, number)
            self._count(suspect)

    def _lower(self, number: int) -> None:
        """Rows rise below the highest id, and none above it: that id was not of their numbering.

        Ids at or below `floor` count as old, so an id that is far too high must not become the floor.
        """
        if self._highest != self._above[0]:
            self._above = (self._highest, -1, 0)
        highest, last, rows = self._above
        if number <= last:
            return
        self._above = (highest, number, rows + 1)
        if rows + 1 >= RESET_ROWS:
            self._highest = number
            self._floors = (min(self._floors[0], number), min(self._floors[1], number))

    def _taken_for_copy(self, row: Row) -> None:
        if row.source == "stream" and row.time_ns is not None:
            first_ns, last_ns = self._beyond or (row.time_ns, row.time_ns)
            self._beyond = min(first_ns, row.time_ns), max(last_ns, row.time_ns)

    def tick(self, now: float, now_ns: int, *, end: bool = False) -> None:
        """Turns trades treated as copies without being remembered into a gap, for the history and the file to
        decide.
        """
        super().tick(now, now_ns, end=end)
        if self._beyond is None:
            return
        (from_ns, to_ns), self._beyond = self._beyond, None
        self._book.open(
            self.symbol, GapReason.OVERFLOW, now_ns, at_ns=now_ns, from_id=None, from_ns=from_ns, to_ns=to_ns
        )

    def remembers(self, trade_id: str | None, time_ns: int | None, slack_ns: int = 0) -> bool:
        return trade_id is not None and self._recent.holds(hash(trade_id), time_ns, slack_ns)

    def _admit_nameless(self, row: Row) -> Verdict:
        """A row without an id where there should be one: taken, unless it is sent again."""
        twin = twin_of(None, row.time_ns, *row.content)
        twins, live = self._nameless, row.source == "stream"
        nth = twins.live(row, twin) if live else twins.again(row, twin)
        key = nth_key(twin, nth)
        if self._recent.holds(key, row.time_ns):
            if row.source != "stream":
                return Verdict.COPY
        else:
            self._remember(key, row.time_ns, -1)
        self._count(row)
        return Verdict.NEW

    def _remember(self, key: int, time_ns: int | None, number: int) -> None:
        self._recent.add(key, time_ns)
        self._highest = max(self._highest, number)
        self._turned(1)

    def _turned(self, added: int) -> None:
        """Whether ids are so far below those of the last KEYS_MIN trades that they are not merely late."""
        self._added += added
        if self._added >= KEYS_MIN:
            self._added = 0
            self._floors = (self._highest, self._floors[0])

    def _count(self, row: Row) -> None:
        """Counts a new trade, as the newest one unless it is older."""
        last_ns = self._shared.lasts.get(self.symbol)
        if row.time_ns is None and row.source == "backfill":
            return
        if last_ns is not None and row.time_ns is not None and row.time_ns < last_ns:
            return
        if ended := self._ended_by(row):
            self._book.bound(ended, row.received_ns, row.trade_id, row.at_ns, None)
            self.outage = None
        self._last_id = row.trade_id
        self._advance(row)

    def _proved(self, now_ns: int) -> None:
        """A replay reaches back to our last trade: nothing is missing in between."""
        gap = self._proof[1] if self._proof else ""
        self._proof = None
        row = self._book.get(gap)
        if row is not None:
            self.proved(Proof.HISTORY, row.from_ns, row.to_ns, now_ns)
            if gap == self.outage:
                self.outage = None
                last_ns = self._shared.lasts.get(self.symbol)
                self._book.bound(gap, now_ns, self._last_id, last_ns, 0, say=False)
            self._book.close(gap, GapStatus.FILLED, now_ns)

    def resolved(self, gap: str, status: GapStatus, now_ns: int, recovered: int) -> None:
        if gap == self.outage:
            self.outage = None
        self._book.close(gap, status, now_ns, recovered=recovered, keep=gap in self._overlaps)


def _number(trade_id: str) -> int:
    """A rising id as a number, -1 if it is not one."""
    return int(trade_id) if trade_id.isascii() and trade_id.isdecimal() else -1
