"""Notifications to systemd over a real datagram socket are correct and never block the service."""

import errno
import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.model.batch import Batch
from actors.model.records import EventRow
from actors.pipeline import Parts, Pipeline
from actors.settings import PipelineSettings, StoreSettings
from actors.store.store import Store
from ops.config.config import Config
from ops.config.keys import ControlSettings, LogSettings
from ops.monitoring.loop_monitor import FLUSH_YOUNG_S, Progress, status_line
from ops.monitoring.systemd_notify import STATUS_EVERY_S, Notifier
from ops.service.service import run_service

PATIENCE_S = 30.0
HEAR_S = 0.1


class Manager:
    """What systemd holds at the other end: a datagram socket."""

    def __init__(self, address: str) -> None:
        self.name = "@" + address[1:] if address.startswith("\0") else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self._socket.setblocking(False)

    def heard(self) -> list[str]:
        """All messages so far."""
        found = []
        while True:
            try:
                found.append(self._socket.recv(65536).decode())
            except BlockingIOError:
                return found

    def lines(self) -> list[str]:
        return [line for message in self.heard() for line in message.splitlines()]

    def close(self) -> None:
        self._socket.close()


async def until(true: Callable[[], object]) -> None:
    while not true():  # noqa: ASYNC110 - real sockets and files, nothing to wait on
        await trio.sleep(0.01)


async def hear(manager: Manager, seconds: float) -> list[str]:
    """The lines of so many seconds, read in time: the kernel queues about ten datagrams (max_dgram_qlen)."""
    found = []
    for _ in range(round(seconds / HEAR_S)):
        await trio.sleep(HEAR_S)
        found += manager.lines()
    return found


@contextmanager
def managing(address: str) -> Iterator[Manager]:
    manager = Manager(address)
    try:
        yield manager
    finally:
        manager.close()


@pytest.fixture(params=["path", "abstract"])
def either_manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    abstract = f"\0tickwarden-test-{secrets.token_hex(8)}"
    with managing(str(tmp_path / "notify") if request.param == "path" else abstract) as found:
        yield found


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    with managing(str(tmp_path / "notify")) as found:
        yield found


def environ(manager: Manager, **more: str) -> dict[str, str]:
    return {"NOTIFY_SOCKET": manager.name, **more}


def test_ready_stopping_and_status_reach_path_and_abstract_sockets(either_manager: Manager) -> None:
    manager = either_manager
    notifier = Notifier(environ(manager))
    notifier.status("recovering\nthe tail")
    notifier.ready()
    notifier.status("ok")
    notifier.stopping()
    notifier.status("draining")
    assert manager.heard() == [
        "STATUS=recovering the tail",
        "READY=1",
        "STATUS=ok\nREADY=1",
        "STOPPING=1",
        "STATUS=draining",
    ]


def test_reloading_bears_the_monotonic_time_and_ends_with_ready(manager: Manager) -> None:
    notifier = Notifier(environ(manager))
    before_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    notifier.reloading()
    notifier.ready()
    reloading, ready = manager.heard()
    word, usec = reloading.split("\n")
    assert (word, ready) == ("RELOADING=1", "READY=1")
    assert usec.startswith("MONOTONIC_USEC=")
    assert before_us <= int(usec.partition("=")[2]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


@pytest.mark.parametrize("address", [None, "", "relative/path", "vsock:2:1234", "/" + "x" * 200, "/a\0b"])
async def test_without_a_usable_socket_nothing_is_sent_and_nothing_raised(
    address: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    monkeypatch.chdir(tmp_path)
    notifier = Notifier({"WATCHDOG_USEC": "1000000"} | ({} if address is None else {"NOTIFY_SOCKET": address}))
    notifier.ready()
    notifier.reloading()
    notifier.stopping()
    notifier.status("x" * 10_000)
    asked = count()
    with trio.move_on_after(10) as running:
        await notifier.watch(lambda: None, lambda: f"asked {next(asked)} times")
    unusable = (address or "").startswith("/")  # looks like a path, so it is tried
    assert running.cancelled_caught is unusable and (next(asked) > 0) is unusable
    assert list(tmp_path.iterdir()) == []


def test_a_manager_that_is_gone_or_reads_nothing_blocks_nothing(tmp_path: Path) -> None:
    path = tmp_path / "notify"
    with managing(str(path)) as manager:
        notifier = Notifier(environ(manager))
        began = time.monotonic()
        for _ in range(5000):  # far more than the socket's queue takes
            notifier.status("x" * 400)
        assert time.monotonic() - began < PATIENCE_S
        assert 0 < len(manager.heard()) < 5000
    notifier.ready()
    path.unlink()
    notifier.ready()


async def test_the_watchdog_is_reset_twice_a_period_while_there_is_progress_and_not_without(
    manager: Manager, autojump_clock: MockClock
) -> None:
    notifier = Notifier(environ(manager, WATCHDOG_USEC="4000000", WATCHDOG_PID=str(os.getpid())))
    trouble: list[str] = []
    notifier.ready()
    async with trio.open_nursery() as nursery:
        await nursery.start(notifier.watch, lambda: trouble[0] if trouble else None, lambda: "ok: 5 exchanges")
        beats = await hear(manager, 20.5)
        assert beats.count("WATCHDOG=1") == 11
        assert set(beats) == {"READY=1", "WATCHDOG=1", "STATUS=ok: 5 exchanges"}
        trouble.append("nothing became durable for 40 s")
        silent = await hear(manager, 60)
        assert silent.count("WATCHDOG=1") == 0 and "STATUS=nothing became durable for 40 s" in silent
        trouble.clear()
        after = await hear(manager, 4)
        assert "WATCHDOG=1" in after and "STATUS=ok: 5 exchanges" in after
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "soon"},
        {"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"},
    ],
)
async def test_a_watchdog_that_is_off_or_for_another_process_gets_no_message(
    more: dict[str, str], manager: Manager, autojump_clock: MockClock
) -> None:
    notifier = Notifier(environ(manager, **more))
    async with trio.open_nursery() as nursery:
        await nursery.start(notifier.watch, lambda: None, lambda: "ok")
        assert await hear(manager, 4 * STATUS_EVERY_S + 0.5) == ["STATUS=ok"] * 5
        nursery.cancel_scope.cancel()


# -- what counts as progress ------------------------------------------------------------------------


def pipeline_at(folder: Path, flush_interval_s: float = 1.0, parts: Parts | None = None) -> Pipeline:
    store = StoreSettings(path=folder / "t.duckdb", flush_interval_s=flush_interval_s)
    return Pipeline(PipelineSettings(store=store, exchanges={}), parts=parts)


async def test_nothing_to_flush_is_progress_and_so_is_a_young_flush_but_waiting_for_long_is_not(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    pipeline = pipeline_at(tmp_path)
    progress = Progress(pipeline)
    await trio.sleep(1000)
    assert progress() is None
    pipeline.buffer.record(EventRow(at_ns=0, actor="x", event="ok"))
    for _ in range(10):
        await trio.sleep(FLUSH_YOUNG_S)
        assert progress() is None
        pipeline.writer.acknowledged += 1
    assert progress() is None
    await trio.sleep(FLUSH_YOUNG_S + 2)
    said = progress()
    assert said is not None and "nothing became durable" in said
    pipeline.writer.acknowledged += 1
    assert progress() is None


async def test_a_writer_that_reports_what_it_waits_for_is_no_stall_however_long(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    pipeline = pipeline_at(tmp_path)
    progress = Progress(pipeline)
    pipeline.buffer.record(EventRow(at_ns=0, actor="x", event="ok"))
    pipeline.writer.trouble = "No space left on device"
    for _ in range(10):
        await trio.sleep(FLUSH_YOUNG_S + 2)
        assert progress() is None
    pipeline.writer.trouble = None
    assert progress() is None
    await trio.sleep(FLUSH_YOUNG_S + 2)
    assert progress() is not None


async def test_a_wall_clock_that_jumps_neither_hides_a_stall_nor_makes_one(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = pipeline_at(tmp_path)
    progress = Progress(pipeline)
    pipeline.buffer.record(EventRow(at_ns=0, actor="x", event="ok"))
    really = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: really + 3_600_000_000_000)
    assert progress() is None
    await trio.sleep(FLUSH_YOUNG_S + 2)
    monkeypatch.setattr(time, "time_ns", lambda: really - 3_600_000_000_000)
    assert progress() is not None


async def test_a_write_that_does_not_return_takes_the_watchdog_away_and_a_full_disk_does_not(
    tmp_path: Path, manager: Manager
) -> None:
    sick, answered = threading.Event(), threading.Event()

    class SickStore(Store):
        def write(self, batch: Batch) -> None:
            if sick.is_set():
                answered.wait(PATIENCE_S)
                raise OSError(errno.ENOSPC, "No space left on device")
            super().write(batch)

    pipeline = pipeline_at(tmp_path, flush_interval_s=0.1, parts=Parts(store=SickStore))
    notifier = Notifier(environ(manager, WATCHDOG_USEC="100000"))
    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            await nursery.start(pipeline.run)
            progress = Progress(pipeline, young_s=0.1)
            await nursery.start(notifier.watch, progress, lambda: status_line(pipeline))
            await until(lambda: pipeline.writer.acknowledged and not pipeline.buffer.oldest_s())
            await until(lambda: "WATCHDOG=1" in manager.lines())
            sick.set()
            pipeline.buffer.record(EventRow(at_ns=0, actor="x", event="ok"))
            await until(progress)
            await hear(manager, 0.2)
            assert "WATCHDOG=1" not in await hear(manager, 0.4)
            answered.set()
            await until(lambda: pipeline.writer.trouble)
            await hear(manager, 0.2)
            assert "WATCHDOG=1" in await hear(manager, 0.4)
            sick.clear()
            await until(lambda: "WATCHDOG=1" in manager.lines())
            pipeline.stop()
            await pipeline.ended.wait()
            nursery.cancel_scope.cancel()


# -- the service ------------------------------------------------------------------------------------


async def test_the_service_notifies_ready_when_it_records_reloading_and_stopping(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with managing(str(tmp_path / "notify")) as manager:
        for name, value in environ(manager, WATCHDOG_USEC="200000").items():
            monkeypatch.setenv(name, value)
        config = Config(
            store=StoreSettings(path=tmp_path / "t.duckdb"),
            exchanges={},
            supervision=pipeline_at(tmp_path).settings.supervision,
            control=ControlSettings(socket=tmp_path / "s"),
            log=LogSettings(),
            source=tmp_path / "missing.toml",
        )
        heard: list[str] = []
        codes: list[int] = []

        async def serve() -> None:
            codes.append(await run_service(config))

        async def hear_until(said: Callable[[], object]) -> None:
            while not said():
                heard.extend(await hear(manager, HEAR_S))

        with trio.fail_after(PATIENCE_S):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(serve)
                await hear_until(lambda: "READY=1" in heard)
                os.kill(os.getpid(), signal.SIGHUP)  # the file is missing, so nothing is changed
                await hear_until(lambda: "RELOADING=1" in heard and heard.count("WATCHDOG=1") > 3)
                await hear_until(lambda: "READY=1" in heard[heard.index("RELOADING=1") :])
                os.kill(os.getpid(), signal.SIGTERM)
                await hear_until(lambda: codes)
        heard += manager.lines()
        words = [line.partition("=")[0] for line in heard]
        assert words.index("READY") < words.index("RELOADING") < words.index("STOPPING")
        assert "READY" in words[words.index("RELOADING") : words.index("STOPPING")]
        assert "READY" not in words[words.index("STOPPING") :]


async def test_the_status_line_has_the_state_and_the_first_reason(tmp_path: Path) -> None:
    pipeline = pipeline_at(tmp_path)
    assert status_line(pipeline) == "starting: 0 of 0 exchanges fresh, 0 trades durable"
    await wait_all_tasks_blocked()
