"""Reports to the buffer what one exchange knows beyond what its connections read: gaps, decisions about held rows,
and what its history has.
"""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

import trio

from actors.continuity.continuity import Continuity
from actors.continuity.tracker_state import Before, TrackerState
from actors.exchanges.contract.feed import Market
from actors.feed.accumulator import rejected
from actors.feed.decoder import REPLAY_NS
from actors.feed.ticker import ticker
from actors.model.chunk import Chunk, Source
from actors.model.errors import DatabaseLocked
from actors.model.records import GapStatus
from actors.model.ticks import Block, IdPromise
from actors.telemetry.ledger import Account
from supervisor import Context, Mailbox

ALARMS_SHOWN_MAX = 5  # rejected markets that health names
TICK_S = 2.0  # how often overdue missing trades are checked

Past = Callable[[str, Mapping[str, IdPromise], Mapping[str, Before]], Awaitable[Sequence[TrackerState]]]


class GapReporter:
    """The exchange owns it: its content survives crashes of the task that runs `run`.

    The buffer collects states of gaps where a batch ends: in one batch with the trades that were admitted before,
    which may fill them, and no later than those that follow. `markets` is the live mapping by symbol;
    `past(exchange, promises, before)` returns the stored states of the exchange's markets (see `read_states`), or
    raises DatabaseLocked. `expect`: see Accumulator. Without a `history` nobody can fetch what is missing.
    """

    follows = True

    def __init__(
        self,
        exchange: str,
        markets: Mapping[str, Market],
        continuity: Continuity,
        account: Account,
        intake: Mailbox[Chunk],
        past: Past,
        expect: Callable[[Source], None],
        *,
        history: bool = True,
    ) -> None:
        self._exchange, self._markets, self._continuity = exchange, markets, continuity
        self._account, self._intake, self._past = account, intake, past
        self._history = history
        self._unsent: list[Chunk] = []
        self._opened = 0  # gaps counted in the account
        self._awaited: dict[tuple[str, int], float] = {}  # since when states of gaps are known, by trio's clock
        self._expect = partial(expect, self)
        continuity.report_news(self._expect)

    async def run(self, context: Context) -> None:
        """Runs until cancelled; reports what is missing."""
        context.ok()
        while True:
            await ticker().repeat(partial(self._look, context), TICK_S)
            await self._look_back(context)

    def _look(self, context: Context, now: float) -> bool:
        """Gathers what is to be reported; returns whether the stored state is to be looked up."""
        if self._account.refusals.watched:  # only what follows ends an alarm
            self._judge_refusals(context, now)
        if not self._history:
            self._give_up(now, time.time_ns())
        self.gather()
        context.handled(0)
        return bool(self._continuity.blind)

    def _give_up(self, now: float, now_ns: int) -> None:
        """Closes the gaps whose end is known: what has not been sent again cannot be had any more."""
        bounded = [gap for gap in self._continuity.unfinished() if gap.bounded]
        states = [(gap.gap_id, gap.at_ns) for gap in bounded]
        self._awaited = {state: self._awaited.get(state, now) for state in states}
        for gap, state in zip(bounded, states, strict=True):
            waited_ns = (now - self._awaited[state]) * 1e9
            if waited_ns > REPLAY_NS and not self._continuity.begins_unknown(gap):
                status = GapStatus.PARTIAL if gap.recovered else GapStatus.LOST
                self._continuity.resolved(gap.gap_id, gap.recovered, status, now_ns)

    def _judge_refusals(self, context: Context, now: float) -> None:
        """Degrades health while a considerable share of a market is rejected, and records gaps for it."""
        refusals, now_ns = self._account.refusals, time.time_ns()
        refusals.forget([symbol for symbol in refusals.watched if symbol and symbol not in self._markets])
        begun, ended = refusals.tick(now)
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

    def gather(self, *, end: bool = False) -> None:
        """Has the next batch include what is known now: decisions about held rows, states of gaps and feeds."""
        now, now_ns = trio.current_time(), time.time_ns()
        self._continuity.tick(now, now_ns, end=end)
        block, decided = self._continuity.take_decided(now, now_ns, end=end)
        self._account.decided(decided.copies, len(decided.refused))
        if len(block) or decided.refused:
            self.queue(Chunk(block, tuple(rejected(self._exchange, refused) for refused in decided.refused)))
        feeds = tuple(self._continuity.take_feeds())
        if feeds:
            self.queue(Chunk(Block(self._exchange), feeds=feeds))
        self._account.gaps += self._continuity.gaps_opened - self._opened
        self._opened = self._continuity.gaps_opened

    def queue(self, chunk: Chunk) -> None:
        """Has the next batch include a chunk."""
        self._unsent.append(chunk)
        self._expect()

    async def send(self, chunk: Chunk) -> None:
        """The same, but waits while the buffer's mailbox is full; after a cancellation it is still here."""
        self.queue(chunk)
        while self._unsent:
            first = self._unsent.pop(0)
            put = False
            try:
                await self._intake.put(first)
                put = True
            finally:
                if not put:
                    self._unsent.insert(0, first)
                    self._expect()

    def prepare(self) -> None:
        """See Source: there is nothing to do."""

    def collect(self) -> list[Chunk]:
        """See Source."""
        chunks, self._unsent = self._unsent, []
        gaps = tuple(self._continuity.take_gaps())
        return [*chunks, Chunk(Block(self._exchange), gaps=gaps)] if gaps else chunks

    def rests(self) -> list[Chunk]:
        """At shutdown: removes and returns everything not sent."""
        self.gather(end=True)
        return self.collect()
