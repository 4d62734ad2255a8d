"""Compares what two connections deliver of the same market, trade by trade, where ids prove nothing.

A trade agrees once both have delivered it. One that the other connection has not delivered after TOLERANCE_S,
although it went on delivering later ones, is a disagreement: what one of them has missed, both may have missed. The
trade itself is stored; a second around it becomes a gap, for which the history is requested. A connection that
delivers nothing at all does not disagree: nothing is proved meanwhile, and the stall detector has it replaced.
"""

import math
from collections.abc import Iterable, Mapping

from msgspec import Struct, field

from actors.continuity.clock_lead import Lead
from actors.continuity.proof_pace import ProofPace
from actors.continuity.tracker import Tracker
from actors.model.records import GapReason, Proof
from actors.model.ticks import AFTER_BREAK, Block, IdPromise

TOLERANCE_S = 5.0  # how much later the other connection may deliver a trade; as long as ids may be out of order
AROUND_NS = 1_000_000_000  # a lost message holds trades of about one moment
PAUSE_S_MIN, PAUSE_S_MAX = 10.0, 600.0  # between two gaps of a market: it grows while the feeds go on disagreeing
SILENT_S = 60.0  # what has waited for so long is given up, and the comparison begins again
WAITING_MAX = 20_000  # trades of one market that only one has delivered: 4 MB; more is no comparison any more

_UNIQUE = (IdPromise.INCREASING, IdPromise.OPAQUE)


class _Feed(Struct):
    """One session. `waiting`: its trades that the other has not delivered, as [time (ns), arrival, how many]."""

    session: int
    newest: float = 0.0  # when it last delivered a trade of the market
    waiting: dict[object, list[float]] = field(default_factory=dict)


class _Pair:
    """Two sessions that deliver one market at the same time."""

    def __init__(self, feeds: tuple[_Feed, _Feed]) -> None:
        self.feeds = feeds
        self.pace = ProofPace()
        self._matched_ns = 0
        self._overdue: list[int] = []  # times (ns) of disagreements that are not reported yet
        self._gap_due = self._pause_s = 0.0
        self._done: tuple[set[object], set[object]] = (set(), set())  # agreed ids, of this and the last TOLERANCE_S
        self._turn_at = 0.0
        self._sure_at = math.inf  # what arrives from then on must agree; set by the next `tick`

    def _begin(self) -> None:
        """Begins again, with nothing proved."""
        self.pace.begin(None)
        self._sure_at, self._matched_ns = math.inf, 0
        for feed in self.feeds:
            feed.waiting.clear()

    def saw(self, feed: _Feed, key: object, at_ns: int, now: float, *, unique: bool, again: bool) -> None:
        """One of the two has delivered a trade; `again`: one that may have been made before it was asked for, so
        that the other need not deliver it, unless it is newer than what both have delivered.
        """
        if not again:
            feed.newest = now
        again &= not (unique and 0 < self._matched_ns < at_ns)
        other = self.feeds[1] if feed is self.feeds[0] else self.feeds[0]
        waits = other.waiting.get(key)
        if waits is not None:
            if waits[2] > 1:
                waits[2] -= 1
            else:
                del other.waiting[key]
            self._matched_ns = max(self._matched_ns, at_ns)
            if unique:
                self._done[0].add(key)
            if self.pace.from_ns is None and now >= self._sure_at:
                self.pace.begin(self._matched_ns)
        elif again:
            if unique:  # else it could stand for another one that is equal
                self._done[0].add(key)
        elif key in feed.waiting:
            feed.waiting[key][2] += not unique  # else sent again
        elif key not in self._done[0] and key not in self._done[1]:
            feed.waiting[key] = [at_ns, now, 1]

    def agreed_ns(self) -> int:
        """Up to before a trade of this time both have delivered the same."""
        waiting = (int(waits[0]) for feed in self.feeds for waits in feed.waiting.values())
        return min([self._matched_ns, *self._overdue, *waiting])

    def tick(self, now: float) -> tuple[tuple[int, int] | None, tuple[int, int] | None]:
        """The range to report as proved and the one of a disagreement, as nanoseconds; None for none."""
        self._sure_at = min(self._sure_at, now + TOLERANCE_S)
        if now >= self._turn_at:
            self._turn_at, self._done = now + TOLERANCE_S, (set(), self._done[0])
        given_up = self._collect(now)
        proved = None
        if self._overdue or given_up or self.pace.due(now):
            proved = self.pace.take(self.agreed_ns(), now)
        if given_up:
            self._begin()
        gap = None
        if self._overdue and now >= self._gap_due:
            gap = min(self._overdue) - AROUND_NS, max(self._overdue) + AROUND_NS
            again = now - self._gap_due < self._pause_s
            self._pause_s = min(PAUSE_S_MAX, max(PAUSE_S_MIN, 2 * self._pause_s if again else 0.0))
            self._gap_due = now + self._pause_s
            self._overdue = []
            if self.pace.from_ns is not None:
                self.pace.begin(max(self.pace.from_ns, gap[1]))
        return proved, gap

    def _collect(self, now: float) -> bool:
        """Collects what is overdue; returns whether the rest is given up: one delivers nothing, or too little."""
        given_up = False
        for feed, other in (self.feeds, self.feeds[::-1]):
            overdue = []
            for key, (at_ns, when, _) in feed.waiting.items():  # in order of arrival
                if now - when < TOLERANCE_S or other.newest <= when:
                    given_up |= now - when > SILENT_S
                    break
                overdue.append(key)
                if when >= self._sure_at:
                    self._overdue.append(int(at_ns))
            for key in overdue:
                del feed.waiting[key]
            given_up |= len(feed.waiting) > WAITING_MAX
        return given_up


class Agreement:
    """The comparison of one exchange's markets; `now` is any monotonic clock, in seconds. No method waits."""

    def __init__(self, promises: Mapping[str, IdPromise], lead: Lead) -> None:
        self._promises, self._lead = promises, lead
        self._carriers: dict[str, list[int]] = {}  # the sessions that deliver each market, longest first
        self._pairs: dict[str, _Pair] = {}

    def joined(self, session: int, symbols: Iterable[str]) -> None:
        """From now on this session delivers these markets."""
        for symbol in symbols:
            if self._promises.get(symbol) is not IdPromise.CONTIGUOUS:  # those prove more
                self._carriers.setdefault(symbol, []).append(session)
                self._match(symbol)

    def left(self, symbols: Iterable[str], session: int | None = None) -> list[tuple[str, tuple[int, int]]]:
        """This session (None: any) no longer delivers them; returns what was proved until then, by market."""
        proved = []
        for symbol in symbols:
            carriers = self._carriers.pop(symbol, [])
            if session is not None and (staying := [one for one in carriers if one != session]):
                self._carriers[symbol] = staying
            pair = self._pairs.get(symbol)
            if pair is not None and session in (None, *(feed.session for feed in pair.feeds)):
                del self._pairs[symbol]
                part = pair.pace.take(pair.agreed_ns(), 0.0)
                proved += [(symbol, part)] if part else []
                self._match(symbol)
        return proved

    def _match(self, symbol: str) -> None:
        carriers = self._carriers.get(symbol, [])
        if symbol not in self._pairs and len(carriers) > 1:
            self._pairs[symbol] = _Pair((_Feed(carriers[0]), _Feed(carriers[1])))

    def delivered(self, session: int, block: Block, start: int, now: float) -> None:
        """A session has delivered the block's rows from `start` on, copies included."""
        pairs = self._pairs
        if not pairs:
            return
        columns = (block.symbol, block.trade_id, block.exchange_ns, block.price, block.volume, block.side)
        rows = zip(
            *(column[start:] for column in columns), block.source[start:], block.received_ns[start:], strict=True
        )
        for symbol, trade_id, time_ns, price, volume, side, source, received_ns in rows:
            pair = pairs.get(symbol)
            if pair is None or source not in ("stream", "snapshot", AFTER_BREAK):
                continue
            first, second = pair.feeds
            feed = first if first.session == session else second if second.session == session else None
            if feed is None or (time_ns is not None and time_ns - received_ns > self._lead.limit_ns):
                continue  # of other sessions, or to be held
            unique = trade_id is not None and self._promises.get(symbol) in _UNIQUE
            key = trade_id if unique else (trade_id, time_ns, price, volume, side)
            at_ns, again = received_ns if time_ns is None else time_ns, source == "snapshot"
            pair.saw(feed, key, at_ns, now, unique=unique, again=again)

    def tick(self, trackers: Mapping[str, Tracker], now: float, now_ns: int) -> None:
        """Reports what has been proved, and what the two feeds disagree about."""
        for symbol, pair in self._pairs.items():
            proved, gap = pair.tick(now)
            if proved is not None:
                trackers[symbol].proved(Proof.TWO_FEEDS, *proved, now_ns)
            if gap is not None:
                trackers[symbol].missed(GapReason.DISAGREEMENT, *gap, now_ns)
