"""Damaged files are set aside and reported, lost rows are counted, and recording continues."""

import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import duckdb
import pytest
from msgspec.structs import replace

from actors.model.errors import DatabaseLocked
from actors.model.records import GapReason, GapRow, GapStatus
from actors.store.database import (
    DuckFile,
    FileDamaged,
    FileRefused,
    FileTrouble,
    SchemaNewer,
    opening_error,
)
from actors.store.filesystem import Files
from actors.store.identity import MARKER_NAME
from actors.store.store import Store
from actors.store.tables import TABLES
from tests.harness.amounts import amount, variants
from tests.harness.paths import ROOT
from tests.harness.rot import flip_one_bit
from tests.harness.store_harness import batch, ids_in, memory_folder, never, reader, settings
from tests.harness.store_reader import looking

NS = 1_700_000_000_000_000_000
TABLE_ROWS = dict.fromkeys((table.name for table in TABLES), 0)


def started(folder: Path) -> Store:
    """A store that has recovered."""
    one = Store(settings(folder))
    one.start()
    return one


def write(one: Store, *ids: int) -> int:
    """One batch; its number."""
    number = one.next_number()
    one.write(batch(number, ids))
    return number


@pytest.fixture(scope="module")
def stored_trades() -> Iterator[Path]:
    """In memory, for what several tests begin with."""
    with memory_folder() as folder:
        yield folder


@pytest.fixture(scope="module")
def filled_once(stored_trades: Path) -> Path:
    one = started(stored_trades / "filled")
    for i in (1, 2):
        write(one, i)
        one.merge()
    one.merge()  # the segments of 1 and 2 are gone now
    for i in (3, 4):
        write(one, i)
    one.close()
    return one.path.parent


@pytest.fixture
def filled(filled_once: Path, tmp_path: Path) -> Path:
    """A store that was killed: ticks 1 and 2 merged, 3 and 4 in the tail. The file's path."""
    shutil.copytree(filled_once, tmp_path, dirs_exist_ok=True)
    return tmp_path / "ticks.duckdb"


def events(one: Store) -> list[str]:
    """What the operator heard."""
    return [notice.event for notice in one.notices]


def truncate(data: bytes) -> bytes:
    """Its end is missing, which DuckDB does not mind."""
    return data[:-1000]


def flip_header(data: bytes) -> bytes:
    """One byte of the header."""
    return data[:4200] + bytes([data[4200] ^ 255]) + data[4201:]


def overwrite(data: bytes) -> bytes:
    """Nothing of it is left."""
    return Random(1).randbytes(len(data))


def empty(_: bytes) -> bytes:
    """No byte."""
    return b""


@pytest.mark.parametrize("spoil", variants(overwrite, empty))
def test_a_corrupt_file_that_was_complete_is_reported_as_such_alone(
    tmp_path: Path, spoil: Callable[[bytes], bytes]
) -> None:
    """A clean stop leaves no tail: the new file was not found without its own."""
    one = started(tmp_path)
    write(one, 1)
    assert not one.finish(never).backlog
    one.close()
    one.path.write_bytes(spoil(one.path.read_bytes()))
    again = started(tmp_path)
    write(again, 2)
    again.merge()
    assert events(again) == ["store_file_damaged"]
    again.close()


@pytest.mark.parametrize(
    ("spoil", "when"),
    variants(
        (flip_header, "at start"),
        (truncate, "while running"),
        (overwrite, "at start"),
        (truncate, "at start"),
        (empty, "at start"),
        (overwrite, "while running"),
        kept=2,
    ),
)
def test_a_corrupt_file_is_set_aside_and_recording_continues(
    tmp_path: Path, filled: Path, spoil: Callable[[bytes], bytes], when: str
) -> None:
    """Under a name with the time; what was in the tail is in the new file; the next start has nothing to say."""
    path = filled
    one = started(tmp_path) if when == "while running" else Store(settings(tmp_path))
    damaged = spoil(path.read_bytes())
    path.write_bytes(damaged)
    if when == "at start":
        one.start()
    else:
        assert one.merge().backlog
    (notice,) = one.notices
    assert notice.event == "store_file_damaged" and "2" in str(notice.detail["rows"])
    aside = [p for p in tmp_path.iterdir() if ".damaged-20" in p.name]
    assert [p.read_bytes() for p in aside] == [damaged] and str(aside[0]) in notice.reason
    write(one, 5)
    one.merge()
    assert ids_in(path) == {3: 1, 4: 1, 5: 1}
    one.close()
    again = started(tmp_path)
    assert not again.notices
    assert not again.finish(never).backlog
    assert ids_in(path) == {3: 1, 4: 1, 5: 1}
    again.close()


def trades(con: duckdb.DuckDBPyConnection) -> list[tuple[str]]:
    """All ids, read from the views as they are in a query of the service."""
    return con.execute("SELECT trade_id FROM ticks ORDER BY ALL").fetchall()


def test_a_block_that_a_query_of_the_service_cannot_read_has_the_file_set_aside_once(tmp_path: Path) -> None:
    """A start opens and counts such a file without an error; the next query has its answer from a new one."""
    one = started(tmp_path)
    write(one, *range(10_000, 13_000))
    one.merge()
    one.merge()
    write(one, 1)
    one.close()
    flip_one_bit(one.path)
    damaged = one.path.read_bytes()

    other = Store(settings(tmp_path))  # before its start: another process may record
    with pytest.raises(DatabaseLocked):
        other.consult(trades)
    assert one.path.read_bytes() == damaged and not other.notices
    other.start()
    assert not other.notices
    with pytest.raises(DatabaseLocked):
        other.consult(trades)
    (notice,) = other.notices
    assert notice.event == "store_file_damaged" and notice.alarm and "3000" in str(notice.detail["rows"])
    assert [str(p) for p in tmp_path.iterdir() if ".damaged-20" in p.name] == notice.detail["set_aside"]

    assert other.consult(trades) == [("1",)]
    write(other, 2)
    assert not other.merge().backlog and len(other.notices) == 1
    assert ids_in(other.path) == {1: 1, 2: 1}
    other.close()


def test_a_damaged_file_that_cannot_be_set_aside_is_no_error_of_the_query(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = started(tmp_path)
    write(one, *range(10_000, 13_000))
    one.merge()
    flip_one_bit(one.path)

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Files, "rename", refuse)
        with pytest.raises(DatabaseLocked):
            one.consult(trades)
    assert not one.notices
    with pytest.raises(DatabaseLocked):
        one.consult(trades)
    assert events(one) == ["store_file_damaged"]
    one.close()


def cut(data: bytes, at: int) -> bytes:
    """Nothing from there on."""
    return data[:at]


def flip(data: bytes, at: int) -> bytes:
    """One byte is wrong."""
    return data[:at] + bytes([data[at] ^ 255]) + data[at + 1 :]


def blank(data: bytes, at: int) -> bytes:
    """The 4 KB around it are zeros, as after a power cut."""
    begin = at // 4096 * 4096
    return data[:begin] + bytes(len(data[begin : begin + 4096])) + data[begin + 4096 :]


@pytest.mark.parametrize("spoil", variants(flip, cut, blank))
def test_no_damage_to_the_file_passes_with_fewer_rows(
    tmp_path: Path, filled_once: Path, spoil: Callable[[bytes, int], bytes]
) -> None:
    """Wherever it strikes: all rows are there, or the file is set aside and the notice counts what it held."""
    sound = (filled_once / "ticks.duckdb").read_bytes()
    random, outcomes = Random(11), set[bool]()
    headers = random.sample(range(3 * 4096), amount(1, 30))
    for at in [len(sound) - 1, *headers, *random.sample(range(len(sound)), amount(2, 100))]:
        case = tmp_path / f"{at}"
        shutil.copytree(filled_once, case)
        (case / "ticks.duckdb").write_bytes(spoil(sound, at))
        one = started(case)
        while one.merge().backlog:
            pass
        lost = bool(one.notices)
        assert ids_in(one.path) == dict.fromkeys([3, 4] if lost else [1, 2, 3, 4], 1), at
        for notice in one.notices:
            assert notice.event == "store_file_damaged" and notice.alarm
            assert notice.detail["rows"] == {**TABLE_ROWS, "ticks": 2, "events": 2, "audit": 2}
        outcomes.add(lost)
        one.close()
    assert True in outcomes


CRASHING = """
import sys
from pathlib import Path
from actors.store.filesystem import Files
from actors.store.store import Store
from actors.store.tables import TABLES
from tests.harness.store_harness import batch, settings
one = Store(settings(Path(sys.argv[1])))
one.start()
for i in range(1, 6):
    one.write(batch(one.next_number(), [i]))
one.merge()
one.write(batch(one.next_number(), [6]))
one.merge()
"""


@pytest.fixture(scope="module")
def killed_in_merge(stored_trades: Path) -> Path:
    """The folder of a store killed between the commit of its second merge and the checkpoint."""
    folder = stored_trades / "killed"
    environment = {**os.environ, "TICKWARDEN_CRASH_AT": "merge.committed:2"}
    done = subprocess.run([sys.executable, "-c", CRASHING, str(folder)], cwd=ROOT, env=environment)
    assert done.returncode == -signal.SIGKILL
    assert (folder / "ticks.duckdb.wal").stat().st_size > 0
    return folder


def test_a_wal_that_is_missing_cut_or_damaged_costs_nothing_and_does_not_pass_unseen(
    tmp_path: Path, killed_in_merge: Path
) -> None:
    """The segments of a merge go only after it has been closed, opened again and counted."""
    random = Random(5)
    size = (killed_in_merge / "ticks.duckdb.wal").stat().st_size
    spoilt: dict[str, Callable[[bytes], bytes | None]] = {
        "missing": lambda _: None,
        "whole": lambda data: data,
        "rubbish": lambda data: random.randbytes(len(data)),
    }
    for at in [size // 2, *random.sample(range(size), amount(0, 15))]:
        spoilt[f"cut at {at}"] = partial(cut, at=at)
        spoilt[f"flipped at {at}"] = partial(flip, at=at)
    for case, (how, spoil) in enumerate(spoilt.items()):
        folder = tmp_path / str(case)
        shutil.copytree(killed_in_merge, folder)
        wal = folder / "ticks.duckdb.wal"
        data = spoil(wal.read_bytes())
        wal.unlink() if data is None else wal.write_bytes(data)
        one = started(folder)
        while one.merge().backlog:
            pass
        assert ids_in(one.path) == dict.fromkeys(range(1, 7), 1), how
        assert set(events(one)) <= {"store_wal_damaged"}, how
        one.close()


def test_an_older_copy_of_the_file_is_detected_and_its_missing_rows_are_counted(tmp_path: Path) -> None:
    """A WAL lost after its segments were deleted looks the same."""
    one = started(tmp_path)
    write(one, 1)
    one.merge()
    old = one.path.read_bytes()
    write(one, 2, 3)
    one.merge()
    write(one, 4)
    one.merge()
    one.close()
    one.path.write_bytes(old)
    again = started(tmp_path)
    (notice,) = again.notices
    assert notice.event == "store_rows_missing" and "2 of ticks" in notice.reason
    assert notice.detail["lost"] == {"ticks": 2, "events": 1, "audit": 1}
    again.merge()
    assert ids_in(again.path) == {1: 1, 4: 1}
    assert len(again.notices) == 1
    again.close()


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EIO])
@pytest.mark.parametrize("name", ["manifest.jsonl", "acknowledged.jsonl", MARKER_NAME])
def test_a_record_that_cannot_be_read_for_a_moment_hides_no_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, number: int
) -> None:
    """The start ends with the error: without the record it would go on as if nothing had been stored."""
    one = started(tmp_path)
    write(one, 1)
    one.merge()
    old = one.path.read_bytes()
    write(one, 2)
    one.merge()
    write(one, 3)
    write(one, 4)
    one.close()
    one.path.write_bytes(old)
    min(p for p in (one.tail / "ticks").iterdir() if p.name[0] == "0").unlink()
    real = os.open

    def fails(path: str | Path, *args: Any, **more: Any) -> int:
        if Path(path).name == name:
            raise OSError(number, os.strerror(number), str(path))
        return real(path, *args, **more)

    again = Store(settings(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr("os.open", fails)
        with pytest.raises(OSError, match=os.strerror(number)):
            again.start()
    again.start()
    again.merge()
    assert {"store_rows_missing", "segments_vanished"} <= set(events(again))
    assert not {"segment_foreign", "store_tail_missing"} & set(events(again))
    again.close()


def test_a_wal_without_its_file_is_set_aside(tmp_path: Path, killed_in_merge: Path) -> None:
    """DuckDB would replay it into the new file; what the tail still has is merged again."""
    shutil.copytree(killed_in_merge, tmp_path, dirs_exist_ok=True)
    (tmp_path / "ticks.duckdb").unlink()
    one = started(tmp_path)
    assert events(one) == ["store_wal_damaged", "store_rows_missing"]
    assert one.notices[1].detail["lost"] == {"ticks": 5, "events": 5, "audit": 5}
    assert not (tmp_path / "ticks.duckdb.wal").exists()
    one.merge()
    assert ids_in(one.path) == {6: 1}
    one.close()


def test_any_flipped_byte_of_a_segment_is_found_its_rows_are_counted_and_the_rest_continues(tmp_path: Path) -> None:
    """Also where the format has no checksum; what else the batch held is kept."""
    one = started(tmp_path)
    for i in (1, 2, 3):
        write(one, 10 * i, 10 * i + 1)
    one.close()
    middle = sorted((one.tail / "ticks").glob("0-*"))[1]
    sound = middle.read_bytes()
    random = Random(3)
    end = len(sound)  # 87 before it: DuckDB then cannot read beyond the end
    for at in {end - 1, end - 87, *random.sample(range(end), amount(1, 25))}:
        case = tmp_path / str(at)
        case.mkdir()
        for name in ("ticks.duckdb", "ticks.duckdb.tail"):
            copy = shutil.copytree if (tmp_path / name).is_dir() else shutil.copy
            copy(tmp_path / name, case / name)
        damaged = case / "ticks.duckdb.tail" / "ticks" / middle.name
        damaged.write_bytes(sound[:at] + bytes([sound[at] ^ 1]) + sound[at + 1 :])
        one = started(case)
        one.merge()
        notice, lost = one.notices
        assert notice.event == "segment_damaged" and notice.detail["rows_lost"] == 2, at
        assert lost.event == "segments_vanished" and lost.detail["rows"] == {"ticks": 2}, at
        assert Path(str(notice.detail["set_aside"])).read_bytes() != sound
        assert ids_in(one.path) == {10: 1, 11: 1, 30: 1, 31: 1}
        one.close()
        again = started(case)
        again.merge()
        assert not again.notices and ids_in(again.path) == {10: 1, 11: 1, 30: 1, 31: 1}
        with looking(again.path) as con:
            assert con.execute("SELECT count(*) FROM events").fetchone() == (3,)
        again.close()


@pytest.mark.parametrize(
    ("table", "compacted"),
    variants(("ticks", True), ("gap_states", False), ("ticks", False), ("gap_states", True), kept=2),
)
def test_what_a_damaged_segment_held_is_missing_as_if_it_had_been_deleted(
    table: str, compacted: bool, tmp_path: Path
) -> None:
    """Its market's coverage would claim that nothing is missing there."""
    one = started(tmp_path)
    for i in range(20 if compacted else 2):
        row = GapRow(
            *(NS, f"gap {i}", "binance", "BTC/USDT", GapReason.DISCONNECT, NS),
            from_id=None,
            from_ns=NS,
            to_ns=NS + 1_000,
            status=GapStatus.LOST,
        )
        one.write(replace(batch(one.next_number(), [i]), gaps=(row,)))
    if compacted:
        assert one.compact()
    spoiled = sorted((one.tail / table).glob("1-*" if compacted else "0-*"))[0]
    if compacted:  # its sources are gone when nobody reads them any more
        for source in (one.tail / table).glob("0-*"):
            source.unlink()
    spoiled.write_bytes(overwrite(spoiled.read_bytes()))
    one.close()
    again = started(tmp_path)
    while again.merge().backlog:
        pass
    assert [notice.event for notice in again.notices] == ["segment_damaged", "segments_vanished"]
    (gap,) = (gap for notice in again.notices for gap in notice.gaps)
    assert (gap.exchange, gap.symbol, gap.reason) == ("binance", "BTC/USDT", GapReason.VANISHED)
    again.close()


def test_a_damaged_newest_segment_does_not_take_the_rest_of_its_batch_with_it(tmp_path: Path) -> None:
    """The ticks segment says that a batch happened; an empty one takes its place."""
    one = started(tmp_path)
    write(one, 1)
    write(one, 2)
    one.close()
    newest = max((one.tail / "ticks").glob("0-*"))
    newest.write_bytes(newest.read_bytes()[:10])
    for _ in range(2):
        one = started(tmp_path)
        with looking(one.path) as con:
            assert con.execute("SELECT count(*) FROM events").fetchone() == (2,)
        one.close()
    assert ids_in(one.path) == {1: 1}


def test_a_segment_that_is_damaged_while_the_service_runs_stops_no_merge(tmp_path: Path) -> None:
    """Nor a compacted segment."""
    one = started(tmp_path)
    for i in range(20):
        write(one, i)
    names = sorted((one.tail / "ticks").glob("0-*"))
    for i in (3, 17):
        names[i].write_bytes(overwrite(names[i].read_bytes()))
    one.compact()
    while one.merge().backlog:
        pass
    assert events(one) == ["segment_damaged", "segment_damaged", "segments_vanished"]
    assert ids_in(one.path) == {i: 1 for i in range(20) if i not in (3, 17)}
    one.close()


def test_a_merge_that_stumbles_over_a_segment_looks_at_all_of_them_again(tmp_path: Path) -> None:
    """It was sound when it was looked at."""
    one = started(tmp_path)
    for i in range(3):
        write(one, i)
    assert one.compact() == 0  # everything has been looked at
    name = sorted((one.tail / "ticks").glob("0-*"))[1]
    name.write_bytes(overwrite(name.read_bytes()))
    assert one.merge().backlog
    assert events(one) == ["segment_damaged"]
    assert one.merge().rows == 2
    assert ids_in(one.path) == {0: 1, 2: 1}
    one.close()


def test_the_parts_of_a_damaged_fold_count_again_while_they_are_there(tmp_path: Path) -> None:
    """Hidden ones too; nothing is lost then."""
    one = started(tmp_path)
    with reader() as other:
        other.open(one.path)
        for i in range(16):
            write(one, i)
        assert one.compact() > 0
        (compacted,) = (one.tail / "ticks").glob("1-*")
        compacted.write_bytes(overwrite(compacted.read_bytes()))
    one.close()
    again = started(tmp_path)
    (notice,) = again.notices
    assert notice.event == "segment_damaged" and notice.detail["rows_lost"] == 0
    assert ids_in(again.path) == dict.fromkeys(range(16), 1)
    again.merge()
    assert ids_in(again.path) == dict.fromkeys(range(16), 1)
    again.close()


def test_a_tail_beside_another_file_is_not_thrown_away_as_merged(tmp_path: Path) -> None:
    """Its batches are below that file's watermark, and not in it."""
    (tmp_path / "other").mkdir()
    one = started(tmp_path)
    write(one, 1, 11)
    one.merge()
    write(one, 2)
    one.close()
    other = started(tmp_path / "other")
    write(other, 100)
    other.merge()
    other.close()
    shutil.copy(other.path, one.path)
    again = started(tmp_path)
    assert set(events(again)) == {"segment_foreign", "store_rows_missing"}
    kept = [p for p in (one.tail / "aside").iterdir() if p.name.startswith("ticks-")]
    assert kept and "foreign" in kept[0].name
    write(again, 3)
    again.merge()
    assert ids_in(again.path) == {100: 1, 3: 1}
    again.close()


def test_a_file_of_a_later_version_or_with_tables_of_its_own_is_refused_untouched(
    tmp_path: Path, filled: Path
) -> None:
    """Somebody has to decide; nothing is renamed and nothing overwritten."""
    path = filled
    with duckdb.connect(str(path)) as con:
        con.execute("UPDATE schema_version SET version = 999")
    before = path.read_bytes()
    with pytest.raises(SchemaNewer, match="999"):
        started(tmp_path)
    assert path.read_bytes() == before
    (tmp_path / "own").mkdir()
    own = tmp_path / "own" / "ticks.duckdb"
    with duckdb.connect(str(own), config={"storage_compatibility_version": "v1.2.0"}) as con:
        con.execute("CREATE TABLE ticks AS SELECT 42 AS mine")
    with pytest.raises(FileRefused, match="another file"):
        started(tmp_path / "own")
    with duckdb.connect(str(own), read_only=True) as con:
        assert con.execute("FROM ticks").fetchall() == [(42,)]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (
            duckdb.IOException('Could not set lock on file "x": Conflicting lock is held in python (PID 42).'),
            DatabaseLocked,
        ),
        (duckdb.IOException('Could not set lock on file "x": File locks are not supported for this'), FileTrouble),
        (duckdb.IOException('Could not set lock on file "x": No locks available'), FileTrouble),
        (
            duckdb.ConnectionException("Can't open a connection to same database file with a different"),
            DatabaseLocked,
        ),
        (duckdb.IOException('Cannot open file "x": Permission denied'), FileTrouble),
        (duckdb.IOException('Could not write file "x": No space left on device'), FileTrouble),
        (duckdb.IOException("something never seen before"), FileTrouble),
        *(
            (kind(f'Failure while replaying WAL file "x.wal": {why}'), FileTrouble)
            for kind, why in (
                (duckdb.IOException, 'Could not write to "x": No space left on device'),
                (duckdb.IOException, "Disk quota exceeded"),
                (duckdb.IOException, 'Cannot open file "x.wal": Too many open files'),
                (duckdb.InternalException, 'Could not read from file "x.wal": Input/output error'),
                (duckdb.OutOfMemoryException, "failed to pin block of size 256.0 KiB"),
                (duckdb.IOException, "please raise max_temp_directory_size"),
            )
        ),
        (duckdb.IOException('The file "x" exists, but it is not a valid DuckDB database file!'), FileDamaged),
        (duckdb.IOException('Could not read enough bytes from file "x": attempted'), FileDamaged),
        (duckdb.Error("Corrupt database file: computed checksum 1 does not match stored checksum 2"), FileDamaged),
        (duckdb.InternalException("INTERNAL Error: Failure while replaying WAL file"), FileDamaged),
        (duckdb.IOException("The database file was created with an newer version of DuckDB."), SchemaNewer),
        (duckdb.CatalogException("Cannot open encrypted database without a key"), SchemaNewer),
    ],
)
def test_an_error_on_opening_is_damage_only_where_the_content_is_to_blame(error: duckdb.Error, kind: type) -> None:
    """A full disk, a missing right or a file system without locks must never get a good file renamed."""
    found = opening_error(error, Path("x"))
    assert type(found) is kind
    if "PID" in str(error):
        assert isinstance(found, DatabaseLocked) and found.pid == 42


def test_whatever_bytes_a_file_consists_of_it_is_opened_or_called_damaged(tmp_path: Path, filled: Path) -> None:
    """Never an error that would be tried again for ever."""
    sound = filled.read_bytes()
    random = Random(7)
    files = Files()
    for case in range(amount(8, 150)):
        data = bytearray(sound)
        match case % 3:
            case 0:
                del data[random.randrange(len(data)) :]
            case 1:
                data[random.randrange(12288)] ^= 1 << random.randrange(8)
            case _:
                at = random.randrange(len(data) - 64)
                data[at : at + 64] = random.randbytes(64)
        spoilt = tmp_path / "spoilt"
        spoilt.write_bytes(data)
        one = DuckFile(spoilt, settings(tmp_path), tmp_path, files)
        try:
            with one.opened() as con:
                one.exists_in(con)
        except (FileDamaged, SchemaNewer):
            pass
