"""The dashboard's events: rendered once for all readers, only while there are any, and kept for none."""

import json
import time
from contextlib import AsyncExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio
import trio.testing

from actors.model.errors import DatabaseLocked
from actors.pipeline import Pipeline
from actors.settings import ExchangeSettings, PipelineSettings, StoreSettings
from ops.monitoring import status as report
from ops.monitoring.dashboard import live
from ops.monitoring.dashboard.live import ACTORS_MAX, EVERY_S, LOOP_SHARE, TIMELINE_EVERY_S, Dashboard


class Made:
    """A dashboard of a service that has not started, and how often it was rendered and queried its file."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        exchange = ExchangeSettings(name="kraken", symbols=("BTC/USD", "ETH/USD"), dialect="kraken")
        settings = PipelineSettings(store=StoreSettings(path=folder / "t.duckdb"), exchanges={"kraken": exchange})
        self.pipeline = Pipeline(settings)
        self.rendered = self.queried = 0
        self.query_s = 0.0
        self.events: list[dict[str, object]] = []
        self.dashboard = Dashboard(self.pipeline, lambda: self.events)
        real = report.status

        def status(pipeline: Pipeline) -> dict[str, object]:
            self.rendered += 1
            return {**real(pipeline), "state": f"rendering {self.rendered}"}  # real time hardly passes here

        async def consult(_: object) -> object:
            self.queried += 1
            await trio.sleep(self.query_s)
            raise DatabaseLocked("t.duckdb")

        patch.setattr(report, "status", status)
        patch.setattr(self.pipeline, "consult", consult)


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    return Made(tmp_path, monkeypatch)


def parsed(data: bytes) -> list[tuple[str, Any]]:
    """Server-sent events as (name, content)."""
    assert data.endswith(b"\n\n")
    found = []
    for event in data.decode().strip().split("\n\n"):
        name, content = event.split("\n")
        found.append((name.removeprefix("event: "), json.loads(content.removeprefix("data: "))))
    return found


async def test_a_reader_gets_everything_first_and_then_what_has_changed(made: Made, autojump_clock: object) -> None:
    async with made.dashboard.reader() as events:
        first = dict(parsed(await anext(events)))
        assert first.keys() == {"status", "actors", "events"}
        assert first["status"]["status"]["exchanges"]["kraken"]["symbols"] == 2  # their names are in the prices
        assert first["status"]["prices"] == [["kraken", "BTC/USD", None, None], ["kraken", "ETH/USD", None, None]]
        assert [name for name, _ in parsed(await anext(events))] == ["status", "timeline"]
        assert [name for name, _ in parsed(await anext(events))] == ["status"]
        made.events = [{"number": 1}]
        assert dict(parsed(await anext(events)))["events"] == [{"number": 1}]


async def test_it_is_rendered_once_a_second_however_many_read(made: Made, autojump_clock: object) -> None:
    got: list[int] = []

    async def read() -> None:
        async with made.dashboard.reader() as events:
            with trio.move_on_after(10.5 * EVERY_S):
                async for data in events:
                    got.append(len(data))

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(read)
    assert made.rendered == 11 and len(got) == 5 * made.rendered
    assert made.queried <= 2  # all share what one of them has queried


async def test_nothing_is_rendered_queried_or_held_while_nobody_looks(made: Made, autojump_clock: object) -> None:
    await trio.sleep(60)
    assert (made.rendered, made.queried, made.pipeline.buffer.watchers) == (0, 0, set())
    async with AsyncExitStack() as readers:
        await readers.enter_async_context(made.dashboard.reader())
        async with made.dashboard.reader() as events:
            await anext(events)
        assert len(made.pipeline.buffer.watchers) == 1  # the other one still reads
    assert made.pipeline.buffer.watchers == set() and not made.dashboard._topics
    before = made.rendered, made.queried
    await trio.sleep(60)
    assert (made.rendered, made.queried) == before


async def test_a_slow_reader_gets_the_newest_and_nothing_is_kept_for_it(made: Made, autojump_clock: object) -> None:
    async with made.dashboard.reader() as slow, made.dashboard.reader() as quick:
        await anext(slow)
        for _ in range(50):
            await anext(quick)
        events = parsed(await anext(slow))
        assert sorted(name for name, _ in events) == ["status", "timeline"]
        assert dict(events)["status"]["status"]["state"] == f"rendering {made.rendered}"
        assert len(made.dashboard._topics) == 4


async def test_a_service_that_takes_long_to_render_is_rendered_less_often(
    made: Made, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    took_s = 0.2
    seconds = iter(range(10_000))
    clock = SimpleNamespace(perf_counter=lambda: next(seconds) * took_s, time_ns=time.time_ns)
    monkeypatch.setattr(live, "time", clock)
    async with made.dashboard.reader() as events:
        await anext(events)
        began = trio.current_time()
        for number in (1, 2, 3):
            await anext(events)
            assert trio.current_time() - began == pytest.approx(number * took_s / LOOP_SHARE)


async def test_a_slow_file_is_queried_less_often_and_delays_nobody(made: Made, autojump_clock: object) -> None:
    made.query_s = 5.0
    async with made.dashboard.reader() as events:
        for _ in range(5):
            await anext(events)  # while the first query runs
        assert (made.queried, trio.current_time() < made.query_s) == (1, True)
        with trio.move_on_after(2 * TIMELINE_EVERY_S + 2 * made.query_s):
            async for _ in events:
                pass
        assert made.queried == 1


def test_of_many_actors_those_in_trouble_are_kept() -> None:
    rows: list[dict[str, object]] = [
        {"name": f"x:{number}", "parent": "x", "state": "ok", "handled": number, "mailbox": None}
        for number in range(ACTORS_MAX + 10)
    ]
    rows.append({"name": "x", "parent": None, "state": "ok", "handled": 0, "mailbox": None})
    rows[-2]["state"] = "backoff"
    shown: Any = live._shown(rows)
    assert (len(shown["actors"]), shown["left_out"]) == (ACTORS_MAX, 11)
    names = [actor["name"] for actor in shown["actors"]]
    assert names[:2] == [f"x:{ACTORS_MAX + 9}", "x"] and "handled" not in shown["actors"][0]
