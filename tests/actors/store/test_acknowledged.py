"""Acknowledged rows lost before they were merged are detected; foreign files in the tail are set aside."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from actors.continuity.continuity import Continuity
from actors.feed.accumulator import admit as admit_block
from actors.model.batch import Batch
from actors.model.errors import DatabaseLocked
from actors.model.records import EventRow, GapReason, GapRow, GapStatus
from actors.model.ticks import TICKS, Block, IdPromise
from actors.settings import DEFAULT_LIMITS, StoreLimits
from actors.sink.sink import Notice
from actors.store.database import FileDamaged, FileTrouble, opening_error
from actors.store.duckdb_messages import bare, held
from actors.store.filesystem import Files
from actors.store.store import Store
from tests.harness.amounts import variants
from tests.harness.continuity_rows import T0_NS, block_of
from tests.harness.store_harness import batch, ids_in, settings


def started(folder: Path, limits: StoreLimits = DEFAULT_LIMITS.store) -> Store:
    """A store that records."""
    one = Store(settings(folder), limits=limits)
    one.start()
    return one


def put(one: Store, *numbers: int) -> list[int]:
    """One batch a trade; returns the numbers of the batches."""
    made = []
    for number in numbers:
        made.append(one.next_number())
        one.write(batch(made[-1], [number]))
    return made


def segment(one: Store, number: int, table: str = "ticks") -> Path:
    """The file of a batch."""
    (found,) = [p for p in (one.tail / table).iterdir() if f"-{number:016}-" in p.name]
    return found


def said(one: Store) -> list[Notice]:
    """Notices of this kind."""
    return [notice for notice in one.notices if notice.event == "segments_vanished"]


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("compacted", variants(True, False))
def test_a_segment_that_vanished_is_an_event_and_a_gap_of_its_market(
    restart: bool, compacted: bool, tmp_path: Path
) -> None:
    one = started(tmp_path)
    numbers = put(one, *range(32 if compacted else 6))
    if compacted:
        assert one.compact()
        one.merge(rows_max=0)  # and what it replaced is deleted
        for path in (one.tail / "ticks").glob("1-*.parquet"):
            if f"-{numbers[3]:016}-" in path.name or int(path.name.split("-")[1]) <= numbers[3]:
                path.unlink()
                break
    else:
        segment(one, numbers[3]).unlink()
    if restart:
        one.close()
        one = started(tmp_path)
    one.merge()
    (notice,) = said(one)
    (gap,) = notice.gaps
    assert (gap.exchange, gap.symbol, gap.reason, gap.status) == (
        "binance",
        "BTC/USDT",
        GapReason.VANISHED,
        GapStatus.OPEN,
    )
    lost = notice.detail["rows"]
    assert lost == {"ticks": 16} if compacted else lost == {"ticks": 1}
    if not compacted:
        assert (gap.from_id, gap.to_id, gap.missing) == ("2", "4", 1)
        assert gap.from_ns == gap.to_ns == 1_700_000_000_000_003_000
        assert ids_in(one.path) == dict.fromkeys([0, 1, 2, 4, 5], 1)
    one.merge()
    assert len(said(one)) == 1  # once
    one.close()


def test_a_lost_tail_is_detected_and_recording_continues(tmp_path: Path) -> None:
    one = started(tmp_path)
    put(one, 0)
    one.merge()
    put(one, 1, 2, 3)
    shutil.rmtree(one.tail)
    one.merge()
    (notice,) = said(one)
    assert notice.detail["rows"] == {"ticks": 3, "events": 3, "audit": 3}
    assert [(gap.from_id, gap.to_id, gap.missing) for gap in notice.gaps] == [("0", "4", 3)]
    put(one, 4)
    assert ids_in(one.path) == {0: 1, 4: 1}
    one.close()


@pytest.mark.slow
def test_nothing_vanished_where_merges_folds_and_restarts_took_it_over(tmp_path: Path) -> None:
    one = started(tmp_path)
    for start in (0, 40, 80):
        put(one, *range(start, start + 40))
        one.compact()
        if start == 40:
            one.close()
            one = started(tmp_path)
        one.merge(rows_max=7)
    while one.merge().backlog:
        pass
    assert not said(one) and len(ids_in(one.path)) == 120
    one.finish(lambda: False)
    assert [path.name for path in tmp_path.iterdir()] == ["ticks.duckdb"]


def test_a_batch_without_ticks_is_missed_as_well(tmp_path: Path) -> None:
    one = started(tmp_path)
    number = one.next_number()
    one.write(Batch(number, events=batch(number, []).events))
    segment(one, number, "events").unlink()
    put(one, 1)
    one.merge()
    (notice,) = said(one)
    assert notice.detail["rows"] == {"events": 1} and not notice.gaps
    one.close()


def test_for_a_flood_only_times_are_noted_and_its_gap_is_unknown(tmp_path: Path) -> None:
    one = started(tmp_path, StoreLimits(noted_ids_rows_max=2))
    number = one.next_number()
    one.write(batch(number, [1, 2, 3]))
    segment(one, number).unlink()
    one.merge()
    (gap,) = said(one)[0].gaps
    assert (gap.from_id, gap.missing, gap.status) == (None, 3, GapStatus.UNKNOWN)
    assert (gap.from_ns, gap.to_ns) == (1_700_000_000_000_001_000, 1_700_000_000_000_003_000)
    one.close()


async def test_lost_trades_are_requested_from_the_history_and_stored_again(tmp_path: Path) -> None:
    one = started(tmp_path)
    numbers = put(one, *range(1, 8))
    for number in numbers[2:4]:
        segment(one, number).unlink()
    one.merge()
    (gap,) = said(one)[0].gaps
    one.close()
    continuity = Continuity("binance", {"BTC/USDT": IdPromise.CONTIGUOUS})
    assert not Continuity("binance", {}).vanished(gap)

    def admit(trade_id: int) -> bool:
        """As a row of a history."""
        block = Block("binance")
        time = [1_700_000_000_000_000_000 + trade_id * 1000]
        block.extend(["BTC/USDT"], time, time, ["1"], ["1"], ["buy"], [str(trade_id)], ["backfill"])
        return not admit_block(continuity, block, 0)

    assert [admit(i) for i in range(1, 8)] == [True] * 7
    assert continuity.vanished(gap)
    assert continuity.unfinished()[0].gap_id == gap.gap_id and continuity.missing_ids(gap.gap_id) == [(3, 4)]
    assert [admit(i) for i in (2, 3, 4, 5)] == [False, True, True, False]
    states = [row.status for row in continuity.take_gaps() if row.gap_id == gap.gap_id]
    assert states[-1] is GapStatus.FILLED and not continuity.unfinished()


@pytest.mark.parametrize("kind", variants("fifo", "rubbish", "folder", "symlink", "bytes", "long", kept=2))
def test_what_is_planted_in_the_tail_is_set_aside_and_not_fatal(kind: str, tmp_path: Path) -> None:
    one = started(tmp_path)
    (number,) = put(one, 1)
    name = f"0-{number + 1:016}-{number + 1:016}-1-00000000.parquet"
    folder = one.tail / "ticks"

    def plant() -> None:
        match kind:
            case "fifo":
                os.mkfifo(folder / name)
            case "folder":
                (folder / name / "deeper").mkdir(parents=True)
            case "symlink":
                (folder / name).symlink_to("/etc/passwd")
            case "bytes":
                (Path(os.fsdecode(os.fsencode(folder) + b"/\xff\x1b[2J.parquet"))).write_bytes(b"x")
            case "long":
                (folder / ("x" * 250)).write_bytes(b"x")
            case _:
                (folder / name).write_bytes(b"x")

    plant()
    one.merge()
    events = [notice.event for notice in one.notices]
    assert events in (["stray_file"], ["segment_damaged"])
    one.notices[0].reason.encode()
    assert ids_in(one.path) == {1: 1}
    one.close()
    plant()
    os.mkfifo(one.tail / ".partial" / "pipe")
    (one.tail / ".partial" / "folder").mkdir()
    again = started(tmp_path)
    put(again, 2)
    again.merge()
    assert ids_in(again.path) == {1: 1, 2: 1}
    again.finish(lambda: False)
    again.close()


NASTY = [
    "crypto",
    "corrupt",
    "blockchain",
    "lock",
    "WAL",
    "database is locked",
    "Could not set lock on file",
    "it's",
]
NASTY += [
    "Could not set lock on file",
    'a"b',
    "not a valid DuckDB database",
    "(PID 7)",
    "replaying WAL",
    "ü→",
    "No locks available",
]


@pytest.mark.parametrize("word", NASTY)
def test_an_error_is_not_judged_by_words_of_the_path(word: str) -> None:
    path = Path(f"/data/{word}/t.duckdb")
    trouble = duckdb.IOException(f'IO Error: Cannot open file "{path}": Permission denied')
    busy = duckdb.IOException(
        f'IO Error: Could not set lock on file "{path}": Conflicting lock is held in /x/{word}/python (PID 42). See'
    )
    damage = duckdb.IOException(f'IO Error: The file "{path}" exists, but it is not a valid DuckDB database file!')
    wal = duckdb.IOException(f'IO Error: Could not read enough bytes from file "{path}": attempted to read')
    assert type(opening_error(trouble, path)) is FileTrouble and not held(trouble, path)
    found = opening_error(busy, path)
    assert isinstance(found, DatabaseLocked) and found.pid == 42 and held(busy, path)
    for error in (damage, wal):
        torn = opening_error(error, path)
        assert isinstance(torn, FileDamaged) and not torn.wal
    assert word not in bare(trouble, [path])


@pytest.mark.parametrize("restart", variants(True, False))
def test_a_fold_of_batches_of_which_only_some_have_rows_of_a_table_is_no_loss(
    restart: bool, tmp_path: Path
) -> None:
    one = started(tmp_path)
    for number in range(32):
        event = EventRow(number * 1_000, "store", "noted") if number % 5 == 0 else None
        one.write(Batch(one.next_number(), blocks=batch(0, [number]).blocks, events=(event,) if event else ()))
    assert one.compact()
    if restart:
        one.close()
        one = started(tmp_path)
    one.merge()
    assert said(one) == [] and len(ids_in(one.path)) == 32


class BusyFiles(Files):
    """Calls `listed` after each listing of a folder of ticks."""

    listed: Callable[[], object] = staticmethod(lambda: None)

    def names(self, folder: Path) -> list[str]:
        found = super().names(folder)
        if folder.name == TICKS.name:
            self.listed()
        return found


def test_a_batch_written_while_the_segments_are_listed_is_not_reported_lost(
    tmp_path: Path,
) -> None:
    one, written = Store(settings(tmp_path), files := BusyFiles()), [1]
    one.start()
    put(one, 1)

    def write_another() -> None:
        written.append(written[-1] + 1)
        put(one, written[-1])

    files.listed = write_another
    for _ in range(3):
        one.merge()
    assert said(one) == [] and len(written) > 9 and sorted(ids_in(one.path)) == written


def test_trades_wrongly_reported_lost_are_not_stored_again() -> None:
    continuity = Continuity("x", {"BTC/USDT": IdPromise.CONTIGUOUS})
    rows_admitted(continuity, range(1, 11), "stream")
    gap = GapRow(
        9, "g", "x", "BTC/USDT", GapReason.VANISHED, 9, from_id="3", from_ns=1, to_id="7", to_ns=2, missing=3
    )
    assert continuity.vanished(gap) and continuity.doubts("BTC/USDT")
    stored = frozenset(map(str, range(1, 11))) - {"5"}
    assert rows_admitted(continuity, range(3, 8), "backfill", stored) == ["5"]
    (state,) = [row for row in continuity.take_gaps() if row.status is not GapStatus.OPEN]
    assert (state.status, state.recovered) == (GapStatus.FILLED, 3) and not continuity.doubts("BTC/USDT")


def rows_admitted(
    continuity: Continuity, ids: range, source: str, known: frozenset[str] = frozenset()
) -> list[str | None]:
    block = block_of([("BTC/USDT", str(number), T0_NS + number) for number in ids], source)
    continuity.deduplicator.admit(block, 0, None, 0.0, known=known)
    return list(block.trade_id)
