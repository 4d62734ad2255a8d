"""The buffer actor: joins the chunks of all exchanges into batches for the writer, sealed by size or age.

A batch holds everything that has been admitted up to one moment and was not in an earlier one, wherever it waited.
Two connections deliver the trades of a market, and a crash loses what was not written: where ids do not count, only
the newest stored trade shows what that was, so nothing older may be missing, nor may a gap be stored before them.
"""

import json
import math
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import takewhile
from typing import Any, Protocol

import msgspec
import trio

from actors.model.batch import Batch
from actors.model.chunk import Chunk, Source
from actors.model.records import EventRow, InstrumentRow, LagRow
from actors.model.ticks import REJECT_PAYLOAD_BYTES_MAX, Block, Reason, Reject
from actors.settings import DEFAULT_LIMITS, SinkLimits, StoreSettings
from actors.sink.evidence import Evidence
from actors.telemetry.ledger import Ledger
from supervisor import Context, Mailbox

DRAINED_POLL_S = 0.01  # how often, at shutdown, the buffer checks whether the writer has finished
EVENTS_MAX = 10_000
LAGS_MAX = 10_000  # one row per minute and exchange
AUDIT_EVERY_S = 60.0  # audit rows prove that the service runs: at least this often, with or without data
# The part of flush_interval_s reserved for the write, which takes 30 to 60 ms at 5,000 rows a second on one core.
MARGIN_S = 0.1
SHOW_S = 0.0005  # rows are collected this soon while somebody watches them
COLLECT_S = 0.005  # collecting lets other tasks run after so long
WRITER_POLL_S = 0.01  # how often it is checked whether the writer has finished, while a batch waits for that
PAUSE_S = 0.05  # what follows a full batch is the end of a flood if nothing came for so long


class Watcher(Protocol):
    """Is shown all rows that reach the buffer. While it is `waiting` they are collected for it soon."""

    @property
    def waiting(self) -> bool:
        """Whether it has passed on what it was shown before."""

    def show(self, blocks: Sequence[Block]) -> None:
        """Reads blocks, which others own; never waits."""

    def end(self) -> None:
        """Called when rows have been stored that it is never shown: what follows would hide that."""


class Buffer:
    """Collects chunks into batches. The pipeline owns it: its content survives crashes of the task that runs `run`.

    `number()` returns the next batch number. `intake` receives the chunks, `outbox` is the writer's input.
    `on_refused` receives ticks that have become rejects because they crashed the buffer or the writer: they were
    admitted, so nothing else shows that they are missing.
    """

    def __init__(
        self,
        settings: StoreSettings,
        ledger: Ledger,
        number: Callable[[], int],
        limits: SinkLimits = DEFAULT_LIMITS.sink,
        mailbox: type[Mailbox[Any]] = Mailbox,
        *,
        on_refused: Callable[[Sequence[Block]], None] = lambda _: None,
    ) -> None:
        self._interval_s = max(settings.flush_interval_s - MARGIN_S, settings.flush_interval_s / 2)
        self._rows_max = min(settings.flush_rows_max, limits.sealed_rows_max)
        self._ledger, self._limits = ledger, limits
        self._number, self._on_refused = number, on_refused
        self._pending: list[Chunk] = []
        self._pending_rows = 0
        self._rests: deque[tuple[int, Chunk]] = deque()  # each after so many items of the intake
        self._sources: dict[Source, None] = {}  # that hold rows
        self._show_at = math.inf
        self._flushing = False  # a batch was requested
        self._due = 0.0  # when the oldest pending item must be passed on
        self._since = 0.0  # when the oldest item arrived
        self._flooded = False  # the last batch was full
        self._arrived = 0.0  # when the newest chunk came, or the first item
        self._sealed: Batch | None = None
        self._evidence = Evidence(settings.rejects_bytes_per_day)
        self._events: deque[EventRow] = deque(maxlen=EVENTS_MAX)
        self._lags: deque[LagRow] = deque(maxlen=LAGS_MAX)
        # each exchange adds the changes of its instrument list once a day
        self._instruments: list[InstrumentRow] = []
        self._audit_due = math.inf
        self._wanted: int | None = None  # how many items of the intake the batch includes that is being made
        self._withdrawn = 0  # how many had been withdrawn from the intake when that was counted
        self._waiting = trio.CancelScope()
        self.sealed_number = 0  # the newest batch's
        self.watchers: set[Watcher] = set()
        self.intake: Mailbox[Chunk] = mailbox(
            limits.intake_rows_max, weigh=lambda chunk: chunk.rows, on_dead_letter=self._refuse
        )
        self.outbox: Mailbox[Batch] = mailbox(
            limits.sealed_rows_max, weigh=lambda batch: batch.rows, on_dead_letter=self.refuse_batch
        )

    def record(self, event: EventRow) -> None:
        """Adds an event to the next batch; never waits. Under an event storm only the newest are kept."""
        self._touch()
        self._events.append(event)

    def record_lag(self, row: LagRow) -> None:
        """Adds a row of lags in the same way."""
        self._touch()
        self._lags.append(row)

    def record_instruments(self, rows: Sequence[InstrumentRow]) -> None:
        """Adds changes of an exchange's instrument list in the same way."""
        if rows:
            self._touch()
            self._instruments += rows

    def take_rest(self, chunk: Chunk) -> None:
        """Accepts what a connection that has ended could not send any more. Never waits.

        It is queued after everything now in the intake, some of which may be of the same connection.
        """
        self._rests.append((self._put_so_far(), chunk))
        self._take_rests()

    def expect(self, source: Source) -> None:
        """Has the rows that this source begins to hold collected before the next batch. Never waits."""
        self._touch()
        self._sources[source] = None
        if self.watchers:
            self.show_soon()

    def show_soon(self) -> None:
        """Called when a watcher begins to wait: has the rows of the sources, if there are any, collected soon."""
        if self._show_at == math.inf and self._sources and any(watcher.waiting for watcher in self.watchers):
            self._show_at = trio.current_time() + SHOW_S
            self._waiting.deadline = min(self._waiting.deadline, self._show_at)

    async def _collect_sources(self) -> int:
        """Takes the rows of all sources at one moment; they come after everything that is in the intake then, whose
        last item's number is returned.

        What takes long is done before, while other tasks get their turns.
        """
        self._show_at = math.inf
        turn_ends = time.perf_counter() + COLLECT_S
        for source in list(self._sources):
            source.prepare()
            if time.perf_counter() > turn_ends:
                await trio.lowlevel.checkpoint()
                turn_ends = time.perf_counter() + COLLECT_S
        put, self._withdrawn = self._put_so_far(), self.intake.statistics().withdrawn
        for chunk in (*self._collected(follows=False), *self._collected(follows=True)):
            self._rests.append((put, chunk))
        self._take_rests()
        return put

    def _collected(self, *, follows: bool) -> Iterator[Chunk]:
        for source in [source for source in self._sources if source.follows == follows]:
            self._sources.pop(source, None)
            yield from source.collect()

    def _put_so_far(self) -> int:
        """How many items have been put into the intake in all, those included that wait for room."""
        return self.intake.put_so_far + self.intake.statistics().waiting_put

    def _taken(self) -> float:
        """How many items have left the intake; all if it is empty: who waited for room may have been cancelled."""
        intake = self.intake.statistics()
        return intake.taken if intake.depth or intake.waiting_put else math.inf

    def renumber(self) -> None:
        """Called while it does not run: another process may have used higher numbers than the last batch has."""
        if self._sealed is not None:
            self._sealed = msgspec.structs.replace(self._sealed, number=self._number())
            self.sealed_number = self._sealed.number

    def oldest_s(self) -> float:
        """How long the oldest item here has waited to be passed to the writer; 0 if there is none."""
        if self._sealed is None and not self._has_something():
            return 0.0
        return max(0.0, trio.current_time() - self._since)

    def flush(self) -> None:
        """Requests a batch now, of everything that has been read."""
        self._flushing = True
        self._waiting.cancel()

    @property
    def flush_wanted(self) -> bool:
        """Whether a batch was requested and not made yet."""
        return self._flushing or self._wanted is not None

    async def run(self, context: Context) -> None:
        """Runs until the intake is closed and empty; everything has then been passed to the writer."""
        self._audit_due = min(self._audit_due, trio.current_time() + AUDIT_EVERY_S)
        if not self.intake.statistics().depth:  # otherwise what is there may be what crashed it: first take it
            context.ok()
        while True:
            await self._deliver()
            try:
                await self._receive(context)
            except trio.EndOfChannel:
                await self._finish()
                return
            begins = self._wanted is None and self._ripe()
            if begins or trio.current_time() >= self._show_at:
                put = await self._collect_sources()
                if begins:
                    self._flushing, self._wanted = False, put
            if self._wanted is not None and self._taken() >= self._wanted:
                if self._withdrawn == self.intake.statistics().withdrawn:
                    self._seal()
                else:  # what was counted has gone back to its source
                    await trio.lowlevel.checkpoint()  # which now gets it
                    self._wanted = await self._collect_sources()

    async def _finish(self) -> None:
        """Sends the last batches: what the writer rejects while it drains needs a batch too, and so do its gaps."""
        while True:
            await self._collect_sources()
            self._seal()
            await self._deliver()
            while self.outbox.statistics().depth and not self._pending:  # noqa: ASYNC110 - rare, and two conditions end it
                await trio.sleep(DRAINED_POLL_S)
            if not self._has_something():
                return

    async def _receive(self, context: Context) -> None:
        """Takes what is there, or waits until something arrives or is due."""
        self._take_rests()  # here too: a chunk before them may have been removed as a dead letter
        at_once = self._limits.chunks_at_once
        if self._wanted is None:
            self._waiting = trio.CancelScope(deadline=min(self._seal_at(), self._show_at))
            if self._ripe():
                return
        else:  # no item after the batch's last one
            self._waiting = trio.CancelScope(deadline=self._show_at)
            taken = self._taken()
            if taken >= self._wanted:
                return
            at_once = min(at_once, int(self._wanted - taken))
        with self._waiting:
            async with self.intake.receive_many(at_once) as chunks:
                self._take(chunks)
            self._take_rests()
            for name in self._evidence.take_news():
                why = f"rejects of {name} have reached the daily limit; until midnight UTC more are only counted"
                context.note("rejects_limited", why, exchange=name)
            context.handled(len(chunks))
            context.healthy()

    def _take_rests(self) -> None:
        if self._rests:
            taken = self._taken()
            due = [chunk for _, chunk in takewhile(lambda rest: rest[0] <= taken, self._rests)]
            self._take(due)
            for _ in due:
                self._rests.popleft()

    def _take(self, chunks: Sequence[Chunk]) -> None:
        """Watchers are shown rows in the order in which they are stored, and first: if that raises, the chunks are
        still where they were."""
        self._show(chunks)
        self._touch()
        self._arrived = trio.current_time()
        for chunk in chunks:
            kept = self._limited(chunk) if chunk.rejects else chunk
            self._pending.append(kept)
            self._pending_rows += kept.rows

    def _limited(self, chunk: Chunk) -> Chunk:
        """Drops evidence beyond the daily limit; those rejects stay counted."""
        kept, beyond = self._evidence.split(chunk.rejects, time.time_ns())
        for reject in beyond:
            account = self._ledger.account(reject.exchange)
            account.rejects_unkept += 1
            account.rejected_by[reject.reason.value] += 1
        return msgspec.structs.replace(chunk, rejects=kept) if beyond else chunk

    def _show(self, chunks: Sequence[Chunk]) -> None:
        if self.watchers:
            blocks = [chunk.block for chunk in chunks if len(chunk.block)]
            for watcher in self.watchers:
                watcher.show(blocks)

    def _has_something(self) -> bool:
        return bool(self._pending or self._sources or self._events or self._lags or self._instruments)

    def _touch(self) -> None:
        if not self._has_something():
            if self._sealed is None:
                self._since = trio.current_time()
            self._arrived = trio.current_time()
            self._due = self._arrived + self._interval_s
            self._waiting.deadline = self._batch_due(something=True)

    def _ripe(self) -> bool:
        rows = self._pending_rows + self.intake.statistics().weight
        return rows >= self._rows_max or trio.current_time() >= self._seal_at()

    def _seal_at(self) -> float:
        """When to make a batch that is not full.

        Not while the writer has one: small batches would queue up behind it faster than it writes them, where one
        larger batch takes little longer.
        """
        due = -math.inf if self._flushing else self._batch_due()
        return max(due, trio.current_time() + WRITER_POLL_S) if self.outbox.statistics().depth else due

    def _batch_due(self, *, something: bool = False) -> float:
        """When the content (or `something` that is about to be added) must be passed on, or audit rows alone.

        The end of a flood does not wait: with it, others can see all of the flood.
        """
        if something or self._has_something():
            return min(self._due, self._arrived + PAUSE_S) if self._flooded else self._due
        return self._audit_due if self._ledger.accounts else math.inf

    def _seal(self) -> None:
        """Makes a batch of everything pending, without interruption."""
        self._wanted = None
        if not self._has_something() and trio.current_time() < self._batch_due():
            return
        self._touch()
        self._audit_due = trio.current_time() + AUDIT_EVERY_S
        blocks = tuple(chunk.block for chunk in self._pending if len(chunk.block))
        self._sealed = Batch(
            number=self._number(),
            blocks=blocks,
            rejects=tuple(reject for chunk in self._pending for reject in chunk.rejects),
            events=tuple(self._events),
            lags=tuple(self._lags),
            instruments=tuple(self._instruments),
            gaps=tuple(gap for chunk in self._pending for gap in chunk.gaps),
            feeds=tuple(
                msgspec.structs.replace(feed, run_id=self._ledger.run_id)
                for chunk in self._pending
                for feed in chunk.feeds
            ),
            audit=self._ledger.seal(blocks, time.time_ns()),
        )
        self.sealed_number = self._sealed.number
        self._flooded = self._pending_rows >= self._rows_max
        self._pending, self._pending_rows = [], 0
        self._due = trio.current_time() + self._interval_s  # of what sources may hold already
        self._events.clear()
        self._lags.clear()
        self._instruments.clear()

    async def _deliver(self) -> None:
        if self._sealed is not None:
            await self.outbox.put(self._sealed)
            self._sealed, self._since = None, trio.current_time()

    def _refuse(self, chunk: Chunk, error: BaseException) -> None:
        self._ledger.refused([chunk.block], sealed=False)
        self._touch()
        rejects = (*chunk.rejects, *refusals([chunk.block], error))
        self._pending.append(Chunk(Block(chunk.block.exchange), rejects, chunk.gaps, chunk.feeds))
        self._on_refused([chunk.block])

    def refuse_batch(self, batch: Batch, error: BaseException) -> None:
        """Converts the ticks of a batch that crashed the writer three times to rejects; the writer goes on."""
        self._ledger.refused(batch.blocks, sealed=True)
        self._touch()  # before anything is added: the first item sets the time of the next batch
        for reject in (*batch.rejects, *refusals(batch.blocks, error)):
            self._pending.append(Chunk(Block(reject.exchange), (reject,)))
        for gap in batch.gaps:
            self._pending.append(Chunk(Block(gap.exchange), gaps=(gap,)))
        for feed in batch.feeds:
            self._pending.append(Chunk(Block(feed.exchange), feeds=(feed,)))
        self._events.extend(batch.events)
        self._lags.extend(batch.lags)
        self._instruments.extend(batch.instruments)
        self._on_refused(batch.blocks)


def refusals(blocks: tuple[Block, ...] | list[Block], error: BaseException) -> tuple[Reject, ...]:
    """One reject per block, with the traceback and as many of its ticks as fit."""
    detail = "".join(traceback.format_exception(error))[-4000:]
    found = []
    for block in blocks:
        rows = zip(block.symbol, block.trade_id, block.price, block.volume, block.side, strict=True)
        payload = json.dumps(list(rows)).encode()
        kept = payload[:REJECT_PAYLOAD_BYTES_MAX]
        found.append(Reject(time.time_ns(), block.exchange, None, Reason.CRASHED, detail, kept, len(payload)))
    return tuple(found)
