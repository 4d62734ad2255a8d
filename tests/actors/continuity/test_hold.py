"""What the hold keeps is done later, in its order, and within its bound."""

from functools import partial

import trio
import trio.testing

from actors.continuity.continuity import Continuity
from actors.continuity.hold import TURN_ITEMS, Hold
from actors.continuity.tracker_state import TrackerState
from actors.model.records import GapReason
from actors.model.ticks import IdPromise

MARKET = "BTC/USDT"
NOW_NS = 1_800_000_000_000_000_000


async def test_what_is_kept_is_done_in_order_with_what_arrives_meanwhile_last() -> None:
    hold, done = Hold(), list[int]()
    hold.begin()
    for number in range(3 * TURN_ITEMS):
        hold.keep(partial(done.append, number))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hold.replay)
        await trio.testing.wait_all_tasks_blocked(0)
        while hold.on and len(done) < 2 * TURN_ITEMS:
            await trio.lowlevel.checkpoint()
        if hold.on:
            hold.keep(partial(done.append, 1_000))
    assert done[: 3 * TURN_ITEMS] == list(range(3 * TURN_ITEMS)) and not hold.on


async def test_a_full_hold_makes_others_wait_until_it_is_replayed_or_dropped() -> None:
    for ends in ("replay", "drop"):
        hold = Hold(rows_max=10)
        hold.begin()
        hold.keep(lambda: None, rows=10)
        assert hold.full
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hold.room)
            await trio.testing.wait_all_tasks_blocked()
            assert len(nursery.child_tasks) == 1
            if ends == "replay":
                await hold.replay()
            else:
                hold.drop()
        assert not hold.full


async def test_while_it_is_on_a_connection_that_ends_opens_its_gap_only_later() -> None:
    continuity = Continuity("binance", {MARKET: IdPromise.CONTIGUOUS})
    continuity.hold.begin()
    continuity.connected([MARKET], NOW_NS)
    continuity.disconnected([MARKET], NOW_NS + 1)
    state = TrackerState("binance", MARKET, last_id="7", last_ns=NOW_NS, mark=7, lowest=1)
    continuity.forget([MARKET])
    continuity.restore([state], NOW_NS + 2, delivered=[MARKET])
    assert continuity.take_gaps() == []
    await continuity.hold.replay()
    (gap,) = continuity.take_gaps()
    assert gap.reason is GapReason.DISCONNECT and gap.from_id == "7"


def test_what_was_not_delivered_all_the_time_is_a_downtime() -> None:
    continuity = Continuity("binance", {MARKET: IdPromise.CONTIGUOUS})
    state = TrackerState("binance", MARKET, last_id="7", last_ns=NOW_NS, mark=7, lowest=1)
    continuity.restore([state], NOW_NS + 2, delivered=["ETH/USDT"])
    (gap,) = continuity.take_gaps()
    assert gap.reason is GapReason.DOWNTIME


def test_after_forgetting_it_is_known_what_delivers_a_market_and_since_when() -> None:
    continuity = Continuity("binance", {MARKET: IdPromise.CONTIGUOUS})
    continuity.connected([MARKET], NOW_NS)
    assert len(continuity.take_feeds()) == 1
    continuity.forget([MARKET])
    continuity.connected([MARKET], NOW_NS + 1)
    assert continuity.take_feeds() == [], "its recording has begun once"
    continuity.disconnected([MARKET], NOW_NS + 2)
    assert continuity.take_gaps() == [], "the first connection still delivers it"
