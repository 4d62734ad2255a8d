"""A fetch job: a request to an exchange's history about one market, with its schedule and retries."""

import trio
from msgspec import Struct

from actors.backfill.fetcher import SETTLE_S, Budget
from actors.settings import JITTER
from supervisor import Backoff

RETRY = Backoff(initial_s=4.0, max_s=400.0)
LOCKED = "another process writes the file"


class BackfillLimits(Struct, frozen=True, kw_only=True):
    """Bounds of one exchange's backfill; `_s` are seconds."""

    # One round does little for each job, so that a long outage of one market does not delay the others.
    round_s: float = 1.0  # pause between two rounds
    round_pages: int = 5
    retry: Backoff = RETRY
    tries_max: int = 50  # attempts without result, about four hours; then the job is given up
    locked_s: float = 2.0  # until a locked file is queried again
    crashed_s: float = 300.0  # until a job that crashed is tried again: others have their turn in between
    settle_s: float = SETTLE_S  # how much histories lag behind the stream
    # An outage that no trade has ended is examined once the market has been delivered again for this long: busy
    # markets have traded by then, and histories have caught up.
    quiet_s: float = 10.0
    substitute_s: float = 5.0  # how often the history is queried instead of a feed that delivers nothing
    # A market that has never traded is probed once: if the history refuses it, the exchange does not list it.
    silent_s: float = 60.0  # counted from its delivery, which the exchange may confirm for any name
    absent_again_s: float = 300.0  # it may be listed later
    absent_shown_max: int = 10  # absent markets that health names
    probes_max: int = 10  # per round: gaps get their turn in between, however many markets are quiet
    repairs_max: int = 100  # that are remembered; finished ones are dropped first

    @property
    def round_budget(self) -> Budget:
        """The budget of one round for one gap or repair."""
        return Budget(pages=self.round_pages)


DEFAULT_LIMITS = BackfillLimits()


class FetchJob(Struct, kw_only=True):
    """Base of the three kinds: fill a gap, repair a range, probe a silence. `due` is trio's clock.

    Its source (GapFiller, Repairs, StallProbes) calls `progressed`, `failed` or `pause` after each round that does
    not finish it.
    """

    symbol: str
    reason: str = "waiting for its turn"  # what it waits for
    tries: int = 0  # rounds in a row without result
    due: float = 0.0

    def progressed(self, retry_after_s: float | None = None) -> None:
        """A round fetched a part: the rest is requested in the next round."""
        self.tries, self.reason = 0, "querying the exchange"
        self.due = trio.current_time() + (retry_after_s or 0.0)

    def failed(self, limits: BackfillLimits, reason: str, retry_after_s: float | None = None) -> bool:
        """A round fetched nothing: retries after growing waits. Returns False after `tries_max` such rounds."""
        self.due = trio.current_time() + limits.retry.delay_s(self.tries, JITTER, retry_after_s)
        self.tries += 1
        self.reason = reason
        return self.tries < limits.tries_max

    def pause(self, seconds: float, reason: str) -> None:
        """Retries after this time; not counted as an attempt."""
        self.due, self.reason = trio.current_time() + seconds, reason
