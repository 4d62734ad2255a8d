"""A lake of Delta tables in a folder: what commits, in which order, and that it does so once."""

from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest
from deltalake import DeltaTable

from actors.sink.lake.delta import DeltaLake
from actors.sink.lake.errors import LakeMisconfigured, LakeMoved
from actors.sink.lake.lake import Marks
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


def test_ticks_of_one_store_are_there_once(tmp_path: Path) -> None:
    source = MadeUpSource(3, "store", 6)
    lake = DeltaLake(str(tmp_path), "tokyo", {})
    while (sent := source.batches(lake.marks("store").committed, 30)) is not None:
        lake.commit(sent)
    found = Counter(DeltaTable(str(tmp_path / "ticks")).scan().read_all().column("trade_id").to_pylist())
    assert sorted(found) == source.trade_ids() and set(found.values()) <= {1}
