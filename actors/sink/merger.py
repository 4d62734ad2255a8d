"""The merger actor: maintains the sink. It merges, compacts while the database is locked, and deletes old days."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

import trio

from actors.model.errors import DatabaseLocked
from actors.model.records import EventRow, GapRow
from actors.settings import DEFAULT_LIMITS, JITTER, SinkLimits, StoreSettings
from actors.sink.database_thread import in_thread, with_rest
from actors.sink.retention_schedule import RetentionSchedule
from actors.sink.sink import Merged, Retained, Sink
from supervisor import Context

ALARM_S = 3600.0  # how long health shows that data was quarantined or lost; the events keep it
ALARMS_MAX = 100  # the newest; a failing disk may damage thousands of segments
ALARMS_SHOWN_MAX = 5  # in the reason of the actor; /v1/status lists all


class Merger:
    """Merges every merge_interval_s, and once more before it ends. The pipeline owns it.

    `on_event` and `on_gaps` receive the sink's reports: rows of `events`, and gaps of stored rows that were lost;
    `on_created` is called when the database has been made.
    `observe` receives how long each merge locked the database. `limiter` is shared by everything that opens it.
    """

    def __init__(
        self,
        sink: Sink,
        settings: StoreSettings,
        on_event: Callable[[EventRow], None],
        *,
        finish_s: float,
        limits: SinkLimits = DEFAULT_LIMITS.sink,
        observe: Callable[[float], None] = lambda _: None,
        on_gaps: Callable[[Sequence[GapRow]], None] = lambda _: None,
        on_created: Callable[[], None] = lambda: None,
    ) -> None:
        self._sink, self._limits = sink, limits
        self._interval_s, self._finish_s = settings.merge_interval_s, finish_s
        self._on_event, self._on_gaps, self._observe = on_event, on_gaps, observe
        self._on_created = on_created
        self.limiter = trio.CapacityLimiter(1)
        self._asked = trio.Event()
        self.last_merge_ns: int | None = None
        self.error: Exception | None = None  # of the latest merge
        self._locked_in_a_row = 0
        self._alarms: dict[str, float] = {}  # until when health shows each, the oldest first
        self.locked_s = 0.0
        self._rest_s = 0.0  # after the latest merge
        self.finishing = False
        self.last = Merged()
        self.retention = RetentionSchedule(settings, limits)
        self.begun = self.merges = 0  # attempts that have begun, and the latest that has ended, also with an error

    @property
    def held(self) -> bool:
        """Whether another process had the database open at the latest merge."""
        return isinstance(self.error, DatabaseLocked)

    @property
    def held_by_pid(self) -> int | None:
        """The process that had it open, if known."""
        return self.error.pid if isinstance(self.error, DatabaseLocked) else None

    @property
    def alarms(self) -> list[str]:
        """What health shows of data that was quarantined or lost, the newest first."""
        now = trio.current_time()
        return [reason for reason, until in reversed(self._alarms.items()) if now < until]

    def merge_soon(self) -> None:
        """Requests a merge now."""
        self._asked.set()

    def stop(self) -> None:
        """Requests the last merge, after which `run` ends."""
        self.finishing = True
        self._asked.set()

    async def run(self, context: Context) -> None:
        """Merges until `stop`, then once more."""
        self._report(context)
        failures = 0
        wait_s = self._interval_s
        while not await self._asked_to_finish(wait_s):
            try:
                wait_s = await self._merge(context)
            except self._sink.transient as error:
                context.degraded(self._sink.describe(error, merging=True))
                wait_s = self._limits.merge_retry.delay_s(failures, JITTER)
                failures += 1
                with suppress(*self._sink.transient):  # it may last for days; queries of the tail should stay fast
                    await self._compact(context)
                continue
            failures = 0
            await self._retain(context)
            self._report(context)
            if not self.held:
                wait_s = min(wait_s, max(self._limits.pause_s, self.retention.wait_s()))
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
        finish = partial(self._sink.finish, lambda: time.monotonic() > deadline)
        why = ""
        self.begun += 1
        try:
            await in_thread(context, self.limiter, finish, self._merged)
            if self.last.backlog:
                why = "the time was up"
        except DatabaseLocked as locked:
            self._failed(locked)
            why = str(locked)
        except self._sink.transient as error:
            self._failed(error)
            context.note("merge_failed", f"{error}; the tail stays and the next start merges it")
        finally:
            self._report(context)
        if why:
            context.note("merge_left", f"{why}; the tail stays and the next start merges it")

    async def _merge(self, context: Context) -> float:
        """One merge, or a compaction while the database is locked. Returns how long to wait for the next."""
        self.begun += 1
        try:
            await in_thread(context, self.limiter, partial(with_rest, self._sink.merge), self._merged_part)
        except DatabaseLocked as locked:
            self._failed(locked)
            # A program that opens it repeatedly leaves pauses; only a lasting lock is polled slowly.
            self._locked_in_a_row += 1
            if self._locked_in_a_row % self._limits.locked_tries:
                return min(self._interval_s, self._limits.pause_s)
            await self._compact(context)
            return min(self._interval_s, self._limits.locked_retry_s)
        except Exception as error:
            self._failed(error)
            raise
        self._locked_in_a_row = 0
        context.handled()
        return max(self._limits.pause_s, self._rest_s) if self.last.backlog else self._interval_s

    async def _compact(self, context: Context) -> None:
        await in_thread(context, self.limiter, self._sink.compact, lambda _: None)

    async def _retain(self, context: Context) -> None:
        """Deletes a piece of the days that are too old, if it is time; a failure delays no merge."""
        if not self.retention.wait_s() and not self.held and not self.last.backlog:
            try:
                await in_thread(context, self.limiter, self._sink.retain, self._retained)
            except self._sink.transient as error:
                self.retention.failed(error)

    def _retained(self, report: Retained) -> None:
        self.retention.done(report)
        self.locked_s += report.locked_s

    def _merged_part(self, result: tuple[Merged, float]) -> None:
        report, self._rest_s = result
        self._merged(report)

    def _merged(self, report: Merged) -> None:
        self.last, self.error = report, None
        self.merges = self.begun
        self.locked_s += report.locked_s
        self._observe(report.locked_s)
        self.last_merge_ns = time.time_ns()
        if report.created:
            self._on_created()

    def _failed(self, error: Exception) -> None:
        self.last, self.error = Merged(), error
        self.merges = self.begun

    def _report(self, context: Context) -> None:
        """Reports the sink's notices, and the state of the merger: alarms stay visible for a while."""
        while self._sink.notices:
            notice = self._sink.notices.popleft()
            self._on_event(notice.row())
            if notice.gaps:
                self._on_gaps(notice.gaps)
            if notice.alarm:
                self._alarms.pop(notice.reason, None)  # a repeated one is the newest
                self._alarms[notice.reason] = trio.current_time() + ALARM_S
                if len(self._alarms) > ALARMS_MAX:
                    del self._alarms[next(iter(self._alarms))]
        lasting = (self._sink.unreached, self.retention.trouble)
        context.degraded_by([*filter(None, lasting), *self.alarms], ALARMS_SHOWN_MAX)
