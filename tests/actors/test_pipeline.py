"""The whole pipeline: what it reports, how it stops, and what it restores after a kill."""

import errno
import json
import os
import signal
import stat
import threading
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import duckdb
import pytest
import trio
from msgspec.structs import replace

from actors.model.batch import Batch
from actors.model.errors import DatabaseLocked
from actors.pipeline import LOCKED_RETRY_S, Parts
from actors.settings import DEFAULT_LIMITS
from actors.store.database import SchemaNewer
from actors.store.lock import StoreLock
from actors.store.store import Store
from ops.control.client import ControlClient, NoService
from ops.monitoring import status as report
from ops.service.tap_watcher import TapWatcher
from supervisor import ActorHealth, Backoff, ChildSpec, Context, Event, State
from tests.harness.cli_process import COMMAND, environment
from tests.harness.exchange_server import (
    HASTE,
    PATIENCE_S,
    Client,
    Server,
    actor,
    check_audit,
    pipeline_of,
    query,
    recording,
    serving,
    settled,
    table,
    trade,
    until,
)
from tests.harness.file_holder import held
from tests.harness.recording_samples import store
from tests.harness.store_harness import given_group

ACK = '{"success":true,"op":"subscribe"}'


class Steady:
    """An exchange that trades for ever, over all connections: ids rise by one, and each has a time of its own."""

    def __init__(self) -> None:
        self.sent = 0
        self.began_ns = time.time_ns()
        self.left = 0  # connections that are over
        self.server = Server(self.script)
        self.trading = trio.Event()
        self.trading.set()

    async def script(self, client: Client) -> None:
        await client.accept()
        await client.ask()
        await client.gone_while(self.trade, client)
        self.left += 1

    async def trade(self, client: Client) -> None:
        while True:
            if not self.trading.is_set():  # waiting for a set event is a pause, in which it may be taken away
                await self.trading.wait()
            self.sent += 10
            await client.send(*map(self.made, range(self.sent - 10, self.sent)))
            await trio.sleep(0.01)

    def made(self, number: int) -> bytes:
        """A trade, the same whenever it is sent."""
        return trade("bybit", "BTCUSDT", number, self.began_ns + number * 500_000)

    async def recorded(self, folder: Path, tables: str, trades: int) -> int:
        """Records at least so many trades over one connection; returns how many are stored once that is over."""
        left = self.left
        async with recording(pipeline_of(folder, tables)) as pipeline:
            await until(lambda: pipeline.ledger.account("bybit").stored >= trades)
        await until(lambda: self.left > left)
        return pipeline.ledger.account("bybit").stored


# -- in this process ---------------------------------------------------------------------------------------


async def test_a_service_that_received_nothing_leaves_a_complete_file_without_rows(tmp_path: Path) -> None:
    server = Server(Client.gone)
    async with serving(server):
        pipeline = pipeline_of(tmp_path, table("okx", "okx", ["BTC/USDT"], server.url))
        async with recording(pipeline):
            assert pipeline.state == "running"
        assert pipeline.state == "stopped" and pipeline.ended.is_set()
    assert query(tmp_path, "SELECT count(*) FROM ticks") == [(0,)]
    assert query(tmp_path, "SELECT count(*) FROM schema_version") == [(1,)]


@pytest.mark.parametrize("rest", [False, True])
async def test_the_past_is_read_over_one_connection_and_not_at_all_where_nothing_was_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rest: bool
) -> None:
    """Opening the file and asking take 70 ms an exchange, which delays the first subscription.

    The lists of markets, which decide what past to read, are read before, over a connection of their own.
    """
    consulted: list[object] = []
    consult = Store.consult

    def counted(store: Store, question: Any) -> Any:
        consulted.append(question)
        return consult(store, question)

    monkeypatch.setattr(Store, "consult", counted)
    server = Server(Client.gone)
    async with serving(server):
        more = {"rest_url": "http://127.0.0.1:9"} if rest else {}
        tables = [table(name, name, ["BTC/USDT"], server.url, **more) for name in ("okx", "bybit")]
        for times in (0, 2 if rest else 1):
            consulted.clear()
            async with recording(pipeline_of(tmp_path, *tables)):
                assert len(consulted) == times


async def test_connections_deliver_while_it_is_read_what_is_stored_and_nothing_is_stored_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading a large file takes seconds. What the exchange repeats can be recognized only afterwards."""
    steady, may_read, consult = Steady(), threading.Event(), Store.consult
    async with serving(steady.server):
        tables = table("bybit", "bybit", ["BTC/USDT"], steady.server.url)
        stored = await steady.recorded(tmp_path, tables, 100)

        def late(store: Store, question: Any) -> Any:
            assert may_read.wait(PATIENCE_S)
            return consult(store, question)

        monkeypatch.setattr(Store, "consult", late)
        pipeline, steady.sent = pipeline_of(tmp_path, tables), stored - 50
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pipeline.run)
            await until(lambda: steady.sent >= stored + 100)
            account = pipeline.ledger.account("bybit")
            assert (pipeline.state, account.received, account.stored) == ("starting", 0, 0)
            may_read.set()
            await until(lambda: account.stored >= 100)
            pipeline.stop()
    assert account.duplicates == 50
    assert query(tmp_path, "SELECT count(*), count(DISTINCT trade_id), max(trade_id::INT) + 1 FROM ticks") == [
        (stored + account.stored,) * 3
    ]
    assert query(tmp_path, "SELECT reason, count(*) FROM gaps GROUP BY ALL") == [("downtime", 1)]
    check_audit(tmp_path)


async def test_the_group_may_read_each_folder_that_the_service_creates(tmp_path: Path) -> None:
    group, steady = given_group(), Steady()
    (tmp_path / "there").mkdir(mode=0o700)
    head = HASTE.replace("ticks.duckdb", "there/new/ticks.duckdb").replace(
        "[supervision]",
        f'[control]\ngroup = "{group.gr_name}"\n'
        '[lake]\nuri = "there/tape/here"\nrecorder = "a"\nevery_s = 1\n[supervision]',
    )
    async with serving(steady.server):
        exchange = table("bybit", "bybit", ["BTC/USDT"], steady.server.url)
        async with recording(pipeline_of(tmp_path, exchange, head=head)) as pipeline:
            await until(lambda: pipeline.ship is not None and pipeline.ship.ticks)
    made = {path: path.stat() for path in (tmp_path / "there").glob("**/*") if path.is_dir()}
    assert {"new", "tape", "here", "ticks"} <= {path.name for path in made}
    assert [path for path, state in made.items() if state.st_gid != group.gr_gid] == []
    assert [path for path, state in made.items() if not state.st_mode & stat.S_ISGID] == []
    assert stat.S_IMODE((tmp_path / "there").stat().st_mode) == 0o700


async def test_a_market_without_trades_that_is_recorded_again_has_a_gap_since_its_recording_began(
    tmp_path: Path,
) -> None:
    async def quiet(client: Client) -> None:
        await client.accept()
        await client.ask()
        await client.send(ACK)
        await client.gone()

    gaps = "SELECT reason, from_time, from_id, to_id IS NULL FROM gaps"
    started = "SELECT f.at FROM feeds f WHERE event = 'started' ORDER BY f.at"
    server, steady = Server(quiet), Steady()
    async with serving(server), serving(steady.server):
        async with recording(pipeline_of(tmp_path, table("bybit", "bybit", ["BTC/USDT"], server.url))) as pipeline:
            continuity = pipeline.exchanges["bybit"].continuity
            await until(lambda: continuity.untraded_ns("BTC/USDT") is not None)
        assert query(tmp_path, gaps) == []
        await steady.recorded(tmp_path, table("bybit", "bybit", ["BTC/USDT"], steady.server.url), 100)
    (first,), _ = query(tmp_path, started)
    assert query(tmp_path, gaps) == [("downtime", first, None, False)]


async def test_a_start_beside_a_reader_of_the_file_knows_what_is_stored(tmp_path: Path) -> None:
    """The file cannot be adopted then: its own views do not reach the tail, and temporary ones cover them."""
    steady = Steady()
    async with serving(steady.server):
        tables = table("bybit", "bybit", ["BTC/USDT"], steady.server.url, rest_url="http://127.0.0.1:9")
        stored = await steady.recorded(tmp_path, tables, 100)
        with ExitStack() as reading:
            reading.enter_context(held(tmp_path / "ticks.duckdb", read_only=True))
            steady.sent = stored - 50
            async with recording(pipeline_of(tmp_path, tables)) as pipeline:
                account = pipeline.ledger.account("bybit")
                await until(lambda: account.stored >= 100)
                reading.close()
    assert account.duplicates == 50
    assert query(tmp_path, "SELECT count(*), count(DISTINCT trade_id) FROM ticks") == [
        (stored + account.stored,) * 2
    ]
    assert query(tmp_path, "SELECT count(*) FROM events WHERE event = 'continuity_unknown'") == [(0,)]


async def test_the_store_is_opened_beside_no_query_of_this_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page of the dashboard asks as soon as it can connect, and DuckDB opens a file in one way only."""
    server, asking = Server(Client.gone), threading.Event()
    async with serving(server):
        tables = table("okx", "okx", ["BTC/USDT"], server.url)
        async with recording(pipeline_of(tmp_path, tables)):
            pass
        pipeline = pipeline_of(tmp_path, tables)
        start = pipeline.store.start

        def started() -> None:
            assert not asking.is_set()
            start()

        def question(_: object) -> None:
            asking.set()
            time.sleep(0.2)  # long enough for a start that does not wait
            asking.clear()

        monkeypatch.setattr(pipeline.store, "start", started)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pipeline.consult, question)
            await until(asking.is_set)
            async with recording(pipeline):
                pass


async def test_a_start_waits_for_a_file_that_another_process_holds_once_and_not_for_each_question(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It asks for the lists of markets and for what is stored."""
    asked: list[object] = []

    def locked(_: Store, question: object) -> None:
        asked.append(question)
        raise DatabaseLocked("ticks.duckdb", 1, "")

    steady = Steady()
    async with serving(steady.server):
        tables = table("bybit", "bybit", ["BTC/USDT"], steady.server.url, rest_url="http://127.0.0.1:9")
        async with recording(pipeline_of(tmp_path, tables)):
            pass
        monkeypatch.setattr(Store, "consult", locked)
        monkeypatch.setattr("actors.pipeline.LOCKED_PATIENCE_S", 3.5 * LOCKED_RETRY_S)
        async with recording(pipeline_of(tmp_path, tables)) as pipeline:
            assert 2 <= len(asked) <= 6  # as often as there is time, and once more for what is stored
            await until(lambda: pipeline.ledger.account("bybit").received >= 10)
    assert query(tmp_path, "SELECT count(*) FROM events WHERE event = 'continuity_unknown'") == [(1,)]


async def test_a_start_that_cannot_read_what_is_stored_ends_with_the_reason_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steady = Steady()
    async with serving(steady.server):
        tables = table("bybit", "bybit", ["BTC/USDT"], steady.server.url)
        stored, sent = await steady.recorded(tmp_path, tables, 10), steady.sent

        def broken(*_: object) -> None:
            trio.from_thread.run(until, lambda: steady.sent > sent)
            raise duckdb.InternalException("a bug of ours")

        monkeypatch.setattr(Store, "consult", broken)
        pipeline = pipeline_of(tmp_path, tables)
        with pytest.raises(duckdb.InternalException, match="a bug of ours"), trio.fail_after(PATIENCE_S):
            await pipeline.run()
        assert pipeline.state == "stopped" and not pipeline.unstored
        monkeypatch.undo()
        stored += await steady.recorded(tmp_path, tables, 10)
    assert query(tmp_path, "SELECT count(*) FROM ticks") == [(stored,)]


@pytest.mark.parametrize(
    ("owner", "step", "error"),
    [
        (Path, "mkdir", OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))),
        (StoreLock, "__enter__", OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))),
        (Store, "start", duckdb.IOException('IO Error: Cannot open file "a": No space left on device')),
        (Store, "start", duckdb.IOException('IO Error: Cannot open file "a": Disk quota exceeded')),
    ],
    ids=lambda value: getattr(value, "__name__", None) or str(value),
)
async def test_a_start_waits_for_inodes_and_quota_as_for_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: type, step: str, error: Exception
) -> None:
    real, full = getattr(owner, step), True

    def failing(*args: Any, **options: Any) -> Any:
        if full:
            raise error
        return real(*args, **options)

    server = Server(Client.gone)
    hasty = replace(DEFAULT_LIMITS.sink, write_retry=Backoff(0.02, 0.05))
    async with serving(server):
        tables = table("okx", "okx", ["BTC/USDT"], server.url)
        pipeline = pipeline_of(tmp_path, tables, limits=replace(DEFAULT_LIMITS, sink=hasty))
        async with trio.open_nursery() as nursery:
            monkeypatch.setattr(owner, step, failing)
            nursery.start_soon(pipeline.run)
            await until(lambda: pipeline.trouble)
            assert f"waiting for space on the disk of {tmp_path}" in str(pipeline.trouble)
            assert str(error).rpartition(": ")[2] in str(pipeline.trouble)
            full = False
            await until(lambda: pipeline.state == "running")
            assert pipeline.trouble is None
            pipeline.stop()


async def test_the_service_is_ready_when_something_flows_and_reports_why_it_is_not(tmp_path: Path) -> None:
    steady = Steady()
    steady.trading = trio.Event()
    async with serving(steady.server):
        pipeline = pipeline_of(tmp_path, table("bybit", "bybit", ["BTC/USDT"], steady.server.url))
        assert "the service is starting" in report.not_ready(pipeline)
        async with recording(pipeline):
            assert report.status(pipeline)["state"] == "starting"
            assert [why for why in report.not_ready(pipeline) if "nothing was received from any exchange" in why]
            steady.trading.set()
            await until(lambda: pipeline.ledger.account("bybit").stored >= 10)
            assert report.not_ready(pipeline) == []
            status: Any = report.status(pipeline)
            assert (status["state"], status["reasons"]) == ("ok", [])
            assert status["exchanges"]["bybit"]["connections"] == 1
            assert status["exchanges"]["bybit"]["lag_ms_p50"] is not None
            json.dumps(status)
            await pipeline.tree.pause("bybit")
            paused: Any = report.status(pipeline)
            assert paused["state"] == "degraded" and "bybit is paused" in paused["reasons"][0]
            assert paused["exchanges"]["bybit"]["state"] == report.exchange_state(pipeline, "bybit") == "paused"
            assert paused["exchanges"]["bybit"]["reasons"] == ["paused by an operator"]
            await pipeline.tree.resume("bybit")
        assert "the service is stopped" in report.not_ready(pipeline)


@pytest.mark.parametrize(
    ("own", "parts", "shown"),
    [
        ((State.FAILED, "a bug"), [(State.STOPPED, "its supervisor stops")] * 2, ("failed", ["a bug"])),
        ((State.BACKOFF, "a bug"), [(State.STOPPED, "its supervisor stops")] * 2, ("backoff", ["a bug"])),
        (
            (State.STOPPING, "stop requested"),
            [(State.STOPPING, "its supervisor stops")],
            ("stopping", ["stop requested"]),
        ),
        ((State.STOPPED, ""), [(State.STOPPED, "its supervisor ended")], ("stopped", [])),
        ((State.OK, ""), [(State.BACKOFF, "refused")] * 2 + [(State.OK, "fine")], ("backoff", ["refused"])),
        (
            (State.OK, ""),
            [(State.PAUSED, "paused by an operator"), (State.OK, "")],
            ("paused", ["paused by an operator"]),
        ),
        ((State.STARTING, ""), [(State.OK, "")], ("ok", [])),
    ],
)
async def test_an_exchange_that_does_not_run_is_shown_by_its_own_actor_and_names_each_reason_once(
    own: tuple[State, str],
    parts: list[tuple[State, str]],
    shown: tuple[str, list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pipeline = pipeline_of(tmp_path, table("bybit", "bybit", ["BTC/USDT"], "ws://127.0.0.1:1"))
    named = [("bybit", "exchanges", *own), *((f"bybit:{n}", "bybit", *one) for n, one in enumerate(parts, 1))]
    health = [
        ActorHealth(
            name=name,
            parent=parent,
            kind="",
            state=state,
            reason=reason,
            since_ns=0,
            restarts=0,
            last_error=None,
            next_retry_at_ns=None,
            mailbox=None,
            handled=0,
        )
        for name, parent, state, reason in named
    ]
    monkeypatch.setattr(pipeline.tree, "snapshot", lambda: health)
    status: Any = report.status(pipeline)
    assert (status["exchanges"]["bybit"]["state"], status["exchanges"]["bybit"]["reasons"]) == shown
    assert report.exchange_state(pipeline, "bybit") == shown[0]


async def test_every_change_of_an_actor_is_a_row_of_events(tmp_path: Path) -> None:
    async def script(client: Client) -> None:
        await client.accept()
        await client.send(trade("bybit", "BTCUSDT", client.number))
        if client.number == 1:
            await client.close(1012)
        await client.gone()

    server = Server(script)
    async with serving(server):
        pipeline = pipeline_of(tmp_path, table("bybit", "bybit", ["BTC/USDT"], server.url))
        async with recording(pipeline):
            await until(lambda: settled(pipeline.ledger.account("bybit"), 2))
            assert actor(pipeline, "bybit:1")["restarts"] == 1
    rows = query(tmp_path, "SELECT event, reason, restarts, retry_in_s FROM events WHERE actor = 'bybit:1'")
    assert [row[0] for row in rows[:5]] == ["starting", "ok", "backoff", "starting", "ok"]
    assert "closed with code 1012" in rows[2][1] and rows[2][3] > 0 and rows[3][2] == 1


async def test_the_last_ticks_before_a_stop_are_in_the_file(tmp_path: Path) -> None:
    steady = Steady()
    async with serving(steady.server):
        pipeline = pipeline_of(tmp_path, table("bybit", "bybit", ["BTC/USDT"], steady.server.url))
        async with recording(pipeline):
            account = pipeline.ledger.account("bybit")
            await until(lambda: account.received >= 500)
    assert account.stored == account.received and account.in_flight == 0
    assert query(tmp_path, "SELECT count(*), max(trade_id::INT) + 1 FROM ticks") == [(account.stored,) * 2]
    assert query(tmp_path, "SELECT max(stored) FROM audit") == [(account.stored,)]
    check_audit(tmp_path)


@pytest.mark.parametrize("removed", [False, True])
async def test_what_arrives_until_the_connection_closes_is_covered(removed: bool, tmp_path: Path) -> None:
    async def busy(client: Client) -> None:
        await client.accept()
        await client.gone_while(trade_on, client)

    async def trade_on(client: Client) -> None:
        for number in count():
            await client.send(trade("bybit", "BTCUSDT", number))

    async def slow(context: Context) -> None:
        """Ends before the connections do, and takes its time."""
        await context.stopping.wait()
        await trio.sleep(0.1)

    async with serving(server := Server(busy)):
        pipeline = pipeline_of(tmp_path, table("bybit", "bybit", ["BTC/USDT"], server.url))
        async with recording(pipeline):
            await until(lambda: pipeline.ledger.account("bybit").stored >= 10)
            await pipeline.tree.start(ChildSpec("slow", slow))
            if removed:
                await pipeline.remove_exchange("bybit")
    covered = "EXISTS (SELECT 1 FROM coverage WHERE status = 'live' AND received_at BETWEEN from_time AND to_time)"
    begun = "received_at >= (SELECT min(from_time) FROM coverage)"
    assert query(tmp_path, f"SELECT DISTINCT {covered} FROM ticks WHERE {begun}") == [(True,)]


async def test_an_exchange_that_is_replaced_knows_what_was_not_stored_yet(tmp_path: Path) -> None:
    """The exchange repeats its newest trades to the new connection."""
    steady = Steady()
    async with serving(steady.server):
        tables = table("bybit", "bybit", ["BTC/USDT"], steady.server.url)
        pipeline = pipeline_of(tmp_path, tables, head="[store]\nflush_interval_s = 30\n")
        async with recording(pipeline):
            account = pipeline.ledger.account("bybit")
            await until(lambda: account.received >= 100)
            left = steady.left
            await pipeline.remove_exchange("bybit")
            await until(lambda: steady.left > left)
            steady.sent = account.received - 50
            await pipeline.add_exchange(pipeline.settings.exchanges["bybit"])
            before = account.received
            await until(lambda: account.received >= before + 100)
    assert account.duplicates == 50
    ((rows, ids),) = query(tmp_path, "SELECT count(*), count(DISTINCT trade_id) FROM ticks")
    assert rows == ids == account.stored
    check_audit(tmp_path)


async def test_the_status_counts_what_a_removed_exchange_has_left_unstored(tmp_path: Path) -> None:
    """Readers wait for it before they read the file."""
    steady = Steady()
    async with serving(steady.server):
        tables = table("bybit", "bybit", ["BTC/USDT"], steady.server.url)
        pipeline = pipeline_of(
            tmp_path, tables, head=HASTE.replace("flush_interval_s = 0.05", "flush_interval_s = 60")
        )
        async with recording(pipeline):
            await until(lambda: pipeline.ledger.account("bybit").received >= 100)
            await pipeline.remove_exchange("bybit")
            found: Any = report.status(pipeline)
            assert not found["exchanges"] and found["store"]["flush_interval_s"] == 60
            assert found["store"]["in_flight"] == pipeline.ledger.account("bybit").in_flight > 0


async def test_another_exchange_is_added_while_the_disk_is_full(tmp_path: Path) -> None:
    class Full(Store):
        full = False

        def write(self, batch: Batch) -> None:
            if self.full:
                raise OSError(errno.ENOSPC, "No space left on device")
            super().write(batch)

    steady = Steady()
    async with serving(steady.server):
        tables = table("bybit", "bybit", ["BTC/USDT"], steady.server.url)
        other = table("other", "bybit", ["ETH/USDT"], steady.server.url)
        pipeline = pipeline_of(tmp_path, tables, parts=Parts(store=Full))
        later = pipeline_of(tmp_path, other).settings.exchanges["other"]
        async with recording(pipeline):
            account = pipeline.ledger.account("bybit")
            await until(lambda: account.stored)
            Full.full = True
            await until(lambda: actor(pipeline, "writer")["state"] != "running")
            await pipeline.add_exchange(later)
            await until(lambda: pipeline.ledger.account("other").received)
            Full.full = False


async def test_an_exchange_whose_addition_or_removal_is_cancelled_is_known_exactly_while_it_has_actors(
    tmp_path: Path,
) -> None:
    steady, scopes = Steady(), list[trio.CancelScope]()
    async with serving(steady.server):
        tables = table("bybit", "bybit", ["BTC/USDT"], steady.server.url)
        pipeline = pipeline_of(tmp_path, tables)
        settings = pipeline.settings.exchanges["bybit"]

        def cancel(event: Event) -> None:
            if event.actor.startswith("bybit") and scopes:
                scopes[-1].cancel()

        async with recording(pipeline):
            pipeline.listeners.append(cancel)
            for step in (partial(pipeline.remove_exchange, "bybit"), partial(pipeline.add_exchange, settings)):
                with trio.CancelScope() as scope:
                    scopes.append(scope)
                    await step()
                assert scope.cancel_called
                actors = [row.name for row in pipeline.tree.snapshot() if row.name.startswith("bybit")]
                assert bool(actors) == ("bybit" in pipeline.exchanges)
            received = pipeline.ledger.account("bybit").received
            await until(lambda: pipeline.ledger.account("bybit").received > received)
    check_audit(tmp_path)


async def silent(client: Client) -> None:
    """Does not answer the close frame, so that the connection takes a while to stop."""
    await client.accept()
    await client.ask()
    await trio.sleep_forever()


async def test_a_hand_over_that_fails_while_an_exchange_is_being_removed_lets_the_others_go_on(
    tmp_path: Path,
) -> None:
    steady, other = Steady(), Server(silent)
    async with serving(steady.server, other):
        tables = table("bybit", "bybit", ["BTC/USDT"], steady.server.url)
        pipeline = pipeline_of(tmp_path, tables, table("other", "bybit", ["BTC/USDT"], other.url))
        async with recording(pipeline), trio.open_nursery() as nursery:
            account = pipeline.ledger.account("bybit")
            await until(lambda: account.stored and other.clients and other.clients[0].asked)
            nursery.start_soon(pipeline.remove_exchange, "other")
            await until(lambda: actor(pipeline, "other:1")["state"] == "stopping")
            async with pipeline.handing_over:
                with pytest.raises(RuntimeError, match="stopping"):
                    await pipeline.release()
                assert "other" in pipeline.exchanges, "it is still being removed"
                await pipeline.go_on()
            stored = account.stored
            await until(lambda: account.stored > stored)
        assert "other" not in pipeline.exchanges


@pytest.mark.parametrize("stored", [True, False])
async def test_the_streams_of_live_ticks_end_if_another_process_has_stored_some_before_this_one_records_again(
    stored: bool, tmp_path: Path
) -> None:
    """What the other one stored is not shown here: a stream that went on would have a hole that nobody notices."""
    steady, watcher = Steady(), TapWatcher("", "", lambda: None)
    shown: list[int] = []
    ended = trio.Event()

    async def read() -> None:
        async for lines in watcher.lines:
            shown.extend(int(json.loads(line)["trade_id"]) for line in lines.splitlines())
        ended.set()

    async with serving(steady.server):
        pipeline = pipeline_of(tmp_path, table("bybit", "bybit", ["BTC/USDT"], steady.server.url))
        account = pipeline.ledger.account("bybit")
        async with recording(pipeline), trio.open_nursery() as nursery:
            pipeline.buffer.watchers.add(watcher)
            nursery.start_soon(read)
            await until(lambda: shown)
            async with pipeline.handing_over:
                await pipeline.release()
                at_release = account.stored
                with store(pipeline.settings.store) as other:
                    if stored:
                        other.write(Batch(other.next_number()))
                await pipeline.reclaim()
            await until(lambda: account.stored > at_release + 100)
            await until(lambda: ended.is_set() if stored else shown[-1] > at_release)
            assert ended.is_set() == stored == (shown[-1] < at_release)
            assert shown == list(range(shown[0], shown[-1] + 1))
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("paused", [False, True])
async def test_a_hand_over_that_fails_resumes_what_it_has_paused_and_not_what_an_operator_has(
    paused: bool, tmp_path: Path
) -> None:
    """Also if the pause has not ended yet when the hand-over begins or fails."""
    steady, may_end = Steady(), trio.Event()

    async def slow(context: Context) -> None:
        context.ok()
        await context.stopping.wait()
        await may_end.wait()

    async def other(context: Context) -> None:
        context.ok()
        await trio.sleep_forever()

    async with serving(steady.server):
        pipeline = pipeline_of(tmp_path, table("bybit", "bybit", ["BTC/USDT"], steady.server.url))
        async with recording(pipeline), trio.open_nursery() as nursery:
            account = pipeline.ledger.account("bybit")
            await until(lambda: account.stored)
            await pipeline.tree.start(ChildSpec("slow", slow, stop_s=PATIENCE_S))
            await pipeline.tree.start(ChildSpec("other", other))
            if paused:
                nursery.start_soon(pipeline.tree.pause, "slow")
            async with pipeline.handing_over:
                async with trio.open_nursery() as releasing:
                    releasing.start_soon(pipeline.release)
                    await until(lambda: actor(pipeline, "slow")["state"] == "stopping")
                    await until(lambda: actor(pipeline, "bybit:gaps")["state"] == "paused")
                    await pipeline.tree.stop_child("other")  # before it is its turn
                    if paused:
                        may_end.set()
                    else:
                        releasing.cancel_scope.cancel()
                if paused:
                    await pipeline.reclaim()
                else:
                    nursery.start_soon(pipeline.go_on)
                    await until(lambda: actor(pipeline, "bybit:gaps")["state"] == "ok")
                    may_end.set()
            stored = account.stored
            await until(lambda: account.stored > stored)
            await until(lambda: actor(pipeline, "slow")["state"] == ("paused" if paused else "ok"))
    check_audit(tmp_path)


async def test_an_addition_that_is_overtaken_by_a_stop_reports_that_and_nothing_else(tmp_path: Path) -> None:
    steady, other = Steady(), Server(silent)
    async with serving(steady.server, other):
        tables = table("bybit", "bybit", ["BTC/USDT"], steady.server.url)
        pipeline = pipeline_of(tmp_path, tables, table("other", "bybit", ["BTC/USDT"], other.url))
        async with recording(pipeline):
            account = pipeline.ledger.account("bybit")
            await until(lambda: account.stored and other.clients and other.clients[0].asked)
            pipeline.stop()
            await until(lambda: actor(pipeline, "other:1")["state"] == "stopping")
            settings = replace(pipeline.settings.exchanges["bybit"], name="third")
            with pytest.raises(RuntimeError, match="exchanges is stopping"):
                await pipeline.add_exchange(settings)
            assert "third" not in pipeline.exchanges
    check_audit(tmp_path)


async def test_a_store_that_a_newer_version_has_upgraded_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a start of that version helps, for which this process has to end."""
    steady = Steady()

    def newer(_: Store) -> None:
        raise SchemaNewer("use the newer software")

    async with serving(steady.server):
        pipeline = pipeline_of(tmp_path, table("bybit", "bybit", ["BTC/USDT"], steady.server.url))
        async with recording(pipeline):
            await until(lambda: pipeline.ledger.account("bybit").stored > 0)
            async with pipeline.handing_over:
                await pipeline.release()
                with monkeypatch.context() as patch, trio.fail_after(PATIENCE_S):
                    patch.setattr(Store, "start", newer)
                    with pytest.raises(SchemaNewer):
                        await pipeline.reclaim()
                await pipeline.reclaim()


async def test_a_store_that_cannot_be_taken_back_for_a_moment_is_taken_back_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process that was to take over has ended: if this one ended too, nothing would be recorded."""
    steady, start, fails = Steady(), Store.start, 2

    def failing(store: Store) -> None:
        nonlocal fails
        start(store)
        if fails:
            fails -= 1
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    async with serving(steady.server):
        pipeline = pipeline_of(tmp_path, table("bybit", "bybit", ["BTC/USDT"], steady.server.url))
        events: list[Event] = []
        pipeline.listeners.append(events.append)
        async with recording(pipeline):
            account = pipeline.ledger.account("bybit")
            await until(lambda: account.stored > 0)
            async with pipeline.handing_over:
                await pipeline.release()
                monkeypatch.setattr(Store, "start", failing)
                await pipeline.reclaim()
            stored = account.stored
            await until(lambda: account.stored > stored)
    assert [event.reason for event in events if event.event == "store_file_unavailable"] == [
        "[Errno 5] Input/output error"
    ]
    check_audit(tmp_path)


# -- in a process of its own -------------------------------------------------------------------------------


class Service:
    """`tickwarden run` as a child process, and its control socket."""

    def __init__(self, process: trio.Process, folder: Path) -> None:
        self.process = process
        self._control = ControlClient(folder / "ticks.duckdb.sock")

    async def stored(self) -> int:
        """What /v1/status says is durable; -1 while nobody answers."""
        try:
            status: Any = await trio.to_thread.run_sync(self._control.get, "/v1/status")
        except NoService:
            return -1
        return int(status["exchanges"]["bybit"]["stored"])

    async def until_stored(self, ticks: int) -> None:
        with trio.fail_after(PATIENCE_S):
            while await self.stored() < ticks:
                assert self.process.poll() is None
                await trio.sleep(0.02)

    async def exit_code(self) -> int:
        with trio.fail_after(PATIENCE_S):
            return await self.process.wait()


@asynccontextmanager
async def running(folder: Path, server: Server, *words: str) -> AsyncIterator[Service]:
    """The service on the real command line; killed when the block is left, if it still runs."""
    (folder / "tickwarden.toml").write_text(HASTE + table("bybit", "bybit", ["BTC/USDT"], server.url))
    command = [*COMMAND, "run", *words]
    with (folder / "log").open("ab") as log:
        process = await trio.lowlevel.open_process(
            command, cwd=folder, env=environment(folder), stdout=log, stderr=log
        )
    try:
        yield Service(process, folder)
    finally:
        if process.poll() is None:
            process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


def check_run(folder: Path, stored: int) -> None:
    """At least so many ticks, each once, none missing between the first and the last; books that agree."""
    ((rows, ids, last),) = query(folder, "SELECT count(*), count(DISTINCT trade_id), max(trade_id::INT) FROM ticks")
    assert rows == ids == last + 1 >= stored
    check_audit(folder)


async def test_sigterm_drains_commits_merges_and_exits_0(tmp_path: Path) -> None:
    steady = Steady()
    async with serving(steady.server), running(tmp_path, steady.server) as service:
        await service.until_stored(300)
        service.process.send_signal(signal.SIGTERM)
        assert await service.exit_code() == 0
    check_run(tmp_path, 300)
    assert query(tmp_path, "SELECT max(stored), max(received) FROM audit") == query(
        tmp_path, "SELECT count(*), count(*) FROM ticks"
    )
    assert not (tmp_path / "ticks.duckdb.sock").exists()


async def test_a_second_signal_ends_at_once_and_the_next_start_takes_up_what_was_durable(tmp_path: Path) -> None:
    async def deaf(client: Client) -> None:
        """Never answers a goodbye, so that an orderly end takes its time."""
        await client.accept()
        await client.send(*(trade("bybit", "BTCUSDT", n) for n in range(100)))
        await trio.sleep_forever()

    async with serving(server := Server(deaf)), running(tmp_path, server) as service:
        await service.until_stored(100)
        service.process.send_signal(signal.SIGTERM)
        await trio.sleep(0.3)
        assert service.process.poll() is None
        service.process.send_signal(signal.SIGTERM)
        assert await service.exit_code() == 128 + signal.SIGTERM  # 0 is for an end in order
    assert (tmp_path / "ticks.duckdb.tail").exists()
    nobody = table("bybit", "bybit", ["BTC/USDT"], "ws://127.0.0.1:9")
    async with recording(pipeline_of(tmp_path, nobody)):
        pass
    check_run(tmp_path, 100)


async def test_what_was_durable_survives_a_kill_and_recording_continues(tmp_path: Path) -> None:
    steady = Steady()
    async with serving(steady.server):
        async with running(tmp_path, steady.server) as service:
            await service.until_stored(300)
            steady.trading = trio.Event()  # what is under way becomes durable, so that nothing is missing below
            await service.until_stored(steady.sent)
            service.process.kill()
            assert await service.exit_code() == -signal.SIGKILL
        await until(lambda: steady.left)
        before = steady.sent
        steady.trading.set()
        async with running(tmp_path, steady.server) as service:
            await service.until_stored(300)  # of this run
            service.process.send_signal(signal.SIGTERM)
            assert await service.exit_code() == 0
    check_run(tmp_path, before + 300)
    assert query(tmp_path, "SELECT count(DISTINCT run_id) FROM audit") == [(2,)]


async def test_ctrl_c_ends_a_service_whose_exchange_cannot_be_reached(tmp_path: Path) -> None:
    async with serving(server := Server(Client.gone)):
        pass  # nobody listens there now
    async with running(tmp_path, server) as service:
        await service.until_stored(0)  # it answers
        service.process.send_signal(signal.SIGINT)
        assert await service.exit_code() == 0
    assert query(tmp_path, "SELECT count(*) FROM ticks") == [(0,)]


async def test_a_successor_that_is_stopped_before_it_records_alone_has_lost_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it received since its last flush the other process has, too: that is no loss to be reported."""
    steady = Steady()
    async with serving(steady.server):
        pipeline = pipeline_of(tmp_path, table("bybit", "bybit", ["BTC/USDT"], steady.server.url))
        account, flush = pipeline.ledger.account("bybit"), pipeline.flush

        async def flush_and_stop() -> None:
            await flush()
            account.in_flight += 1  # received since
            pipeline.stop()

        async def released(_: object) -> dict[str, set[str]]:
            await until(lambda: bool(pipeline.delivered()["bybit"]))
            return pipeline.delivered()

        monkeypatch.setattr(pipeline, "flush", flush_and_stop)
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                await nursery.start(partial(pipeline.run, predecessor=released))
    assert pipeline.ledger.unstored() and not pipeline.unstored
