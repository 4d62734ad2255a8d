"""The base of all trackers: one market's last trade, its outages, and resets of its ids."""

from collections.abc import Sequence

from msgspec import Struct, field

from actors.continuity.gap_log import GapLog
from actors.continuity.row import Decided, Row, Verdict
from actors.continuity.suspects import Suspects
from actors.continuity.tracker_state import Before, Snapshot, TrackerState
from actors.model.records import FeedEvent, FeedRow, GapReason, GapRow, GapStatus, Proof, decimal

# For a market that is recorded while the file cannot be read:
BLIND_FRESH_NS = 10_000_000_000  # a live trade is younger than this; older ones are a replay, which comes first ...
BLIND_WAIT_NS = 5_000_000_000  # ... and for no longer than this; afterwards the clocks must differ
BLIND_LATE_NS = 2_000_000_000  # trades may be out of order by this much

ON_ITS_WAY_NS = 5_000_000_000  # what is on its way when a market is unsubscribed arrives within this time


class Marks(dict[str, int]):
    """The next expected id of each market that is in order; no entry while something is open there."""

    def __missing__(self, symbol: str) -> None:
        return None


class Shared(Struct):
    """What the trackers of one exchange share; the in-order path also reads and writes `marks` and `lasts`.

    `lasts` has the time of the last trade of each market, `highs` what that was before the exchange's clock was set
    back: trades that are sent again may be as new.
    """

    exchange: str
    book: GapLog
    marks: Marks = field(default_factory=Marks)
    lasts: dict[str, int | None] = field(default_factory=dict)
    highs: dict[str, int] = field(default_factory=dict)
    feeds: list[FeedRow] = field(default_factory=list)
    decided: Decided = field(default_factory=Decided)
    live: dict[str, "Tracker"] = field(default_factory=dict)  # those whose recording has not ended
    ending: dict[str, "Tracker"] = field(default_factory=dict)  # those that ended, until that is reported


class Tracker:
    """Base of SequencedTracker and UnsequencedTracker. Others read its fields and never write them."""

    def __init__(self, symbol: str, shared: Shared) -> None:
        self.symbol, self._shared, self._book = symbol, shared, shared.book
        self.carriers: tuple[int, ...] = ()  # the sessions that deliver it, longest first
        self.carried_ns = 0  # when the youngest of them began to deliver
        self.started_ns: int | None = None  # when its recording began
        self.recorded_ns: int | None = None  # the same, also of a recording that has ended
        self._ended_ns: int | None = None  # when it ended, until that is reported: more may be on its way ...
        self._enders: tuple[int, ...] = ()  # ... of these sessions, which delivered it until then
        self._latest_ns = 0  # the latest time that this host's clock showed before it was set
        self.absent = False  # the exchange does not list it: nothing is recorded until it does
        self.unsettled = False  # whether the next row may end an outage, prove an overlap, or come after the end
        self._outage: str | None = None
        self.blind = False  # whether it is recorded without knowing what is stored, because the file is locked
        self.began: Before | None = None  # while blind: the first trade received
        self._seen_ns: int | None = None  # when its first trade arrived
        self.blind_gap: str | None = None  # while blind: the gap that begins with the last stored trade
        self._suspects = Suspects(symbol, shared.decided)

    @property
    def outage(self) -> str | None:
        """The gap that ends with the next trade of a session that delivers the market."""
        return self._outage

    @outage.setter
    def outage(self, gap: str | None) -> None:
        self._outage = gap
        self._note_unsettled()

    def _note_unsettled(self) -> None:
        self.unsettled = self._outage is not None or self._ended_ns is not None

    @property
    def mark(self) -> int | None:
        """The highest accepted id, if ids have an order."""
        raise NotImplementedError

    @property
    def last_id(self) -> str | None:
        """The id of the newest stored trade."""
        raise NotImplementedError

    def admit(self, row: Row) -> Verdict:
        """The verdict on a row; may reduce `row.span`, which is unverified too."""
        raise NotImplementedError

    def delivered(self, row: Row) -> None:
        """A session has delivered this row. Called before it is admitted while the market is unsettled."""
        if self._ended_ns is None or row.session not in self._enders:
            return
        if row.received_ns - self._ended_ns < ON_ITS_WAY_NS:  # otherwise the session had stopped delivering it
            self._ended_ns = max(self._ended_ns, row.received_ns)

    def broke(self, session: int) -> None:
        """A session has lost trades before the row that it delivers now."""

    def readmit(self, row: Row, snapshot: Snapshot) -> Verdict:
        """The verdict on a row that the file, complete up to the snapshot, does not hold."""
        del snapshot
        return self.admit(row)

    def remembers(self, trade_id: str | None, time_ns: int | None, slack_ns: int = 0) -> bool:
        """Whether `readmit` would treat a row as on its way because its id is known."""
        del trade_id, time_ns, slack_ns
        return False

    def knows(self, row: Row) -> bool:
        """Whether a live row that is not admitted yet is the copy of a remembered one."""
        return self.remembers(row.trade_id, row.time_ns)

    def snapshot(self) -> Snapshot:
        """The tracker's memory now."""
        return Snapshot()

    def tick(self, now: float, now_ns: int, *, end: bool = False) -> None:
        """Decides about rows that have waited long enough, with `end` about all."""
        if self._ended_ns is not None and (end or abs(now_ns - self._ended_ns) >= ON_ITS_WAY_NS):
            self.report_end()
        for row in self._suspects.take_waited(now, self.mark, self._newest_ns, end=end):
            self._free(row)
            self._report_unknown(row)

    def resolved(self, gap: str, status: GapStatus, now_ns: int, recovered: int) -> None:
        """The backfill has finished with this gap; `recovered` is the count where ids give none."""
        raise NotImplementedError

    def restore(self, state: TrackerState, now_ns: int, *, delivered: bool = False) -> None:
        """Restores the state of an earlier run, and opens the gap since then (or leaves it open).

        `delivered`: the trades since the last stored one have been delivered, and are about to be admitted.
        """
        self._shared.lasts[self.symbol] = state.last_ns
        if state.last_ns is not None:
            self._shared.highs[self.symbol] = state.last_ns
        self._restore_gaps(state.gaps, state, now_ns)
        going_on = [row for row in state.gaps if row.status is GapStatus.OPEN and not row.bounded]
        for row in going_on[:-1]:  # only one can end with the next trade
            self._book.close(row.gap_id, GapStatus.UNKNOWN, now_ns)
        if going_on:
            gap = going_on[-1]
            self.outage = gap.gap_id
            if self.last_id is not None and gap.from_id != self.last_id and self._rebases(gap, state):
                self._book.rebase(self.outage, now_ns, self.last_id, state.last_ns)
        elif not delivered:
            self.resumed(state.recorded_ns, now_ns)

    def _restore_gaps(self, gaps: Sequence[GapRow], state: TrackerState, now_ns: int) -> None:
        self._book.restore(gaps)
        for row in gaps:
            if row.gap_id in state.rebased:
                self._book.rebase(row.gap_id, now_ns, row.from_id, row.from_ns)

    def resumed(self, recorded_ns: int | None, now_ns: int) -> None:
        """Opens a gap for the time in which it was not recorded, unless one is open or it never was before.

        `recorded_ns` is when the recording before began, None if there was none: if no trade was stored, the first
        one may have been missed at any time since then.
        """
        self._shared.live[self.symbol] = self
        recorded = recorded_ns is not None or self._shared.lasts.get(self.symbol) is not None
        if recorded and self.outage is None:
            self.interrupted(GapReason.DOWNTIME, now_ns, recorded_ns)

    def take_delivery(self, before: "Tracker") -> None:
        """Takes over from an earlier tracker of the market what delivers it, and since when."""
        self.carriers, self.carried_ns = before.carriers, before.carried_ns
        self.started_ns, self.recorded_ns, self.absent = before.started_ns, before.recorded_ns, before.absent

    def vanished(self, gap: GapRow) -> None:
        """The stored trades of this gap have been lost; the history is queried for them while the gap is open."""
        self._book.take_over(gap)

    # -- while the file is held by another process ----------------------------------------------------

    def passes(self, row: Row) -> bool:
        """While blind: whether a row is treated as not stored yet.

        Rows older than the first trade are not, nor rows marked as replayed that are not newer than it. The
        first is a live one if any arrives early on, and ends the outage. Rejected rows lie in `restore_late`'s gap.
        """
        if row.source != "stream":
            return bool(row.known) or self._after_beginning(row)
        if self.began is not None:
            begins_ns = self.began.time_ns
            return row.time_ns is None or begins_ns is None or row.time_ns > begins_ns - BLIND_LATE_NS
        if row.session not in self.carriers:
            return False
        self._seen_ns = self._seen_ns or row.received_ns
        old = row.time_ns is not None and row.received_ns - row.time_ns > BLIND_FRESH_NS
        if old and row.received_ns - self._seen_ns < BLIND_WAIT_NS:
            return False
        number = decimal(row.trade_id)
        self.began = Before(None if number is None else number - row.span + 1, row.time_ns, row.trade_id)
        return True

    def _after_beginning(self, row: Row) -> bool:
        """Whether a row was traded after the first trade of this run, so that no earlier run can have stored it."""
        begins_ns = None if self.began is None else self.began.time_ns
        return begins_ns is not None and row.time_ns is not None and row.time_ns > begins_ns

    def go_blind(self, since_ns: int, now_ns: int) -> None:
        """Starts without a readable file: trades stored until about `since_ns` are unknown."""
        self.blind = True
        self.interrupted(GapReason.DOWNTIME, now_ns, since_ns)
        self.blind_gap = self.outage

    def restore_late(self, state: TrackerState, now_ns: int) -> None:
        """The file has become readable. `state` is what was stored before this run began to record."""
        began, self.blind, self.began = self.began, False, None
        gap, book, self.blind_gap = self.blind_gap or "", self._book, None
        from_ns = state.recorded_ns if state.last_ns is None else state.last_ns
        if began is None or from_ns is None:  # nothing received yet, or nothing was recorded before
            if gap in book:
                book.bound(gap, now_ns, None, now_ns, 0, say=False)
                self.resolved(gap, GapStatus.FILLED, now_ns, 0)
            if began is None:
                self.restore(state, now_ns)
            else:
                self._report_feed(FeedEvent.FIRST, now_ns, began.row_id, began.time_ns)
            return
        if state.last_ns is None:
            self._report_feed(FeedEvent.FIRST, now_ns, began.row_id, began.time_ns)
        self._restore_gaps([row for row in state.gaps if row.gap_id not in book], state, now_ns)
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
        """Adds the state from before this run; returns how many trades lie in between, if ids say so."""
        raise NotImplementedError

    def started(self, now_ns: int) -> None:
        """Delivery has begun: the recording begins with the first call."""
        self.report_end()
        if self.started_ns is None and not self.absent:
            self.started_ns = self.recorded_ns = now_ns
            self._report_feed(FeedEvent.STARTED, now_ns, None, None)

    def describe(self, now_ns: int) -> None:
        """The record goes on in another file: there it begins now."""
        if self.started_ns is not None:
            self._report_feed(FeedEvent.STARTED, now_ns, None, None)

    def clock_jumped(self, jump_ns: int, now_ns: int) -> None:
        """This host's clock was set by `jump_ns` and shows `now_ns`: the recording begins by this clock, too. If it
        shows what it never did before, nothing was recorded since the latest that it did.
        """
        self.report_end()
        self.recorded_ns = None if self.recorded_ns is None else self.recorded_ns + jump_ns
        if self.started_ns is None:
            return
        self.started_ns += jump_ns
        self._latest_ns = max(self._latest_ns, now_ns - jump_ns)
        if jump_ns > 0 and self._latest_ns < now_ns:
            self._report_feed(FeedEvent.STOPPED, self._latest_ns, None, None)
        self._report_feed(FeedEvent.STARTED, now_ns, None, None)

    def stopped(self, now_ns: int) -> None:
        """The recording ends on purpose, with what is on its way."""
        if self.started_ns is not None:
            self.started_ns, self._enders = None, self.carriers
            self._end_at(now_ns)

    def report_end(self) -> None:
        """Reports the end of the recording, if it has ended: whatever still arrives is not part of it."""
        if self._ended_ns is not None:
            self._report_feed(FeedEvent.STOPPED, self._ended_ns, None, None)
            self._end_at(None)

    def _end_at(self, ended_ns: int | None) -> None:
        self._ended_ns = ended_ns
        if ended_ns is None:
            self._shared.ending.pop(self.symbol, None)
        else:
            self._shared.ending[self.symbol] = self
        self._note_unsettled()
        self._settle()

    # -- what delivers it -------------------------------------------------------------------------------

    def carried(self, now_ns: int, session: int) -> None:
        """One more connection delivers this market."""
        self.carriers += (session,)
        self.carried_ns = now_ns
        self._shared.live[self.symbol] = self
        self.started(now_ns)

    def uncarried(self, reason: GapReason, now_ns: int, session: int) -> None:
        """A connection no longer delivers this market; the last one opens a gap."""
        if session in self.carriers:
            at = self.carriers.index(session)
            self.carriers = self.carriers[:at] + self.carriers[at + 1 :]
        if not self.carriers and self.outage is None and not self.absent:
            self.interrupted(reason, now_ns)

    def dropped(self, now_ns: int) -> None:
        """The market is no longer recorded. Whether the exchange lists it is found out again if it ever is."""
        self.stopped(now_ns)
        self.carriers, self.absent = (), False
        self._shared.live.pop(self.symbol, None)

    def delisted(self, until_ns: int, now_ns: int) -> None:
        """It is no longer traded: its recording ends, and an outage with it at `until_ns`, the exchange's time."""
        self.dropped(now_ns)
        if self.outage is not None:
            self._close_unknown(self.outage, until_ns, now_ns)

    def became_absent(self, now_ns: int) -> None:
        """The exchange does not list it: its recording was an error and ends."""
        since_ns = self.started_ns
        if self.outage is not None:
            self._close_unknown(self.outage, now_ns, now_ns)
        if since_ns is not None:
            self._close_unknown(self.interrupted(GapReason.REJECTED, now_ns, since_ns), now_ns, now_ns)
        self.stopped(now_ns)
        self.report_end()  # nothing is on its way
        self.recorded_ns, self.absent = None, True

    def _close_unknown(self, gap: str, until_ns: int, now_ns: int) -> None:
        self._book.bound(gap, now_ns, None, until_ns, None, say=False)
        self.resolved(gap, GapStatus.UNKNOWN, now_ns, 0)

    def became_present(self, now_ns: int) -> None:
        """The exchange lists it after all: its recording begins."""
        self.absent = False
        if self.carriers:
            self.started(now_ns)

    def _rebases(self, gap: GapRow, state: TrackerState) -> bool:
        """Whether a continued gap starts with the last stored trade; what lies before is known otherwise."""
        del gap, state
        return True

    def interrupted(self, reason: GapReason, now_ns: int, since_ns: int | None = None) -> str:
        """Trades may be missing from the last one until the next arrives. Called only if no gap is open.

        Without a last trade the gap starts at `since_ns`, or with the recording. Returns the gap's id.
        """
        last_ns = self._shared.lasts.get(self.symbol)
        self.outage = self._book.open(
            self.symbol,
            reason,
            now_ns,
            at_ns=now_ns,
            from_id=self.last_id,
            from_ns=(since_ns or self.started_ns or now_ns) if last_ns is None else last_ns,
        )
        return self.outage

    def ended(self, gap: str, until_ns: int, recovered: int, now_ns: int) -> None:
        """The history has no unstored trade up to this time: an outage is over without a next trade."""
        if gap == self.outage:
            row = self._book.get(gap)
            self._book.bound(gap, now_ns, None, until_ns, recovered, say=False)
            self.resolved(gap, GapStatus.FILLED, now_ns, recovered)
            self.proved(Proof.HISTORY, row.from_ns if row else None, until_ns, now_ns)

    def _ended_by(self, row: Row) -> str | None:
        """The outage, if a new trade ends it. A trade that was requested does not, nor one of a session that does
        not deliver the market: it was still on its way when the delivery ended, and others follow that are missed.
        """
        return self.outage if row.source != "backfill" and row.session in self.carriers else None

    def _advance(self, row: Row) -> None:
        self._shared.lasts[self.symbol] = row.at_ns
        self._suspects.trades_go_on()

    def _settle(self) -> None:
        """Called when `unsettled` may have changed."""

    def _free(self, row: Row) -> None:
        self._shared.decided.free(self.symbol, row)

    def _refuse(self, row: Row, detail: str) -> None:
        self._shared.decided.refuse(self.symbol, row, detail)

    # -- resets --------------------------------------------------------------------------------------

    @property
    def _newest_ns(self) -> int | None:
        """The newest time of a trade, as far as is known."""
        last_ns = self._shared.lasts.get(self.symbol)
        return None if last_ns is None else max(last_ns, self._shared.highs.get(self.symbol, last_ns))

    def _suspect(self, row: Row, number: int, lowest: int | None) -> Verdict | None:
        """Judges a row with an id that is too low, see Suspects.judge."""
        return self._suspects.judge(row, number, lowest, self.mark, self._newest_ns)

    def _take_suspects(self, row: Row) -> list[tuple[int, Row]]:
        """Reports a reset of the ids, stores the suspects except `row`, and returns all, lowest first."""
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
        """Records one gap for the unknown range between the former ids and the row."""
        if not self._suspects.report():
            return
        book, last_ns, ended = self._book, self._shared.lasts.get(self.symbol), self._ended_by(row)
        gap = ended or book.open(
            self.symbol,
            GapReason.SEQUENCE,
            row.received_ns,
            at_ns=row.received_ns,
            from_id=self.last_id,
            from_ns=last_ns,
        )
        book.bound(gap, row.received_ns, row.trade_id, row.at_ns, None, say=False)
        book.close(gap, GapStatus.UNKNOWN, row.received_ns)
        if ended:
            self.outage = None
        self._settle()

    def proved(self, proof: Proof, from_ns: int | None, until_ns: int | None, now_ns: int) -> None:
        """Nothing but what gaps report is missing in this range. Called after its trades have been admitted."""
        if from_ns is not None and until_ns is not None and from_ns < until_ns:
            self._shared.feeds.append(
                FeedRow(
                    now_ns,
                    self._shared.exchange,
                    self.symbol,
                    FeedEvent.PROVED,
                    time_ns=from_ns,
                    until_ns=until_ns,
                    proof=proof,
                )
            )

    def misses(self, time_ns: int) -> bool:
        """Whether an outage is open that covers this time of the exchange."""
        gap = self._book.get(self.outage or "")
        return gap is not None and (gap.from_ns is None or gap.from_ns <= time_ns)

    def missed(self, reason: GapReason, from_ns: int, to_ns: int, now_ns: int) -> None:
        """Trades of this range of the exchange's times may be missing, which no id bounds."""
        self._book.open(self.symbol, reason, now_ns, at_ns=now_ns, from_id=None, from_ns=from_ns, to_ns=to_ns)

    def _report_feed(self, event: FeedEvent, at_ns: int, trade_id: str | None, time_ns: int | None) -> None:
        self._shared.feeds.append(
            FeedRow(at_ns, self._shared.exchange, self.symbol, event, trade_id=trade_id, time_ns=time_ns)
        )
