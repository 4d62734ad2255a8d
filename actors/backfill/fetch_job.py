"""A fetch job: one question to an exchange's history about one market, and when it is asked next."""

import random
from dataclasses import dataclass

import trio

from actors.backfill.fetcher import SETTLE_S, Budget
from supervisor import Backoff

RETRY = Backoff(initial_s=4.0, max_s=400.0)
LOCKED = "another process writes the file"
_random = random.Random()  # noqa: S311 - spreads retries, keeps no secret


@dataclass(frozen=True, slots=True, kw_only=True)
class BackfillLimits:
    """Bounds of one exchange's backfill; `_s` are seconds."""

    # One round asks little for each job, so that a long outage of one market does not keep the others waiting.
    round_s: float = 1.0  # pause between two rounds
    round_pages: int = 5
    retry: Backoff = RETRY
    tries_max: int = 50  # fruitless ones, about four hours; what has not come by then is given up
    locked_s: float = 2.0  # until a file that another process writes is asked again
    settle_s: float = SETTLE_S  # histories lag behind the stream by so much
    # An outage that no trade ends is looked into once the market has been delivered again for so long: busy ones
    # have traded by then, and what histories lag behind has come.
    quiet_s: float = 10.0
    substitute_s: float = 5.0  # how often the history is asked in place of a feed that brings nothing
    # A market that has never traded is asked for once: if the history refuses it, the exchange does not have it.
    silent_s: float = 60.0  # from when on it is delivered, which the exchange may say of any name
    absent_again_s: float = 300.0  # it may be listed later
    absent_shown_max: int = 10  # markets that the exchange does not have which health names
    probes_max: int = 10  # in one round: gaps are asked for between them, however many markets are quiet
    repairs_max: int = 100  # that are remembered; of them those that are finished make room

    @property
    def round_budget(self) -> Budget:
        """What one round may take for one gap or repair."""
        return Budget(pages=self.round_pages)


DEFAULT_LIMITS = BackfillLimits()


@dataclass(slots=True, kw_only=True)
class FetchJob:
    """Base of the three kinds: fill a gap, repair a range, probe a silence. `due` is trio's clock.

    Its source (GapFiller, Repairs, StallProbes) calls one of `progressed`, `failed` and `pause` after each round
    that does not finish it.
    """

    symbol: str
    reason: str = "waiting for its turn"  # what it waits for
    tries: int = 0  # rounds in a row that brought nothing
    due: float = 0.0

    def progressed(self, retry_after_s: float | None = None) -> None:
        """A round brought some of it: the rest is asked for in the next round."""
        self.tries, self.reason = 0, "asking the exchange"
        self.due = trio.current_time() + (retry_after_s or 0.0)

    def failed(self, limits: BackfillLimits, reason: str, retry_after_s: float | None = None) -> bool:
        """A round brought nothing: it is asked again after growing waits. False after `tries_max` such rounds."""
        self.due = trio.current_time() + limits.retry.delay_s(self.tries, _random, retry_after_s)
        self.tries += 1
        self.reason = reason
        return self.tries < limits.tries_max

    def pause(self, seconds: float, reason: str) -> None:
        """Asks again after so long; not counted as a try."""
        self.due, self.reason = trio.current_time() + seconds, reason
