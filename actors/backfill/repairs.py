"""Repairs ranges requested by an operator: fetches them from the history again and compares them with the file."""

import itertools
import time
from collections.abc import Mapping
from functools import partial

import trio
from msgspec import field

from actors.backfill.delivery import Delivery
from actors.backfill.fetch_job import BackfillLimits, FetchJob
from actors.backfill.fetcher import Fetcher
from actors.backfill.stored_trades import StoredTrades
from actors.continuity.continuity import Continuity
from actors.continuity.tracker_state import Snapshot
from actors.exchanges.contract.feed import Market
from actors.exchanges.contract.feed_helpers import S_NS
from actors.exchanges.contract.history import TradeRange
from actors.model.records import GapRow
from actors.model.ticks import Block

_numbers = itertools.count(1)


class TooManyRepairs(Exception):
    """No repair is accepted until others are finished."""


class RepairJob(FetchJob, kw_only=True):
    """One repair and its progress. Nanoseconds UTC of the exchange's time, both ends inclusive.

    `came` rows were in the history, `stored` of them had been missing. `complete` is None while it runs; `reason`
    says what it waits for, or why it is incomplete. `gaps` are the changed gaps, with their new status.
    """

    from_ns: int
    to_ns: int
    number: int = field(default_factory=lambda: next(_numbers))
    came: int = 0
    stored: int = 0
    complete: bool | None = None
    gaps: dict[str, str] = field(default_factory=dict)
    remaining: TradeRange
    snapshot: Snapshot = field(default_factory=Snapshot)
    known_gaps: list[GapRow] = field(default_factory=list)  # the gaps in the file, as of the last round
    found: dict[str, int] = field(default_factory=dict)  # stored rows, by their gap


class Repairs:
    """The exchange owns it: jobs survive crashes of the worker that fetches for them."""

    def __init__(
        self,
        markets: Mapping[str, Market],
        continuity: Continuity,
        stored_trades: StoredTrades,
        delivery: Delivery,
        limits: BackfillLimits,
    ) -> None:
        self._markets, self._continuity = markets, continuity
        self._stored_trades, self._delivery, self._limits = stored_trades, delivery, limits
        self._news: list[RepairJob] = []
        self.jobs: list[RepairJob] = []

    def order(self, symbol: str, from_ns: int, to_ns: int) -> RepairJob:
        """Adds a repair. Raises TooManyRepairs."""
        limits = self._limits
        if len(self.jobs) >= limits.repairs_max:
            finished = next((job for job in self.jobs if job.complete is not None), None)
            if finished is None:
                raise TooManyRepairs(
                    f"{limits.repairs_max} repairs are running already; wait until some are finished"
                )
            self.jobs.remove(finished)
        to_ns = max(from_ns, to_ns)
        job = RepairJob(
            symbol=symbol, from_ns=from_ns, to_ns=to_ns, remaining=TradeRange(from_ns=from_ns, to_ns=to_ns)
        )
        # By then the history is complete, and the stream's trades have arrived: see `fetch`.
        ahead_ns = to_ns - self._continuity.exchange_ns(time.time_ns())
        job.due = trio.current_time() + max(0.0, ahead_ns / S_NS + limits.settle_s)
        self.jobs.append(job)
        return job

    def due(self) -> list[RepairJob]:
        """The repairs whose fetch is due, oldest first."""
        running = [job for job in self.jobs if job.complete is None]
        for job in running:
            if job.symbol not in self._markets:
                self._finish(job, complete=False, reason="the market is no longer recorded")
        now = trio.current_time()
        return [job for job in running if job.complete is None and now >= job.due]

    def take_finished(self) -> list[RepairJob]:
        """The repairs finished since the last call."""
        news, self._news = self._news, []
        return news

    def _finish(self, job: RepairJob, *, complete: bool, reason: str) -> None:
        job.complete, job.reason = complete, reason
        self._news.append(job)

    async def fetch(self, job: RepairJob, market: Market, fetcher: Fetcher) -> None:
        """One round: a few pages. Raises DatabaseLocked."""
        snapshot = await self._delivery.snapshot(job.symbol)  # the rows of the last round are in the file too
        # Some may have been closed since the last round.
        job.known_gaps = await self._stored_trades.gaps(job.symbol, job.from_ns, job.to_ns)
        job.snapshot, job.reason = snapshot, "querying the exchange"
        store = partial(self._delivery.store_missing, admitted=partial(self._note, job), snapshot=snapshot)
        budget = self._limits.round_budget
        result = await fetcher.fetch(market, job.remaining, store, budget)
        job.came += result.count
        asked, job.remaining = job.remaining, result.remaining or job.remaining
        if result.complete or result.final:
            self._close_gaps(job, complete=result.complete)
            if result.complete:
                self._continuity.compared(job.symbol, job.from_ns, job.to_ns, time.time_ns())
            self._finish(job, complete=result.complete, reason=result.reason)
        elif result.count or job.remaining != asked:
            job.progressed(result.retry_after_s)
        elif not job.failed(self._limits, result.reason, result.retry_after_s):
            self._close_gaps(job, complete=False)
            self._finish(job, complete=False, reason=result.reason)

    @staticmethod
    def _note(job: RepairJob, block: Block) -> None:
        """Counts rows that had been missing, and those that lie in each gap."""
        job.stored += len(block)
        for gap in job.known_gaps:
            within = sum(map(gap.spans, block.trade_id, block.exchange_ns))
            job.found[gap.gap_id] = job.found.get(gap.gap_id, 0) + within

    def _close_gaps(self, job: RepairJob, *, complete: bool) -> None:
        """Updates the gaps that overlap the repair."""
        for gap in job.known_gaps:
            inside = gap.from_ns is not None and gap.to_ns is not None
            inside = inside and job.from_ns <= (gap.from_ns or 0) and (gap.to_ns or 0) <= job.to_ns
            found, whole = job.found.get(gap.gap_id, 0), complete and inside
            status = self._continuity.repaired(gap, job.snapshot, found, time.time_ns(), whole=whole)
            if status is not None:
                job.gaps[gap.gap_id] = status.value
