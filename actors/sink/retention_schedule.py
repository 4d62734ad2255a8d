"""Schedules the deletion of old days: rarely, and piece by piece with pauses while there is much to delete."""

import math
from collections.abc import Callable

import trio

from actors.settings import DEFAULT_LIMITS, SinkLimits, StoreSettings
from actors.sink.sink import Retained

LOOK_S = 600.0  # how often to check for days that have become too old
REST_MIN_S = 0.1
RETRY_S = 60.0  # after a failure of the archive; merges continue meanwhile


class RetentionSchedule:
    """The merger owns it and reports the result of each step. Times are trio's clock."""

    def __init__(
        self,
        settings: StoreSettings,
        limits: SinkLimits = DEFAULT_LIMITS.sink,
        clock: Callable[[], float] = trio.current_time,
    ) -> None:
        self._clock, self._limits = clock, limits
        self._next = -math.inf if settings.keep_days else math.inf
        self.trouble: str | None = None

    def wait_s(self) -> float:
        """The time until the next step; infinite if days are never too old."""
        return max(0.0, self._next - self._clock()) if self._next < math.inf else math.inf

    def done(self, report: Retained) -> None:
        """A step has succeeded."""
        self.trouble = None
        rest_s = max(REST_MIN_S, self._limits.retention_rest * report.locked_s)
        self._next = self._clock() + (rest_s if report.more else LOOK_S)

    def failed(self, error: Exception) -> None:
        """A step has failed; nothing was deleted."""
        self.trouble = f"old days stay in the file, because they cannot be archived or deleted: {error}"
        self._next = self._clock() + RETRY_S
