"""The pipeline: joins exchanges, buffer, writer, merger and store under one supervisor."""

import json
import os
import secrets
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import trio
from msgspec import Struct
from msgspec.structs import replace

from actors.backfill.fetch_job import DEFAULT_LIMITS, BackfillLimits
from actors.backfill.rate_limiter import RateLimiters
from actors.backfill.stored_instruments import StoredList, read_stored
from actors.continuity.restore import read_states
from actors.continuity.tracker_state import Before, TrackerState
from actors.continuity.unstorable import UnstorableTrades
from actors.feed.peer_activity import PeerActivity
from actors.model.chunk import Chunk
from actors.model.errors import DatabaseLocked
from actors.model.records import FEEDS, GAP_STATES, INSTRUMENTS, EventRow, GapRow
from actors.model.ticks import TICKS, Block, IdPromise
from actors.recorder import DEFAULT_ACCESS, ExchangeAccess, ExchangeRecorder, SharedServices, run_after
from actors.settings import SHIP_STOP_S, ExchangeSettings, PipelineSettings, backoff_of, intensity_of
from actors.sink.buffer import Buffer
from actors.sink.lake.opening import ship_to
from actors.sink.merger import Merger
from actors.sink.writer import Writer
from actors.store.database import FileRefused, refuse_foreign
from actors.store.disk_full import RoomAwaiter
from actors.store.filesystem import Files
from actors.store.lock import StoreLock, StoreTaken
from actors.store.store import Store
from actors.store.views import read_tail_once, tail_select
from actors.telemetry.host_clock import STOP_S as CLOCK_STOP_S
from actors.telemetry.host_clock import Clock
from actors.telemetry.lag import Lags
from actors.telemetry.ledger import Account, Ledger
from actors.wire.errors import classify
from actors.wire.poller import Poller
from supervisor import ChildSpec, Event, Mailbox, Supervisor, UnknownActorError

TREE = "tickwarden"
LOCKED_PATIENCE_S = 5.0  # how long a start waits for a file locked by another process ...
LOCKED_RETRY_S = 0.2  # ... and how often it retries
POLL_S = 0.01  # how often a command checks whether it has been carried out
RELEASED_S = 5.0  # how long a successor tries to lock a store that its predecessor has released
# What goes on while another process has the store, and what stores (the kinds and names of actors).
_READING = ("connection", "poller", "clock", "supervisor")
_SINKS = ("merger", "writer", "buffer")
_QUIET = ("stopping", "paused", "starting")  # events of actors that are paused meanwhile


_T = TypeVar("_T")

# Returns when the process that records has released the store: the markets of which both processes have delivered
# all trades up to then, by exchange. Raises if it keeps the store.
Predecessor = Callable[["Pipeline"], Awaitable[Mapping[str, Collection[str]]]]


class Parts(Struct, frozen=True, kw_only=True):
    """What the pipeline is joined from; tests hand in others, in the place of the disk and the network."""

    store: Callable[..., Store] = Store
    lock: Callable[[Path, str], StoreLock] = StoreLock
    supervisor: Callable[..., Supervisor] = Supervisor
    mailbox: type[Mailbox[Any]] = Mailbox
    clock: Callable[..., Clock] = Clock
    access: ExchangeAccess = DEFAULT_ACCESS


class Pipeline:
    """Records until `stop`. `listeners` are called with every event, synchronously; they must not block.

    `socket` is this service's control socket, for the message of a second service that finds the file in use.
    """

    def __init__(
        self,
        settings: PipelineSettings,
        *,
        socket: str = "",
        backfill: BackfillLimits = DEFAULT_LIMITS,
        parts: Parts | None = None,
    ) -> None:
        parts = parts or Parts()
        self.settings = settings
        self.run_id = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
        self.started_ns = time.time_ns()
        self.state = "starting"
        self.ledger = Ledger(self.run_id)
        self._lock = parts.lock(settings.store.path.resolve(), socket)
        self._limits = limits = settings.limits
        self.store = parts.store(settings.store, limits=limits.store, lock=self._lock.file)
        self._refused = UnstorableTrades()
        self.buffer = Buffer(
            settings.store,
            self.ledger,
            self.store.next_number,
            limits.sink,
            parts.mailbox,
            on_refused=self._report_refused,
        )
        self.clock = parts.clock(
            Lags(self.ledger.accounts, self.run_id), self.buffer.record_lag, on_jump=self._clock_jumped
        )
        self.merger = Merger(
            self.store,
            settings.store,
            self._report,
            finish_s=limits.merge_stop_s - 1.0,
            limits=limits.sink,
            observe=self.ledger.merge_s.observe,
            on_gaps=self._report_lost,
            on_created=self._describe,
        )
        files = Files(os.environ.get("TICKWARDEN_CRASH_AT", ""), settings.store.group)
        self.crash_point = files.crash_point
        self.ship = ship_to(settings.lake, self.store, self.merger.limiter, files.make_folder, self.crash_point)
        stored = self.ship.stored if self.ship is not None else lambda _: None
        self.writer = Writer(self.store, self.ledger, self.buffer.outbox, limits.sink, stored, self._report_refused)
        self.poller = Poller(watched=lambda: bool(self.buffer.watchers))
        self._restored = trio.Event()  # it is known what is stored, or found to be unreadable for now
        self._limiters = RateLimiters()
        self._services = SharedServices(
            limiters=self._limiters,
            peers=PeerActivity(),
            consult=self.consult,
            flush=self.flush,
            expect=self.buffer.expect,
            past=self._past,
            stored_until_ns=lambda: min(self.store.touched_ns, self.started_ns),
            record=self.buffer.record_instruments,
            restored=self._restored.wait,
            backfill=backfill,
            access=replace(parts.access, connect=partial(parts.access.connect, poller=self.poller)),
            chunk_rows=limits.chunk_rows,
        )
        self.exchanges = {name: self._exchange(exchange) for name, exchange in settings.exchanges.items()}
        self.tree = parts.supervisor(TREE, on_event=self._on_event)
        self.listeners: list[Callable[[Event], None]] = []
        self._feeds: Supervisor | None = None
        self.stop_asked = trio.Event()
        self.ended = trio.Event()
        self._room = RoomAwaiter(self.store.path.parent, self.stop_asked, limits.sink.write_retry.max_s)
        self.handing_over = trio.Lock()  # held while it is undecided which of two processes goes on recording
        self._scope, self._asking = trio.CancelScope(), trio.CancelScope()
        self._opened = trio.Event()  # the store is this process's own
        self._succeeds = self._replaced = False
        self._shared = False  # another process receives, and will store, all that this one does
        self._failure: Exception | None = None
        self._paused: list[str] = []

    @property
    def trouble(self) -> str | None:
        """What the start is waiting for."""
        return self._room.trouble

    @property
    def unstored(self) -> dict[str, int]:
        """Trades that were received and are not stored, by exchange: if the run has ended they are lost."""
        return {} if self._shared else self.ledger.unstored()

    @property
    def changes_hands(self) -> bool:
        """Whether another process has the store, or may be taking it."""
        return self.handing_over.locked() or (self._succeeds and not self._opened.is_set())

    def _exchange(self, settings: ExchangeSettings) -> ExchangeRecorder:
        account = self.ledger.account(settings.name)
        return ExchangeRecorder(settings, account, self.buffer.intake, self._services)

    async def run(
        self,
        *,
        before: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint,
        predecessor: "Predecessor | None" = None,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Records until `stop`, then drains, commits, merges and returns.

        `before` is called when the file is locked for this service and nothing has been changed: if it raises, the
        run ends without any loss. A start waits while the disk is full, see `trouble`. Raises StoreTaken,
        FileRefused and OSError before it starts, GaveUp if an actor that everything depends on crashed too often.

        `predecessor` is given if another process records into the store: it is called when connections have been
        started, and returns when that process has released the store. `before` is then called when everything
        received since is durable, as the last step: whatever raises by then leaves the store to the other process.
        """
        with ExitStack() as locked, self._scope:
            if predecessor is None:
                await self._room.repeat(partial(self._lock_store, locked))
                await self._room.repeat(before)
            try:
                if predecessor is None:
                    await self._open_store()
                async with self.tree as tree:
                    try:
                        if predecessor is None:
                            await self._begin(tree)
                        else:
                            await self._succeed(tree, locked, predecessor, before, task_status)
                    except Exception as error:  # noqa: BLE001 - raised below, when everything is cancelled
                        self._failure = error
                        self._scope.cancel()
                        await trio.lowlevel.checkpoint()
                    self.state = "running"
                    task_status.started()
                    await self.stop_asked.wait()
                    async with self.handing_over:  # until it is decided
                        pass
                    self.state = "stopping"
                    if self._replaced:
                        self._scope.cancel()  # with everything read since: the successor has that too
                        await trio.lowlevel.checkpoint()
                    for exchange in self.exchanges.values():
                        exchange.retire()
            finally:
                self.store.close()
                self.state = "stopped"
                self.ended.set()
        if self._failure is not None:
            raise self._failure

    async def _begin(self, tree: Supervisor) -> None:
        """Starts all actors. While it is read what is stored, connections open, and what they deliver is held: in a
        large file that takes seconds, in which a trade of an exchange without a history would be lost.
        """
        exchanges, began_ns = list(self.exchanges.values()), time.time_ns()
        reads = bool(self.store.touched_ns) and not self.stopping
        give_up_at = self._give_up_at()
        if reads:
            await self._recall(exchanges, give_up_at)
            for exchange in exchanges:
                exchange.continuity.hold.begin()
        elif not self.stopping:
            self._begin_new()
        await self._start(tree)
        if reads:
            await self._restore(exchanges, began_ns, give_up_at)
        self._opened.set()
        for exchange in exchanges:
            await exchange.continuity.hold.replay()
        self._restored.set()

    async def _lock_store(self, locked: ExitStack) -> None:
        """A step of the start: the disk may have no room for the folder and the lock file."""
        self.store.make_folder()
        refuse_foreign(self.store.path)
        locked.enter_context(self._lock)

    async def _open_store(self) -> None:
        """Waits while the disk is full. Not beside a query, as a process opens a file in one way only."""
        start = partial(trio.to_thread.run_sync, self.store.start, limiter=self.merger.limiter)
        await self._room.repeat(start)

    def _begin_new(self) -> None:
        """Nothing has ever been stored: spares the queries that would find nothing."""
        for exchange in self.exchanges.values():
            states = [TrackerState(exchange.settings.name, symbol) for symbol in exchange.promises]
            exchange.begin(exchange.promises, states, time.time_ns())

    # -- two processes, of which one records --------------------------------------------------------------

    async def _succeed(
        self,
        tree: Supervisor,
        locked: ExitStack,
        predecessor: Predecessor,
        before: Callable[[], Awaitable[None]],
        task_status: trio.TaskStatus[None],
    ) -> None:
        """Starts as the successor of the process that records into the store now.

        If anything fails before `before` has returned, or a stop is requested before, everything here is cancelled:
        the other process has all that was received, and goes on.
        """
        self._succeeds = self._shared = True
        self._restored.set()  # who waits for that is paused instead: lists of markets are read meanwhile
        for exchange in self.exchanges.values():
            exchange.continuity.hold.begin()
        await self._recall(list(self.exchanges.values()), trio.current_time())
        for exchange in self.exchanges.values():  # what is stored becomes known when the store is ours
            exchange.begin(exchange.promises, (), time.time_ns())
        await self._start(tree)
        await self._pause((*_READING, *_SINKS, "instruments"))
        with self._asking:
            delivered = await predecessor(self)
        await self._leave_if_stopping(task_status)
        self.crash_point("take_over.released")
        await self._lock_released(locked)
        self.crash_point("take_over.locked")
        await self._open_store()
        await self._restore(list(self.exchanges.values()), time.time_ns(), self._give_up_at(), delivered)
        self.crash_point("take_over.restored")
        self._opened.set()
        await self.go_on()
        self.crash_point("take_over.admitted")
        await self.flush()
        self.crash_point("take_over.stored")
        await self._leave_if_stopping(task_status)
        await before()
        self._shared = False
        self.crash_point("take_over.named")

    async def _leave_if_stopping(self, task_status: trio.TaskStatus[None]) -> None:
        if self.stopping:
            task_status.started()
            self._scope.cancel()
            await trio.lowlevel.checkpoint()

    async def _lock_released(self, locked: ExitStack) -> None:
        give_up_at = trio.current_time() + RELEASED_S
        while True:
            try:
                locked.enter_context(self._lock)
            except StoreTaken:
                if trio.current_time() >= give_up_at:
                    raise
            else:
                return
            await trio.sleep(POLL_S)

    async def pause_lists(self) -> None:
        """Lets no list of markets change what is recorded, until another process has released the store."""
        await self._pause((*_READING, *_SINKS))

    async def release(self) -> None:
        """Makes everything received so far durable and releases the store, for another process to take it.

        What is received from now on is kept in memory until `reclaim`, or until `replaced` says that the other
        process records. If it is cancelled, or fails, `go_on` continues. Call it with `handing_over` held.
        """
        for exchange in self.exchanges.values():
            exchange.continuity.hold.begin()
        await self._pause((*_READING, *_SINKS))
        for exchange in self.exchanges.values():
            for chunk in exchange.rests():
                self.buffer.take_rest(chunk)
        await self.flush()
        self.crash_point("hand_over.stored")
        await self._pause((*_READING, "merger", "writer"))
        await _until(lambda: not self.buffer.outbox.statistics().depth)
        await self._pause(_READING)
        await trio.to_thread.run_sync(self.store.release, limiter=self.merger.limiter)
        self._lock.release()

    async def reclaim(self) -> None:
        """Records again, as no other process does. Raises StoreTaken if one has the store.

        What another process has stored meanwhile is a duplicate here, and shown to no watcher.
        """
        newest = self.store.newest
        await self._retake()
        known = alone = self.store.newest == newest  # otherwise the other process has stored before it ended
        while not known:
            with suppress(DatabaseLocked):
                exchanges = list(self.exchanges.values())
                await self._restore(exchanges, time.time_ns(), self._give_up_at(), self.delivered())
                known = True
            if not known and not self.store.path.exists():  # set aside, and no new one could be made
                await trio.sleep(LOCKED_RETRY_S)
                await self._retake()
        if not alone:
            for watcher in self.buffer.watchers:
                watcher.end()
        await self.go_on()

    def _describe(self) -> None:
        """Stores what a file has to know of the markets before it has their trades; another file had it."""
        for exchange in self.exchanges.values():
            exchange.describe(time.time_ns())

    def _clock_jumped(self, jump_s: float) -> None:
        for exchange in self.exchanges.values():
            exchange.continuity.clock_jumped(jump_s, time.time_ns())

    async def _retake(self) -> None:
        """Locks and opens the store; tried again after an error of the disk or the system: nobody else records."""
        reported = ""
        while True:
            try:
                self._lock.__enter__()
                await self._open_store()
            except (StoreTaken, FileRefused):  # as by a newer version, which upgraded the file before it ended
                raise
            except self.store.transient as error:
                if self.stopping:
                    raise
                if str(error) != reported:
                    reported = str(error)
                    self._report(EventRow(time.time_ns(), "store", "store_file_unavailable", reported))
            else:
                return
            await trio.sleep(LOCKED_RETRY_S)

    def delivered(self) -> dict[str, set[str]]:
        """The markets that connections deliver now, by exchange."""
        return {
            name: {symbol for connection in exchange.connections for symbol in connection.state.since}
            for name, exchange in self.exchanges.items()
        }

    async def go_on(self) -> None:
        """Stores again, first what was kept meanwhile; then everything else goes on that was paused for it."""
        self.buffer.renumber()
        self._limiters.spend()
        for name in (one for one in self._paused if one in _SINKS):
            await self._resume(name)
        for exchange in self.exchanges.values():
            await exchange.continuity.hold.replay()
        for name in self._paused:
            await self._resume(name)
        self._paused.clear()

    def replaced(self) -> None:
        """Another process records everything from now on: this one ends."""
        self._replaced = True
        for exchange in self.exchanges.values():
            exchange.continuity.hold.drop()
        self.stop()

    async def _pause(self, but: Collection[str]) -> None:
        """Pauses all actors except these kinds, without events: operators have not asked for it. Those that they
        have paused stay so afterwards.
        """
        for actor in self.tree.snapshot():
            if actor.kind in but:
                continue
            with suppress(UnknownActorError):  # it has been removed while others were paused
                if not self.tree.paused(actor.name):
                    self._paused.append(actor.name)
                await self.tree.pause(actor.name)  # also one that still stops: it returns at its end

    async def _resume(self, name: str) -> None:
        """Resumes an actor, unless it has been removed or is being removed meanwhile."""
        with suppress(UnknownActorError, RuntimeError):
            await self.tree.resume(name)

    async def _restore(
        self,
        exchanges: Sequence[ExchangeRecorder],
        now_ns: int,
        give_up_at: float,
        delivered: Mapping[str, Collection[str]] | None = None,
    ) -> None:
        """Restores each exchange's continuity from the file, so that nothing is stored twice or missed unreported.

        If another process holds the file until `give_up_at`, recording begins without, and each exchange
        retries until the file can be read. `now_ns` is when connections began to open. `delivered` are the markets
        of which the connections have delivered all trades since the last stored one, by exchange: those may be
        stored already, so DatabaseLocked is raised.
        """
        promises = {exchange.settings.name: exchange.promises for exchange in exchanges}
        found: Mapping[str, Sequence[TrackerState]] = {}
        try:
            found = await self._patiently(partial(self._read_pasts, promises, {}, ""), give_up_at)
        except DatabaseLocked:
            if delivered is not None:
                raise
        for exchange in exchanges:
            name = exchange.settings.name
            known = found.get(name)
            if delivered is not None:
                exchange.continuity.forget(promises[name])
            exchange.begin(promises[name], known, now_ns, delivered=(delivered or {}).get(name, ()))
            if known is not None:
                continue
            held = f"{name}: another process has the file open; stored trades are looked up later"
            self.buffer.record(EventRow(now_ns, "store", "continuity_unknown", held))

    def _give_up_at(self) -> float:
        """Until when to wait for a file that another process may hold."""
        return trio.current_time() + (LOCKED_PATIENCE_S if self.store.path.exists() else 0.0)

    async def _patiently(self, question: Callable[[duckdb.DuckDBPyConnection], _T], give_up_at: float) -> _T:
        """As `consult`, but waits so long if another process holds the file."""
        while True:
            try:
                return await self.consult(question)
            except DatabaseLocked:
                if trio.current_time() >= give_up_at or self.stopping:
                    raise
            await trio.sleep(LOCKED_RETRY_S)

    async def _recall(self, exchanges: Sequence[ExchangeRecorder], give_up_at: float) -> None:
        """Puts the stored lists of markets in force, read over one connection, if the file can be read by then."""
        listed = [exchange for exchange in exchanges if exchange.instruments is not None]
        question = partial(self._read_lists, [exchange.settings.name for exchange in listed])
        if listed:
            with suppress(DatabaseLocked):
                for exchange, stored in zip(listed, await self._patiently(question, give_up_at), strict=True):
                    exchange.recall(stored)

    def _read_lists(self, names: Sequence[str], con: duckdb.DuckDBPyConnection) -> list[StoredList]:
        with suppress(duckdb.CatalogException):  # an older file has no such table, which the next line reports
            read_tail_once(con, INSTRUMENTS, self.store.tail)
        return [read_stored(con, name) for name in names]

    def _read_pasts(
        self,
        promises: Mapping[str, Mapping[str, IdPromise]],
        before: Mapping[str, Mapping[str, Before]],
        run_id: str,
        con: duckdb.DuckDBPyConnection,
    ) -> dict[str, list[TrackerState]]:
        for table in (GAP_STATES, FEEDS):
            read_tail_once(con, table, self.store.tail)
        tail = tail_select(TICKS, self.store.tail) if self.store.has_tail_ticks() else None
        return read_states(con, promises, tail, before, run_id=run_id)

    async def _past(
        self, exchange: str, promises: Mapping[str, IdPromise], before: Mapping[str, Before]
    ) -> Sequence[TrackerState]:
        question = partial(self._read_pasts, {exchange: promises}, {exchange: before}, self.run_id)
        return (await self.consult(question))[exchange]

    async def consult(self, question: Callable[[duckdb.DuckDBPyConnection], _T]) -> _T:
        """Runs a query on the file, in a worker thread and not concurrently with a merge. Raises DatabaseLocked."""
        return await trio.to_thread.run_sync(partial(self.store.consult, question), limiter=self.merger.limiter)

    def check_exchange(self, settings: ExchangeSettings) -> None:
        """Raises ValueError or KeyError if `add_exchange` would; changes nothing."""
        ExchangeRecorder(settings, Account(), self.buffer.intake, self._services).check()
        own = settings.name if settings.name in self.exchanges else None
        if settings.name in {TREE, *(actor.name for actor in self.tree.snapshot())} - {own}:
            raise ValueError(f"there is an actor named {settings.name} already")

    async def add_exchange(self, settings: ExchangeSettings) -> None:
        """Starts recording another exchange. If one of that name was recorded before, its totals continue, and what
        it has left in the buffer is stored first: the file alone shows what is known of it. A cancellation takes
        effect before anything has started, or when all of it has.
        """
        assert self._feeds is not None
        if settings.name in self.ledger.accounts:
            await self.flush()
        exchange = self._exchange(settings)
        give_up_at = self._give_up_at()
        await self._recall([exchange], give_up_at)
        await self._restore([exchange], time.time_ns(), give_up_at)
        with trio.CancelScope(shield=True):
            try:
                await exchange.start(self._feeds)
            except Exception:
                await self._end(exchange)  # what has started would go on, and keep the name
                raise
            self.exchanges[settings.name] = exchange

    async def remove_exchange(self, name: str) -> None:
        """Stops recording one exchange, in an orderly way: everything read is kept. It cannot be cancelled halfway:
        what records no longer would count as recorded.
        """
        with trio.CancelScope(shield=True):
            await self._end(self.exchanges[name])
            del self.exchanges[name]

    async def _end(self, exchange: ExchangeRecorder) -> None:
        assert self._feeds is not None
        exchange.retire()
        with suppress(UnknownActorError):  # its start was refused
            await self._feeds.stop_child(exchange.settings.name)
        for chunk in exchange.rests():
            self.buffer.take_rest(chunk)

    async def flush(self) -> None:
        """Returns when everything that has reached the buffer is durable."""
        self.buffer.flush()
        await _until(lambda: not self.buffer.flush_wanted)
        number = self.buffer.sealed_number
        await _until(lambda: self.writer.acknowledged >= number)

    async def merge(self) -> None:
        """Flushes, and returns when the tail has been merged into the file. Raises DatabaseLocked, and every other
        error of a merge, which is repeated later.
        """
        await self.flush()
        wanted = self.merger.begun + 1  # one that runs already has perhaps begun before the flush
        self.merger.merge_soon()
        await _until(lambda: self.merger.merges >= wanted and not self.merger.last.backlog)
        error = self.merger.error
        if isinstance(error, DatabaseLocked):
            unreached = f": {self.store.unreached}" if self.store.unreached else ""
            raise DatabaseLocked(self.store.path.name, error.pid, unreached)
        if error is not None:
            raise error

    @property
    def stopping(self) -> bool:
        """Whether a stop was requested."""
        return self.stop_asked.is_set()

    def stop(self) -> None:
        """Requests an orderly stop; may be called again."""
        self.stop_asked.set()
        self._asking.cancel()

    async def _start(self, tree: Supervisor) -> None:
        """Starts the actors downstream first, so that each finds the one that it sends to."""
        policy = self.settings.supervision
        worker = partial(
            ChildSpec,
            backoff=backoff_of(policy),
            intensity=intensity_of(policy),
            classify=classify,
            probe_interval_s=policy.probe_interval_s,
        )
        buffer, merger = self.buffer, self.merger
        ship = self.ship and worker(
            "ship",
            partial(run_after, self._opened.wait, self.ship.run),
            kind="ship",
            stop_s=SHIP_STOP_S,
            on_stop=self.ship.stop,
        )
        # A merger that fails leaves a longer tail; without writer or buffer nothing is recorded at all.
        for spec in (
            worker(
                "merger",
                partial(run_after, self._opened.wait, merger.run),
                kind="merger",
                stop_s=self._limits.merge_stop_s,
                on_stop=merger.stop,
            ),
            *([ship] if ship else []),
            worker(
                "writer",
                partial(run_after, self._opened.wait, self.writer.run),
                kind="writer",
                mailbox=buffer.outbox,
                stop_s=self._limits.writer_stop_s,
                on_stop=buffer.outbox.close,
                on_exhausted="escalate",
            ),
            worker(
                "buffer",
                partial(run_after, self._opened.wait, buffer.run),
                kind="buffer",
                mailbox=buffer.intake,
                stop_s=self._limits.buffer_stop_s,
                on_stop=self._close_intake,
                on_exhausted="escalate",
            ),
            worker("clock", self.clock.run, kind="clock", stop_s=CLOCK_STOP_S),
            worker("poller", self.poller.run, kind="poller"),
        ):
            await tree.start(spec)
        self._feeds = await tree.start_supervisor("exchanges", stop_together=True)
        if self.stopping:
            return  # requested while the file was being opened: receive nothing that would then be lost
        for exchange in self.exchanges.values():
            await exchange.start(self._feeds)

    def _close_intake(self) -> None:
        for exchange in self.exchanges.values():
            for chunk in exchange.rests():
                self.buffer.take_rest(chunk)
        self.buffer.intake.close()

    def _report_refused(self, blocks: Sequence[Block]) -> None:
        """Reports ticks that could not be stored."""
        self._report_lost(self._refused.gaps(blocks, time.time_ns()))

    def _report_lost(self, gaps: Sequence[GapRow]) -> None:
        """Reports lost rows that count as stored: a market that is recorded queries its history for them."""
        for gap in gaps:
            exchange = self.exchanges.get(gap.exchange)
            if exchange is None or not exchange.continuity.vanished(gap):
                self.buffer.take_rest(Chunk(Block(gap.exchange), gaps=(gap,)))

    def _report(self, row: EventRow) -> None:
        """Reports a notice of the store as an event: in the file, in the log, to all listeners."""
        self._on_event(
            Event(
                at_ns=row.at_ns,
                actor=row.actor,
                event=row.event,
                reason=row.reason or "",
                restarts=0,
                retry_in_s=None,
                detail=json.loads(row.detail_json),
            )
        )

    def _on_event(self, event: Event) -> None:
        if event.actor in self._paused and event.event in _QUIET:
            return
        self.buffer.record(
            EventRow(
                at_ns=event.at_ns,
                actor=event.actor,
                event=event.event,
                reason=event.reason or None,
                restarts=event.restarts,
                retry_in_s=event.retry_in_s,
                detail_json=json.dumps(event.detail, default=str),
            )
        )
        for listener in self.listeners:
            listener(event)


async def _until(done: Callable[[], bool]) -> None:
    """Waits for a condition that depends on several actors, by polling: commands are rare."""
    while not done():  # noqa: ASYNC110 - an event would have to be threaded through every actor on the way
        await trio.sleep(POLL_S)
