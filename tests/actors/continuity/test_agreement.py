"""Two connections prove a range only if both delivered each of its trades; where they differ there is a gap."""

import itertools

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.continuity.agreement import PAUSE_S_MAX, SILENT_S, TOLERANCE_S, WAITING_MAX
from actors.continuity.continuity import Continuity
from actors.continuity.proof_pace import PAUSE_S_MIN
from actors.model.records import FeedRow, GapReason, GapRow, GapStatus, Proof
from actors.model.ticks import Block, IdPromise
from tests.harness.amounts import amount
from tests.harness.continuity_file import new_file, put_audit, put_feeds, put_gaps
from tests.harness.continuity_rows import BTC, SECOND_NS, T0_NS, newest

A, B, C, D = 1, 2, 3, 4


class World:
    """Sessions that deliver the trades of one market, numbered in steps of ten."""

    def __init__(self, promise: IdPromise = IdPromise.OPAQUE, *sessions: int) -> None:
        self.continuity = Continuity("x", {BTC: promise}, compares=True)
        self.now, self.numbers = 1000.0, itertools.count()
        self.made: list[tuple[str | None, int]] = []
        self.had: dict[int, set[int]] = {
            one: set() for one in (A, B, C, D)
        }  # times of the trades that each delivered
        self.feeds: list[FeedRow] = []
        self.gaps: list[GapRow] = []
        for session in sessions or (A, B):
            self.continuity.connected([BTC], self.now_ns, session)

    @property
    def now_ns(self) -> int:
        return T0_NS + round(self.now * SECOND_NS)

    def trade(self, *sessions: int, price: str = "1", trade_id: str | None = "", copies: int = 1) -> None:
        """A trade of now that these sessions deliver."""
        text = f"{next(self.numbers) * 10}" if trade_id == "" else trade_id
        at_ns = self.now_ns
        self.made.append((text, at_ns))
        for session in sessions:
            self.had[session].add(at_ns)
            self.send(session, text, at_ns, price, copies)

    def send(
        self,
        session: int,
        text: str | None,
        at_ns: int,
        price: str = "1",
        copies: int = 1,
        source: str = "stream",
    ) -> None:
        block = Block("x")
        for _ in range(copies):
            block.extend([BTC], [at_ns], [self.now_ns], [price], ["1"], ["buy"], [text], [source])
        assert self.continuity.agreement is not None
        self.continuity.agreement.delivered(session, block, 0, self.now)
        self.continuity.deduplicator.admit(block, 0, None, self.now, session=session)

    def wait(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + 1.0)
            self.continuity.tick(self.now, self.now_ns)
        self.feeds += self.continuity.take_feeds()
        self.gaps += self.continuity.take_gaps()

    def end(self) -> None:
        self.continuity.dropped([BTC], self.now_ns)
        self.wait(0.0)
        self.feeds += self.continuity.take_feeds()

    def trades(self, count: int, *sessions: int) -> None:
        for _ in range(count):
            self.trade(*sessions)
            self.wait(0.5)

    @property
    def proved(self) -> list[tuple[int, int]]:
        rows = [row for row in self.feeds if row.proof is Proof.TWO_FEEDS]
        return [(row.time_ns or 0, row.until_ns or 0) for row in rows]

    @property
    def disagreements(self) -> list[GapRow]:
        return [row for row in newest(self.gaps).values() if row.reason is GapReason.DISAGREEMENT]

    def file(self) -> duckdb.DuckDBPyConnection:
        con = new_file()
        put_feeds(con, self.feeds)
        put_gaps(con, self.gaps)
        put_audit(con, "", self.now_ns)
        return con


def proves(world: World, at_ns: int) -> bool:
    return any(low <= at_ns < high for low, high in world.proved)


def check_proved_but_for(world: World, ended_ns: int, again_ns: int) -> None:
    """What both delivered is proved, and nothing of the time in between."""
    assert world.disagreements == []
    assert not any(low < again_ns and high > ended_ns for low, high in world.proved)
    assert proves(world, world.made[20][1]) and proves(world, world.made[-20][1])


def test_what_both_deliver_is_proved_up_to_the_newest_trade() -> None:
    world = World()
    world.trades(100, A, B)
    world.end()
    late_ns = world.made[30][1]
    assert world.disagreements == [] and world.proved[0][0] <= late_ns
    assert world.proved[-1][1] == world.made[-1][1]
    assert [high for _, high in world.proved[:-1]] == [low for low, _ in world.proved[1:]]
    words = world.file().execute("SELECT status, proof FROM coverage ORDER BY from_time").fetchall()
    assert words == [("live", "none"), ("live", "two_feeds"), ("live", "none")][: len(words)]


@pytest.mark.parametrize("promise", [IdPromise.OPAQUE, IdPromise.INCREASING, IdPromise.NONE, IdPromise.REPEATED])
def test_a_trade_that_only_one_delivers_is_a_gap_around_it_and_never_proved(promise: IdPromise) -> None:
    world = World(promise)
    world.trades(30, A, B)
    world.trade(A)
    (odd, odd_ns) = world.made[-1]
    world.trades(60, A, B)
    world.end()
    (gap,) = world.disagreements
    assert gap.from_ns is not None and gap.to_ns is not None and gap.bounded
    assert gap.from_ns < odd_ns < gap.to_ns and gap.status is GapStatus.OPEN
    assert not proves(world, odd_ns) and proves(world, world.made[25][1]) and proves(world, world.made[-9][1])
    assert odd is not None


@pytest.mark.parametrize("late_s", [0.5, TOLERANCE_S - 1.5])
def test_a_trade_that_comes_late_within_the_tolerance_agrees(late_s: float) -> None:
    world = World()
    world.trades(30, A, B)
    world.trade(A)
    (text, at_ns) = world.made[-1]
    for _ in range(int(late_s * 2)):
        world.trades(1, A, B)
    world.send(B, text, at_ns)
    world.trades(40, A, B)
    world.end()
    assert world.disagreements == [] and proves(world, at_ns)


@pytest.mark.parametrize("first", [A, B])
@pytest.mark.parametrize("promise", [IdPromise.OPAQUE, IdPromise.INCREASING])
def test_a_trade_that_one_connection_delivers_as_an_old_one_counts(promise: IdPromise, first: int) -> None:
    """Without a mark of the exchange all that comes soon after a request may have been made before it."""
    world = World(promise)
    world.trades(30, A, B)
    for _ in range(20):
        text, at_ns = f"{next(world.numbers) * 10}", world.now_ns
        for session in (first, A + B - first):
            world.send(session, text, at_ns, source="stream" if session == A else "snapshot")
        world.wait(0.5)
    world.trade(A)
    odd_ns = world.made[-1][1]
    world.trades(60, A, B)
    world.end()
    (gap,) = world.disagreements
    assert gap.from_ns is not None and gap.to_ns is not None and gap.from_ns < odd_ns < gap.to_ns
    assert gap.to_ns - gap.from_ns < 3 * SECOND_NS and not proves(world, odd_ns)
    assert proves(world, world.made[25][1]) and proves(world, at_ns - SECOND_NS)


def test_a_connection_that_delivers_nothing_proves_nothing_and_does_not_disagree() -> None:
    world = World()
    world.trades(40, A, B)
    silent_ns = world.now_ns
    world.trades(int(SILENT_S) * 3, A)
    world.end()
    assert world.disagreements == [] and max(high for _, high in world.proved) <= silent_ns


def test_a_connection_that_ends_proves_what_it_delivered_until_then_and_its_successor_goes_on() -> None:
    world = World(IdPromise.OPAQUE, A, B)
    world.trades(30, A, B)
    world.continuity.disconnected([BTC], world.now_ns, session=B)
    ended_ns = world.now_ns
    world.trades(30, A)
    again_ns = world.now_ns
    world.continuity.connected([BTC], world.now_ns, C)
    world.trades(60, A, C)
    world.end()
    check_proved_but_for(world, ended_ns, again_ns)


def test_a_delisted_market_proves_what_it_had_and_is_compared_again_when_it_returns() -> None:
    world = World()
    world.trades(30, A, B)
    world.continuity.delisted([BTC], world.now_ns)
    ended_ns = world.now_ns
    world.wait(60.0)
    world.continuity.wanted_again([BTC], world.now_ns)
    again_ns = world.now_ns
    for session in (C, D):
        world.continuity.connected([BTC], world.now_ns, session)
    world.trades(60, C, D)
    world.end()
    check_proved_but_for(world, ended_ns, again_ns)


def test_of_equal_trades_each_counts() -> None:
    world = World(IdPromise.NONE)
    world.trades(20, A, B)
    for copies, sessions in ((3, (A,)), (2, (B,))):
        at_ns = world.now_ns
        for session in sessions:
            world.send(session, None, at_ns, copies=copies)
    world.wait(0.5)
    world.trades(40, A, B)
    world.end()
    assert len(world.disagreements) == 1


@pytest.mark.parametrize("promise", [IdPromise.OPAQUE, IdPromise.INCREASING])
@pytest.mark.parametrize("late", [True, False])
def test_an_old_trade_that_is_newer_than_what_both_have_is_compared(promise: IdPromise, late: bool) -> None:
    """The other connection has lost it, or delivers it a moment later."""
    world = World(promise)
    world.trades(30, A, B)
    text, at_ns = f"{next(world.numbers) * 10}", world.now_ns
    world.send(B, text, at_ns, source="snapshot")
    world.wait(0.5)
    if late:
        world.send(A, text, at_ns)
    world.trades(60, A, B)
    world.end()
    assert (proves(world, at_ns), len(world.disagreements)) == ((True, 0) if late else (False, 1))


def test_what_a_silent_connection_sends_again_when_the_comparison_has_begun_anew_is_no_disagreement() -> None:
    world = World(IdPromise.OPAQUE)
    world.trades(30, A, B)
    world.trades(160, A)
    world.wait(6)
    for text, at_ns in world.made[-160:]:
        world.send(B, text, at_ns, source="snapshot")
    world.trades(60, A, B)
    world.end()
    assert world.disagreements == []


def test_a_trade_that_one_connection_sends_again_is_no_disagreement() -> None:
    world = World()
    world.trades(20, A, B)
    world.send(A, *world.made[-1])
    world.send(A, *world.made[-2])
    world.trades(40, A, B)
    world.end()
    assert world.disagreements == []


def test_feeds_that_go_on_disagreeing_leave_few_gaps_and_bounded_memory() -> None:
    world = World()
    for _ in range(3600):
        world.trade(A, B)
        world.trade(A)
        world.wait(1.0)
    assert 0 < len(world.disagreements) <= 3600 / PAUSE_S_MAX + 8
    assert world.proved == []
    for number in range(WAITING_MAX + 10):
        world.send(A, f"f{number}", world.now_ns)
    world.wait(2.0)
    agreement = world.continuity.agreement
    assert agreement is not None
    assert all(not feed.waiting for pair in agreement._pairs.values() for feed in pair.feeds)


def test_ids_that_count_the_trades_are_not_compared() -> None:
    world = World(IdPromise.CONTIGUOUS)
    world.trades(30, A, B)
    world.trades(30, A)
    world.end()
    assert world.disagreements == [] == world.proved


@pytest.mark.parametrize(
    ("outcome", "status", "words"),
    [
        (GapStatus.FILLED, GapStatus.FILLED, ("live", "history")),
        (GapStatus.LOST, GapStatus.UNKNOWN, ("unknown", "none")),
    ],
)
def test_the_history_decides_what_becomes_of_a_disagreement(
    outcome: GapStatus, status: GapStatus, words: tuple[str, str]
) -> None:
    world = World()
    world.trades(30, A, B)
    world.trade(A)
    odd_ns = world.made[-1][1]
    world.trades(30, A, B)
    (gap,) = world.disagreements
    world.continuity.resolved(gap.gap_id, 0, outcome, world.now_ns)
    world.end()
    assert world.disagreements[0].status is status
    row = world.file().execute(
        "SELECT status, proof FROM coverage, (SELECT make_timestamptz($1) AS moment)"
        " WHERE from_time <= moment AND moment < to_time",
        [odd_ns // 1000],
    )
    assert row.fetchone() == words


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("both"), st.integers(1, 12)),
        st.tuples(st.just("first"), st.integers(1, 3)),
        st.tuples(st.just("second"), st.integers(1, 3)),
        st.tuples(st.just("wait"), st.integers(1, 30)),
        st.tuples(st.just("reconnect"), st.integers(0, 3)),
        st.tuples(st.just("neither"), st.integers(1, 3)),
    ),
    max_size=25,
)


@settings(max_examples=amount(80, 5_000), deadline=None)
@given(STEPS, st.sampled_from([IdPromise.OPAQUE, IdPromise.NONE, IdPromise.INCREASING]))
def test_nothing_is_proved_that_not_both_have_delivered(steps: list[tuple[str, int]], promise: IdPromise) -> None:
    world = World(promise)
    world.trades(14, A, B)
    second = B
    sessions = itertools.count(10)
    for what, n in steps:
        if what == "wait":
            world.wait(float(n))
        elif what == "reconnect":
            world.continuity.disconnected([BTC], world.now_ns, session=second)
            second = next(sessions)
            world.had[second] = set()
            world.trades(n, A)
            world.continuity.connected([BTC], world.now_ns, second)
        else:
            who = {"both": (A, second), "first": (A,), "second": (second,), "neither": ()}[what]
            world.trades(n, *who)
    world.wait(PAUSE_S_MIN)
    world.end()
    for _, at_ns in world.made:
        deliveries = sum(at_ns in had for had in world.had.values())
        if deliveries == 1:  # what neither delivered, nobody can know
            assert not proves(world, at_ns)


def test_a_trade_stamped_an_hour_ahead_by_both_proves_nothing_of_that_hour() -> None:
    world = World()
    world.trades(30, A, B)
    for session in (A, B):
        world.send(session, "ahead", world.now_ns + 3600 * SECOND_NS)
    world.trades(60, A, B)
    world.end()
    assert max(high for _, high in world.proved) <= world.now_ns
