"""for a gap whose end is not known yet, or that has neither ids nor times."""

import math
import time
from collections.abc import Mapping, Sequence
from functools import partial

import trio
from msgspec import field

from actors.backfill.delivery import Delivery
from actors.backfill.fetch_job import BackfillLimits, FetchJob
from actors.backfill.fetcher import Fetcher, FetchResult, Store
from actors.backfill.stall_probe import due_ns, feed_withholds
from actors.continuity.continuity import CLOCKS_NS, Continuity
from actors.exchanges.contract.feed import Market
from actors.exchanges.contract.feed_helpers import S_NS
from actors.exchanges.contract.history import History, TradeRange
from actors.feed.connection_pool import ConnectionPool
from actors.model.errors import DatabaseLocked
from actors.model.records import GapReason, GapRow, GapStatus
from actors.model.ticks import Block


class GapJob(FetchJob, kw_only=True):
    """Fills one gap. `recovered` is the number of its rows fetched so far."""

    gap: GapRow
    recovered: int = 0
    left: list[TradeRange] = field(default_factory=list)  # for the next round, if ids do not show what is left
    from_ns: int = 0  # of an outage without an end: older trades are fetched ...
    incomplete: bool = False  # ... except for some that the history does not have

    def note(self, block: Block) -> None:
        """Counts rows that had been missing."""
        self.recovered += len(block)


class GapFiller:
    """The exchange owns it: its jobs survive crashes of the worker. `markets` is the live mapping by symbol."""

    def __init__(
        self,
        history: History,
        markets: Mapping[str, Market],
        continuity: Continuity,
        delivery: Delivery,
        pool: ConnectionPool,
        limits: BackfillLimits,
    ) -> None:
        self._history, self._markets, self._continuity = history, markets, continuity
        self._delivery, self._pool, self._limits = delivery, pool, limits
        self._jobs: dict[str, GapJob] = {}

    def due(self) -> list[GapJob]:
        """The gaps whose fetch is due, oldest first."""
        gaps = self._continuity.unfinished()
        self._jobs = {gap.gap_id: self._job(gap) for gap in gaps}
        now = trio.current_time()
        jobs = [job for job in self._jobs.values() if now >= job.due and job.symbol in self._markets]
        return [job for job in jobs if job.gap.bounded or (self._quiet(job.gap) and not self._pool.halted)]

    def _job(self, gap: GapRow) -> GapJob:
        job = self._jobs.get(gap.gap_id)
        if job is None or not job.gap.same_range(gap):  # its end is known now, or it begins earlier
            return GapJob(symbol=gap.symbol, gap=gap, recovered=job.recovered if job else 0)
        job.gap = gap
        return job

    async def fetch(self, job: GapJob, market: Market, fetcher: Fetcher) -> None:
        """One round for one gap. Raises DatabaseLocked, also if it is unknown yet where the gap begins: an answer
        about a part of it would close it.
        """
        if self._continuity.begins_unknown(job.gap):
            raise DatabaseLocked
        if job.gap.bounded:
            await self._fill(job, market, fetcher)
        else:
            await self._look_for_end(job, market, fetcher)

    async def _storing(self, job: GapJob) -> Store:
        """Stores what is fetched for a gap, and counts it. Continuity remembers trades that have vanished."""
        vanished = job.gap.reason is GapReason.VANISHED
        snapshot = await self._delivery.snapshot(job.symbol) if vanished else None
        return partial(self._delivery.store_missing, admitted=job.note, snapshot=snapshot)

    async def _fill(self, job: GapJob, market: Market, fetcher: Fetcher) -> None:
        gap, before, store = job.gap, job.recovered, await self._storing(job)
        parts = job.left or ranges_of(gap, self._continuity.missing_ids(gap.gap_id), self._history)
        results = [await fetcher.fetch(market, part, store, self._limits.round_budget) for part in parts]
        now = self._continuity.gap(gap.gap_id)
        if now is None or not now.same_range(gap):  # it is closed, or the next round requests its new range
            return
        if not self._continuity.counts(gap.symbol):  # ids do not show what is left: the pages so far do
            unfinished = [result for result in results if not (result.complete or result.final)]
            job.left = [result.remaining for result in unfinished if result.remaining is not None]
        status = status_of(results) if results else GapStatus.UNKNOWN
        if status is GapStatus.OPEN:
            retry_after_s = max(result.retry_after_s or 0.0 for result in results)
            if job.recovered > before:
                job.progressed(retry_after_s)
                return
            if job.failed(
                self._limits, next(filter(None, (result.reason for result in results)), ""), retry_after_s
            ):
                return
            status = GapStatus.PARTIAL if job.recovered else GapStatus.LOST
        self._continuity.resolved(gap.gap_id, job.recovered, status, time.time_ns())

    # -- outages that no trade has ended --------------------------------------------------------------

    def _quiet(self, gap: GapRow) -> bool:
        """Whether the market, if it still trades, should have traded by now."""
        since_ns = due_ns(self._continuity, gap)
        quiet_s = 0.0 if gap.reason is GapReason.REJECTED else self._limits.quiet_s
        return since_ns is not None and gap.from_ns is not None and time.time_ns() - since_ns > quiet_s * S_NS

    async def _look_for_end(self, job: GapJob, market: Market, fetcher: Fetcher) -> None:
        """Handles a market that is delivered again without a trade: the history shows whether there was one.

        If it has trades from after the market was delivered again, the feed withholds them: they are fetched from
        the history periodically, and the gap stays open, until the stalled feed is replaced. It stays open too
        if the feed was lost or replaced during the request: what was traded until it was back may be missing.
        """
        gap, limits = job.gap, self._limits
        assert gap.from_ns is not None
        from_ns = job.from_ns or gap.from_ns
        until_ns = self._continuity.exchange_ns(time.time_ns()) - int(limits.settle_s * S_NS)
        if until_ns <= from_ns:  # by clocks that cannot be right
            job.pause(limits.substitute_s, "waits until the clock has passed the last trade")
            return
        settled_ns = self._continuity.settled_ns(gap)
        wanted = TradeRange(from_ns=from_ns, to_ns=until_ns)
        result = await fetcher.fetch(market, wanted, await self._storing(job), limits.round_budget)
        delivered = settled_ns is not None and settled_ns == self._continuity.settled_ns(gap)
        in_place = not delivered or feed_withholds(self._continuity, gap)
        if in_place and (result.complete or (result.final and result.count)):  # older trades are unavailable
            job.from_ns, job.incomplete = until_ns - CLOCKS_NS, job.incomplete or not result.complete
            job.pause(limits.substitute_s, "fetched from the history instead of the feed")
            return
        if result.complete and not job.incomplete:
            self._continuity.ended(gap.gap_id, until_ns, job.recovered, time.time_ns())
        elif result.complete or result.final or not job.failed(limits, result.reason, result.retry_after_s):
            job.due = math.inf  # the next trade ends the gap, and with it the whole range is judged


def ranges_of(gap: GapRow, missing_ids: Sequence[tuple[int, int]], history: History) -> list[TradeRange]:
    """The ranges to request, lowest first: ranges of ids (both ends missing) if known, else of times.

    Ranges covered by one page are requested together; stored trades between them arrive as copies, which continuity
    drops.
    """
    if not missing_ids:
        if gap.from_ns is None or gap.to_ns is None:
            return []
        return [TradeRange(from_ns=min(gap.from_ns, gap.to_ns), to_ns=gap.to_ns)]
    joined = [missing_ids[0]]
    for first, last in missing_ids[1:]:
        if last - joined[-1][0] < history.page_rows:
            joined[-1] = (joined[-1][0], last)
        else:
            joined.append((first, last))
    # Times of different clocks may be slightly out of order; they only narrow the search.
    to_ns = gap.to_ns if gap.from_ns is None or gap.to_ns is None else max(gap.from_ns, gap.to_ns)
    return [TradeRange(from_id=first, to_id=last, from_ns=gap.from_ns, to_ns=to_ns) for first, last in joined]


def status_of(parts: Sequence[FetchResult]) -> GapStatus:
    """The status of a gap after all its ranges were requested: open while a retry may bring more."""
    if all(part.complete for part in parts):
        return GapStatus.FILLED
    if not all(part.complete or part.final for part in parts):
        return GapStatus.OPEN
    return GapStatus.PARTIAL if any(part.count for part in parts) else GapStatus.LOST
