"""Compaction of a lake: what is kept, what stays the same, and what happens beside it."""

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from random import Random
from typing import Any

import duckdb
import pytest
from deltalake import DeltaTable
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.model.ticks import TICKS
from actors.sink.lake.delta import DeltaLake
from actors.sink.lake.tables import TABLES
from ops.export.lake import compact as compaction
from ops.export.lake.compact import CLOSED_AFTER_S, KEEP_HOURS, Days, Done, compact
from ops.export.lake.compact_tables import COMPACTIONS, LakeFolder
from ops.export.lake.compact_ticks import How
from ops.export.lake.opening import compactions, open_lake
from ops.export.lake.tape import kept_sql, tape_sql
from ops.export.query import QueryError
from tests.harness.amounts import amount, variants
from tests.harness.cli_process import tickwarden_here
from tests.harness.lake_tape import MARKETS, STORES, random_lake, rows, stored, tape
from tests.harness.lake_values import DAY, DAY_NS, SECOND_NS, Trade, batch, ship, small_lake, to_batches, trades
from tests.harness.paths import ROOT

HOW = How({}, "256MB", 1)
_ALL = 'exchange, symbol, "timestamp", trade_id, received_at, recorder, store, batch'


def run(uri: str, days: Days | None = None, how: How = HOW, **options: Any) -> list[Done]:
    """Compacts; what was done."""
    return list(compact(LakeFolder(uri, {}), days or Days(), how, **{"keep_hours": KEEP_HOURS, **options}))


def ticks_done(done: list[Done]) -> list[tuple[str | None, str, int]]:
    return [(one.exchange, one.action, one.rows) for one in done if one.table == "ticks"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lakes") / "lake"
    small_lake(str(folder))
    return folder


@pytest.fixture
def lake(made: Path, tmp_path: Path) -> str:
    """The small lake of the harness, where two recorders saw one market."""
    return str(shutil.copytree(made, tmp_path / "lake"))


@pytest.fixture(scope="module")
def before(made: Path) -> list[tuple[Any, ...]]:
    """The tape of the small lake before any compaction."""
    return tape(str(made))


@pytest.fixture(scope="module")
def compacted_once(made: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Done]]:
    folder = shutil.copytree(made, tmp_path_factory.mktemp("compacted") / "lake")
    return folder, run(str(folder))


@pytest.fixture
def compacted(compacted_once: tuple[Path, list[Done]], tmp_path: Path) -> str:
    """The small lake after a compaction."""
    return str(shutil.copytree(compacted_once[0], tmp_path / "compacted"))


def versions(uri: str) -> dict[str, int]:
    """The version of each table."""
    return {path.name: DeltaTable(str(path)).version() for path in Path(uri).iterdir()}


def test_a_closed_day_has_each_trade_once_and_the_tape_stays_as_it_was(
    made: Path, before: list[tuple[Any, ...]], compacted_once: tuple[Path, list[Done]]
) -> None:
    assert (len(before), stored(str(made))) == (124, 204)
    lake, done = str(compacted_once[0]), compacted_once[1]
    assert ticks_done(done) == [
        ("binance", "compacted", 100),
        ("kraken", "compacted", 20),
        ("upbit", "compacted", 4),
    ]
    assert tape(lake) == before
    assert stored(lake) == 124


def test_two_runs_at_once_join_no_file_twice(lake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    join, both = compaction._optimize, threading.Barrier(2, timeout=0.5)

    def together(table: DeltaTable, where: Any, properties: Any) -> dict[str, Any]:
        with suppress(threading.BrokenBarrierError):  # the other one waits elsewhere
            both.wait()
        return join(table, where, properties)

    def shipments() -> int:
        return int(DeltaTable(f"{lake}/shipments").scan().read_all().num_rows)

    monkeypatch.setattr(compaction, "_optimize", together)
    before = shipments()
    with ThreadPoolExecutor(2) as threads:
        done = list(threads.map(lambda _: run(lake), range(2)))
    assert sum(one.table == "shipments" and one.action == "joined" for run_ in done for one in run_) == 1
    assert shipments() == before


def test_a_second_run_changes_nothing_and_makes_no_version(compacted: str) -> None:
    first = versions(compacted)
    assert run(compacted) == []
    assert versions(compacted) == first


@pytest.mark.slow
def test_a_dry_run_changes_nothing(lake: str) -> None:
    before = versions(lake)
    done = run(lake, dry_run=True)
    assert {one.action for one in done} == {"would be compacted", "would be stored", "would be joined"}
    assert versions(lake) == before


def in_files(paths: list[str], columns: str) -> list[tuple[Any, ...]]:
    """The rows in the order in which the one file has them."""
    assert len(paths) == 1
    con = _IN_MEMORY.cursor()
    return con.execute(
        f"SELECT {columns} FROM read_parquet($1, file_row_number = true) ORDER BY file_row_number", paths
    ).fetchall()


def test_files_are_sorted_by_symbol_and_time_and_few(tmp_path: Path) -> None:
    random, uri = Random(5), str(tmp_path)
    for recorder in ("tokyo", "london"):
        symbols = [f"{name}/USDT" for name in "ABCDEFGH"]
        ns = [DAY_NS + random.randrange(86_400) * SECOND_NS for _ in range(2000)]
        ship(uri, recorder, "s", [batch(1, [Trade("okx", random.choice(symbols), str(n), n) for n in ns])])
    run(uri)
    found = in_files(DeltaTable(f"{uri}/ticks").file_uris(), 'symbol, "timestamp"')
    assert len(found) > 3000 and found == sorted(found)


ORDERED = """
import sys
from arro3.core import Array, DataType, Field, RecordBatch, RecordBatchReader, Schema
from deltalake import CommitProperties, DeltaTable
from ops.export.lake.compact_tables import keep_order, replace_day

keep_order()
schema = Schema([Field("a", DataType.int64()), Field("exchange", DataType.string())])
ranges = (Array(range(at, at + 500), DataType.int64()) for at in range(0, 50_000, 500))
batches = [RecordBatch.from_arrays([one, Array(["okx"] * 500, DataType.string())], schema=schema) for one in ranges]
handle = DeltaTable.create(sys.argv[1], schema, partition_by=["exchange"])
replace_day(handle, RecordBatchReader.from_batches(schema, batches), "exchange = 'okx'", CommitProperties())
"""


def test_batches_of_a_stream_are_written_in_their_order(tmp_path: Path) -> None:
    """In a process of its own, because the first use of delta-rs decides how many writers it has."""
    subprocess.run([sys.executable, "-c", ORDERED, str(tmp_path)], cwd=ROOT, check=True)
    assert in_files(DeltaTable(str(tmp_path)).file_uris(), "a") == [(n,) for n in range(50_000)]


@pytest.mark.slow
def test_the_size_of_files_is_bounded(tmp_path: Path) -> None:
    random, uri = Random(6), str(tmp_path)
    block = [
        Trade("okx", "BTC/USDT", str(n), DAY_NS + n * SECOND_NS // 4, f"{random.random():.15f}")
        for n in range(60_000)
    ]
    ship(uri, "tokyo", "s", [batch(1, block)])
    run(uri, how=replace(HOW, file_bytes=300_000))
    table = DeltaTable(f"{uri}/ticks")
    sizes = [Path(path).stat().st_size for path in table.file_uris()]
    assert len(sizes) > 1 and max(sizes) < 600_000


@pytest.mark.slow
def test_the_earliest_copy_is_kept_with_its_recorder_and_batch(tmp_path: Path) -> None:
    uri = str(tmp_path)
    one = Trade("kraken", "BTC/USD", "7", DAY_NS + 10_000_000)
    ship(uri, "tokyo", "s1", [batch(4, [one])])
    ship(uri, "london", "s2", [batch(9, [replace(one, ns=DAY_NS + 1000, price="60000.500")])])
    ship(uri, "london", "s2", [batch(10, [replace(one, trade_id="8")])])
    run(uri)
    kept = rows(uri, "SELECT trade_id, recorder, store, batch FROM recorded_ticks ORDER BY trade_id")
    assert kept == [("7", "london", "s2", 9), ("8", "london", "s2", 10)]


@pytest.mark.slow
def test_late_rows_of_a_closed_day_are_part_of_the_next_run(compacted: str) -> None:
    lake = compacted
    late = [*trades("binance", "BTC/USDT", [55, 101, 102]), *trades("kraken", "ETH/USD", [11])]
    ship(lake, "osaka", "new", [batch(1, late)])
    before = tape(lake)
    assert len(before) == 127 and stored(lake) == 128
    assert ticks_done(run(lake)) == [("binance", "compacted", 102), ("kraken", "compacted", 21)]
    assert tape(lake) == before and stored(lake) == 127
    assert run(lake) == []


def test_a_recorder_goes_on_from_its_mark(made: Path, compacted: str) -> None:
    marks, lake = DeltaLake(str(made), "tokyo", {}).marks("store-of-tokyo"), compacted
    assert DeltaLake(lake, "tokyo", {}).marks("store-of-tokyo") == marks
    ship(lake, "tokyo", "store-of-tokyo", [batch(4, trades("binance", "BTC/USDT", [200]))])
    DeltaTable(f"{lake}/ticks").create_checkpoint()
    assert DeltaLake(lake, "tokyo", {}).marks("store-of-tokyo").committed == 4
    assert len(tape(lake)) == 125


@pytest.mark.slow
def test_what_was_read_of_each_store_is_listed(compacted: str) -> None:
    found = compactions(open_lake(compacted, {}))
    assert found["binance", DAY].rows == 100
    assert found["binance", DAY].through == {"london/store-of-london": 3, "tokyo/store-of-tokyo": 3}


@pytest.mark.parametrize("moment", variants("compact.intent", "compact.read"))
def test_rows_that_are_added_meanwhile_are_kept(lake: str, moment: str) -> None:
    """They are a conflict: the day is read again."""
    done: list[str] = []

    def beside(point: str) -> None:
        if point == moment and not done:
            done.append(point)
            ship(lake, "osaka", "new", [batch(1, trades("binance", "BTC/USDT", [100, 101]))])

    found = ticks_done(run(lake, Days(exchange="binance"), replace(HOW, crash_point=beside)))
    assert done and found == [("binance", "compacted", 101)]
    assert len(tape(lake)) == 125 and stored(lake) == 125


@pytest.mark.slow
def test_a_recorder_that_sends_during_a_compaction_sends_once(lake: str) -> None:
    """It has opened the table before: its commit meets files that are gone, and is repeated."""
    recorder = DeltaLake(lake, "tokyo", {})
    mark = recorder.marks("store-of-tokyo").committed
    run(lake)
    late = to_batches("store-of-tokyo", mark, mark + 1, [batch(mark + 1, trades("binance", "BTC/USDT", [300]))])
    recorder.commit(late)
    assert len(tape(lake)) == 125


@pytest.mark.slow
def test_another_exchange_is_no_conflict(lake: str) -> None:
    points = []

    def beside(point: str) -> None:
        points.append(point)
        if point == "compact.intent":
            ship(lake, "osaka", f"s{len(points)}", [batch(1, trades("okx", "BTC/USDT", [1]))])

    run(lake, Days(exchange="binance"), replace(HOW, crash_point=beside))
    assert points == ["compact.read", "compact.intent", "compact.committed"]


@pytest.mark.slow
def test_two_runs_at_once_make_one_compaction(lake: str) -> None:
    before = tape(lake)
    inner: list[object] = []

    def beside(point: str) -> None:
        if point == "compact.read" and not inner:
            inner.append("started")
            inner.extend(ticks_done(run(lake, Days(exchange="binance"))))

    assert ticks_done(run(lake, Days(exchange="binance"), replace(HOW, crash_point=beside))) == []
    assert inner == ["started", ("binance", "compacted", 100)]
    assert tape(lake) == before and stored(lake) == 124
    assert compactions(open_lake(lake, {}))["binance", DAY].rows == 100


KILLED = """
import os, signal, sys
from ops.export.lake.compact import Days, compact
from ops.export.lake.compact_tables import LakeFolder
from ops.export.lake.compact_ticks import How

def crash(point):
    if point == sys.argv[2]:
        os.kill(os.getpid(), signal.SIGKILL)

how = How({}, "256MB", 1, crash_point=crash)
list(compact(LakeFolder(sys.argv[1], {}), Days(exchange="binance"), how, keep_hours=1))
"""


@pytest.mark.parametrize("point", variants("compact.intent", "compact.read", "compact.committed"))
def test_a_run_that_is_killed_leaves_the_tape_as_it_was_and_the_next_one_finishes(
    lake: str, before: list[tuple[Any, ...]], point: str
) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, lake, point], cwd=ROOT, check=False)
    assert killed.returncode == -9
    assert tape(lake) == before
    assert stored(lake) == (124 if point == "compact.committed" else 204)
    run(lake)
    assert tape(lake) == before and stored(lake) == 124
    assert compactions(open_lake(lake, {}))["binance", DAY].rows == 100


def test_the_intent_of_a_failed_attempt_does_not_count(lake: str) -> None:
    class Failed(Exception):
        pass

    def fail(point: str) -> None:
        if point == "compact.intent":
            raise Failed

    with pytest.raises(Failed):
        run(lake, how=replace(HOW, crash_point=fail))
    assert compactions(open_lake(lake, {})) == {}
    run(lake)
    numbers = DeltaTable(f"{lake}/{COMPACTIONS.name}").scan().read_all().column("number").to_pylist()
    assert sorted(numbers) == [1, 1, 1, 2]


def test_a_day_of_which_a_file_is_missing_stays_as_it_is(lake: str) -> None:
    table = DeltaTable(f"{lake}/ticks")
    lost = next(path for path in table.file_uris() if "exchange=binance" in path)
    Path(lost).unlink()
    done = run(lake)
    failed = [one for one in done if one.problem]
    assert [(one.table, one.exchange) for one in failed] == [("ticks", "binance")]
    assert re.search(r"cannot be read: .*parquet.*; nothing was changed, try again later", failed[0].problem)
    assert ("kraken", "compacted", 20) in ticks_done(done)
    now = DeltaTable(f"{lake}/ticks")
    assert {path for path in now.file_uris() if "binance" in path} == {
        path for path in table.file_uris() if "binance" in path
    }


def damaged(lake: str, table: str) -> None:
    """Of a lake that was compacted: its newest file is missing, and a day has to be compacted again."""
    Path(DeltaTable(f"{lake}/{table}").file_uris()[0]).unlink()
    ship(lake, "tokyo", "store-of-tokyo", [batch(4, trades("binance", "BTC/USDT", [500]))])


def test_a_stored_coverage_that_cannot_be_read_is_named_and_the_rest_is_done(compacted: str) -> None:
    damaged(compacted, "coverage")
    done = run(compacted)
    failed = [one for one in done if one.problem]
    assert [one.table for one in failed] == ["coverage"]
    assert re.search(r"coverage.*\.parquet", failed[0].problem) and "\n" not in failed[0].problem
    assert ("binance", "compacted", 101) in ticks_done(done)
    assert ("shipments", "joined") in [(one.table, one.action) for one in done]


def test_compactions_that_cannot_be_read_are_named(compacted: str) -> None:
    damaged(compacted, "compactions")
    with pytest.raises(QueryError, match=r"the table compactions of .* cannot be read: .*\.parquet"):
        run(compacted)


def test_days_without_a_folder_to_sort_them_in_are_named_and_stay_as_they_are(lake: str, tmp_path: Path) -> None:
    missing, before = str(tmp_path / "gone"), stored(lake)
    failed = [one for one in run(lake, how=replace(HOW, folder=Path(missing))) if one.problem]
    assert [one.exchange for one in failed] == ["binance", "kraken", "upbit"] and stored(lake) == before
    assert all(missing in one.problem and "--temporary" in one.problem for one in failed)


def test_a_coverage_without_a_folder_to_compute_it_in_is_named_and_the_rest_is_done(
    lake: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    done = run(lake, how=replace(HOW, folder=tmp_path))
    (failed,) = [one for one in done if one.problem]
    assert failed.table == "coverage" and str(tmp_path / "gone") in failed.problem
    assert done[-1] is not failed


def test_a_dry_run_does_not_wait_for_a_run_that_joins(lake: str) -> None:
    opened = os.open(lake, os.O_RDONLY)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX)
        assert any(one.action == "would be joined" for one in run(lake, dry_run=True))
    finally:
        os.close(opened)


def test_a_day_whose_database_cannot_be_opened_is_named(lake: str) -> None:
    failed = run(lake, Days(exchange="kraken"), replace(HOW, memory="lots"))[0]
    assert (failed.exchange, failed.action) == ("kraken", "failed") and "Memory must" in failed.problem


def test_only_closed_days_are_compacted(tmp_path: Path) -> None:
    days = Days(now=datetime(2026, 11, 3, 0, 59, tzinfo=UTC))
    assert not days.contain(date(2026, 11, 2)) and days.contain(date(2026, 11, 1))
    later = replace(days, now=datetime(2026, 11, 3, 1, 0, tzinfo=UTC))
    assert later.contain(date(2026, 11, 2)) and CLOSED_AFTER_S == 3600
    assert not replace(later, before=date(2026, 11, 2)).contain(date(2026, 11, 2))
    assert not replace(later, day=date(2026, 11, 1)).contain(date(2026, 11, 2))
    ship(str(tmp_path), "tokyo", "s", [batch(1, trades("kraken", "BTC/USD", [1]))])
    with pytest.raises(QueryError, match="is not closed: the newest day that is, is 2026-11-01"):
        run(str(tmp_path), replace(days, day=DAY))
    with pytest.raises(QueryError, match="is no lake"):
        run(str(tmp_path / "other"))


def test_the_coverage_of_closed_days_is_stored(compacted_once: tuple[Path, list[Done]]) -> None:
    lake = str(compacted_once[0])
    columns = "exchange, symbol, from_time, to_time, status, proof"
    wanted = rows(lake, f"SELECT {columns} FROM coverage")
    con = duckdb.connect()
    con.execute("SET TimeZone = 'UTC'")
    con.register("found", DeltaTable(f"{lake}/coverage").scan())
    found = con.execute(f"SELECT {columns} FROM found").fetchall()
    assert len(found) == 4 and sorted(map(str, found)) == sorted(str(row) for row in wanted)


def test_other_tables_have_fewer_files_and_the_same_rows(
    made: Path, compacted_once: tuple[Path, list[Done]]
) -> None:
    names = [name for name in versions(str(made)) if name != "ticks"]
    every = ", ".join(f"(SELECT count(*) FROM {name}) AS {name}" for name in names)
    assert rows(str(made), f"SELECT {every}") == rows(str(compacted_once[0]), f"SELECT {every}")
    files, fewer = (
        sum(len(DeltaTable(str(lake / name)).file_uris()) for name in names) for lake in (made, compacted_once[0])
    )
    assert fewer <= files // 2


def test_replaced_files_stay_for_the_retention(made: Path, compacted_once: tuple[Path, list[Done]]) -> None:
    lake, done = compacted_once
    old = DeltaTable(str(made / "ticks"))
    assert not [one for one in done if one.action == "deleted"]
    assert all((lake / Path(path).relative_to(made)).exists() for path in old.file_uris())
    assert DeltaTable(str(lake / "ticks"), version=old.version()).scan().read_all().num_rows == 204


@pytest.mark.slow
def test_files_of_killed_writers_are_deleted_when_they_are_old(lake: str) -> None:
    folder = Path(DeltaTable(f"{lake}/ticks").file_uris()[0]).parent
    left, fresh = folder / "part-left.parquet", folder / "part-fresh.parquet"
    for path in (left, fresh):
        path.write_bytes(b"half")
    os.utime(left, (time.time() - 7300,) * 2)
    assert [one.files_before for one in run(lake, keep_hours=2) if one.action == "deleted"] == [1]
    assert not left.exists() and fresh.exists()


@pytest.mark.parametrize("dry_run", [False, True])
def test_files_that_no_lake_has_written_are_not_deleted_and_named(dry_run: bool, lake: str) -> None:
    folder = Path(DeltaTable(f"{lake}/ticks").file_uris()[0]).parent
    # Of an archive, of a killed writer, and of a file system.
    others = folder / "1-data_0.parquet", folder / "part-left.parquet", folder / ".nfs0000000000000001"
    for path in others:
        path.write_bytes(b"old")
        os.utime(path, (time.time() - 7300,) * 2)
    (failed,) = [one for one in run(lake, keep_hours=2, dry_run=dry_run) if one.problem]
    assert (failed.table, failed.action) == ("ticks", "failed")
    assert f"{others[0].relative_to(lake)}" in failed.problem and "move" in failed.problem
    assert all(path.exists() for path in others)
    others[0].unlink()
    (done,) = [one for one in run(lake, keep_hours=2, dry_run=dry_run) if "deleted" in one.action]
    assert done.files_before == 2 and others[1].exists() == dry_run


# One row: store, id or price, number of fills, time of receipt.
_ROW = st.tuples(st.sampled_from(STORES), st.integers(1, 6), st.integers(1, 3), st.integers(0, 9))
_EXTRA = "recorder VARCHAR, store VARCHAR, batch BIGINT, day DATE"
_IN_MEMORY = duckdb.connect(config={"threads": 1})


def _values(market: tuple[str, str], drawn: list[Any], first_batch: int) -> Iterator[str]:
    """The rows as SQL; ids of the first market are contiguous, so that a row may stand for several trades."""
    for index, ((recorder, store), number, fills, at) in enumerate(drawn):
        trade_id = "NULL" if market[0] == "mexc" else f"'{number}'"
        of_fills = fills if market == MARKETS[0] else 1
        yield (
            f"('{market[0]}', '{market[1]}', make_timestamptz({number * 1_000_000}),"
            f" make_timestamptz({number * 1_000_000 + at}), {number}, 1, 'buy', {trade_id}, 'stream', {of_fills},"
            f" '{recorder}', '{store}', {first_batch + index}, DATE '1970-01-01')"
        )


@settings(max_examples=amount(12, 300), deadline=None)
@given(st.sampled_from(MARKETS), st.lists(st.lists(_ROW, max_size=10), min_size=2, max_size=3))
def test_whatever_is_dropped_changes_the_tape_neither_now_nor_when_rows_are_added(
    market: tuple[str, str], parts: list[list[Any]]
) -> None:
    """The tape of (what is kept of the first rows, and the late ones) is the tape of all, row by row."""
    names = ", ".join(f'"{name}"' for name, _ in TABLES["ticks"].columns)
    con = _IN_MEMORY.cursor()
    for table in ("everything", "compacted"):
        con.execute(f"CREATE OR REPLACE TEMP TABLE {table} ({TICKS.definition}, {_EXTRA})")
    for at, part in enumerate(parts):
        if part:
            con.execute(
                f"CREATE OR REPLACE TEMP TABLE late AS FROM (VALUES {', '.join(_values(market, part, at * 100))})"
            )
            for table in ("everything", "compacted"):
                con.execute(f"INSERT INTO {table} FROM late")
        tapes = [
            con.execute(f"SELECT * FROM ({tape_sql(table, names, market[:1], {})}) ORDER BY {_ALL}").fetchall()
            for table in ("everything", "compacted")
        ]
        assert tapes[0] == tapes[1]
        con.execute(f"CREATE OR REPLACE TEMP TABLE compacted AS {kept_sql('compacted', names, market[0], {})}")


@pytest.mark.parametrize("seed", variants(*range(1, 20)))
def test_a_lake_that_is_compacted_often_has_the_tape_of_one_that_never_is(tmp_path: Path, seed: int) -> None:
    uris = [str(tmp_path / "often"), str(tmp_path / "never")]
    senders = [random_lake(uri, Random(seed), 4) for uri in uris]
    for _ in range(amount(1, 2)):
        run(uris[0])
        for send in senders:
            send(2)
        assert tape(uris[0]) == tape(uris[1])
    run(uris[0])
    once = tape(uris[0])
    assert once == tape(uris[1])
    assert len(once) <= stored(uris[0]) <= stored(uris[1])  # as many if no two recorders had the same trades


def test_the_command_prints_what_was_done_and_what_failed(lake: str, tmp_path: Path) -> None:
    done = tickwarden_here("lake", "compact", "--uri", lake, "--exchange", "kraken", "--json", folder=tmp_path)
    assert done.returncode == 0 and "ticks kraken 2026-11-02: compacted" in done.stderr
    assert next((one["table"], one["rows"]) for one in json.loads(done.stdout)) == ("ticks", 20)
    Path(next(path for path in DeltaTable(f"{lake}/ticks").file_uris() if "=binance" in path)).unlink()
    failed = tickwarden_here("lake", "compact", "--uri", lake, "--day", "2026-11-02", folder=tmp_path)
    assert failed.returncode == 1 and "binance 2026-11-02 cannot be read" in failed.stderr
    assert "upbit" in failed.stdout and "compacted" in failed.stdout
    assert tickwarden_here("lake", "compact", "--uri", lake, "--day", "tomorrow", folder=tmp_path).returncode == 64


def test_small_files_of_an_open_day_are_joined_beside_a_recorder(lake: str, before: list[tuple[Any, ...]]) -> None:
    recorder = DeltaLake(lake, "tokyo", {})
    mark = recorder.marks("store-of-tokyo").committed
    today = Days(now=datetime(2026, 11, 2, 12, tzinfo=UTC))
    assert {one.action for one in run(lake, today, join_open=True)} == {"joined"}
    assert tape(lake) == before and stored(lake) == 204
    assert len(DeltaTable(f"{lake}/ticks").file_uris()) == 3
    late = to_batches("store-of-tokyo", mark, mark + 1, [batch(mark + 1, trades("binance", "BTC/USDT", [300]))])
    recorder.commit(late)
    assert run(lake, today) == []
    run(lake)
    assert len(tape(lake)) == 125 == stored(lake)


@pytest.mark.slow
def test_a_compaction_may_last_longer_than_the_log_remembers(lake: str) -> None:
    """What others committed since the day was read is in a checkpoint, and no longer in entries of the log."""

    def beside(point: str) -> None:
        if point == "compact.read":
            first = DeltaTable(f"{lake}/ticks").version() + 1
            ship(lake, "osaka", "new", [batch(n, trades("okx", "BTC/USDT", [n])) for n in (1, 2, 3)])
            DeltaTable(f"{lake}/ticks").create_checkpoint()
            for version in (first, first + 1):
                (Path(lake) / "ticks" / "_delta_log" / f"{version:020}.json").unlink()

    found = ticks_done(run(lake, Days(exchange="binance"), replace(HOW, crash_point=beside)))
    assert found == [("binance", "compacted", 100)]
    assert len(tape(lake)) == 127 == stored(lake)
