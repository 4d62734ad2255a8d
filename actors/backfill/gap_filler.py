"""The recovery of one exchange: has what is missing fetched from the history, gap by gap, round by round."""

import math
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import trio

from actors.backfill.fetcher import SETTLE_S, Budget, Deliver, Fetcher, Recovered, Refuse
from actors.backfill.rate_limiter import RateLimiters
from actors.backfill.repairs import RepairJob, Repairs
from actors.backfill.rest_client import RestClient
from actors.backfill.retry import patience_s
from actors.backfill.stall_probe import StallProbes
from actors.backfill.stored_trades import DatabaseLocked
from actors.backfill.trade_ranges import status_of, stretches
from actors.continuity.continuity import CLOCKS_NS, Continuity
from actors.exchanges.contract.feed import Market
from actors.exchanges.contract.history import TradeRange
from actors.exchanges.registry import EXCHANGES
from actors.model.records import GapReason, GapRow, GapStatus
from actors.model.ticks import Block, Reject
from actors.settings import ExchangeSettings
from supervisor import Context

TICK_S = 1.0
# One round asks little for each gap, so that a long outage of one market does not keep the others waiting.
ROUND_BUDGET = Budget(pages=5)
TRIES_MAX = 50  # with the delays of patience_s about four hours; what has not come by then is given up
# An outage that no trade ends is looked into once the market has been delivered again for so long: busy ones have
# traded by then, and what histories lag behind has come.
QUIET_S = 10.0
BUSY_S = 2.0  # until a file that was busy is asked again
LYING_S = 5.0  # how often the history is asked in place of a feed that brings nothing
ABSENT_SHOWN_MAX = 10  # markets that the exchange does not have which health names
REJECTS_KNOWN_MAX = 1_000  # odd rows that are remembered, so that each becomes a reject once however often it comes


@dataclass(slots=True)
class _Attempts:
    """How often one gap was asked for in vain, what came meanwhile, and when it is asked for again."""

    bounded: bool
    tries: int = 0
    recovered: int = 0
    due: float = 0.0
    left: list[TradeRange] = field(default_factory=list)  # to be asked for in the next round, where ids do not tell
    from_ns: int = 0  # of an outage without an end: what is older has come


class GapFiller:
    """Owned by the exchange: what it holds outlives crashes of the task that runs `fetch`.

    `markets` gives the markets by symbol as they are now; `limiters` are shared by all who ask the same host.
    `deliver` takes blocks of what came and returns how many of their rows were new; it may raise FileBusy. `refuse`
    takes rows that are no sound trades, each once. While `halted` nothing is asked about silence: the exchange has
    given the reason.
    """

    def __init__(
        self,
        settings: ExchangeSettings,
        channel: str,
        markets: Callable[[], Mapping[str, Market]],
        continuity: Continuity,
        limiters: RateLimiters,
        deliver: Callable[[Block], Awaitable[int]],
        mender: Repairs,
        refuse: Refuse | None = None,
        halted: Callable[[], bool] = lambda: False,
    ) -> None:
        self._refuse, self._refused = refuse, set[int]()
        self._settings, self._channel, self._markets = settings, channel, markets
        self._continuity, self._limiters, self._deliver = continuity, limiters, deliver
        self.mender, self._halted = mender, halted
        history = EXCHANGES[settings.dialect].history
        assert history is not None, "only an exchange with a history has gaps filled"
        self._history = history
        self._attempts: dict[str, _Attempts] = {}
        self.questions = StallProbes(self._history, markets, continuity, self._lied)
        self._new = 0  # rows that were new, ever

    def rest(self) -> RestClient:
        """A client of the exchange, to be used as an async context manager."""
        limiter = self._limiters.of(self._settings)
        return RestClient(self._history, limiter, rest_url=self._settings.rest_url, ca_file=self._settings.ca_file)

    def backfill(self, rest: RestClient, deliver: Deliver, budget: Budget = ROUND_BUDGET) -> Fetcher:
        """Asks through `rest`."""
        return Fetcher(
            self._settings.name,
            self._history,
            self._channel,
            rest,
            deliver,
            refuse=self._refuse_once,
            budget=budget,
        )

    def _refuse_once(self, reject: Reject) -> None:
        key = hash((reject.symbol, reject.payload))
        if self._refuse is None or key in self._refused:
            return
        if len(self._refused) >= REJECTS_KNOWN_MAX:
            self._refused.clear()
        self._refused.add(key)
        self._refuse(reject)

    async def fetch(self, context: Context) -> None:
        """Until cancelled: asks for what is missing, gap by gap, round by round."""
        context.ok()
        async with self.rest() as rest:
            backfill, probe = self.backfill(rest, self._take), self.backfill(rest, _ignore, Budget(pages=1))
            while True:
                for gap in self._continuity.unfinished():
                    market, attempts = self._markets().get(gap.symbol), self._attempts_at(gap)
                    if market is not None and trio.current_time() >= attempts.due:
                        try:
                            if gap.bounded:
                                await self._recover(backfill, market, gap, attempts)
                            elif self._quiet(gap) and not self._halted():
                                await self._end(backfill, market, gap, attempts)
                        except DatabaseLocked:
                            attempts.due = trio.current_time() + BUSY_S
                        context.handled(0)
                self._judge_absent(context)
                for question in () if self._halted() else self.questions.due():
                    await self.questions.answer(probe, question)
                    context.handled(0)
                await self._mend(context, rest)
                known = {gap.gap_id for gap in self._continuity.unfinished()}
                self._attempts = {gap: kept for gap, kept in self._attempts.items() if gap in known}
                await trio.sleep(TICK_S)

    def _judge_absent(self, context: Context) -> None:
        """Says in health which markets the exchange does not have."""
        for symbol, why in self.questions.look():
            context.note("unknown_market", why, symbol=symbol)
        context.degraded_by(list(self.questions.absent.values()), ABSENT_SHOWN_MAX)

    def _attempts_at(self, gap: GapRow) -> _Attempts:
        attempts = self._attempts.get(gap.gap_id)
        if attempts is None or attempts.bounded != gap.bounded:  # its end came: another question
            recovered = attempts.recovered if attempts else 0
            attempts = self._attempts[gap.gap_id] = _Attempts(gap.bounded, recovered=recovered)
        return attempts

    async def _mend(self, context: Context, rest: RestClient) -> None:
        def tell(order: RepairJob) -> None:
            outcome = "complete" if order.complete else order.reason
            reason = f"{order.symbol}: {order.stored:,} trades were missing and are stored; {outcome}"
            context.note(
                "mended", reason, symbol=order.symbol, stored=order.stored, came=order.came, gaps=order.gaps
            )

        await self.mender.carry_on(self._markets(), lambda take: self.backfill(rest, take), tell)

    async def _take(self, block: Block) -> None:
        self._new += await self._deliver(block)

    async def _recover(self, backfill: Fetcher, market: Market, gap: GapRow, attempts: _Attempts) -> None:
        parts = attempts.left or stretches(gap, self._continuity.missing_ids(gap.gap_id), self._history)
        before = self._new
        results: list[Recovered] = [await backfill.recover(market, part) for part in parts]
        if not self._continuity.counts(gap.symbol):  # where ids do not tell what is left, the pages so far do
            unfinished = [result for result in results if not (result.complete or result.final)]
            attempts.left = [result.remaining for result in unfinished if result.remaining is not None]
        found = self._new - before
        attempts.recovered += found
        status = status_of(results) if results else GapStatus.UNKNOWN
        if status is GapStatus.OPEN and _try_again(attempts, results, found=found):
            return
        if status is GapStatus.OPEN:
            status = GapStatus.PARTIAL if attempts.recovered else GapStatus.LOST
        self._continuity.resolved(gap.gap_id, attempts.recovered, status, time.time_ns())

    # -- outages that no trade has ended --------------------------------------------------------------

    def _quiet(self, gap: GapRow) -> bool:
        since_ns, quiet_s = self._due_ns(gap), 0.0 if gap.reason is GapReason.REJECTED else QUIET_S
        return since_ns is not None and gap.from_ns is not None and time.time_ns() - since_ns > quiet_s * 1e9

    def _due_ns(self, gap: GapRow) -> int | None:
        """From when on a feed should bring the trades: another one, or the stalled one until then."""
        settled_ns = self._continuity.settled_ns(gap)
        stalled = gap.reason in (GapReason.STALL, GapReason.REJECTED) and not gap.bounded
        return gap.opened_ns if settled_ns is None and stalled else settled_ns

    async def _end(self, backfill: Fetcher, market: Market, gap: GapRow, attempts: _Attempts) -> None:
        """The market is delivered again and nothing comes: the history shows whether there is nothing to come.

        Where it has trades from after the market was delivered again, the feed lies: what it does not bring is
        taken from here from time to time, and the gap stays open. So it does until a stalled feed is replaced.
        """
        assert gap.from_ns is not None
        from_ns = attempts.from_ns or gap.from_ns
        until_ns = max(time.time_ns() - int(SETTLE_S * 1e9), from_ns)
        before = self._new
        result = await backfill.recover(market, TradeRange(from_ns=from_ns, to_ns=until_ns))
        attempts.recovered += self._new - before
        in_place = self._lies(gap) or self._continuity.settled_ns(gap) is None
        if in_place and (result.complete or (result.final and result.count)):  # what is older cannot be had
            attempts.from_ns, attempts.due = until_ns - CLOCKS_NS, trio.current_time() + LYING_S
            return
        if result.complete:
            self._continuity.ended(gap.gap_id, until_ns, attempts.recovered, time.time_ns())
        if (result.final and not result.complete) or not _try_again(attempts, [result]):
            attempts.due = math.inf

    def _lied(self, symbol: str) -> bool:
        return any(gap.symbol == symbol and self._lies(gap) for gap in self._continuity.unfinished())

    def _lies(self, gap: GapRow) -> bool:
        """Whether trades came from the history that the feed should have brought."""
        since_ns, newest_ns = self._due_ns(gap), self._continuity.newest(gap.symbol)[1]
        return since_ns is not None and newest_ns is not None and newest_ns > since_ns + CLOCKS_NS


def _try_again(attempts: _Attempts, results: list[Recovered], *, found: int = 0) -> bool:
    """Counts a try that brought no end; False when there were enough. One that brought some of it was not in
    vain: the rest of a long stretch, of which one round asks a part, is asked for in the next round."""
    attempts.tries = 0 if found else attempts.tries + 1
    delay_s = 0.0 if found else patience_s(attempts.tries)
    attempts.due = trio.current_time() + max(delay_s, *(r.retry_after_s or 0.0 for r in results))
    return attempts.tries < TRIES_MAX


async def _ignore(block: Block) -> None:
    """For questions to which the number of rows is the answer."""
