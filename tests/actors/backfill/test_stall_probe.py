"""A market that the exchange does not have is an event, degrades health and is no live record."""

import pytest
import trio
from trio.testing import MockClock

from actors.backfill.fetch_job import BackfillLimits
from actors.model.records import GapReason, GapStatus
from supervisor import State
from tests.harness.memory_exchange import BTC, ETH, PAST, Recorder, Venue, coverage, recorded, seen

BOTH = ("BTC/USDT", "ETH/USDT")
LOOK_S = 10.0
LIMITS = BackfillLimits()
SILENT_S, ABSENT_AGAIN_S = LIMITS.silent_s, LIMITS.absent_again_s


def backfill_of(recorder: Recorder) -> tuple[State, str]:
    health = recorder.tree.health("x:backfill")
    return health.state, health.reason


async def test_a_market_that_never_traded_and_is_refused_by_the_history_is_no_live_record(
    autojump_clock: MockClock,
) -> None:
    venue = Venue()
    venue.unlisted = {ETH}
    async with recorded(venue, *BOTH) as recorder, trio.open_nursery() as nursery:
        nursery.start_soon(venue.go_on, BTC, 2.0, 3000.0)
        began = trio.current_time()
        await seen(lambda: recorder.reported("unknown_market"))
        assert trio.current_time() - began < SILENT_S + LOOK_S
        await trio.sleep(2)
        state, why = backfill_of(recorder)
        assert state is State.DEGRADED and why.startswith("ETH/USDT: okx has no such market (")
        assert "51001 Instrument ID does not exist" in why and "BTC" not in why
        assert coverage(recorder, "ETH/USDT") == ["unknown"] and coverage(recorder) == ["live"]
        await venue.end(1)  # another connection is acknowledged: that is still no record
        await trio.sleep(200)
        assert set(coverage(recorder, "ETH/USDT")) == {"unknown"}
        (event,) = recorder.reported("unknown_market")
        assert event.detail["symbol"] == "ETH/USDT" and not recorder.reported("stalled")
        nursery.cancel_scope.cancel()
    gaps = [(gap.reason, gap.status) for gap in recorder.gaps() if gap.symbol == "ETH/USDT"]
    assert gaps == [(GapReason.REJECTED, GapStatus.UNKNOWN)]


@pytest.mark.parametrize("trades", [False, True])
async def test_a_market_that_is_listed_later_is_recorded_from_then_on(
    trades: bool, autojump_clock: MockClock
) -> None:
    venue = Venue()
    venue.unlisted = {ETH}
    async with recorded(venue, *BOTH) as recorder:
        await seen(lambda: recorder.reported("unknown_market"))
        venue.unlisted = set()
        if trades:
            await venue.go_on(ETH, 0.5, 10.0)
        else:
            await trio.sleep(ABSENT_AGAIN_S + LOOK_S)
        assert backfill_of(recorder) == (State.OK, "")
        await venue.go_on(ETH, 0.5, 10.0)
        assert sorted(map(str, recorder.ids("ETH/USDT"))) == venue.ids(ETH)
        assert coverage(recorder, "ETH/USDT") == ["unknown", "live"]


@pytest.mark.parametrize("removed_s", [0.0, LOOK_S])
@pytest.mark.parametrize("listed", [False, True])
async def test_an_absent_market_that_is_removed_and_added_again_begins_as_any_other(
    listed: bool, removed_s: float, autojump_clock: MockClock
) -> None:
    venue = Venue()
    venue.past, venue.unlisted = (), {ETH}
    async with recorded(venue, *BOTH) as recorder, trio.open_nursery() as nursery:
        nursery.start_soon(venue.go_on, BTC, 2.0, 3000.0)
        await seen(lambda: recorder.reported("unknown_market"))
        await recorder.exchange.change([], ["ETH/USDT"])
        await trio.sleep(removed_s)
        if listed:
            venue.unlisted = set()
        await recorder.exchange.change(["ETH/USDT"], [])
        await trio.sleep(1.0)
        if listed:
            await venue.go_on(ETH, 0.5, 10.0)
        else:
            await trio.sleep(ABSENT_AGAIN_S + LOOK_S)
        assert coverage(recorder, "ETH/USDT") == ["unknown", "live"][: 1 + listed]
        await venue.end(1)
        await venue.go_on(ETH, 0.5, 10.0 * listed)
        await trio.sleep(30)
        nursery.cancel_scope.cancel()
    found = [(gap.reason, gap.status) for gap in recorder.gaps() if gap.symbol == "ETH/USDT"]
    rejected, filled = (GapReason.REJECTED, GapStatus.UNKNOWN), (GapReason.DISCONNECT, GapStatus.FILLED)
    assert found == ([rejected, filled] if listed else [rejected, rejected])
    assert sorted(map(str, recorder.ids("ETH/USDT"))) == venue.ids(ETH)


@pytest.mark.parametrize("past", [(), (PAST,)])
async def test_a_market_that_exists_may_be_quiet(
    past: tuple[tuple[int, int], ...], autojump_clock: MockClock
) -> None:
    venue = Venue()
    venue.past = past
    async with recorded(venue, stall_s=2.0) as recorder:
        await trio.sleep(6 * SILENT_S)
        assert backfill_of(recorder)[0] is State.OK and not recorder.reported("unknown_market", "degraded")
        assert coverage(recorder) == ["live"] and recorder.gaps() == []
        assert 1 <= venue.asked <= 20


async def test_a_transient_error_proves_nothing_about_a_market(autojump_clock: MockClock) -> None:
    venue = Venue()
    venue.failures = 100
    async with recorded(venue) as recorder:
        await trio.sleep(5 * SILENT_S)
        assert not recorder.reported("unknown_market") and coverage(recorder) == ["live"]


async def test_a_market_that_has_traded_is_not_treated_as_one_that_does_not_exist(
    autojump_clock: MockClock,
) -> None:
    venue = Venue()
    async with recorded(venue, stall_s=2.0) as recorder:
        await venue.trade()
        venue.unlisted = {BTC}
        await trio.sleep(4 * SILENT_S)
        assert venue.asked and not recorder.reported("unknown_market") and coverage(recorder) == ["live"]


@pytest.mark.parametrize("failures", [3, 40])
async def test_a_gap_is_filled_after_errors_that_pass(failures: int, autojump_clock: MockClock) -> None:
    venue = Venue()
    async with recorded(venue) as recorder:
        await venue.go_on(BTC, 0.5, 10.0)
        venue.failures, venue.mute = failures, {(0, BTC)}
        await venue.go_on(BTC, 0.5, 3.0)
        venue.mute = set()
        await venue.go_on(BTC, 0.5, 10.0)
        await seen(lambda: [gap.status for gap in recorder.gaps()] == [GapStatus.FILLED])
        assert venue.failures == 0
    assert sorted(map(str, recorder.ids())) == venue.ids()


async def test_a_gap_is_lost_at_once_when_the_refusal_is_final(autojump_clock: MockClock) -> None:
    venue = Venue()
    async with recorded(venue) as recorder:
        await venue.go_on(BTC, 0.5, 10.0)
        venue.unlisted, venue.mute = {BTC}, {(0, BTC)}
        await venue.go_on(BTC, 0.5, 3.0)
        venue.mute = set()
        await venue.go_on(BTC, 0.5, 20.0)
        assert [gap.status for gap in recorder.gaps()] == [GapStatus.LOST]
