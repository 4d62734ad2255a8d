"""A lake of Delta tables in a folder: what commits, in which order, and that it does so once."""

import os
import re
import time
from collections import Counter
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import deltalake
import pytest
from arro3.core import DataType
from deltalake import DeltaTable

from actors.sink.lake import handles
from actors.sink.lake.delta import DeltaLake
from actors.sink.lake.errors import LakeMisconfigured, LakeMoved, LakeUnavailable
from actors.sink.lake.lake import Batches, Marks
from actors.sink.lake.tables import TABLES
from tests.harness.lake_values import DAY, MadeUpSource, batch, ship, small_lake, to_batches, trades


def counted(uri: str) -> dict[str, int]:
    """The rows of each table in the lake, as delta-rs reads them."""
    there = {name: f"{uri}/{name}" for name in TABLES if DeltaTable.is_deltatable(f"{uri}/{name}")}
    return {name: DeltaTable(path).scan().read_all().num_rows for name, path in there.items()}


def test_a_lake_holds_the_rows_of_all_tables_of_all_recorders(tmp_path: Path) -> None:
    stored = small_lake(str(tmp_path / "lake"))
    rows = counted(str(tmp_path / "lake"))
    assert rows["ticks"] == sum(map(len, stored.values()))
    assert (rows["gap_states"], rows["feeds"], rows["audit"], rows["instruments"], rows["events"]) == (
        3,
        4,
        6,
        3,
        3,
    )


def test_a_commit_sets_the_mark_of_its_store_and_of_no_other(tmp_path: Path) -> None:
    lake = DeltaLake(str(tmp_path), "tokyo", {})
    assert lake.marks("one") == Marks(0, 0)
    ship(str(tmp_path), "tokyo", "one", [batch(7, trades("kraken", "BTC/USD", [1, 2]))])
    assert lake.marks("one") == Marks(7, 7)
    assert lake.marks("two") == Marks(0, 0)
    assert DeltaLake(str(tmp_path), "london", {}).marks("one") == Marks(0, 0)


def test_a_repeated_commit_adds_nothing(tmp_path: Path) -> None:
    source = MadeUpSource(1, "store", 5)
    sent = source.batches(0, 10**6)
    assert sent is not None
    DeltaLake(str(tmp_path), "tokyo", {}).commit(sent)
    before = counted(str(tmp_path))
    DeltaLake(str(tmp_path), "tokyo", {}).commit(sent)
    assert counted(str(tmp_path)) == before
    sent_rows = {name: rows for name, rows in before.items() if name != "shipments"}
    assert sent_rows == {name: rows for name, rows in source.expected().items() if rows}


def test_decimals_times_and_days_are_those_of_the_store(tmp_path: Path) -> None:
    ship(str(tmp_path), "tokyo", "store", [batch(1, trades("kraken", "BTC/USD", [5]))])
    found = DeltaTable(str(tmp_path / "ticks")).scan().read_all()
    row = {name: found.column(name)[0].as_py() for name in found.column_names}
    assert row["price"] == Decimal("60005.250000000000000000") and row["day"] == DAY
    assert (row["recorder"], row["store"], row["batch"], row["symbol"]) == ("tokyo", "store", 1, "BTC/USD")
    assert row["timestamp"].isoformat() == "2026-11-02T00:00:05+00:00"


def test_a_commit_that_starts_elsewhere_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    source = MadeUpSource(2, "store", 9)
    first, later = source.batches(0, 10**6, 3), source.batches(5, 10**6, 9)
    assert first is not None and later is not None
    lake = DeltaLake(str(tmp_path), "tokyo", {})
    lake.commit(first)
    with pytest.raises(LakeMoved, match="batches through 3"):
        lake.commit(later)
    assert lake.marks("store") == Marks(3, 3)


def test_an_empty_batch_raises_the_mark(tmp_path: Path) -> None:
    lake = DeltaLake(str(tmp_path), "tokyo", {})
    lake.commit(to_batches("store", 0, 4, []))
    assert lake.marks("store") == Marks(4, 4)


@pytest.mark.parametrize("uri", ["ftp://example/lake", "http://user:hidden-word@example/lake"])
def test_a_lake_elsewhere_than_in_a_folder_or_on_s3_is_refused(uri: str) -> None:
    with pytest.raises(LakeMisconfigured, match="expected a folder or") as found:
        DeltaLake(uri, "tokyo", {})
    assert "hidden-word" not in str(found.value)


def test_a_folder_may_have_any_name_that_delta_rs_can_use(tmp_path: Path) -> None:
    uri = str(tmp_path / "tä pe#?&+x")
    ship(uri, "tokyo", "store", [batch(1, trades("kraken", "BTC/USD", [1])), batch(2, [])])
    assert DeltaLake(uri, "tokyo", {}).marks("store") == Marks(2, 2) and [p.name for p in tmp_path.iterdir()] == [
        "tä pe#?&+x"
    ]


@pytest.mark.parametrize("char", list("%[]^|\\"))
def test_a_folder_that_delta_rs_cannot_use_is_refused_by_the_character(tmp_path: Path, char: str) -> None:
    for uri in (tmp_path / f"ta{char}20pe", tmp_path / f"a{char}" / "tape"):
        with pytest.raises(LakeMisconfigured, match=re.escape(f"expected a path without {char} anywhere in it")):
            DeltaLake(str(uri), "tokyo", {})


def test_ticks_of_one_store_are_there_once(tmp_path: Path) -> None:
    source = MadeUpSource(3, "store", 6)
    lake = DeltaLake(str(tmp_path), "tokyo", {})
    while (sent := source.batches(lake.marks("store").committed, 30)) is not None:
        lake.commit(sent)
    found = Counter(DeltaTable(str(tmp_path / "ticks")).scan().read_all().column("trade_id").to_pylist())
    assert sorted(found) == source.trade_ids() and set(found.values()) <= {1}


def test_marks_survive_checkpoints_the_cleanup_of_the_log_and_a_new_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handles, "CHECKPOINT_VERSIONS", 5)
    monkeypatch.setattr(handles, "CLEANUP_VERSIONS", 5)
    uri, log = str(tmp_path), tmp_path / "ticks" / "_delta_log"
    ship(uri, "tokyo", "old", [batch(9, trades("kraken", "BTC/USD", [1]))])
    london = DeltaLake(uri, "london", {})
    for number in range(1, 12):
        london.commit(to_batches("store", number - 1, number, []))
        for entry in log.iterdir():
            long_ago = entry.stat().st_mtime - 10 * 86_400
            os.utime(entry, (long_ago, long_ago))
    assert sorted(entry.name for entry in log.glob("*.json"))[0] == f"{10:020}.json"
    assert [entry.name[:20] for entry in log.glob("*.checkpoint.parquet")] == [f"{10:020}"]
    assert DeltaLake(uri, "tokyo", {}).marks("old") == Marks(9, 9)
    assert DeltaLake(uri, "london", {}).marks("store") == london.marks("store") == Marks(11, 11)
    ship(uri, "tokyo", "old", [batch(9, trades("kraken", "BTC/USD", [1])), batch(10, [])])
    assert counted(uri)["ticks"] == 1


def test_a_table_that_is_written_rarely_is_opened_again_before_its_log_is_cleaned_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handles, "CHECKPOINT_VERSIONS", 5)
    monkeypatch.setattr(handles, "CLEANUP_VERSIONS", 5)
    uri, log = str(tmp_path), tmp_path / "rejects" / "_delta_log"
    tokyo, london = DeltaLake(uri, "tokyo", {}), DeltaLake(uri, "london", {})
    source = MadeUpSource(5, "one", 2, rare=1)
    tokyo.commit(to_batches("one", 0, 1, [source.batch(1)]))
    now_s = time.monotonic() + 3600
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    for number in range(1, handles.CHECKPOINT_VERSIONS + 2):
        london.commit(to_batches("two", number - 1, number, [source.batch(2)]))
        for entry in log.iterdir():
            long_ago = entry.stat().st_mtime - 4000
            os.utime(entry, (long_ago, long_ago))
    assert not (log / f"{2:020}.json").exists()
    tokyo.commit(to_batches("one", 1, 2, [source.batch(2)]))
    assert DeltaLake(uri, "tokyo", {}).marks("one") == Marks(2, 2)


def test_a_column_that_the_lake_lacks_is_added(tmp_path: Path) -> None:
    ticks = TABLES["ticks"]
    columns = tuple(column for column in ticks.columns if column[0] != "fills")
    DeltaTable.create(
        str(tmp_path / "ticks"), replace(ticks, columns=columns).arrow, partition_by=["exchange", "day"]
    )
    ship(str(tmp_path), "tokyo", "store", [batch(1, trades("kraken", "BTC/USD", [1]))])
    assert DeltaTable(str(tmp_path / "ticks")).scan().read_all().column("fills").to_pylist() == [1]


def test_a_column_that_only_a_later_version_knows_stays_empty(tmp_path: Path) -> None:
    ticks = TABLES["ticks"]
    later = replace(ticks, columns=(*ticks.columns, ("later", DataType.string())))
    DeltaTable.create(str(tmp_path / "ticks"), later.arrow, partition_by=["exchange", "day"])
    ship(str(tmp_path), "tokyo", "store", [batch(1, trades("kraken", "BTC/USD", [1]))])
    assert DeltaTable(str(tmp_path / "ticks")).scan().read_all().column("later").to_pylist() == [None]


@pytest.mark.parametrize("wrong", ["type", "partitions"])
def test_a_table_of_another_program_is_refused(tmp_path: Path, wrong: str) -> None:
    ticks = TABLES["ticks"]
    columns = tuple(
        (name, DataType.int64() if name == "side" and wrong == "type" else kind) for name, kind in ticks.columns
    )
    DeltaTable.create(
        str(tmp_path / "ticks"),
        replace(ticks, columns=columns).arrow,
        partition_by=["exchange", "day"] if wrong == "type" else ["day"],
    )
    lake = DeltaLake(str(tmp_path), "tokyo", {})
    with pytest.raises(LakeMisconfigured, match="another program made this table"):
        lake.commit(to_batches("store", 0, 1, [batch(1, trades("kraken", "BTC/USD", [1]))]))


def test_a_lake_whose_mark_goes_back_is_refused(tmp_path: Path) -> None:
    """As a folder that is not mounted any more: what is sent to it would lie hidden under the mount."""
    lake = DeltaLake(str(tmp_path / "lake"), "tokyo", {})
    lake.commit(to_batches("store", 0, 4, []))
    (tmp_path / "lake").rename(tmp_path / "elsewhere")
    with pytest.raises(LakeUnavailable, match="File not found"):
        lake.marks("store")
    with pytest.raises(LakeMisconfigured, match="had batches through 4, now through 0"):
        lake.marks("store")


def test_a_commit_is_on_the_disk_before_the_next_table_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    real = os.fsync

    def fsync(fd: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{fd}").readlink()))
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    ship(str(tmp_path), "tokyo", "store", [batch(1, trades("kraken", "BTC/USD", [1]))])
    shipped, ticks = tmp_path / "shipments", tmp_path / "ticks"
    (data,) = ticks.rglob("*.parquet")
    day = data.parent
    expected = [
        shipped / "_delta_log" / f"{1:020}.json",
        data,
        day,
        day.parent,
        ticks,
        ticks / "_delta_log" / f"{1:020}.json",
    ]
    at = [
        synced.index(str(path)) if path != ticks else synced.index(str(path), synced.index(str(data)))
        for path in expected
    ]
    assert at == sorted(at) and str(ticks / "_delta_log") in synced[at[-1] :]


def test_what_a_killed_process_committed_is_synced_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda fd: None)
    ship(str(tmp_path), "tokyo", "store", [batch(1, trades("kraken", "BTC/USD", [1]))])
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(str(Path(f"/proc/self/fd/{fd}").readlink())))
    ship(str(tmp_path), "tokyo", "store", [batch(2, [])])
    assert str(tmp_path / "ticks" / "_delta_log" / f"{1:020}.json") in synced


def test_files_that_were_compacted_and_deleted_since_hinder_no_commit(tmp_path: Path) -> None:
    ship(str(tmp_path), "tokyo", "store", [batch(n, trades("kraken", "BTC/USD", [n])) for n in (1, 2)])
    ticks = DeltaTable(str(tmp_path / "ticks"))
    ticks.optimize.compact()
    assert ticks.vacuum(0, dry_run=False, enforce_retention_duration=False)
    ship(str(tmp_path), "tokyo", "store", [batch(3, trades("kraken", "BTC/USD", [3]))])
    assert counted(str(tmp_path))["ticks"] == 3


def test_a_version_whose_entry_the_power_cut_emptied_is_committed_again(tmp_path: Path) -> None:
    source = MadeUpSource(4, "store", 3)
    ship(str(tmp_path), "tokyo", "store", [source.batch(1), source.batch(2)])
    (tmp_path / "ticks" / "_delta_log" / f"{2:020}.json").write_bytes(b"")
    assert DeltaLake(str(tmp_path), "tokyo", {}).marks("store") == Marks(1, 2)
    ship(str(tmp_path), "tokyo", "store", [source.batch(2), source.batch(3)])
    found = DeltaTable(str(tmp_path / "ticks")).scan().read_all().column("trade_id").to_pylist()
    assert sorted(found) == source.trade_ids()


def test_a_commit_that_was_begun_is_repeated_with_its_own_range_only(tmp_path: Path) -> None:
    """Otherwise rows of other tables would be there for batches that the ticks of a later commit contain again."""

    def crash(name: str) -> None:
        if name == "lake.table":
            raise KeyboardInterrupt

    source = MadeUpSource(8, "store", 4, rare=1)
    begun, longer = source.batches(0, 1, 2), source.batches(0, 1, 4)
    assert begun is not None and longer is not None
    with pytest.raises(KeyboardInterrupt):
        DeltaLake(str(tmp_path), "tokyo", {}, crash_point=crash).commit(begun)
    lake = DeltaLake(str(tmp_path), "tokyo", {})
    assert lake.marks("store") == Marks(0, 2)
    with pytest.raises(LakeMoved, match="intends 2"):
        lake.commit(longer)
    lake.commit(begun)
    assert lake.marks("store") == Marks(2, 2) and counted(str(tmp_path))["rejects"] == 2


def test_batches_below_those_of_another_are_not_taken_for_sent(tmp_path: Path) -> None:
    """Two machines with one name and a copy of the file: see Ship, which reads the marks again then."""
    one, two = DeltaLake(str(tmp_path), "tokyo", {}), DeltaLake(str(tmp_path), "tokyo", {})
    assert two.marks("store") == Marks(0, 0)
    one.commit(to_batches("store", 0, 7, [batch(7, trades("kraken", "BTC/USD", [1]))]))
    fewer = to_batches("store", 0, 5, [batch(5, trades("kraken", "BTC/USD", [2]))])
    for _ in range(2):
        with pytest.raises(LakeMoved, match="has batches through 7"):
            two.commit(fewer)


def test_a_panic_of_delta_rs_is_an_error_that_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    panic = type("PanicException", (BaseException,), {})

    def write(*_: object, **__: object) -> None:
        raise panic("called `Result::unwrap()` on an `Err` value")

    lake = DeltaLake(str(tmp_path), "tokyo", {})
    with monkeypatch.context() as patch:
        patch.setattr(deltalake, "write_deltalake", write)
        with pytest.raises(LakeUnavailable, match="unwrap"):
            lake.commit(to_batches("store", 0, 1, []))
    lake.commit(to_batches("store", 0, 1, []))
    assert lake.marks("store") == Marks(1, 1)


def test_a_bug_of_ours_is_not_taken_for_an_unreachable_lake(tmp_path: Path) -> None:
    rows = to_batches("store", 0, 1, [batch(1, trades("kraken", "BTC/USD", [1]))])
    odd = rows.tables["ticks"].rename_columns([*rows.tables["ticks"].column_names[:-1], "dai"])
    with pytest.raises(ValueError, match="dai"):
        DeltaLake(str(tmp_path), "tokyo", {}).commit(Batches("store", 0, 1, 1, {"ticks": odd}))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_an_error_that_passes(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(LakeUnavailable, match="cannot be written"):
        DeltaLake(str(tmp_path / "lake"), "tokyo", {}).commit(to_batches("store", 0, 1, []))


def test_a_file_where_the_lake_should_be_is_an_error_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "lake").write_text("")
    with pytest.raises((LakeUnavailable, LakeMisconfigured), match="lake"):
        DeltaLake(str(tmp_path / "lake"), "tokyo", {}).commit(to_batches("store", 0, 1, []))
