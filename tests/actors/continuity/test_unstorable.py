"""Trades that were read and could not be stored are listed as missing, and requested again within bounds."""

import itertools
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from actors.continuity.continuity import Continuity
from actors.continuity.row import Row, Verdict
from actors.continuity.unstorable import AGAIN_NS, UnstorableTrades
from actors.model.batch import Batch
from actors.model.chunk import Chunk
from actors.model.records import GapReason, GapRow, GapStatus
from actors.model.ticks import Block, IdPromise, Reason
from actors.pipeline import Parts
from actors.settings import StoreSettings
from actors.sink.buffer import Buffer
from actors.sink.writer import Writer
from actors.store.store import Store
from actors.telemetry.ledger import Ledger
from supervisor import Context, Mailbox
from tests.harness.buffering import NS, SETTINGS, block
from tests.harness.continuity_rows import BTC, ETH, SECOND_NS, T0_NS, block_of, newest
from tests.harness.exchange_server import (
    Client,
    Server,
    check_audit,
    pipeline_of,
    query,
    recording,
    serving,
    table,
    trade,
    until,
)


class World:
    """One exchange, its buffer, and a writer that can be told to crash; `stored` is what is durable."""

    follows = True

    def __init__(self, promise: IdPromise) -> None:
        self.ledger, self.refused, numbers = Ledger("run"), UnstorableTrades(), itertools.count(1)
        self.continuity = Continuity("x", {BTC: promise})
        self.buffer = Buffer(SETTINGS, self.ledger, lambda: next(numbers), on_refused=self._report)
        self.continuity.report_news(lambda: self.buffer.expect(self))
        self.batches: list[Batch] = []

    def _report(self, blocks: Sequence[Block]) -> None:
        for gap in self.refused.gaps(blocks, T0_NS):
            assert self.continuity.vanished(gap)

    def prepare(self) -> None:
        """As a reporter of gaps."""

    def collect(self) -> list[Chunk]:
        return [Chunk(Block("x"), gaps=tuple(self.continuity.take_gaps()))]

    def read(self, *ids: int, source: str = "stream") -> Block:
        made = block_of([(BTC, str(number), T0_NS + number * SECOND_NS) for number in ids], source)
        copies = self.continuity.deduplicator.admit(made, 0, None, 0.0)
        self.ledger.account("x").recovered(len(ids), copies)
        return made

    async def put(self, *ids: int, source: str = "stream") -> None:
        await self.buffer.intake.put(Chunk(self.read(*ids, source=source)))

    async def write(self, *, crash: bool = False) -> None:
        """The next batch is stored, or crashes the writer three times."""
        for _ in range(3 if crash else 1):
            with suppress(ArithmeticError):
                async with self.buffer.outbox.receive() as batch:
                    self._store(batch, crash)

    def _store(self, batch: Batch, crash: bool) -> None:
        if crash:
            raise ArithmeticError("ours")
        self.batches.append(batch)
        self.ledger.stored(batch)

    @property
    def stored(self) -> list[str | None]:
        return [trade_id for batch in self.batches for made in batch.blocks for trade_id in made.trade_id]

    @property
    def gaps(self) -> list[tuple[str, str | None, str | None, int | None, str]]:
        rows = newest(gap for batch in self.batches for gap in batch.gaps).values()
        return [(gap.reason.value, gap.from_id, gap.to_id, gap.missing, gap.status.value) for gap in rows]

    def balanced(self) -> bool:
        account = self.ledger.account("x")
        return account.balanced and not account.in_flight and account.sealed == account.stored == len(self.stored)


async def test_trades_of_a_batch_that_crashed_the_writer_are_missing_again_though_they_had_filled_a_gap(
    autojump_clock: MockClock,
) -> None:
    world = World(IdPromise.CONTIGUOUS)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.buffer.run, Context("buffer"))
        await world.put(1, 2, 5)
        world.continuity.tick(10.0, T0_NS + 10 * SECOND_NS)
        await world.write()
        await world.put(3, 4, source="backfill")
        await world.write(crash=True)
        await world.write()
        assert world.gaps == [("sequence", "2", "5", 2, "filled"), ("vanished", "2", "5", 2, "open")]
        (gap,) = world.continuity.unfinished()
        assert world.continuity.missing_ids(gap.gap_id) == [(3, 4)]
        await world.put(3, 4, source="backfill")  # as the history returns them again
        await world.write()
        nursery.cancel_scope.cancel()
    assert sorted(map(str, world.stored)) == ["1", "2", "3", "4", "5"]
    assert [status for *_, status in world.gaps] == ["filled", "filled"] and world.balanced()
    assert world.ledger.account("x").rejected == 2


async def test_trades_that_crash_the_writer_again_are_lost_and_not_requested_for_ever(
    autojump_clock: MockClock,
) -> None:
    world = World(IdPromise.CONTIGUOUS)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.buffer.run, Context("buffer"))
        await world.put(1, 2, 3)
        await world.write(crash=True)
        await world.write()
        assert world.gaps == [("vanished", "0", "4", 3, "open")]
        await world.put(1, 2, 3, source="backfill")
        await world.write(crash=True)
        await world.write()
        nursery.cancel_scope.cancel()
    assert not world.continuity.unfinished() and not world.stored
    assert world.gaps[-1] == ("vanished", "0", "4", 3, "lost") and world.balanced()
    assert world.ledger.account("x").rejected == 6


async def test_trades_of_a_chunk_that_crashed_the_buffer_are_missing(autojump_clock: MockClock) -> None:
    class Watcher:
        waiting = False
        crashes = 0

        def show(self, blocks: Sequence[Block]) -> None:
            if any("7" in made.trade_id for made in blocks):
                self.crashes += 1
                raise ArithmeticError("ours")

        def end(self) -> None:
            pass

    world, watcher = World(IdPromise.CONTIGUOUS), Watcher()
    world.buffer.watchers.add(watcher)
    await world.put(5, 6)
    await world.put(7, 8)
    async with trio.open_nursery() as nursery:

        async def run() -> None:
            while True:
                with suppress(ArithmeticError):
                    await world.buffer.run(Context("buffer"))

        nursery.start_soon(run)
        await world.write()
        nursery.cancel_scope.cancel()
    assert watcher.crashes >= 3
    assert world.stored == ["5", "6"] and world.gaps == [("vanished", "6", "9", 2, "open")] and world.balanced()


async def test_what_is_refused_during_the_stop_is_listed_in_the_last_batch(autojump_clock: MockClock) -> None:
    world = World(IdPromise.OPAQUE)
    await world.put(1, 2)
    world.buffer.intake.close()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.buffer.run, Context("buffer"))
        await world.write(crash=True)
        await world.write()
    assert [(reason, missing, status) for reason, _, _, missing, status in world.gaps] == [("vanished", 2, "open")]
    assert [reject.reason for batch in world.batches for reject in batch.rejects] == [Reason.CRASHED]
    assert world.balanced()


@pytest.mark.parametrize(("column", "value"), [("trade_id", "\ud800"), ("price", "x"), ("fills", "many")])
async def test_a_trade_that_the_store_cannot_hold_is_reported_missing(
    tmp_path: Path, column: str, value: object
) -> None:
    store, ledger, refused = Store(StoreSettings(path=tmp_path / "ticks.duckdb")), Ledger("run"), UnstorableTrades()
    store.start()
    made, gaps = block(9, first=1), list[GapRow]()
    getattr(made, column)[4] = value
    ledger.account("x").read(1, NS, 9, 0, made)
    inbox: Mailbox[Batch] = Mailbox(10, on_dead_letter=lambda _batch, _error: None)
    await inbox.put(Batch(store.next_number(), (made,), audit=ledger.seal([made], NS)))
    inbox.close()
    writer = Writer(store, ledger, inbox, on_refused=lambda blocks: gaps.extend(refused.gaps(blocks, NS)))
    await writer.run(Context("writer"))
    (gap,) = gaps
    ends = (None, None) if column == "trade_id" else ("4", "6")
    assert (gap.exchange, gap.symbol, gap.from_id, gap.to_id, gap.missing) == ("x", "A/B", *ends, 1)
    assert gap.status is GapStatus.OPEN and ledger.account("x").balanced
    store.close()


def rows(symbol: str, *ids: int, source: str = "stream") -> Block:
    return block_of([(symbol, str(number), T0_NS + number * SECOND_NS) for number in ids], source)


def test_live_and_fetched_trades_of_a_market_have_a_gap_each() -> None:
    blocks = [rows(BTC, 900, 901), rows(ETH, 7), rows(BTC, 5, 6, source="backfill"), rows(BTC, 902)]
    gaps = UnstorableTrades().gaps(blocks, T0_NS)
    assert [(gap.symbol, gap.from_id, gap.to_id, gap.missing) for gap in gaps] == [
        (BTC, "899", "903", 3),
        (ETH, "6", "8", 1),
        (BTC, "4", "7", 2),
    ]
    assert [(gap.from_ns, gap.to_ns) for gap in gaps[1:2]] == [(T0_NS + 7 * SECOND_NS,) * 2]
    assert len({gap.gap_id for gap in gaps}) == 3 and {gap.reason for gap in gaps} == {GapReason.VANISHED}


def test_fetched_trades_are_requested_again_unless_their_market_was_refused_within_the_hour() -> None:
    refused = UnstorableTrades()

    def status(block: Block, at_ns: int) -> GapStatus:
        (gap,) = refused.gaps([block], at_ns)
        assert (gap.closed_ns is None) is (gap.status is GapStatus.OPEN)
        return gap.status

    assert status(rows(BTC, 5, source="backfill"), T0_NS) is GapStatus.OPEN
    assert status(rows(BTC, 5, source="backfill"), T0_NS + 1) is GapStatus.LOST
    assert status(rows(ETH, 5, source="backfill"), T0_NS + 1) is GapStatus.OPEN
    assert status(rows(BTC, 6), T0_NS + 1) is GapStatus.OPEN  # a live one never was
    assert status(rows(BTC, 6, source="backfill"), T0_NS + 1 + AGAIN_NS) is GapStatus.OPEN


@pytest.mark.parametrize("again", [False, True], ids=["live", "fetched"])
@pytest.mark.parametrize("promise", list(IdPromise))
def test_rows_whose_admission_crashes_halfway_are_listed_as_missing(
    promise: IdPromise, again: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those before the crash count as stored by then, and are dropped with the others."""
    continuity = Continuity("x", {BTC: promise})
    deduplicator = continuity.deduplicator
    deduplicator.admit(rows(BTC, 1, 2), 0, None, 0.0)
    snapshot = deduplicator.snapshot(BTC)
    tracker = deduplicator.trackers[BTC]
    whole = tracker.admit

    def admit(row: Row) -> Verdict:
        verdict = whole(row)
        if row.trade_id == "9":
            raise ZeroDivisionError("ours")
        return verdict

    monkeypatch.setattr(tracker, "admit", admit)
    read = rows(BTC, 3, 4, 9, source="snapshot")
    crashing = (
        partial(deduplicator.admit_again, read, snapshot, (), 0.0)
        if again
        else partial(deduplicator.admit, read, 0, None, 0.0)
    )
    with pytest.raises(ZeroDivisionError):
        crashing()
    (gap,) = (gap for gap in continuity.unfinished() if gap.reason is GapReason.VANISHED)
    assert (gap.from_ns, gap.to_ns) == (T0_NS + 3 * SECOND_NS, T0_NS + 9 * SECOND_NS)
    if promise is IdPromise.CONTIGUOUS:
        assert {first for first, _ in continuity.missing_ids(gap.gap_id)} >= {3}


async def test_a_running_service_lists_what_its_writer_could_not_store(tmp_path: Path) -> None:
    class Crashing(Store):
        crashes = 0

        def write(self, batch: Batch) -> None:
            if batch.blocks and self.crashes < 3:
                self.crashes += 1
                raise ArithmeticError("ours")
            super().write(batch)

    async def script(client: Client) -> None:
        await client.accept()
        await client.ask()
        await client.send(*(trade("bybit", "BTCUSDT", number) for number in range(3)))
        await until(lambda: pipeline.ledger.account("bybit").rejected)
        await client.send(*(trade("bybit", "BTCUSDT", number) for number in range(3, 6)))
        await client.gone()

    server = Server(script)
    async with serving(server):
        tables = table("bybit", "bybit", ["BTC/USDT"], server.url)
        pipeline = pipeline_of(tmp_path, tables, parts=Parts(store=Crashing))
        async with recording(pipeline):
            await until(lambda: pipeline.ledger.account("bybit").stored)
    account = pipeline.ledger.account("bybit")
    assert (account.received, account.stored, account.rejected, account.in_flight) == (6, 3, 3, 0)
    assert query(tmp_path, "SELECT symbol, missing, status FROM gaps WHERE reason = 'vanished'") == [
        ("BTC/USDT", 3, "open")
    ]
    assert query(tmp_path, "SELECT exchange, reason FROM rejects") == [("bybit", "crashed")]
    check_audit(tmp_path)
