"""Committed batches are read again, each row once, wherever it is by then."""

from collections import Counter
from pathlib import Path
from typing import Any

import duckdb
import pytest

from actors.model.batch import Batch
from actors.model.errors import DatabaseLocked
from actors.settings import StoreLimits
from actors.sink.lake.lake import Batches
from actors.store.database import FileTrouble
from actors.store.segments import crc_of
from actors.store.store import Store
from actors.store.tables import TABLES
from tests.harness.recording_samples import ask, batch, settings, store, write
from tests.harness.store_harness import StumblingFiles, WatchedFiles, reader

ALL = 1_000_000
_IN_MEMORY = duckdb.connect(config={"threads": 1})
NARROW = StoreLimits(compact_width=3, compact_rows_max=30)


def rows_of(found: list[Batches], table: str) -> list[tuple[Any, ...]]:
    """The rows of a table, with batch and day."""
    with _IN_MEMORY.cursor() as con:
        con.execute("SET TimeZone = 'UTC'")
        return [
            row
            for batches in found
            if table in batches.tables
            for row in con.register("rows", batches.tables[table]).execute("FROM rows").fetchall()
        ]


def read_all(made: Store, rows_max: int = ALL, above: int = 0) -> list[Batches]:
    """All batches above `above`, piece by piece."""
    found: list[Batches] = []
    while (batches := made.batches(above, rows_max)) is not None:
        assert (batches.store_id, batches.above) == (made.store_id, above) and batches.through > above
        found.append(batches)
        above = batches.through
    return found


def test_what_is_read_is_what_the_views_show(tmp_path: Path) -> None:
    configured = settings(tmp_path)
    with store(configured) as made:
        merged, numbers = write(made, 3), []
        made.merge()
        made.merge()  # the first one's segments are gone now
        numbers = write(made, 2)
        found = read_all(made)
        assert [batches.through for batches in found] == [numbers[-1]]
        with duckdb.connect(configured.path, read_only=True) as con:
            con.execute("SET TimeZone = 'UTC'")
            for table in TABLES:
                seen = Counter(con.execute(f"SELECT {table.names} FROM {table.name}").fetchall())
                assert Counter(row[:-2] for row in rows_of(found, table.name)) == seen, table.name
        assert numbers_of(found) == dict.fromkeys(merged + numbers, 6)
        assert {str(row[-1]) for row in rows_of(found, "ticks")} == {"2026-06-01"}
        assert found[0].ticks == 30
        assert {(s.table, s.exchange, str(s.day), s.rows) for s in found[0].shipped} == {
            ("ticks", "binance", "2026-06-01", 30),
            ("rejects", "binance", "2026-06-01", 5),
            ("events", "", "2026-06-01", 5),
            ("audit", "binance", "2026-06-01", 5),
        }


def test_pieces_are_whole_batches_and_at_least_one(tmp_path: Path) -> None:
    with store(settings(tmp_path)) as made:
        first = write(made, 2)
        made.merge()
        made.merge()
        second = write(made, 2)
        assert [(b.through, b.ticks) for b in read_all(made, 1)] == [(n, 6) for n in first + second]
        assert [b.ticks for b in read_all(made, 7)] == [12, 12]
        found = made.batches(first[0], 1, second[0])
        assert found is not None and (found.above, found.through, found.ticks) == (first[0], second[0], 12)
        assert made.batches(second[1], 1) is None


def test_the_file_is_opened_only_for_what_the_tail_has_no_more(tmp_path: Path) -> None:
    configured = settings(tmp_path)
    with store(configured) as made, reader() as other:
        first = write(made)
        made.merge()
        assert other.open(configured.path, read_only=False) == []
        assert [b.ticks for b in read_all(made)] == [6]  # merged, and not deleted yet
        other.close()
        made.merge()
        second = write(made)
        assert other.open(configured.path, read_only=False) == []
        assert [b.through for b in read_all(made, above=first[0])] == second
        with pytest.raises(DatabaseLocked):
            made.batches(0, ALL)
        other.close()
        assert other.open(configured.path) == []  # beside a reader
        assert [b.ticks for b in read_all(made)] == [12]


def test_the_store_keeps_its_id_and_its_batches_over_clean_stops(tmp_path: Path) -> None:
    configured = settings(tmp_path)
    with store(configured) as made:
        store_id = made.store_id
        numbers = write(made, 2)
        made.finish(lambda: False)
        assert [b.ticks for b in read_all(made)] == [12]
    with store(configured) as made:
        assert made.store_id == store_id != ""
        assert read_all(made, above=numbers[-1]) == []
        numbers += write(made)
        assert numbers_of(read_all(made)) == dict.fromkeys(numbers, 6)
    assert ask(configured.path, "SELECT count(DISTINCT batch) FROM store.ticks") == [(2,)]


def numbers_of(found: list[Batches], table: str = "ticks") -> Counter[int]:
    """How many rows of each batch were read."""
    return Counter(row[-2] for row in rows_of(found, table))


def forget_numbers(tail: Path) -> None:
    """Takes joined segments back to a version that joined them without the numbers of their batches."""
    for path in tail.glob("*/[1-9]-*.parquet"):
        kept = path.read_bytes()
        with duckdb.connect() as con:
            con.execute(f"CREATE TABLE t AS SELECT * EXCLUDE (batch) FROM read_parquet('{path}')")
            con.execute(f"COPY t TO '{path}' (FORMAT parquet)")
        assert path.read_bytes() != kept
        path.rename(path.with_name(f"{path.name.rpartition('-')[0]}-{crc_of(path):08x}.parquet"))


def test_joined_segments_keep_the_numbers_of_their_batches(tmp_path: Path) -> None:
    configured = settings(tmp_path)
    with store(configured, limits=NARROW) as made:
        numbers = write(made, 7)
        assert made.compact() > 5
        expected = Counter(dict.fromkeys(numbers, 6))
        assert [b.through for b in read_all(made, 1)] == numbers
        made.merge(rows_max=18)  # to the end of a joined segment
        made.merge(rows_max=0)
        assert numbers_of(read_all(made, 1)) == expected
        while made.merge().backlog:
            pass
        assert numbers_of(read_all(made, 13)) == expected
        found = ask(configured.path, "SELECT batch, count(*) FROM store.ticks GROUP BY ALL ORDER BY ALL")
        assert found == sorted(expected.items())


def test_segments_that_an_older_version_joined_count_as_their_last_batch(tmp_path: Path) -> None:
    configured = settings(tmp_path)
    with store(configured, limits=NARROW) as made:
        numbers = write(made, 4)
        assert made.compact() == 3 * 4
    forget_numbers(made.tail)
    with store(configured) as made:
        expected = Counter({numbers[2]: 18, numbers[3]: 6})
        assert numbers_of(read_all(made, 1)) == expected
        made.merge()
        made.merge()
        assert numbers_of(read_all(made, 1)) == expected


def to_version_5(path: Path) -> None:
    with duckdb.connect(path) as con:
        for table in TABLES:
            con.execute(f"ALTER TABLE store.{table.name} DROP COLUMN batch")
        con.execute("UPDATE main.schema_version SET version = 5")


def test_of_a_file_of_version_5_what_the_tail_holds_is_shipped_and_no_merged_row(tmp_path: Path) -> None:
    configured = settings(tmp_path)
    with store(configured) as made:
        write(made, 2)
        made.merge()
        made.merge()
        waiting = write(made)
    to_version_5(configured.path)
    with reader() as other:
        assert other.open(configured.path) == []  # the file cannot be upgraded now
        with store(configured) as made:
            assert made.store_id
            assert numbers_of(read_all(made)) == {waiting[0]: 6}
            other.close()
            made.merge()
            assert ask(configured.path, "FROM schema_version") == [(6,)]
            assert numbers_of(read_all(made)) == {waiting[0]: 6}
            assert ask(configured.path, "SELECT count(*), count(batch) FROM store.ticks") == [(18, 6)]
            assert ask(configured.path, "SELECT count(*) FROM ticks") == [(18,)]


def test_a_store_whose_file_was_never_read_has_no_id_yet(tmp_path: Path) -> None:
    configured = settings(tmp_path)
    with store(configured) as made:
        store_id, numbers = made.store_id, write(made)
        made.finish(lambda: False)
    with reader() as other:
        assert other.open(configured.path, read_only=False) == []
        with store(configured) as made:
            numbers += write(made)
            assert made.store_id == ""
            with pytest.raises(DatabaseLocked):
                made.batches(numbers[0], ALL)
            other.close()
            made.merge()
            assert made.store_id == store_id
            assert numbers_of(read_all(made)) == dict.fromkeys(numbers, 6)


def test_a_batch_counts_only_when_its_write_has_returned(tmp_path: Path) -> None:
    files = StumblingFiles()
    with store(settings(tmp_path), files) as made:
        first, number = write(made), made.next_number()
        files.stumble = 12  # the ticks have their name then, and it is not durable
        with pytest.raises(OSError, match="injected"):
            made.write(batch(number))
        assert any(f"{number}" in path.name for path in (made.tail / "ticks").iterdir())
        assert [b.through for b in read_all(made)] == first
        made.write(batch(number))
        assert numbers_of(read_all(made)) == {first[0]: 6, number: 6}


def test_nothing_is_joined_across_a_watermark_that_a_failed_merge_may_have_raised(tmp_path: Path) -> None:
    """Its commit succeeded, and the checkpoint after it failed."""
    configured, files = settings(tmp_path), WatchedFiles()

    def disk_full(point: str) -> None:
        if point == "merge.committed":
            raise duckdb.IOException("no space left")

    with store(configured, files, limits=NARROW) as made:
        numbers = write(made)
        made.merge()
        numbers += write(made, 8)
        files.at = disk_full
        with pytest.raises(FileTrouble):
            made.merge(rows_max=24)
        files.at = lambda _: None
        for _ in range(2):
            made.compact()
            assert ask(configured.path, "SELECT count(*), count(DISTINCT trade_id) FROM ticks") == [(54, 54)]
            assert numbers_of(read_all(made)) == dict.fromkeys(numbers, 6)
            made.merge(rows_max=6)


def test_a_range_that_was_begun_is_read_as_it_was(tmp_path: Path) -> None:
    with store(settings(tmp_path)) as made:
        first, second, third = write(made, 3)
        before = made.batches(first, 1, third)
        made.merge()
        made.merge()
        after = made.batches(first, 1, third)
        assert before is not None and after is not None and before.shipped == after.shipped
        assert rows_of([before], "ticks") == rows_of([after], "ticks") and before.ticks == 12
        assert second < before.through == third
        nothing = made.batches(third, 1, third + 5)  # its rows were lost with the file
        assert nothing is not None and (nothing.through, nothing.ticks, nothing.tables) == (third + 5, 0, {})


def test_decimals_that_are_too_large_for_a_sum_are_shipped(tmp_path: Path) -> None:
    with store(settings(tmp_path)) as made:
        block = batch(1).blocks[0]
        block.volume[:] = ["99999999999999999999.999999999999999999"] * len(block)
        made.write(Batch(made.next_number(), (block,)))
        (found,) = read_all(made)
        assert [(one.table, one.rows) for one in found.shipped] == [("ticks", 6)]
