"""Continuity where each id is the one before plus one: a mark, the missing ranges below it, and nothing else to
keep.

Rules, for an id and the lowest id and mark (the highest) known:
- above the mark: new; ids passed over become a missing range, and after REORDER_S a gap; further than NEAR_IDS
  above it is held until the next rows confirm it (see actors.continuity.unconfirmed);
- in a missing range: new; the missing range shrinks, and its gap with it;
- below the lowest: new, older than the record; what lies between was never promised and is no gap;
- anything else: a duplicate. The last two only if the time is not newer than the last trade's (see Tracker).
"""

from collections.abc import Iterable
from dataclasses import replace

from actors.continuity.missing_ranges import MissingRange, MissingRanges
from actors.continuity.row import HOLD_S, Row, Verdict
from actors.continuity.suspects import RESET_NS
from actors.continuity.tracker import Shared, Snapshot, Tracker
from actors.continuity.tracker_state import Before, TrackerState
from actors.continuity.unconfirmed import NEAR_IDS, Aside, Held, Waiting
from actors.continuity.unsequenced import UnsequencedTracker
from actors.model.records import FeedEvent, GapReason, GapRow, GapStatus, decimal

REORDER_S = 2.0  # ids that are out of order for no longer are late, not missing
HOLES_MAX = 256  # of one market; with their gaps about 190 KiB. Beyond, the oldest can no longer be filled
APART_MAX = 8  # missing ranges due at once that are told apart; more become one gap with their sum
ODD_KEYS = 128  # ids that are no numbers, remembered where only numbers were promised
SPAN_SURE = 100  # a row that stands for more ids must be confirmed as well; 21 is the most that was recorded
JUMP_MAX = 10_000_000  # ids do not jump so far by loss: what lies between is unknown rather than missing


class SequencedTracker(Tracker):
    """One market with contiguous ids."""

    def __init__(self, symbol: str, shared: Shared) -> None:
        super().__init__(symbol, shared)
        self.missing_ranges = MissingRanges()
        self.lowest: int | None = None
        self._mark: int | None = None  # the truth only while `marks` has none
        self._outage_mark: int | None = None
        self._waiting = Waiting()  # rows above the mark that are not believed
        self._aside = Aside()  # stored ones that were denied
        self._left: dict[str, int] = {}  # ids of each gap that lie in missing ranges
        self._cut: set[str] = set()  # gaps of which a missing range was forgotten
        self._lowered = False
        self._odd: UnsequencedTracker | None = None

    @property
    def mark(self) -> int | None:
        """The highest id stored."""
        expected = self._shared.marks[self.symbol]
        return self._mark if expected is None else expected - 1

    @property
    def last_id(self) -> str | None:
        mark = self.mark
        return None if mark is None else str(mark)

    def restore(self, seed: TrackerState, now_ns: int) -> None:
        self._mark = seed.mark
        self.lowest = 0 if seed.lowest is None else seed.lowest
        super().restore(seed, now_ns)
        self._outage_mark = self._mark
        for aside in seed.aside:
            self._waiting.add(replace(aside, mark=seed.mark or 0, stored=True))
        self._take_missing_ranges(seed, self.outage, now_ns)
        self._limit(now_ns)
        self._settle()

    def _take_before(self, seed: TrackerState, began: Before, gap: str, now_ns: int) -> int | None:
        self.lowest = 0 if seed.lowest is None else min(seed.lowest, self.lowest or 0)
        self._take_missing_ranges(seed, gap, now_ns)
        if seed.mark is None or began.trade_id is None:
            return None
        missing = max(0, began.trade_id - seed.mark - 1)
        if missing:
            missing_range = MissingRange(
                seed.mark + 1,
                began.trade_id - 1,
                float("-inf"),
                now_ns,
                seed.last_ns,
                began.row_id or "",
                began.time_ns,
                gap,
            )
            self.missing_ranges.add(missing_range)
            self._left[gap] = missing
        self._limit(now_ns)
        return missing

    def _take_missing_ranges(self, seed: TrackerState, outage: str | None, now_ns: int) -> None:
        for missing_range in seed.missing_ranges:
            if missing_range.gap_id is not None and missing_range.gap_id not in self._book:
                missing_range.gap_id = None
            self.missing_ranges.add(missing_range)
            if missing_range.gap_id is not None:
                self._left[missing_range.gap_id] = self._left.get(missing_range.gap_id, 0) + missing_range.count
        for row in seed.gaps:
            if row.gap_id != outage and row.gap_id in self._book:
                self._take_up(row, seed.left.get(row.gap_id, 0), seed.mark, now_ns)

    def _take_up(self, row: GapRow, left: int, mark: int | None, now_ns: int) -> None:
        """Goes on with a gap of which the file lacks `left` ids; it is filled only if there are none.

        Of those for which there is no room, or whose end never reached the file, nobody can know any more.
        """
        gap, kept = row.gap_id, self._left.get(row.gap_id, 0)
        whole = mark is not None and (decimal(row.to_id) or 0) <= mark
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

    def admit(self, row: Row) -> Verdict:
        number = decimal(row.trade_id)
        if number is None:  # the promise is broken by this row alone
            if self._odd is None:
                self._odd = UnsequencedTracker(
                    self.symbol, self._shared, sorts=False, keys_min=ODD_KEYS, keys_max=4 * ODD_KEYS
                )
            return self._odd.admit(row)
        if row.trade_id in row.known:  # stored, though it was taken for missing
            self._fill(number - row.span + 1, number, row)
            return Verdict.COPY
        mark = self.mark
        if mark is None or self.lowest is None:
            self._begin(row, number, number - row.span + 1)
            return Verdict.NEW
        missing_range = self.missing_ranges.find(number)
        if missing_range is not None and self._newer(row, missing_range):
            missing_range = None
        if self._aside.holds(row, number):
            verdict = self._known(row, number, mark)
        elif number > mark:
            verdict = self._above(row, number)
        elif missing_range is not None:
            row.span = min(row.span, number - missing_range.first + 1)  # it cannot stand for ids that are stored
            self._fill(number - row.span + 1, number, row)
            verdict = Verdict.NEW
        else:
            verdict = self._below(row, number)
        self._limit(row.received_ns)
        return verdict

    def _newer(self, row: Row, missing_range: MissingRange) -> bool:
        """Whether the row is newer than all that may lie in a missing range."""
        last_ns = self._shared.lasts.get(self.symbol)
        if row.time_ns is None or last_ns is None or row.source == "backfill":
            return False
        return row.time_ns > RESET_NS + (
            last_ns if missing_range.to_ns is None else max(last_ns, missing_range.to_ns)
        )

    def _above(self, row: Row, number: int) -> Verdict:
        waiting = self._waiting
        twin = waiting.find(number)
        self._overtake(number)
        mark = self.mark or 0
        row.span = min(row.span, number - mark)  # it cannot stand for ids that are stored
        first = number - row.span + 1
        in_reach = first <= mark + 1 + NEAR_IDS and row.span <= SPAN_SURE
        if twin is not None and row.same(twin.row):
            if in_reach:
                self._believe([twin])
            return Verdict.COPY
        if twin is not None:
            waiting.remove(twin)
            self._refuse(twin.row, "another trade with this id came")
        if in_reach:
            self._ahead(row, number, first)
            self._pass(mark)
            self._settle()
            return Verdict.NEW
        row.mark = mark
        waiting.add(row)
        self._believe(waiting.confirmed(mark), row)
        if len(waiting) > waiting.rows_max:
            self._decide(waiting.oldest())
        self._settle()
        return Verdict.NEW if row.stored else Verdict.HELD

    def _known(self, row: Row, number: int, mark: int) -> Verdict:
        """A row that was stored and then denied comes again: its id is taken, and nothing is stored."""
        if number in self.missing_ranges:
            self._fill(number, number, row)
        elif mark < number <= mark + 1 + NEAR_IDS:
            self._ahead(row, number, number)
            self._pass(mark)
            self._settle()
        return Verdict.COPY

    def _below(self, row: Row, number: int) -> Verdict:
        lowest = self.lowest or 0
        verdict = self._suspect(row, number, lowest)
        if verdict is Verdict.NEW:
            self._reset(row)
        if verdict is not None:
            return verdict
        if number >= lowest:
            return Verdict.COPY
        if number < lowest - 1:
            missing_range = MissingRange(
                number + 1, lowest - 1, row.now, row.received_ns, row.at_ns, str(lowest), None, quiet=True
            )
            self.missing_ranges.add(missing_range)
        self.lowest, self._lowered = number - row.span + 1, True
        return Verdict.NEW

    def _reset(self, row: Row) -> None:
        """The suspects are the beginning of another numbering."""
        rows = self._take_suspects(row)
        self._forget_all(row.received_ns)
        for held in self._waiting:
            self._refuse(held.row, f"the ids were started again at {rows[0][0]}")
        self._waiting, self._aside = Waiting(), Aside()
        self._move(rows[0][1], rows[0][0], rows[0][0] - rows[0][1].span + 1)
        for number, suspect in rows[1:]:
            first = number - suspect.span + 1
            self._ahead(suspect, number, max(first, (self.mark or 0) + 1))
        self._settle()

    # -- rows that are not believed yet -----------------------------------------------------------------

    def _overtake(self, number: int) -> None:
        """A row comes that lies above some of those that wait: what follows the mark was in time."""
        for held in [held for held in self._waiting if held.number < number]:
            if held.follows(self.mark or 0):
                self._believe([held])

    def _pass(self, before: int) -> None:
        """The mark has moved above some of those that wait: they were early, unless trades went on below them."""
        mark = self.mark or 0
        for held in [held for held in self._waiting if held.number <= mark]:
            if held.number in self.missing_ranges and not held.denied(before):
                self._believe([held])
            else:
                self._deny(held, "its id was passed by the trades that followed")

    def _deny(self, held: Held, detail: str) -> None:
        """Refuses a row that waits; one that is stored stays so, and is known again by its id."""
        self._waiting.remove(held)
        if held.row.stored:
            self._aside.add(held)
        self._refuse(held.row, detail)

    def _believe(self, rows: Iterable[Held], arrived: Row | None = None) -> None:
        """Takes rows that wait, lowest first, as if they came now; `arrived` is the one that the caller returns."""
        for held in rows:
            self._waiting.remove(held)
            if held.row is arrived:
                held.row.stored = True
            self._free(held.row)
            mark = self.mark or 0
            if held.number > mark:
                self._ahead(held.row, held.number, max(held.first, mark + 1))
            elif held.number in self.missing_ranges:
                self._fill(held.number, held.number, held.row)
        self._settle()

    def _decide(self, held: Held) -> None:
        """Nothing came that confirms a row. It is refused if trades went on below it, else stored.

        A stored one does not move the mark. What may be missing before it is an outage that the next trade ends.
        """
        row = held.row
        if held.follows(self.mark or 0):
            self._believe([held])
        elif held.denied(self.mark or 0):
            self._deny(held, f"the id leaps {held.number - row.mark:,} ahead, and trades went on below it")
        else:
            self._free(row)
            if self.outage is None:
                self.interrupted(GapReason.SEQUENCE, row.received_ns)
                self.carried_ns = row.received_ns  # it is delivered: the history is asked as for a quiet market
        self._settle()

    def readmit(self, row: Row, snapshot: Snapshot) -> Verdict:
        number, mark = decimal(row.trade_id), snapshot.mark
        if number is None or mark is None or number > mark or number < (self.lowest or 0):
            return self.admit(row)
        if number in self.missing_ranges or any(first <= number <= last for first, last in snapshot.missing_ranges):
            return self.admit(row)
        return Verdict.NEW  # neither stored nor known to be missing: it was forgotten

    def snapshot(self) -> Snapshot:
        return Snapshot(
            self.mark, tuple((missing_range.first, missing_range.last) for missing_range in self.missing_ranges)
        )

    def _begin(self, row: Row, number: int, first: int) -> None:
        if self.outage is not None and row.source != "backfill":
            self._book.bound(self.outage, row.received_ns, row.trade_id, row.at_ns, None)
            self.outage = None
        if not self.blind:  # else there may be a record already
            self._report_feed(FeedEvent.FIRST, row.received_ns, str(first), row.at_ns)
        self._move(row, number, first)

    def _move(self, row: Row, number: int, lowest: int | None = None) -> None:
        self._shared.marks.pop(self.symbol, None)
        self._mark = number
        self.lowest = self.lowest if lowest is None else lowest
        self._advance(row)
        self._settle()

    def _settle(self) -> None:
        """Puts the mark where the quick way looks for it, or takes it from there while something is open."""
        self._mark = self.mark
        odd = len(self._waiting) or self._aside.near(self._mark or 0)
        if self.outage is None and self._mark is not None and not odd:
            self._shared.marks[self.symbol] = self._mark + 1
        else:
            self._shared.marks.pop(self.symbol, None)

    def _ahead(self, row: Row, number: int, first: int) -> None:
        mark = self.mark or 0
        far = first - mark > JUMP_MAX
        if first > mark + 1:
            from_ns = self._shared.lasts.get(self.symbol)
            missing_range = MissingRange(
                mark + 1, first - 1, row.now, row.received_ns, from_ns, row.trade_id or "", row.at_ns, quiet=far
            )
            if self.outage is not None and not far:
                missing_range.gap_id = self.outage
                self._left[self.outage] = self._left.get(self.outage, 0) + missing_range.count
            elif self.outage is None and far:
                self._open(missing_range, row.trade_id, row.at_ns, row.received_ns, None)
            self.missing_ranges.add(missing_range)
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
        for missing_range, count in self.missing_ranges.take(first, last, row.trade_id or "", row.at_ns):
            gap = missing_range.gap_id
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

    def vanished(self, gap: GapRow) -> None:
        low, high = decimal(gap.from_id), decimal(gap.to_id)
        if low is None or high is None or gap.status is not GapStatus.OPEN or high - low - 1 > JUMP_MAX:
            closed = gap.at_ns if gap.closed_ns is None else gap.closed_ns
            self._book.take_over(replace(gap, status=GapStatus.UNKNOWN, closed_ns=closed))
            return
        first, last = low + 1, min(high - 1, self.mark or 0)
        # What was missing there before stays with its own gap; what no gap names yet is part of this one.
        for missing_range in [
            missing_range
            for missing_range in self.missing_ranges
            if missing_range.last >= first and missing_range.first <= last
        ]:
            if missing_range.gap_id is None and first <= missing_range.first and missing_range.last <= last:
                self.missing_ranges.remove(missing_range)
        count = 0
        for start, end in self._between_missing_ranges(first, last):
            self.missing_ranges.add(
                MissingRange(start, end, 0.0, gap.opened_ns, gap.from_ns, gap.to_id or "", gap.to_ns, gap.gap_id)
            )
            count += end - start + 1
        self._left[gap.gap_id] = count
        self._book.take_over(replace(gap, missing=count))
        if not count:
            self._done(gap.gap_id, gap.at_ns)

    def _between_missing_ranges(self, first: int, last: int) -> list[tuple[int, int]]:
        """The stretches of ids from `first` to `last` that lie in no missing range."""
        found = []
        for missing_range in list(self.missing_ranges):
            if missing_range.last >= first and missing_range.first <= last:
                if missing_range.first > first:
                    found.append((first, missing_range.first - 1))
                first = missing_range.last + 1
        return [*found, *([(first, last)] if first <= last else [])]

    def tick(self, now: float, now_ns: int, *, end: bool = False) -> None:
        super().tick(now, now_ns, end=end)
        if len(self._waiting):
            mark = self.mark or 0
            for held in [held for held in self._waiting if not held.row.stored]:
                if held in self._waiting and (end or now - held.row.now >= HOLD_S):
                    self._decide(held)
            self._pass(mark)
            for held in self._waiting.take_denied(self.mark or 0):
                self._aside.add(held)
            self._settle()
        if len(self.missing_ranges):
            self._report(
                [missing_range for missing_range in self._young() if now - missing_range.born >= REORDER_S], now_ns
            )
        if self._lowered:
            self._lowered = False
            self._report_feed(FeedEvent.FIRST, now_ns, str(self.lowest), None)

    def _young(self) -> list[MissingRange]:
        return [
            missing_range
            for missing_range in self.missing_ranges
            if missing_range.gap_id is None and not missing_range.quiet
        ]

    def _report(self, missing_ranges: list[MissingRange], now_ns: int) -> None:
        if len(missing_ranges) <= APART_MAX:
            for missing_range in missing_ranges:
                self._open(missing_range, missing_range.to_id, missing_range.to_ns, now_ns, missing_range.count)
        else:
            missing = sum(missing_range.count for missing_range in missing_ranges)
            gap = self._open(missing_ranges[0], missing_ranges[-1].to_id, missing_ranges[-1].to_ns, now_ns, missing)
            for missing_range in missing_ranges[1:]:
                missing_range.gap_id = gap

    def _open(
        self, missing_range: MissingRange, to_id: str | None, to_ns: int | None, now_ns: int, missing: int | None
    ) -> str:
        gap = self._book.open(
            self.symbol,
            GapReason.SEQUENCE,
            missing_range.opened_ns,
            at_ns=now_ns,
            from_id=str(missing_range.first - 1),
            from_ns=missing_range.from_ns,
            to_id=to_id,
            to_ns=to_ns,
            missing=missing,
        )
        if missing is None:
            self._book.close(gap, GapStatus.UNKNOWN, now_ns)
        else:
            missing_range.gap_id, self._left[gap] = gap, missing
        return gap

    def _limit(self, now_ns: int) -> None:
        """Keeps the missing ranges within their number; what is dropped is said before."""
        if len(self.missing_ranges) <= HOLES_MAX:
            return
        self._report(self._young(), now_ns)
        while len(self.missing_ranges) > HOLES_MAX:
            self._forget(min(self.missing_ranges, key=self._worth), now_ns)

    def _worth(self, missing_range: MissingRange) -> tuple[bool, int]:
        row = self._book.get(missing_range.gap_id) if missing_range.gap_id else None
        return row is not None and row.status is GapStatus.OPEN, missing_range.first

    def _forget(self, missing_range: MissingRange, now_ns: int) -> None:
        self.missing_ranges.remove(missing_range)
        gap = missing_range.gap_id
        if gap is None:
            return
        self._left[gap] -= missing_range.count
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
        for missing_range in list(self.missing_ranges):
            self._forget(missing_range, now_ns)
