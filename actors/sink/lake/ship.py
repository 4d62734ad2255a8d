"""The ship actor: sends committed batches to the lake, in order; a lake out of reach delays nothing else.

What is not in the lake yet waits in the file. The thread that calls the lake is none of the store's, and is left
alone at a stop if the lake does not answer: a commit that succeeds nevertheless is found by its mark.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Protocol, TypeVar

import trio

from actors.model.batch import Batch
from actors.model.errors import DatabaseLocked
from actors.settings import JITTER, SHIP_STOP_S, LakeSettings
from actors.sink.database_thread import in_thread, with_rest
from actors.sink.lake.backlog import Backlog, Behind
from actors.sink.lake.errors import LakeMisconfigured
from actors.sink.lake.lake import Batches, BatchSource, Lake, Marks
from supervisor import Backoff, Context, MisconfiguredError

T = TypeVar("T")

ROWS_MAX = 200_000  # of one commit, which take about 40 MB of memory
ROWS_PER_S_MAX = 50_000  # of a backlog, ten times a usual recording: 10 to 25% of a core, which a flood needs
RETRY = Backoff(1.0, 30.0)
THREAD_NAME = "lake"  # of the thread that calls it, during a call
LOCKED_RETRY_S = 1.0
LATE_INTERVALS = 10  # of every_s, after which health says that the lake is behind
SILENT_S = 30.0  # a call that takes longer is a lake that does not answer
CHECK_S = 1.0
TROUBLE_S = 300.0  # how long the message of an outage stays the same; others have other numbers in them


class Source(BatchSource, Protocol):
    """The store; its id is "" while it is unknown. `ship_mark` is the newest batch that the lake has: retention
    deletes no later one. It is 0 while it is unknown. `newest` is the newest batch of all, `touched_ns` the time of
    the last one before this run.
    """

    ship_mark: int | None
    newest: int
    touched_ns: int

    @property
    def transient(self) -> tuple[type[Exception], ...]:
        """The errors of a failing disk."""


class Ship:
    """Sends what the writer has stored; the pipeline owns it.

    `open_lake` is called in the thread for the lake. `limiter` is that of everything that opens the database.
    """

    def __init__(
        self,
        source: Source,
        open_lake: Callable[[], Lake],
        settings: LakeSettings,
        limiter: trio.CapacityLimiter,
        *,
        finish_s: float = SHIP_STOP_S - 1.0,
    ) -> None:
        self.settings = settings
        self._source, self._open_lake, self._reading = source, open_lake, limiter
        self._finish_s = finish_s
        self._calling = trio.CapacityLimiter(1)
        self._called_at: float | None = None  # since when a call to the lake has been running
        self._lake: Lake | None = None
        source.ship_mark = 0
        self._marks: Marks | None = None  # None: to be read
        self._store_id = ""  # the marks are of this store
        self._ours: set[int] = set()  # the last marks, and how far the commit since then goes; empty if unknown
        self._contacted = trio.Event()
        self._backlog = Backlog()
        self._begun = False
        self._asked, self._scope = trio.Event(), trio.CancelScope()
        self._finishing = False
        self._began_ns = time.time_ns()
        self._lagged = False
        self._trouble_until = 0.0
        self.mark: int | None = None  # the newest batch in the lake, as far as known
        self.trouble: str | None = None
        self.commits = self.failures = self.ticks = 0
        self.last_commit_ns: int | None = None

    @property
    def is_calling(self) -> bool:
        """Whether a call to the lake is running, perhaps one that nothing waits for any more."""
        return self._calling.borrowed_tokens > 0

    def behind(self) -> Behind:
        """How far the lake is behind; while its mark is unknown, as long as this run lasts."""
        now_ns = time.time_ns()
        behind = self._backlog.behind(now_ns)
        if self.mark is None:
            return Behind(behind.batches, behind.ticks, (now_ns - self._began_ns) / 1e9)
        return behind

    def stored(self, batch: Batch) -> None:
        """A batch is durable."""
        self._backlog.stored(batch.number, batch.ticks, time.time_ns())

    def stop(self) -> None:
        """Requests the last commits, for which there are `finish_s`."""
        self._finishing = True
        self._scope.deadline = trio.current_time() + self._finish_s
        self._asked.set()

    async def run(self, context: Context) -> None:
        """Sends every `every_s` until `stop`, and then what is left. Raises MisconfiguredError.

        The lake is opened once, so that it notices if it has less than before.
        """
        self._marks, self._contacted = None, trio.Event()
        if not self._begun and self._source.newest:
            self._backlog.earlier(self._source.newest, self._source.touched_ns)
        self._begun = True
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch, context)
            with trio.CancelScope(deadline=self._scope.deadline) as self._scope:
                await self._send_until_stop(context)
                await self._send_rest(context)
            if self._scope.cancelled_caught:
                context.note("lake_left", "the lake did not answer in time; the next start sends what is left")
            nursery.cancel_scope.cancel()

    async def _send_until_stop(self, context: Context) -> None:
        failures = 0
        while not self._finishing:
            began = trio.current_time()
            rest_s: float | None = None  # None: until the interval is over
            try:
                rest_s = await self._send(context)
            except self._transient as error:
                if isinstance(error, DatabaseLocked):
                    rest_s = LOCKED_RETRY_S
                else:
                    self._failed(context, error)
                    rest_s = RETRY.delay_s(failures, JITTER)
                    failures += 1
            except MisconfiguredError as error:
                self.failures += 1
                self.trouble = str(error)
                raise
            else:
                failures = 0
                self._succeeded(context, caught_up=rest_s is None)
            if rest_s is None:  # what comes now waits for the next commit and while that takes as long as this one
                took_s, every_s = trio.current_time() - began, self.settings.every_s
                rest_s = max(every_s / 2, every_s - took_s) - took_s
            with trio.move_on_after(max(0.0, rest_s)):
                await self._asked.wait()

    async def _send_rest(self, context: Context) -> None:
        try:
            while await self._send(context) is not None:
                pass
        except self._expected as error:
            context.note("lake_left", f"{self._describe(error)}; the next start sends what is left")

    async def _send(self, context: Context) -> float | None:
        """Sends what is there, at most about ROWS_MAX rows. How long to rest until there is more, None if that was
        all.
        """
        began = trio.current_time()
        if self._lake is None:
            self._lake = await self._call(self._open_lake)
        if self._marks is None or self._store_id != self._source.store_id:
            if self._store_id != self._source.store_id:
                self._store_id = self._source.store_id
                self._ours.clear()
            if not self._store_id:
                raise DatabaseLocked
            marks = await self._call(partial(self._lake.marks, self._store_id))
            await self._check(context, marks)
            self._moved(marks)
            context.note("shipping", f"to {self.settings.uri}", recorder=self.settings.recorder, mark=self.mark)
        newest = self._source.newest
        batches, rest_s = await self._read(context)
        if batches is None:
            return None
        self._ours.add(batches.through)
        await self._call(partial(self._lake.commit, batches))
        self._moved(Marks(batches.through, batches.through))
        self.commits += 1
        self.ticks += batches.ticks
        self.last_commit_ns = time.time_ns()
        context.handled()
        if batches.through >= newest:
            return None
        rows = sum(shipped.rows for shipped in batches.shipped)
        return max(rest_s, began + rows / ROWS_PER_S_MAX - trio.current_time())

    async def _check(self, context: Context, marks: Marks) -> None:
        """Raises LakeMisconfigured if marks that have risen without us are no batches of this store.

        Another process of this store may have sent them. Not for the first marks of a store: retention may have
        deleted their batches, or the file may be an old copy that was put back.
        """
        for number in sorted({marks.committed, marks.intended} - self._ours if self._ours else ()):
            found = await self._ask(context, partial(self._source.batches, number - 1, 1, number))
            if found is None or not found.shipped:
                raise LakeMisconfigured(
                    f"{self.settings.uri}: another machine sends under the name {self.settings.recorder!r} with a"
                    f" copy of this file (batch {number} is not in it): give one of them another name in [lake]"
                    " recorder"
                )

    async def _read(self, context: Context) -> tuple[Batches | None, float]:
        """The next batches, or those of a commit that was begun; and how long to rest after reading them."""
        marks = self._marks
        assert marks is not None
        through = marks.intended if marks.intended > marks.committed else None
        read = partial(with_rest, partial(self._source.batches, marks.committed, ROWS_MAX, through))
        batches, rest_s = await self._ask(context, read)
        if batches is None and through is not None:  # rows that were lost meanwhile: nothing is left to repeat
            batches = Batches(self._store_id, marks.committed, through, 0, {})
        if batches is not None and (ticks := batches.tables.get("ticks")) is not None:
            self._backlog.begins(int(ticks["received_at"][0].as_py().timestamp() * 1e9))
        return batches, rest_s

    async def _ask(self, context: Context, question: Callable[[], T]) -> T:
        """The store's answer."""
        found: list[T] = []
        await in_thread(context, self._reading, question, found.append)
        return found[0]

    async def _call(self, call: Callable[[], T]) -> T:
        """Calls the lake. If this is cancelled, the call goes on by itself, and the next one waits for it."""
        self._called_at = trio.current_time()
        try:
            return await trio.to_thread.run_sync(
                call, thread_name=THREAD_NAME, abandon_on_cancel=True, limiter=self._calling
            )
        finally:
            self._called_at = None

    @property
    def _transient(self) -> tuple[type[Exception], ...]:
        return (DatabaseLocked, *self._source.transient, *(self._lake.transient if self._lake is not None else ()))

    @property
    def _expected(self) -> tuple[type[Exception], ...]:
        return (MisconfiguredError, *self._transient)

    def _moved(self, marks: Marks) -> None:
        self._marks, self.mark = marks, marks.committed
        self._ours = {marks.committed, marks.intended}
        self._contacted.set()
        self._source.ship_mark = marks.committed
        self._backlog.shipped(marks.committed)

    def _failed(self, context: Context, error: Exception) -> None:
        """The marks are read again: what failed may have been done."""
        self.failures += 1
        self._marks = None
        self._contacted.set()
        first, now = self.trouble is None, trio.current_time()
        if first or now >= self._trouble_until:
            self.trouble, self._trouble_until = self._describe(error), now + TROUBLE_S
        if first:
            self._lagged = True
            context.note("lake_unreachable", f"{self.trouble}; what is recorded waits in the file")

    def _describe(self, error: Exception) -> str:
        if self._lake is not None and isinstance(error, self._lake.transient):
            return self._lake.describe(error)
        return str(error)

    def _succeeded(self, context: Context, *, caught_up: bool) -> None:
        if caught_up and self._lagged:
            context.note("lake_caught_up", "the lake has everything that was recorded", mark=self.mark)
            self._lagged = False
        self.trouble = None
        context.healthy()

    async def _watch(self, context: Context) -> None:
        """Keeps health up to date, also while a call is running."""
        late_s = LATE_INTERVALS * self.settings.every_s
        with trio.move_on_after(SILENT_S):
            await self._contacted.wait()  # until then it starts, or it will be failed
        while True:
            if self.behind().seconds <= late_s:
                context.ok()
            else:
                self._lagged = True
                context.degraded(f"the lake is more than {late_s:g} s behind: {self._why()}")
            await trio.sleep(CHECK_S)

    def _why(self) -> str:
        if self.trouble is not None:
            return self.trouble
        is_silent = self._called_at is not None and trio.current_time() > self._called_at + SILENT_S
        return "it does not answer" if is_silent else "it catches up"
