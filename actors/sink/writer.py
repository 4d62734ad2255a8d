"""The writer actor: makes batches durable, in order, each once."""

import time
from collections.abc import Callable, Sequence
from functools import partial

import trio

from actors.model.batch import Batch
from actors.model.ticks import Block
from actors.settings import DEFAULT_LIMITS, JITTER, SinkLimits
from actors.sink.database_thread import in_thread
from actors.sink.sink import Filtered, Sink
from actors.telemetry.ledger import Ledger
from supervisor import Context, Mailbox

SHOWN_MAX = 10  # removed rows whose text the event shows


class Writer:
    """Writes batches; the pipeline owns it.

    `acknowledged` is the number of the last batch made durable, `last_flush_ns` the wall-clock time of that moment.
    `on_stored` receives each batch that was made durable, `on_refused` the ticks that were removed from one.
    """

    def __init__(
        self,
        sink: Sink,
        ledger: Ledger,
        inbox: Mailbox[Batch],
        limits: SinkLimits = DEFAULT_LIMITS.sink,
        on_stored: Callable[[Batch], None] = lambda _: None,
        on_refused: Callable[[Sequence[Block]], None] = lambda _: None,
    ) -> None:
        self._on_stored, self._on_refused = on_stored, on_refused
        self._sink, self._ledger, self._inbox, self._limits = sink, ledger, inbox, limits
        self._limiter = trio.CapacityLimiter(1)
        self.acknowledged = 0
        self.last_flush_ns: int | None = None
        self.trouble: str | None = None

    async def run(self, context: Context) -> None:
        """Runs until the inbox is closed and empty."""
        while True:
            try:
                async with self._inbox.receive() as batch:
                    await self._store_batch(context, batch)
            except trio.EndOfChannel:
                return

    async def _store_batch(self, context: Context, batch: Batch) -> None:
        """Retries until the batch is durable: a full disk is not the batch's fault, and no batch may overtake
        another.

        Rows that the sink cannot hold are removed from it, once.
        """
        failures = 0
        filtered: Filtered | None = None
        while batch.number > self.acknowledged:
            began = time.monotonic()
            try:
                to_write = filtered.batch if filtered else batch
                record = partial(self._stored, to_write, filtered, began)
                await in_thread(context, self._limiter, partial(self._sink.write, to_write), record)
            except self._sink.transient as error:
                self.trouble = self._sink.describe(error)
                with context.waiting(self.trouble):
                    await trio.sleep(self._limits.write_retry.delay_s(failures, JITTER))
                failures += 1
            except Exception:
                found: list[Filtered] = []
                if filtered is None:
                    await in_thread(context, self._limiter, partial(self._sink.filter, batch), found.append)
                if not found or not found[0].reason:
                    raise  # no row is the cause: a bug of ours
                filtered = found[0]
        if filtered is not None:
            context.note("unstorable", filtered.reason, left_out=filtered.others[:SHOWN_MAX])
        if self.trouble is not None:
            self.trouble = None
            context.ok()
        context.handled()
        context.healthy()

    def _stored(self, batch: Batch, filtered: Filtered | None, began: float, _: None) -> None:
        self._ledger.flush_s.observe(time.monotonic() - began)
        if filtered is not None:
            self._ledger.unstorable(filtered.ticks)
        self._ledger.stored(batch)
        self._on_stored(batch)
        self.acknowledged = batch.number
        self.last_flush_ns = time.time_ns()
        if filtered is not None:
            self._on_refused(filtered.refused)
