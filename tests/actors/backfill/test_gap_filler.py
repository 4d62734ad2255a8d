"""The recovery of an exchange comes back to what one round did not bring."""

import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any

import duckdb
import pytest
import trio

from actors.backfill.fetcher import Budget, Recovered
from actors.backfill.gap_filler import GapFiller
from actors.backfill.rate_limiter import RateLimiters
from actors.backfill.repairs import Repairs
from actors.backfill.stored_trades import DatabaseLocked, StoredTrades
from actors.continuity.continuity import Continuity
from actors.exchanges.contract.feed import MS, Market
from actors.exchanges.contract.history import TradeRange
from actors.feed.gap_reporter import GapReporter
from actors.feed.peer_activity import PeerActivity
from actors.model.chunk import Chunk
from actors.model.records import GapReason, GapStatus
from actors.model.symbols import parse_symbol
from actors.model.ticks import Block, IdPromise
from actors.settings import ExchangeSettings
from actors.surroundings import SharedServices
from actors.telemetry.ledger import Account
from supervisor import Context, Mailbox
from tests.harness.continuity_rows import BTC, T0_NS, admit, block_of, tick
from tests.harness.exchange_values import dialect_of

ROUND_ROWS = 500  # five of OKX's pages
MISSING = 20_000


class Paged:
    """A history that gives no more than a round's worth of a stretch at once."""

    def __init__(self, deliver: Callable[[Block], Awaitable[None]]) -> None:
        self._deliver = deliver

    async def recover(self, market: Market, stretch: TradeRange) -> Recovered:
        assert stretch.from_id is not None
        assert stretch.to_id is not None
        ids = range(max(stretch.from_id, stretch.to_id + 1 - ROUND_ROWS), stretch.to_id + 1)
        await self._deliver(block_of([(market.symbol, str(number), T0_NS) for number in ids], "backfill"))
        left = stretch.to_id + 1 - stretch.from_id - len(ids)
        return Recovered(count=len(ids), complete=not left, missing=left, final=False)


class PagedRecovery(GapFiller):
    def rest(self) -> AbstractAsyncContextManager[Any]:  # type: ignore[override]
        return nullcontext()

    def backfill(self, rest: Any, deliver: Any, budget: Budget | None = None) -> Any:
        return Paged(deliver)


def recovering(
    kind: type[GapFiller], continuity: Continuity, deliver: Callable[[Block], Awaitable[int]]
) -> GapFiller:
    async def no_past(*_: object) -> None: ...

    async def consult(question: object) -> None: ...

    async def mend(block: Block, decide: object) -> int:
        return 0

    async def settle() -> None: ...

    settings = ExchangeSettings(name="x", dialect="okx", symbols=(BTC,))
    market = dialect_of("okx").market(parse_symbol(BTC), "trades")
    mender = Repairs(continuity, StoredTrades("x", consult, settle), mend)
    return kind(settings, "trades", lambda: {BTC: market}, continuity, RateLimiters(), deliver, mender)


async def until_filled(
    kind: type[GapFiller], continuity: Continuity, deliver: Callable[[Block], Awaitable[int]]
) -> None:
    recovery = recovering(kind, continuity, deliver)
    with trio.fail_after(4 * MISSING / ROUND_ROWS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(recovery.fetch, Context("x:backfill"))
            while continuity.unfinished():  # noqa: ASYNC110 - nobody tells when
                await trio.sleep(0.1)
            nursery.cancel_scope.cancel()


async def test_a_long_outage_is_asked_for_round_after_round_without_growing_waits(
    autojump_clock: trio.testing.MockClock,
) -> None:
    continuity = Continuity("x", {BTC: IdPromise.CONTIGUOUS})
    admit(continuity, [1])
    admit(continuity, [MISSING + 2, MISSING + 3, MISSING + 4], at=1.0)
    tick(continuity, 9.0)

    async def deliver(block: Block) -> int:
        continuity.deduplicator.admit(block, 0, None, 10.0)
        return len(block)

    began = trio.current_time()
    await until_filled(PagedRecovery, continuity, deliver)
    assert trio.current_time() - began >= MISSING / ROUND_ROWS / 2  # other gaps had their turns


class PagedByTime(Paged):
    """The same where ids tell nothing: a trade each millisecond."""

    async def recover(self, market: Market, stretch: TradeRange) -> Recovered:
        assert stretch.from_ns is not None
        assert stretch.to_ns is not None
        times = range(stretch.from_ns, stretch.to_ns + 1, MS)[:ROUND_ROWS]
        await self._deliver(block_of([(market.symbol, f"trade-{at}", at) for at in times], "backfill"))
        left = TradeRange(from_ns=times[-1] + MS, to_ns=stretch.to_ns) if times[-1] + MS <= stretch.to_ns else None
        return Recovered(count=len(times), complete=left is None, remaining=left, final=False)


async def test_a_long_outage_goes_on_where_the_last_round_ended_if_ids_do_not_tell_what_is_left(
    autojump_clock: trio.testing.MockClock,
) -> None:
    continuity = Continuity("x", {BTC: IdPromise.OPAQUE})
    continuity.connected([BTC], T0_NS)
    continuity.deduplicator.admit(block_of([(BTC, "first", T0_NS - MS)]), 0, None, 0.0)
    continuity.disconnected([BTC], T0_NS)
    continuity.deduplicator.admit(block_of([(BTC, "last", T0_NS + 5 * ROUND_ROWS * MS)]), 0, None, 1.0)
    came: list[str | None] = []

    async def deliver(block: Block) -> int:
        continuity.deduplicator.admit(block, 0, None, 10.0)
        came.extend(block.trade_id)
        return len(block)

    class Recovering(PagedRecovery):
        def backfill(self, rest: Any, deliver: Any, budget: Budget | None = None) -> Any:
            return PagedByTime(deliver)

    await until_filled(Recovering, continuity, deliver)
    assert len(came) == len(set(came)) == 5 * ROUND_ROWS + 2
    assert [gap.status for gap in continuity.take_gaps()][-1] is GapStatus.FILLED


async def test_what_a_stalled_feed_does_not_bring_is_taken_from_the_history_until_another_takes_over(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = trio.current_time()
    monkeypatch.setattr(time, "time_ns", lambda: T0_NS + int((trio.current_time() - began) * 1e9))
    continuity = Continuity("x", {BTC: IdPromise.CONTIGUOUS})
    continuity.connected([BTC], T0_NS)
    admit(continuity, [1])
    continuity.suspect(BTC, T0_NS, GapReason.STALL)
    asked: list[TradeRange] = []

    class Trading(Paged):
        async def recover(self, market: Market, stretch: TradeRange) -> Recovered:
            asked.append(stretch)
            last = 1 + int(trio.current_time() - began)  # a trade a second
            await self._deliver(
                block_of([(BTC, str(n), T0_NS + n * 1000 * MS) for n in range(2, last)], "backfill")
            )
            return Recovered(count=last, complete=True)

    class Recovering(PagedRecovery):
        def backfill(self, rest: Any, deliver: Any, budget: Budget | None = None) -> Any:
            return Trading(deliver)

    stored: list[str | None] = []

    async def deliver(block: Block) -> int:
        continuity.deduplicator.admit(block, 0, None, trio.current_time())
        stored.extend(block.trade_id)
        return len(block)

    recovery = recovering(Recovering, continuity, deliver)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(recovery.fetch, Context("x:backfill"))
        await trio.sleep(60)
        nursery.cancel_scope.cancel()
    assert len(stored) == len(set(stored)) and len(stored) > 45
    assert [gap.status for gap in continuity.unfinished()] == [GapStatus.OPEN]
    assert 5 < len(asked) < 15 and asked[-1].from_ns is not None and asked[-1].from_ns > T0_NS + 30_000 * MS


async def test_ids_that_memory_has_forgotten_are_looked_up_before_they_are_stored_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    swap = "BTC/USDT:USDT"
    stored = [str(uuid.UUID(int=number)) for number in range(3)]
    held = [True]
    chunks: list[Chunk] = []
    intake: Mailbox[Chunk] = Mailbox(100_000, weigh=lambda p: p.rows, on_dead_letter=lambda _p, _e: None)

    async def nothing() -> None: ...

    async def no_past(*_: object) -> None: ...

    async def consult(question: Callable[[duckdb.DuckDBPyConnection], Any]) -> Any:
        if held.pop() if held else False:
            return None
        with duckdb.connect() as con:
            con.execute(
                "CREATE TABLE ticks (exchange TEXT, symbol TEXT, trade_id TEXT, fills BIGINT,"
                " timestamp TIMESTAMPTZ, received_at TIMESTAMPTZ)"
            )
            con.execute(
                "INSERT INTO ticks SELECT 'x', ?, unnest(?), 1, make_timestamptz(?), now()",
                [swap, stored, T0_NS // 1000],
            )
            return question(con)

    continuity = Continuity("x", {swap: IdPromise.OPAQUE})
    account = Account()
    surroundings = SharedServices(RateLimiters(), PeerActivity(), consult, nothing, no_past)
    settings = ExchangeSettings(name="x", dialect="bybit", symbols=(swap,))
    repair = GapReporter(settings, "trade", dict, continuity, account, intake, nothing, surroundings)
    assert repair.recovery is not None
    deliver = repair.recovery._deliver
    fresh = [str(uuid.UUID(int=number)) for number in range(3, 6)]

    def page() -> Block:
        return block_of([(swap, one, T0_NS) for one in stored + fresh], "backfill")

    with pytest.raises(DatabaseLocked):
        await deliver(page())
    assert (account.received, intake.statistics().depth) == (0, 0)
    assert await deliver(page()) == 3
    assert await deliver(page()) == 0
    async with intake.receive() as chunk:
        chunks.append(chunk)
    assert chunks[0].block.trade_id == fresh and account.duplicates == 3 + 6
