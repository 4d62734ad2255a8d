"""Trades that were held and then rejected: each is missing, and becomes a gap where ids do not show that."""

from collections.abc import Iterable, Mapping

from actors.continuity.clock_lead import Lead
from actors.continuity.row import Refused
from actors.continuity.sequenced import SequencedTracker
from actors.continuity.tracker import Tracker
from actors.model.records import GapReason
from actors.model.ticks import Reason

AROUND_NS = 2_000_000_000  # how much the true time may differ from the time of receipt, by the exchange's clock
PAUSE_S = 10.0  # between two gaps of a market: what is rejected meanwhile lies in the next one


class RejectedTrades:
    """Those of one exchange; `now` is any monotonic clock, in seconds."""

    def __init__(self, trackers: Mapping[str, Tracker], lead: Lead) -> None:
        self._trackers, self._lead = trackers, lead
        self._ranges: dict[str, tuple[int, int]] = {}  # not reported yet
        self._due: dict[str, float] = {}

    def report(self, refused: Iterable[Refused], now: float, now_ns: int, *, end: bool = False) -> None:
        """Adds rejected trades and opens the gaps that are due, with `end` all."""
        for one in refused:
            tracker = self._trackers.get(one.symbol)
            if tracker is None or one.reason is Reason.OFF_BOOK:
                continue
            at_ns = one.row.at_ns
            if one.reason is Reason.BAD_TIME:
                at_ns = one.row.received_ns + self._lead.greatest_ns
            if self._missing(tracker, one, at_ns):
                from_ns, to_ns = self._ranges.get(one.symbol, (at_ns, at_ns))
                self._ranges[one.symbol] = min(from_ns, at_ns), max(to_ns, at_ns)
        for symbol in [symbol for symbol in self._ranges if end or now >= self._due.get(symbol, now)]:
            from_ns, to_ns = self._ranges.pop(symbol)
            self._due[symbol] = now + PAUSE_S
            self._trackers[symbol].missed(GapReason.REJECTED, from_ns - AROUND_NS, to_ns + AROUND_NS, now_ns)

    @staticmethod
    def _missing(tracker: Tracker, refused: Refused, at_ns: int) -> bool:
        """Whether nothing else shows it: another connection may have delivered the trade as it is."""
        if isinstance(tracker, SequencedTracker) or tracker.misses(at_ns - AROUND_NS):
            return False
        return not tracker.remembers(refused.row.trade_id, None)
