"""With two connections of one market, a trade that only one of them delivers is found and asked about; and one that
neither delivers, because one is out and the other hangs, lies in a gap."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import trio
from trio.testing import MockClock

from actors.continuity.agreement import TOLERANCE_S
from actors.model.records import FeedRow, GapReason, GapRow, GapStatus, Proof
from actors.model.ticks import IdPromise
from tests.harness.continuity_rows import SECOND_NS
from tests.harness.memory_exchange import BTC, Recorder, Venue, coverage, recorded, seen

NUMBERED_BY_NOBODY: Mapping[str, object] = {"ids": {"spot": IdPromise.OPAQUE}}
SILENCE_S = 40.0
LIFETIME_S = 120.0


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


# -- an outage of one while the other hangs -----------------------------------------------------------------


@asynccontextmanager
async def recording(venue: Venue, **settings: Any) -> AsyncIterator[Recorder]:
    """Records a busy market by two connections; afterwards each of its trades is stored or listed."""
    more = {"changes": NUMBERED_BY_NOBODY, "redundancy": 2, "history": False, "silence_s": SILENCE_S, **settings}
    async with recorded(venue, **more) as recorder, trio.open_nursery() as nursery:
        nursery.start_soon(venue.go_on, BTC, 0.25, 1000.0)
        await trio.sleep(5.0)
        yield recorder
        nursery.cancel_scope.cancel()
    assert unlisted(recorder, venue) == []


def listed(recorder: Recorder) -> list[GapRow]:
    return [gap for gap in recorder.gaps() if gap.status is not GapStatus.FILLED]


def unlisted(recorder: Recorder, venue: Venue) -> list[str]:
    """The trades, up to the newest one stored, that are neither stored nor in a gap."""
    stored, gaps = set(recorder.ids()), listed(recorder)
    assert len(stored) == len(recorder.ids())
    truth = [(str(number), ns) for number, ns in venue.truth[BTC]]
    newest = max(at for at, (number, _) in enumerate(truth) if number in stored)
    return [
        number for number, ns in truth[:newest] if number not in stored and not any(g.spans(None, ns) for g in gaps)
    ]


def lost(recorder: Recorder, venue: Venue) -> int:
    return len(set(venue.ids()) - set(recorder.ids()))


async def back(venue: Venue, connections: int, after: int) -> None:
    """Waits until so many connections are there again, the newest being later than `after`."""
    await seen(lambda: len(venue.open) == connections and max(venue.open) > after)
    await trio.sleep(2.0)


async def test_an_outage_of_one_is_a_gap_if_the_other_hangs(autojump_clock: MockClock) -> None:
    venue = Venue()
    async with recording(venue) as recorder:
        venue.hung = {2}
        await trio.sleep(1.0)
        await venue.end(1)
        await back(venue, 2, after=2)
        (gap,) = listed(recorder)  # before anybody knows that the other hangs
        await trio.sleep(SILENCE_S + 5.0)
        assert [again.gap_id for again in listed(recorder)] == [gap.gap_id]
        assert lost(recorder, venue) >= 3
        assert (gap.to_ns or 0) - (gap.from_ns or 0) < 3 * SECOND_NS
    assert coverage(recorder) == ["live", "unknown", "live"]


async def test_trades_that_come_with_the_acknowledgement_end_the_gap(autojump_clock: MockClock) -> None:
    venue = Venue()
    async with recording(venue) as recorder:
        venue.hung, venue.prompt = {2}, True
        await venue.end(1)
        await back(venue, 2, after=2)
        (gap,) = listed(recorder)
        assert gap.to_id in recorder.ids() and lost(recorder, venue) >= 3


async def test_an_outage_of_one_is_none_if_the_other_delivers(autojump_clock: MockClock) -> None:
    venue = Venue()
    async with recording(venue) as recorder:
        for number in (1, 2, 3):
            await venue.end(number)
            await back(venue, 2, after=number + 1)
    assert recorder.gaps() == [] and lost(recorder, venue) == 0
    assert coverage(recorder) == ["live"]


async def test_a_gap_ends_as_none_if_the_other_resumes_and_brings_what_was_missing(
    autojump_clock: MockClock,
) -> None:
    venue = Venue()
    async with recording(venue) as recorder:
        venue.hung = {2}
        await trio.sleep(1.0)
        await venue.end(1)
        await back(venue, 2, after=2)
        assert len(listed(recorder)) == 1
        await venue.resume(2)
        await trio.sleep(5.0)
    assert listed(recorder) == [] and lost(recorder, venue) == 0
    assert coverage(recorder) == ["live"]


async def test_a_connection_that_is_mute_and_answers_pings_covers_nothing(autojump_clock: MockClock) -> None:
    venue = Venue()
    async with recording(venue) as recorder:
        venue.mute = {(2, BTC)}
        await trio.sleep(1.0)
        await venue.end(1)
        await back(venue, 2, after=2)
        assert len(listed(recorder)) == 1 and lost(recorder, venue) >= 3
        await trio.sleep(60.0)
    assert len(listed(recorder)) == 1


async def test_if_both_hang_it_is_a_gap_until_the_first_is_back(autojump_clock: MockClock) -> None:
    venue = Venue()
    async with recording(venue) as recorder:
        venue.hung = {1}
        await trio.sleep(3.0)
        venue.hung = {1, 2}
        await trio.sleep(SILENCE_S + 10.0)
        assert lost(recorder, venue) > 4 * (SILENCE_S - 5)
    assert len(listed(recorder)) == 1


async def test_a_connection_that_began_later_proves_nothing_of_what_was_before(autojump_clock: MockClock) -> None:
    venue = Venue()
    venue.deaf = {2}
    async with recording(venue) as recorder:
        venue.hung = {1}
        await trio.sleep(2.0)
        await venue.end(2)  # and the next one is received
        await back(venue, 2, after=2)
        await trio.sleep(SILENCE_S + 5.0)
        assert lost(recorder, venue) >= 8
    assert len(listed(recorder)) == 1


async def test_one_that_is_replaced_may_have_hung_before(autojump_clock: MockClock) -> None:
    venue = Venue()
    async with recording(venue, redundancy=1, lifetime_s=LIFETIME_S) as recorder:
        await seen(lambda: recorder.names == ["x:1"])
        while venue.open == [1]:
            await trio.sleep(0.05)
            if trio.current_time() > LIFETIME_S * 0.9 - 2.0:
                venue.hung = {1}
        await trio.sleep(SILENCE_S + 20.0)
        assert lost(recorder, venue) >= 3
    assert len(listed(recorder)) >= 1


async def test_a_market_that_is_added_to_both_again_lists_what_was_between(autojump_clock: MockClock) -> None:
    venue = Venue()
    async with recording(venue) as recorder:
        await recorder.exchange.change(["ETH/USDT"], ["BTC/USDT"])
        await trio.sleep(5.0)
        await recorder.exchange.change(["BTC/USDT"], [])
        await trio.sleep(5.0)
        assert lost(recorder, venue) >= 10
    assert len(listed(recorder)) == 1


async def test_pausing_and_restarting_one_is_an_outage_of_it(autojump_clock: MockClock) -> None:
    venue = Venue()
    async with recording(venue) as recorder:
        venue.hung = {2}
        await trio.sleep(1.0)
        await recorder.tree.pause("x:1")
        await trio.sleep(1.0)
        await recorder.tree.resume("x:1")
        await back(venue, 2, after=2)
        assert len(listed(recorder)) == 1 and lost(recorder, venue) >= 3
        await recorder.tree.restart("x:1")
        await trio.sleep(SILENCE_S + 5.0)


async def test_a_stop_while_it_is_unproven_leaves_the_gap(autojump_clock: MockClock) -> None:
    venue = Venue()
    async with recording(venue) as recorder:
        venue.hung = {2}
        await venue.end(1)
        await back(venue, 2, after=2)
    assert len(listed(recorder)) == 1 and lost(recorder, venue) >= 3


async def test_a_gap_comes_no_later_than_the_trades_that_follow_it(autojump_clock: MockClock) -> None:
    """Whatever batches a kill leaves, the trades before the newest one are accounted for."""
    venue = Venue()
    async with recording(venue) as recorder:
        venue.hung = {2}
        await venue.end(1)
        await back(venue, 2, after=2)
        chunks = list(recorder.chunks)
        for end in recorder.batch_ends:
            recorder.chunks[:] = chunks[:end]
            if recorder.ids():
                assert unlisted(recorder, venue) == [], end
        recorder.chunks[:] = chunks
