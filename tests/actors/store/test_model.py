"""The store against a plain model: written, merged, compacted, held, crashed and restarted in any order."""

from collections import Counter
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
        self.mark = 0  # of a lake
        self.shipped = Counter[int]()
        self.store_ids: set[str] = set()

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

    @precondition(up)
    @rule(rows_max=st.sampled_from([1, 20, 10_000]), again=st.booleans())
    def ship(self, rows_max: int, again: bool) -> None:
        self.ship_some(rows_max, again=again)

    def ship_some(self, rows_max: int = 10_000, *, again: bool = False) -> bool:
        """Reads the next batches as a lake does; returns whether there were any."""
        store = self.world.running
        try:
            found = store.batches(self.mark, rows_max)
        except DatabaseLocked:
            return False
        if found is None:
            return False
        assert found.above == self.mark < found.through
        self.store_ids.add(found.store_id)
        ticks = found.tables.get("ticks")
        ids = [] if ticks is None else [int(trade_id) for trade_id in ticks["trade_id"].to_pylist()]
        numbers = [] if ticks is None else ticks["batch"].to_pylist()
        by_batch: dict[int, list[int]] = {}
        for number, trade_id in zip(numbers, ids, strict=True):
            by_batch.setdefault(number, []).append(trade_id)
        written = self.world.acknowledged | self.world.doubtful
        assert by_batch == {number: written[number] for number in by_batch}, (
            "a batch is not what was written, or not whole"
        )
        assert list(by_batch) == sorted(by_batch) and all(found.above < n <= found.through for n in by_batch)
        assert sum(one.rows for one in found.shipped if one.table == "ticks") == found.ticks == len(ids)
        if again:
            repeated = store.batches(self.mark, 1, found.through)
            assert repeated is not None and repeated.shipped == found.shipped
        self.mark = found.through
        self.shipped.update(ids)
        return True

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
            if not self.world.running.store_id:  # the file was held until now; the service merges every minute
                self.world.merge(0)
            while self.ship_some(20):
                pass
            self.world.finish()
            self.world.check()
            assert self.shipped == (self.world.seen() or Counter()), "shipped is not what there is"
            assert len(self.store_ids) <= 1
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
