"""Contiguous ids prove a range only if every trade of it is in the file, wherever a kill cut the file off."""

import duckdb
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from actors.continuity.proof_pace import PAUSE_S_MAX, PAUSE_S_MIN
from actors.continuity.restore import read_states
from actors.continuity.sequence_gaps import REORDER_S
from actors.model.records import FeedRow, GapReason, GapRow, GapStatus
from actors.model.ticks import IdPromise
from tests.harness.amounts import amount
from tests.harness.continuity_file import new_file, put_audit, put_feeds, put_gaps, put_ticks
from tests.harness.continuity_rows import BTC, SECOND_NS, T0_NS, block_of, one

Tick = tuple[str, int, int, str, int]  # id, time, received, source, fills
Entry = Tick | tuple[list[GapRow], list[FeedRow], str, int]  # what one batch adds; the last with its run and time

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("live"), st.integers(1, 12)),
        st.tuples(st.just("drop"), st.integers(1, 6)),
        st.tuples(st.just("swap"), st.integers(2, 6)),
        st.tuples(st.just("late"), st.integers(1, 4)),
        st.tuples(st.just("history"), st.integers(1, 20)),
        st.tuples(st.just("reconnect"), st.integers(0, 4)),
        st.tuples(st.just("give_up"), st.just(0)),
        st.tuples(st.just("kill"), st.integers(0, 9)),
        st.tuples(st.just("stop"), st.just(0)),
        st.tuples(st.just("reset"), st.sampled_from([-900, 50_000_000])),
        st.tuples(st.just("wait"), st.integers(1, 20)),
    ),
    max_size=16,
)


class World:
    """An exchange that numbers its trades, and a recorder whose file is what has become durable, in order."""

    def __init__(self) -> None:
        self.journal: list[Entry] = []
        self.made: dict[int, float] = {}
        self.next, self.now, self.runs = 1_000_000, 0.0, 0
        self.skipped: list[int] = []
        self._begin()

    @property
    def now_ns(self) -> int:
        return T0_NS + round(self.now * SECOND_NS)

    def _begin(self) -> None:
        self.runs += 1
        self.continuity = one()
        check(self)
        states = read_states(self.file(), {"x": {BTC: IdPromise.CONTIGUOUS}})["x"]
        self.continuity.restore(states, self.now_ns)
        self.continuity.connected([BTC], self.now_ns)
        self.tick()

    def make(self, count: int) -> list[int]:
        ids = list(range(self.next, self.next + count))
        for number in ids:
            self.now += 0.01
            self.made[number] = self.now
        self.next += count
        return ids

    def feed(self, ids: list[int], source: str = "stream") -> None:
        rows = [(BTC, str(n), T0_NS + round(self.made[n] * SECOND_NS)) for n in ids]
        block = block_of(rows, source)
        self.continuity.deduplicator.admit(block, 0, None, self.now)
        columns = (block.trade_id, block.exchange_ns, block.received_ns, block.source, block.fills)
        self.journal += zip(*columns, strict=True)  # type: ignore[arg-type]

    def tick(self, *, end: bool = False) -> None:
        self.continuity.tick(self.now, self.now_ns, end=end)
        block, _ = self.continuity.deduplicator.take_decided(self.now, end=end)
        columns = (block.trade_id, block.exchange_ns, block.received_ns, block.source, block.fills)
        self.journal += zip(*columns, strict=True)  # type: ignore[arg-type]
        gaps, feeds = self.continuity.take_gaps(), self.continuity.take_feeds()
        self.journal.append((gaps, feeds, f"r{self.runs}", self.now_ns))

    def step(self, what: str, n: int) -> None:
        continuity = self.continuity
        recent = list(range(max(min(self.made, default=self.next), self.next - n), self.next))
        if what == "live":
            self.feed(self.make(n))
        elif what == "drop":
            self.skipped += self.make(n)
            self.feed(self.make(2))
        elif what == "swap":
            self.feed(self.make(n)[::-1])
        elif what == "late":
            late, self.skipped = self.skipped[:n], self.skipped[n:]
            self.feed([number for number in late if self.next - number < 1_000])
        elif what == "history":
            self.feed([number for number in recent if number in self.made], "backfill")
        elif what == "reconnect":
            continuity.disconnected([BTC], self.now_ns)
            self.make(n)
            continuity.connected([BTC], self.now_ns)
        elif what == "give_up":
            for gap in continuity.unfinished():
                continuity.resolved(gap.gap_id, 0, GapStatus.LOST, self.now_ns)
        elif what == "kill":
            self.tick()
            del self.journal[max(0, len(self.journal) - n) :]
            self._begin()
        elif what == "stop":
            continuity.dropped([BTC], self.now_ns)
            self.tick(end=True)
            self._begin()
        elif what == "reset":
            self.next, self.skipped = max(1, self.next + n), []
            self.now += 3.0
            self.feed(self.make(6))
        self.now += n if what == "wait" else 0.3
        self.tick()

    def file(self, entries: int | None = None) -> duckdb.DuckDBPyConnection:
        """What is in the file once so many entries of the journal are durable."""
        con, ticks = new_file(), []
        for entry in self.journal[:entries]:
            if len(entry) == 5:
                ticks.append(entry)
                continue
            gaps, feeds, run, at_ns = entry
            put_gaps(con, gaps)
            put_feeds(con, [replace(row, run_id=run) for row in feeds])
            put_audit(con, run, at_ns)
        if ticks:
            put_ticks(con, ticks)
        return con


def proved(con: duckdb.DuckDBPyConnection, proof: str = "ids") -> list[tuple[int, int]]:
    return con.execute(
        "SELECT epoch_us(from_time) * 1000, epoch_us(to_time) * 1000 FROM coverage WHERE proof = $1 ORDER BY 1",
        [proof],
    ).fetchall()


def check(world: World, entries: int | None = None) -> list[tuple[int, int]]:
    con = world.file(entries)
    stored = {number for (number,) in con.execute("SELECT trade_id FROM ticks").fetchall()}
    ranges = proved(con)
    for number, at in world.made.items():
        at_ns = T0_NS + round(at * SECOND_NS)
        if str(number) not in stored:
            assert not any(low < at_ns < high for low, high in ranges), (number, ranges)
    return ranges


@settings(max_examples=amount(8, 300), deadline=None)
@example([("live", 1), ("live", 1), ("kill", 7), ("drop", 1), ("reset", -900), ("live", 1), ("kill", 4)], [])
@given(STEPS, st.lists(st.integers(0, 200), max_size=3))
def test_no_hole_lies_in_what_ids_prove_wherever_the_file_ends(
    steps: list[tuple[str, int]], cuts: list[int]
) -> None:
    world = World()
    world.feed(world.make(3))
    for what, n in steps:
        world.step(what, n)
    for cut in cuts:
        check(world, cut)
    check(world)
    world.feed(world.make(1))
    world.now += 2 * REORDER_S
    world.tick(end=True)
    check(world)


def test_a_run_without_a_hole_is_proved_to_its_newest_trade_and_no_further() -> None:
    world = World()
    for _ in range(20):
        world.feed(world.make(5))
        world.now += 1.0
        world.tick()
    world.now += 3600.0
    world.tick(end=True)
    first, last = min(world.made.values()), max(world.made.values())
    assert check(world) == [(T0_NS + round(first * SECOND_NS), T0_NS + round(last * SECOND_NS))]
    assert proved(world.file(), "none")[-1][1] == world.now_ns  # only the next trade can show the quiet hour


def test_a_hole_is_proved_neither_before_it_is_reported_nor_afterwards_until_it_is_filled() -> None:
    world = World()
    for _ in range(3):
        world.feed(world.make(5))
        world.now += PAUSE_S_MIN
        world.tick()
    world.now += PAUSE_S_MAX  # the next proof is due, and the hole is new
    (hole,) = world.make(1)
    world.feed(world.make(40))
    world.tick()
    ((_, until_ns),) = check(world)
    assert until_ns < T0_NS + round(world.made[hole] * SECOND_NS)
    world.now += REORDER_S + PAUSE_S_MIN
    world.feed(world.make(5))
    world.tick(end=True)
    assert len(check(world)) == 2
    world.feed([hole], "backfill")
    world.tick()
    check(world)
    statuses = world.file().execute("SELECT status, proof FROM coverage ORDER BY from_time").fetchall()
    assert [row for row in statuses if row[1] == "ids"] == [("live", "ids"), ("repaired", "ids"), ("live", "ids")]


def test_a_stop_and_a_start_leave_no_part_of_the_ids_unproved() -> None:
    world = World()
    world.feed(world.make(5))
    world.step("stop", 0)
    world.feed(world.make(5))
    world.now += 1.0
    world.tick(end=True)
    assert [gap.reason for gap in world.continuity.unfinished()] == []
    first, last = min(world.made.values()), max(world.made.values())
    assert check(world)[0][0] == T0_NS + round(first * SECOND_NS)
    assert check(world)[-1][1] == T0_NS + round(last * SECOND_NS)
    reasons = {row[0] for row in world.file().execute("SELECT reason FROM gaps").fetchall()}
    assert reasons == {GapReason.DOWNTIME.value}


def test_a_long_run_reports_seldom() -> None:
    world = World()
    for _ in range(6 * 3600 // 5):
        world.feed(world.make(1))
        world.now += 5.0
        world.tick()
    rows = [row for entry in world.journal if len(entry) == 4 for row in entry[1]]
    assert len(rows) < 2 * 6 * 3600 / PAUSE_S_MAX


def test_ids_that_are_no_numbers_prove_nothing_any_more() -> None:
    world = World()
    world.feed(world.make(5))
    block = block_of([(BTC, "4d1f", world.now_ns)])
    world.continuity.deduplicator.admit(block, 0, None, world.now)
    world.feed(world.make(5))
    world.now += PAUSE_S_MIN
    world.tick(end=True)
    assert proved(world.file()) == []
