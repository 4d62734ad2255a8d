"""The writer actor: makes batches durable, in order, each once. The merger actor: folds them into the file."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TypeVar

import duckdb
import trio

from actors.model.batch import Batch
from actors.model.records import EventRow, GapRow
from actors.settings import StoreSettings
from actors.sink.retention_schedule import Retainer
from actors.store.archive import ArchiveWrong
from actors.store.batch_filter import SHOWN_MAX, Sieved, sieve
from actors.store.database import FileRefused, FileTrouble
from actors.store.disk_full import disk_trouble
from actors.store.notices import ALARMS, Merged
from actors.store.retention import Retained
from actors.store.store import Store
from actors.telemetry.ledger import Ledger
from supervisor import Context, Mailbox

T = TypeVar("T")

RETRY_FIRST_S = 0.2  # after trouble with the disk
RETRY_MAX_S = 0.5  # for a write: recording resumes within a second of there being room again
MERGE_RETRY_MAX_S = 5.0  # a merge has time, and each try reads and writes more
HELD_RETRY_S = 5.0  # how soon to ask again for a file that somebody holds ...
HELD_TRIES = 10  # ... after so many tries with a breath between them
BREATH_S = 0.1  # between the parts of a long merge, so that readers get in
ALARM_S = 3600.0  # how long health speaks of damage that was set aside; the events keep it for good
BEAT_S = 2.0  # how often a long call into DuckDB is reported as life
# What a sick disk looks like; any other duckdb.Error is about the data and therefore a bug of ours.
TROUBLE = (
    OSError,
    FileTrouble,
    FileRefused,
    duckdb.IOException,
    duckdb.OutOfMemoryException,
    duckdb.FatalException,
)


async def in_thread(
    context: Context, limiter: trio.CapacityLimiter, call: Callable[[], T], record: Callable[[T], None]
) -> None:
    """Runs a call into DuckDB in a thread, to its end whatever happens, reporting life meanwhile.

    `record(result)` follows with nothing in between, so that no cancellation can separate what was done
    from its being known; a cancellation that came meanwhile strikes afterwards.
    """

    async def beat() -> None:
        while True:
            await trio.sleep(BEAT_S)
            context.handled(0)

    failure: Exception | None = None  # a nursery would put it into a group, which no `except OSError` meets
    async with trio.open_nursery() as nursery:
        nursery.start_soon(beat)
        with trio.CancelScope(shield=True):
            try:
                record(await trio.to_thread.run_sync(call, limiter=limiter))
            except Exception as error:  # noqa: BLE001 - raised again below
                failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


class Writer:
    """Owned by the pipeline.

    `acknowledged` is the number of the last batch made durable, `last_flush_ns` the wall clock of that moment.
    """

    def __init__(self, store: Store, ledger: Ledger, inbox: Mailbox[Batch]) -> None:
        self._store, self._ledger, self._inbox = store, ledger, inbox
        self._limiter = trio.CapacityLimiter(1)
        self.acknowledged = 0
        self.last_flush_ns: int | None = None
        self.trouble: str | None = None

    async def run(self, context: Context) -> None:
        """Until the inbox is closed and empty."""
        while True:
            try:
                async with self._inbox.receive() as batch:
                    await self._store_batch(context, batch)
            except trio.EndOfChannel:
                return

    async def _store_batch(self, context: Context, batch: Batch) -> None:
        """Tries until it is durable: a full disk is not the batch's fault, and nothing may overtake it.

        What the store cannot hold is taken out of it once; see actors.store.batch_filter.
        """
        delay_s = RETRY_FIRST_S
        sieved: Sieved | None = None
        while batch.number > self.acknowledged:
            began = time.monotonic()
            try:
                to_write = sieved.batch if sieved else batch
                record = partial(self._stored, to_write, sieved, began)
                await in_thread(context, self._limiter, partial(self._store.write, to_write), record)
            except TROUBLE as error:
                self.trouble = f"cannot write to {self._store.tail}: {disk_trouble(error, self._store.tail.parent)}"
                with context.waiting(self.trouble):
                    await trio.sleep(delay_s)
                delay_s = min(2 * delay_s, RETRY_MAX_S)
            except Exception:
                found: list[Sieved] = []
                if sieved is None:
                    await in_thread(context, self._limiter, partial(sieve, batch), found.append)
                if not found or not found[0].reason:
                    raise  # no row is the reason: a bug of ours
                sieved = found[0]
        if sieved is not None:
            context.note("unstorable", sieved.reason, left_out=sieved.others[:SHOWN_MAX])
        if self.trouble is not None:
            self.trouble = None
            context.ok()
        context.handled()
        context.healthy()

    def _stored(self, batch: Batch, sieved: Sieved | None, began: float, _: None) -> None:
        self._ledger.flush_s.observe(time.monotonic() - began)
        if sieved is not None:
            self._ledger.unstorable(sieved.ticks)
        self._ledger.stored(batch)
        self.acknowledged = batch.number
        self.last_flush_ns = time.time_ns()


class Merger:
    """Owned by the pipeline. Folds the tail into the file every merge_interval_s, and at the very end.

    `miss` gets gaps of what was stored and is gone.
    `observe` is told how many seconds each merge held the file; `limiter` is for all who want the file.
    """

    def __init__(
        self,
        store: Store,
        settings: StoreSettings,
        record: Callable[[EventRow], None],
        *,
        finish_s: float,
        observe: Callable[[float], None] = lambda _: None,
        miss: Callable[[Sequence[GapRow]], None] = lambda _: None,
    ) -> None:
        self._miss = miss
        self._store, self._interval_s, self._finish_s = store, settings.merge_interval_s, finish_s
        self._record, self._observe = record, observe
        self.limiter = trio.CapacityLimiter(1)
        self._asked = trio.Event()
        self.last_merge_ns: int | None = None
        self.held = False
        self._held_in_a_row = 0
        self._alarm, self._alarm_until = "", 0.0
        self.held_by_pid: int | None = None
        self.locked_s = 0.0
        self.finishing = False
        self.last = Merged()
        self.retainer = Retainer(settings)
        self.merges = 0  # tried, the file being held included

    def merge_soon(self) -> None:
        """Asks for a merge now."""
        self._asked.set()

    def stop(self) -> None:
        """Asks for the last merge, after which `run` ends."""
        self.finishing = True
        self._asked.set()

    async def run(self, context: Context) -> None:
        """Merges until `stop`, then once more for good."""
        self._report(context)
        delay_s = RETRY_FIRST_S
        wait_s = self._interval_s
        while not await self._asked_to_finish(wait_s):
            try:
                wait_s = await self._merge(context)
            except TROUBLE as error:
                context.degraded(
                    f"cannot merge into {self._store.path}: {disk_trouble(error, self._store.path.parent)}"
                )
                wait_s, delay_s = delay_s, min(2 * delay_s, MERGE_RETRY_MAX_S)
                with suppress(*TROUBLE):  # it may last for days; queries of the tail should stay quick
                    await in_thread(context, self.limiter, self._store.compact, lambda _: None)
                continue
            delay_s = RETRY_FIRST_S
            await self._retain(context)
            self._report(context)
            if not self.last.held:
                wait_s = min(wait_s, max(BREATH_S, self.retainer.wait_s()))
            context.healthy()
        await self._finish(context)

    async def _asked_to_finish(self, wait_s: float) -> bool:
        """Waits until it is time for a merge, or for the last one (True)."""
        if not self.finishing:
            with trio.move_on_after(wait_s):
                await self._asked.wait()
            self._asked = trio.Event()
        return self.finishing

    async def _finish(self, context: Context) -> None:
        deadline = time.monotonic() + self._finish_s
        finish = partial(self._store.finish, lambda: time.monotonic() > deadline)
        try:
            await in_thread(context, self.limiter, finish, self._note)
        except TROUBLE as error:
            context.note("merge_failed", f"{error}; the tail stays and the next start takes it up")
            return
        finally:
            self._report(context)
        if self.last.held or self.last.backlog:
            why = f"process {self.held_by_pid} holds the file" if self.last.held else "time was up"
            context.note("merge_left", f"{why}; the tail stays and the next start takes it up")

    async def _merge(self, context: Context) -> float:
        """One merge, or folding while somebody holds the file. Returns how long to wait for the next."""
        await in_thread(context, self.limiter, self._store.merge, self._note)
        if self.last.held:
            # Whoever opens the file again and again leaves gaps; only a lasting hold is waited out at leisure.
            self._held_in_a_row += 1
            if self._held_in_a_row % HELD_TRIES:
                return min(self._interval_s, BREATH_S)
            await in_thread(context, self.limiter, self._store.compact, lambda _: None)
            return min(self._interval_s, HELD_RETRY_S)
        self._held_in_a_row = 0
        context.handled()
        return BREATH_S if self.last.backlog else self._interval_s

    async def _retain(self, context: Context) -> None:
        """Lets a piece of what is too old leave the file, if it is time; trouble with it keeps no merge waiting."""
        if not self.retainer.wait_s() and not self.last.held and not self.last.backlog:
            try:
                await in_thread(context, self.limiter, self._store.retain, self._note_retained)
            except (*TROUBLE, ArchiveWrong) as error:
                self.retainer.failed(error)

    def _note_retained(self, report: Retained) -> None:
        self.retainer.done(report)
        self.locked_s += report.locked_s

    def _note(self, report: Merged) -> None:
        self.last = report
        self.merges += 1
        self.held, self.held_by_pid = report.held, report.held_by_pid
        self.locked_s += report.locked_s
        if not report.held:
            self._observe(report.locked_s)
            self.last_merge_ns = time.time_ns()

    def _report(self, context: Context) -> None:
        """Says what the store has to say, and how the merger is: damage stays in sight for a while."""
        while self._store.notices:
            notice = self._store.notices.popleft()
            self._record(notice.row())
            if notice.gaps:
                self._miss(notice.gaps)
            if notice.event in ALARMS:
                self._alarm, self._alarm_until = notice.reason, trio.current_time() + ALARM_S
        if trio.current_time() < self._alarm_until:
            context.degraded(self._alarm)
        elif self._store.unreached:
            context.degraded(self._store.unreached)
        elif self.retainer.trouble is not None:
            context.degraded(self.retainer.trouble)
        else:
            context.ok()
