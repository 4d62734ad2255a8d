"""Gaps reach the store in one batch with the trades that were admitted before, whatever else waits."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.continuity.continuity import Continuity
from actors.feed.gap_reporter import GapReporter
from actors.model.chunk import Chunk
from actors.model.records import GapStatus
from actors.model.ticks import Block, IdPromise
from supervisor import Context, Mailbox
from tests.harness.backfill_parts import locked
from tests.harness.buffering import NS, Desk, block, buffering

SYMBOL = "BTC/USDT:USDT"
DOWN_NS = NS + 10**9


class Reporting(Desk):
    """A buffer, and a reporter that puts what it sends into a mailbox that is full."""

    def __init__(self) -> None:
        super().__init__()
        self.continuity = Continuity("x", {SYMBOL: IdPromise.NONE})
        full: Mailbox[Chunk] = Mailbox(1, on_dead_letter=lambda _c, _e: None)
        full.put_nowait(Chunk(block(1)))
        account = self.ledger.account("x")
        self.reporter = GapReporter("x", {}, self.continuity, account, full, locked, self.buffer.expect)
        self.continuity.connected([SYMBOL], NS, 1)


@asynccontextmanager
async def reporting() -> AsyncIterator[Reporting]:
    desk = Reporting()
    async with buffering(desk):
        yield desk


async def test_a_gap_is_in_the_batch_of_the_trades_that_follow_it(autojump_clock: MockClock) -> None:
    """Another connection may deliver them at once."""
    async with reporting() as desk, trio.open_nursery() as nursery:
        nursery.start_soon(desk.reporter.send, Chunk(block(3)))
        await wait_all_tasks_blocked()
        desk.continuity.disconnected([SYMBOL], DOWN_NS, session=1)
        await desk.give(2)
        batch = await desk.batch()
        assert batch.ticks == 2
        assert [(gap.symbol, gap.status, gap.from_ns) for gap in batch.gaps] == [(SYMBOL, GapStatus.OPEN, NS)]
        nursery.cancel_scope.cancel()


async def test_a_gap_is_not_filled_in_a_batch_before_the_one_with_its_trades(autojump_clock: MockClock) -> None:
    """They come from the history, and the worker that fetched them is cancelled while it waits for room."""
    async with reporting() as desk:
        desk.continuity.disconnected([SYMBOL], DOWN_NS, session=1)
        (gap,) = desk.continuity.unfinished()
        await desk.batch()
        made = block(3)
        desk.ledger.account("x").recovered(3, 0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(desk.reporter.send, Chunk(made))
            await wait_all_tasks_blocked()
            desk.buffer.flush()
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        batch = await desk.batch()
        assert batch.blocks == (made,)
        desk.continuity.resolved(gap.gap_id, 3, GapStatus.FILLED, DOWN_NS)
        batch = await desk.batch()
        assert [(one.status, one.recovered) for one in batch.gaps] == [(GapStatus.FILLED, 3)]


async def test_of_two_that_wait_for_room_each_gets_its_rows_in(autojump_clock: MockClock) -> None:
    made, room = [block(1, first=number) for number in range(3)], Mailbox[Chunk](1, on_dead_letter=lambda *_: None)
    continuity = Continuity("x", {SYMBOL: IdPromise.NONE})
    reporter = GapReporter("x", {}, continuity, Desk().ledger.account("x"), room, locked, lambda _: None)
    async with trio.open_nursery() as nursery:
        for one in made:
            nursery.start_soon(reporter.send, Chunk(one))
            await wait_all_tasks_blocked()
        for one in made:
            async with room.receive() as chunk:
                assert chunk.block == one
    assert reporter.rests() == []


@pytest.mark.parametrize("history", [True, False])
async def test_without_a_history_a_gap_is_lost_once_nothing_can_be_sent_again(
    history: bool, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead_s = 0.0
    monkeypatch.setattr(time, "time_ns", lambda: DOWN_NS + round((trio.current_time() + ahead_s) * 1e9))
    continuity = Continuity("x", {SYMBOL: IdPromise.OPAQUE})
    account, room = Desk().ledger.account("x"), Mailbox[Chunk](1, on_dead_letter=lambda *_: None)
    reporter = GapReporter("x", {}, continuity, account, room, locked, lambda _: None, history=history)

    def admit(trade_id: str, session: int) -> None:
        made = Block("x")
        made.extend([SYMBOL], [time.time_ns()], [time.time_ns()], ["1"], ["1"], ["buy"], [trade_id], ["stream"])
        continuity.deduplicator.admit(made, 0, None, trio.current_time(), session=session)

    def gap() -> tuple[GapStatus, str | None]:
        ends = [(gap.status, gap.to_id) for chunk in reporter.collect() for gap in chunk.gaps]
        return ends[-1]

    async with trio.open_nursery() as nursery:
        nursery.start_soon(reporter.run, Context("x:gaps"))
        continuity.connected([SYMBOL], DOWN_NS, 1)
        admit("1", 1)
        continuity.disconnected([SYMBOL], DOWN_NS, session=1)
        await trio.sleep(60.0)
        assert gap() == (GapStatus.OPEN, None), "its end is not known yet"
        continuity.connected([SYMBOL], time.time_ns(), 2)
        admit("9", 2)
        await trio.sleep(1.0)
        ahead_s = 3600.0  # this host's clock is set
        await trio.sleep(4.0)
        assert gap() == (GapStatus.OPEN, "9"), "old trades may still be sent again"
        await trio.sleep(10.0)
        assert not history or reporter.collect() == []
        assert history or gap() == (GapStatus.LOST, "9")
        nursery.cancel_scope.cancel()
