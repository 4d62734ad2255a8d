"""Monitors the event loop's progress and delay, and the free space of the disk."""

import os
from collections.abc import Callable
from pathlib import Path

import structlog
import trio
from msgspec import Struct, field

from actors.pipeline import Pipeline
from actors.telemetry.histogram import LAG_BOUNDS_S, Histogram
from ops.monitoring import status as report
from supervisor.watchdog import Blocked, watch_loop

LOOP_EVERY_S = 0.25  # four wake-ups a second cost nothing and detect delays
LOOP_BLOCKED_S = 5.0  # a loop blocked for this long is a bug of ours; its stack is logged meanwhile
DISK_EVERY_S = 10.0
# How long data may wait to be flushed before the service counts as stuck. A flush takes milliseconds; a disk that
# hangs for less than this recovers without losing data in memory. If a disk answers but is full, the service waits:
# a restart would only lose the data in memory.
FLUSH_YOUNG_S = 30.0

_log = structlog.get_logger()


class Watch(Struct):
    """The measurements. `file_bytes` and `disk_free_bytes` are None until measured, and while they cannot be: the
    file may not exist yet, the disk may be missing.
    """

    path: Path
    loop_lag_s: Histogram = field(default_factory=lambda: Histogram(LAG_BOUNDS_S))
    file_bytes: int | None = None
    disk_free_bytes: int | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Runs until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._time_loop)
            nursery.start_soon(self._look_at_disk)
            nursery.start_soon(watch_loop, LOOP_BLOCKED_S, report_blocked)
            task_status.started()

    async def _time_loop(self) -> None:
        while True:
            due = trio.current_time() + LOOP_EVERY_S
            await trio.sleep_until(due)
            self.loop_lag_s.observe(trio.current_time() - due)

    async def _look_at_disk(self) -> None:
        """Runs in a thread that may be abandoned: a dead network disk never answers a stat."""
        while True:
            self.file_bytes, self.disk_free_bytes = await trio.to_thread.run_sync(
                sizes, self.path, abandon_on_cancel=True
            )
            await trio.sleep(DISK_EVERY_S)


def sizes(path: Path) -> tuple[int | None, int | None]:
    """The size of the file, and the free space of its disk for this user."""
    return _or_none(lambda: path.stat().st_size), _or_none(lambda: _free(path.parent))


def _free(folder: Path) -> int:
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize


def _or_none(look: Callable[[], int]) -> int | None:
    try:
        return look()
    except OSError:
        return None


def report_blocked(blocked: Blocked) -> None:
    """Called in a thread of its own, while the loop is blocked."""
    _log.error(
        "loop_blocked", reason=f"the event loop has been blocked for {blocked.blocked_s:.1f} s", stack=blocked.stack
    )


class Progress:
    """Whether ticks become durable: the last flush is recent, there is nothing to flush, the writer reports that it
    waits for the disk, or the store is changing hands.

    Called every few seconds. It uses the monotonic clock, because a wall clock that jumps must neither hide nor
    simulate a stall.
    """

    def __init__(self, pipeline: Pipeline, young_s: float = FLUSH_YOUNG_S) -> None:
        self._pipeline = pipeline
        self._young_s = pipeline.settings.store.flush_interval_s + young_s
        self._acknowledged = pipeline.writer.acknowledged
        self._moved_at = trio.current_time()

    def __call__(self) -> str | None:
        """A description of what is wrong, or None."""
        buffer, acknowledged = self._pipeline.buffer, self._pipeline.writer.acknowledged
        waiting = buffer.oldest_s() or buffer.intake.statistics().depth or buffer.outbox.statistics().depth
        if (
            not waiting
            or self._pipeline.changes_hands
            or acknowledged != self._acknowledged
            or self._pipeline.writer.trouble is not None
        ):
            self._acknowledged, self._moved_at = acknowledged, trio.current_time()
        still_s = trio.current_time() - self._moved_at
        return None if still_s <= self._young_s else f"nothing became durable for {still_s:.0f} s"


def status_line(pipeline: Pipeline) -> str:
    """One line for `systemctl status`."""
    status = report.status(pipeline)
    reasons = status["reasons"]
    fresh = sum(exchange.fresh(report.FRESH_S) for exchange in pipeline.exchanges.values())
    stored = sum(account.stored for account in pipeline.ledger.accounts.values())
    line = f"{status['state']}: {fresh} of {len(pipeline.exchanges)} exchanges fresh, {stored:,} trades durable"
    return f"{line}; {reasons[0]}" if isinstance(reasons, list) and reasons else line
