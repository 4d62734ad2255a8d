"""What the continuity of a market is, whatever its ids promise: the last trade, and outages."""

from collections.abc import Container
from dataclasses import dataclass, field

from actors.coverage import FeedEvent, FeedRow
from actors.gaps import GapBook, GapReason, GapRow, GapStatus
from actors.seed import Seed

# An id that goes back while time goes on cannot be a copy of a stored trade. Three such rows in a row are the
# exchange counting anew; one or two may be a damaged frame. Without times only a flood of them can tell.
RESET_ROWS = 3
RESET_NS = 1_000_000_000
RESET_ROWS_TIMELESS = 5_000


class Marks(dict[str, int]):
    """The id that is expected next of each market that is in order; absent while something is open there."""

    def __missing__(self, symbol: str) -> None:
        return None


@dataclass(slots=True)
class Row:
    """One trade as the continuity sees it, at `now` on the caller's clock.

    `read` numbers the calls, so that one answer is known as one. `known` are ids that somebody found stored.
    """

    trade_id: str | None
    span: int
    time_ns: int | None
    received_ns: int
    now: float
    source: str
    content: tuple[str, str, str | None]
    read: int = 0
    known: Container[str] = ()

    @property
    def at_ns(self) -> int:
        """Its time, ours where the exchange has none."""
        return self.received_ns if self.time_ns is None else self.time_ns


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was in memory of one market at one moment: ids above `mark` and in `holes` were not stored then."""

    mark: int | None = None
    holes: tuple[tuple[int, int], ...] = ()
    gaps: frozenset[str] = frozenset()  # whose states are kept in memory


@dataclass(slots=True)
class Shared:
    """What the tracks of one exchange write to; `marks` and `lasts` are also read and written row by row."""

    exchange: str
    book: GapBook
    marks: Marks = field(default_factory=Marks)
    lasts: dict[str, int | None] = field(default_factory=dict)
    feeds: list[FeedRow] = field(default_factory=list)


class Track:
    """Base of Sequence and Loose."""

    def __init__(self, symbol: str, shared: Shared) -> None:
        self.symbol, self._shared, self._book = symbol, shared, shared.book
        self.carriers = 0  # connections that deliver it
        self.carried_ns = 0  # when the youngest of them began to
        self.started_ns: int | None = None  # since when its recording counts as begun
        self.absent = False  # the exchange does not have it: nothing is recorded until it does
        self.outage: str | None = None  # the gap that the next trade ends
        self._suspects = 0
        self._suspect: tuple[int | None, int | None] = (None, None)
        self._suspect_id = -1

    @property
    def last_id(self) -> str | None:
        """The newest stored trade's id."""
        raise NotImplementedError

    def quick(self, trade_id: str | None, time_ns: int | None) -> bool:
        """Takes a live row if it is new beyond doubt; anything else is asked of `admit`."""
        del trade_id, time_ns
        return False

    def admit(self, row: Row) -> bool:
        """Whether the row is new; if so it counts as stored from now on."""
        raise NotImplementedError

    def readmit(self, row: Row, snapshot: Snapshot) -> bool:
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

    def tick(self, now: float, now_ns: int) -> None:
        """Says what has waited long enough to be said."""

    def resolved(self, gap: str, status: GapStatus, now_ns: int, recovered: int) -> None:
        """A backfill can do no more for this gap; `recovered` counts where ids do not."""
        raise NotImplementedError

    def restore(self, seed: Seed, now_ns: int) -> None:
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

    def _rebases(self, gap: GapRow, seed: Seed) -> bool:
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
        self._suspects = 0

    def _begins_anew(self, row: Row, number: int, mark: int | None) -> bool:
        """Told of a row whose id is too low; whether it is time to believe that ids were started anew."""
        if row.source == "backfill":
            return False
        last_ns = self._shared.lasts.get(self.symbol)
        if row.time_ns is not None and (last_ns is None or row.time_ns <= last_ns + RESET_NS):
            return False
        if self._suspect != (mark, last_ns) or number <= self._suspect_id:
            self._suspects, self._suspect = 0, (mark, last_ns)
        self._suspects, self._suspect_id = self._suspects + 1, number
        return self._suspects >= (RESET_ROWS_TIMELESS if row.time_ns is None else RESET_ROWS)

    def _say_reset(self, row: Row) -> None:
        """Nobody can know what lies between the old ids and the new: one gap that says so."""
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
        self._say_feed(FeedEvent.RESET, row.received_ns, row.trade_id, row.at_ns)

    def _say_feed(self, event: FeedEvent, at_ns: int, trade_id: str | None, time_ns: int | None) -> None:
        self._shared.feeds.append(
            FeedRow(at_ns, self._shared.exchange, self.symbol, event, trade_id=trade_id, time_ns=time_ns)
        )
