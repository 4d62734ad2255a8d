"""The continuity of one exchange: since when each market is recorded without interruption, and what is missing."""

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from itertools import islice

from actors.continuity.agreement import Agreement
from actors.continuity.deduplicator import Deduplicator
from actors.continuity.hold import Hold
from actors.continuity.rejected import RejectedTrades
from actors.continuity.row import Decided
from actors.continuity.sequenced import SequencedTracker
from actors.continuity.tracker_state import Before, Snapshot, TrackerState
from actors.model.records import FeedRow, GapReason, GapRow, GapStatus, Proof
from actors.model.ticks import Block, IdPromise

# Markets that have ended are ticked so much more rarely, in turns: after months there are many thousands of them.
ENDED_TICKS = 16
CLOCKS_NS = 2_000_000_000  # how much the exchange's clock and ours may differ


class Continuity:
    """The continuity of one exchange, shared by its connections and its backfill. No method waits.

    `now` is any monotonic clock, in seconds; `now_ns` nanoseconds UTC. Rows for `gap_states` and `feeds` are
    collected here until they are taken. Rows of trades pass through the `deduplicator`; with `compares`, what each
    session delivers is compared in `agreement` before. While the `hold` is on, what connections deliver, and that
    they do, is kept for later.
    """

    def __init__(self, exchange: str, promises: Mapping[str, IdPromise], *, compares: bool = False) -> None:
        self.deduplicator = Deduplicator(exchange, promises)
        lead = self.deduplicator.lead
        self.agreement = Agreement(self.deduplicator.promises, lead) if compares else None
        self.hold = Hold()
        self._trackers, self._shared = self.deduplicator.trackers, self.deduplicator.shared
        self._rejected = RejectedTrades(self._trackers, lead)
        self._book = self._shared.book
        self._ticks = 0

    @property
    def promises(self) -> Mapping[str, IdPromise]:
        """What each market's ids promise."""
        return self.deduplicator.promises

    def add(self, symbol: str, promise: IdPromise) -> None:
        """Adds a market; keeps its state if it is already known."""
        self.deduplicator.add(symbol, promise)

    def restore(self, states: Iterable[TrackerState], now_ns: int, *, delivered: Collection[str] = ()) -> None:
        """Restores the state stored in the file, before any trade is admitted. Opens a downtime gap for each market
        that was recorded, with or without trades, except for those of which the trades since the last stored one
        have been `delivered`.
        """
        for state in states:
            if state.symbol in self._trackers:
                self._trackers[state.symbol].restore(state, now_ns, delivered=state.symbol in delivered)

    def forget(self, recorded: Collection[str]) -> None:
        """Forgets all that it knows of trades and gaps, to be restored; what delivers the `recorded` markets stays
        known. Other markets become unknown, so that they begin with their stored states.
        """
        self.deduplicator.forget(recorded)
        self._trackers, self._shared = self.deduplicator.trackers, self.deduplicator.shared
        self._book = self._shared.book

    def go_blind(self, symbols: Iterable[str], since_ns: int, now_ns: int) -> None:
        """Starts without a readable file: trades are recorded all the same, until `restore_late`.

        Trades may have been stored until about `since_ns`; everything after that counts as missing for now.
        """
        for symbol in symbols:
            self._trackers[symbol].go_blind(since_ns, now_ns)

    @property
    def blind(self) -> dict[str, Before]:
        """The markets whose stored state is unknown, and where this run began to record each."""
        return {symbol: tracker.began or Before() for symbol, tracker in self._trackers.items() if tracker.blind}

    def begins_unknown(self, gap: GapRow) -> bool:
        """Whether a gap begins with the last stored trade, and the file could not be read yet."""
        tracker = self._trackers.get(gap.symbol)
        return tracker is not None and tracker.blind_gap == gap.gap_id

    def restore_late(self, states: Iterable[TrackerState], asked: Mapping[str, Before], now_ns: int) -> None:
        """Restores the state from before this run; `asked` is the value of `blind` when it was read."""
        for state in states:
            tracker = self._trackers[state.symbol]
            # otherwise its recording has begun meanwhile
            if tracker.blind and (tracker.began or Before()) == asked[state.symbol]:
                tracker.restore_late(state, now_ns)

    # -- connections --------------------------------------------------------------------------------

    def connected(self, symbols: Collection[str], now_ns: int, session: int = 0) -> None:
        """A connection now delivers these markets (acknowledged, or data arrived). Called once per connection and
        symbol, before the data is admitted; `session` numbers its session, from 1.
        """
        if self.hold.on:
            self.hold.keep(partial(self._connected, tuple(symbols), now_ns, session))
        else:
            self._connected(symbols, now_ns, session)

    def _connected(self, symbols: Collection[str], now_ns: int, session: int) -> None:
        if self.agreement is not None:
            self.agreement.joined(session, symbols)
        for symbol in symbols:
            tracker = self._trackers.get(symbol)
            if tracker is not None:
                tracker.carried(now_ns, session)

    def disconnected(
        self,
        symbols: Collection[str],
        now_ns: int,
        reason: GapReason = GapReason.DISCONNECT,
        session: int = 0,
    ) -> None:
        """A connection no longer delivers these markets; the last connection of a market opens a gap."""
        if self.hold.on:
            self.hold.keep(partial(self._disconnected, tuple(symbols), now_ns, reason, session))
        else:
            self._disconnected(symbols, now_ns, reason, session)

    def _disconnected(self, symbols: Collection[str], now_ns: int, reason: GapReason, session: int) -> None:
        self._compared_until_now(symbols, now_ns, session)
        for symbol in symbols:
            tracker = self._trackers.get(symbol)
            if tracker is not None:
                tracker.uncarried(reason, now_ns, session)

    def _compared_until_now(self, symbols: Collection[str], now_ns: int, session: int | None) -> None:
        if self.agreement is not None:
            for symbol, proved in self.agreement.left(symbols, session):
                self._trackers[symbol].proved(Proof.TWO_FEEDS, *proved, now_ns)

    def suspect(self, symbol: str, now_ns: int, reason: GapReason, since_ns: int | None = None) -> None:
        """Opens gaps although no connection closed (a stall, an overflow): trades may be missing.

        A gap starts at the last trade; `since_ns`, the time on our clock since when nothing arrived, is used if
        there is none.
        """
        tracker = self._trackers.get(symbol)
        if tracker is not None and tracker.outage is None:  # one outage makes one gap
            tracker.interrupted(reason, now_ns, since_ns)

    def refused(self, symbol: str, since_ns: int, now_ns: int) -> None:
        """Trades received since then (our clock) were rejected: what followed the last valid one before is missing.

        If there was none before, the range starts with the recording.

        If ids do not count the trades, valid trades between the rejected ones do not end the missing range.
        """
        tracker = self._trackers.get(symbol)
        if tracker is None or tracker.absent:
            return
        from_ns = since_ns - CLOCKS_NS
        if tracker.outage is not None:
            if not (self.counts(symbol) or tracker.misses(from_ns)):  # it began later
                tracker.missed(GapReason.REJECTED, from_ns, self.exchange_ns(now_ns), now_ns)
            return
        gap = tracker.interrupted(GapReason.REJECTED, now_ns, tracker.started_ns or since_ns)
        last_ns = self._shared.lasts.get(symbol)
        if last_ns is not None and last_ns > from_ns and not self.counts(symbol):
            self._book.rebase(gap, now_ns, None, from_ns)

    def absent(self, symbol: str, now_ns: int) -> None:
        """The exchange does not list this market: its recording was an error and ends."""
        tracker = self._trackers.get(symbol)
        if tracker is not None and not tracker.absent:
            tracker.became_absent(now_ns)

    def present(self, symbol: str, now_ns: int) -> None:
        """The exchange lists the market after all: its recording begins."""
        tracker = self._trackers.get(symbol)
        if tracker is not None and tracker.absent:
            tracker.became_present(now_ns)

    def untraded_ns(self, symbol: str) -> int | None:
        """Since when a market that has never traded is delivered; None for all others."""
        tracker = self._trackers.get(symbol)
        if tracker is None or tracker.last_id is not None or self._shared.lasts.get(symbol) is not None:
            return None
        return tracker.carried_ns if tracker.absent else tracker.started_ns

    def dropped(self, symbols: Collection[str], now_ns: int) -> None:
        """These markets are no longer recorded: later silence is no outage."""
        self._compared_until_now(symbols, now_ns, None)
        for symbol in symbols:
            tracker = self._trackers.get(symbol)
            if tracker is not None:
                tracker.dropped(now_ns)

    def delisted(self, symbols: Collection[str], now_ns: int) -> None:
        """The exchange no longer trades these: nothing of them can be missed any more."""
        self._compared_until_now(symbols, now_ns, None)
        for symbol in symbols:
            tracker = self._trackers.get(symbol)
            if tracker is not None:
                tracker.delisted(self.exchange_ns(now_ns), now_ns)

    def wanted_again(self, symbols: Iterable[str], now_ns: int) -> None:
        """These markets were dropped and are recorded again; what happened in between is missing."""
        for symbol in symbols:
            tracker = self._trackers.get(symbol)
            if tracker is not None:
                tracker.resumed(tracker.recorded_ns, now_ns)

    def counts(self, symbol: str) -> bool:
        """Whether ids prove which trades of the market are stored."""
        return isinstance(self._trackers.get(symbol), SequencedTracker)

    def newest(self, symbol: str) -> tuple[str | None, int | None]:
        """Id and time of the newest stored trade, if there is one."""
        tracker = self._trackers.get(symbol)
        return (None, None) if tracker is None else (tracker.last_id, self._shared.lasts.get(symbol))

    # -- gaps ---------------------------------------------------------------------------------------

    def tick(self, now: float, now_ns: int, *, end: bool = False) -> None:
        """Decides about rows held or out of order for too long. Called about once a second, and with `end` at
        shutdown.
        """
        live, every = self._shared.live | self._shared.ending, 1 if end else ENDED_TICKS
        turn = islice(self._trackers.values(), self._ticks % every, None, every)
        for tracker in [*live.values(), *(one for one in turn if one.symbol not in live)]:
            tracker.tick(now, now_ns, end=end)
        self._ticks += 1
        if self.agreement is not None:
            self.agreement.tick(self._trackers, now, now_ns)

    def take_decided(self, now: float, now_ns: int, *, end: bool = False) -> tuple[Block, Decided]:
        """See Deduplicator. A rejected trade is missing."""
        block, decided = self.deduplicator.take_decided(now, end=end)
        self._rejected.report(decided.refused, now, now_ns, end=end)
        return block, decided

    def resolved(self, gap: str, recovered: int, status: GapStatus, now_ns: int) -> None:
        """A backfill has finished with a gap. A gap already filled by its ids stays filled."""
        row = self._book.get(gap)
        if row is not None and row.reason is GapReason.DISAGREEMENT:
            status = self._judged(row, status, now_ns)
        if row is not None and status is not GapStatus.OPEN:
            self._trackers[row.symbol].resolved(gap, status, now_ns, recovered)

    def _judged(self, row: GapRow, status: GapStatus, now_ns: int) -> GapStatus:
        """The trades that two connections disagreed about are stored: without the history it stays unknown whether
        others are missing, and with it nothing may be.
        """
        if status is GapStatus.FILLED and row.to_ns is not None:
            self._trackers[row.symbol].proved(Proof.HISTORY, row.from_ns, row.to_ns + 1_000, now_ns)
        return GapStatus.UNKNOWN if status is GapStatus.LOST else status

    def settled_ns(self, gap: GapRow) -> int | None:
        """Since when the market of an outage is delivered again although no trade has ended the outage yet."""
        tracker = self._trackers.get(gap.symbol)
        if (
            tracker is None
            or tracker.outage != gap.gap_id
            or not tracker.carriers
            or tracker.carried_ns < gap.opened_ns
        ):
            return None
        return tracker.carried_ns

    def ended(self, gap: str, until_ns: int, recovered: int, now_ns: int) -> None:
        """Ends an outage without a next trade: up to this time of the exchange nothing else is missing."""
        row = self._book.get(gap)
        if row is not None:
            self._trackers[row.symbol].ended(gap, until_ns, recovered, now_ns)

    def compared(self, symbol: str, from_ns: int, until_ns: int, now_ns: int) -> None:
        """The history returned all trades of this range of the exchange's times; each is stored or on its way."""
        tracker = self._trackers.get(symbol)
        if tracker is not None:
            tracker.proved(Proof.HISTORY, from_ns, until_ns, now_ns)

    def repaired(
        self, gap: GapRow, snapshot: Snapshot, found: int, now_ns: int, *, whole: bool
    ) -> GapStatus | None:
        """A repair fetched `found` trades of a gap, and all of them if `whole`. Returns the gap's new state.

        `gap` is its stored state; None is returned if nothing has changed.
        """
        row = self._book.get(gap.gap_id)
        if gap.gap_id in snapshot.gaps:  # its ids are tracked one by one
            if row is None:
                return GapStatus.FILLED if found else None
            if whole and row.status is GapStatus.OPEN and row.bounded and not self.missing_ids(gap.gap_id):
                self.resolved(gap.gap_id, found, GapStatus.FILLED, now_ns)
                return GapStatus.FILLED
            if found and row.status is not GapStatus.OPEN:
                self._book.close(gap.gap_id, GapStatus.PARTIAL, now_ns, keep=True)
                return GapStatus.PARTIAL
            return row.status if found else None  # open: the rest is still requested
        recovered = gap.recovered + found
        whole = whole and (gap.missing is None or recovered >= gap.missing)  # otherwise the history lacks ids too
        if not (found or whole):
            return None
        status = GapStatus.FILLED if whole else GapStatus.PARTIAL
        missing = recovered if whole and gap.missing is None else gap.missing
        self._book.amend(gap, status, now_ns, recovered, missing)
        return status

    def vanished(self, gap: GapRow) -> bool:
        """Admitted and stored trades have been lost. Returns False if the market is not recorded here."""
        tracker = self._trackers.get(gap.symbol)
        if tracker is None:
            return False
        tracker.vanished(gap)
        return True

    def doubts(self, symbol: str) -> bool:
        """Whether trades counted as missing there may be stored after all, so that the file has to be queried."""
        kept = [row for row in map(self._book.get, self._book.kept(symbol)) if row is not None]
        # An overflow without a first id: of ids that are no numbers, some were older than what is remembered.
        return self._trackers[symbol].blind or any(
            row.reason is GapReason.VANISHED or (row.reason is GapReason.OVERFLOW and row.from_id is None)
            for row in kept
        )

    def exchange_ns(self, now_ns: int) -> int:
        """The exchange's time at `now_ns` of our clock, which may be wrong by hours: as far ahead as its trades of
        the last minutes were, the same if there were none.
        """
        return now_ns + self.deduplicator.lead.greatest_ns

    def describe(self, now_ns: int) -> None:
        """Reports again of each recorded market that it is: the file that had it is gone."""
        for tracker in self._trackers.values():
            tracker.describe(now_ns)

    def clock_jumped(self, jump_s: float, now_ns: int) -> None:
        """This host's clock was set by so much, forward if positive, and shows `now_ns`."""
        jump_ns = round(jump_s * 1e9)
        self.deduplicator.lead.jumped(jump_ns)
        if abs(jump_ns) > CLOCKS_NS:  # coverage does not show less
            for tracker in self._trackers.values():
                tracker.clock_jumped(jump_ns, now_ns)

    def gap(self, gap: str) -> GapRow | None:
        """The newest state of a gap that may still change."""
        return self._book.get(gap)

    def unfinished(self) -> list[GapRow]:
        """The open gaps, oldest first; those that are not `bounded` end with the next trade."""
        return self._book.unfinished()

    @property
    def gaps_opened(self) -> int:
        """How many gaps have been opened here."""
        return self._book.opened

    def take_gaps(self) -> list[GapRow]:
        """Returns and clears the gap states; store them with all ticks admitted so far."""
        return self._book.take()

    def report_news(self, report: Callable[[], object]) -> None:
        """Has `report` called when there is something for `take_gaps`."""
        self._book.on_news = report

    def take_feeds(self) -> list[FeedRow]:
        """Returns and clears the rows for `feeds`."""
        rows, self._shared.feeds = self._shared.feeds, []
        return rows

    def missing_ids(self, gap: str) -> list[tuple[int, int]]:
        """The id ranges of a gap that are still missing, lowest first; [] if ids do not show it."""
        row = self._book.get(gap)
        tracker = self._trackers.get(row.symbol) if row is not None else None
        return tracker.gaps.ids(gap) if isinstance(tracker, SequencedTracker) else []
