"""Replays stored ticks in the order in which they were received, of all exchanges together."""

import time
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import anyio
import anyio.lowlevel
import anyio.to_thread
from arro3.core import RecordBatch

from ops.client.tick import EPOCH, MICROSECOND, Tick, TickFilter, tick_filter
from ops.client.windows import COLUMNS, VALUES, WINDOW_ROWS, Window, recording, ticks_of, windows
from ops.export.source import Source
from ops.terminal.time_options import microseconds

Instant = str | datetime | int  # RFC 3339 or a day in UTC, aware, or microseconds UTC
TIMEOUT_S = 30.0
PACE_S = 0.001  # shorter pauses are not made


class Replay:
    """Stored ticks; iterate it with `for` or `async for`, or over `batches`. Each time it begins again.

    While it is iterated the file is open, and the service merges nothing into it. Iterating raises QueryError, and
    DatabaseLocked if another process holds the file for longer than `timeout_s`.
    """

    def __init__(
        self,
        file: Path,
        from_us: int | None,
        to_us: int | None,
        wanted: TickFilter,
        speed: float | None,
        timeout_s: float,
        window_rows: int = WINDOW_ROWS,
    ) -> None:
        self._file, self._from_us, self._to_us, self._window_rows = file, from_us, to_us, window_rows
        self._wanted, self._speed, self._timeout_s = wanted, speed, timeout_s

    def batches(self) -> Generator[RecordBatch, None, None]:
        """Arrow record batches with the columns and types of `ticks` except `fills`, as fast as they are read."""
        with recording(self._file, self._timeout_s) as src:
            for window in self._windows(src):
                yield from window.read(COLUMNS)

    def __iter__(self) -> Generator[Tick, None, None]:
        pace = _Pace(self._speed, time.monotonic)
        for ticks in self._portions():
            if self._speed is None:
                yield from ticks
                continue
            for tick in ticks:
                wait_s = pace.wait_s(tick.received_us)
                if wait_s > PACE_S:
                    time.sleep(wait_s)
                yield tick

    async def __aiter__(self) -> AsyncGenerator[Tick, None]:
        """The same for trio and asyncio: other tasks run while it reads and waits."""
        pace, portions = _Pace(self._speed, anyio.current_time), self._portions()
        try:
            while (ticks := await anyio.to_thread.run_sync(next, portions, None)) is not None:
                for tick in ticks:
                    wait_s = pace.wait_s(tick.received_us)
                    if wait_s > PACE_S:
                        await anyio.sleep(wait_s)
                    yield tick
                await anyio.lowlevel.checkpoint()
        finally:
            portions.close()

    def _portions(self) -> Generator[Iterator[Tick], None, None]:
        """Ticks, as they are read; DuckDB reads the next window in a thread while one is used."""
        with recording(self._file, self._timeout_s) as src, ThreadPoolExecutor(1, "replay") as thread:
            stretches = self._windows(src)

            def read() -> list[RecordBatch] | None:
                window = next(stretches, None)
                return None if window is None else list(window.read(VALUES))

            reading = thread.submit(read)
            while (batches := reading.result()) is not None:
                reading = thread.submit(read)
                yield from map(ticks_of, batches)

    def _windows(self, src: Source) -> Iterator[Window]:
        return windows(src, self._wanted.sql, self._from_us, self._to_us, self._window_rows)


def replay(
    file: Path | str,
    from_: Instant | None = None,
    to: Instant | None = None,
    *,
    speed: float | None = None,
    exchanges: str | Iterable[str] = (),
    symbols: str | Iterable[str] = (),
    timeout_s: float = TIMEOUT_S,
) -> Replay:
    """The stored ticks received from `from_` to before `to`, in the order of `received_at`, then of arrival.

    `speed` 1.0 delivers them as they came, 10.0 ten times as fast, None without pauses. `exchanges` and `symbols`
    limit them; symbols may be wildcards as in the configuration, such as "*/USDT". The service may run or not.
    Raises ValueError for a time, symbol or speed that is none.
    """
    if speed is not None and not 0 < speed < float("inf"):
        raise ValueError(f"{speed} is not a speed; write a number above 0, or None for no pauses")
    return Replay(Path(file), instant_us(from_), instant_us(to), tick_filter(exchanges, symbols), speed, timeout_s)


def instant_us(instant: Instant | None) -> int | None:
    """As microseconds UTC; raises ValueError."""
    if isinstance(instant, datetime):
        if instant.tzinfo is None:
            raise ValueError(f"{instant} has no time zone; pass an aware datetime")
        return (instant - EPOCH) // MICROSECOND
    return microseconds(instant) if isinstance(instant, str) else instant


class _Pace:
    """How long to wait for a tick, so that the intervals are those of the recording, divided by `speed`."""

    def __init__(self, speed: float | None, clock: Callable[[], float]) -> None:
        self._speed, self._clock = speed, clock
        self._first_us: int | None = None
        self._began = 0.0

    def wait_s(self, received_us: int) -> float:
        """From now until the tick is due."""
        if self._speed is None:
            return 0.0
        if self._first_us is None:
            self._first_us, self._began = received_us, self._clock()
        due_s = (received_us - self._first_us) / 1e6 / self._speed
        return self._began + due_s - self._clock()
