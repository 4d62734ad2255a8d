"""Times between trades of one market: how long it is silent as a rule, and whether a silence is too long."""

import math

RULE_SHARE = 0.05  # weight of the newest interval: the rule is that of the last twenty or so
RULE_FACTOR = 20.0  # in a steady market one interval of 10^8 is so much longer than the rule
LONGEST_FACTOR = 3.0
LONGEST_FADES_S = 3600.0  # the longest silence counts half after so long: nights are quieter than days
UNKNOWN_FACTOR = 6.0  # a market whose usual interval is not known is given so many times the least
LEARNT_INTERVALS = 20
PATIENCE_S_MAX = 6 * 3600.0


class Interarrival:
    """Learns from silences that have ended. Times are seconds on any clock that only rises.

    `least_s` is the shortest silence that may be suspicious at all.
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
        """Whether enough trades came to know it."""
        return self._intervals >= LEARNT_INTERVALS

    @property
    def rule_s(self) -> float:
        """How long it is silent as a rule."""
        return self._rule_s

    def heard(self, silence_s: float, now: float) -> None:
        """A trade came after so long a silence that was the market's own."""
        self._intervals += 1
        share = max(RULE_SHARE, 1 / self._intervals)
        self._rule_s += (silence_s - self._rule_s) * share
        if silence_s >= self._longest(now):
            self._longest_s, self._longest_at = silence_s, now
        self.heard_after_loss()

    def heard_after_loss(self) -> None:
        """A trade came after a silence that was not the market's: nothing is learnt from it."""
        self._doubts, self._doubted_at = 0, -math.inf

    def doubted(self, now: float) -> None:
        """The present silence was looked into: the next look is due after twice the time."""
        self._doubts, self._doubted_at = self._doubts + 1, now

    def due(self, since: float, now: float, at_most_s: float = PATIENCE_S_MAX) -> bool:
        """Whether a silence since then is to be looked into now, again if it was before."""
        patience_s = min(at_most_s, self.patience_s(now))
        # The second half is for silences longer than patience ever gets.
        return now - since > patience_s and now - self._doubted_at >= patience_s / 2

    def patience_s(self, now: float) -> float:
        """How long it may be silent before that is looked into."""
        patience_s = max(self._least_s, RULE_FACTOR * self._rule_s, LONGEST_FACTOR * self._longest(now))
        if not self.known:
            patience_s = max(patience_s, UNKNOWN_FACTOR * self._least_s)
        return float(min(PATIENCE_S_MAX, patience_s * 2.0 ** min(self._doubts, 20)))

    def _longest(self, now: float) -> float:
        if not self._longest_s:
            return 0.0
        return float(self._longest_s * 0.5 ** ((now - self._longest_at) / LONGEST_FADES_S))
