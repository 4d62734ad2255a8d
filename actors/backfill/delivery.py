"""Delivers rows fetched from an exchange's history: counts the new ones and sends them to the buffer, once."""

from collections.abc import Awaitable, Callable, Container

import trio

from actors.backfill.stored_trades import StoredTrades
from actors.continuity.continuity import Continuity
from actors.continuity.deduplicator import Known
from actors.continuity.tracker_state import Snapshot
from actors.feed.accumulator import admit
from actors.feed.gap_reporter import GapReporter
from actors.model.chunk import Chunk
from actors.model.ticks import OFF_BOOK, Block, Reject
from actors.telemetry.ledger import Account

# invalid rows that are remembered, so that each becomes one reject however often it is fetched
REJECTS_KNOWN_MAX = 1_000
_NOT_LOOKED_UP: Container[str] = ()


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

    async def snapshot(self, symbol: str) -> Snapshot:
        """The market's memory now; all that it counts as stored is in the file when this returns."""
        snapshot = self._continuity.deduplicator.snapshot(symbol)
        await self.settle()
        return snapshot

    async def store_missing(
        self, block: Block, admitted: Callable[[Block], object], snapshot: Snapshot | None = None
    ) -> None:
        """Stores the rows of one market that continuity considers missing. Raises DatabaseLocked.

        With a `snapshot` (see above) it stores those that the file lacks, although continuity may remember them:
        rows may have been deleted from the file. `admitted` is called with the missing rows before they are sent;
        others are held or rejected, and decided later.
        """
        fetched = len(block)
        self._continuity.deduplicator.has_off_book |= OFF_BOOK in block.source
        if self._continuity.deduplicator.composite(block.symbol[0]):
            copies = await self._admit_twins(block, by_file=snapshot is not None)
        elif snapshot is None:
            copies = await self._admit(block)
        else:
            copies = await self._admit_by_file(block, snapshot)
        # Nothing may be awaited before they are sent: rows admitted and not sent would be lost by a crash.
        admitted(block)
        self._account.recovered(fetched, copies)
        if len(block):
            await self._reporter.send(Chunk(block))

    async def _admit(self, block: Block) -> int:
        """Removes copies; returns their number. What continuity may have forgotten is looked up in the file."""
        symbol, known = block.symbol[0], _NOT_LOOKED_UP
        if not self._continuity.counts(symbol) or self._continuity.doubts(symbol):
            await self.settle()  # what was on its way is stored by now
            known = Known(await self._stored_trades.stored(symbol, block))
        return admit(self._continuity, block, 0, known=known)

    async def _admit_by_file(self, block: Block, snapshot: Snapshot) -> int:
        """The same, by what the file has; continuity knows what is on its way to it."""
        symbol, deduplicator = block.symbol[0], self._continuity.deduplicator
        stored = await self._stored_trades.stored(symbol, block)
        deleted: set[str] = set()
        if doubtful := deduplicator.remembered(block) - stored:
            await self.settle()  # rows that were on their way are stored by now
            stored = await self._stored_trades.stored(symbol, block)
            deleted = doubtful - stored
        return deduplicator.admit_again(block, snapshot, stored, trio.current_time(), gone=deleted)

    async def _admit_twins(self, block: Block, *, by_file: bool) -> int:
        """The same for either, where ids do not identify trades: the file shows how many of each are stored."""
        symbol, deduplicator = block.symbol[0], self._continuity.deduplicator
        remembered = deduplicator.remembered_twins(block) if by_file else set()
        await self.settle()
        promise = deduplicator.promises[symbol]
        twins = await self._stored_trades.twins(symbol, block, promise, remembered)
        return admit(self._continuity, block, 0, known=twins)

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
