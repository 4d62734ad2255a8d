"""Of two connections one may hang while the other is out: each trade is stored or listed, and none is in vain."""

import itertools

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from actors.continuity.continuity import Continuity
from actors.continuity.recent_ids import RecentIds
from actors.continuity.tracker_state import TrackerState
from actors.model.records import GapReason, GapRow, GapStatus
from actors.model.ticks import Block, IdPromise
from tests.harness.amounts import amount
from tests.harness.continuity_rows import BTC, SECOND_NS, T0_NS, newest, remembering

PROMISES = (IdPromise.OPAQUE, IdPromise.INCREASING, IdPromise.NONE, IdPromise.REPEATED)
STEP_NS = SECOND_NS // 10


class Line:
    """One connection: `session` is 0 while it is out; `read` waits to be decoded, `held` to arrive. `ended`: the
    exchange has ended its subscription.
    """

    def __init__(self) -> None:
        self.session = 0
        self.hangs = self.mute = self.ended = False
        self.read: list[tuple[int, int]] = []
        self.held: list[int] = []


class World:
    """An exchange that numbers its trades, connections, and a service that is killed and started again."""

    def __init__(self, promise: IdPromise) -> None:
        self._promise, self._sessions, self.now_ns = promise, itertools.count(1), T0_NS
        self.lines = (Line(), Line(), Line())
        self.truth: list[int] = []  # the times of all trades
        self.stored: set[int] = set()
        self.gaps: list[GapRow] = []
        self.begin(())

    def begin(self, known: tuple[GapRow, ...]) -> None:
        self.continuity = Continuity("x", {BTC: self._promise}, compares=True)
        self._block = Block("x")
        for line in self.lines:
            line.__init__()  # type: ignore[misc]  # as new
        if self.stored:
            last_ns = max(self.stored)
            state = TrackerState("x", BTC, str(last_ns), last_ns, recent=self._memory(), gaps=known)
            self.continuity.restore([state], self.now_ns)

    def _memory(self) -> RecentIds | None:
        composite = self._promise in (IdPromise.NONE, IdPromise.REPEATED)
        return None if composite else remembering((str(ns), ns) for ns in self.stored)

    # -- what the exchange and the network do -----------------------------------------------------------

    def trade(self) -> None:
        self.now_ns += STEP_NS
        self.truth.append(self.now_ns)
        for line in self.lines:
            if line.session and not (line.mute or line.ended):
                self._bring(line, self.now_ns)

    def _bring(self, line: Line, made_ns: int) -> None:
        if line.hangs:
            line.held.append(made_ns)
        else:
            line.read.append((made_ns, self.now_ns))

    def open(self, line: Line) -> None:
        if not line.session:
            self.now_ns += STEP_NS // 2
            line.session = next(self._sessions)
            self.continuity.connected([BTC], self.now_ns, line.session)

    def end(self, line: Line) -> None:
        """The exchange ends the subscription; another trade was on its way then."""
        if line.session and not (line.ended or line.hangs):
            self.decode(line)
            self.now_ns += STEP_NS // 2
            self.continuity.disconnected([BTC], self.now_ns, session=line.session)
            self.trade()
            line.ended = True

    def renew(self, line: Line) -> None:
        """It is subscribed again."""
        if line.ended and not line.hangs:
            self.decode(line)
            self.now_ns += STEP_NS // 2
            line.ended = False
            self.continuity.connected([BTC], self.now_ns, line.session)

    def close(self, line: Line) -> None:
        """By the exchange, or because it was silent for too long."""
        if line.session:
            self.now_ns += STEP_NS // 2
            self.decode(line)
            if not line.ended:
                self.continuity.disconnected([BTC], self.now_ns, GapReason.DISCONNECT, line.session)
            line.session, line.hangs, line.mute, line.ended, line.held = 0, False, False, False, []

    def resume(self, line: Line) -> None:
        line.hangs, held = False, line.held
        line.held = []
        for made_ns in held:
            self._bring(line, made_ns)

    # -- what the service does --------------------------------------------------------------------------

    def decode(self, line: Line) -> None:
        read, line.read = line.read, []
        start = len(self._block)
        for made_ns, read_ns in read:
            number = str(made_ns) if self._promise is not IdPromise.NONE else None
            self._block.extend([BTC], [made_ns], [read_ns], ["1"], ["1"], ["buy"], [number], ["stream"])
        self.continuity.deduplicator.admit(self._block, start, None, self.now_ns / 1e9, session=line.session)

    def flush(self) -> None:
        """As the buffer: everything that was read, and the gaps."""
        for line in self.lines:
            if line.session:
                self.decode(line)
        self.gaps += self.continuity.take_gaps()
        times = [ns or 0 for ns in self._block.exchange_ns]
        assert self.stored.isdisjoint(times) and len(set(times)) == len(times)
        self.stored.update(times)
        self._block = Block("x")

    def tick(self) -> None:
        self.continuity.tick(self.now_ns / 1e9, self.now_ns)
        self.flush()

    def kill(self) -> None:
        """What is only in memory is lost."""
        self.now_ns += STEP_NS // 2
        self.begin(tuple(row for row in newest(self.gaps).values() if row.status is GapStatus.OPEN))

    # -- what is true -----------------------------------------------------------------------------------

    @property
    def listed(self) -> list[GapRow]:
        return [row for row in newest(self.gaps).values() if row.status is not GapStatus.FILLED]

    def check(self) -> None:
        """Between the first and the newest trade stored, each is stored or listed."""
        if self.stored:
            first, last = min(self.stored), max(self.stored)
            for made_ns in self.truth:
                if first < made_ns < last and made_ns not in self.stored:
                    assert any(row.spans(None, made_ns) for row in self.listed), (made_ns - T0_NS) / STEP_NS

    def do(self, what: str, which: int) -> None:
        line = self.lines[which]
        match what:
            case "trade":
                self.trade()
            case "hang":
                line.hangs = bool(line.session)
            case "mute":
                line.mute = bool(line.session)
            case "resume" | "open" | "close" | "decode" | "end" | "renew":
                getattr(self, what)(line)
            case _:
                getattr(self, what)()


WORDS = ("trade", "trade", "trade", "hang", "resume", "open", "open", "close", "decode", "flush", "tick")
ENDS = ("end", "renew", "renew")
STEPS = st.lists(st.tuples(st.sampled_from((*WORDS, *ENDS, "mute", "kill")), st.integers(0, 2)), max_size=60)


# what the second brings in the end was made before the first was out
BROUGHT_LATE = [
    *[("hang", 1), ("trade", 0), ("mute", 1), ("close", 0), ("trade", 0), ("open", 0), ("trade", 0)],
    *[("flush", 0), ("resume", 1)],
]
# of those that are back one is the first with a trade, which the others bring too
PENDING_PROVES_NOTHING = [
    *[("hang", 1), ("close", 0), ("trade", 0), ("open", 0), ("open", 2), ("trade", 0)],
    *[("decode", 2), ("decode", 0), ("trade", 0)],
]
# the first to be subscribed again, or another, delivers only after a trade that nobody brought
ENDED = [("close", 1), ("end", 0), ("flush", 0), ("trade", 0)]
OUT_WHILE_IT_HANGS = [("hang", 1), ("close", 0), ("trade", 0), ("open", 0), ("trade", 0)]


def begun(promise: IdPromise) -> World:
    """Both deliver, and a trade is stored."""
    world = World(promise)
    for line in world.lines[:2]:
        world.open(line)
    for _ in range(3):
        world.trade()
        world.tick()
    return world


@settings(max_examples=amount(200, 4_000), deadline=None)
@given(STEPS, st.sampled_from(PROMISES))
@example([("trade", 0), *OUT_WHILE_IT_HANGS, ("decode", 1), ("flush", 0)], PROMISES[0])
@example([*BROUGHT_LATE, ("flush", 0)], PROMISES[0])
@example([*PENDING_PROVES_NOTHING, ("flush", 0)], PROMISES[0])
@example([*OUT_WHILE_IT_HANGS, ("flush", 0), ("kill", 0)], PROMISES[0])
@example([*ENDED, ("renew", 0), ("trade", 0), ("flush", 0)], PROMISES[0])
@example(
    [("close", 1), ("end", 0), ("trade", 0), ("open", 1), ("flush", 0), ("trade", 0), ("flush", 0)], PROMISES[0]
)
def test_every_trade_is_stored_or_in_a_gap(steps: list[tuple[str, int]], promise: IdPromise) -> None:
    world = begun(promise)
    for what, which in steps:
        world.do(what, which)
        if what in ("flush", "tick", "kill"):
            world.check()
    for line in world.lines:
        world.close(line)
        world.open(line)
    world.trade()
    world.tick()
    world.check()


ALIVE = st.lists(st.tuples(st.sampled_from(WORDS), st.just(1)), max_size=40)


@settings(max_examples=amount(100, 2_000), deadline=None)
@given(ALIVE, st.sampled_from(PROMISES))
def test_nothing_is_listed_while_one_delivers_whatever_the_other_does(
    steps: list[tuple[str, int]], promise: IdPromise
) -> None:
    world = begun(promise)
    for what, which in steps:
        world.do(what, which)
    world.trade()
    world.tick()
    assert world.listed == [] and world.stored == set(world.truth)
    world.resume(world.lines[1])
    world.trade()
    world.tick()
    assert not world.continuity.deduplicator.trackers[BTC].unsettled
    assert all(row.missing == 0 for row in newest(world.gaps).values())


@pytest.mark.parametrize("promise", PROMISES)
def test_a_gap_that_is_withdrawn_before_it_is_stored_leaves_no_trace(promise: IdPromise) -> None:
    world = begun(promise)
    world.close(world.lines[0])
    world.open(world.lines[0])
    world.trade()
    world.decode(world.lines[0])
    assert world.continuity.unfinished() == []  # nothing to fetch yet
    world.decode(world.lines[1])
    world.tick()
    assert world.gaps == [] and world.continuity.gaps_opened == 0


def begun_with_a_gap() -> tuple[World, GapRow]:
    """The second connection hangs while the first one is replaced."""
    world = begun(IdPromise.OPAQUE)
    first, second, _ = world.lines
    second.hangs = True
    world.close(first)
    world.trade()
    world.open(first)
    world.trade()
    world.tick()
    (gap,) = world.continuity.unfinished()
    return world, gap


@pytest.mark.parametrize("outcome", [GapStatus.LOST, GapStatus.UNKNOWN, GapStatus.PARTIAL, GapStatus.FILLED])
def test_what_the_other_proves_later_holds_whatever_the_history_said(outcome: GapStatus) -> None:
    world, gap = begun_with_a_gap()
    second = world.lines[1]
    world.continuity.resolved(gap.gap_id, 0, outcome, world.now_ns)
    world.tick()
    assert [row.status for row in newest(world.gaps).values()] == [outcome]
    world.resume(second)
    world.tick()
    assert world.listed == [] and world.stored == set(world.truth)
    assert gap.gap_id not in world.continuity.deduplicator.shared.book


def test_a_gap_that_nobody_withdraws_is_as_the_history_said() -> None:
    world, gap = begun_with_a_gap()
    second = world.lines[1]
    world.continuity.resolved(gap.gap_id, 0, GapStatus.LOST, world.now_ns)
    world.close(second)
    world.tick()
    assert [row.status for row in world.listed] == [GapStatus.LOST]
    assert gap.gap_id not in world.continuity.deduplicator.shared.book


def test_one_that_has_lost_messages_itself_proves_nothing() -> None:
    world = begun(IdPromise.OPAQUE)
    first, second, _ = world.lines
    world.close(first)
    second.mute = True
    world.trade()
    second.mute = False
    world.open(first)
    world.trade()
    world.decode(first)
    (made_ns, read_ns), second.read = second.read[0], []
    row = ([BTC], [made_ns], [read_ns], ["1"], ["1"], ["buy"], [str(made_ns)], ["after_break"])
    block = Block("x")
    block.extend(*row)
    assert world.continuity.deduplicator.admit(block, 0, None, world.now_ns / 1e9, session=second.session) == 1
    world.trade()
    world.tick()
    world.check()
    assert len(world.listed) == 1


def test_one_that_goes_before_its_first_trade_leaves_nothing_behind() -> None:
    world = begun(IdPromise.OPAQUE)
    first, second, _ = world.lines
    world.close(first)
    for _ in range(3):
        world.open(first)
        world.close(first)
    world.close(second)
    world.open(first)
    world.trade()
    world.tick()
    world.check()
    assert not world.continuity.deduplicator.trackers[BTC].unsettled and len(world.listed) == 1
