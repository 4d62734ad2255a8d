"""Markets are added and removed on the open connection, where the exchange's protocol allows it."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import trio
from msgspec.structs import replace
from trio.testing import MockClock

from actors.exchanges.contract.feed_helpers import compact
from actors.model.records import FeedEvent
from actors.model.ticks import IdPromise
from tests.harness.exchange_values import dialect_of
from tests.harness.memory_exchange import BTC, ETH, Venue, carried, recorded, requests, seen

SOL = "SOL-USDT"


def unsubscribe_text(natives: Sequence[str], channel: str, request_id: str) -> str:
    args = [{"channel": channel, "instId": native} for native in natives]
    return compact({"id": request_id, "op": "unsubscribe", "args": args})


HOT: Mapping[str, Any] = {"unsubscribe_text": unsubscribe_text}
OPAQUE = {"spot": IdPromise.OPAQUE, "swap": IdPromise.OPAQUE}  # ids that do not show what is missing


async def test_a_market_is_added_to_the_open_connection(autojump_clock: MockClock) -> None:
    venue = Venue()
    async with recorded(venue, changes=HOT) as recorder:
        await recorder.exchange.change(["ETH/USDT", "SOL/USDT"], [])
        await seen(lambda: carried(recorder) == {"x:1": ["BTC/USDT", "ETH/USDT", "SOL/USDT"]})
        assert requests(venue) == [(1, "subscribe", [BTC]), (1, "subscribe", [ETH, SOL])]
        for native in (BTC, ETH, SOL):
            await venue.trade(native)
        await seen(lambda: recorder.ids("SOL/USDT") == venue.ids(SOL))
        # The next session has all of them from its start.
        await venue.end(1)
        await seen(lambda: venue.open == [2])
        await seen(lambda: carried(recorder) == {"x:1": ["BTC/USDT", "ETH/USDT", "SOL/USDT"]})
        assert requests(venue)[2:] == [(2, "subscribe", [BTC, ETH, SOL])]
        recorder.check(restarts=["x:1"])


async def test_a_market_is_removed_from_the_open_connection(autojump_clock: MockClock) -> None:
    venue = Venue()
    async with recorded(venue, "BTC/USDT", "ETH/USDT", changes=HOT) as recorder:
        await venue.trade(ETH)
        await venue.trade(BTC)
        await seen(lambda: recorder.ids("ETH/USDT") == venue.ids(ETH))
        await recorder.exchange.change([], ["ETH/USDT"])
        await trio.sleep(1.0)
        assert requests(venue)[-1] == (1, "unsubscribe", [ETH]) and venue.open == [1]
        assert carried(recorder) == {"x:1": ["BTC/USDT"]}
        await venue.trade(ETH)
        await venue.trade(BTC)
        await seen(lambda: recorder.ids() == venue.ids())
        assert len(recorder.ids("ETH/USDT")) == 1 and recorder.gaps() == []
        await trio.sleep(60.0)  # nothing asks for it again
        assert len(requests(venue)) == 2
        # And it may come back.
        await recorder.exchange.change(["ETH/USDT"], [])
        await seen(lambda: carried(recorder) == {"x:1": ["BTC/USDT", "ETH/USDT"]})
        await venue.trade(ETH)
        await seen(lambda: len(recorder.ids("ETH/USDT")) == 3)  # the history had what was missed in between
        recorder.check()


@pytest.mark.parametrize("ids", [{}, {"ids": OPAQUE}])
@pytest.mark.parametrize("again", [False, True])
async def test_the_recording_of_a_removed_market_ends_with_what_was_on_its_way(
    ids: dict[str, Any], again: bool, autojump_clock: MockClock
) -> None:
    venue = Venue()
    async with recorded(venue, "BTC/USDT", "ETH/USDT", changes={**HOT, **ids}) as recorder:
        await venue.go_on(ETH, 0.1, 3.0)
        venue.deaf.add(1)  # and goes on
        await recorder.exchange.change([], ["ETH/USDT"])
        for _ in range(3):
            await trio.sleep(0.1)
            await venue.trade(ETH)
        if again:
            await trio.sleep(2.0)  # it has been decoded
            await recorder.exchange.change(["ETH/USDT"], [])
        else:
            await trio.sleep(60.0)
        stored = [chunk.block for chunk in recorder.chunks if "ETH/USDT" in chunk.block.symbol]
        assert recorder.ids("ETH/USDT") == venue.ids(ETH)
        await trio.sleep(2.0)
    ends = [
        feed.at_ns
        for chunk in recorder.chunks
        for feed in chunk.feeds
        if (feed.symbol, feed.event) == ("ETH/USDT", FeedEvent.STOPPED)
    ]
    assert ends[0] == stored[-1].received_ns[-1]


@pytest.mark.parametrize("requests_per_s", [1.0, 3.0])
@pytest.mark.parametrize("decoded", [False, True])
async def test_a_market_removed_and_added_at_once_is_subscribed_again_although_it_has_just_traded(
    requests_per_s: float, decoded: bool, autojump_clock: MockClock
) -> None:
    """Its last trades are of the old subscription, whether they were decoded before or not."""
    venue = Venue()
    limits = replace(dialect_of("okx").limits, requests_per_s=requests_per_s)
    changes = {**HOT, "limits": limits, "ids": OPAQUE}
    async with recorded(venue, "BTC/USDT", "ETH/USDT", changes=changes, history=False) as recorder:
        await venue.trade(ETH)
        await trio.sleep(1.5)
        await venue.trade(ETH)
        if decoded:
            recorder.connection("x:1").decode()
        await recorder.exchange.change([], ["ETH/USDT"])
        await recorder.exchange.change(["ETH/USDT"], [])
        await venue.go_on(ETH, 0.1, 60.0)
        assert requests(venue)[1:] == [(1, "unsubscribe", [ETH]), (1, "subscribe", [ETH])]
        assert carried(recorder) == {"x:1": ["BTC/USDT", "ETH/USDT"]}
    (gap,) = recorder.gaps()
    stored, made = recorder.ids("ETH/USDT"), venue.ids(ETH)
    missed = [number for number in made if number not in stored]
    assert 2 <= len(missed) < 20, "what was made while there was no subscription"
    assert gap.from_id is not None and gap.to_id is not None
    assert int(gap.from_id) < int(missed[0]) and int(missed[-1]) < int(gap.to_id)


async def test_where_nothing_is_acknowledged_what_was_read_before_a_request_proves_nothing(
    autojump_clock: MockClock,
) -> None:
    venue, pause_s = Venue(), 0.01
    venue.silent = True
    limits = replace(dialect_of("okx").limits, requests_per_s=1 / pause_s)
    changes = {**HOT, "limits": limits, "ids": OPAQUE, "acknowledges": False}
    async with recorded(venue, "BTC/USDT", "ETH/USDT", changes=changes, history=False) as recorder:
        await venue.trade(ETH)
        await trio.sleep(5.0)
        await venue.trade(ETH)
        await trio.sleep(pause_s / 10)  # it is read, and not decoded yet
        await recorder.exchange.change([], ["ETH/USDT"])
        await recorder.exchange.change(["ETH/USDT"], [])
        await trio.sleep(pause_s / 2)
        await venue.trade(ETH)  # there is no subscription
        await trio.sleep(pause_s)
        await venue.trade(BTC)
        assert requests(venue)[1:] == [(1, "unsubscribe", [ETH]), (1, "subscribe", [ETH])]
        await trio.sleep(5.0)
        assert carried(recorder) == {"x:1": ["BTC/USDT"]}
        await venue.trade(ETH)
        await trio.sleep(5.0)
        assert carried(recorder) == {"x:1": ["BTC/USDT", "ETH/USDT"]}
    first, late, missed, last = venue.ids(ETH)
    assert recorder.ids("ETH/USDT") == [first, late, last]
    (gap,) = recorder.gaps()
    assert gap.from_id in (first, late) and gap.to_id == last, missed


async def test_what_finds_no_room_gets_a_connection_of_its_own(autojump_clock: MockClock) -> None:
    venue = Venue()
    limits = replace(dialect_of("okx").limits, symbols_per_connection=2)
    async with recorded(venue, changes={**HOT, "limits": limits}) as recorder:
        await recorder.exchange.change(["ETH/USDT", "SOL/USDT"], [])
        await seen(lambda: carried(recorder) == {"x:1": ["BTC/USDT", "ETH/USDT"], "x:2": ["SOL/USDT"]})


async def test_with_redundancy_a_market_is_added_to_as_many_connections(autojump_clock: MockClock) -> None:
    venue = Venue()
    async with recorded(venue, changes=HOT, redundancy=2) as recorder:
        await recorder.exchange.change(["ETH/USDT"], [])
        both = ["BTC/USDT", "ETH/USDT"]
        await seen(lambda: carried(recorder) == {"x:1": both, "x:2": both})
        await recorder.exchange.change([], ["BTC/USDT"])
        await seen(lambda: carried(recorder) == {"x:1": ["ETH/USDT"], "x:2": ["ETH/USDT"]})
        await venue.trade(ETH)
        await seen(lambda: recorder.ids("ETH/USDT") == venue.ids(ETH))


async def test_without_an_unsubscribe_request_connections_are_replaced(autojump_clock: MockClock) -> None:
    venue = Venue()
    async with recorded(venue, "BTC/USDT", "ETH/USDT", changes={"unsubscribe_text": None}) as recorder:
        await recorder.exchange.change([], ["ETH/USDT"])
        await seen(lambda: carried(recorder) == {"x:2": ["BTC/USDT"]})
        assert all(op == "subscribe" for _, op, _ in requests(venue))


async def test_where_each_request_replaces_all_one_names_those_that_stay(autojump_clock: MockClock) -> None:
    venue = Venue()
    limits = replace(dialect_of("okx").limits, symbols_per_connection=9, symbols_per_request=9)
    changes = {"request_replaces": True, "unsubscribe_text": None, "limits": limits}
    async with recorded(venue, "BTC/USDT", "ETH/USDT", changes=changes) as recorder:
        await recorder.exchange.change(["SOL/USDT"], ["ETH/USDT"])
        await seen(lambda: carried(recorder) == {"x:1": ["BTC/USDT", "SOL/USDT"]})
        await trio.sleep(60.0)
        assert requests(venue)[1:] == [(1, "subscribe", [BTC, SOL])]
        await recorder.exchange.change([], ["BTC/USDT"])
        await trio.sleep(60.0)
        assert requests(venue)[2:] == [(1, "subscribe", [SOL])]
        recorder.check()


@pytest.mark.parametrize("connected", [False, True])
async def test_changes_before_a_connection_is_there_hold_for_it(connected: bool, autojump_clock: MockClock) -> None:
    venue = Venue()
    async with recorded(venue, changes=HOT) as recorder:
        venue.refuses = not connected
        if not connected:
            await venue.end(1)
            await trio.sleep(0.1)
        await recorder.exchange.change(["ETH/USDT"], [])
        await recorder.exchange.change([], ["BTC/USDT"])
        venue.refuses = False
        await seen(lambda: carried(recorder) == {"x:1": ["ETH/USDT"]})
        await venue.trade(ETH)
        await seen(lambda: recorder.ids("ETH/USDT") == venue.ids(ETH))
