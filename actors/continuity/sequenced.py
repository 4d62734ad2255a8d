"""Tracks a market whose ids rise by exactly one: the highest id (the mark), and the missing ids below it.

Rules, for an id and the lowest and highest id known:
- above the mark: new; the ids skipped become a missing range, and after REORDER_S a sequence gap. An id more than
  NEAR_IDS above the mark is held until the next rows confirm it (see actors.continuity.unconfirmed);
- in a missing range: new; the range shrinks, and its gap with it;
- below the lowest: new, older than the recording; the ids between were never promised and are no gap;
- anything else: a duplicate. The last two only if the time is not newer than the last trade's (see
  actors.continuity.suspects).
"""

import math
from collections.abc import Iterable

from msgspec.structs import replace

from actors.continuity.missing_ranges import MissingRange
from actors.continuity.proof_pace import ProofPace
from actors.continuity.row import HOLD_S, Row, Verdict
from actors.continuity.sequence_gaps import JUMP_MAX, SequenceGaps
from actors.continuity.suspects import RESET_NS
from actors.continuity.tracker import Shared, Tracker
from actors.continuity.tracker_state import Before, Snapshot, TrackerState
from actors.continuity.unconfirmed import NEAR_IDS, Aside, Held, Waiting
from actors.continuity.unsequenced import UnsequencedTracker
from actors.model.records import FeedEvent, GapReason, GapRow, GapStatus, Proof, decimal

PASSED_MAX = 256  # ids that nothing has confirmed, of stored rows
ODD_KEYS = 128  # ids that are not numbers, remembered although numbers were promised
SPAN_SURE = 100  # a row that stands for more ids must be confirmed too; the most ever recorded is 21


class SequencedTracker(Tracker):
    """The tracker of one market with contiguous ids."""

    def __init__(self, symbol: str, shared: Shared) -> None:
        super().__init__(symbol, shared)
        self.gaps = SequenceGaps(symbol, shared.book)
        self.lowest: int | None = None
        self._mark: int | None = None  # valid only while `marks` has no entry
        self._outage_mark: int | None = None
        self._waiting = Waiting()  # unconfirmed rows above the mark
        self._aside = Aside()  # stored rows that were denied
        self._passed: dict[int, Row] = {}  # by their ids: stored rows with ids that nothing has confirmed
        self._lowered = False
        self._odd: UnsequencedTracker | None = None
        self._id_proof = ProofPace()

    @property
    def mark(self) -> int | None:
        """The highest stored id."""
        expected = self._shared.marks[self.symbol]
        return self._mark if expected is None else expected - 1

    @property
    def last_id(self) -> str | None:
        mark = self.mark
        return None if mark is None else str(mark)

    def restore(self, state: TrackerState, now_ns: int, *, delivered: bool = False) -> None:
        self._mark = state.mark
        self.lowest = 0 if state.lowest is None else state.lowest
        super().restore(state, now_ns, delivered=delivered)
        if state.mark is not None:
            self._id_proof.begin(state.last_ns)
        self._outage_mark = self._mark
        for aside in reversed(state.aside):  # lowest first, as they arrived
            self._waiting.add(replace(aside, mark=state.mark or 0, stored=True))
        self.gaps.restore(state, self.outage, now_ns)
        self.gaps.limit(now_ns, self.outage)
        self._settle()

    def _take_before(self, state: TrackerState, began: Before, gap: str, now_ns: int) -> int | None:
        if state.last_ns is not None:  # otherwise the recording began with what is recorded now
            self.lowest = 0 if state.lowest is None else min(state.lowest, self.lowest or 0)
        self.gaps.restore(state, gap, now_ns)
        if state.mark is None or began.trade_id is None:
            return None
        first, last = state.mark + 1, began.trade_id - 1
        if first <= last:
            born, to_id = float("-inf"), began.row_id or ""
            self.gaps.add(MissingRange(first, last, born, now_ns, state.last_ns, to_id, began.time_ns, gap))
        self.gaps.limit(now_ns, self.outage)
        return max(0, last - first + 1)

    def interrupted(self, reason: GapReason, now_ns: int, since_ns: int | None = None) -> str:
        self._mark = self._outage_mark = self.mark
        gap = super().interrupted(reason, now_ns, since_ns)
        self._settle()
        return gap

    def admit(self, row: Row) -> Verdict:
        number = decimal(row.trade_id)
        if number is None:  # only this row breaks the promise
            if self._odd is None:
                self._odd = UnsequencedTracker(
                    self.symbol, self._shared, sorts=False, keys_min=ODD_KEYS, keys_max=4 * ODD_KEYS
                )
            return self._odd.admit(row)
        passed = self._passed.get(number)
        another = passed is not None and not row.one_trade(passed) and not self._newer(row)
        if row.trade_id in row.known and not (another or self._aside.claims(number)):
            # stored, although it counted as missing
            self._fill(number - row.span + 1, number, row)
            return Verdict.COPY
        mark = self.mark
        if mark is None or self.lowest is None:
            self._begin(row, number, number - row.span + 1)
            return Verdict.NEW
        missing = self.gaps.ranges.find(number)
        if missing is not None and self._newer(row, missing):
            missing = None
        if self._aside.holds(row, number):  # stored: its ids are used, and nothing is stored
            if number <= mark or self._in_reach(row, number, mark):
                self._use(row, number)
            verdict = Verdict.COPY
        elif number > mark:
            verdict = self._above(row, number)
        elif missing is not None or another:
            below = missing or self.gaps.ranges.find(number - 1)
            # stored ids cannot be part of it
            row.span = 1 if below is None else min(row.span, number - below.first + 1)
            self._passed.pop(number, None)
            self._fill(number - row.span + 1, number, row)
            self._raise_newest(row)
            verdict = Verdict.COPY if self._suspects.resolve(row, number) else Verdict.NEW
        else:
            verdict = self._below(row, number)
        if verdict is Verdict.NEW:
            self._aside.drop(number)
        self._pass(mark)
        self.gaps.limit(row.received_ns, self.outage)
        return verdict

    def _newer(self, row: Row, missing: MissingRange | None = None) -> bool:
        """Whether the row is newer than everything that is stored, and that may lie in a missing range."""
        newest_ns = self._newest_ns
        if row.time_ns is None or newest_ns is None or row.source == "backfill":
            return False
        to_ns = None if missing is None else missing.to_ns
        return row.time_ns > RESET_NS + (newest_ns if to_ns is None else max(newest_ns, to_ns))

    def _raise_newest(self, row: Row) -> None:
        """A missing trade may be the newest: copies of it are no older ids after a reset. Of those that connections
        deliver a reset may be the reason, too, unless they are about as old as the last one.
        """
        newest_ns, last_ns = self._newest_ns, self._shared.lasts.get(self.symbol)
        if row.time_ns is None or newest_ns is None or row.time_ns <= newest_ns:
            return
        if row.source == "backfill" or row.time_ns <= (last_ns or 0) + RESET_NS:
            self._shared.highs[self.symbol] = row.time_ns

    def _above(self, row: Row, number: int) -> Verdict:
        waiting = self._waiting
        twin = waiting.find(number)
        self._overtake(number)
        mark = self.mark or 0
        row.span = min(row.span, number - mark)  # stored ids cannot be part of it
        first = number - row.span + 1
        in_reach = self._in_reach(row, number, mark)
        if twin is not None and row.same(twin.row):
            if in_reach:
                self._believe([twin])
            return Verdict.COPY
        if twin is not None:
            waiting.remove(twin)
            self._refuse(twin.row, "another trade with this id came")
        if in_reach:
            self._ahead(row, number, first)
            return Verdict.NEW
        row.mark = mark
        waiting.add(row)
        self._believe(waiting.confirmed(mark))
        if len(waiting) > waiting.rows_max:
            oldest = waiting.oldest(row)
            if oldest.row.stored:  # nothing is left to be decided about it
                self._deny(oldest, "")
            else:
                self._decide(oldest)
        self._settle()
        return Verdict.HELD

    def _in_reach(self, row: Row, number: int, mark: int) -> bool:
        """Whether no other row needs to confirm one above the mark: it skips few ids, and claims few."""
        span = min(row.span, number - mark)
        return number - span <= mark + NEAR_IDS and span <= SPAN_SURE

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
            first, last = number + 1, lowest - 1
            self.gaps.add(
                MissingRange(first, last, row.now, row.received_ns, row.at_ns, str(lowest), None, quiet=True)
            )
        self.lowest, self._lowered = number - row.span + 1, True
        return Verdict.NEW

    def _reset(self, row: Row) -> None:
        """Treats the suspects as the start of a new numbering."""
        rows = self._take_suspects(row)
        self._outage_mark = None  # if the outage goes on, ids do not show how much it misses
        self.gaps.forget_all(row.received_ns, self.outage)
        for held in self._waiting:
            self._refuse(held.row, f"the ids were reset to {rows[0][0]}")
        self._waiting, self._aside, self._passed = Waiting(), Aside(), {}
        self._move(rows[0][1], rows[0][0], rows[0][0] - rows[0][1].span + 1)
        self._id_proof.begin(rows[0][1].at_ns)
        for number, suspect in rows[1:]:
            first = number - suspect.span + 1
            self._ahead(suspect, number, max(first, (self.mark or 0) + 1))
        self._settle()

    # -- rows that are not believed yet -----------------------------------------------------------------

    def _overtake(self, number: int) -> None:
        """Handles a row above some of the waiting rows: those adjacent to the mark were in time."""
        for held in [held for held in self._waiting if held.number < number]:
            if held.follows(self.mark or 0):
                self._believe([held])

    def _pass(self, before: int) -> None:
        """Handles waiting rows that the mark, which was `before`, has passed: they were early, unless trades
        continued below them.
        """
        if not len(self._waiting):
            return
        mark = self.mark or 0
        for held in [held for held in self._waiting if held.number <= mark]:
            if held.number in self.gaps.ranges and not held.denied(before):
                self._believe_alone(held)
            else:
                self._deny(held, "its id was passed by the trades that followed")
        self._settle()

    def _deny(self, held: Held, detail: str) -> None:
        """Rejects a waiting row; a stored one stays stored, and is recognized by its id from now on."""
        self._waiting.remove(held)
        if held.row.stored:
            dropped = self._aside.add(held)
            if dropped is not None and dropped.number <= (self.mark or 0):  # otherwise it would be stored again
                self._use(dropped.row, dropped.number)
        self._refuse(held.row, detail)

    def _believe(self, rows: Iterable[Held]) -> None:
        """Accepts waiting rows, lowest first, as if they arrived now."""
        for held in rows:
            self._waiting.remove(held)
            self._free(held.row)
            self._use(held.row, held.number)
        self._settle()

    def _believe_alone(self, held: Held) -> None:
        """Accepts a row whose ids nothing has confirmed: another trade that has one of them is stored, too."""
        first = self._first_missing(held.row, held.number)
        self._believe([held])
        self._passed.update(dict.fromkeys(range(first, held.number + 1), held.row))
        for number in list(self._passed)[:-PASSED_MAX]:
            del self._passed[number]

    def _use(self, row: Row, number: int) -> None:
        """The ids that the row claims are used: they are missing no longer, or the mark rises to them."""
        mark = self.mark or 0
        if number > mark:
            self._ahead(row, number, max(number - row.span + 1, mark + 1))
        elif number in self.gaps.ranges:
            self._fill(self._first_missing(row, number), number, row)

    def _first_missing(self, row: Row, number: int) -> int:
        """The lowest id that the row claims and that is not stored; a claim of very many is not believed."""
        first = number - row.span + 1 if row.span <= SPAN_SURE else number
        missing = self.gaps.ranges.find(number)
        return first if missing is None else max(first, missing.first)

    def _decide(self, held: Held) -> None:
        """Decides about a row that nothing confirmed: rejects it if trades continued below it, else stores it.

        A row stored this way does not move the mark. What may be missing before it is an outage that the next trade
        ends.
        """
        row, mark, last_ns = held.row, self.mark or 0, self._shared.lasts.get(self.symbol)
        follows, denied = held.follows(mark), held.denied(mark)
        # If trades have reached it, it was early, or its id is invalid: the latter if it is older than they are.
        older = row.time_ns is not None and last_ns is not None and row.time_ns < last_ns
        if follows and not denied:
            self._believe([held])
        elif follows and not older:
            self._believe_alone(held)
        elif denied:
            self._deny(held, f"the id jumps {held.number - row.mark:,} ahead, and trades continued below it")
        else:
            self._free(row)
            if self.outage is None:
                self.interrupted(GapReason.SEQUENCE, row.received_ns)
                # the market is delivered: the history is queried as for a quiet market
                self.carried_ns = row.received_ns
        self._settle()

    def readmit(self, row: Row, snapshot: Snapshot) -> Verdict:
        number, mark = decimal(row.trade_id), snapshot.mark
        if number is None or mark is None or number > mark or number < (self.lowest or 0):
            return self.admit(row)
        if number in self.gaps.ranges or any(first <= number <= last for first, last in snapshot.missing_ranges):
            return self.admit(row)
        return Verdict.NEW  # neither stored nor known to be missing: its range was dropped

    def snapshot(self) -> Snapshot:
        return Snapshot(self.mark, tuple((missing.first, missing.last) for missing in self.gaps.ranges))

    def _begin(self, row: Row, number: int, first: int) -> None:
        if ended := self._ended_by(row):
            self._book.bound(ended, row.received_ns, row.trade_id, row.at_ns, None)
            self.outage = None
        if not self.blind:  # otherwise a recording may exist already
            self._report_feed(FeedEvent.FIRST, row.received_ns, str(first), row.at_ns)
        self._move(row, number, first)
        self._id_proof.begin(row.at_ns)

    def _move(self, row: Row, number: int, lowest: int | None = None) -> None:
        self._shared.marks.pop(self.symbol, None)
        self._mark = number
        self.lowest = self.lowest if lowest is None else lowest
        self._advance(row)
        self._settle()

    def _settle(self) -> None:
        """Sets the mark where the in-order path looks for it, or removes it while something is open."""
        self._mark = self.mark
        odd = len(self._waiting) or self._aside.near(self._mark or 0)
        if not self.unsettled and self._mark is not None and not odd:
            self._shared.marks[self.symbol] = self._mark + 1
        else:
            self._shared.marks.pop(self.symbol, None)

    def _ahead(self, row: Row, number: int, first: int) -> None:
        mark = self.mark or 0
        far = first - mark > JUMP_MAX
        if first > mark + 1:
            from_ns = self._shared.lasts.get(self.symbol)
            missing = MissingRange(
                mark + 1, first - 1, row.now, row.received_ns, from_ns, row.trade_id or "", row.at_ns, quiet=far
            )
            if self.outage is not None and not far:
                missing.gap_id = self.outage
            elif self.outage is None and far:
                self.gaps.report_jump(missing, row.received_ns)
            self.gaps.add(missing)
        if self._ended_by(row):
            self._end_outage(row, first, far)
        self._move(row, number)

    def _end_outage(self, row: Row, first: int, far: bool) -> None:
        gap, self.outage = self.outage or "", None
        left, mark = self.gaps.left(gap), self._outage_mark
        missing = None if far or mark is None else max(0, first - mark - 1)
        # With nothing stored before it, only the history knows how much is missing, not the ids: see _begin.
        unknown = mark is None and not far
        self._book.bound(gap, row.received_ns, row.trade_id, row.at_ns, missing, say=unknown or bool(left))
        if unknown:
            return
        if far:
            self._book.close(gap, GapStatus.UNKNOWN, row.received_ns, keep=bool(left))
            return
        self._book.recovered(gap, (missing or 0) - left)
        self.gaps.close_filled(gap, row.received_ns)

    def _fill(self, first: int, last: int, row: Row) -> None:
        self.gaps.fill(first, last, row, self.outage)

    def resolved(self, gap: str, status: GapStatus, now_ns: int, recovered: int) -> None:
        if gap == self.outage:
            self.outage = None
            self._settle()
        self.gaps.resolved(gap, status, now_ns, recovered)

    def ended(self, gap: str, until_ns: int, recovered: int, now_ns: int) -> None:
        if not self.gaps.left(gap):  # otherwise ids are missing, and the next trade will show it
            self.gaps.forget_count(gap)
            super().ended(gap, until_ns, recovered, now_ns)

    def vanished(self, gap: GapRow) -> None:
        self.gaps.vanished(gap, self.mark)

    def tick(self, now: float, now_ns: int, *, end: bool = False) -> None:
        super().tick(now, now_ns, end=end)
        if self._odd is not None:
            self._odd.tick(now, now_ns, end=end)
        if len(self._waiting):
            mark = self.mark or 0
            for held in [held for held in self._waiting if not held.row.stored]:
                if held in self._waiting and (end or now - held.row.now >= HOLD_S):
                    self._decide(held)
            self._pass(mark)
            for held in [held for held in self._waiting if held.row.stored and held.denied(self.mark or 0)]:
                self._deny(held, "")
            self._settle()
        self.gaps.report_late(math.inf if end else now, now_ns)  # at the end, nothing can come late any more
        if end or self._id_proof.due(now):
            self._prove(now, now_ns)
        if self._lowered:
            self._lowered = False
            self._report_feed(FeedEvent.FIRST, now_ns, str(self.lowest), None)

    def _prove(self, now: float, now_ns: int) -> None:
        """Reports how far the ids are complete. Ids that are missing and belong to no gap yet end that range."""
        last_ns = self._shared.lasts.get(self.symbol)
        if last_ns is None or self._odd is not None:  # then ids are not what was promised
            return
        unreported = [missing for missing in self.gaps.ranges if missing.gap_id is None and not missing.quiet]
        proved = self._id_proof.take(min([last_ns, *(missing.from_ns or 0 for missing in unreported)]), now)
        if proved is not None:
            self.proved(Proof.IDS, *proved, now_ns)
