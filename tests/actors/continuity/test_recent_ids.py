"""A trade is remembered for minutes whatever the rate, in few bytes, and found by its time."""

from random import Random

import pytest

from actors.continuity import recent_ids as recent
from actors.continuity.recent_ids import HORIZON_NS, KEYS_MIN, RecentIds
from actors.exchanges.registry import EXCHANGES
from actors.model.records import GapReason
from actors.model.ticks import IdPromise
from tests.harness.continuity_rows import SECOND_NS, T0_NS, admit, one, tick
from tests.harness.exchange_values import WITH_HISTORY, history_of


def filled(per_s: int, seconds: int) -> tuple[RecentIds, list[tuple[int, int]]]:
    memory, trades = RecentIds(), []
    for n in range(per_s * seconds):
        trade = (hash(f"id-{n}"), T0_NS + n * SECOND_NS // per_s)
        trades.append(trade)
        memory.add(*trade)
    return memory, trades


def test_a_trade_is_remembered_for_as_long_as_feeds_are_late_and_then_forgotten() -> None:
    memory, trades = filled(per_s=100, seconds=400)
    newest_ns = trades[-1][1]
    young = [trade for trade in trades if trade[1] > newest_ns - HORIZON_NS]
    assert all(memory.holds(*trade) for trade in young)
    assert memory.beyond(trades[0][1]) and not memory.holds(*trades[0])
    assert not memory.holds(hash("another"), young[0][1])
    assert len(memory) < 1.2 * len(young)


def test_a_quiet_market_keeps_the_newest_whatever_their_age() -> None:
    memory = RecentIds()
    trades = [(hash(f"id-{n}"), T0_NS + n * 60 * SECOND_NS) for n in range(3 * KEYS_MIN)]
    for trade in trades:
        memory.add(*trade)
    assert all(memory.holds(*trade) for trade in trades[-KEYS_MIN:])


def test_a_flood_is_remembered_up_to_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    memory, count = RecentIds(keys_max=5_000), 20_000
    for n in range(count):
        memory.add(n, T0_NS + n)
    assert len(memory) <= 5_000 + recent.YOUNG_MAX
    held = [n for n in range(count) if memory.holds(n, T0_NS + n)]
    assert held == list(range(count - len(held), count))
    assert memory.reach_ns == T0_NS + held[0]


def test_trades_out_of_order_or_stamped_far_ahead_are_found_again() -> None:
    random, memory = Random(1), RecentIds()
    trades = [(n, T0_NS + n * SECOND_NS // 50 + random.randint(-SECOND_NS, SECOND_NS)) for n in range(10_000)]
    trades[2_000] = (2_000, T0_NS + 3_600 * SECOND_NS)
    for trade in trades:
        assert not memory.holds(*trade)
        memory.add(*trade)
        assert memory.holds(*trade)
    assert all(memory.holds(*trade) for trade in trades)


def test_what_was_stored_before_is_put_in_front_of_what_came_since() -> None:
    older, trades = filled(per_s=100, seconds=60)
    memory, begins_ns = RecentIds(), trades[-1][1] + SECOND_NS
    for n in range(2_000):
        memory.add(n, begins_ns + n * SECOND_NS // 100)
    memory.put_before(older, begins_ns)
    assert all(memory.holds(*trade) for trade in trades)
    assert all(memory.holds(n, begins_ns + n * SECOND_NS // 100) for n in range(2_000))


@pytest.mark.parametrize("promise", [IdPromise.OPAQUE, IdPromise.INCREASING])
def test_copies_that_come_ten_seconds_late_at_a_thousand_a_second_are_stored_once(promise: IdPromise) -> None:
    continuity, per_s = one(promise), 1_000
    for second in range(30):
        for late_s in (0, 10):
            since = (second - late_s) * per_s
            ids = [str(n) for n in range(max(0, since), since + per_s)]
            assert len(admit(continuity, ids, time_s=float(second - late_s))) == (0 if late_s else per_s)
    tick(continuity, 100.0)
    assert continuity.take_gaps() == []


def test_a_trade_older_than_the_memory_is_not_stored_and_the_history_is_queried_for_its_time() -> None:
    continuity = one(IdPromise.OPAQUE)
    for second in range(500):
        admit(continuity, [f"{second}-{n}" for n in range(10)], time_s=float(second))
    assert admit(continuity, ["1-1", "1-x"], time_s=1.0) == []
    tick(continuity, 501.0)
    (doubt,) = continuity.unfinished()
    assert (doubt.reason, doubt.from_ns, doubt.to_ns) == (GapReason.OVERFLOW, *(T0_NS + SECOND_NS,) * 2)
    stored = frozenset({"1-1"})
    assert admit(continuity, ["1-1", "1-x"], time_s=1.0, source="backfill", known=stored) == ["1-x"]


def test_where_old_trades_are_sent_again_unmarked_stream_and_history_have_the_same_times() -> None:
    """A trade of the history, or of a marked replay, is a copy by its id alone; a live one by its time too."""
    for name, exchange in EXCHANGES.items():
        dialect = exchange.feed
        if any(promise is not IdPromise.CONTIGUOUS for promise in dialect.ids.values()) and name in WITH_HISTORY:
            marked = dialect.replay_note == "none" or not dialect.replays_unmarked
            assert history_of(name).slack_ns == 0 or marked, name


def test_a_trade_of_a_history_that_cuts_its_times_off_is_a_copy() -> None:
    continuity = one(IdPromise.INCREASING)
    for second in range(100):
        admit(continuity, [f"{second * 10 + n}" for n in range(10)], time_s=second + 0.9)
    wanted = [f"{second * 10 + 3}" for second in range(100)]
    for at, trade_id in enumerate(wanted):
        assert admit(continuity, [trade_id], time_s=float(at), source="backfill") == []
    assert admit(continuity, ["2000"], time_s=50.0, source="backfill") == ["2000"]


def test_a_replayed_trade_is_a_copy_of_one_fetched_with_its_time_cut_off() -> None:
    continuity = one(IdPromise.OPAQUE)
    for second in range(100):
        admit(continuity, [f"{second}-{n}" for n in range(10)], time_s=float(second), source="backfill")
        admit(continuity, [f"{second}-{n}" for n in range(10, 20)], time_s=second + 0.5)
    for second in range(100):
        assert admit(continuity, [f"{second}-3"], time_s=second + 0.9, source="snapshot") == []
