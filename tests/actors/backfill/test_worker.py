"""Each due job gets its round, and no job delays another."""

from typing import Any, cast

import pytest
import trio
from trio.testing import MockClock

from actors.backfill.fetch_job import LOCKED, BackfillLimits, FetchJob
from actors.backfill.fetcher import Fetcher
from actors.backfill.worker import fetch_due
from actors.exchanges.contract.feed import Market
from actors.model.errors import DatabaseLocked
from supervisor import Context

LIMITS = BackfillLimits()
MARKETS = {symbol: cast(Market, f"the market {symbol}") for symbol in ("BTC/USDT", "ETH/USDT")}
FETCHER = cast(Fetcher, None)


class Jobs:
    """A source of jobs; a round may find the file in use, or lose another market."""

    def __init__(self, *symbols: str) -> None:
        self.jobs = [FetchJob(symbol=symbol) for symbol in symbols]
        self.fetched: list[Any] = []
        self.locked: set[str] = set()
        self.broken: set[str] = set()
        self.markets = dict(MARKETS)
        self.removes = ""

    def due(self) -> list[FetchJob]:
        return [job for job in self.jobs if job.due <= trio.current_time()]

    async def fetch(self, job: FetchJob, market: Market, _fetcher: Fetcher, /) -> None:
        await trio.lowlevel.checkpoint()
        self.fetched.append(market)
        self.markets.pop(self.removes, None)
        if job.symbol in self.locked:
            raise DatabaseLocked
        if job.symbol in self.broken:
            raise ValueError("a bug")

    async def round(self) -> list[Any]:
        self.fetched = []
        await fetch_due(self, self.markets, FETCHER, LIMITS, Context("x:backfill"))
        return self.fetched


async def test_a_file_in_use_delays_the_job_that_needs_it_and_no_other(autojump_clock: MockClock) -> None:
    jobs = Jobs("BTC/USDT", "ETH/USDT")
    jobs.locked = {"BTC/USDT"}
    assert await jobs.round() == list(MARKETS.values())
    assert jobs.jobs[0].reason == LOCKED
    assert await jobs.round() == [MARKETS["ETH/USDT"]]
    await trio.sleep(LIMITS.locked_s)
    assert await jobs.round() == list(MARKETS.values())


async def test_a_job_that_crashes_the_worker_has_its_turn_again_long_after_the_others(
    autojump_clock: MockClock,
) -> None:
    jobs = Jobs("BTC/USDT", "ETH/USDT")
    jobs.broken = {"BTC/USDT"}
    with pytest.raises(ValueError, match="a bug"):
        await jobs.round()
    assert "a bug" in jobs.jobs[0].reason
    assert await jobs.round() == [MARKETS["ETH/USDT"]]
    await trio.sleep(LIMITS.crashed_s)
    with pytest.raises(ValueError, match="a bug"):
        await jobs.round()


async def test_a_market_that_is_removed_during_a_round_is_not_requested(autojump_clock: MockClock) -> None:
    jobs = Jobs("BTC/USDT", "ETH/USDT")
    jobs.removes = "ETH/USDT"
    assert await jobs.round() == [MARKETS["BTC/USDT"]]
