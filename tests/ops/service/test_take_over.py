"""What may be taken over, and what is said if not."""

import json
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio
from msgspec.structs import replace

from actors.store.lock import StoreLock
from ops.config.config import Config, load_config
from ops.control.app import ControlApp
from ops.monitoring.status import instant
from ops.service import take_over
from ops.service.hand_over import CannotTakeOver, TakeOverFailed
from ops.service.take_over import running_service
from tests.harness.control_serving import QuietApp, serve_control


class Running(QuietApp):
    """A service of which only the status is asked for."""

    capabilities = frozenset({"feeds"})

    def __init__(self, store: Path, state: str = "ok") -> None:
        self.store, self.state = store, state

    def status(self) -> Mapping[str, object]:
        return {"pid": os.getpid(), "state": self.state, "store": {"path": str(self.store)}}

    def feeds(self) -> Mapping[str, object]:
        return {}


@pytest.fixture
def config(tmp_path: Path) -> Config:
    file = tmp_path / "tickwarden.toml"
    file.write_text(f'[store]\npath = "{tmp_path}/ticks.duckdb"\n[exchanges.kraken]\nsymbols = ["BTC/USD"]\n')
    return load_config(file)


@asynccontextmanager
async def running(config: Config, app: ControlApp) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        await nursery.start(serve_control, config.control.socket, app)
        yield
        nursery.cancel_scope.cancel()


async def refused(config: Config, app: ControlApp, error: type[Exception]) -> str:
    async with running(config, app):
        with pytest.raises(error) as why:
            await running_service(config)
    return str(why.value)


async def test_where_nothing_runs_there_is_nothing_to_take_over(config: Config) -> None:
    assert await running_service(config) is None


async def test_a_service_with_the_same_store_is_taken_over(config: Config) -> None:
    async with running(config, Running(config.store.path)):
        found = await running_service(config)
    assert found is not None and found.pid == os.getpid()


async def test_a_service_with_another_store_is_left_alone(config: Config, tmp_path: Path) -> None:
    why = await refused(config, Running(tmp_path / "other.duckdb"), CannotTakeOver)
    assert "other.duckdb" in why and "set store.path" in why


async def test_a_service_that_is_starting_is_waited_for(config: Config) -> None:
    app = Running(config.store.path, "starting")

    async def start() -> None:
        await trio.sleep(2 * take_over.LOOK_S)
        app.state = "ok"

    async with running(config, app), trio.open_nursery() as nursery:
        nursery.start_soon(start)
        assert await running_service(config) is not None and app.state == "ok"


async def test_a_service_that_does_not_get_beyond_its_start_is_left_alone(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(take_over, "RUNS_S", 0.1)
    assert "try again" in await refused(config, Running(config.store.path, "starting"), TakeOverFailed)


async def test_a_service_of_an_earlier_version_is_left_alone(config: Config) -> None:
    class Earlier(Running):
        capabilities = frozenset()

    assert "earlier version" in await refused(config, Earlier(config.store.path), CannotTakeOver)


async def test_a_service_with_another_socket_is_named(config: Config, tmp_path: Path) -> None:
    config = replace(config, control=replace(config.control, socket=tmp_path / "new.sock"))
    with StoreLock(config.store.path, socket=str(tmp_path / "old.sock")), pytest.raises(CannotTakeOver) as why:
        await running_service(config)
    assert "old.sock" in str(why.value) and "set [control] socket" in str(why.value)


async def test_what_a_dead_process_has_left_is_nothing_to_take_over(config: Config) -> None:
    lock: dict[str, Any] = {"pid": 2**22 + 1, "socket": "old.sock"}
    config.store.path.with_name("ticks.duckdb.lock").write_text(json.dumps(lock))
    assert await running_service(config) is None


class Connected:
    """A pipeline as far as it is looked at here: one connection has delivered two markets for ten seconds."""

    crash_point = staticmethod(lambda _: None)

    def __init__(self, *, counts: bool) -> None:
        now = trio.current_time()
        self.since = {"BTC/USD": now - 10.0, "ETH/USD": now - 10.0}
        state = SimpleNamespace(since=self.since, last_trade_at=dict.fromkeys(self.since, now), connected=True)
        self.exchanges = {
            "kraken": SimpleNamespace(
                settings=SimpleNamespace(name="kraken"),
                markets=[SimpleNamespace(symbol=symbol) for symbol in self.since],
                connections=[SimpleNamespace(state=state)],
                acknowledges=True,
                continuity=SimpleNamespace(counts=lambda _: counts, hold=SimpleNamespace(full=False)),
            )
        }

    def delivered(self) -> dict[str, set[str]]:
        return {"kraken": set(self.since)}

    async def pause_lists(self) -> None:
        await trio.lowlevel.checkpoint()


class HandingOver(Running):
    """Has delivered one market up to now, and of the other nothing for a minute."""

    capabilities = frozenset({"feeds", "hand_over"})

    def feeds(self) -> Mapping[str, object]:
        now_ns = time.time_ns()
        return {"kraken": {"BTC/USD": instant(now_ns), "ETH/USD": instant(now_ns - 60 * 10**9)}}

    @asynccontextmanager
    async def hand_over(self) -> AsyncIterator[AsyncIterator[bytes]]:
        async def lines() -> AsyncGenerator[bytes]:
            yield json.dumps({"state": "draining"}).encode() + b"\n"
            yield json.dumps({"state": "released", "feeds": self.feeds()}).encode() + b"\n"

        async with aclosing(lines()) as opened:
            yield opened


@pytest.mark.parametrize(("counts", "expected"), [(False, {"BTC/USD"}), (True, {"BTC/USD", "ETH/USD"})])
async def test_a_market_that_was_quiet_there_is_sure_only_if_its_ids_count(
    config: Config, expected: set[str], *, counts: bool
) -> None:
    async with running(config, HandingOver(config.store.path)), trio.open_nursery() as nursery:
        found = await running_service(config)
        assert found is not None
        nursery.start_soon(found.follow)
        pipeline: Any = Connected(counts=counts)
        assert await found(pipeline) == {"kraken": expected}
