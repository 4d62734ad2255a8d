"""What the continuity of a market is, whatever its ids promise: the last trade, outages, and resets of the ids.

A live trade whose id is known or lower than all known, but whose time is newer than the last trade's, cannot be
an old one. It is held as a suspect of a reset: the exchange may have started its ids again. RESET_ROWS suspects
with different ids are a reset. Where the former ids go on instead, the suspects are refused. Where nothing follows
for HOLD_S, they are stored, a gap says that what lies before them is unknown, and they remain suspects: nothing
else is derived from them.
"""

import enum
from dataclasses import dataclass, field

from actors.continuity.gap_log import GapLog
from actors.continuity.row import Row
from actors.continuity.tracker_state import Before, TrackerState
from actors.model.records import FeedEvent, FeedRow, GapReason, GapRow, GapStatus, decimal
from actors.model.ticks import Reason

RESET_ROWS = 3  # one or two rows may be damaged frames
RESET_NS = 1_000_000_000  # times of one market are out of order by less: closer to the last trade it may be a copy
RESET_ROWS_TIMELESS = 5_000  # without times only a flood of rows with low ids shows a reset
HOLD_S = 2.0  # what the next trades must confirm waits so long for them; a busy market confirms within milliseconds
SUSPECTS_MAX = 1_000  # held of one market: what a busy one trades within RESET_NS


class Verdict(enum.Enum):
    """What becomes of a row."""

    NEW = "new"  # it counts as stored from now on
    COPY = "copy"
    HELD = "held"  # until the next rows confirm it, or none comes


# Of a market that is recorded while the file cannot be read:
BLIND_FRESH_NS = 10_000_000_000  # a live trade is younger; older ones are sent again, which is what comes first ...
BLIND_WAIT_NS = 5_000_000_000  # ... for so long; afterwards it is the clocks that differ
BLIND_LATE_NS = 2_000_000_000  # trades may come so much out of order


class Marks(dict[str, int]):
    """The id that is expected next of each market that is in order; absent while something is open there."""

    def __missing__(self, symbol: str) -> None:
        return None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was in memory of one market at one moment: ids above `mark` and in `missing_ranges` were not stored
    then.
    """

    mark: int | None = None
    missing_ranges: tuple[tuple[int, int], ...] = ()
    gaps: frozenset[str] = frozenset()  # whose states are kept in memory


@dataclass(frozen=True, slots=True)
class Refused:
    """A held row that turned out to be no sound trade."""

    symbol: str
    row: Row
    reason: Reason
    detail: str


@dataclass(slots=True)
class Decided:
    """What became of rows that were held, since it was last taken: stored, refused, or copies."""

    freed: list[tuple[str, Row]] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    copies: int = 0


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
        self._suspects: dict[int, Row] = {}  # by id, in the order of arrival
        self._suspected: tuple[int | None, int | None] = (None, None)  # the mark and the last time meanwhile
        self._unknown_said = False  # the gap before the suspects
        self._timeless = 0

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
        if not self._suspects:
            return
        if self._suspected != (self.mark, self._shared.lasts.get(self.symbol)):
            self._refuse_suspects()
            return
        waited = [(n, row) for n, row in self._suspects.items() if not row.stored]
        for number, row in waited:
            if end or now - row.now >= HOLD_S:
                if self._maybe_copy(row):
                    del self._suspects[number]
                    self._shared.decided.copies += 1
                else:
                    self._free(row)
                    self._say_unknown(row)

    def resolved(self, gap: str, status: GapStatus, now_ns: int, recovered: int) -> None:
        """A backfill can do no more for this gap; `recovered` counts where ids do not."""
        raise NotImplementedError

    def restore(self, seed: TrackerState, now_ns: int) -> None:
        """Takes up what an earlier run left, and opens what was missed since (or leaves it open)."""
        self._shared.lasts[self.symbol] = seed.last_ns
        self._book.restore(seed.gaps)
        going_on = [row for row in seed.gaps if row.status is GapStatus.OPEN and not row.bounded]
        for row in going_on[:-1]:  # only one can be ended by the next trade
            self._book.close(row.gap_id, GapStatus.UNKNOWN, now_ns)
        if going_on:
            gap = going_on[-1]
            self.outage = gap.gap_id
            if self.last_id is not None and gap.from_id != self.last_id and self._rebases(gap, seed):
                self._book.rebase(self.outage, now_ns, self.last_id, seed.last_ns)
        elif seed.last_ns is not None:
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

    def restore_late(self, seed: TrackerState, now_ns: int) -> None:
        """The file can be read at last. `seed` is what had been stored before this run began to record."""
        began, self.blind, self.began = self.began, False, None
        gap, book = self._blind_gap, self._book
        if began is None or seed.last_ns is None:  # nothing has come yet, or nothing had been stored
            if gap in book:
                book.bound(gap, now_ns, None, now_ns, 0, say=False)
                self.resolved(gap, GapStatus.FILLED, now_ns, 0)
            if began is None:
                self.restore(seed, now_ns)
            else:
                self._say_feed(FeedEvent.FIRST, now_ns, began.row_id, began.time_ns)
            return
        book.restore(row for row in seed.gaps if row.gap_id not in book)
        from_ns = seed.last_ns
        for row in seed.gaps:
            if row.status is GapStatus.OPEN and not row.bounded and row.gap_id != self.outage:
                from_ns = from_ns if row.from_ns is None else min(from_ns, row.from_ns)
                book.bound(row.gap_id, now_ns, began.row_id, began.time_ns, None, say=False)
                book.close(row.gap_id, GapStatus.UNKNOWN, now_ns)
        if gap not in book:
            gap = book.open(self.symbol, GapReason.DOWNTIME, now_ns, at_ns=now_ns, from_id=None, from_ns=from_ns)
        book.rebase(gap, now_ns, seed.last_id if seed.mark is None else str(seed.mark), from_ns)
        missing = self._take_before(seed, began, gap, now_ns)
        book.bound(gap, now_ns, began.row_id, began.time_ns or now_ns, missing)
        if missing == 0:
            book.close(gap, GapStatus.FILLED, now_ns)

    def _take_before(self, seed: TrackerState, began: Before, gap: str, now_ns: int) -> int | None:
        """Adds what the seed knows below what is known; returns how many trades lie in between, if ids say so."""
        raise NotImplementedError

    def started(self, now_ns: int) -> None:
        """It is delivered: from the first time on its recording counts as begun."""
        if self.started_ns is None and not self.absent:
            self.started_ns = now_ns
            self._say_feed(FeedEvent.STARTED, now_ns, None, None)

    def stopped(self, now_ns: int) -> None:
        """Its recording ends in good order."""
        if self.started_ns is not None:
            self.started_ns = None
            self._say_feed(FeedEvent.STOPPED, now_ns, None, None)

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

    def _rebases(self, gap: GapRow, seed: TrackerState) -> bool:
        """Whether a gap that goes on begins with the last trade stored; what lies before is known otherwise."""
        del gap, seed
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
        self._timeless = 0

    def _settle(self) -> None:
        """An outage may have begun or ended."""

    def _free(self, row: Row) -> None:
        """A held row is stored."""
        if not row.stored:
            row.stored = True
            self._shared.decided.freed.append((self.symbol, row))

    def _refuse(self, row: Row, detail: str) -> None:
        """A held row is no sound trade. One that is stored stays so."""
        if not row.stored:
            self._shared.decided.refused.append(Refused(self.symbol, row, Reason.BAD_ID, detail))

    # -- resets --------------------------------------------------------------------------------------

    def _suspect(self, row: Row, number: int, lowest: int | None) -> Verdict | None:
        """Judges a row with an id that is too low; NEW means that ids were started again, None no suspicion."""
        mark, last_ns = self.mark, self._shared.lasts.get(self.symbol)
        if row.source == "backfill":
            return None
        if row.time_ns is None:
            self._timeless += 1
            if self._timeless < RESET_ROWS_TIMELESS:
                return None
            self._suspects = {number: row}
            return Verdict.NEW
        if last_ns is None or row.time_ns <= last_ns:
            return None
        if self._suspected != (mark, last_ns):
            self._refuse_suspects()
            self._suspected = (mark, last_ns)
        twin = self._suspects.get(number)
        if twin is not None:
            if row.same(twin):
                return Verdict.COPY
            self._refuse(twin, "another trade with this id came")
        row.mark = -1 if lowest is None else lowest
        self._suspects[number] = row
        if len(self._suspects) >= RESET_ROWS and not all(map(self._maybe_copy, self._suspects.values())):
            return Verdict.NEW
        if len(self._suspects) > SUSPECTS_MAX:
            self._refuse_suspects()
        return Verdict.HELD

    def _maybe_copy(self, row: Row) -> bool:
        """Whether a suspect may be a copy of a stored trade after all."""
        number, last_ns = decimal(row.trade_id), self._suspected[1]
        return number is not None and number >= row.mark and row.at_ns <= (last_ns or 0) + RESET_NS

    def _refuse_suspects(self) -> None:
        """The former ids go on."""
        for row in self._suspects.values():
            if row.stored:
                continue
            if self._maybe_copy(row):
                self._shared.decided.copies += 1
            else:
                self._refuse(row, f"the id went back below {self._suspected[0]}, and trades went on above it")
        self._suspects, self._unknown_said = {}, False

    def _take_suspects(self, row: Row) -> list[tuple[int, Row]]:
        """Ids were started again: says so, frees the suspects but `row`, and gives all, lowest first."""
        rows = sorted(self._suspects.items(), key=lambda entry: entry[0])
        first = min((suspect for _, suspect in rows), key=lambda suspect: suspect.received_ns)
        self._say_unknown(rows[0][1])
        since_ns = min(suspect.at_ns for _, suspect in rows)
        self._say_feed(FeedEvent.RESET, first.received_ns, rows[0][1].trade_id, since_ns)
        for _, suspect in rows:
            if suspect is not row:
                self._free(suspect)
        self._suspects, self._unknown_said = {}, False
        return rows

    def _say_unknown(self, row: Row) -> None:
        """Nobody can know what lies between the former ids and the row: one gap that says so."""
        if self._unknown_said:
            return
        self._unknown_said = True
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

    def _say_feed(self, event: FeedEvent, at_ns: int, trade_id: str | None, time_ns: int | None) -> None:
        self._shared.feeds.append(
            FeedRow(at_ns, self._shared.exchange, self.symbol, event, trade_id=trade_id, time_ns=time_ns)
        )
