"""Committed batches are read again, each row once, wherever it is by then."""

from collections import Counter
from pathlib import Path
from typing import Any

import duckdb
import pytest

from actors.model.errors import DatabaseLocked
from actors.sink.lake.lake import Batches
from actors.store.store import Store
from actors.store.tables import TABLES
from tests.harness.recording_samples import ask, settings, store, write
from tests.harness.store_harness import reader

ALL = 1_000_000


def rows_of(found: list[Batches], table: str) -> list[tuple[Any, ...]]:
    """The rows of a table, with batch and day."""
    with duckdb.connect() as con:
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
        assert Counter(row[-2] for row in rows_of(found, "ticks")) == dict.fromkeys(merged + numbers, 6)
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
        assert made.batches(numbers[-1], ALL) is None or made.batches(numbers[-1], ALL).ticks == 0  # type: ignore[union-attr]
        numbers += write(made)
        assert Counter(row[-2] for row in rows_of(read_all(made), "ticks")) == dict.fromkeys(numbers, 6)
    assert ask(configured.path, "SELECT count(DISTINCT batch) FROM store.ticks") == [(2,)]
