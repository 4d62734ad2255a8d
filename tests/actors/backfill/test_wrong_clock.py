"""Our clock may be wrong by hours: what an outage without a next trade lacks is looked for by the exchange's."""

import pytest
import trio
from trio.testing import MockClock

from actors.backfill.fetch_job import BackfillLimits
from actors.continuity.continuity import Continuity
from actors.model.records import GapStatus
from actors.model.ticks import Block, IdPromise
from tests.harness.memory_exchange import BTC, EPOCH_NS, ETH, Venue, recorded, seen

BOTH = ("BTC/USDT", "ETH/USDT")
AHEAD_S = (-400 * 86_400.0, -3600.0, -30.0, 0.0, 30.0, 3600.0, 400 * 86_400.0)
LIMITS = BackfillLimits()


@pytest.mark.parametrize("ahead_s", AHEAD_S)
async def test_what_was_traded_during_an_outage_is_found_although_nothing_follows(
    autojump_clock: MockClock, ahead_s: float
) -> None:
    venue = Venue(ahead_s)
    async with recorded(venue) as recorder:
        await venue.go_on(BTC, 0.5, 5.0)
        await venue.end(1)
        await venue.trade(BTC, 3)
        await seen(lambda: [gap.status for gap in recorder.gaps()] == [GapStatus.FILLED])
    assert sorted(map(str, recorder.ids())) == venue.ids()


@pytest.mark.parametrize("ahead_s", AHEAD_S)
async def test_a_quiet_market_is_quiet_by_any_clock(autojump_clock: MockClock, ahead_s: float) -> None:
    venue = Venue(ahead_s)
    async with recorded(venue, *BOTH) as recorder:
        await venue.go_on(BTC, 0.5, 5.0)
        await venue.trade(ETH)
        await venue.end(1)
        await venue.go_on(BTC, 0.5, LIMITS.quiet_s + 30.0)
        assert {gap.symbol: gap.status for gap in recorder.gaps()} == dict.fromkeys(BOTH, GapStatus.FILLED)
    assert sorted(map(str, recorder.ids())) == venue.ids()


@pytest.mark.parametrize("ahead_s", AHEAD_S)
async def test_a_repair_waits_until_the_history_has_the_last_trade_by_any_clock(
    autojump_clock: MockClock, ahead_s: float
) -> None:
    venue = Venue(ahead_s)
    async with recorded(venue) as recorder:
        await venue.go_on(BTC, 0.5, 5.0)
        began = trio.current_time()
        job = recorder.exchange.repair("BTC/USDT", venue.truth[BTC][0][1], venue.truth[BTC][-1][1])
        assert job.due - began == pytest.approx(LIMITS.settle_s - 0.5, abs=0.1)  # the last trade is so old


@pytest.mark.parametrize("ahead_s", AHEAD_S)
def test_an_outage_of_a_market_that_is_delisted_ends_after_it_began(ahead_s: float) -> None:
    last_ns = EPOCH_NS + int(ahead_s * 1e9)
    continuity = Continuity("x", {"BTC/USDT": IdPromise.OPAQUE})
    continuity.connected(["BTC/USDT"], EPOCH_NS, 1)
    block = Block("x")
    block.extend(["BTC/USDT"], [last_ns], [EPOCH_NS], ["1"], ["1"], ["buy"], ["a"], ["stream"])
    continuity.deduplicator.admit(block, 0, None, 0.0, session=1)
    continuity.take_decided(60.0, EPOCH_NS + 10**9)  # by then such a time is believed
    continuity.disconnected(["BTC/USDT"], EPOCH_NS + 10**9, session=1)
    continuity.delisted(["BTC/USDT"], EPOCH_NS + 60 * 10**9)
    gap = continuity.take_gaps()[-1]
    assert (gap.status, gap.from_ns, gap.to_ns) == (GapStatus.UNKNOWN, last_ns, last_ns + 60 * 10**9)
