"""Copies are whole, exact, standalone and of one moment; what is not finished leaves nothing behind."""

import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from actors.model.errors import DatabaseLocked
from actors.model.schema import Schema
from actors.model.ticks import TICKS
from actors.store import partitions
from actors.store.connecting import Limits
from actors.store.tables import TABLES
from actors.store.tail import Segment, Tail
from ops.cli.commands import cli
from ops.export.export import TimeRange, export
from ops.export.query import QueryError
from ops.export.source import opened
from ops.export.target import ExportError
from ops.terminal.time_options import microseconds
from tests.harness.amounts import amount, variants
from tests.harness.cli_process import COMMAND, environment, tickwarden, tickwarden_here
from tests.harness.file_holder import held
from tests.harness.recording_samples import (
    DAY_NS,
    START_NS,
    SYMBOLS,
    ask,
    batch,
    ids,
    record,
    settings,
    store,
    tree,
    write,
)

EVERYTHING = ["audit", "events", "feeds", "gap_states", "instruments", "lags", "rejects", "schema_version", "ticks"]
NO_GAPS = {"feeds": 0, "gap_states": 0, "instruments": 0, "lags": 0}


def schema(path: Path) -> list[tuple[str, ...]]:
    columns = "FROM duckdb_columns() SELECT table_name, column_name, data_type"
    return ask(path, f"{columns} WHERE schema_name = 'main' AND NOT internal ORDER BY ALL")


def rows(path: Path, table: str) -> list[tuple[object, ...]]:
    return sorted(ask(path, f"SELECT * FROM {table}"), key=repr)


# -- one DuckDB file ----------------------------------------------------------------------------------


@pytest.mark.parametrize("state", variants("running", "stopped", "killed"))
def test_a_copy_holds_every_row_of_file_and_tail_as_plain_tables(state: str, tmp_path: Path) -> None:
    told, copy = settings(tmp_path), tmp_path / "copy.duckdb"
    with store(told) as made:
        write(made, 2)
        made.merge()
        write(made, 2)
        if state == "stopped":
            made.finish(lambda: False)
        if state == "running":
            done = export(told.path, copy)
    if state != "running":
        done = export(told.path, copy)
    assert done.rows == NO_GAPS | {"audit": 4, "events": 4, "rejects": 4, "schema_version": 1, "ticks": 24}
    assert done.bytes == copy.stat().st_size
    assert [name for (name,) in ask(copy, "SELECT table_name FROM duckdb_tables() ORDER BY 1")] == EVERYTHING
    views = ask(copy, "SELECT view_name FROM duckdb_views() WHERE NOT internal ORDER BY 1")
    assert views == [("coverage",), ("gaps",)]
    assert ask(copy, "SELECT count(*) FROM coverage") == [(0,)]
    assert schema(copy) == schema(told.path)
    for table in EVERYTHING:
        assert rows(copy, table) == rows(told.path, table), table
    here = "FROM duckdb_databases() WHERE database_name = current_database()"
    assert ask(copy, f"SELECT tags['storage_version'] {here}") == [("v1.2.0+",)]
    assert not list(tmp_path.glob("*.partial-*")) and not list(tmp_path.glob("copy*.wal"))


def test_a_copy_is_of_one_batch_while_the_service_writes_folds_and_tries_to_merge(tmp_path: Path) -> None:
    told = settings(tmp_path)
    ended = threading.Event()
    with store(told) as made:
        write(made)
        made.merge()

        def flush() -> None:
            while not ended.is_set():
                write(made, ticks=2)

        def upkeep() -> None:
            while not ended.is_set():
                made.compact()

        threads = [threading.Thread(target=target) for target in (flush, upkeep)]
        for thread in threads:
            thread.start()
        try:
            counts = []
            for index in range(amount(2, 30)):
                copy = tmp_path / f"copy{index}.duckdb"
                done = export(told.path, copy)
                ((ticks, numbers, audit),) = ask(
                    copy,
                    "SELECT count(*), count(DISTINCT split_part(trade_id, '-', 1)), (SELECT count(*) FROM audit)"
                    " FROM ticks",
                )
                assert ticks == done.rows["ticks"] == 6 + 2 * (numbers - 1)
                assert audit == numbers == done.rows["events"] == done.rows["rejects"]
                counts.append(ticks)
        finally:
            ended.set()
            for thread in threads:
                thread.join()
    assert counts == sorted(counts)


def test_what_another_table_holds_beyond_the_last_committed_batch_is_left_out(tmp_path: Path) -> None:
    told = settings(tmp_path)
    with store(told) as made:
        write(made, 2)
        last = max((told.path.with_name("ticks.duckdb.tail") / "ticks").glob("0-*"))
        last.unlink()  # as if the process had been killed just before the batch's commit
    done = export(told.path, tmp_path / "copy.duckdb")
    assert done.rows == NO_GAPS | {"audit": 1, "events": 1, "rejects": 1, "schema_version": 1, "ticks": 6}


def test_a_compaction_while_the_tail_is_listed_costs_no_other_tables_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It joins a batch that was committed since the ticks were listed with those before."""
    told, whole = settings(tmp_path), Tail._segments

    def interrupted(tail: Tail, table: Schema) -> list[Segment]:
        found = whole(tail, table)
        if table is TICKS:
            monkeypatch.undo()
            write(made, 1)
            assert made.compact()
        return found

    with store(told) as made:
        write(made, 15)
        monkeypatch.setattr(Tail, "_segments", interrupted)
        done = export(told.path, tmp_path / "copy.duckdb")
    assert (done.rows["ticks"], done.rows["events"], done.rows["audit"]) == (96, 16, 16)


def test_segments_that_the_service_deletes_meanwhile_are_still_read(tmp_path: Path) -> None:
    told = settings(tmp_path)
    with store(told) as made:
        write(made, 20)
        with opened(told.path, Limits("100MB", tmp_path / "s", 1), timeout_s=1) as source:
            assert made.compact()
            for name in ("ticks", "audit", "events", "rejects"):
                for path in (made.tail / name).glob("0-*"):
                    path.unlink()
            counted = source.con.execute(f"SELECT count(*) FROM {source.tables['ticks']}").fetchone()
    assert counted == (120,)


def test_only_rows_of_the_range_are_copied_its_end_excluded(tmp_path: Path) -> None:
    told, copy = settings(tmp_path), tmp_path / "copy.duckdb"
    record(told, 10, 10, 10)
    day = microseconds("2026-06-02")
    done = export(told.path, copy, time_range=TimeRange(day, day + 5_000_000))
    assert done.rows == NO_GAPS | {"audit": 1, "events": 1, "rejects": 1, "schema_version": 1, "ticks": 5}
    # The fifth trade has no time of the exchange's: when it was received counts.
    assert sorted(row[0].split("-")[1] for row in ask(copy, "SELECT trade_id FROM ticks")) == list("01234")
    assert export(told.path, tmp_path / "a", time_range=TimeRange(since_us=day)).rows["ticks"] == 20
    assert export(told.path, tmp_path / "b", time_range=TimeRange(until_us=day)).rows["ticks"] == 10


def test_a_file_that_moved_together_with_its_tail_is_copied_whole(tmp_path: Path) -> None:
    told, there = settings(tmp_path / "here"), tmp_path / "there"
    (tmp_path / "here").mkdir()
    with store(told) as made:
        write(made, 2)
    (tmp_path / "here").rename(there)
    assert export(there / "ticks.duckdb", tmp_path / "copy.duckdb").rows["ticks"] == 12
    (there / "ticks.duckdb.tail").rename(tmp_path / "lost")
    with pytest.raises(QueryError, match="Put the tail back"):
        export(there / "ticks.duckdb", tmp_path / "copy2.duckdb")
    assert not list(tmp_path.glob("copy2*"))


def test_a_copy_can_itself_be_copied(tmp_path: Path) -> None:
    told = settings(tmp_path)
    record(told, 7, 7)
    first, second = tmp_path / "first.duckdb", tmp_path / "second.duckdb"
    assert export(told.path, first).rows == export(first, second).rows
    assert export(second, tmp_path / "folder", as_folder=True).rows == {"ticks": 14}


# -- Parquet in folders -------------------------------------------------------------------------------


def test_a_folder_is_parted_by_exchange_symbol_and_day_with_every_value_unchanged(tmp_path: Path) -> None:
    told, folder = settings(tmp_path), tmp_path / "out"
    with store(told) as made:
        for exchange in ("binance", "okx"):
            for day in range(2):
                made.write(batch(made.next_number(), at_ns=START_NS + day * DAY_NS, ticks=12, exchange=exchange))
        done = export(told.path, folder, as_folder=True)
    assert done.rows == {"ticks": 48} and done.format == "parquet"
    names = tree(folder)
    assert len(names) == 2 * len(SYMBOLS) * 2
    assert "exchange=okx/symbol=BTC%2FUSDT%3AUSDT/date=2026-06-02/ticks-0.parquet" in names
    con = duckdb.connect()
    con.execute("SET TimeZone = 'UTC'")
    source = f"read_parquet('{folder}/**/*.parquet', hive_partitioning = true)"
    columns = ", ".join(f'"{column.name}"' for column in TICKS.columns)
    found = con.execute(f"SELECT {columns} FROM {source}").fetchall()
    assert sorted(found, key=repr) == rows(told.path, "ticks")
    days = con.execute(f"SELECT DISTINCT date, date_trunc('day', received_at)::DATE FROM {source}").fetchall()
    assert len(days) == 2 and all(named == real for named, real in days)
    codecs = con.execute(f"SELECT DISTINCT compression FROM parquet_metadata('{folder}/**/*.parquet')").fetchall()
    assert codecs == [("ZSTD",)]


def test_each_file_is_sorted_by_time_and_rows_of_one_instant_stay_in_order_of_arrival(tmp_path: Path) -> None:
    told, folder = settings(tmp_path), tmp_path / "out"
    with store(told) as made:
        for word in (55, 44, 33, 22, 11):  # ids that fall while trades arrive
            made.write(replace(batch(word, ticks=60), number=made.next_number()))
        export(told.path, folder, as_folder=True)
    con = duckdb.connect()
    for name in tree(folder):
        found = con.execute(
            "SELECT coalesce(timestamp, received_at), -split_part(trade_id, '-', 1)::BIGINT FROM read_parquet(?)",
            [str(folder / name)],
        ).fetchall()
        assert len(found) == 100 and found == sorted(found)


def test_a_day_of_many_rows_is_written_by_some_markets_at_a_time(tmp_path: Path) -> None:
    told = settings(tmp_path)
    record(told, 30, 6)
    steps: list[tuple[int, int]] = []
    done = export(
        told.path,
        tmp_path / "out",
        as_folder=True,
        progress=lambda rows, total: steps.append((rows, total)),
        unit_rows_max=15,
    )
    assert done.rows == {"ticks": 36} and len(tree(tmp_path / "out")) == 6
    assert steps[0] == (0, 36) and steps[-1] == (36, 36) and (10, 36) in steps and (30, 36) in steps
    assert steps == sorted(steps)


@pytest.mark.parametrize("symbol", ["..", ".", "a=b", "100%", "%2F", "ü+ ü", "x\\y", "/", "''", "10", "a\nb"])
def test_any_symbol_is_safe_in_a_path_and_comes_back(symbol: str, tmp_path: Path) -> None:
    con = duckdb.connect(config={"threads": 1})
    con.execute(
        "CREATE TABLE t AS SELECT 'x' AS exchange, ? AS symbol, now() AS timestamp, now() AS received_at", [symbol]
    )
    con.execute("INSERT INTO t SELECT 'x', 'plain', now(), now()")
    assert partitions.write(con, "ticks", "FROM t", tmp_path / "out", "n") == 2
    assert all(name.count("/") == 3 for name in tree(tmp_path / "out"))
    found = con.execute(f"SELECT symbol FROM read_parquet('{tmp_path}/out/**/*.parquet', hive_partitioning = true)")
    assert sorted(found.fetchall()) == sorted([(symbol,), ("plain",)])


def test_no_ticks_are_an_empty_folder(tmp_path: Path) -> None:
    told = settings(tmp_path)
    record(told)
    assert export(told.path, tmp_path / "out", as_folder=True).rows == {"ticks": 0}
    assert (tmp_path / "out").is_dir() and not tree(tmp_path / "out")


# -- what is there already ----------------------------------------------------------------------------


def test_an_existing_file_is_replaced_only_on_request_and_the_recording_never(tmp_path: Path) -> None:
    told, copy = settings(tmp_path), tmp_path / "copy.duckdb"
    record(told, 3)
    copy.write_text("mine")
    with pytest.raises(ExportError, match="--overwrite replaces it"):
        export(told.path, copy)
    assert copy.read_text() == "mine"
    export(told.path, copy, overwrite=True)
    assert len(ids(copy)) == 3
    with pytest.raises(ExportError, match="the recording itself"):
        export(told.path, tmp_path / "." / told.path.name, overwrite=True)
    (tmp_path / "copy.duckdb.wal").write_bytes(b"log")
    with pytest.raises(ExportError, match=r"copy\.duckdb\.wal"):
        export(told.path, copy, overwrite=True)
    assert not list(tmp_path.glob("*.partial-*"))


def test_a_file_that_appears_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    told, copy = settings(tmp_path), tmp_path / "copy.duckdb"
    record(told, 3)

    def somebody_else(*_: int) -> None:
        copy.write_text("mine")

    with pytest.raises(ExportError, match="meanwhile"):
        export(told.path, copy, progress=somebody_else)
    assert copy.read_text() == "mine" and not list(tmp_path.glob("*.partial-*"))


def test_days_are_added_to_a_folder_and_replaced_only_on_request(tmp_path: Path) -> None:
    told, folder = settings(tmp_path), tmp_path / "out"
    record(told, 6, 6)
    second = microseconds("2026-06-02")
    export(told.path, folder, as_folder=True, time_range=TimeRange(until_us=second))
    export(told.path, folder, as_folder=True, time_range=TimeRange(since_us=second))
    before = tree(folder)
    assert len(before) == 6
    with pytest.raises(ExportError, match="has files already"):
        export(told.path, folder, as_folder=True)
    (folder / before[0]).with_name("older.parquet").write_bytes((folder / before[0]).read_bytes())
    export(told.path, folder, as_folder=True, overwrite=True)
    assert tree(folder) == before
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(ExportError, match="is a file"):
        export(told.path, file, as_folder=True)


# -- locks, interruptions, the command ----------------------------------------------------------------


def test_it_waits_for_the_lock_and_reports_its_holder(tmp_path: Path) -> None:
    told, copy = settings(tmp_path), tmp_path / "copy.duckdb"
    record(told, 3)
    with held(told.path) as holder:
        with pytest.raises(DatabaseLocked, match=str(holder.pid)):
            export(told.path, copy, timeout_s=0.1)
        assert holder.stdin is not None
        threading.Timer(0.3, holder.stdin.close).start()
        assert export(told.path, copy, timeout_s=30).rows["ticks"] == 3
    assert tree(tmp_path) == ["copy.duckdb", "ticks.duckdb"]


def test_the_service_merges_again_as_soon_as_a_copy_is_made(tmp_path: Path) -> None:
    told = settings(tmp_path)
    with store(told) as made:
        write(made, 2)
        assert tickwarden("export", "copy.duckdb", "--file", str(told.path), folder=tmp_path).returncode == 0
        again = tickwarden_here("export", "copy.duckdb", "--file", str(told.path), folder=tmp_path)
        assert again.returncode == 1 and "--overwrite" in again.stderr and "Traceback" not in again.stderr
        assert made.merge().rows == 12


@pytest.fixture(scope="module")
def endless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording that shows far more rows than can be copied before an interruption, at no cost."""
    told = settings(tmp_path_factory.mktemp("endless"))
    record(told)
    with duckdb.connect(told.path) as con:
        con.execute(
            "CREATE OR REPLACE VIEW ticks AS SELECT 'x' AS exchange, 'S' AS symbol, TIMESTAMPTZ '2026-06-01' AS"
            " timestamp, now() AS received_at, i AS price, 1 AS volume, 'buy' AS side, i::VARCHAR AS trade_id,"
            " 'stream' AS source FROM range(30_000_000) r(i)"
        )
    return told.path


@pytest.mark.parametrize(("number", "target"), variants((signal.SIGINT, "copy.duckdb"), (signal.SIGTERM, "out/")))
def test_an_interrupted_export_leaves_nothing(
    number: signal.Signals, target: str, endless: Path, tmp_path: Path
) -> None:
    command = [*COMMAND, "export", f"{tmp_path}/{target}", "--file", str(endless)]
    with subprocess.Popen(command, env=environment(tmp_path), stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 30
        while not list(tmp_path.glob("*.partial-*/made")):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(number)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 130 and "Traceback" not in said
    assert list(tmp_path.iterdir()) == []


def test_the_command_prints_what_it_wrote_and_takes_times_and_days(tmp_path: Path) -> None:
    told = settings(tmp_path)
    record(told, 6, 6, 6)
    runner = CliRunner()
    words = [f"{tmp_path}/out/", "--json", "--from", "2026-06-02", "--to", "2026-06-03T02:00:00+02:00"]
    out = runner.invoke(cli, ["export", *words, "--file", str(told.path)])
    assert out.exit_code == 0 and '"ticks": 6' in out.output and '"format": "parquet"' in out.output
    assert {name.split("/")[2] for name in tree(tmp_path / "out")} == {"date=2026-06-02"}
    out = runner.invoke(cli, ["export", str(tmp_path / "copy"), "--file", str(told.path)])
    assert out.exit_code == 0 and "ticks" in out.output and "18" in out.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["copy.parquet"], "name a folder, like copy/"),
        (["copy.duckdb", "--from", "yesterday"], "2026-06-01T12:30:00Z"),
        (["copy.duckdb", "--to", "2026-06-01T12:30:00"], "2026-06-01T12:30:00Z for UTC"),
    ],
)
def test_wrong_use_is_reported_with_what_is_expected(words: list[str], said: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["export", *words])
    assert result.exit_code != 0 and said in result.output + result.stderr


def test_a_missing_and_a_foreign_file_are_reported(tmp_path: Path) -> None:
    duckdb.connect(tmp_path / "other.duckdb").close()
    with pytest.raises(QueryError, match="no such file"):
        export(tmp_path / "none.duckdb", tmp_path / "copy.duckdb")
    with pytest.raises(QueryError, match="not a file of Tickwarden's"):
        export(tmp_path / "other.duckdb", tmp_path / "copy.duckdb")


def test_times_are_read_exactly() -> None:
    assert microseconds("2026-06-01") == START_NS // 1000
    assert microseconds("2026-06-01T02:00:00.000001+02:00") == START_NS // 1000 + 1
    assert microseconds("1970-01-01T00:00:00Z") == 0


def test_the_times_that_rows_are_chosen_by_are_columns_of_their_tables() -> None:
    columns = {table.name: {column.name for column in table.columns} for table in TABLES}
    for table, times in partitions.TIMES.items():
        assert set(times) <= columns[table]


def test_what_coverage_stands_on_is_copied_whole(tmp_path: Path) -> None:
    told, copy = settings(tmp_path), tmp_path / "copy.duckdb"
    record(told, 10, 10)
    with duckdb.connect(told.path) as con:
        con.execute("INSERT INTO store.feeds BY NAME SELECT TIMESTAMPTZ '2020-01-01' AS \"at\", 'started' AS event")
        con.execute("INSERT INTO store.gap_states BY NAME SELECT TIMESTAMPTZ '2020-01-01' AS \"at\", 'a' AS gap_id")
    done = export(told.path, copy, time_range=TimeRange(since_us=microseconds("2026-06-02")))
    assert (done.rows["feeds"], done.rows["gap_states"], done.rows["ticks"]) == (1, 1, 10)


@pytest.mark.parametrize("as_folder", [False, True])
def test_a_recording_that_cannot_be_read_is_not_taken_for_a_target_that_cannot_be_written(
    tmp_path: Path, as_folder: bool
) -> None:
    configured = settings(tmp_path)
    record(configured, 3000, 3000)
    os.truncate(configured.path, configured.path.stat().st_size // 2)
    with pytest.raises(ExportError, match=r"ticks\.duckdb") as raised:
        export(configured.path, tmp_path / "copy", as_folder=as_folder)
    assert "cannot be written" not in str(raised.value)
