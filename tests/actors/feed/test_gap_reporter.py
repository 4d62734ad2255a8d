"""Gaps reach the store together with the trades that follow them, whatever else waits."""

from typing import Any, NoReturn

import pytest
import trio
from trio.testing import MockClock

from actors.continuity.continuity import Continuity
from actors.exchanges.registry import EXCHANGES
from actors.feed.connection_pool import DEFAULT_POOL_LIMITS, ConnectionPool
from actors.feed.gap_reporter import GapReporter
from actors.model.chunk import Chunk
from actors.model.records import GapStatus
from actors.model.symbols import parse_symbol
from actors.model.ticks import IdPromise
from actors.recorder import feed_settings
from actors.settings import ExchangeSettings
from supervisor import Mailbox
from tests.harness.backfill_parts import locked
from tests.harness.buffering import NS, Desk, block, buffering

SYMBOL = "BTC/USDT:USDT"


def no_connection(_plan: Any) -> NoReturn:
    raise AssertionError("this exchange has no connections")


@pytest.mark.parametrize("gathered", [False, True])
async def test_a_gap_is_in_the_batch_of_the_trades_that_follow_it_before_it_is_reported(
    autojump_clock: MockClock, gathered: bool
) -> None:
    """The report waits, as it does behind a full intake, and another connection delivers the next trades."""
    phemex = EXCHANGES["phemex"]
    settings = ExchangeSettings(name="x", dialect="phemex", symbols=(SYMBOL,))
    market = phemex.feed.market(parse_symbol(SYMBOL), phemex.feed.channels[0])
    continuity = Continuity("x", {SYMBOL: IdPromise.NONE})
    full: Mailbox[Chunk] = Mailbox(1, on_dead_letter=lambda _c, _e: None)
    full.put_nowait(Chunk(block(1)))
    async with buffering(Desk()) as desk, trio.open_nursery() as nursery:
        pool = ConnectionPool(feed_settings(settings, phemex), phemex.feed, no_connection, [], DEFAULT_POOL_LIMITS)
        account = desk.ledger.account("x")
        reporter = GapReporter("x", {SYMBOL: market}, continuity, account, full, pool, locked, desk.buffer.expect)
        continuity.connected([SYMBOL], NS, 1)
        nursery.start_soon(reporter.report)
        await trio.testing.wait_all_tasks_blocked()
        continuity.disconnected([SYMBOL], NS + 10**9, session=1)
        if gathered:
            nursery.start_soon(reporter.report)
            await trio.testing.wait_all_tasks_blocked()
        await desk.give(2)
        batch = await desk.batch()
        assert batch.ticks == 2
        assert [(gap.symbol, gap.status, gap.from_ns) for gap in batch.gaps] == [
            (SYMBOL, GapStatus.OPEN, NS + 10**9)
        ]
        nursery.cancel_scope.cancel()
