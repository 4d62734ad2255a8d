"""Every trade is stored once, whatever is replayed; missing ids are reported as gaps."""

import gc
import sys
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.continuity.continuity import ENDED_TICKS, Continuity
from actors.continuity.deduplicator import Known
from actors.continuity.missing_ranges import MissingRange
from actors.continuity.recent_ids import KEYS_MIN
from actors.continuity.sequence_gaps import APART_MAX, JUMP_MAX, RANGES_MAX, REORDER_S
from actors.continuity.sequenced import ODD_KEYS
from actors.continuity.tracker import Tracker
from actors.continuity.tracker_state import TrackerState
from actors.model.records import FeedEvent, GapReason, GapRow, GapStatus
from actors.model.ticks import IdPromise
from tests.harness.continuity_rows import (
    BTC,
    ETH,
    SECOND_NS,
    T0_NS,
    admit,
    block_of,
    newest,
    one,
    remembering,
    reported,
    tick,
)

STATE_BYTES_MAX = {
    True: 224 * 1024,
    False: 96 * 1024,
}  # by whether ids are counted, so that missing ranges are kept


def size_of(thing: Any) -> int:
    """Bytes of everything that can be reached, without code and interned names."""
    seen: set[int] = set()
    total, queue = 0, [thing]
    while queue:
        item = queue.pop()
        if id(item) in seen or isinstance(item, (type, ModuleType)) or callable(item):
            continue
        seen.add(id(item))
        total += sys.getsizeof(item)
        queue.extend(gc.get_referents(item))
    return total


def test_rows_in_order_of_several_markets_all_stay() -> None:
    continuity = Continuity("x", {BTC: IdPromise.CONTIGUOUS, ETH: IdPromise.CONTIGUOUS})
    rows = [((BTC, ETH)[n % 2], str(100 + n // 2 + 1000 * (n % 2)), T0_NS + n) for n in range(50)]
    block = block_of(rows)
    assert continuity.deduplicator.admit(block, 0, None, 0.0) == 0
    assert len(block) == 50
    assert continuity.deduplicator.admit(block, 0, None, 0.0) == 50
    assert len(block) == 0
    assert continuity.take_gaps() == []


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["AB" * 20, "AAAB" * 5, "ABCDEF" * 5, "FEDCBA" * 3]), st.sampled_from([0, 0, 1, 5])
        ),
        max_size=4,
    ),
    st.integers(0, 2),
)
@settings(max_examples=60)
def test_ids_known_as_integers_change_no_verdict(reads: list[tuple[str, int]], before: int) -> None:
    continuities = [Continuity("x", dict.fromkeys("ABCDEF", IdPromise.CONTIGUOUS)) for _ in range(2)]
    following = dict.fromkeys("ABCDEF", 100)
    first = [("".join(following) * 2, 0)]  # then every market is in order
    for symbols, missing in first + reads:
        rows = list[tuple[str, int, int]]()
        for symbol in symbols:
            following[symbol] += missing if len(rows) == len(symbols) // 2 else 0
            rows.append((symbol, following[symbol], T0_NS + len(rows)))
            following[symbol] += 1
        blocks = [block_of([("A", "99", T0_NS)] * before) for _ in continuities]
        for block in blocks:
            for symbol, number, time_ns in rows:
                block.extend([symbol], [time_ns], [T0_NS], ["1"], ["1"], [None], [str(number)], ["stream"])
        numbers = [number for _, number, _ in rows]
        copies = [
            continuity.deduplicator.admit(block, before, None, 0.0, numbers=known)
            for continuity, block, known in zip(continuities, blocks, (None, numbers), strict=True)
        ]
        assert copies[0] == copies[1]
        assert blocks[0].lists() == blocks[1].lists()
        shared, other = (continuity.deduplicator.shared for continuity in continuities)
        assert (shared.marks, shared.lasts) == (other.marks, other.lasts)


def test_only_the_rows_from_start_on_are_judged() -> None:
    continuity = one()
    block = block_of([(BTC, "7", T0_NS)])
    continuity.deduplicator.admit(block, 0, None, 0.0)
    for number in ("7", "8", "8"):
        block.extend([BTC], [T0_NS], [T0_NS], ["1"], ["1"], [None], [number], ["stream"])
    assert continuity.deduplicator.admit(block, 1, None, 0.0) == 2
    assert block.trade_id == ["7", "8"]


@pytest.mark.parametrize("copies", [1, 3, 4, 30])
def test_copies_are_taken_out_of_every_column_and_the_rest_keeps_its_order(copies: int) -> None:
    continuity = one()
    admit(continuity, range(100))
    ids = [*range(50, 50 + copies), 100, *range(10, 10 + copies), 101, 102]
    assert admit(continuity, ids) == ["100", "101", "102"]


def test_at_the_end_an_id_that_could_still_come_late_is_missing() -> None:
    """The file is the last that is known of it, if the service never starts on it again."""
    continuity = one()
    admit(continuity, [1, 3])
    assert continuity.take_gaps() == []
    continuity.tick(0.1, T0_NS, end=True)
    (gap,) = continuity.take_gaps()
    assert (gap.from_id, gap.to_id, gap.missing, gap.status) == ("1", "3", 1, GapStatus.OPEN)


def test_an_id_that_comes_late_fills_its_missing_range_once() -> None:
    continuity = one()
    assert admit(continuity, [1, 2, 6, 4, 4, 3, 5, 3]) == ["1", "2", "6", "4", "3", "5"]
    tick(continuity, REORDER_S * 2)
    assert continuity.take_gaps() == []


def test_a_jump_is_a_gap_with_the_exact_count_when_the_short_window_is_over() -> None:
    continuity = one()
    admit(continuity, [10], at=0.0)
    admit(continuity, [15], at=1.0)
    tick(continuity, 1.0 + REORDER_S - 0.01)
    assert continuity.take_gaps() == []
    tick(continuity, 1.0 + REORDER_S)
    (row,) = continuity.take_gaps()
    assert (row.reason, row.status, row.missing) == (GapReason.SEQUENCE, GapStatus.OPEN, 4)
    assert (row.from_id, row.to_id) == ("10", "15")
    assert (row.from_ns, row.to_ns) == (T0_NS, T0_NS + SECOND_NS)
    assert continuity.missing_ids(row.gap_id) == [(11, 14)]
    tick(continuity, 9.0)
    assert continuity.take_gaps() == []


@pytest.mark.parametrize("markets", [(BTC,), (BTC, ETH)])
def test_a_gap_behind_a_burst_begins_with_the_bursts_last_trade(markets: tuple[str, ...]) -> None:
    continuity = Continuity("x", dict.fromkeys(markets, IdPromise.CONTIGUOUS))
    for first, last in ((1, 1), (2, 20), (25, 25)):
        rows = [(market, str(n), T0_NS + n) for n in range(first, last + 1) for market in markets]
        continuity.deduplicator.admit(block_of(rows), 0, None, 0.0)
    continuity.tick(REORDER_S, T0_NS)
    found = {(row.symbol, row.from_id, row.from_ns, row.to_id, row.missing) for row in continuity.take_gaps()}
    assert found == {(market, "20", T0_NS + 20, "25", 4) for market in markets}


def test_a_gap_is_filled_when_its_last_id_is_stored_and_not_before() -> None:
    continuity = one()
    admit(continuity, [10, 15])
    tick(continuity, REORDER_S)
    gap = continuity.take_gaps()[0].gap_id
    assert admit(continuity, [12, 14, 12, 11], at=3.0, source="backfill") == ["12", "14", "11"]
    assert continuity.take_gaps() == []
    assert admit(continuity, [13], at=3.0) == ["13"]
    (row,) = continuity.take_gaps()
    assert (row.gap_id, row.status, row.recovered, row.missing) == (gap, GapStatus.FILLED, 4, 4)
    assert continuity.unfinished() == []


def test_a_gap_closed_as_lost_can_still_be_filled_by_a_repair() -> None:
    continuity = one()
    admit(continuity, [10, 15])
    tick(continuity, REORDER_S)
    gap = continuity.take_gaps()[0].gap_id
    admit(continuity, [11], source="backfill")
    continuity.resolved(gap, 1, GapStatus.PARTIAL, T0_NS)
    (row,) = continuity.take_gaps()
    assert (row.status, row.recovered, row.closed_ns) == (GapStatus.PARTIAL, 1, row.at_ns)
    assert admit(continuity, [11, 12, 13, 14], source="backfill") == ["12", "13", "14"]
    (row,) = continuity.take_gaps()
    assert (row.status, row.recovered) == (GapStatus.FILLED, 4)


def test_many_jumps_at_once_become_one_gap_with_their_sum() -> None:
    continuity = one()
    admit(continuity, range(0, 4 * (APART_MAX + 2), 2))
    tick(continuity, REORDER_S)
    (row,) = continuity.take_gaps()
    assert row.missing == 2 * (APART_MAX + 2) - 1
    assert row.from_id == "0"


def test_ids_below_the_first_are_older_trades_and_no_gap() -> None:
    continuity = one()
    admit(continuity, [1000, 1001])
    assert admit(continuity, [500, 501, 500, 1000], source="backfill") == ["500", "501"]
    assert admit(continuity, [499, 700], source="backfill") == ["499", "700"]
    tick(continuity, 10.0)
    assert continuity.take_gaps() == []
    events = [(row.event, row.trade_id) for row in continuity.take_feeds()]
    assert events == [(FeedEvent.FIRST, "1000"), (FeedEvent.FIRST, "499")]


def test_a_row_that_stands_for_several_ids_leaves_no_gap() -> None:
    continuity = one()
    assert admit(continuity, [10, 13, 14, 34], spans=[1, 3, 1, 20]) == ["10", "13", "14", "34"]
    assert admit(continuity, [12, 34, 30, 39], spans=[1, 20, 1, 2]) == ["39"]
    tick(continuity, REORDER_S)
    (row,) = continuity.take_gaps()
    assert (row.from_id, row.to_id, row.missing) == ("34", "39", 3)
    assert admit(continuity, [35, 37], spans=[1, 2]) == ["35", "37"]
    assert continuity.take_gaps()[-1].status is GapStatus.FILLED


@pytest.mark.parametrize("odd", [None, "", "a1", "-5", "1_0", "09", " 12", "٣٣", "9" * 30])
def test_an_id_that_is_no_number_breaks_nothing(odd: str | None) -> None:
    continuity = one()
    assert admit(continuity, [5, 6]) == ["5", "6"]
    assert admit(continuity, [odd], at=1.0) == [odd]
    assert admit(continuity, [7, odd, 8]) == (["7", odd, "8"] if odd is None else ["7", "8"])
    tick(continuity, 9.0)
    assert continuity.take_gaps() == []
    assert admit(continuity, [10], at=10.0) == ["10"]
    tick(continuity, 19.0)
    assert [(row.from_id, row.to_id, row.missing) for row in continuity.take_gaps()] == [("8", "10", 1)]


def test_restarted_ids_are_accepted_after_three_and_reported() -> None:
    continuity = one()
    admit(continuity, range(1000, 2000), at=0.0)
    assert admit(continuity, [1000, 1001, 1002, 1003], at=60.0, time_s=0.0) == []
    kept = [admit(continuity, [1000 + n], at=60.0 + n / 10) for n in range(5)]
    assert kept == [[], [], ["1002", "1000", "1001"], ["1003"], ["1004"]]
    (row,) = newest(continuity.take_gaps()).values()
    assert (row.reason, row.status, row.from_id, row.to_id) == (
        GapReason.SEQUENCE,
        GapStatus.UNKNOWN,
        "1999",
        "1000",
    )
    assert FeedEvent.RESET in [row.event for row in continuity.take_feeds()]
    assert admit(continuity, [1003, 1004, 1005], at=70.0) == ["1005"]


def test_missing_ranges_from_before_the_restarted_ids_are_recorded_as_unknown() -> None:
    continuity = one()
    admit(continuity, [500, *range(1000, 1003), 1005], at=0.0)
    tick(continuity, REORDER_S)
    for n in range(3):
        admit(continuity, [1000 + n], at=60.0 + n)
    assert {row.status for row in newest(continuity.take_gaps()).values()} == {GapStatus.UNKNOWN}
    assert continuity.unfinished() == []
    assert admit(continuity, [1003], at=64.0) == ["1003"]


def test_neither_a_damaged_frame_nor_a_backfill_resets_the_ids() -> None:
    continuity = one()
    admit(continuity, range(1000, 1100), at=0.0)
    for at in range(60, 90):
        assert admit(continuity, [1007], at=float(at)) == []
    for n in range(1000, 1050):
        assert admit(continuity, [n], at=100.0 + n, source="backfill") == []
    assert admit(continuity, [1100], at=100.0) == ["1100"]
    assert tick(continuity, 100.0) == ([], ["1007"] * 30, 0)
    assert continuity.take_gaps() == []


def test_a_missing_range_that_is_cut_in_two_becomes_two_gaps_with_their_own_edges() -> None:
    continuity = one()
    admit(continuity, [10], at=0.0)
    admit(continuity, [20], at=1.0)
    admit(continuity, [15], at=1.5)
    tick(continuity, 9.0)
    low, high = continuity.take_gaps()
    middle_ns = T0_NS + round(1.5 * SECOND_NS)
    assert (low.from_id, low.to_id, low.missing, low.to_ns) == ("10", "15", 4, middle_ns)
    assert (high.from_id, high.to_id, high.missing, high.from_ns) == ("15", "20", 4, middle_ns)


def test_a_row_stands_for_no_id_below_one_that_is_stored_whatever_it_claims() -> None:
    continuity = one()
    admit(continuity, [10, 13])
    block = block_of([(BTC, "15", T0_NS)])
    block.fills[:] = [5]
    continuity.deduplicator.admit(block, 0, [5], 0.0)
    assert (block.trade_id, block.fills) == (["15"], [2])
    tick(continuity, 9.0)
    (row,) = newest(continuity.take_gaps()).values()
    assert continuity.missing_ids(row.gap_id) == [(11, 12)]
    assert admit(continuity, [12], spans=[9], at=9.0, time_s=0.0) == ["12"]
    assert newest(continuity.take_gaps())[row.gap_id].status is GapStatus.FILLED


def test_a_rising_id_that_comes_late_is_news_as_long_as_the_memory_reaches() -> None:
    continuity = one(IdPromise.INCREASING)
    ids = [n for n in range(10_000, 10_000 + KEYS_MIN * 2) if n != 10_000 + KEYS_MIN]
    admit(continuity, ids, at=0.0)
    assert admit(continuity, [10_000 + KEYS_MIN], at=0.0) == [str(10_000 + KEYS_MIN)]


def test_copies_of_old_trades_never_look_like_restarted_ids() -> None:
    continuity = one()
    admit(continuity, range(1000), at=100.0)
    for _ in range(20):
        assert admit(continuity, range(1000), at=200.0, time_s=100.0) == []
    assert continuity.take_gaps() == []


def test_a_market_without_times_is_not_dropped_for_ever_either() -> None:
    continuity = one()
    for at in (1_000_000, 0):
        block = block_of([(BTC, str(n), None) for n in range(at, at + 8_000)])
        continuity.deduplicator.admit(block, 0, None, 0.0)
        kept = len(block)
    assert kept > 0  # ids below the first are news anyway
    block = block_of([(BTC, str(n), None) for n in range(8_000)])
    continuity.deduplicator.admit(block, 0, None, 0.0)
    assert 0 < len(block) < 8_000


def test_an_absurd_jump_is_recorded_as_unknown_and_what_comes_after_still_counts() -> None:
    continuity = one()
    admit(continuity, [5])
    far = 5 + JUMP_MAX * 10
    assert admit(continuity, [far, far + 1, far + 2, 6, 7, 6]) == [str(n) for n in (6, 7, far, far + 1, far + 2)]
    (row,) = newest(continuity.take_gaps()).values()
    assert (row.status, row.missing) == (GapStatus.UNKNOWN, None)


def test_an_unconfigured_market_is_tracked_with_a_bounded_memory() -> None:
    continuity = one()
    assert admit(continuity, ["a", "a", "b"], symbol="NEW/USD") == ["a", "b"]


@pytest.mark.parametrize("promise", [IdPromise.INCREASING, IdPromise.OPAQUE])
def test_ids_without_sequence_are_stored_once_and_open_no_gap(promise: IdPromise) -> None:
    continuity = one(promise)
    assert admit(continuity, [5, 6, 9, 9, 5, 8]) == ["5", "6", "9", "8"]
    tick(continuity, 100.0)
    assert continuity.take_gaps() == []


def test_an_answer_of_a_thousand_old_trades_is_remembered() -> None:
    continuity = one(IdPromise.OPAQUE)
    ids = [f"a9188a0a-82bc-50de-be60-{n:012d}" for n in range(5000)]
    assert admit(continuity, ids) == ids
    assert admit(continuity, ids[-KEYS_MIN:], source="backfill") == []


def test_rising_ids_from_before_the_memory_are_copies_and_restarted_ids_are_accepted() -> None:
    continuity = one(IdPromise.INCREASING)
    admit(continuity, range(10_000, 16_000), at=0.0)
    assert admit(continuity, range(10_000, 10_100), at=1.0, time_s=0.0) == []
    kept = [admit(continuity, [n], at=60.0 + n / 10) for n in range(5)]
    assert kept == [[], [], ["2", "0", "1"], ["3"], ["4"]]
    assert newest(continuity.take_gaps()).popitem()[1].status is GapStatus.UNKNOWN


def test_ids_found_in_the_file_are_copies_whatever_the_memory_holds() -> None:
    continuity = one(IdPromise.OPAQUE)
    assert admit(continuity, ["a", "b"], source="backfill", known=frozenset("a")) == ["b"]


def test_twins_without_an_id_are_both_stored() -> None:
    continuity = one(IdPromise.NONE)
    assert admit(continuity, [None, None, None], at=1.0) == [None] * 3
    assert admit(continuity, [None], at=1.0) == [None]


@pytest.mark.parametrize("promise", [IdPromise.CONTIGUOUS, IdPromise.INCREASING, IdPromise.NONE])
def test_an_outage_before_the_first_trade_begins_with_the_recording(promise: IdPromise) -> None:
    """The connection may have delivered nothing for as long as the silence lasted that ended it."""
    continuity = one(promise)
    continuity.connected([BTC], T0_NS)
    continuity.disconnected([BTC], T0_NS + 60 * SECOND_NS)
    continuity.connected([BTC], T0_NS + 61 * SECOND_NS)
    admit(continuity, [8], at=70.0)
    (gap,) = newest(continuity.take_gaps()).values()
    assert (gap.from_ns, gap.to_ns) == (T0_NS, T0_NS + 70 * SECOND_NS)


def test_of_a_marked_replay_without_ids_only_new_trades_are_stored() -> None:
    continuity = one(IdPromise.NONE)
    admit(continuity, [None, None], at=1.0)
    assert admit(continuity, [None, None, None], at=1.0, source="snapshot") == [None]
    assert admit(continuity, [None], at=0.5, source="snapshot") == [None]
    assert admit(continuity, [None], at=0.5, source="snapshot") == []
    assert admit(continuity, [None], at=0.5) == [None]


@pytest.mark.parametrize("promise", list(IdPromise))
def test_the_memory_of_a_market_is_bounded(promise: IdPromise) -> None:
    continuity = one(promise)
    uuid = "a9188a0a-82bc-50de-be60-{:012d}".format
    for n in range(400):
        ids = [7_000_000_000 * 10 + n * 70 + k * 7 for k in range(10)]
        admit(continuity, ids if promise is not IdPromise.OPAQUE else [uuid(i) for i in ids], at=n * 1.0)
        admit(continuity, [None if promise is IdPromise.NONE else uuid(n * 9 + k) for k in range(9)], at=n * 1.0)
        continuity.suspect(BTC, T0_NS + n * SECOND_NS, GapReason.STALL)
        tick(continuity, n * 1.0)
        continuity.take_gaps()
        continuity.take_feeds()
    empty = size_of(one(promise).deduplicator.shared)
    assert size_of(continuity.deduplicator.trackers[BTC]) - empty < STATE_BYTES_MAX[promise is IdPromise.CONTIGUOUS]


def test_missing_ranges_beyond_their_number_are_reported_before_they_are_forgotten() -> None:
    continuity = one()
    rows: list[GapRow] = []
    count = 3 * RANGES_MAX
    for n in range(count):
        admit(continuity, [2 * n], at=n * 1.0)
        tick(continuity, n * 1.0)
        rows += continuity.take_gaps()
    tick(continuity, count + REORDER_S)
    rows += continuity.take_gaps()
    assert all(reported(rows, 2 * n + 1) for n in range(count - 1))
    assert GapStatus.UNKNOWN in {row.status for row in newest(rows).values()}
    assert admit(continuity, [1, 2 * count - 3], source="backfill") == [str(2 * count - 3)]


# -- against an oracle: the set of all ids ---------------------------------------------------------

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("live"), st.integers(1, 6)),
        st.tuples(st.just("drop"), st.integers(1, 5)),
        st.tuples(st.just("swap"), st.integers(2, 6)),
        st.tuples(st.just("copies"), st.integers(1, 9)),
        st.tuples(st.just("reconnect"), st.integers(0, 9)),
        st.tuples(st.just("restart"), st.integers(0, 4)),
        st.tuples(st.just("history"), st.integers(1, 20)),
        st.tuples(st.just("older"), st.integers(1, 5)),
        st.tuples(st.just("wait"), st.integers(0, 3)),
    ),
    max_size=40,
)


class World:
    """An exchange that numbers trades, and a recorder of which crashes may take the newest rows."""

    def __init__(self, promise: IdPromise) -> None:
        self.promise, self.continuity = promise, one(promise)
        self.next, self.now, self.made = 1000, 0.0, {}  # type: int, float, dict[int, float]
        self.journal: list[int | GapRow] = []  # what reaches the file, in order
        self.connected = True
        self.continuity.connected([BTC], 0)

    def make(self, count: int) -> list[int]:
        ids = list(range(self.next, self.next + count))
        self.next += count
        self.made.update((n, self.now) for n in ids)
        self.now += 0.1
        return ids

    def feed(self, ids: list[int], source: str = "stream") -> None:
        rows = [(BTC, str(n), T0_NS + round(self.made.get(n, 0.0) * SECOND_NS)) for n in ids]
        block = block_of(rows, source)
        self.continuity.deduplicator.admit(block, 0, None, self.now)
        self.journal += [int(text or "") for text in block.trade_id]

    @property
    def stored(self) -> list[int]:
        return [entry for entry in self.journal if isinstance(entry, int)]

    @property
    def gaps(self) -> list[GapRow]:
        return [entry for entry in self.journal if isinstance(entry, GapRow)]

    def step(self, what: str, n: int) -> None:
        continuity, now_ns = self.continuity, T0_NS + round(self.now * SECOND_NS)
        if what == "live":
            self.feed(self.make(n))
        elif what == "drop":
            self.make(n)
        elif what == "swap":
            self.feed(self.make(n)[::-1])
        elif what == "copies":
            self.feed([i for i in range(max(1000, self.next - n), self.next) if i in self.stored])
        elif what == "reconnect":
            continuity.disconnected([BTC], now_ns)
            self.make(n % 4)
            continuity.connected([BTC], 0)
            self.feed(list(range(max(1000, self.next - n), self.next)), "snapshot")
        elif what == "history":
            self.feed(list(range(max(1000, self.next - n), self.next)), "backfill")
        elif what == "older":
            self.feed(list(range(1000 - n, 1000)), "backfill")
        elif what == "restart":
            self.restart(n)
        self.now += n if what == "wait" else 0.1
        tick(self.continuity, self.now)
        self.journal += self.continuity.take_gaps()

    def restart(self, taken: int) -> None:
        """Trades and states of gaps reach the file in one order; a crash takes the end of it."""
        self.journal += self.continuity.take_gaps()
        self.continuity = one(self.promise)
        self.journal = self.journal[: max(0, len(self.journal) - taken)]
        self.continuity.restore([self.state()], T0_NS + round(self.now * SECOND_NS))
        self.continuity.connected([BTC], 0)

    def state(self) -> TrackerState:
        """What reading the file would give."""
        gaps = sorted(newest(self.gaps).values(), key=lambda row: row.opened_ns)
        unfilled = tuple(row for row in gaps if row.status is not GapStatus.FILLED)
        if not self.stored:
            return TrackerState("x", BTC, gaps=unfilled)
        low, high, have = min(self.stored), max(self.stored), set(self.stored)
        missing_ranges: list[MissingRange] = []
        for n in range(max(low, 1000), high):
            if n not in have:
                named = [
                    row.gap_id
                    for row in unfilled
                    if row.missing and int(row.from_id or 0) < n < int(row.to_id or 0)
                ]
                gap = named[-1] if named else None
                if missing_ranges and missing_ranges[-1].last == n - 1 and missing_ranges[-1].gap_id == gap:
                    missing_ranges[-1].last, missing_ranges[-1].to_id = n, str(n + 1)
                else:
                    missing_ranges.append(MissingRange(n, n, float("-inf"), T0_NS, T0_NS, str(n + 1), T0_NS, gap))
        last = max(self.stored, key=lambda n: self.made.get(n, -1.0))
        last_ns = T0_NS + round(self.made.get(last, 0.0) * SECOND_NS)
        left: dict[str, int] = {}
        for missing_range in missing_ranges:
            if missing_range.gap_id is not None:
                left[missing_range.gap_id] = left.get(missing_range.gap_id, 0) + missing_range.count
        trades = [(str(n), T0_NS + round(self.made.get(n, 0.0) * SECOND_NS)) for n in self.stored]
        recent = remembering(trades)
        return TrackerState(
            "x",
            BTC,
            str(last),
            last_ns,
            high,
            low,
            tuple(missing_ranges),
            left,
            recent,
            highest=high,
            gaps=unfilled,
        )


@settings(max_examples=400, deadline=None)
@given(STEPS, st.sampled_from([IdPromise.CONTIGUOUS, IdPromise.OPAQUE, IdPromise.INCREASING]))
def test_every_id_is_stored_at_most_once_and_every_missing_one_lies_in_a_gap(
    steps: list[tuple[str, int]], promise: IdPromise
) -> None:
    world = World(promise)
    world.feed(world.make(1))
    for what, n in steps:
        world.step(what, n)
    world.feed(world.make(1))
    world.now += 2 * REORDER_S
    tick(world.continuity, world.now)
    world.journal += world.continuity.take_gaps()
    assert len(world.stored) == len(set(world.stored))
    if promise is IdPromise.CONTIGUOUS:
        have = set(world.stored)
        first = min((n for n in have if n >= 1000), default=world.next)
        for n in range(first, world.next):
            assert n in have or reported(world.gaps, n), n
        if all(what != "restart" for what, _ in steps):
            missing_parts = [world.continuity.missing_ids(gap) for gap in newest(world.gaps)]
            named = {n for parts in missing_parts for low, high in parts for n in range(low, high + 1)}
            assert named == set(range(first, world.next)) - have
    states = newest(world.gaps).values()
    for row in states:
        if row.missing is not None:
            assert 0 <= row.recovered <= row.missing
            if row.status is GapStatus.FILLED:
                assert row.recovered == row.missing


@pytest.mark.parametrize("promise", [IdPromise.CONTIGUOUS, IdPromise.OPAQUE])
@pytest.mark.parametrize("looks", range(0, ENDED_TICKS, 5))
def test_the_end_of_a_recording_is_reported_when_nothing_can_be_on_its_way_any_more(
    promise: IdPromise, looks: int
) -> None:
    continuity = one(promise)
    continuity.connected([BTC], T0_NS, 1)
    for at in range(looks):
        tick(continuity, at)
    continuity.take_feeds()
    continuity.dropped([BTC], T0_NS + looks * SECOND_NS)
    for at in range(looks, looks + 6):
        tick(continuity, at)
    (end,) = continuity.take_feeds()
    assert (end.event, end.at_ns) == (FeedEvent.STOPPED, T0_NS + looks * SECOND_NS)


@pytest.mark.parametrize(
    ("session", "late_s", "ends_s"),
    [(1, 3, 3), (1, 4.9, 4.9), (1, 5.1, 0), (2, 3, 0), (0, 3, 0)],
    ids=["on its way", "just", "too late", "another session", "history"],
)
def test_a_recording_ends_with_the_last_trade_that_was_on_its_way(
    session: int, late_s: float, ends_s: float
) -> None:
    continuity = one()
    continuity.connected([BTC], T0_NS, 1)
    continuity.dropped([BTC], T0_NS)
    late_ns = T0_NS + round(late_s * SECOND_NS)
    block = block_of([(BTC, "7", late_ns - 5_000_000)])
    continuity.deduplicator.admit(block, 0, None, late_s, session=session)
    tick(continuity, 60.0)
    ends = [feed.at_ns for feed in continuity.take_feeds() if feed.event is FeedEvent.STOPPED]
    assert ends == [T0_NS + round(ends_s * SECOND_NS)]


def test_a_recording_that_has_ended_when_all_is_forgotten_has_its_end() -> None:
    continuity = one()
    continuity.connected([BTC], T0_NS, 1)
    continuity.dropped([BTC], T0_NS + SECOND_NS)
    continuity.forget([])
    tick(continuity, 60.0)
    fed = [(feed.event, feed.at_ns) for feed in continuity.take_feeds()]
    assert fed == [(FeedEvent.STARTED, T0_NS), (FeedEvent.STOPPED, T0_NS + SECOND_NS)]


def test_a_late_trade_with_an_id_that_is_no_number_is_listed_also_where_ids_count() -> None:
    """It is older than what is remembered of such ids, so it may be a copy."""
    continuity = one()
    continuity.connected([BTC], T0_NS, 1)
    admit(continuity, [1, 2])
    for number in range(6 * ODD_KEYS):
        admit(continuity, [f"a{number}"], at=1 + number / 10)
    assert admit(continuity, ["late"], at=80.0, time_s=2.05) == []
    tick(continuity, 81.0)
    (gap,) = newest(continuity.take_gaps()).values()
    late_ns = T0_NS + 2_050_000_000
    assert (gap.reason, gap.from_ns, gap.to_ns) == (GapReason.OVERFLOW, late_ns, late_ns)
    assert continuity.doubts(BTC), "the file is asked for what the history returns"
    assert admit(continuity, ["late"], at=82.0, time_s=2.05, source="backfill", known=Known({"a1"})) == ["late"]


def test_most_markets_that_have_ended_cost_a_tick_nothing_and_what_they_hold_is_decided_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ticked: list[str] = []

    def noted(tracker: Tracker, now: float, now_ns: int, *, end: bool = False) -> None:
        ticked.append(tracker.symbol)
        at_once(tracker, now, now_ns, end=end)

    at_once = Tracker.tick
    monkeypatch.setattr(Tracker, "tick", noted)
    names = [f"M{number}/USDT" for number in range(1000)]
    continuity = Continuity("x", dict.fromkeys([BTC, ETH, *names], IdPromise.CONTIGUOUS))
    continuity.connected([BTC, ETH, *names], T0_NS, 1)
    admit(continuity, [100, 1_000_000_000], symbol=ETH)
    continuity.delisted([ETH, *names], T0_NS)
    decided = list[str | None]()
    for number in range(1, 2 * ENDED_TICKS + 1):
        stored, refused, _ = tick(continuity, 2.0 * number)
        decided += stored + refused
    assert ticked.count(BTC) == 2 * ENDED_TICKS
    until_reported = 3  # their end is reported after five seconds; one of these may be their turn, too
    assert {ticked.count(name) for name in [ETH, *names]} <= {until_reported + 1, until_reported + 2}
    assert decided == ["1000000000"], "which no other row has confirmed"
    ticked.clear()
    continuity.wanted_again([ETH], T0_NS)
    for number in range(ENDED_TICKS):
        tick(continuity, 1e3 + number)
    assert ticked.count(ETH) == ENDED_TICKS
    ticked.clear()
    continuity.tick(1e6, T0_NS, end=True)
    assert len(ticked) == 1002, "at the end everything is decided"
