"""The repair of one exchange: tells once a second what is missing, and fetches it back from the history."""

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass

import trio

from actors.backfill import Backfill, Budget, Recovered
from actors.catch import admit
from actors.continuity import Continuity
from actors.coverage import FeedEvent, FeedRow
from actors.dialect import Market
from actors.dialects.histories import HISTORIES
from actors.gaps import GapRow, GapStatus
from actors.history import History
from actors.ledger import Account
from actors.limiter import Limiters
from actors.parcel import Parcel
from actors.rest import Rest
from actors.settings import ExchangeSettings
from actors.stretches import status_of, stretches
from actors.ticks import Block
from supervisor.context import Context
from supervisor.mailbox import Mailbox

TICK_S = 1.0  # how often it is looked at what has been missing for too long
# One round asks little for each gap, so that a long outage of one market does not keep the others waiting.
ROUND_BUDGET = Budget(pages=5)
RETRY_FIRST_S, RETRY_MAX_S = 2.0, 300.0
TRIES_MAX = 50  # with the delays above about four hours; what has not come by then is given up


@dataclass(slots=True)
class _Attempts:
    """How often one gap was asked for in vain, what came meanwhile, and when it is asked for again."""

    tries: int = 0
    recovered: int = 0
    due: float = 0.0


class Repair:
    """Owned by the exchange: what it holds outlives crashes of the tasks that run `keep` and `fetch`.

    `markets` gives the markets by symbol as they are now. `limiters` are shared by all who ask the same host,
    None where nobody is asked. `hand_over` passes on what the connections have read so far.
    """

    def __init__(
        self,
        settings: ExchangeSettings,
        channel: str,
        markets: Callable[[], Mapping[str, Market]],
        continuity: Continuity,
        account: Account,
        intake: Mailbox[Parcel],
        limiters: Limiters | None,
        hand_over: Callable[[], Awaitable[None]],
    ) -> None:
        self._hand_over = hand_over
        self._settings, self._channel, self._markets = settings, channel, markets
        self._continuity, self._account, self._intake = continuity, account, intake
        self._limiters = limiters
        self._attempts: dict[str, _Attempts] = {}
        self._unsent: list[Parcel] = []
        self._said: list[FeedRow] = []
        self._opened: set[str] = set()
        self._admitted = 0
        self._sending = trio.Lock()

    @property
    def can_fetch(self) -> bool:
        """Whether there is a history to ask.

        What stands behind a ws_url may be anything; its trades are not to be mended with those of the real
        exchange, so its history is asked for only where rest_url says where.
        """
        settings = self._settings
        own = settings.ws_url is None or settings.rest_url is not None
        return self._limiters is not None and own and settings.dialect in HISTORIES

    def say(self, event: FeedEvent, symbols: Iterable[str]) -> None:
        """Records that markets are followed from now on, or no more."""
        now_ns = time.time_ns()
        self._said += [FeedRow(now_ns, self._settings.name, symbol, event) for symbol in symbols]

    async def keep(self, context: Context) -> None:
        """Until cancelled: what is missing becomes rows behind the ticks that were read so far."""
        context.ok()
        while True:
            self._look()
            # A gap must not be told filled in a batch before the one with the trades that fill it.
            await self._hand_over()
            await self._send()
            context.handled(0)
            await trio.sleep(TICK_S)

    async def fetch(self, context: Context) -> None:
        """Until cancelled: asks for what is missing, gap by gap, round by round."""
        context.ok()
        history = HISTORIES[self._settings.dialect]
        assert self._limiters is not None
        limiter = self._limiters.of(self._settings)
        rest = Rest(history, limiter, rest_url=self._settings.rest_url, ca_file=self._settings.ca_file)
        async with rest:
            backfill = Backfill(
                self._settings.name, history, self._channel, rest, self._deliver, budget=ROUND_BUDGET
            )
            while True:
                await self._send()
                for gap in self._continuity.unfinished():
                    market = self._markets().get(gap.symbol)
                    attempts = self._attempts.setdefault(gap.gap_id, _Attempts())
                    if gap.bounded and market is not None and trio.current_time() >= attempts.due:
                        await self._recover(backfill, history, market, gap, attempts)
                        context.handled()
                await trio.sleep(TICK_S)

    async def _recover(
        self, backfill: Backfill, history: History, market: Market, gap: GapRow, attempts: _Attempts
    ) -> None:
        parts = stretches(gap, self._continuity.missing_ids(gap.gap_id), history)
        before = self._admitted
        results: list[Recovered] = [await backfill.recover(market, part) for part in parts]
        attempts.recovered += self._admitted - before
        attempts.tries += 1
        status = status_of(results) if results else GapStatus.UNKNOWN
        if status is GapStatus.OPEN and attempts.tries < TRIES_MAX:
            waits = [result.retry_after_s or 0.0 for result in results]
            delay_s = min(RETRY_MAX_S, RETRY_FIRST_S * 2 ** min(attempts.tries, 10))
            attempts.due = trio.current_time() + max(delay_s, *waits)
            return
        if status is GapStatus.OPEN:
            status = GapStatus.PARTIAL if attempts.recovered else GapStatus.LOST
        self._continuity.resolved(gap.gap_id, attempts.recovered, status, time.time_ns())
        del self._attempts[gap.gap_id]

    async def _deliver(self, block: Block) -> None:
        rows = len(block)
        duplicates = admit(self._continuity, block, 0)
        self._account.recovered(rows, duplicates)
        self._admitted += len(block)
        if len(block):
            self._unsent.append(Parcel(block))
            await self._send()

    async def _send(self) -> None:
        """Puts what there is into the buffer's mailbox, in order; what a cancellation leaves is still here."""
        async with self._sending:
            while self._unsent:
                await self._intake.put(self._unsent[0])
                self._unsent.pop(0)

    def _look(self) -> None:
        """Gathers what is to be recorded of gaps and feeds."""
        self._continuity.tick(trio.current_time(), time.time_ns())
        gaps, feeds = tuple(self._continuity.take_gaps()), tuple(self._said + self._continuity.take_feeds())
        self._said = []
        opened = {gap.gap_id for gap in gaps if gap.status is GapStatus.OPEN} - self._opened
        self._opened |= opened
        self._account.gaps += len(opened)
        if gaps or feeds:
            self._unsent.append(Parcel(Block(self._settings.name), gaps=gaps, feeds=feeds))

    def rests(self) -> list[Parcel]:
        """At the end: takes out all that has not been handed over."""
        self._look()
        rest, self._unsent = self._unsent, []
        return rest
