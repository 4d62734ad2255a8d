"""The exchange ends subscriptions, and trades of them arrive a little later: what is missed then is in a gap."""

from typing import Any

import pytest
import trio
from msgspec.structs import replace
from trio.testing import MockClock

from actors.model.records import GapReason, GapStatus
from actors.model.ticks import IdPromise
from tests.harness.exchange_values import dialect_of
from tests.harness.memory_exchange import BTC, ETH, Recorder, Venue, carried, recorded, requests, seen

BOTH = ("BTC/USDT", "ETH/USDT")
READ_S = 0.01  # by then a trade was read; nothing has had it decoded
NUMBERED_BY_NOBODY: dict[str, Any] = {"ids": {"spot": IdPromise.OPAQUE}}  # only gaps show what is missing


def check_listed(recorder: Recorder, venue: Venue, native: str, late: int) -> None:
    """All trades but the first, the late ones and the last were missed, and are listed in one gap."""
    (gap,) = [gap for gap in recorder.gaps() if gap.symbol == native.replace("-", "/")]
    made, stored = venue.ids(native), recorder.ids(gap.symbol)
    assert stored == [*made[: 1 + late], made[-1]] and len(made) > len(stored)
    assert (gap.reason, gap.status) == (GapReason.DISCONNECT, GapStatus.OPEN)
    assert (gap.from_id, gap.to_id) == (made[0], made[-1])


@pytest.mark.parametrize("late", [0, 1, 2])
async def test_a_late_trade_does_not_end_the_outage(late: int, autojump_clock: MockClock) -> None:
    venue = Venue()
    async with recorded(venue, *BOTH, changes=NUMBERED_BY_NOBODY, history=False) as recorder:
        await venue.trade(ETH)
        await trio.sleep(2.0)
        venue.deaf.add(1)
        await venue.say_ended(1, ETH)
        await trio.sleep(2.0)  # it is decoded
        await venue.trade(ETH, late)
        await trio.sleep(2.0)
        assert carried(recorder) == {"x:1": ["BTC/USDT"]}
        venue.unsubscribe(1, ETH)
        await venue.trade(ETH, 3)
        venue.deaf.clear()
        await seen(lambda: carried(recorder) == {"x:1": [*BOTH]})
        await venue.trade(ETH)
        await trio.sleep(READ_S)
    check_listed(recorder, venue, ETH, late)


async def test_a_late_trade_does_not_replace_a_request_that_waits_for_its_turn(autojump_clock: MockClock) -> None:
    venue = Venue()
    limits = replace(dialect_of("okx").limits, symbols_per_request=1, requests_per_s=0.2)
    changes = {**NUMBERED_BY_NOBODY, "limits": limits}
    async with recorded(venue, *BOTH, changes=changes, history=False) as recorder:
        await seen(lambda: carried(recorder) == {"x:1": [*BOTH]})
        for native in (BTC, ETH):
            await venue.trade(native)
        await trio.sleep(6.0)
        await venue.say_ended(1, BTC, ETH)
        await trio.sleep(2.0)
        assert requests(venue)[2:] == [(1, "subscribe", [BTC])]
        await venue.trade(ETH)
        await trio.sleep(2.0)
        venue.unsubscribe(1, ETH)
        await venue.trade(ETH, 3)
        await seen(lambda: carried(recorder) == {"x:1": [*BOTH]})
        assert requests(venue)[3:] == [(1, "subscribe", [ETH])]
        await venue.trade(ETH)
        await trio.sleep(READ_S)
    check_listed(recorder, venue, ETH, late=1)
