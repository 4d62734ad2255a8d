"""Reports the gaps of one exchange to the buffer, once a second, after all ticks that its connections have read so
far.
"""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import trio

from actors.continuity.continuity import Continuity
from actors.continuity.tracker_state import Before, TrackerState
from actors.exchanges.contract.feed import Market
from actors.feed.accumulator import rejected
from actors.feed.connection_pool import ConnectionPool
from actors.feed.ticker import ticker
from actors.model.chunk import Chunk, Source
from actors.model.errors import DatabaseLocked
from actors.model.records import GapRow
from actors.model.ticks import Block, IdPromise
from actors.telemetry.ledger import Account
from supervisor import Context, Mailbox

NEWS_S = 1.0  # how long a connection waits for a full buffer before it connects anyway
ALARMS_SHOWN_MAX = 5  # rejected markets that health names
TICK_S = 1.0  # how often overdue missing trades are checked

Past = Callable[[str, Mapping[str, IdPromise], Mapping[str, Before]], Awaitable[Sequence[TrackerState]]]


class GapReporter:
    """The exchange owns it: its content survives crashes of the task that runs `run`.

    `markets` is the live mapping by symbol; `past(exchange, promises, before)` returns the stored states of the
    exchange's markets (see `read_states`), or raises DatabaseLocked. `expect`: see Accumulator.
    """

    follows = True

    def __init__(
        self,
        exchange: str,
        markets: Mapping[str, Market],
        continuity: Continuity,
        account: Account,
        intake: Mailbox[Chunk],
        pool: ConnectionPool,
        past: Past,
        expect: Callable[[Source], None],
    ) -> None:
        self._exchange, self._markets, self._continuity = exchange, markets, continuity
        self._account, self._intake, self._pool, self._past = account, intake, pool, past
        self._unsent: list[Chunk] = []
        self._opened = 0  # gaps counted in the account
        self._sending = trio.Lock()
        continuity.report_news(partial(expect, self))

    async def run(self, context: Context) -> None:
        """Runs until cancelled; reports what is missing."""
        context.ok()
        while True:
            await ticker().repeat(partial(self._look, context), TICK_S)
            if self._continuity.blind:
                await self._look_back(context)
            await self.report()

    def _look(self, context: Context) -> bool:
        """Gathers what is to be reported; returns whether there is anything to do about it."""
        self._judge_refusals(context)
        self._gather()
        context.handled(0)
        return bool(self._unsent or self._continuity.blind)

    def _judge_refusals(self, context: Context) -> None:
        """Degrades health while a considerable share of a market is rejected, and records gaps for it."""
        refusals, now_ns = self._account.refusals, time.time_ns()
        refusals.forget([symbol for symbol in refusals.watched if symbol and symbol not in self._markets])
        begun, ended = refusals.tick(trio.current_time())
        for one in begun:
            context.note("refusing", one.alarm, symbol=one.symbol)
        for one in ended:
            context.note("refusing_ended", f"valid trades arrive again: {one.alarm}", symbol=one.symbol)
        alarms = refusals.alarms
        for one in alarms:
            # If valid trades arrive too, contiguous ids show by themselves what is missing between them.
            partly = one.symbol is not None and not self._continuity.counts(one.symbol)
            missing = one.markets if partly else one.markets - one.with_valid
            for symbol in missing if one.fresh else ():
                self._continuity.refused(symbol, one.since_ns, now_ns)
            one.fresh = False
        context.degraded_by([one.alarm for one in alarms], ALARMS_SHOWN_MAX)

    async def _look_back(self, context: Context) -> None:
        """Restores the stored state once another process releases the file."""
        blind = self._continuity.blind
        promises = {symbol: self._continuity.promises[symbol] for symbol in blind}
        try:
            states = await self._past(self._exchange, promises, blind)
        except DatabaseLocked:
            return
        self._continuity.restore_late(states, blind, time.time_ns())
        if not self._continuity.blind:
            context.note("continuity_known", "the file can be read again: missed trades are requested")

    async def report(self) -> None:
        """Sends known gaps to the buffer: after all ticks read so far, and before all later ones."""
        self._gather()
        # A gap must not be reported filled in a batch before the one with the trades that fill it.
        await self._pool.hand_over()
        await self.send()

    async def report_news(self) -> None:
        """The same, if there is anything new, so that above all an outage comes before the ticks that follow it."""
        if self._continuity.hold.on:
            return
        self._gather()
        if self._unsent:
            with trio.move_on_after(NEWS_S):
                await self.report()

    def queue(self, chunk: Chunk) -> None:
        """Queues a chunk, to be sent with the next `send` at the latest."""
        self._unsent.append(chunk)

    async def send(self, chunk: Chunk | None = None) -> None:
        """Puts queued chunks, then this one, into the buffer's mailbox; after a cancellation the rest is still
        here.
        """
        if chunk is not None:
            self.queue(chunk)
        async with self._sending:
            while self._unsent:
                await self._intake.put(self._unsent[0])
                self._unsent.pop(0)

    def _gather(self, *, end: bool = False) -> None:
        """Queues the decisions about held rows, and new states of gaps and feeds."""
        now, now_ns = trio.current_time(), time.time_ns()
        self._continuity.tick(now, now_ns, end=end)
        block, decided = self._continuity.take_decided(now, now_ns, end=end)
        self._account.decided(decided.copies, len(decided.refused))
        if len(block) or decided.refused:
            rejects = tuple(rejected(self._exchange, refused) for refused in decided.refused)
            self.queue(Chunk(block, rejects))
        gaps, feeds = tuple(self._continuity.take_gaps()), tuple(self._continuity.take_feeds())
        self._account.gaps += self._continuity.gaps_opened - self._opened
        self._opened = self._continuity.gaps_opened
        if gaps or feeds:
            self.queue(Chunk(Block(self._exchange), gaps=gaps, feeds=feeds))

    def prepare(self) -> None:
        """See Source: there is nothing to do."""

    def collect(self) -> Chunk | None:
        """See Source: gaps that a kill must not lose once the trades after them are stored."""
        gaps = tuple(self._continuity.take_urgent())
        if not self._continuity.hold.on:
            gaps += (*self._take_unsent_gaps(), *self._continuity.take_gaps())
        return Chunk(Block(self._exchange), gaps=gaps) if gaps else None

    def _take_unsent_gaps(self) -> list[GapRow]:
        """Those that wait for the hand-over of the connections, but for the chunk that is being put."""
        gaps: list[GapRow] = []
        for at in range(self._sending.locked(), len(self._unsent)):
            gaps += self._unsent[at].gaps
            self._unsent[at] = replace(self._unsent[at], gaps=())
        return gaps

    def rests(self) -> list[Chunk]:
        """At shutdown: removes and returns everything not sent."""
        urgent = self.collect()
        self._gather(end=True)
        rest, self._unsent = self._unsent, []
        return rest if urgent is None else [urgent, *rest]
