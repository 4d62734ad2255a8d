"""A control socket, a store and a tap without exchanges: a test says what arrives, and when it becomes durable."""

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from actors.model.batch import Batch
from actors.model.records import AuditRow
from actors.model.ticks import Block
from actors.store.store import Store
from ops.client import Tick
from ops.control.app import UnknownName
from ops.control.tap import LineBuffer
from ops.monitoring.status import instant
from ops.service.tap_watcher import TapWatcher
from tests.harness.control_serving import QuietApp, serve_control
from tests.harness.recording_samples import settings, store
from tests.harness.tick_streams import block

EXCHANGES = ("binance", "kraken", "okx")


class World(QuietApp):
    """`take` is what the buffer does with a chunk, `flush` what the writer does; all of it is in `taken`.

    The tap keeps `lines_max` lines for a reader, and leaves out further ones.
    """

    capabilities = frozenset({"tap"})

    def __init__(self, made: Store, path: Path, socket: Path, lines_max: int = 1000) -> None:
        self.store, self.path, self.socket = made, path, socket
        self.lines_max = lines_max
        self.taken: list[Tick] = []
        self.watchers: set[TapWatcher] = set()
        self.left_out = 0
        self.flush_interval_s: float | None = 0.0  # None: an older service, which does not report it
        self._pending: list[Block] = []
        self._flushed_ns: int | None = None

    def take(self, ticks: Sequence[Tick]) -> None:
        """A chunk of one exchange arrives."""
        self.taken += ticks
        made = block(ticks)
        for watcher in self.watchers:
            watcher.show([made])
        self._pending.append(made)

    def flush(self, sealed_ns: int = 0) -> None:  # type: ignore[override]  # a command that nobody gives here
        """What has arrived becomes durable, sealed now or, if the clock is wrong, at that time."""
        blocks, self._pending = tuple(self._pending), []
        self.store.write(
            Batch(
                self.store.next_number(),
                blocks,
                audit=(AuditRow(sealed_ns or time.time_ns(), "binance", 0, 0, 0, 0, 0, 0, "run"),),
            )
        )
        self._flushed_ns = time.time_ns()

    def status(self) -> Mapping[str, object]:
        waiting = sum(map(len, self._pending))
        store = {"path": str(self.path), "last_flush_at": instant(self._flushed_ns)}
        if self.flush_interval_s is None:
            return {"store": store, "exchanges": {"binance": {"in_flight": waiting}}}
        return {
            "store": {**store, "flush_interval_s": self.flush_interval_s, "in_flight": waiting},
            "exchanges": {},  # of which ticks came may be recorded no longer
        }

    @asynccontextmanager
    async def tap(self, exchange: str, symbol: str) -> AsyncIterator[AsyncIterator[bytes]]:
        if exchange not in {"", *EXCHANGES}:
            raise UnknownName(f"no exchange is called {exchange!r}")
        watcher = TapWatcher(exchange, symbol, lambda: None)
        watcher.lines = LineBuffer(self.lines_max)
        self.watchers.add(watcher)
        try:
            yield watcher.lines
        finally:
            self.watchers.discard(watcher)


@asynccontextmanager
async def world(folder: Path, lines_max: int = 1000) -> AsyncIterator[World]:
    """Served until the block ends."""
    chosen = settings(folder)
    with store(chosen) as made:
        served = World(made, chosen.path, folder / "socket", lines_max)
        async with trio.open_nursery() as nursery:
            await nursery.start(lambda task_status: serve_control(served.socket, served, task_status=task_status))
            yield served
            nursery.cancel_scope.cancel()
