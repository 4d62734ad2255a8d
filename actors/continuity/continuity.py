"""Continuity of one exchange: since when each market is recorded without a break, and what is missing."""

from collections.abc import Iterable, Mapping

from actors.continuity.deduplicator import Deduplicator
from actors.continuity.sequenced import SequencedTracker
from actors.continuity.tracker_state import Before, Snapshot, TrackerState
from actors.model.records import FeedRow, GapReason, GapRow, GapStatus
from actors.model.ticks import IdPromise

CLOCKS_NS = 2_000_000_000  # by so much the exchange's clock and ours may differ in what follows from both


class Continuity:
    """One per exchange, shared by its connections and its backfill; one event loop, nothing here waits.

    `now` is any clock that only rises, in seconds; `now_ns` nanoseconds UTC. Rows for `gap_states` and `feeds`
    collect here until they are taken. Rows of trades go through the `deduplicator`.
    """

    def __init__(self, exchange: str, promises: Mapping[str, IdPromise]) -> None:
        self.deduplicator = Deduplicator(exchange, promises)
        self._trackers, self._shared = self.deduplicator.trackers, self.deduplicator.shared
        self._book = self._shared.book

    @property
    def promises(self) -> Mapping[str, IdPromise]:
        """What the ids of each market promise."""
        return self.deduplicator.promises

    def add(self, symbol: str, promise: IdPromise) -> None:
        """Another market, or (with its state kept) one that is known."""
        self.deduplicator.add(symbol, promise)

    def restore(self, states: Iterable[TrackerState], now_ns: int) -> None:
        """Before anything is admitted: what the file knows. Opens a downtime gap for each market with trades."""
        for state in states:
            if state.symbol in self._trackers:
                self._trackers[state.symbol].restore(state, now_ns)

    def go_blind(self, symbols: Iterable[str], since_ns: int, now_ns: int) -> None:
        """The file cannot be read: what comes is recorded all the same, until `restore_late`.

        Until about `since_ns` something may have been stored: from then on it is missing as far as is known.
        """
        for symbol in symbols:
            self._trackers[symbol].go_blind(since_ns, now_ns)

    @property
    def blind(self) -> dict[str, Before]:
        """The markets whose past is not known, and where the recording of each began."""
        return {symbol: tracker.began or Before() for symbol, tracker in self._trackers.items() if tracker.blind}

    def restore_late(self, states: Iterable[TrackerState], asked: Mapping[str, Before], now_ns: int) -> None:
        """What the file knows of the time before; `asked` is what `blind` was when it was asked."""
        for state in states:
            tracker = self._trackers[state.symbol]
            if tracker.blind and (tracker.began or Before()) == asked[state.symbol]:  # else it has begun meanwhile
                tracker.restore_late(state, now_ns)

    # -- connections --------------------------------------------------------------------------------

    def connected(self, symbols: Iterable[str], now_ns: int) -> None:
        """A connection delivers these now (acknowledged, or data came). Once a connection and symbol."""
        for symbol in symbols:
            tracker = self._trackers.get(symbol)
            if tracker is not None:
                tracker.carried(now_ns)

    def disconnected(self, symbols: Iterable[str], now_ns: int, reason: GapReason = GapReason.DISCONNECT) -> None:
        """A connection that was `connected` for these delivers them no more; the last one opens a gap."""
        for symbol in symbols:
            tracker = self._trackers.get(symbol)
            if tracker is not None:
                tracker.uncarried(reason, now_ns)

    def suspect(self, symbol: str, now_ns: int, reason: GapReason, since_ns: int | None = None) -> None:
        """Trades may have been missed although nobody hung up (a stall, an overflow).

        From the last trade on; `since_ns` is our time from which on nothing came, for where there was none.
        """
        tracker = self._trackers.get(symbol)
        if tracker is not None and tracker.outage is None:  # one outage is one gap
            tracker.interrupted(reason, now_ns, since_ns)

    def refused(self, symbol: str, since_ns: int, now_ns: int) -> None:
        """Trades came since then (our clock) and were refused: from the last one before on they are missing.

        Where there was none, from the beginning on.

        Where ids do not count them, sound trades between them do not end what is missing before those.
        """
        tracker = self._trackers.get(symbol)
        if tracker is None or tracker.outage is not None or tracker.absent:
            return
        gap = tracker.interrupted(GapReason.REJECTED, now_ns, tracker.started_ns or since_ns)
        last_ns, from_ns = self._shared.lasts.get(symbol), since_ns - CLOCKS_NS
        if last_ns is not None and last_ns > from_ns and not self.counts(symbol):
            self._book.rebase(gap, now_ns, None, from_ns)

    def absent(self, symbol: str, now_ns: int) -> None:
        """The exchange does not have this market: what was taken for a record of it is none, and it ends."""
        tracker = self._trackers.get(symbol)
        if tracker is not None and not tracker.absent:
            tracker.became_absent(now_ns)

    def present(self, symbol: str, now_ns: int) -> None:
        """It has the market after all: the record begins."""
        tracker = self._trackers.get(symbol)
        if tracker is not None and tracker.absent:
            tracker.became_present(now_ns)

    def untraded_ns(self, symbol: str) -> int | None:
        """Since when a market that has never traded is delivered; None for all others."""
        tracker = self._trackers.get(symbol)
        if tracker is None or tracker.last_id is not None or self._shared.lasts.get(symbol) is not None:
            return None
        return tracker.carried_ns if tracker.absent else tracker.started_ns

    def dropped(self, symbols: Iterable[str], now_ns: int) -> None:
        """Nobody wants these any more: what they do from now on is no outage."""
        for symbol in symbols:
            tracker = self._trackers.get(symbol)
            if tracker is not None:
                tracker.dropped(now_ns)

    def wanted_again(self, symbols: Iterable[str], now_ns: int) -> None:
        """These were dropped and are recorded again; what came in between is missing."""
        for symbol in symbols:
            tracker = self._trackers.get(symbol)
            if tracker is not None and tracker.outage is None and self._shared.lasts.get(symbol) is not None:
                tracker.interrupted(GapReason.DOWNTIME, now_ns)

    def counts(self, symbol: str) -> bool:
        """Whether ids tell for good which trades of the market are stored."""
        return isinstance(self._trackers.get(symbol), SequencedTracker)

    def newest(self, symbol: str) -> tuple[str | None, int | None]:
        """Id and time of the newest stored trade, where there is one."""
        tracker = self._trackers.get(symbol)
        return (None, None) if tracker is None else (tracker.last_id, self._shared.lasts.get(symbol))

    # -- gaps ---------------------------------------------------------------------------------------

    def tick(self, now: float, now_ns: int, *, end: bool = False) -> None:
        """About once a second, and at the `end`: what was held or out of order for too long is decided."""
        for tracker in self._trackers.values():
            tracker.tick(now, now_ns, end=end)

    def resolved(self, gap: str, recovered: int, status: GapStatus, now_ns: int) -> None:
        """A backfill is through with a gap. One that its ids have shown to be filled already stays so."""
        row = self._book.get(gap)
        if row is not None and status is not GapStatus.OPEN:
            self._trackers[row.symbol].resolved(gap, status, now_ns, recovered)

    def settled_ns(self, gap: GapRow) -> int | None:
        """From when on the market of an outage is delivered again although no trade has ended it yet."""
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
        """An outage that no trade has ended missed only what was recovered, up to this time of the exchange."""
        row = self._book.get(gap)
        if row is not None:
            self._trackers[row.symbol].ended(gap, until_ns, recovered, now_ns)

    def repaired(
        self, gap: GapRow, snapshot: Snapshot, found: int, now_ns: int, *, whole: bool
    ) -> GapStatus | None:
        """A repair has brought `found` trades of a gap, and all of it with `whole`. Returns what it is now.

        `gap` is its state in the file before; None where nothing has changed.
        """
        row = self._book.get(gap.gap_id)
        if gap.gap_id in snapshot.gaps:  # its ids are counted one by one
            if row is None:
                return GapStatus.FILLED if found else None
            if whole and row.status is GapStatus.OPEN and row.bounded and not self.missing_ids(gap.gap_id):
                self.resolved(gap.gap_id, found, GapStatus.FILLED, now_ns)
                return GapStatus.FILLED
            if found and row.status is not GapStatus.OPEN:
                self._book.close(gap.gap_id, GapStatus.PARTIAL, now_ns, keep=True)
                return GapStatus.PARTIAL
            return row.status if found else None  # open: what is left of it is still asked for
        recovered = gap.recovered + found
        whole = whole and (gap.missing is None or recovered >= gap.missing)  # else the history lacks ids too
        if not (found or whole):
            return None
        status = GapStatus.FILLED if whole else GapStatus.PARTIAL
        missing = recovered if whole and gap.missing is None else gap.missing
        self._book.amend(gap, status, now_ns, recovered, missing)
        return status

    def vanished(self, gap: GapRow) -> bool:
        """Trades that were admitted and stored are gone. False if the market is not recorded here."""
        tracker = self._trackers.get(gap.symbol)
        if tracker is None:
            return False
        tracker.vanished(gap)
        return True

    def doubts(self, symbol: str) -> bool:
        """Whether what is taken for missing there may be stored all the same, so that the file is to be asked."""
        kept = map(self._book.get, self._book.kept(symbol))
        return self._trackers[symbol].blind or any(row and row.reason is GapReason.VANISHED for row in kept)

    def unfinished(self) -> list[GapRow]:
        """The open gaps, oldest first; those that are not `bounded` end with the next trade."""
        return self._book.unfinished()

    @property
    def gaps_opened(self) -> int:
        """How many gaps were opened here."""
        return self._book.opened

    def take_gaps(self) -> list[GapRow]:
        """States of gaps since the last call; to be stored behind the ticks that were admitted so far."""
        return self._book.take()

    def take_feeds(self) -> list[FeedRow]:
        """Rows for `feeds` since the last call."""
        rows, self._shared.feeds = self._shared.feeds, []
        return rows

    def missing_ids(self, gap: str) -> list[tuple[int, int]]:
        """The stretches of ids of a gap that are still missing, lowest first; [] where ids do not show it."""
        row = self._book.get(gap)
        tracker = self._trackers.get(row.symbol) if row is not None else None
        return tracker.gaps.ids(gap) if isinstance(tracker, SequencedTracker) else []
