"""Probes the history about silent markets: whether trades did not arrive, or the market does not exist."""

import math
import time
from collections.abc import Mapping

import trio

from actors.backfill.fetch_job import BackfillLimits, FetchJob
from actors.backfill.fetcher import Budget, Fetcher
from actors.continuity.continuity import CLOCKS_NS, Continuity
from actors.exchanges.contract.feed import Market
from actors.exchanges.contract.feed_helpers import S_NS
from actors.exchanges.contract.history import History, TradeRange
from actors.feed.connection_pool import ConnectionPool
from actors.model.records import GapReason, GapRow
from actors.model.ticks import Block

ONE_PAGE = Budget(pages=1)


class StallProbe(FetchJob, kw_only=True):
    """A probe of the last `silent_s` before `asked_at`. `answer` is None until there is one."""

    asked_at: float
    silent_s: float
    answer: bool | None = None


class StallProbes:
    """The exchange owns it. The stall detector requests probes and reads answers; the worker fetches them."""

    def __init__(
        self,
        history: History,
        markets: Mapping[str, Market],
        continuity: Continuity,
        pool: ConnectionPool,
        limits: BackfillLimits,
    ) -> None:
        self._history, self._markets, self._continuity = history, markets, continuity
        self._pool, self._limits = pool, limits
        self._probes: dict[str, StallProbe] = {}
        self._look_at: dict[str, float] = {}  # when a market that has never traded is probed again
        self._news: list[str] = []
        self.absent: dict[str, str] = {}  # absent markets, and the message about each

    def ask(self, symbol: str, silent_s: float) -> None:
        """Requests a probe: are there trades of the last `silent_s` that did not arrive? No effect while one is
        running.
        """
        if symbol not in self._probes:
            self._probes[symbol] = StallProbe(symbol=symbol, asked_at=trio.current_time(), silent_s=silent_s)

    def answer(self, symbol: str, since: float) -> bool | None:
        """Takes the answer to a probe requested after `since` (trio's clock); None while there is none."""
        probe = self._probes.get(symbol)
        if probe is None or (probe.answer is None and probe.asked_at >= since):
            return None
        del self._probes[symbol]
        return probe.answer if probe.asked_at >= since else None

    def due(self) -> list[StallProbe]:
        """A few probes to fetch now; none while the exchange itself reports that it makes no trades."""
        self._probe_untraded()
        if self._pool.halted:
            return []
        self._probes = {symbol: probe for symbol, probe in self._probes.items() if symbol in self._markets}
        now = trio.current_time()
        due = [probe for probe in self._probes.values() if probe.answer is None and now >= probe.due]
        return due[: self._limits.probes_max]

    async def fetch(self, probe: StallProbe, market: Market, fetcher: Fetcher) -> None:
        """Requests one page; the number of its rows is the answer. After an error the probe is retried."""
        symbol, now = probe.symbol, trio.current_time()
        if any(
            gap.symbol == symbol and feed_withholds(self._continuity, gap) for gap in self._continuity.unfinished()
        ):
            probe.answer = True
            return
        last_id, last_ns = self._continuity.newest(symbol)
        untraded = last_id is None and last_ns is None
        exchange_ns = self._continuity.exchange_ns(time.time_ns())
        if last_ns is None:  # nothing was ever stored
            last_ns = exchange_ns - int((now - probe.asked_at + probe.silent_s) * S_NS)
        from_ns = last_ns + 1 + self._history.slack_ns
        until_ns = max(exchange_ns - int(self._limits.settle_s * S_NS), from_ns)
        result = await fetcher.fetch(market, TradeRange(from_ns=from_ns, to_ns=until_ns), _ignore, ONE_PAGE)
        if symbol not in self._markets:  # removed meanwhile
            return
        if result.refused and untraded:
            self._mark_absent(symbol, result.refused)
            probe.answer = False
        elif result.count or result.complete:
            self._mark_present(symbol)
            probe.answer = result.count > 0
            if result.complete and not result.count:
                self._continuity.compared(symbol, from_ns, until_ns, time.time_ns())
        elif result.final:
            if not result.refused:
                self._mark_present(symbol)
            probe.due = math.inf
        else:
            probe.failed(self._limits, result.reason, result.retry_after_s)

    # -- markets that have never traded ---------------------------------------------------------------

    def take_news(self) -> list[tuple[str, str]]:
        """The markets found absent since the last call, and why."""
        news, self._news = self._news, []
        return [(symbol, self.absent[symbol]) for symbol in news if symbol in self.absent]

    def _probe_untraded(self) -> None:
        now, now_ns = trio.current_time(), time.time_ns()
        for symbol in self._look_at.keys() - self._markets.keys():
            del self._look_at[symbol]
            self.absent.pop(symbol, None)
        for symbol in self._markets:
            since_ns = self._continuity.untraded_ns(symbol)
            if since_ns is None:
                if symbol in self.absent and self._continuity.newest(symbol)[1] is not None:
                    self._mark_present(symbol)
            elif now_ns - since_ns > self._limits.silent_s * S_NS and now >= self._look_at.get(symbol, 0.0):
                probe = self._probes.get(symbol)
                if probe is None or probe.answer is not None:
                    silent_s = (now_ns - since_ns) / S_NS
                    self._probes[symbol] = StallProbe(symbol=symbol, asked_at=now, silent_s=silent_s)

    def _mark_present(self, symbol: str) -> None:
        self._look_at[symbol] = math.inf
        if self.absent.pop(symbol, None) is not None:
            self._continuity.present(symbol, time.time_ns())

    def _mark_absent(self, symbol: str, reason: str) -> None:
        self._look_at[symbol] = trio.current_time() + self._limits.absent_again_s
        self._continuity.absent(symbol, time.time_ns())  # also if known: it may have been removed and added since
        if symbol not in self.absent:
            self._news.append(symbol)
            self.absent[symbol] = (
                f"{symbol}: {self._history.name} has no such market ({reason}); check its spelling, "
                f"`tickwarden doctor` suggests similar ones"
            )


def due_ns(continuity: Continuity, gap: GapRow) -> int | None:
    """From when on a feed should deliver the market's trades: another one, or the stalled one until then."""
    settled_ns = continuity.settled_ns(gap)
    stalled = gap.reason in (GapReason.STALL, GapReason.REJECTED) and not gap.bounded
    return gap.opened_ns if settled_ns is None and stalled else settled_ns


def feed_withholds(continuity: Continuity, gap: GapRow) -> bool:
    """Whether the history has returned trades that the feed should have delivered."""
    since_ns, newest_ns = due_ns(continuity, gap), continuity.newest(gap.symbol)[1]
    if since_ns is None or newest_ns is None:
        return False
    return newest_ns > continuity.exchange_ns(since_ns) + CLOCKS_NS


async def _ignore(block: Block) -> None:
    """Stores nothing: the number of rows is the answer."""
