"""The mending of stretches that an operator names: asked of the history again and compared with the file."""

import itertools
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import trio

from actors.backfill.fetcher import SETTLE_S, Deliver, Fetcher
from actors.backfill.retry import patience_s
from actors.backfill.stored_trades import DatabaseLocked, StoredTrades
from actors.continuity.continuity import Continuity
from actors.continuity.tracker import Snapshot
from actors.exchanges.contract.feed import Market
from actors.exchanges.contract.history import TradeRange
from actors.model.records import GapRow
from actors.model.ticks import Block

ORDERS_MAX = 100  # that are remembered; of them those that are carried out make room
TRIES_MAX = 50  # rounds in a row that bring nothing

_numbers = itertools.count(1)


class TooManyOrders(Exception):
    """No order is taken any more until others are carried out."""


@dataclass(slots=True)
class RepairJob:
    """One order and how far it has come. Nanoseconds UTC of the exchange's time, both ends inclusive.

    `came` rows were in the history, `stored` of them had been missing. `complete` None while it goes on; `reason`
    says what it waits for, or why it is not complete. `gaps` are those that have changed, with their new status.
    """

    symbol: str
    from_ns: int
    to_ns: int
    number: int = field(default_factory=lambda: next(_numbers))
    came: int = 0
    stored: int = 0
    complete: bool | None = None
    reason: str = "waiting for its turn"
    gaps: dict[str, str] = field(default_factory=dict)
    _remaining: TradeRange | None = None
    _snapshot: Snapshot = field(default_factory=Snapshot)
    _known: list[GapRow] = field(default_factory=list)
    _found: dict[str, int] = field(default_factory=dict)  # rows that were stored, by the gap they lay in
    _tries: int = 0
    _due: float = 0.0


class Repairs:
    """Owned by the recovery of one exchange: orders outlive crashes of the task that carries them on.

    `deliver(block, admit)` books the block's rows, of which `admit` takes the copies out, and hands on the rest.
    """

    def __init__(
        self,
        continuity: Continuity,
        stored_trades: StoredTrades,
        deliver: Callable[[Block, Callable[[Block], int]], Awaitable[int]],
    ) -> None:
        self._continuity, self._stored_trades, self._deliver = continuity, stored_trades, deliver
        self.orders: list[RepairJob] = []

    def order(self, symbol: str, from_ns: int, to_ns: int) -> RepairJob:
        """Takes an order. Raises TooManyOrders."""
        if len(self.orders) >= ORDERS_MAX:
            over = next((order for order in self.orders if order.complete is not None), None)
            if over is None:
                raise TooManyOrders(f"{ORDERS_MAX} stretches are being mended already; wait until some are done")
            self.orders.remove(over)
        order = RepairJob(symbol, from_ns, max(from_ns, to_ns))
        # By then the history has it all, and what the stream brings of it has come: see _round.
        order._due = trio.current_time() + max(0.0, (order.to_ns - time.time_ns()) / 1e9 + SETTLE_S)
        self.orders.append(order)
        return order

    async def carry_on(
        self,
        markets: Mapping[str, Market],
        backfill: Callable[[Deliver], Fetcher],
        tell: Callable[[RepairJob], None],
    ) -> None:
        """One round for each order that is due: a few pages. Those that are carried out then are told at once."""
        for order in [order for order in self.orders if order.complete is None]:
            market = markets.get(order.symbol)
            if market is None:
                order.complete, order.reason = False, "the market is not recorded any more"
            elif trio.current_time() >= order._due:
                try:
                    await self._round(order, market, backfill)
                except DatabaseLocked:
                    _wait(order, "another process writes the file", 0.0)
            if order.complete is not None:
                tell(order)

    async def _round(self, order: RepairJob, market: Market, backfill: Callable[[Deliver], Fetcher]) -> None:
        snapshot = self._continuity.deduplicator.snapshot(order.symbol)
        await (
            self._stored_trades.settle()
        )  # what the last round has stored is in the file, as is all before the snapshot
        # Others may have closed some since the last round.
        order._known = await self._stored_trades.gaps(order.symbol, order.from_ns, order.to_ns)
        order._snapshot = snapshot
        if order._remaining is None:
            order._remaining = TradeRange(from_ns=order.from_ns, to_ns=order.to_ns)

        async def take(block: Block) -> None:
            await self._take(order, block)

        order.reason = "asking the exchange"
        result = await backfill(take).recover(market, order._remaining)
        order.came += result.count
        order.reason = result.reason
        order._remaining = result.remaining or order._remaining
        if result.complete or result.final or (not result.count and order._tries >= TRIES_MAX):
            order.complete = result.complete
            self._close_gaps(order)
        elif result.count and result.retry_after_s is None:
            order._tries, order.reason = 0, "asking the exchange"
        else:
            _wait(order, result.reason, result.retry_after_s or 0.0)

    async def _take(self, order: RepairJob, block: Block) -> None:
        stored = await self._stored_trades.stored(order.symbol, block)
        gone: set[str] = set()
        if doubtful := self._continuity.deduplicator.remembered(block) - stored:
            await self._stored_trades.settle()  # those that were on their way have arrived by now
            stored = await self._stored_trades.stored(order.symbol, block)
            gone = doubtful - stored

        def admit(rows: Block) -> int:
            now = trio.current_time()
            copies = self._continuity.deduplicator.admit_again(rows, order._snapshot, stored, now, gone=gone)
            for gap in order._known:
                within = sum(map(gap.spans, rows.trade_id, rows.exchange_ns))
                order._found[gap.gap_id] = order._found.get(gap.gap_id, 0) + within
            return copies

        order.stored += await self._deliver(block, admit)

    def _close_gaps(self, order: RepairJob) -> None:
        """What the order means for the gaps that it touched."""
        for gap in order._known:
            inside = gap.from_ns is not None and gap.to_ns is not None
            inside = inside and order.from_ns <= (gap.from_ns or 0) and (gap.to_ns or 0) <= order.to_ns
            found, whole = order._found.get(gap.gap_id, 0), bool(order.complete) and inside
            status = self._continuity.mended(gap, order._snapshot, found, time.time_ns(), whole=whole)
            if status is not None:
                order.gaps[gap.gap_id] = status.value


def _wait(order: RepairJob, reason: str, floor_s: float) -> None:
    order.reason = reason
    order._tries += 1
    order._due = trio.current_time() + max(floor_s, patience_s(order._tries))
