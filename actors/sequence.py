"""Continuity where each id is the one before plus one: a mark, the holes below it, and nothing else to keep.

Rules, for an id and the lowest id and mark (the highest) known:
- above the mark: new; ids passed over become a hole, and after REORDER_S a gap;
- in a hole: new; the hole shrinks, and its gap with it;
- below the lowest: new, older than the record; what lies between was never promised and is no gap;
- anything else: a duplicate, unless ids were started anew (see Track).
"""

from actors.coverage import FeedEvent
from actors.gaps import GapReason, GapRow, GapStatus, decimal
from actors.holes import Hole, Holes
from actors.loose import Loose
from actors.seed import Seed
from actors.track import Row, Shared, Snapshot, Track

REORDER_S = 2.0  # ids that are out of order for no longer are late, not missing
HOLES_MAX = 256  # of one market; with their gaps about 190 KiB. Beyond, the oldest can no longer be filled
APART_MAX = 8  # holes due at once that are told apart; more become one gap with their sum
ODD_KEYS = 128  # ids that are no numbers, remembered where only numbers were promised
JUMP_MAX = 10_000_000  # ids do not jump so far by loss: what lies between is unknown rather than missing


class Sequence(Track):
    """One market with contiguous ids."""

    def __init__(self, symbol: str, shared: Shared) -> None:
        super().__init__(symbol, shared)
        self.holes = Holes()
        self.lowest: int | None = None
        self._mark: int | None = None  # the truth only while `marks` has none
        self._outage_mark: int | None = None
        self._left: dict[str, int] = {}  # ids of each gap that lie in holes
        self._cut: set[str] = set()  # gaps of which a hole was forgotten
        self._lowered = False
        self._odd: Loose | None = None

    @property
    def mark(self) -> int | None:
        """The highest id stored."""
        expected = self._shared.marks[self.symbol]
        return self._mark if expected is None else expected - 1

    @property
    def last_id(self) -> str | None:
        mark = self.mark
        return None if mark is None else str(mark)

    def restore(self, seed: Seed, now_ns: int) -> None:
        self._mark = seed.mark
        self.lowest = 0 if seed.lowest is None else seed.lowest
        super().restore(seed, now_ns)
        self._outage_mark = self._mark
        for hole in seed.holes:
            if hole.gap_id is not None and hole.gap_id not in self._book:
                hole.gap_id = None
            self.holes.add(hole)
            if hole.gap_id is not None:
                self._left[hole.gap_id] = self._left.get(hole.gap_id, 0) + hole.count
        for row in seed.gaps:
            if row.gap_id != self.outage and row.gap_id in self._book:
                self._take_up(row, seed.left.get(row.gap_id, 0), now_ns)
        self._limit(now_ns)
        self._settle()

    def _take_up(self, row: GapRow, left: int, now_ns: int) -> None:
        """Goes on with a gap of which the file lacks `left` ids; it is filled only if there are none.

        Of those for which there is no room, or whose end never reached the file, nobody can know any more.
        """
        gap, kept = row.gap_id, self._left.get(row.gap_id, 0)
        whole = self._mark is not None and (decimal(row.to_id) or 0) <= self._mark
        if whole and row.missing:
            self._book.recovered(gap, max(0, row.missing - left) - row.recovered)
        if kept:
            if kept < left or not whole:
                self._cut.add(gap)
        elif row.status is GapStatus.OPEN and (left or not whole):
            self._book.close(gap, GapStatus.UNKNOWN, now_ns)
        elif not left and whole and row.missing and row.status in (GapStatus.OPEN, GapStatus.PARTIAL):
            self._book.close(gap, GapStatus.FILLED, now_ns)
        elif row.status is not GapStatus.OPEN:
            self._book.drop(gap)

    def interrupted(self, reason: GapReason, now_ns: int, since_ns: int | None = None) -> str:
        self._mark = self._outage_mark = self.mark
        gap = super().interrupted(reason, now_ns, since_ns)
        self._settle()
        return gap

    def admit(self, row: Row) -> bool:
        number = decimal(row.trade_id)
        if number is None:  # the promise is broken by this row alone
            if self._odd is None:
                self._odd = Loose(self.symbol, self._shared, sorts=False, keys_min=ODD_KEYS, keys_max=4 * ODD_KEYS)
            return self._odd.admit(row)
        first, mark = number - row.span + 1, self.mark
        if mark is None or self.lowest is None:
            self._begin(row, number, first)
        elif number > mark:
            self._ahead(row, number, first, mark)
        elif number in self.holes:
            self._fill(first, number, row)
        elif self._begins_anew(row, number, mark):
            self._say_reset(row)
            self._forget_all(row.received_ns)
            self._move(row, number, first)
        elif number < self.lowest:
            if number < self.lowest - 1:
                lowest = str(self.lowest)
                self.holes.add(
                    Hole(number + 1, self.lowest - 1, row.now, row.received_ns, row.at_ns, lowest, None, quiet=True)
                )
            self.lowest, self._lowered = first, True
        else:
            return False
        self._limit(row.received_ns)
        return True

    def readmit(self, row: Row, snapshot: Snapshot) -> bool:
        number, mark = decimal(row.trade_id), snapshot.mark
        if number is None or mark is None or number > mark or number < (self.lowest or 0):
            return self.admit(row)
        if number in self.holes or any(first <= number <= last for first, last in snapshot.holes):
            return self.admit(row)
        return True  # neither stored nor known to be missing: it was forgotten

    def snapshot(self) -> Snapshot:
        return Snapshot(self.mark, tuple((hole.first, hole.last) for hole in self.holes))

    def _begin(self, row: Row, number: int, first: int) -> None:
        if self.outage is not None and row.source != "backfill":
            self._book.bound(self.outage, row.received_ns, row.trade_id, row.at_ns, None)
            self.outage = None
        self._say_feed(FeedEvent.FIRST, row.received_ns, str(first), row.at_ns)
        self._move(row, number, first)

    def _move(self, row: Row, number: int, lowest: int | None = None) -> None:
        self._mark = number
        self.lowest = self.lowest if lowest is None else lowest
        self._advance(row)
        self._settle()

    def _settle(self) -> None:
        """Puts the mark where the quick way looks for it, or takes it from there while an outage is open."""
        if self.outage is None and self._mark is not None:
            self._shared.marks[self.symbol] = self._mark + 1
        else:
            self._shared.marks.pop(self.symbol, None)

    def _ahead(self, row: Row, number: int, first: int, mark: int) -> None:
        far = first - mark > JUMP_MAX
        if first <= mark:
            self._fill(first, mark, row)
        elif first > mark + 1:
            from_ns = self._shared.lasts.get(self.symbol)
            hole = Hole(
                mark + 1, first - 1, row.now, row.received_ns, from_ns, row.trade_id or "", row.at_ns, quiet=far
            )
            if self.outage is not None and not far:
                hole.gap_id = self.outage
                self._left[self.outage] = self._left.get(self.outage, 0) + hole.count
            elif self.outage is None and far:
                self._open(hole, row.trade_id, row.at_ns, row.received_ns, None)
            self.holes.add(hole)
        if self.outage is not None and row.source != "backfill":
            self._end_outage(row, first, far)
        self._move(row, number)

    def _end_outage(self, row: Row, first: int, far: bool) -> None:
        gap, self.outage = self.outage or "", None
        left, mark = self._left.get(gap, 0), self._outage_mark
        missing = None if far or mark is None else max(0, first - mark - 1)
        # Where nothing was stored before it, ids do not say how much is missing, but the history does: see _begin.
        unknown = mark is None and not far
        self._book.bound(gap, row.received_ns, row.trade_id, row.at_ns, missing, say=unknown or bool(left))
        if unknown:
            return
        if far:
            self._book.close(gap, GapStatus.UNKNOWN, row.received_ns, keep=bool(left))
            return
        self._book.recovered(gap, (missing or 0) - left)
        self._done(gap, row.received_ns)

    def _fill(self, first: int, last: int, row: Row) -> None:
        for hole, count in self.holes.take(first, last, row.trade_id or "", row.at_ns):
            gap = hole.gap_id
            if gap is not None:
                self._left[gap] -= count
                if gap != self.outage:  # while it is open, what came back is counted at its end
                    self._book.recovered(gap, count)
                    self._done(gap, row.received_ns)

    def _done(self, gap: str, at_ns: int) -> None:
        """Closes a gap of which no id is missing any more, as far as is known."""
        if self._left.get(gap, 0):
            return
        self._left.pop(gap, None)
        status = GapStatus.UNKNOWN if gap in self._cut else GapStatus.FILLED
        self._cut.discard(gap)
        self._book.close(gap, status, at_ns)

    def resolved(self, gap: str, status: GapStatus, now_ns: int, recovered: int) -> None:
        """A backfill can do no more for it: what is missing of it stays fillable as long as there is room."""
        if gap == self.outage:
            self.outage = None
            self._settle()
        counted = gap in self._left
        if status is GapStatus.FILLED and (self._left.get(gap) or gap in self._cut):
            row = self._book.get(gap)  # the history says that it was all: not all of it is stored
            status = GapStatus.PARTIAL if row is not None and row.recovered else GapStatus.LOST
        self._book.close(gap, status, now_ns, recovered=None if counted else recovered, keep=counted)

    def ended(self, gap: str, until_ns: int, recovered: int, now_ns: int) -> None:
        if not self._left.get(gap):  # else ids are missing all the same, and the next trade will tell
            self._left.pop(gap, None)
            super().ended(gap, until_ns, recovered, now_ns)

    def tick(self, now: float, now_ns: int) -> None:
        if len(self.holes):
            self._report([hole for hole in self._young() if now - hole.born >= REORDER_S], now_ns)
        if self._lowered:
            self._lowered = False
            self._say_feed(FeedEvent.FIRST, now_ns, str(self.lowest), None)

    def _young(self) -> list[Hole]:
        return [hole for hole in self.holes if hole.gap_id is None and not hole.quiet]

    def _report(self, holes: list[Hole], now_ns: int) -> None:
        if len(holes) <= APART_MAX:
            for hole in holes:
                self._open(hole, hole.to_id, hole.to_ns, now_ns, hole.count)
        else:
            missing = sum(hole.count for hole in holes)
            gap = self._open(holes[0], holes[-1].to_id, holes[-1].to_ns, now_ns, missing)
            for hole in holes[1:]:
                hole.gap_id = gap

    def _open(self, hole: Hole, to_id: str | None, to_ns: int | None, now_ns: int, missing: int | None) -> str:
        gap = self._book.open(
            self.symbol,
            GapReason.SEQUENCE,
            hole.opened_ns,
            at_ns=now_ns,
            from_id=str(hole.first - 1),
            from_ns=hole.from_ns,
            to_id=to_id,
            to_ns=to_ns,
            missing=missing,
        )
        if missing is None:
            self._book.close(gap, GapStatus.UNKNOWN, now_ns)
        else:
            hole.gap_id, self._left[gap] = gap, missing
        return gap

    def _limit(self, now_ns: int) -> None:
        """Keeps the holes within their number; what is dropped is said before."""
        if len(self.holes) <= HOLES_MAX:
            return
        self._report(self._young(), now_ns)
        while len(self.holes) > HOLES_MAX:
            self._forget(min(self.holes, key=self._worth), now_ns)

    def _worth(self, hole: Hole) -> tuple[bool, int]:
        row = self._book.get(hole.gap_id) if hole.gap_id else None
        return row is not None and row.status is GapStatus.OPEN, hole.first

    def _forget(self, hole: Hole, now_ns: int) -> None:
        self.holes.remove(hole)
        gap = hole.gap_id
        if gap is None:
            return
        self._left[gap] -= hole.count
        self._cut.add(gap)
        if not self._left[gap] and gap != self.outage:
            row = self._book.get(gap)
            if row is not None and row.status is GapStatus.OPEN:
                self._done(gap, now_ns)
            else:
                self._book.drop(gap)
                self._left.pop(gap)
                self._cut.discard(gap)

    def _forget_all(self, now_ns: int) -> None:
        self._report(self._young(), now_ns)
        for hole in list(self.holes):
            self._forget(hole, now_ns)
