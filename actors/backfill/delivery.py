"""Stores what an exchange's history brought: what of it is new is counted and sent to the buffer, once."""

from collections.abc import Awaitable, Callable, Container

from actors.backfill.stored_trades import StoredTrades
from actors.continuity.continuity import Continuity
from actors.continuity.deduplicator import Known
from actors.feed.accumulator import admit
from actors.feed.gap_reporter import GapReporter
from actors.model.chunk import Chunk
from actors.model.ticks import OFF_BOOK, Block, Reject
from actors.telemetry.ledger import Account

REJECTS_KNOWN_MAX = 1_000  # unsound rows that are remembered, so that each is one reject however often it comes


class Delivery:
    """Sends through the exchange's gap reporter, so that a gap is reported filled behind the trades that fill it.

    `flush` returns when what has reached the buffer is durable.
    """

    def __init__(
        self,
        exchange: str,
        continuity: Continuity,
        account: Account,
        reporter: GapReporter,
        stored_trades: StoredTrades,
        flush: Callable[[], Awaitable[None]],
    ) -> None:
        self._exchange, self._continuity, self._account = exchange, continuity, account
        self._reporter, self._stored_trades, self._flush = reporter, stored_trades, flush
        self._rejected = set[int]()

    async def store_missing(self, block: Block) -> int:
        """Stores what continuity takes for missing; returns how many rows that is. Raises DatabaseLocked.

        Ids without a sequence are remembered for a short time only, so the file is asked which of these it has.
        """
        symbol = block.symbol[0]
        known: Container[str] = ()
        if not self._continuity.counts(symbol) or self._continuity.doubts(symbol):
            await self.settle()
            known = Known(await self._stored_trades.stored(symbol, block))
        self._continuity.deduplicator.has_off_book |= OFF_BOOK in block.source
        fetched = len(block)
        return await self.store(block, fetched, admit(self._continuity, block, 0, known=known))

    async def store(self, block: Block, fetched: int, copies: int) -> int:
        """Counts and sends what continuity has just left of the rows fetched; returns how many these are.

        `copies` are those it knew already; others that are missing it holds or refuses, and are decided later.

        No `await` may lie between: what is admitted and not sent would be lost by a crash.
        """
        rows = len(block)
        self._account.recovered(fetched, copies)
        if rows:
            await self._reporter.send(Chunk(block))
        return rows

    def reject(self, reject: Reject) -> None:
        """A row of the history that is no sound trade; goes to the buffer with the next report."""
        key = hash((reject.symbol, reject.payload))
        if key in self._rejected:
            return
        if len(self._rejected) >= REJECTS_KNOWN_MAX:
            self._rejected.clear()
        self._rejected.add(key)
        self._account.reject_unsaved(1)
        self._reporter.queue(Chunk(Block(self._exchange), (reject,)))

    async def settle(self) -> None:
        """Returns when all that was admitted so far is durable, and all states of gaps."""
        await self._reporter.report()
        await self._flush()
