"""What the dashboard shows, as server-sent events: rendered once for all readers, and only while there are any."""

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import duckdb
import msgspec
import structlog
import trio

from actors.model.errors import DatabaseLocked
from actors.pipeline import Pipeline
from ops.monitoring import status as report
from ops.monitoring.dashboard.prices import Prices
from ops.monitoring.dashboard.timeline import Timeline, read_timeline

EVERY_S = 1.0
LOOP_SHARE = 0.02  # of the event loop's time at most; a service of thousands of actors is shown less often
TIMELINE_EVERY_S = 15.0
QUERY_SHARE = 0.01  # of one core's time at most, for the queries of a file that has become large
ACTORS_MAX = 500  # those that are not ok come first
_TROUBLED = ("failed", "backoff", "degraded", "starting", "stopping", "paused")

_log = structlog.get_logger()


class Dashboard:
    """The topics of one service. Each holds its newest content only, so that a slow reader costs no memory."""

    def __init__(self, pipeline: Pipeline, events: Callable[[], Sequence[object]]) -> None:
        self._pipeline, self._events = pipeline, events  # the newest of them, a bounded number
        self._prices = Prices()
        self._topics: dict[str, tuple[int, bytes]] = {}
        self._markets: list[tuple[str, str]] = []
        self._readers = 0
        self._due = self._timeline_due = 0.0
        self._querying = False

    @asynccontextmanager
    async def reader(self) -> AsyncIterator[AsyncIterator[bytes]]:
        """The events for one reader while the block is open: first everything, then what has changed."""
        watchers = self._pipeline.buffer.watchers
        self._readers += 1
        watchers.add(self._prices)
        try:
            self._render_if_due()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._follow_file)
                yield _Reader(self)
                nursery.cancel_scope.cancel()
        finally:
            self._readers -= 1
            if not self._readers:
                watchers.discard(self._prices)
                self._prices = Prices()
                self._topics.clear()
                self._due = self._timeline_due = 0.0

    async def next_events(self, seen: dict[str, int]) -> bytes:
        """What is newer than `seen`, which it updates; waits until there is something."""
        while not (events := self._newer(seen)):
            await trio.sleep_until(self._due)
            self._render_if_due()
        return events

    def _newer(self, seen: dict[str, int]) -> bytes:
        parts = []
        for name, (number, content) in self._topics.items():
            if seen.get(name) != number:
                seen[name] = number
                parts += [b"event: ", name.encode(), b"\ndata: ", content, b"\n\n"]
        return b"".join(parts)

    def _render_if_due(self) -> None:
        if trio.current_time() >= self._due:
            started = time.perf_counter()
            self._render()
            took_s = time.perf_counter() - started
            self._due = trio.current_time() + max(EVERY_S, took_s / LOOP_SHARE)

    def _render(self) -> None:
        pipeline = self._pipeline
        status: dict[str, Any] = report.status(pipeline)
        markets: list[tuple[str, str]] = []
        for name, exchange in status["exchanges"].items():
            markets += [(name, symbol) for symbol in exchange["symbols"]]
            exchange["symbols"] = len(exchange["symbols"])
        self._markets = markets
        prices, left_out = self._prices.rows(markets)
        now_ms = time.time_ns() // 1_000_000
        self._put("status", {"at": now_ms, "status": status, "prices": prices, "prices_left_out": left_out})
        self._put("actors", _shown(report.actors(pipeline)))
        self._put("events", self._events())
        self._prices.waiting = True
        pipeline.buffer.show_soon()

    def _put(self, topic: str, content: object) -> None:
        encoded = msgspec.json.encode(content)
        number, before = self._topics.get(topic, (0, b""))
        if encoded != before:
            self._topics[topic] = number + 1, encoded

    async def _follow_file(self) -> None:
        """Every reader runs this, and one of them queries when it is due; the others then have its result too."""
        while True:
            await trio.sleep_until(self._timeline_due)
            if self._querying:
                await trio.sleep(EVERY_S)
                continue
            self._querying = True
            started = trio.current_time()
            try:
                self._put("timeline", await self._timeline())
            finally:
                self._querying = False
                took_s = trio.current_time() - started
                self._timeline_due = trio.current_time() + max(TIMELINE_EVERY_S, took_s / QUERY_SHARE)

    async def _timeline(self) -> Timeline | dict[str, str]:
        try:
            question = partial(read_timeline, now_us=time.time_ns() // 1000, markets=self._markets)
            found: Timeline = await self._pipeline.consult(question)
        except DatabaseLocked as locked:
            return {"unreadable": str(locked)}
        except (duckdb.Error, OSError) as error:
            _log.warning("dashboard_query_failed", error=str(error))
            return {"unreadable": "the file cannot be read now; see the log of the service"}
        return found


class _Reader(AsyncIterator[bytes]):
    """The events for one reader."""

    def __init__(self, dashboard: Dashboard) -> None:
        self._dashboard = dashboard
        self._seen: dict[str, int] = {}

    async def __anext__(self) -> bytes:
        return await self._dashboard.next_events(self._seen)


def _shown(actors: Sequence[dict[str, object]]) -> dict[str, object]:
    """The actors without what changes all the time, and how many there are beyond ACTORS_MAX."""
    rows = [{key: value for key, value in actor.items() if key not in ("handled", "mailbox")} for actor in actors]
    if len(rows) > ACTORS_MAX:
        parents = {row["parent"] for row in rows}
        rows.sort(key=lambda row: row["name"] not in parents and row["state"] not in _TROUBLED)
    return {"actors": rows[:ACTORS_MAX], "left_out": max(0, len(rows) - ACTORS_MAX)}
