"""The continuity of one market, whatever its ids promise: the last trade, outages, and resets of the ids."""

from dataclasses import dataclass, field

from actors.continuity.gap_log import GapLog
from actors.continuity.row import Decided, Row, Verdict
from actors.continuity.suspects import Suspects
from actors.continuity.tracker_state import Before, Snapshot, TrackerState
from actors.model.records import FeedEvent, FeedRow, GapReason, GapRow, GapStatus, decimal

# Of a market that is recorded while the file cannot be read:
BLIND_FRESH_NS = 10_000_000_000  # a live trade is younger; older ones are sent again, which is what comes first ...
BLIND_WAIT_NS = 5_000_000_000  # ... for so long; afterwards it is the clocks that differ
BLIND_LATE_NS = 2_000_000_000  # trades may come so much out of order


class Marks(dict[str, int]):
    """The id that is expected next of each market that is in order; absent while something is open there."""

    def __missing__(self, symbol: str) -> None:
        return None


@dataclass(slots=True)
class Shared:
    """What the tracks of one exchange write to; `marks` and `lasts` are also read and written row by row."""

    exchange: str
    book: GapLog
    marks: Marks = field(default_factory=Marks)
    lasts: dict[str, int | None] = field(default_factory=dict)
    feeds: list[FeedRow] = field(default_factory=list)
    decided: Decided = field(default_factory=Decided)


class Tracker:
    """Base of SequencedTracker and UnsequencedTracker. Others read its fields and write none."""

    def __init__(self, symbol: str, shared: Shared) -> None:
        self.symbol, self._shared, self._book = symbol, shared, shared.book
        self.carriers = 0  # connections that deliver it
        self.carried_ns = 0  # when the youngest of them began to
        self.started_ns: int | None = None  # since when its recording counts as begun
        self.absent = False  # the exchange does not have it: nothing is recorded until it does
        self.outage: str | None = None  # the gap that the next trade ends
        self.blind = False  # whether it is recorded without knowing what is stored, as the file is held
        self.began: Before | None = None  # while it is blind: the first trade that came
        self._seen_ns: int | None = None  # when anything of it came first
        self._blind_gap = ""
        self._suspects = Suspects(symbol, shared.decided)

    @property
    def mark(self) -> int | None:
        """The highest id that is believed, where ids have an order."""
        raise NotImplementedError

    @property
    def last_id(self) -> str | None:
        """The newest stored trade's id."""
        raise NotImplementedError

    def quick(self, trade_id: str | None, time_ns: int | None) -> bool:
        """Takes a live row if it is new beyond doubt; anything else is asked of `admit`."""
        del trade_id, time_ns
        return False

    def admit(self, row: Row) -> Verdict:
        """What becomes of the row; it may shorten `row.span`, which is a claim as well."""
        raise NotImplementedError

    def readmit(self, row: Row, snapshot: Snapshot) -> Verdict:
        """The same for a row that the file does not hold, which had all that had been stored at the snapshot."""
        del snapshot
        return self.admit(row)

    def remembers(self, trade_id: str | None, time_ns: int | None) -> bool:
        """Whether `readmit` would take a row for one that is on its way because its id is known."""
        del trade_id, time_ns
        return False

    def snapshot(self) -> Snapshot:
        """What is in memory now."""
        return Snapshot()

    def tick(self, now: float, now_ns: int, *, end: bool = False) -> None:
        """Decides what has waited long enough: all of it at the `end`."""
        del now_ns
        last_ns = self._shared.lasts.get(self.symbol)
        for row in self._suspects.take_waited(now, self.mark, last_ns, end=end):
            self._free(row)
            self._report_unknown(row)

    def resolved(self, gap: str, status: GapStatus, now_ns: int, recovered: int) -> None:
        """A backfill can do no more for this gap; `recovered` counts where ids do not."""
        raise NotImplementedError

    def restore(self, state: TrackerState, now_ns: int) -> None:
        """Takes up what an earlier run left, and opens what was missed since (or leaves it open)."""
        self._shared.lasts[self.symbol] = state.last_ns
        self._book.restore(state.gaps)
        going_on = [row for row in state.gaps if row.status is GapStatus.OPEN and not row.bounded]
        for row in going_on[:-1]:  # only one can be ended by the next trade
            self._book.close(row.gap_id, GapStatus.UNKNOWN, now_ns)
        if going_on:
            gap = going_on[-1]
            self.outage = gap.gap_id
            if self.last_id is not None and gap.from_id != self.last_id and self._rebases(gap, state):
                self._book.rebase(self.outage, now_ns, self.last_id, state.last_ns)
        elif state.last_ns is not None:
            self.interrupted(GapReason.DOWNTIME, now_ns)

    def vanished(self, gap: GapRow) -> None:
        """Of what was stored this is gone again; the history is asked for it while the gap is open."""
        self._book.take_over(gap)

    # -- while the file is held by another process ----------------------------------------------------

    def passes(self, row: Row) -> bool:
        """While it is blind: whether a row may be taken for one that is not stored yet.

        What is marked as sent again may not, nor what is older than the first trade, which is a fresh one if
        any comes in the first moments. What is refused so lies in the gap that `restore_late` opens.
        """
        if row.source != "stream":
            return bool(row.known)
        if self.began is not None:
            begins_ns = self.began.time_ns
            return row.time_ns is None or begins_ns is None or row.time_ns > begins_ns - BLIND_LATE_NS
        self._seen_ns = self._seen_ns or row.received_ns
        old = row.time_ns is not None and row.received_ns - row.time_ns > BLIND_FRESH_NS
        if old and row.received_ns - self._seen_ns < BLIND_WAIT_NS:
            return False
        number = decimal(row.trade_id)
        self.began = Before(None if number is None else number - row.span + 1, row.time_ns, row.trade_id)
        return True

    def go_blind(self, since_ns: int, now_ns: int) -> None:
        """The file cannot be read: something was stored until about `since_ns`, and is not known."""
        self.blind = True
        self.interrupted(GapReason.DOWNTIME, now_ns, since_ns)
        self._blind_gap = self.outage or ""

    def restore_late(self, state: TrackerState, now_ns: int) -> None:
        """The file can be read at last. `state` is what had been stored before this run began to record."""
        began, self.blind, self.began = self.began, False, None
        gap, book = self._blind_gap, self._book
        if began is None or state.last_ns is None:  # nothing has come yet, or nothing had been stored
            if gap in book:
                book.bound(gap, now_ns, None, now_ns, 0, say=False)
                self.resolved(gap, GapStatus.FILLED, now_ns, 0)
            if began is None:
                self.restore(state, now_ns)
            else:
                self._report_feed(FeedEvent.FIRST, now_ns, began.row_id, began.time_ns)
            return
        book.restore(row for row in state.gaps if row.gap_id not in book)
        from_ns = state.last_ns
        for row in state.gaps:
            if row.status is GapStatus.OPEN and not row.bounded and row.gap_id != self.outage:
                from_ns = from_ns if row.from_ns is None else min(from_ns, row.from_ns)
                book.bound(row.gap_id, now_ns, began.row_id, began.time_ns, None, say=False)
                book.close(row.gap_id, GapStatus.UNKNOWN, now_ns)
        if gap not in book:
            gap = book.open(self.symbol, GapReason.DOWNTIME, now_ns, at_ns=now_ns, from_id=None, from_ns=from_ns)
        book.rebase(gap, now_ns, state.last_id if state.mark is None else str(state.mark), from_ns)
        missing = self._take_before(state, began, gap, now_ns)
        book.bound(gap, now_ns, began.row_id, began.time_ns or now_ns, missing)
        if missing == 0:
            book.close(gap, GapStatus.FILLED, now_ns)

    def _take_before(self, state: TrackerState, began: Before, gap: str, now_ns: int) -> int | None:
        """Adds what the state knows below what is known; returns how many trades lie in between, if ids say so."""
        raise NotImplementedError

    def started(self, now_ns: int) -> None:
        """It is delivered: from the first time on its recording counts as begun."""
        if self.started_ns is None and not self.absent:
            self.started_ns = now_ns
            self._report_feed(FeedEvent.STARTED, now_ns, None, None)

    def stopped(self, now_ns: int) -> None:
        """Its recording ends in good order."""
        if self.started_ns is not None:
            self.started_ns = None
            self._report_feed(FeedEvent.STOPPED, now_ns, None, None)

    # -- what delivers it -------------------------------------------------------------------------------

    def carried(self, now_ns: int) -> None:
        """One more connection delivers it."""
        self.carriers += 1
        self.carried_ns = now_ns
        self.started(now_ns)

    def uncarried(self, reason: GapReason, now_ns: int) -> None:
        """A connection delivers it no more; the last one opens a gap."""
        self.carriers = max(0, self.carriers - 1)
        if not self.carriers and self.outage is None and not self.absent:
            self.interrupted(reason, now_ns)

    def dropped(self, now_ns: int) -> None:
        """It is not recorded any more."""
        self.carriers = 0
        self.stopped(now_ns)

    def became_absent(self, now_ns: int) -> None:
        """The exchange does not have it: what was taken for a record of it is none, and it ends."""
        since_ns = self.started_ns
        if self.outage is not None:
            self._close_unknown(self.outage, now_ns)
        if since_ns is not None:
            self._close_unknown(self.interrupted(GapReason.REJECTED, now_ns, since_ns), now_ns)
        self.stopped(now_ns)
        self.absent = True

    def _close_unknown(self, gap: str, now_ns: int) -> None:
        self._book.bound(gap, now_ns, None, now_ns, None, say=False)
        self.resolved(gap, GapStatus.UNKNOWN, now_ns, 0)

    def became_present(self, now_ns: int) -> None:
        """The exchange has it after all: the record begins."""
        self.absent = False
        if self.carriers:
            self.started(now_ns)

    def _rebases(self, gap: GapRow, state: TrackerState) -> bool:
        """Whether a gap that goes on begins with the last trade stored; what lies before is known otherwise."""
        del gap, state
        return True

    def interrupted(self, reason: GapReason, now_ns: int, since_ns: int | None = None) -> str:
        """Trades may be missed from the last one on, until the next comes. Asked only when none is open.

        Where there was none, from `since_ns` on, or from now. Returns the gap's id.
        """
        last_ns = self._shared.lasts.get(self.symbol)
        self.outage = self._book.open(
            self.symbol,
            reason,
            now_ns,
            at_ns=now_ns,
            from_id=self.last_id,
            from_ns=(since_ns or now_ns) if last_ns is None else last_ns,
        )
        return self.outage

    def ended(self, gap: str, until_ns: int, recovered: int, now_ns: int) -> None:
        """Up to this time the history has no trade that is not stored: an outage is over without a next one."""
        if gap == self.outage:
            self._book.bound(gap, now_ns, None, until_ns, recovered, say=False)
            self.resolved(gap, GapStatus.FILLED, now_ns, recovered)

    def _advance(self, row: Row) -> None:
        self._shared.lasts[self.symbol] = row.at_ns
        self._suspects.trades_go_on()

    def _settle(self) -> None:
        """An outage may have begun or ended."""

    def _free(self, row: Row) -> None:
        self._shared.decided.free(self.symbol, row)

    def _refuse(self, row: Row, detail: str) -> None:
        self._shared.decided.refuse(self.symbol, row, detail)

    # -- resets --------------------------------------------------------------------------------------

    def _suspect(self, row: Row, number: int, lowest: int | None) -> Verdict | None:
        """Judges a row with an id that is too low, see Suspects.judge."""
        return self._suspects.judge(row, number, lowest, self.mark, self._shared.lasts.get(self.symbol))

    def _take_suspects(self, row: Row) -> list[tuple[int, Row]]:
        """Ids were started again: reports it, frees the suspects but `row`, and gives all, lowest first."""
        rows = self._suspects.rows()
        first = min((suspect for _, suspect in rows), key=lambda suspect: suspect.received_ns)
        self._report_unknown(rows[0][1])
        since_ns = min(suspect.at_ns for _, suspect in rows)
        self._report_feed(FeedEvent.RESET, first.received_ns, rows[0][1].trade_id, since_ns)
        for _, suspect in rows:
            if suspect is not row:
                self._free(suspect)
        self._suspects.clear()
        return rows

    def _report_unknown(self, row: Row) -> None:
        """Nobody can know what lies between the former ids and the row: one gap records that."""
        if not self._suspects.report():
            return
        book, last_ns = self._book, self._shared.lasts.get(self.symbol)
        gap = self.outage or book.open(
            self.symbol,
            GapReason.SEQUENCE,
            row.received_ns,
            at_ns=row.received_ns,
            from_id=self.last_id,
            from_ns=last_ns,
        )
        book.bound(gap, row.received_ns, row.trade_id, row.at_ns, None, say=False)
        book.close(gap, GapStatus.UNKNOWN, row.received_ns)
        self.outage = None
        self._settle()

    def _report_feed(self, event: FeedEvent, at_ns: int, trade_id: str | None, time_ns: int | None) -> None:
        self._shared.feeds.append(
            FeedRow(at_ns, self._shared.exchange, self.symbol, event, trade_id=trade_id, time_ns=time_ns)
        )
