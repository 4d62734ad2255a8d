"""The backfill actor of one exchange: fetches for the jobs that are due, in rounds."""

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar

import trio

from actors.backfill.fetch_job import LOCKED, BackfillLimits, FetchJob
from actors.backfill.fetcher import Fetcher
from actors.backfill.gap_filler import GapFiller
from actors.backfill.repairs import Repairs
from actors.backfill.stall_probe import StallProbes
from actors.exchanges.contract.feed import Market
from actors.model.errors import DatabaseLocked
from supervisor import Context, describe

Job = TypeVar("Job", bound=FetchJob)


class JobSource(Protocol[Job]):
    """A source of jobs: GapFiller, StallProbes and Repairs."""

    def due(self) -> Sequence[Job]:
        """The jobs to fetch now, in order."""

    async def fetch(self, job: Job, market: Market, fetcher: Fetcher, /) -> None:
        """One round for one job; finishes it or schedules the next. Raises DatabaseLocked."""


class BackfillWorker:
    """The exchange owns it; a crash of `run` loses nothing."""

    def __init__(
        self,
        fetcher: Fetcher,
        markets: Mapping[str, Market],
        gap_filler: GapFiller,
        probes: StallProbes,
        repairs: Repairs,
        limits: BackfillLimits,
    ) -> None:
        self._fetcher, self._markets, self._limits = fetcher, markets, limits
        self._gap_filler, self.probes, self.repairs = gap_filler, probes, repairs

    async def run(self, context: Context) -> None:
        """Runs until cancelled: round after round, a few pages for each job."""
        context.ok()
        async with self._fetcher.rest:
            while True:
                await self._fetch_due(self._gap_filler, context)
                await self._fetch_due(self.probes, context)
                self._report_absent(context)
                await self._fetch_due(self.repairs, context)
                self._report_finished(context)
                await trio.sleep(self._limits.round_s)

    async def _fetch_due(self, source: JobSource[Job], context: Context) -> None:
        await fetch_due(source, self._markets, self._fetcher, self._limits, context)

    def _report_absent(self, context: Context) -> None:
        """Degrades health while markets are absent from the exchange."""
        for symbol, why in self.probes.take_news():
            context.note("unknown_market", why, symbol=symbol)
        context.degraded_by(list(self.probes.absent.values()), self._limits.absent_shown_max)

    def _report_finished(self, context: Context) -> None:
        for job in self.repairs.take_finished():
            outcome = "complete" if job.complete else job.reason
            reason = f"{job.symbol}: {job.stored:,} missing trades are stored now; {outcome}"
            context.note("repaired", reason, symbol=job.symbol, stored=job.stored, came=job.came, gaps=job.gaps)


async def fetch_due(
    source: JobSource[Job],
    markets: Mapping[str, Market],
    fetcher: Fetcher,
    limits: BackfillLimits,
    context: Context,
) -> None:
    """One round for each job of a source that is due."""
    for job in source.due():
        market = markets.get(job.symbol)
        if market is None:  # removed meanwhile
            continue
        try:
            await source.fetch(job, market, fetcher)
        except DatabaseLocked:
            job.pause(limits.locked_s, LOCKED)
        except Exception as error:
            job.pause(limits.crashed_s, describe(error))  # it outlives the crash, and would cause the next one
            raise
        context.handled(0)
