"""Rejected trades are not covered: health reports it, the history replaces the feed, and valid trades end it."""

import json
from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock

from actors.continuity.continuity import Continuity
from actors.model.records import GapReason, GapStatus
from actors.model.ticks import IdPromise, Reason, Reject
from actors.telemetry.reject_monitor import (
    ALARM_WINDOW_S,
    READS_MIN,
    SETTLE_S,
    UNNAMED_READS_MIN,
    WINDOW_S,
    Refusals,
)
from supervisor import State
from tests.harness.continuity_rows import SECOND_NS, T0_NS, block_of
from tests.harness.memory_exchange import BTC, ETH, Recorder, Venue, coverage, recorded, seen
from tests.harness.sampling import sample

BOTH = ("BTC/USDT", "ETH/USDT")
MARKETS = {BTC: BOTH[0], ETH: BOTH[1]}
MINUTE_S = 60.0


def changed(frame: str, only: str = "", **fields: object) -> str:
    """The frame with fields of its trades set anew, or taken out by None."""
    message = json.loads(frame)
    if only in ("", message["arg"]["instId"]):
        for row in message["data"]:
            row.update(fields)
            for name in [name for name, value in fields.items() if value is None]:
                del row[name]
    return json.dumps(message)


def renamed(frame: str) -> str:
    return frame.replace('"px"', '"price"')


def of_another_type(frame: str) -> str:
    message = json.loads(frame)
    return json.dumps({"topic": "deals", "market": message["arg"]["instId"], "rows": message["data"]})


def without_a_name(frame: str) -> str:
    return json.dumps(
        {"topic": "deals", "rows": [[row["tradeId"], row["px"]] for row in json.loads(frame)["data"]]}
    )


SPOILS: dict[str, tuple[Callable[[str], str], Reason]] = {
    "a price that became a number": (lambda frame: changed(frame, px=1.5), Reason.BAD_TYPE),
    "an id that became a number": (lambda frame: changed(frame, tradeId=7), Reason.BAD_TYPE),
    "a renamed field": (renamed, Reason.MISSING_FIELD),
    "another word for a side": (lambda frame: changed(frame, side="long"), Reason.BAD_SIDE),
    "a price of zero": (lambda frame: changed(frame, px="0"), Reason.BAD_PRICE),
    "another type of message": (of_another_type, Reason.UNKNOWN_MESSAGE),
    "messages that name no market": (without_a_name, Reason.UNKNOWN_MESSAGE),
}


def gaps_of(recorder: Recorder) -> tuple[State, str]:
    health = recorder.tree.health("x:gaps")
    return health.state, health.reason


@pytest.mark.parametrize("sound", [0, 20])
@pytest.mark.parametrize("kind", sample(SPOILS, 3, "refused"))
async def test_health_reports_what_is_refused_and_the_history_stands_in_until_valid_trades_come(
    kind: str, sound: int, autojump_clock: MockClock
) -> None:
    venue, (spoil, reason) = Venue(), SPOILS[kind]
    async with recorded(venue) as recorder, trio.open_nursery() as nursery:
        await venue.go_on(BTC, 0.5, sound * 0.5)
        venue.spoil = spoil
        nursery.start_soon(venue.go_on, BTC, 0.5, 90.0)
        began = trio.current_time()
        await seen(lambda: recorder.reported("refusing"))
        assert trio.current_time() - began < MINUTE_S
        await trio.sleep(1)
        state, why = gaps_of(recorder)
        assert state is State.DEGRADED and reason.value in why and " rejected (" in why and "for example {" in why
        assert why.startswith("BTC/USDT: ") or kind == "messages that name no market"
        (gap,) = [gap for gap in recorder.gaps() if gap.reason is GapReason.REJECTED]
        assert gap.status is GapStatus.OPEN and gap.from_id == (str(999 + sound) if sound else None)
        assert coverage(recorder) == (["live", "unknown"] if sound else ["unknown"])
        await trio.sleep(3)
        assert venue.asked, "at once"
        await trio.sleep(17)
        stored = set(recorder.ids())
        assert set(venue.ids()[:-10]) <= stored, "the history is asked while it lasts"
        venue.spoil = str
        await seen(lambda: recorder.reported("refusing_ended"))
        assert gaps_of(recorder)[0] is State.OK
        await seen(lambda: [gap.status for gap in recorder.gaps()] == [GapStatus.FILLED])
        nursery.cancel_scope.cancel()
    ids = [number for number in recorder.ids() if number != "999"]
    assert sorted(map(str, ids)) == venue.ids()
    assert set(coverage(recorder)) <= {"live", "repaired"}
    recorder.check()


async def test_one_refused_market_of_two_leaves_the_other_a_live_record(autojump_clock: MockClock) -> None:
    venue = Venue()
    venue.spoil = lambda frame: changed(frame, ETH, px=None)
    async with recorded(venue, *BOTH) as recorder, trio.open_nursery() as nursery:
        nursery.start_soon(venue.go_on, BTC, 0.5, 60.0)
        nursery.start_soon(venue.go_on, ETH, 0.5, 60.0)
        await seen(lambda: recorder.reported("refusing"))
        await trio.sleep(2)
        assert {gap.symbol for gap in recorder.gaps()} == {"ETH/USDT"}
        assert coverage(recorder) == ["live"] and coverage(recorder, "ETH/USDT") == ["unknown"]
        (event,) = recorder.reported("refusing")
        assert event.detail["symbol"] == "ETH/USDT" and "BTC" not in event.reason
        nursery.cancel_scope.cancel()


async def test_a_bad_frame_now_and_then_is_no_alarm(autojump_clock: MockClock) -> None:
    venue, count = Venue(), 0

    def one_in_thirty(frame: str) -> str:
        nonlocal count
        count += 1
        return frame if count % 30 else changed(frame, px="0")

    venue.spoil = one_in_thirty
    async with recorded(venue, *BOTH) as recorder:
        await venue.go_on(BTC, 0.5, 150.0)
        assert recorder.account.rejected >= 10
        assert not recorder.reported("refusing", "degraded")
        assert GapReason.REJECTED not in {gap.reason for gap in recorder.gaps()}


def test_what_is_refused_between_valid_trades_lies_in_the_gap_where_ids_do_not_count() -> None:
    for promise, begins_at in ((IdPromise.OPAQUE, 3), (IdPromise.CONTIGUOUS, 9)):
        continuity = Continuity("x", {BOTH[0]: promise})
        continuity.connected(BOTH[:1], T0_NS)
        for at in (1, 9):
            row = block_of([(BOTH[0], str(at), T0_NS + at * SECOND_NS)])
            continuity.deduplicator.admit(row, 0, None, float(at))
        continuity.tick(20.0, T0_NS + 20 * SECOND_NS)
        continuity.take_gaps()
        continuity.refused(BOTH[0], T0_NS + 5 * SECOND_NS, T0_NS + 10 * SECOND_NS)
        gap = continuity.take_gaps()[-1]
        assert (gap.reason, gap.from_ns) == (GapReason.REJECTED, T0_NS + begins_at * SECOND_NS)


def test_an_outage_that_began_after_what_is_refused_does_not_hide_it() -> None:
    for promise, expected in ((IdPromise.OPAQUE, [GapReason.REJECTED]), (IdPromise.CONTIGUOUS, [])):
        continuity = Continuity("x", {BOTH[0]: promise})
        continuity.connected(BOTH[:1], T0_NS, 1)
        continuity.deduplicator.admit(block_of([(BOTH[0], "9", T0_NS + 9 * SECOND_NS)]), 0, None, 9.0)
        continuity.disconnected(BOTH[:1], T0_NS + 9 * SECOND_NS, session=1)
        continuity.take_gaps()
        continuity.refused(BOTH[0], T0_NS + 5 * SECOND_NS, T0_NS + 10 * SECOND_NS)
        gaps = continuity.take_gaps()
        assert [gap.reason for gap in gaps] == expected
        assert all(gap.spans(None, T0_NS + at * SECOND_NS) for gap in gaps for at in (5, 8))


def reject(payload: bytes = b"{}", symbol: str | None = None, at: int = 1) -> Reject:
    return Reject(at, "x", symbol, Reason.BAD_TYPE, "why", payload, len(payload))


def alarms_changed(refusals: Refusals, now: float) -> tuple[list[str | None], list[str | None]]:
    begun, ended = refusals.tick(now)
    return [one.symbol for one in begun], [one.symbol for one in ended]


def test_a_frame_of_many_bad_trades_is_one_accident() -> None:
    refusals = Refusals()
    refusals.note([reject(symbol=BOTH[0])] * 500, [], MARKETS, 0.0)
    assert alarms_changed(refusals, SETTLE_S) == ([], [])
    refusals.note([], [BOTH[0]], MARKETS, 1.0)
    assert alarms_changed(refusals, WINDOW_S) == ([], []) and not refusals.watched, "nothing is counted any more"


def test_a_tenth_of_a_market_is_an_alarm_and_less_is_none() -> None:
    for sound, alarm in ((9, True), (11, False)):
        refusals = Refusals()
        for _ in range(2 * READS_MIN):
            refusals.note([reject(symbol=BOTH[0])], [BOTH[0]] * sound + [BOTH[1]] * 900, MARKETS, 0.0)
        assert bool(alarms_changed(refusals, SETTLE_S)[0]) is alarm


def test_an_alarm_lasts_until_valid_trades_come() -> None:
    refusals = Refusals()
    for _ in range(READS_MIN):
        refusals.note([reject(symbol=BOTH[0])], [], MARKETS, 0.0)
    assert alarms_changed(refusals, SETTLE_S) == ([BOTH[0]], [])
    assert alarms_changed(refusals, SETTLE_S + 1000) == ([], [])
    refusals.note([], [BOTH[1]], MARKETS, 1006.0)
    assert alarms_changed(refusals, 2000.0) == ([], [])
    refusals.note([], [BOTH[0]], MARKETS, 2001.0)
    assert alarms_changed(refusals, 2001.0 + ALARM_WINDOW_S) == ([], [BOTH[0]]) and not refusals.alarms


@pytest.mark.parametrize(
    "payload",
    [
        b'{"s":"BTC-USDT"}',
        b'{"a":{"b":["x","BTC-USDT"]}}',
        b'["BTC-USDT",1',
        b'{"s":"BTC\\u002dUSDT","t":"BTC-USDT"}',
        b'{"ch":"market.BTC-USDT.trade.detail"}',
        b'{"stream":"trades:BTC-USDT"}',
        b'{"channel":"trades.ETH-USDT.x","symbol":"BTC-USDT"}',
        b"\x0a\x16deals@10ms@BTC-USDT\x1a\x08ETH-USDT0",
        b'{"side":"ETH-USDT","coin":"BTC-USDT"}',
    ],
)
def test_the_market_is_found_whatever_its_field_is_called(payload: bytes) -> None:
    refusals = Refusals()
    refusals.note([reject(payload)], [], MARKETS, 0.0)
    assert list(refusals.watched) == [BOTH[0]]


def test_messages_that_name_no_market_need_to_be_more_and_concern_all() -> None:
    refusals = Refusals()
    for count in range(1, UNNAMED_READS_MIN + 1):
        assert alarms_changed(refusals, SETTLE_S) == ([], [])
        refusals.note([reject(b"\x1b[2J\xff" * count)], [], MARKETS, 0.0)
    assert alarms_changed(refusals, SETTLE_S) == ([None], [])
    (alarm,) = refusals.alarms
    assert alarm.markets == set(BOTH) and alarm.alarm.isprintable()
