"""The repair of one exchange: tells once a second what is missing, and fetches it back from the history."""

import time
from collections.abc import Awaitable, Callable, Mapping

import trio

from actors.backfill.gap_filler import GapFiller
from actors.backfill.repairs import Repairs
from actors.backfill.stored_trades import StoredTrades
from actors.continuity.continuity import Continuity
from actors.continuity.deduplicator import Known
from actors.exchanges.contract.feed import Market
from actors.exchanges.registry import EXCHANGES
from actors.feed.accumulator import admit, rejected
from actors.model.chunk import Chunk
from actors.model.ticks import Block, Reject
from actors.settings import ExchangeSettings
from actors.surroundings import SharedServices
from actors.telemetry.ledger import Account
from supervisor import Context, Mailbox

NEWS_S = 1.0  # how long a connection waits for a full buffer before it connects all the same
ALARMS_SHOWN_MAX = 5  # refused markets that health names
TICK_S = 1.0  # how often it is looked at what has been missing for too long


class GapReporter:
    """Owned by the exchange: what it holds outlives crashes of the tasks that run `keep` and `fetch`.

    `markets` gives the markets by symbol as they are now; `hand_over` passes on what the connections have read so
    far; `halted` says whether the exchange makes no trades by its own words. Without `surroundings` there is
    nobody to ask and nothing is fetched.
    """

    def __init__(
        self,
        settings: ExchangeSettings,
        channel: str,
        markets: Callable[[], Mapping[str, Market]],
        continuity: Continuity,
        account: Account,
        intake: Mailbox[Chunk],
        hand_over: Callable[[], Awaitable[None]],
        surroundings: SharedServices | None = None,
        halted: Callable[[], bool] = lambda: False,
    ) -> None:
        self._hand_over, self._surroundings, self._markets = hand_over, surroundings, markets
        self._settings = settings
        self._continuity, self._account, self._intake = continuity, account, intake
        # What stands behind a ws_url may be anything; its trades are not to be mended with those of the real
        # exchange, so its history is asked for only where rest_url says where.
        own = settings.ws_url is None or settings.rest_url is not None
        self.recovery: GapFiller | None = None
        if surroundings is not None and own and EXCHANGES[settings.dialect].history is not None:
            self._stored_trades = StoredTrades(settings.name, surroundings.consult, self._settle)
            mender, limiters = Repairs(continuity, self._stored_trades, self._deliver), surroundings.limiters
            self.recovery = GapFiller(
                settings, channel, markets, continuity, limiters, self._fetched, mender, self._refuse, halted
            )
        self._unsent: list[Chunk] = []
        self._opened = 0  # gaps that the account knows of
        self._sending = trio.Lock()

    async def keep(self, context: Context) -> None:
        """Until cancelled: what is missing becomes rows behind the ticks that were read so far."""
        context.ok()
        while True:
            self._judge_refusals(context)
            if self._continuity.blind:
                await self._look_back(context)
            await self.tell()
            context.handled(0)
            await trio.sleep(TICK_S)

    def _judge_refusals(self, context: Context) -> None:
        """Says in health of which markets a considerable share is refused, and records that it is missing."""
        refusals, now_ns = self._account.refusals, time.time_ns()
        refusals.forget([symbol for symbol in refusals.watched if symbol and symbol not in self._markets()])
        begun, ended = refusals.tick(trio.current_time())
        for one in begun:
            context.note("refusing", one.alarm, symbol=one.symbol)
        for one in ended:
            context.note("refusing_ended", f"sound trades come again: {one.alarm}", symbol=one.symbol)
        alarms = refusals.alarms
        for one in alarms:
            # Where sound trades come too, ids that count show by themselves what is missing between them.
            partly = one.symbol is not None and not self._continuity.counts(one.symbol)
            missing = one.markets if partly else one.markets - one.heard
            for symbol in missing if one.fresh else ():
                self._continuity.refused(symbol, one.since_ns, now_ns)
            one.fresh = False
        context.degraded_by([one.alarm for one in alarms], ALARMS_SHOWN_MAX)

    def _refuse(self, reject: Reject) -> None:
        """A row of the history that is no sound trade."""
        self._account.reject_unsaved(1)
        self._unsent.append(Chunk(Block(self._settings.name), (reject,)))

    async def _look_back(self, context: Context) -> None:
        """Takes up what was stored before, once another process lets go of the file."""
        blind = self._continuity.blind
        promises = {symbol: self._continuity.promises[symbol] for symbol in blind}
        assert self._surroundings is not None, "only who has a file can fail to read it"
        seeds = await self._surroundings.past(self._settings.name, promises, blind)
        if seeds is not None:
            self._continuity.restore_late(seeds, blind, time.time_ns())
            if not self._continuity.blind:
                context.note("continuity_known", "the file can be read: what was missed is asked for")

    async def tell(self) -> None:
        """What is known to be missing goes to the buffer: behind all ticks read so far, and before all others."""
        self._look()
        # A gap must not be told filled in a batch before the one with the trades that fill it.
        await self._hand_over()
        await self._send()

    async def tell_news(self) -> None:
        """The same, if there is anything new: an outage, above all, before what is read after it."""
        self._look()
        if self._unsent:
            with trio.move_on_after(NEWS_S):
                await self.tell()

    async def fetch(self, context: Context) -> None:
        """Until cancelled: asks for what is missing. Only where there is a `recovery`."""
        assert self.recovery is not None
        await self._send()
        await self.recovery.fetch(context)

    async def _deliver(self, block: Block, admit_rows: Callable[[Block], int] | None = None) -> int:
        """Books what came from the history and hands on what of it is new; returns how much that is."""
        rows = len(block)
        duplicates = admit_rows(block) if admit_rows else admit(self._continuity, block, 0)
        self._account.recovered(rows, duplicates)
        if len(block):
            self._unsent.append(Chunk(block))
            await self._send()
        return rows - duplicates

    async def _fetched(self, block: Block) -> int:
        """What was asked for because it is missing. Raises FileBusy.

        Ids without a sequence are remembered for a short time only, so the file is asked which of these it has.
        """
        symbol = block.symbol[0]
        if self._continuity.counts(symbol) and not self._continuity.doubts(symbol):
            return await self._deliver(block)
        await self._settle()
        stored = await self._stored_trades.stored(symbol, block)
        return await self._deliver(block, lambda rows: admit(self._continuity, rows, 0, known=Known(stored)))

    async def _settle(self) -> None:
        """Returns when all that was admitted so far is durable, and what became of gaps."""
        await self.tell()
        if self._surroundings is not None:
            await self._surroundings.flush()

    async def _send(self) -> None:
        """Puts what there is into the buffer's mailbox, in order; what a cancellation leaves is still here."""
        async with self._sending:
            while self._unsent:
                await self._intake.put(self._unsent[0])
                self._unsent.pop(0)

    def _look(self, *, end: bool = False) -> None:
        """Gathers what became of rows that were held, and what is to be recorded of gaps and feeds."""
        now = trio.current_time()
        self._continuity.tick(now, time.time_ns(), end=end)
        block, decided = self._continuity.deduplicator.take_decided(now, end=end)
        self._account.decided(decided.copies, len(decided.refused))
        if len(block) or decided.refused:
            rejects = tuple(rejected(self._settings.name, refused) for refused in decided.refused)
            self._unsent.append(Chunk(block, rejects))
        gaps, feeds = tuple(self._continuity.take_gaps()), tuple(self._continuity.take_feeds())
        self._account.gaps += self._continuity.gaps_opened - self._opened
        self._opened = self._continuity.gaps_opened
        if gaps or feeds:
            self._unsent.append(Chunk(Block(self._settings.name), gaps=gaps, feeds=feeds))

    def rests(self) -> list[Chunk]:
        """At the end: takes out all that has not been handed over."""
        self._look(end=True)
        rest, self._unsent = self._unsent, []
        return rest
