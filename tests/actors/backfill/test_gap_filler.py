"""Gaps are filled round after round: what one round did not bring is fetched in the next."""

import time
from collections.abc import Callable
from typing import Any

import duckdb
import pytest
import trio

from actors.backfill.fetcher import FetchResult, Store
from actors.continuity.continuity import Continuity
from actors.continuity.tracker_state import TrackerState
from actors.continuity.twins import COMPOSITE
from actors.exchanges.contract.feed import MS, Market
from actors.exchanges.contract.history import TradeRange
from actors.model.records import GapReason, GapRow, GapStatus
from actors.model.ticks import Block, IdPromise
from supervisor import Context
from tests.harness.backfill_parts import BackfillParts, MadeUpHistory
from tests.harness.continuity_file import new_file, put_tick
from tests.harness.continuity_rows import BTC, SECOND_NS, T0_NS, admit, block_of, newest, tick

ROUND_ROWS = 500  # five of OKX's pages
MISSING = 20_000


class PageResponse(MadeUpHistory):
    """Gives no more than a round's worth of a range at once."""

    async def fetch(self, market: Market, wanted: TradeRange, store: Store, budget: object) -> FetchResult:
        assert wanted.from_id is not None
        assert wanted.to_id is not None
        ids = range(max(wanted.from_id, wanted.to_id + 1 - ROUND_ROWS), wanted.to_id + 1)
        await store(block_of([(market.symbol, str(number), T0_NS) for number in ids], "backfill"))
        left = wanted.to_id + 1 - wanted.from_id - len(ids)
        return FetchResult(count=len(ids), complete=not left, missing=left, final=False)


class PagedByTime(MadeUpHistory):
    """The same where ids say nothing: a trade each millisecond."""

    async def fetch(self, market: Market, wanted: TradeRange, store: Store, budget: object) -> FetchResult:
        assert wanted.from_ns is not None
        assert wanted.to_ns is not None
        times = range(wanted.from_ns, wanted.to_ns + 1, MS)[:ROUND_ROWS]
        await store(block_of([(market.symbol, f"trade-{at}", at) for at in times], "backfill"))
        left = TradeRange(from_ns=times[-1] + MS, to_ns=wanted.to_ns) if times[-1] + MS <= wanted.to_ns else None
        return FetchResult(count=len(times), complete=left is None, remaining=left, final=False)


class Trading(MadeUpHistory):
    """Has a trade a second from `began` on, by trio's clock."""

    def __init__(self, began: float) -> None:
        self.began, self.asked = began, list[TradeRange]()

    async def fetch(self, market: Market, wanted: TradeRange, store: Store, budget: object) -> FetchResult:
        self.asked.append(wanted)
        last = 1 + int(trio.current_time() - self.began)
        await store(block_of([(BTC, str(n), T0_NS + n * 1000 * MS) for n in range(2, last)], "backfill"))
        return FetchResult(count=last, complete=True)


class Interrupted(MadeUpHistory):
    """Has no trade, except those of `trades`. While it answers the first time, `meanwhile` happens."""

    def __init__(self, meanwhile: Callable[[], None], answers: tuple[FetchResult, ...] = ()) -> None:
        self._meanwhile, self.answers = meanwhile, list(answers)
        self.asked: list[TradeRange] = []
        self.trades: list[tuple[str, str, int]] = []

    async def fetch(self, market: Market, wanted: TradeRange, store: Store, budget: object) -> FetchResult:
        assert wanted.from_ns is not None
        assert wanted.to_ns is not None
        self.asked.append(wanted)
        found = [row for row in self.trades if wanted.from_ns <= row[2] <= wanted.to_ns]
        await trio.sleep(8)
        if len(self.asked) == 1:
            self._meanwhile()
        if found:
            await store(block_of(found, "backfill"))
        return self.answers.pop(0) if self.answers else FetchResult(count=len(found), complete=True)


async def until_filled(parts: BackfillParts, continuity: Continuity, history: MadeUpHistory) -> None:
    with trio.fail_after(4 * MISSING / ROUND_ROWS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(parts.worker(history).run, Context("x:backfill"))
            while continuity.unfinished():  # noqa: ASYNC110 - there is no event for it
                await trio.sleep(0.1)
            nursery.cancel_scope.cancel()


async def test_a_long_outage_is_requested_round_after_round_without_growing_waits(
    autojump_clock: trio.testing.MockClock,
) -> None:
    continuity = Continuity("x", {BTC: IdPromise.CONTIGUOUS})
    admit(continuity, [1])
    admit(continuity, [MISSING + 2, MISSING + 3, MISSING + 4], at=1.0)
    tick(continuity, 9.0)
    began = trio.current_time()
    await until_filled(BackfillParts(continuity, BTC), continuity, PageResponse())
    assert trio.current_time() - began >= MISSING / ROUND_ROWS / 2  # other gaps had their turns


async def test_a_long_outage_continues_where_the_last_round_ended_if_ids_do_not_show_what_is_left(
    autojump_clock: trio.testing.MockClock,
) -> None:
    continuity = Continuity("x", {BTC: IdPromise.OPAQUE})
    continuity.connected([BTC], T0_NS)
    continuity.deduplicator.admit(block_of([(BTC, "first", T0_NS - MS)]), 0, None, 0.0)
    continuity.disconnected([BTC], T0_NS)
    continuity.connected([BTC], T0_NS)
    continuity.deduplicator.admit(block_of([(BTC, "last", T0_NS + 5 * ROUND_ROWS * MS)]), 0, None, 1.0)
    parts, asked = BackfillParts(continuity, BTC), list[str | None]()

    class Noting(PagedByTime):
        async def fetch(self, market: Market, wanted: TradeRange, store: Store, budget: object) -> FetchResult:
            async def noted(block: Block) -> None:
                asked.extend(block.trade_id)
                await store(block)

            return await super().fetch(market, wanted, noted, budget)

    await until_filled(parts, continuity, Noting())
    assert len(asked) == len(set(asked)) == 5 * ROUND_ROWS + 2
    sent = await parts.sent()
    assert sorted(str(number) for chunk in sent for number in chunk.block.trade_id) == sorted(map(str, asked))
    assert [gap.status for chunk in sent for gap in chunk.gaps][-1] is GapStatus.FILLED


async def test_what_a_stalled_feed_does_not_bring_is_taken_from_the_history_until_another_takes_over(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = trio.current_time()
    monkeypatch.setattr(time, "time_ns", lambda: T0_NS + int((trio.current_time() - began) * 1e9))
    continuity = Continuity("x", {BTC: IdPromise.CONTIGUOUS})
    continuity.connected([BTC], T0_NS)
    admit(continuity, [1])
    continuity.suspect(BTC, T0_NS, GapReason.STALL)
    history, parts = Trading(began), BackfillParts(continuity, BTC)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(parts.worker(history).run, Context("x:backfill"))
        await trio.sleep(60)
        nursery.cancel_scope.cancel()
    stored, asked = await parts.stored(), history.asked
    assert len(stored) == len(set(stored)) and len(stored) > 45
    assert [gap.status for gap in continuity.unfinished()] == [GapStatus.OPEN]
    assert 5 < len(asked) < 15 and asked[-1].from_ns is not None and asked[-1].from_ns > T0_NS + 30_000 * MS


def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Wall time goes with trio's clock, from T0_NS on."""
    began = trio.current_time()
    monkeypatch.setattr(time, "time_ns", lambda: T0_NS + int((trio.current_time() - began) * 1e9))
    return time.time_ns


async def filled_within(parts: BackfillParts, history: MadeUpHistory, seconds: float) -> list[GapRow]:
    """The newest states of the gaps after so long."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(parts.worker(history).run, Context("x:backfill"))
        await trio.sleep(seconds)
        nursery.cancel_scope.cancel()
    return list(newest(gap for chunk in await parts.sent() for gap in chunk.gaps).values())


def again(continuity: Continuity, session: int) -> None:
    """The connection is lost, and the next one delivers the market."""
    continuity.disconnected([BTC], time.time_ns(), session=session)
    continuity.connected([BTC], time.time_ns(), session + 1)


@pytest.mark.parametrize("promise", [IdPromise.OPAQUE, IdPromise.INCREASING, IdPromise.NONE])
@pytest.mark.parametrize("stalled", [False, True])
async def test_an_outage_does_not_end_before_a_connection_that_came_while_the_history_was_asked(
    promise: IdPromise, stalled: bool, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_ns, continuity = clock(monkeypatch), Continuity("x", {BTC: promise})
    continuity.connected([BTC], T0_NS, 1)
    admit(continuity, [1])
    await trio.sleep(5)

    def missed() -> None:
        history.trades.append((BTC, "2", now_ns()))
        again(continuity, 2)

    history = Interrupted(missed)
    if stalled:  # the connection stays, until another takes over
        continuity.suspect(BTC, now_ns(), GapReason.STALL)
    else:
        again(continuity, 1)
    parts = BackfillParts(continuity, BTC)
    (gap,) = await filled_within(parts, history, 60)
    assert gap.status is GapStatus.FILLED and gap.recovered == 1
    assert gap.to_ns is not None and gap.to_ns > history.trades[0][2]
    assert history.asked[-1].from_ns is not None and history.asked[-1].from_ns <= history.trades[0][2]


async def test_an_outage_whose_older_trades_the_history_lacks_is_not_filled_by_its_newer_ones(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_ns, continuity = clock(monkeypatch), Continuity("x", {BTC: IdPromise.OPAQUE})
    continuity.connected([BTC], T0_NS, 1)
    admit(continuity, [1])
    await trio.sleep(5)
    continuity.suspect(BTC, now_ns(), GapReason.STALL)
    too_old = FetchResult(count=1, complete=False, reason="nothing before that", final=True)
    history = Interrupted(lambda: again(continuity, 2), (too_old,))
    history.trades.append((BTC, "5", now_ns()))
    parts = BackfillParts(continuity, BTC)
    gaps = await filled_within(parts, history, 60)
    assert len(history.asked) > 1
    assert {gap.status for gap in gaps} == {GapStatus.OPEN}
    continuity.deduplicator.admit(block_of([(BTC, "6", now_ns())]), 0, None, 60.0, session=3)
    history.answers = [too_old]
    (gap,) = await filled_within(parts, history, 60)
    assert gap.status is GapStatus.PARTIAL


async def test_a_gap_whose_beginning_is_unknown_is_requested_as_a_whole_once_it_is_known(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process had the file open at the start. An empty answer about a part of the gap must not close it."""
    now_ns, continuity = clock(monkeypatch), Continuity("x", {BTC: IdPromise.OPAQUE})
    newest_stored = TrackerState("x", BTC, "1", T0_NS - 60 * SECOND_NS)
    continuity.go_blind([BTC], T0_NS - SECOND_NS, T0_NS)
    continuity.connected([BTC], T0_NS, 1)
    await trio.sleep(5)
    continuity.deduplicator.admit(block_of([(BTC, "3", now_ns())]), 0, None, 5.0, session=1)
    parts, history = BackfillParts(continuity, BTC), Interrupted(lambda: None)
    history.trades.append((BTC, "2", T0_NS - 30 * SECOND_NS))
    (gap,) = await filled_within(parts, history, 30)
    assert (gap.status, history.asked) == (GapStatus.OPEN, [])
    continuity.restore_late([newest_stored], continuity.blind, now_ns())
    (gap,) = await filled_within(parts, history, 60)
    assert (gap.status, gap.recovered, gap.from_ns) == (GapStatus.FILLED, 1, T0_NS - 60 * SECOND_NS)


@pytest.mark.parametrize("promise", [IdPromise.OPAQUE, IdPromise.INCREASING, IdPromise.REPEATED, IdPromise.NONE])
@pytest.mark.parametrize("late_s", [0, 30])
async def test_stored_trades_that_are_lost_are_fetched_although_they_are_remembered(
    promise: IdPromise, late_s: int, autojump_clock: trio.testing.MockClock
) -> None:
    """A history's times may differ from the stream's where ids identify trades."""
    if promise in COMPOSITE and late_s:
        return
    rows = [(BTC, None if promise is IdPromise.NONE else str(n), T0_NS + n * SECOND_NS) for n in range(1, 300)]
    continuity, file = Continuity("x", {BTC: promise}), new_file()

    async def consult(question: Callable[[duckdb.DuckDBPyConnection], Any]) -> Any:
        return question(file)

    continuity.deduplicator.admit(block_of(rows), 0, None, 0.0)
    for row in rows[:100] + rows[200:]:
        put_tick(file, row[1], row[2])
    from_ns, to_ns = rows[99][2], rows[200][2]
    gap = GapRow(1, "g", "x", BTC, GapReason.VANISHED, 1, from_id=None, from_ns=from_ns, to_ns=to_ns, missing=100)
    assert continuity.vanished(gap)
    again = [(symbol, trade_id, at_ns + late_s * SECOND_NS) for symbol, trade_id, at_ns in rows[98:202]]

    class Whole(MadeUpHistory):
        async def fetch(self, market: Market, wanted: TradeRange, store: Store, budget: object) -> FetchResult:
            await store(block_of(again, "backfill"))
            return FetchResult(count=len(again), complete=True)

    parts = BackfillParts(continuity, BTC, consult=consult)
    await until_filled(parts, continuity, Whole())
    sent = await parts.sent()
    assert [made for chunk in sent for made in chunk.block.exchange_ns] == [row[2] for row in again[2:102]]
    assert [(gap.status, gap.recovered) for chunk in sent for gap in chunk.gaps][-1] == (GapStatus.FILLED, 100)
