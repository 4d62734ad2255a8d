"""Learns the usual time between trades of one market, to decide whether a silence is too long."""

import math

RULE_SHARE = 0.05  # weight of the newest interval: the mean covers about the last twenty
RULE_FACTOR = 20.0  # in a steady market one interval of 10^8 exceeds the usual one by this factor
LONGEST_FACTOR = 3.0
LONGEST_FADES_S = 3600.0  # the longest silence loses half its weight after this time: nights are quieter than days
UNKNOWN_FACTOR = 6.0  # the patience with a market of unknown usual interval, as a multiple of the least
LEARNT_INTERVALS = 20
PATIENCE_S_MAX = 6 * 3600.0


class Interarrival:
    """Learns from silences that have ended. Times are seconds on any monotonic clock.

    `least_s` is the shortest silence that may be suspicious.
    """

    __slots__ = ("_doubted_at", "_doubts", "_intervals", "_least_s", "_longest_at", "_longest_s", "_rule_s")

    def __init__(self, least_s: float) -> None:
        self._least_s = least_s
        self._rule_s = self._longest_s = 0.0
        self._longest_at = -math.inf
        self._intervals = 0
        self._doubts = 0
        self._doubted_at = -math.inf

    @property
    def known(self) -> bool:
        """Whether there were enough trades to know the usual interval."""
        return self._intervals >= LEARNT_INTERVALS

    @property
    def rule_s(self) -> float:
        """The usual interval."""
        return self._rule_s

    def traded(self, silence_s: float, now: float) -> None:
        """A trade arrived after a silence of the market itself; learns from it."""
        self._intervals += 1
        share = max(RULE_SHARE, 1 / self._intervals)
        self._rule_s += (silence_s - self._rule_s) * share
        if silence_s >= self._longest(now):
            self._longest_s, self._longest_at = silence_s, now
        self.traded_after_loss()

    def traded_after_loss(self) -> None:
        """A trade arrived after a silence with another cause; learns nothing from it."""
        self._doubts, self._doubted_at = 0, -math.inf

    def doubted(self, now: float) -> None:
        """The current silence was examined: the next examination is due after twice the time."""
        self._doubts, self._doubted_at = self._doubts + 1, now

    def due(self, since: float, now: float, at_most_s: float = PATIENCE_S_MAX) -> bool:
        """Whether a silence since then is due to be examined, for the first time or again."""
        if now - since <= min(at_most_s, self._least_s):  # nearly always: no patience is less
            return False
        patience_s = min(at_most_s, self.patience_s(now))
        # The second half is for silences longer than the maximum patience.
        return now - since > patience_s and now - self._doubted_at >= patience_s / 2

    def patience_s(self, now: float) -> float:
        """How long a silence may last before it is examined."""
        patience_s = max(self._least_s, RULE_FACTOR * self._rule_s, LONGEST_FACTOR * self._longest(now))
        if not self.known:
            patience_s = max(patience_s, UNKNOWN_FACTOR * self._least_s)
        return float(min(PATIENCE_S_MAX, patience_s * 2.0 ** min(self._doubts, 20)))

    def _longest(self, now: float) -> float:
        if not self._longest_s:
            return 0.0
        return float(self._longest_s * 0.5 ** ((now - self._longest_at) / LONGEST_FADES_S))
