"""Delivers rows fetched from an exchange's history: counts the new ones and sends them to the buffer, once."""

from collections.abc import Awaitable, Callable, Container

import trio

from actors.backfill.stored_trades import StoredTrades
from actors.continuity.continuity import Continuity
from actors.continuity.deduplicator import Known
from actors.feed.accumulator import admit
from actors.feed.gap_reporter import GapReporter
from actors.model.chunk import Chunk
from actors.model.ticks import OFF_BOOK, Block, Reject
from actors.telemetry.ledger import Account

# invalid rows that are remembered, so that each becomes one reject however often it is fetched
REJECTS_KNOWN_MAX = 1_000


class Delivery:
    """Sends through the exchange's gap reporter.

    `flush` returns when everything that has reached the buffer is durable.
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

    async def store_missing(self, block: Block, *, vanished: bool = False) -> int:
        """Stores rows that continuity considers missing; returns their number. Raises DatabaseLocked.

        Ids without a sequence are remembered for a short time only, so the file is queried for these rows. It also
        decides about rows of a gap whose trades have `vanished`: continuity remembers them as stored.
        """
        symbol, deduplicator = block.symbol[0], self._continuity.deduplicator
        known: Container[str] = ()
        gone: set[str] = set()
        if deduplicator.composite(symbol):
            await self.settle()
            known = await self._stored_trades.twins(symbol, block, alone=vanished)
        elif not self._continuity.counts(symbol) or self._continuity.doubts(symbol):
            remembered = deduplicator.remembered(block) if vanished else set()
            await self.settle()  # what was on its way is stored by now
            stored = await self._stored_trades.stored(symbol, block)
            known, gone = Known(stored), remembered - stored
        deduplicator.has_off_book |= OFF_BOOK in block.source
        fetched = len(block)
        if gone:
            snapshot = deduplicator.snapshot(symbol)
            copies = deduplicator.admit_again(block, snapshot, known, trio.current_time(), gone=gone)
        else:
            copies = admit(self._continuity, block, 0, known=known)
        return await self.store(block, fetched, copies)

    async def store(self, block: Block, fetched: int, copies: int) -> int:
        """Counts and sends the fetched rows that continuity has just kept; returns their number.

        `copies` is the number of known rows; other missing ones are held or rejected, and decided later. No `await`
        may come in between: rows admitted and not sent would be lost by a crash.
        """
        rows = len(block)
        self._account.recovered(fetched, copies)
        if rows:
            await self._reporter.send(Chunk(block))
        return rows

    def reject(self, reject: Reject) -> None:
        """Adds a reject for an invalid row of the history to the next batch."""
        key = hash((reject.symbol, reject.payload))
        if key in self._rejected:
            return
        if len(self._rejected) >= REJECTS_KNOWN_MAX:
            self._rejected.clear()
        self._rejected.add(key)
        self._account.reject_unsaved(1)
        self._reporter.queue(Chunk(Block(self._exchange), (reject,)))

    async def settle(self) -> None:
        """Returns when everything admitted so far is durable, and all states of gaps."""
        self._reporter.gather()
        await self._flush()
