"""Measures lags: receipt minus the exchange's own time of a trade, one row per exchange and minute, and reports
abnormal ones.

Each read of a socket is sampled once (see `Account.read`). `collect` takes the samples from the account once a
second; of a second with more than LAG_SAMPLES reads only the last ones are kept. The end of each minute removes
samples older than RECENT_MINUTES from the account: here, because `Account.read` has no time to spare.
"""

import enum
from array import array
from bisect import bisect_left
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from statistics import median

from msgspec import Struct

from actors.model.records import LagRow
from actors.telemetry.ledger import Account

# Two clocks kept by NTP over the internet differ by some ms; a greater difference is reported.
AHEAD_MS = 50.0
AHEAD_SHARE = 0.9  # or if nearly all trades are from the future, by any amount
LATE_MS = 5_000.0  # no network is so slow
HOST_MS = 500.0
HOST_EXCHANGES_MIN = 2  # a single exchange may be wrong itself
SAMPLES_JUDGED_MIN = 5  # a quiet minute proves nothing
RECENT_MINUTES = 5  # older reads are none of the last ones: a quiet market would show a past delay for hours
CALM = 0.5  # hysteresis: an episode ends below this fraction of what begins one


class Flag(enum.StrEnum):
    """What is wrong with an exchange's times. Shown in status: never renamed."""

    AHEAD = "ahead"  # its trades are stamped later than they arrive
    LATE = "late"  # they arrive long after their stamps


class Turn(Struct, frozen=True):
    """An episode began (or ended: no flag) with the minute described by `row`."""

    row: LagRow
    flag: Flag | None

    @property
    def event(self) -> str:
        """The event name."""
        return {Flag.AHEAD: "clock_ahead", Flag.LATE: "feed_late", None: "lag_normal"}[self.flag]

    @property
    def reason(self) -> str:
        """The message for people: what happened, and what to do."""
        name, off = self.row.exchange, seconds_text(abs(self.row.p50_ms) / 1000)
        if self.flag is Flag.AHEAD:
            return f"{name} stamps trades {off} ahead of this host's clock; check NTP"
        if self.flag is Flag.LATE:
            return (
                f"trades of {name} arrive {off} after their own time: the feed lags or a clock is wrong; check NTP"
            )
        return f"the times of {name} are plausible again: {self.row.p50_ms:.0f} ms from trade to receipt"


class Lags:
    """The samples of all exchanges in this run. `flags` holds the exchanges in an episode, `reasons` why."""

    def __init__(self, accounts: Mapping[str, Account], run_id: str) -> None:
        self._accounts, self._run_id = accounts, run_id
        self._samples = _no_samples()
        self._taken: Counter[str] = Counter()
        self._ends: deque[Counter[str]] = deque()  # what was taken at the ends of the last minutes
        self.negative: Counter[str] = Counter()  # over all samples of this run
        self.flags: dict[str, Flag] = {}
        self.reasons: dict[str, str] = {}

    def collect(self) -> int:
        """Takes the samples since the last call; returns their number."""
        found = 0
        for name, account in self._accounts.items():
            noted = sum(account.lag_s.counts)
            new = min(noted - self._taken[name], len(account.lags_ns))
            self._taken[name] = noted
            if new:
                samples = list(islice(reversed(account.lags_ns), new))
                self._samples[name].extend(samples)
                self.negative[name] += _negative(samples)
                found += new
        return found

    def rows(self, at_ns: int) -> Iterator[LagRow]:
        """Ends the minute: one row for each exchange that has samples."""
        self._forget_old()
        ended, self._samples = self._samples, _no_samples()
        for name, samples in ended.items():
            yield _row(at_ns, name, sorted(samples), self._run_id)

    def _forget_old(self) -> None:
        self._ends.append(self._taken.copy())
        if len(self._ends) <= RECENT_MINUTES:
            return
        old = self._ends.popleft()
        for name, account in self._accounts.items():
            recent = self._taken[name] - old[name]
            while len(account.lags_ns) > recent:
                account.lags_ns.popleft()

    def judge(self, rows: Iterable[LagRow]) -> list[Turn]:
        """The beginnings and ends of episodes after these minutes."""
        turns = []
        for row in rows:
            was = self.flags.get(row.exchange)
            flag = was if row.samples < SAMPLES_JUDGED_MIN else flag_of(row, was)
            if flag is was:
                continue
            turn = Turn(row, flag)
            turns.append(turn)
            self.flags.pop(row.exchange, None)
            self.reasons.pop(row.exchange, None)
            if flag is not None:
                self.flags[row.exchange], self.reasons[row.exchange] = flag, turn.reason
        return turns


def flag_of(row: LagRow, was: Flag | None) -> Flag | None:
    """What is wrong with a minute, given the flag of the minute before."""
    ahead, late = CALM if was is Flag.AHEAD else 1.0, CALM if was is Flag.LATE else 1.0
    if row.p50_ms < -AHEAD_MS * ahead or row.negative >= AHEAD_SHARE * ahead * row.samples:
        return Flag.AHEAD
    return Flag.LATE if row.p50_ms > LATE_MS * late else None


def host_ahead_ms(rows: Iterable[LagRow]) -> float | None:
    """How far this host's clock is ahead (negative: behind) if all exchanges of a minute agree that it is wrong."""
    medians = [row.p50_ms for row in rows if row.samples >= SAMPLES_JUDGED_MIN]
    if len(medians) < HOST_EXCHANGES_MIN or not (max(medians) < -HOST_MS or min(medians) > HOST_MS):
        return None
    return median(medians)


def negative_share(account: Account) -> float | None:
    """The share of the last reads whose trade was stamped later than it arrived; None without any."""
    return round(_negative(account.lags_ns) / len(account.lags_ns), 4) if account.lags_ns else None


def seconds_text(seconds: float) -> str:
    """A duration as text."""
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _no_samples() -> "defaultdict[str, array[int]]":  # array takes no parameter at run time before 3.12
    return defaultdict(lambda: array("q"))


def _negative(lags_ns: Iterable[int]) -> int:
    return sum(1 for lag in lags_ns if lag < 0)


def _row(at_ns: int, exchange: str, ordered: Sequence[int], run_id: str) -> LagRow:
    def at(share: float) -> float:
        return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))] / 1e6, 3)

    return LagRow(
        at_ns=at_ns,
        exchange=exchange,
        samples=len(ordered),
        p50_ms=at(0.50),
        p99_ms=at(0.99),
        min_ms=at(0.0),
        max_ms=at(1.0),
        negative=bisect_left(ordered, 0),
        run_id=run_id,
    )
