"""The way from chunks to durable batches: by rows, by age, through crashes and a sick disk."""

import errno
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from actors.model.batch import Batch
from actors.model.chunk import Chunk
from actors.model.errors import DatabaseLocked
from actors.model.records import EventRow
from actors.model.ticks import Block, Reason
from actors.settings import SinkLimits, StoreSettings
from actors.sink.buffer import AUDIT_EVERY_S, EVENTS_MAX, MARGIN_S, PAUSE_S, WRITER_POLL_S
from actors.sink.merger import ALARM_S, ALARMS_MAX, ALARMS_SHOWN_MAX, Merger
from actors.sink.sink import Filtered, Merged, Notice, Retained
from actors.sink.writer import Writer
from actors.telemetry.ledger import Ledger
from actors.wire.errors import classify
from supervisor import Backoff, ChildSpec, Context, Event, State, Supervisor, Verdict
from tests.harness.buffering import LAG, LISTED, NS, SETTINGS, Desk, block, buffering, event

# -- the buffer --------------------------------------------------------------------------------------------


async def test_a_tick_waits_no_longer_than_the_flush_interval(autojump_clock: MockClock) -> None:
    async with buffering(Desk()) as desk:
        await trio.sleep(100)
        began = trio.current_time()
        await desk.give(1)
        await trio.sleep(0.5)
        await desk.give(1)
        batch = await desk.batch()
        assert batch.ticks == 2
        assert trio.current_time() - began == pytest.approx(SETTINGS.flush_interval_s - MARGIN_S)


async def test_it_is_ok_as_soon_as_it_waits_for_its_first_message(autojump_clock: MockClock) -> None:
    desk = Desk()
    async with Supervisor("tree", on_event=lambda _: None) as tree:
        await tree.start(
            ChildSpec("buffer", desk.buffer.run, mailbox=desk.buffer.intake, on_stop=desk.buffer.intake.close)
        )
        await trio.lowlevel.checkpoint()
        assert tree.health("buffer").state is State.OK


async def test_enough_rows_are_handed_on_at_once(autojump_clock: MockClock) -> None:
    async with buffering(Desk()) as desk:
        began = trio.current_time()
        for _ in range(11):
            await desk.give(100)
        assert (await desk.batch()).ticks >= SETTINGS.flush_rows_max
        assert trio.current_time() == began


async def test_the_end_of_a_flood_is_handed_on_once_nothing_more_comes(autojump_clock: MockClock) -> None:
    async with buffering(Desk()) as desk:
        await desk.give(SETTINGS.flush_rows_max)
        assert (await desk.batch()).ticks == SETTINGS.flush_rows_max
        began = trio.current_time()
        for _ in range(3):
            await trio.sleep(PAUSE_S / 2)
            await desk.give(1)
        assert (await desk.batch()).ticks == 3
        assert trio.current_time() - began == pytest.approx(2.5 * PAUSE_S)
        began = trio.current_time()
        await desk.give(1)  # is no flood any more
        assert (await desk.batch()).ticks == 1
        assert trio.current_time() - began == pytest.approx(SETTINGS.flush_interval_s - MARGIN_S)


async def test_a_slow_feed_that_follows_a_flood_waits_no_longer_than_any_other(autojump_clock: MockClock) -> None:
    async with buffering(Desk()) as desk:
        await desk.give(SETTINGS.flush_rows_max)
        await desk.batch()
        began, given = trio.current_time(), 0
        while trio.current_time() - began < SETTINGS.flush_interval_s - MARGIN_S - PAUSE_S:
            await desk.give(1)
            given += 1
            await trio.sleep(PAUSE_S / 2)
        assert SETTINGS.flush_interval_s - MARGIN_S - 2 * PAUSE_S <= trio.current_time() - began
        assert (await desk.batch()).ticks >= given
        assert trio.current_time() - began <= SETTINGS.flush_interval_s - MARGIN_S


async def test_batches_keep_the_order_of_arrival_and_their_numbers_rise(autojump_clock: MockClock) -> None:
    async with buffering(Desk()) as desk:
        batches = []
        for round_ in range(5):
            for _ in range(round_ + 1):
                await desk.give(7)
            batches.append(await desk.batch())
        assert [batch.number for batch in batches] == [101, 102, 103, 104, 105]
        ids = [number for batch in batches for part in batch.blocks for number in part.trade_id]
        assert ids == [str(number) for number in range(desk.given)]


async def test_rejects_and_events_become_durable_like_ticks(autojump_clock: MockClock) -> None:
    async with buffering(Desk()) as desk:
        await desk.give(0, rejects=2)
        desk.buffer.record(event())
        batch = await desk.batch()
        assert (batch.ticks, len(batch.rejects), len(batch.events)) == (0, 2, 1)
        desk.buffer.record(event())
        assert len((await desk.batch()).events) == 1


async def test_a_quiet_service_writes_audit_rows_every_minute(autojump_clock: MockClock) -> None:
    async with buffering(Desk()) as desk:
        await desk.give(3)
        assert (await desk.batch()).ticks == 3
        for _ in range(3):
            began = trio.current_time()
            batch = await desk.batch()
            assert trio.current_time() - began == pytest.approx(AUDIT_EVERY_S)
            assert (batch.blocks, batch.events, [row.stored for row in batch.audit]) == ((), (), [3])
            assert desk.buffer.oldest_s() == 0.0
        await trio.sleep(AUDIT_EVERY_S / 2)
        desk.buffer.record(event())
        desk.buffer.record_lag(LAG)
        desk.buffer.record_instruments([LISTED])
        batch = await desk.batch()
        assert (batch.events, batch.lags, batch.instruments) == ((event(),), (LAG,), (LISTED,))
        began = trio.current_time()
        batch = await desk.batch()
        assert (batch.events, batch.lags, batch.instruments) == ((), (), ())
        assert trio.current_time() - began == pytest.approx(AUDIT_EVERY_S)  # after the last batch, whatever it held


async def test_while_the_writer_has_a_batch_the_next_one_grows_and_is_made_when_it_has_finished(
    autojump_clock: MockClock,
) -> None:
    async with buffering(Desk()) as desk:
        await desk.give(1)
        async with desk.buffer.outbox.receive() as first:
            for number in range(10):
                await desk.give(2)
                await trio.sleep(1)
                if number % 2:
                    desk.buffer.flush()
            await trio.sleep(2 * AUDIT_EVERY_S)
            assert desk.buffer.outbox.statistics().depth == 1
        began = trio.current_time()
        second = await desk.batch()
        assert (first.ticks, second.ticks) == (1, 20)
        assert trio.current_time() - began <= WRITER_POLL_S


async def test_a_full_batch_is_made_while_the_writer_has_one(autojump_clock: MockClock) -> None:
    async with buffering(Desk()) as desk:
        await desk.give(1)
        async with desk.buffer.outbox.receive():
            await desk.give(SETTINGS.flush_rows_max)
            await trio.testing.wait_all_tasks_blocked()
            assert desk.buffer.outbox.statistics().depth == 2


async def test_nothing_is_written_when_there_is_nothing(autojump_clock: MockClock) -> None:
    async with buffering(Desk()) as desk:
        desk.buffer.flush()
        await trio.sleep(1000)
        assert desk.buffer.outbox.statistics().depth == 0


async def test_a_requested_flush_is_made_at_once(autojump_clock: MockClock) -> None:
    async with buffering(Desk()) as desk:
        await desk.give(1)
        await trio.testing.wait_all_tasks_blocked()
        began = trio.current_time()
        desk.buffer.flush()
        assert (await desk.batch()).ticks == 1 and trio.current_time() == began


class Held:
    """A source with rows; `follows` as in model.chunk.Source."""

    def __init__(self, desk: Desk, rows: int, *, follows: bool = False) -> None:
        self.follows, self.collected_at = follows, list[float]()
        self._desk, self._block = desk, block(rows, first=desk.given)
        desk.given += rows
        desk.ledger.account("x").read(1, NS, rows, 0, self._block)

    def prepare(self) -> None:
        pass

    def collect(self) -> list[Chunk]:
        self.collected_at.append(trio.current_time())
        held, self._block = self._block, block(0)
        return [Chunk(held)] if len(held) else []

    def take_back(self, rows: Block) -> None:
        """Holds them again."""
        newer, self._block = self._block, rows
        self._block.extend(*newer.lists())

    def read(self, rows: int) -> None:
        """Holds more."""
        more = block(rows, first=self._desk.given)
        self._desk.given += rows
        self._desk.ledger.account("x").read(1, NS, rows, 0, more)
        self._block.extend(*more.lists())


class Shown:
    """A watcher: when it was shown how many rows."""

    def __init__(self, *, waiting: bool = True) -> None:
        self.waiting = waiting
        self.seen: list[tuple[float, int]] = []

    def show(self, blocks: Sequence[Block]) -> None:
        self.seen += [(trio.current_time(), len(made)) for made in blocks]

    def end(self) -> None:
        pass


async def test_what_sources_hold_is_collected_for_the_batch_that_is_due(autojump_clock: MockClock) -> None:
    async with buffering(Desk()) as desk:
        began = trio.current_time()
        sources = [Held(desk, 2), Held(desk, 3)]
        for source in sources:
            desk.buffer.expect(source)
        batch = await desk.batch()
        assert 0.9 <= trio.current_time() - began <= 1.0
        assert batch.ticks == 5 and desk.balanced()
        assert [len(source.collected_at) for source in sources] == [1, 1]


async def test_what_others_bring_up_is_collected_after_them_for_the_same_batch(autojump_clock: MockClock) -> None:
    async with buffering(Desk()) as desk:
        follower = Held(desk, 3, follows=True)

        class Brings(Held):
            def collect(self) -> list[Chunk]:
                desk.buffer.expect(follower)
                return super().collect()

        desk.buffer.expect(Brings(desk, 2))
        assert (await desk.batch()).ticks == 5
        assert len(follower.collected_at) == 1


async def test_a_sources_rows_come_after_what_it_has_put_into_the_intake(autojump_clock: MockClock) -> None:
    async with buffering(Desk()) as desk:
        await desk.give(2)
        desk.buffer.expect(Held(desk, 2))
        batch = await desk.batch()
        assert [number for made in batch.blocks for number in made.trade_id] == ["0", "1", "2", "3"]


@pytest.mark.parametrize("wanted", ["of its age", "full", "requested"])
async def test_a_batch_has_everything_older_than_its_newest_row_wherever_that_waits(
    autojump_clock: MockClock, wanted: str
) -> None:
    """Of a market that two connections deliver, a crash must not leave a newer trade without an older one."""
    rows = SETTINGS.flush_rows_max if wanted == "full" else 100
    desk = Desk(limits=SinkLimits(intake_rows_max=2 * rows, chunks_at_once=1))
    async with trio.open_nursery() as nursery:
        for _ in range(3):  # the third waits for room
            nursery.start_soon(desk.give, rows)
            await trio.testing.wait_all_tasks_blocked()
        for _ in range(2):
            desk.buffer.expect(Held(desk, 1))
        if wanted == "requested":
            desk.buffer.flush()
        stored: list[str | None] = []
        async with buffering(desk):
            while len(stored) < desk.given:
                batch = await desk.batch()
                stored += [number for made in batch.blocks for number in made.trade_id]
                assert stored == [str(number) for number in range(len(stored))]


@pytest.mark.parametrize("others", [0, 2])
async def test_what_goes_back_to_its_source_while_a_batch_is_made_is_in_that_batch(
    autojump_clock: MockClock, others: int
) -> None:
    """A connection is cancelled while its rows wait for room: newer ones of another are in the batch already."""
    desk = Desk(limits=SinkLimits(intake_rows_max=1, chunks_at_once=1))
    connection, source = trio.CancelScope(), Held(desk, 2)

    async def hands_over() -> None:
        (chunk,) = source.collect()
        with connection:
            await desk.buffer.intake.put(chunk)
        assert connection.cancelled_caught
        source.take_back(chunk.block)
        desk.buffer.expect(source)

    class Newer(Held):
        def collect(self) -> list[Chunk]:
            connection.cancel()
            return super().collect()

    async with trio.open_nursery() as nursery:
        for _ in range(others + 1):
            nursery.start_soon(desk.give, 1)
            await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(hands_over)
        await trio.testing.wait_all_tasks_blocked()
        desk.buffer.expect(Newer(desk, 3))
        desk.buffer.flush()
        async with buffering(desk):
            assert (await desk.batch()).ticks == 2 + others + 1 + 3


async def test_a_row_read_while_others_are_prepared_is_in_the_batch_of_what_was_read_after_it(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.sink.buffer.COLLECT_S", -1.0)  # each source has a turn of its own
    async with buffering(Desk()) as desk:
        first = Held(desk, 1)

        class Slow(Held):
            def prepare(self) -> None:
                """The first has been prepared, and reads one more; then this one does."""
                first.read(2)
                self.read(3)

        desk.buffer.expect(first)
        desk.buffer.expect(Slow(desk, 0))
        assert (await desk.batch()).ticks == 6


async def test_rows_are_shown_in_the_order_in_which_they_are_stored(autojump_clock: MockClock) -> None:
    shown: list[str | None] = []

    class Reader(Shown):
        def show(self, blocks: Sequence[Block]) -> None:
            shown.extend(number for made in blocks for number in made.trade_id)

    async with buffering(Desk()) as desk:
        desk.buffer.watchers.add(Reader())
        await desk.give(2)
        desk.buffer.take_rest(Chunk(block(1, first=10)))  # of a connection that has ended
        desk.buffer.expect(Held(desk, 2))
        desk.buffer.expect(Held(desk, 1))
        await trio.sleep(0.01)
        await desk.give(2)
        batch = await desk.batch()
        assert shown == [number for made in batch.blocks for number in made.trade_id]
        assert len(shown) == 8


async def test_a_requested_flush_has_what_sources_hold(autojump_clock: MockClock) -> None:
    async with buffering(Desk()) as desk:
        began = trio.current_time()
        desk.buffer.expect(Held(desk, 4))
        desk.buffer.flush()
        assert (await desk.batch()).ticks == 4
        assert trio.current_time() - began < 0.1


async def test_while_somebody_watches_rows_are_shown_at_once(autojump_clock: MockClock) -> None:
    watcher = Shown()
    async with buffering(Desk()) as desk:
        desk.buffer.watchers.add(watcher)
        began = trio.current_time()
        desk.buffer.expect(Held(desk, 4))
        await trio.sleep(0.1)
        assert [rows for _, rows in watcher.seen] == [4] and watcher.seen[0][0] - began <= 0.002
        assert (await desk.batch()).ticks == 4 and len(watcher.seen) == 1


async def test_nothing_is_collected_for_a_watcher_that_does_not_wait(autojump_clock: MockClock) -> None:
    watcher = Shown(waiting=False)
    async with buffering(Desk()) as desk:
        desk.buffer.watchers.add(watcher)
        desk.buffer.expect(Held(desk, 4))
        await trio.sleep(0.1)
        assert watcher.seen == []
        watcher.waiting = True
        desk.buffer.show_soon()
        await trio.sleep(0.002)
        assert [rows for _, rows in watcher.seen] == [4]


async def test_what_is_read_while_others_are_collected_is_shown_at_once_too(autojump_clock: MockClock) -> None:
    watcher = Shown()
    async with buffering(Desk()) as desk:
        desk.buffer.watchers.add(watcher)
        second = Held(desk, 1)

        class First(Held):
            def collect(self) -> list[Chunk]:
                if not self.collected_at:  # the second source has not been collected yet
                    desk.buffer.expect(third)
                return super().collect()

        third = Held(desk, 1)
        desk.buffer.expect(First(desk, 1))
        desk.buffer.expect(second)
        await trio.sleep(0.01)
        assert sum(rows for _, rows in watcher.seen) == 3


async def test_of_a_storm_of_events_the_newest_are_kept(autojump_clock: MockClock) -> None:
    async with buffering(Desk()) as desk:
        for number in range(EVENTS_MAX + 10):
            desk.buffer.record(event(number))
        batch = await desk.batch()
        assert len(batch.events) == EVENTS_MAX and batch.events[-1].reason == str(EVENTS_MAX + 9)


async def test_a_writer_that_is_behind_holds_up_the_givers_and_loses_nothing(autojump_clock: MockClock) -> None:
    async with buffering(Desk()) as desk:
        async with trio.open_nursery() as nursery:

            async def giver() -> None:
                for _ in range(900):
                    await desk.give(500)

            nursery.start_soon(giver)
            await trio.sleep(60)
            given = desk.given
            assert given < 450_000  # blocked
            assert desk.buffer.oldest_s() > 50
            await trio.sleep(60)
            assert desk.given == given
            ids: list[str | None] = []
            while len(ids) < 450_000:
                ids += [number for part in (await desk.batch()).blocks for number in part.trade_id]
        assert ids == [str(number) for number in range(450_000)]
        account = desk.ledger.account("x")
        assert (account.stored, account.in_flight) == (450_000, 0)


async def test_a_closed_intake_is_emptied_to_the_last_tick_before_the_buffer_ends() -> None:
    desk = Desk()
    for _ in range(600):
        await desk.give(1, rejects=1)
    desk.buffer.take_rest(Chunk(block(3), ()))
    desk.buffer.intake.close()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.buffer.run, desk.context)
        ticks = rejects = 0
        while ticks < 603:
            async with desk.buffer.outbox.receive() as batch:
                ticks, rejects = ticks + batch.ticks, rejects + len(batch.rejects)
    assert (ticks, rejects) == (603, 600)


async def test_a_crash_of_the_buffers_task_loses_and_doubles_nothing(autojump_clock: MockClock) -> None:
    desk = Desk()
    ids: list[str | None] = []
    for _ in range(40):
        with trio.move_on_after(0.4):  # cut down wherever it stands
            async with buffering(desk):
                for _ in range(3):
                    await desk.give(10)
                while True:
                    ids += [number for part in (await desk.batch()).blocks for number in part.trade_id]
    async with buffering(desk):
        while len(ids) < desk.given:
            ids += [number for part in (await desk.batch()).blocks for number in part.trade_id]
    assert ids == [str(number) for number in range(1200)]


# -- the accounts ------------------------------------------------------------------------------------------

step = st.one_of(
    st.tuples(st.just("give"), st.sampled_from("xyz"), st.integers(0, 5), st.integers(0, 3)),
    st.tuples(st.just("seal")),
    st.tuples(st.just("stored")),
    st.tuples(st.just("chunk dies")),
    st.tuples(st.just("batch dies")),
)


@given(st.lists(step, max_size=40))
@settings(deadline=None)
def test_the_totals_agree_at_every_moment_and_in_every_row_of_the_audit(steps: list[tuple[Any, ...]]) -> None:
    ledger = Ledger("run")
    pending: list[Block] = []
    sealed: list[Batch] = []
    for what, *more in steps:
        if what == "give":
            exchange, rows, rejects = more
            pending.append(block(rows, exchange))
            ledger.account(exchange).read(1, NS, rows, rejects, pending[-1])
        elif what == "seal":
            audit = ledger.seal(pending, NS)
            sealed.append(Batch(len(sealed), tuple(pending), audit=audit))
            pending = []
            for row in audit:
                assert row.received == row.stored + row.duplicates + row.rejected + row.in_flight
        elif what == "stored" and sealed:
            batch = sealed.pop(0)
            ledger.stored(batch)
            for row in batch.audit:  # what was foretold has come true
                assert ledger.account(row.exchange).stored >= row.stored - refused(ledger)
        elif what == "chunk dies" and pending:
            ledger.refused([pending.pop()], sealed=False)
        elif what == "batch dies" and sealed:
            ledger.refused(sealed.pop(0).blocks, sealed=True)
        for account in ledger.accounts.values():
            assert account.balanced and account.in_flight >= 0
            waiting = sum(map(len, pending)) + sum(batch.ticks for batch in sealed)
        assert sum(account.in_flight for account in ledger.accounts.values()) == (waiting if ledger.accounts else 0)


def refused(ledger: Ledger) -> int:
    return sum(account.rejected for account in ledger.accounts.values())


def test_lag_is_reported_in_quantiles_of_the_last_reads_and_never_of_old_trades() -> None:
    ledger = Ledger("run")
    account = ledger.account("x")
    assert account.lag_ms(0.5) is None
    for lag_ms in range(100):
        made = block(1)
        made.exchange_ns[0] = NS - lag_ms * 1_000_000
        account.read(1, NS, 1, 0, made)
    assert (account.lag_ms(0.5), account.lag_ms(0.99)) == (50.0, 99.0)
    old = block(1)
    old.source[0], old.exchange_ns[0] = "snapshot", 5
    account.read(1, NS, 1, 0, old)
    assert account.lag_ms(1.0) == 99.0


# -- writer and merger -------------------------------------------------------------------------------------


class Sick(Exception):
    """What only this sink raises, and declares transient."""


class Disk:
    """A sink in memory, with neither a file nor a database: it raises its errors first, then keeps the batches."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.transient: tuple[type[Exception], ...] = (OSError, Sick)
        self.batches: list[Batch] = []
        self.notices: deque[Notice] = deque()
        self.finished = 0
        self.compacted = 0
        self.held = False
        self.unreached = ""

    def _stumble(self) -> None:
        if self.errors:
            raise self.errors.pop(0)

    def write(self, batch: Batch) -> None:
        self._stumble()
        self.batches.append(batch)

    def merge(self) -> Merged:
        self._stumble()
        if self.held:
            raise DatabaseLocked("disk", 77)
        return Merged(rows=1, segments=1)

    def compact(self) -> int:
        self.compacted += 1
        return 0

    def finish(self, deadline: Callable[[], bool]) -> Merged:
        self._stumble()
        self.finished += 1
        return Merged()

    def start(self) -> None:
        """Nothing to recover."""

    def next_number(self) -> int:
        return len(self.batches) + 1

    def filter(self, batch: Batch) -> Filtered:
        bad = {id(made): [at for at, price in enumerate(made.price) if price == "bad"] for made in batch.blocks}
        for made in batch.blocks:
            made.remove(0, bad[id(made)])
        return Filtered(batch, +Counter({made.exchange: len(bad[id(made)]) for made in batch.blocks}))

    def retain(self) -> Retained:
        return Retained()

    def describe(self, error: Exception, *, merging: bool = False) -> str:
        return f"the disk is sick: {error}"

    def close(self) -> None:
        """Nothing to free."""


# Made anew for each use: an exception that was raised keeps its frames, and what they hold, alive.
SICK: dict[str, Callable[[], Exception]] = {
    "full": lambda: OSError(errno.ENOSPC, "No space left on device"),
    "unreachable": lambda: Sick("connection refused"),
}
HASTY = SinkLimits(write_retry=Backoff(0.02, 0.2), merge_retry=Backoff(0.02, 0.2), locked_retry_s=0.05)


class Reasons(Context):
    """Keeps why the actor is degraded now."""

    reasons: Sequence[str] = ()

    def ok(self) -> None:
        self.reasons = []

    def degraded(self, reason: str) -> None:
        self.reasons = reason.split("; ")


@asynccontextmanager
async def writing(desk: Desk, disk: Disk) -> AsyncIterator[tuple[Writer, Supervisor]]:
    writer = Writer(disk, desk.ledger, desk.buffer.outbox, HASTY)
    async with Supervisor("tree", on_event=lambda _: None) as tree:
        await tree.start(
            ChildSpec(
                "writer",
                writer.run,
                mailbox=desk.buffer.outbox,
                classify=classify,
                on_stop=desk.buffer.outbox.close,
            )
        )
        yield writer, tree


async def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline
        await trio.sleep(0.005)


@pytest.mark.parametrize("sick", SICK.values(), ids=SICK)
async def test_a_sick_disk_is_waited_for_and_is_no_crash_of_the_writer(
    sick: Callable[[], Exception],
) -> None:
    desk, disk = Desk(), Disk(sick(), sick(), sick())
    async with writing(desk, disk) as (writer, tree):
        batch = Batch(1, (block(5),), audit=desk.ledger.seal([], NS))
        desk.ledger.account("x").read(1, NS, 5, 0, batch.blocks[0])
        await desk.buffer.outbox.put(batch)
        await until(lambda: writer.trouble)
        health = tree.health("writer")
        assert health.state is State.DEGRADED and str(sick()) in health.reason and "disk" in health.reason
        await until(lambda: disk.batches)
        await until(lambda: tree.health("writer").state is State.OK)
        assert (tree.health("writer").restarts, writer.trouble) == (0, None)
    assert disk.batches == [batch] and desk.ledger.account("x").stored == 5
    assert writer.last_flush_ns is not None


async def test_what_the_data_does_to_the_writer_is_a_crash_and_the_third_makes_the_batch_a_reject() -> None:
    desk, disk = Desk(), Disk(*(ArithmeticError("Could not cast") for _ in range(3)))
    seen = []
    async with buffering(desk):
        for number in (1, 2):
            made = block(3, first=number * 10)
            desk.ledger.account("x").read(1, NS, 3, 0, made)
            await desk.buffer.outbox.put(Batch(number, (made,), audit=desk.ledger.seal([made], NS)))
        writer = Writer(disk, desk.ledger, desk.buffer.outbox)
        for _ in range(3):
            with pytest.raises(ArithmeticError) as caught:
                await writer.run(Context("writer"))
            seen.append(classify(caught.value)[0])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(writer.run, Context("writer"))
            await until(lambda: len(disk.batches) == 2)
            nursery.cancel_scope.cancel()
    assert seen == [Verdict.BUG] * 3
    assert [batch.ticks for batch in disk.batches] == [3, 0]
    (evidence,) = disk.batches[1].rejects
    assert evidence.reason is Reason.CRASHED and "Could not cast" in evidence.detail and b'"10"' in evidence.payload
    account = desk.ledger.account("x")
    assert (account.received, account.stored, account.rejected, account.in_flight) == (6, 3, 3, 0)


async def test_a_batch_that_was_made_durable_while_the_writer_was_cut_down_is_not_written_again() -> None:
    desk, disk = Desk(), Disk()
    slow, held = trio.Event(), trio.CancelScope()
    token = trio.lowlevel.current_trio_token()
    write = disk.write

    def slowly(batch: Batch) -> None:
        trio.from_thread.run_sync(slow.set, trio_token=token)
        time.sleep(0.1)
        write(batch)

    disk.write = slowly  # type: ignore[method-assign]
    made = block(4)
    desk.ledger.account("x").read(1, NS, 4, 0, made)
    await desk.buffer.outbox.put(Batch(1, (made,), audit=desk.ledger.seal([made], NS)))
    writer = Writer(disk, desk.ledger, desk.buffer.outbox)
    async with trio.open_nursery() as nursery:

        async def run() -> None:
            with held:
                await writer.run(Context("writer"))

        nursery.start_soon(run)
        await slow.wait()
        held.cancel()
    assert held.cancelled_caught and len(disk.batches) == 1
    assert desk.buffer.outbox.statistics().depth == 1  # handed out again to the next life ...
    desk.buffer.outbox.close()
    await writer.run(Context("writer"))
    assert len(disk.batches) == 1 and desk.ledger.account("x").stored == 4  # ... which knows it


def merger_of(disk: Disk, recorded: list[EventRow], **more: Any) -> Merger:
    store = StoreSettings(path=Path("disk"), merge_interval_s=0.02, **more)
    return Merger(disk, store, recorded.append, finish_s=5.0, limits=HASTY)


@pytest.mark.parametrize("sick", SICK.values(), ids=SICK)
async def test_a_merge_that_fails_for_the_disk_is_tried_again_and_is_no_crash(
    sick: Callable[[], Exception],
) -> None:
    disk = Disk(sick(), sick())
    merger = merger_of(disk, [])
    async with Supervisor("tree", on_event=lambda _: None) as tree:
        await tree.start(ChildSpec("merger", merger.run, on_stop=merger.stop))
        await until(lambda: tree.health("merger").state is State.DEGRADED)
        assert str(sick()) in tree.health("merger").reason
        await until(lambda: merger.last_merge_ns)
        await until(lambda: tree.health("merger").state is State.OK)
        assert tree.health("merger").restarts == 0
    assert disk.finished == 1


async def test_every_alarm_is_shown_as_long_as_it_holds_the_newest_first(autojump_clock: MockClock) -> None:
    disk = Disk()
    merger = merger_of(disk, [])
    context = Reasons("merger")
    merger.stop()  # so that it reports, and ends

    async def after(wait_s: float, *reasons: str) -> Sequence[str]:
        await trio.sleep(wait_s)
        disk.notices.extend(Notice("damaged", reason, alarm=True) for reason in reasons)
        await merger.run(context)
        return context.reasons

    assert await after(0, "first", "second") == ["second", "first"]
    assert await after(ALARM_S / 2, "third") == ["third", "second", "first"]
    assert await after(1, "first") == ["first", "third", "second"]
    assert await after(ALARM_S / 2) == ["first", "third"]
    many = [f"segment {number}" for number in range(2 * ALARMS_MAX)]
    shown = await after(1, *many)
    assert shown == [*reversed(many[-ALARMS_SHOWN_MAX:]), f"and {ALARMS_MAX - ALARMS_SHOWN_MAX} more"]
    assert merger.alarms == many[: ALARMS_MAX - 1 : -1]
    assert await after(2 * ALARM_S) == merger.alarms == []


async def test_a_last_merge_that_fails_leaves_the_tail_and_reports_it() -> None:
    disk = Disk()
    events: list[Event] = []
    merger = merger_of(disk, [])
    async with Supervisor("tree", on_event=events.append) as tree:
        await tree.start(ChildSpec("merger", merger.run, on_stop=merger.stop))
        await until(lambda: merger.last_merge_ns)
        disk.errors = [SICK["full"]() for _ in range(100)]
    assert any(e.event == "merge_failed" and "No space left" in e.reason for e in events)


async def test_a_locked_file_is_reported_and_the_tail_is_compacted_meanwhile() -> None:
    disk = Disk()
    disk.held = True
    merger = merger_of(disk, [])
    async with Supervisor("tree", on_event=lambda _: None) as tree:
        await tree.start(ChildSpec("merger", merger.run, on_stop=merger.stop))
        await until(lambda: disk.compacted >= 2)
        assert (merger.held, merger.held_by_pid, merger.last_merge_ns) == (True, 77, None)
        assert tree.health("merger").state is State.OK  # no fault
        disk.held = False
        await until(lambda: merger.last_merge_ns)
        assert not merger.held


async def test_one_row_that_the_sink_cannot_hold_is_left_out_and_its_batch_is_stored() -> None:
    desk, disk = Desk(), Disk(ArithmeticError("bad price"))
    made = block(4)
    made.price[2] = "bad"
    desk.ledger.account("x").read(1, NS, 4, 0, made)
    async with writing(desk, disk) as (writer, tree):
        await desk.buffer.outbox.put(Batch(1, (made,), audit=desk.ledger.seal([made], NS)))
        await until(lambda: writer.acknowledged == 1)
        assert tree.health("writer").restarts == 0
    assert [batch.ticks for batch in disk.batches] == [3]


async def test_what_is_in_the_outbox_at_a_stop_is_stored_before_the_writer_ends_though_the_sink_is_sick() -> None:
    desk, disk = Desk(), Disk(*(Sick("connection refused") for _ in range(3)))
    async with writing(desk, disk):
        for number in range(1, 6):
            await desk.buffer.outbox.put(Batch(number, (block(2, first=2 * number),)))
    assert [batch.number for batch in disk.batches] == [1, 2, 3, 4, 5]


def test_buffer_writer_and_merger_know_nothing_of_the_store() -> None:
    check = "import sys, actors.sink.buffer, actors.sink.merger, actors.sink.writer; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", check], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "actors.sink.writer" in loaded
    assert not [name for name in loaded if name == "duckdb" or name.startswith("actors.store")]
