"""A market that was recorded and has never traded: what it trades while nobody records it is missing too."""

import time
from collections.abc import Callable

import pytest
import trio
import trio.testing

from actors.backfill.fetcher import FetchResult, Store
from actors.continuity.continuity import Continuity
from actors.continuity.restore import read_states
from actors.exchanges.contract.feed import Market
from actors.exchanges.contract.history import TradeRange
from actors.model.records import FeedEvent, FeedRow, GapReason, GapRow, GapStatus
from actors.model.ticks import IdPromise
from supervisor import Context
from tests.harness.backfill_parts import BackfillParts, MadeUpHistory
from tests.harness.continuity_file import new_file, put_feeds, put_gaps, put_tick
from tests.harness.continuity_rows import BTC, ETH, SECOND_NS, T0_NS, admit, block_of, newest, one, tick

LOST_NS = T0_NS + 3_600 * SECOND_NS  # a trade that was received and not flushed when the service was killed
NOW_NS = T0_NS + 4_000 * SECOND_NS
NEXT_NS = T0_NS + 4_100 * SECOND_NS

each_promise = pytest.mark.parametrize("promise", list(IdPromise))


def fed(event: FeedEvent, at_s: float, run_id: str = "r1", symbol: str = BTC) -> FeedRow:
    return FeedRow(T0_NS + round(at_s * SECOND_NS), "x", symbol, event, run_id=run_id)


KILLED = (fed(FeedEvent.STARTED, 0),)
STOPPED = (*KILLED, fed(FeedEvent.STOPPED, 3_600))


def restarted(
    promise: IdPromise, *feeds: FeedRow, gaps: tuple[GapRow, ...] = (), delivered: bool = False
) -> Continuity:
    """Restored from a file with these rows and no trade of BTC, and delivered again."""
    con = new_file()
    put_feeds(con, feeds)
    put_gaps(con, gaps)
    put_tick(con, "5", T0_NS, symbol=ETH)
    continuity = one(promise)
    states = read_states(con, {"x": {BTC: promise}})["x"]
    continuity.restore(states, NOW_NS, delivered=[BTC] if delivered else [])
    continuity.connected([BTC], NOW_NS + SECOND_NS)
    tick(continuity, 4_001.0)
    return continuity


@each_promise
@pytest.mark.parametrize("feeds", [KILLED, STOPPED])
def test_a_restart_opens_a_gap_from_the_start_of_its_recording_to_its_first_trade(
    promise: IdPromise, feeds: tuple[FeedRow, ...]
) -> None:
    continuity = restarted(promise, *feeds)
    (gap,) = continuity.unfinished()
    assert (gap.reason, gap.from_id, gap.from_ns, gap.bounded) == (GapReason.DOWNTIME, None, T0_NS, False)
    assert admit(continuity, [8], at=4_100.0) == ["8"]
    (gap,) = newest(continuity.take_gaps()).values()
    assert (gap.status, gap.to_id, gap.to_ns, gap.missing) == (GapStatus.OPEN, "8", NEXT_NS, None)
    assert gap.spans("7", LOST_NS)


@each_promise
def test_what_was_never_recorded_has_no_gap(promise: IdPromise) -> None:
    assert restarted(promise).unfinished() == []
    assert restarted(promise, fed(FeedEvent.STARTED, 0, symbol=ETH)).unfinished() == []


def test_nothing_is_missing_if_its_connection_has_delivered_all_the_time() -> None:
    assert restarted(IdPromise.OPAQUE, *KILLED, delivered=True).unfinished() == []


def test_a_gap_goes_on_over_restarts_and_the_next_one_begins_with_the_last_recording() -> None:
    (gap,) = restarted(IdPromise.OPAQUE, *KILLED).unfinished()
    feeds = (*KILLED, fed(FeedEvent.STARTED, 1_000, "r2"))
    again = restarted(IdPromise.OPAQUE, *feeds, gaps=(gap,))
    assert [(row.gap_id, row.from_ns) for row in again.unfinished()] == [(gap.gap_id, T0_NS)]
    again.ended(gap.gap_id, T0_NS + 1_500 * SECOND_NS, 0, NOW_NS)
    filled = newest(again.take_gaps())[gap.gap_id]
    assert filled.status is GapStatus.FILLED
    (later,) = restarted(IdPromise.OPAQUE, *feeds, gaps=(filled,)).unfinished()
    assert later.from_ns == T0_NS + 1_000 * SECOND_NS


def test_a_market_that_was_removed_and_is_wanted_again_has_a_gap_from_the_start_of_its_recording() -> None:
    continuity = one(IdPromise.OPAQUE)
    continuity.wanted_again([BTC], T0_NS)  # it has not been recorded yet
    assert continuity.unfinished() == []
    continuity.connected([BTC], T0_NS)
    continuity.dropped([BTC], LOST_NS)
    continuity.wanted_again([BTC], NOW_NS)
    (gap,) = continuity.unfinished()
    assert (gap.reason, gap.from_ns) == (GapReason.DOWNTIME, T0_NS)


def test_a_market_that_the_exchange_did_not_list_was_not_recorded_before() -> None:
    continuity = one(IdPromise.OPAQUE)
    continuity.connected([BTC], T0_NS)
    continuity.absent(BTC, T0_NS + 60 * SECOND_NS)
    continuity.dropped([BTC], LOST_NS)
    continuity.wanted_again([BTC], NOW_NS)
    assert continuity.unfinished() == []


# -- while another process has the file open ---------------------------------------------------------


def late(promise: IdPromise, *feeds: FeedRow, trade: int | None) -> Continuity:
    """The file was unreadable at the start, and is read after this trade, if any; the run is called r2."""
    continuity = one(promise)
    continuity.go_blind([BTC], T0_NS + 3_000 * SECOND_NS, NOW_NS)
    continuity.connected([BTC], NOW_NS)
    if trade is not None:
        assert admit(continuity, [trade], at=4_100.0) == [str(trade)]
    con, asked = new_file(), continuity.blind
    put_feeds(con, [*feeds, fed(FeedEvent.STARTED, 4_000, "r2")])
    if trade is not None:
        put_tick(con, str(trade), NEXT_NS)
    states = read_states(con, {"x": {BTC: promise}}, before={"x": asked}, run_id="r2")["x"]
    continuity.restore_late(states, asked, NEXT_NS + 2 * SECOND_NS)
    return continuity


@each_promise
@pytest.mark.parametrize("trade", [8, None])
def test_a_file_that_is_read_late_shows_the_gap_too(promise: IdPromise, trade: int | None) -> None:
    continuity = late(promise, *KILLED, trade=trade)
    (gap,) = continuity.unfinished()
    assert (gap.reason, gap.from_id, gap.from_ns) == (GapReason.DOWNTIME, None, T0_NS)
    assert (gap.to_ns, gap.missing) == (None if trade is None else NEXT_NS, None)
    if trade is not None:
        assert gap.to_id == "8"
        assert admit(continuity, [8], time_s=4_100.0, source="snapshot") == []
    feeds = [(row.event, row.trade_id) for row in continuity.take_feeds()]
    assert feeds == [(FeedEvent.STARTED, None), *([] if trade is None else [(FeedEvent.FIRST, "8")])]
    assert admit(continuity, [7], time_s=3_600.0, source="backfill") == ["7"]


@each_promise
@pytest.mark.parametrize("trade", [8, None])
def test_a_file_that_is_read_late_shows_no_gap_where_nothing_was_recorded_before(
    promise: IdPromise, trade: int | None
) -> None:
    assert late(promise, trade=trade).unfinished() == []


# -- the history -------------------------------------------------------------------------------------


class Trades(MadeUpHistory):
    """Has the lost trade, and the first one that is delivered."""

    def __init__(self) -> None:
        self.asked = list[TradeRange]()

    async def fetch(self, market: Market, wanted: TradeRange, store: Store, budget: object) -> FetchResult:
        self.asked.append(wanted)
        assert wanted.from_ns is not None and wanted.to_ns is not None
        trades = [(BTC, name, at) for name, at in (("7", LOST_NS), ("8", NEXT_NS)) if at <= wanted.to_ns]
        assert wanted.from_ns <= LOST_NS
        await store(block_of(trades, "backfill"))
        return FetchResult(count=len(trades), complete=True)


@pytest.mark.parametrize("promise", [IdPromise.CONTIGUOUS, IdPromise.INCREASING, IdPromise.OPAQUE])
@pytest.mark.parametrize("goes_on", [True, False])
async def test_the_history_is_requested_and_closes_the_gap_with_or_without_a_next_trade(
    promise: IdPromise, goes_on: bool, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = trio.current_time()
    monkeypatch.setattr(time, "time_ns", _clock(NOW_NS, began))
    continuity = restarted(promise, *KILLED)
    parts, history = BackfillParts(continuity, BTC), Trades()
    if goes_on:
        admit(continuity, [8], at=4_100.0)
    with trio.fail_after(120):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(parts.worker(history).run, Context("x:backfill"))
            while continuity.unfinished():  # noqa: ASYNC110 - there is no event for it
                await trio.sleep(0.1)
            nursery.cancel_scope.cancel()
    chunks = await parts.sent()
    assert [name for chunk in chunks for name in chunk.block.trade_id] == ["7"]
    (gap,) = newest(gap for chunk in chunks for gap in chunk.gaps).values()
    assert (gap.reason, gap.status, gap.recovered) == (GapReason.DOWNTIME, GapStatus.FILLED, 1)
    assert history.asked[0].from_ns == T0_NS
    assert admit(continuity, [9], at=4_200.0) == ["9"]


def _clock(at_ns: int, began: float) -> Callable[[], int]:
    return lambda: at_ns + int((trio.current_time() - began) * 1e9)
