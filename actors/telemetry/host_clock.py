"""The clock actor: detects when this host's clock is set, and reports the lags of all exchanges.

A jump is a moment at which the wall clock advances by another amount than the monotonic clock. A blocked loop or a
loaded machine delays both; a machine that slept is recognized by CLOCK_BOOTTIME where it exists (Linux,
clock_gettime(2), read 2026-11). Slewing affects both as well, or by 0.05% at most.
"""

import time
from collections.abc import Callable, Sequence

import trio
from msgspec import Struct

from actors.model.records import LagRow
from actors.telemetry.lag import Lags, host_ahead_ms, seconds_text
from supervisor import Context

# ntpd sets the clock from 0.128 s on and slews below. Two clocks read together differ by microseconds.
JUMP_S = 0.1
SLEW = 0.001  # twice the maximum slew of a clock, 500 ppm
ALARM_S = 300.0  # how long health shows a jump; the events keep it
READ_S_MAX = 0.01  # a reading that took longer was interrupted: its clocks were not read together
READ_TRIES = 10
STOP_S = 1.0


class ClockLimits(Struct, frozen=True, kw_only=True):
    """How often the clocks are read, and over how long lags are aggregated into one row."""

    look_s: float = 1.0
    row_s: float = 60.0


DEFAULT_LIMITS = ClockLimits()


class Reading(Struct, frozen=True):
    """The clocks at one moment: the wall clock, the clock that stops while the machine sleeps, and (None if there
    is none) the one that does not.
    """

    wall_ns: int
    mono_s: float
    boot_s: float | None


class Jump(Struct, frozen=True):
    """The clock was set by `jump_s`, forward if positive.

    Without a clock that counts sleep, `sure` is False for a jump forward: the machine may have slept.
    """

    jump_s: float
    sure: bool = True
    event = "clock_jumped"

    @property
    def reason(self) -> str:
        """The message for people."""
        way = "forward" if self.jump_s > 0 else "back"
        text = f"this host's clock jumped {seconds_text(abs(self.jump_s))} {way}"
        return text if self.sure else f"{text}, or the machine slept"


class Sleep(Struct, frozen=True):
    """The machine slept for `slept_s`; its clock is still right."""

    slept_s: float
    event = "host_slept"

    @property
    def reason(self) -> str:
        """The message for people."""
        return f"this machine slept for {seconds_text(self.slept_s)}"


class ClockWatch:
    """Compares each reading with the previous one."""

    def __init__(self) -> None:
        self._last: Reading | None = None

    def look(self, wall_ns: int, mono_s: float, boot_s: float | None) -> Jump | Sleep | None:
        """What happened to the clock since the last call; of a jump and a sleep together, the jump is returned."""
        last, self._last = self._last, Reading(wall_ns, mono_s, boot_s)
        if last is None:
            return None
        awake_s = mono_s - last.mono_s
        counts_sleep = boot_s is not None and last.boot_s is not None
        passed_s = boot_s - last.boot_s if boot_s is not None and last.boot_s is not None else awake_s
        jump_s = (wall_ns - last.wall_ns) / 1e9 - passed_s
        if abs(jump_s) > JUMP_S + SLEW * passed_s:
            return Jump(jump_s, sure=counts_sleep or jump_s < 0)
        return Sleep(passed_s - awake_s) if passed_s - awake_s > JUMP_S else None


def read_clocks() -> Reading | None:
    """All clocks at one moment; None if the reading was interrupted too often."""
    for _ in range(READ_TRIES):
        began = time.monotonic()
        mono_s, slept_s, wall_ns = trio.current_time(), _slept_s(), time.time_ns()
        if time.monotonic() - began < READ_S_MAX:
            return Reading(wall_ns, mono_s, None if slept_s is None else mono_s + slept_s)
    return None


def _slept_s() -> float | None:
    """How long the machine has slept since boot."""
    if not hasattr(time, "CLOCK_BOOTTIME"):
        return None
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)


class Clock:
    """The clock actor's state; the pipeline owns it. `record` receives the rows for the file; `jumps` counts,
    `last` is the newest jump. `on_jump(seconds)` is called for each that is sure. `read` reads the host's clocks.
    """

    def __init__(
        self,
        lags: Lags,
        record: Callable[[LagRow], None],
        *,
        on_jump: Callable[[float], None] = lambda _: None,
        read: Callable[[], Reading | None] = read_clocks,
        limits: ClockLimits = DEFAULT_LIMITS,
    ) -> None:
        self.lags, self._record, self._read, self._limits = lags, record, read, limits
        self._on_jump = on_jump
        self._watch = ClockWatch()
        self._row_ends = float("inf")
        self._alarm, self._alarm_until = "", 0.0
        self._host = ""  # what is wrong with this host's clock according to all exchanges
        self.jumps = 0
        self.last: Jump | None = None
        self.last_ns: int | None = None  # when it was detected

    async def run(self, context: Context) -> None:
        """Runs until it is asked to stop; then records the samples of the last minute too."""
        self._row_ends = min(self._row_ends, trio.current_time() + self._limits.row_s)
        context.ok()
        while not context.stopping.is_set():
            with trio.move_on_after(self._limits.look_s):
                await context.stopping.wait()
            self._look(context)
            context.handled(self.lags.collect())
            if trio.current_time() >= self._row_ends:
                self._row_ends = trio.current_time() + self._limits.row_s
                self._judge(context, await self._rows())
            self._report(context)
            context.healthy()
        await self._rows()

    def _look(self, context: Context) -> None:
        reading = self._read()
        if reading is None:
            return
        found = self._watch.look(reading.wall_ns, reading.mono_s, reading.boot_s)
        if isinstance(found, Jump):
            self.jumps, self.last, self.last_ns = self.jumps + 1, found, reading.wall_ns
            self._alarm, self._alarm_until = found.reason, trio.current_time() + ALARM_S
            context.note(found.event, found.reason, jump_s=round(found.jump_s, 6))
            if found.sure:
                self._on_jump(found.jump_s)
        elif found is not None:
            context.note(found.event, found.reason, slept_s=round(found.slept_s, 6))

    async def _rows(self) -> list[LagRow]:
        rows = []
        for row in self.lags.rows(time.time_ns()):
            self._record(row)
            rows.append(row)
            # a busy exchange needs 30,000 numbers sorted: let other tasks run first
            await trio.lowlevel.checkpoint()
        return rows

    def _judge(self, context: Context, rows: Sequence[LagRow]) -> None:
        """Reports the episodes that begin or end with this minute, the host's own clock first."""
        ahead_ms = host_ahead_ms(rows)
        if ahead_ms is None:
            self._host = ""
        elif not self._host:
            off = seconds_text(abs(ahead_ms) / 1000)
            way = f"{off} ahead, or all data is that late" if ahead_ms > 0 else f"{off} behind"
            self._host = f"according to all exchanges this host's clock is {way}; check NTP"
            context.note("host_clock_off", self._host, ahead_ms=ahead_ms)
        for turn in self.lags.judge(rows):
            context.note(turn.event, turn.reason, exchange=turn.row.exchange, p50_ms=turn.row.p50_ms)

    def _report(self, context: Context) -> None:
        jumped = [self._alarm] if trio.current_time() < self._alarm_until else []
        found = [self._host, *jumped] if self._host else jumped
        context.degraded_by(found, len(found))
