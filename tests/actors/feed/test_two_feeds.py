"""With two connections of one market, a trade that only one of them delivers is found and asked about."""

from collections.abc import Mapping

from trio.testing import MockClock

from actors.continuity.agreement import TOLERANCE_S
from actors.model.records import FeedRow, GapReason, GapStatus, Proof
from actors.model.ticks import IdPromise
from tests.harness.memory_exchange import BTC, Recorder, Venue, coverage, recorded

NUMBERED_BY_NOBODY: Mapping[str, object] = {"ids": {"spot": IdPromise.OPAQUE}}


def proofs(recorder: Recorder) -> list[FeedRow]:
    rows = [row for chunk in recorder.chunks for row in chunk.feeds]
    return [row for row in rows if row.proof is Proof.TWO_FEEDS]


async def test_two_connections_that_deliver_the_same_prove_it(autojump_clock: MockClock) -> None:
    venue = Venue()
    async with recorded(venue, changes=NUMBERED_BY_NOBODY, redundancy=2) as recorder:
        await venue.go_on(BTC, 0.5, 60.0)
    assert recorder.gaps() == [] and coverage(recorder) == ["live"]
    (first, *_, last) = proofs(recorder)
    assert (last.until_ns or 0) - (first.time_ns or 0) > 40e9


async def test_a_trade_that_one_connection_withholds_is_a_gap_although_it_is_stored(
    autojump_clock: MockClock,
) -> None:
    venue = Venue()
    async with recorded(venue, changes=NUMBERED_BY_NOBODY, redundancy=2, history=False) as recorder:
        await venue.go_on(BTC, 0.5, 20.0)
        venue.mute = {(2, BTC)}
        await venue.trade()
        venue.mute = set()
        await venue.go_on(BTC, 0.5, 3 * TOLERANCE_S)
        (gap,) = recorder.gaps()
    assert (gap.reason, gap.status, gap.missing) == (GapReason.DISAGREEMENT, GapStatus.OPEN, None)
    assert recorder.ids() == venue.ids() and coverage(recorder) == ["live", "unknown", "live"]
    moment_ns = ((gap.from_ns or 0) + (gap.to_ns or 0)) // 2
    assert not any((row.time_ns or 0) <= moment_ns < (row.until_ns or 0) for row in proofs(recorder))


async def test_one_connection_compares_nothing(autojump_clock: MockClock) -> None:
    venue = Venue()
    async with recorded(venue, changes=NUMBERED_BY_NOBODY, redundancy=1) as recorder:
        assert recorder.exchange.continuity.agreement is None
        await venue.go_on(BTC, 0.5, 20.0)
    assert proofs(recorder) == []
