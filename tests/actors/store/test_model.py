"""The store against a plain model: written, merged, compacted, held, crashed and restarted in any order."""

from contextlib import ExitStack

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from actors.model.errors import DatabaseLocked
from actors.settings import StoreLimits
from tests.harness.amounts import amount
from tests.harness.store_harness import CRASH_POINTS, StumblingFiles, World, memory_folder

SMALL = StoreLimits(compact_width=3, compact_rows_max=30, hide_s=0.0, keep_s=0.0)
EXAMPLES = amount(2, 200)


class StoreMachine(RuleBasedStateMachine):
    """Rules are what can happen; the invariant is what every reader must see at every moment."""

    def __init__(self) -> None:
        super().__init__()
        # Crashes are simulated, so the disk need not be real.
        self.stack = ExitStack()
        self.folder = self.stack.enter_context(memory_folder())
        self.world = World(self.folder, StumblingFiles, SMALL)
        self.world.start()

    def up(self) -> bool:
        return self.world.store is not None

    def down(self) -> bool:
        return self.world.store is None

    @precondition(up)
    @rule(rows=st.integers(0, 9), times=st.integers(1, 8))
    def write(self, rows: int, times: int) -> None:
        for _ in range(times):
            if self.world.store is not None:
                self.world.write(rows)

    @precondition(up)
    @rule(rows=st.integers(0, 9), step=st.integers(1, 8), also_compact=st.booleans())
    def write_and_fail(self, rows: int, step: int, also_compact: bool) -> None:
        assert isinstance(self.world.files, StumblingFiles)
        self.world.files.stumble = step
        self.world.write(rows)
        if isinstance(self.world.files, StumblingFiles):
            self.world.files.stumble = 0
        if also_compact and self.world.store is not None:
            self.world.compact()

    @precondition(up)
    @rule(rows_max=st.sampled_from([1, 10, 40, 10_000]))
    def merge(self, rows_max: int) -> None:
        held = self.world.holder is not None
        report = self.world.merge(rows_max)
        assert report is None or isinstance(report, DatabaseLocked) == held

    @precondition(up)
    @rule()
    def compact(self) -> None:
        self.world.compact()

    @precondition(up)
    @rule()
    def compact_and_sweep(self) -> None:
        for _ in range(3):  # hide what is replaced, then delete it
            if self.world.store is not None:
                self.world.compact()

    @rule(read_only=st.booleans())
    def a_reader_opens_and_stays(self, read_only: bool) -> None:
        self.world.hold(read_only=read_only)

    @precondition(lambda self: self.world.holder is not None)
    @rule()
    def the_reader_goes(self) -> None:
        self.world.release()

    @precondition(up)
    @rule(point=st.sampled_from(CRASH_POINTS), count=st.integers(1, 3))
    def a_crash_is_coming(self, point: str, count: int) -> None:
        self.world.arm(point, count)

    @precondition(up)
    @rule()
    def crash_now(self) -> None:
        self.world.fall()

    @precondition(down)
    @rule()
    def restart(self) -> None:
        self.world.start()

    @precondition(up)
    @rule()
    def finish(self) -> None:
        if self.world.pending is not None:
            self.world.write()
        if self.world.store is None:
            return
        held = self.world.holder is not None
        report = self.world.finish()
        if report is not None and not held:
            assert not (self.folder / "ticks.duckdb.tail").exists()

    @invariant()
    def every_reader_sees_the_truth(self) -> None:
        self.world.check()

    @invariant()
    def nothing_was_reported_lost_or_damaged(self) -> None:
        assert self.world.said == []

    def teardown(self) -> None:
        self.world.disarm()
        self.world.release()
        try:
            if self.world.store is None:
                self.world.start()
            if self.world.pending is not None:
                self.world.write()
            self.world.check()
            self.world.finish()
            self.world.check()
            assert self.world.said == []
            assert sorted(p.name for p in self.folder.iterdir()) == ["ticks.duckdb"]
        finally:
            self.stack.close()


def test_every_reader_sees_each_acknowledged_tick_once_whatever_happens_in_whatever_order() -> None:
    """Events of each batch too, once its fate is known."""
    run_state_machine_as_test(
        StoreMachine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=20,
            suppress_health_check=list(HealthCheck),
        ),
    )
