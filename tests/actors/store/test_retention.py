"""Old days leave the file whole, by way of the archive, each row once, and what they took is used again."""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import pytest
import trio

from actors.continuity.continuity import Continuity
from actors.continuity.restore import read_states
from actors.model.batch import Batch
from actors.model.records import EventRow, FeedEvent, FeedRow
from actors.model.ticks import Block, IdPromise
from actors.settings import SinkLimits, StoreLimits, StoreSettings
from actors.sink.merger import Merger
from actors.sink.retention_schedule import LOOK_S, RETRY_S, RetentionSchedule
from actors.sink.sink import Retained
from actors.store.archive import ArchiveWrong
from actors.store.store import Store
from ops.config.config import ConfigErrors, load_config
from supervisor import ChildSpec, Supervisor
from tests.harness.amounts import amount, variants
from tests.harness.cli_process import environment
from tests.harness.recording_samples import DAY_NS, ask, ids, settings, store, tree, write
from tests.harness.store_harness import WatchedFiles, memory_folder
from tests.harness.store_reader import answer

TODAY_NS = time.time_ns() // DAY_NS * DAY_NS
TABLES = ("ticks", "rejects", "events", "audit")


def ago(days: int) -> int:
    """The start of a day so many days ago."""
    return TODAY_NS - days * DAY_NS


def date(days: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(ago(days) // 10**9))


@pytest.fixture(scope="module", autouse=True)
def kept() -> Iterator[None]:
    """Recordings that several tests begin with."""
    with memory_folder() as folder:
        _kept.append(folder)
        yield
        _kept.clear()


_kept: list[Path] = []


def recorded(configured: StoreSettings, *days: int, ticks: int = 6) -> list[str]:
    """A file with a batch for each of those days ago; returns every trade id."""
    folder = _kept[0] / f"{days} {ticks}"
    if not folder.exists():
        folder.mkdir()
        with store(settings(folder)) as made:
            for day in days:
                write(made, at_ns=ago(day), ticks=ticks)
            made.finish(lambda: False)
    shutil.copy(folder / configured.path.name, configured.path)
    return ids(configured.path)


def retain(made: Store) -> list[Retained]:
    """Merges, then step after step until nothing is too old."""
    while made.merge().backlog:
        pass
    steps = [made.retain()]
    while steps[-1].more:
        steps.append(made.retain())
        assert len(steps) < 100, "it never ends"
    return steps


def archived(folder: Path, table: str = "ticks", column: str = "trade_id") -> list[Any]:
    files = f"read_parquet('{folder}/{table}/**/*.parquet', hive_partitioning = true)"
    return [row[0] for row in answer(f"SELECT {column} FROM {files} ORDER BY 1")]


def events(made: Store) -> list[str]:
    return [notice.event for notice in made.notices]


def test_whole_days_older_than_keep_days_leave_every_table_and_younger_ones_stay(tmp_path: Path) -> None:
    configured = settings(tmp_path, keep_days=2)
    recorded(settings(tmp_path), 5, 3, 2, 1, 0)
    times = {"ticks": "received_at", "rejects": "received_at", "events": '"at"', "audit": '"at"'}
    with store(configured) as made:
        steps = retain(made)
        for table, column in times.items():
            found = ask(configured.path, f"SELECT DISTINCT {column}::DATE::VARCHAR FROM {table} ORDER BY 1")
            assert [day for (day,) in found] == [date(2), date(1), date(0)]
        assert sum(step.rows for step in steps) == 2 * (6 + 3)
        assert events(made) == ["retention"] * 8
        assert made.notices[0].detail == {"table": "ticks", "day": date(5), "rows": 6, "archive": None}
        made.finish(lambda: False)
    assert len(ids(configured.path)) == 18


def test_what_coverage_stands_on_never_leaves(tmp_path: Path) -> None:
    recorded(settings(tmp_path), 5, 0)
    with duckdb.connect(tmp_path / "ticks.duckdb") as con:
        con.execute("INSERT INTO store.feeds BY NAME SELECT TIMESTAMPTZ '2020-01-01' AS \"at\", 'started' AS event")
        con.execute("INSERT INTO store.gap_states BY NAME SELECT TIMESTAMPTZ '2020-01-01' AS \"at\", 'a' AS gap_id")
    with store(settings(tmp_path, keep_days=2)) as made:
        retain(made)
        kept = ask(
            tmp_path / "ticks.duckdb", "SELECT (FROM (SELECT count(*) FROM feeds)), count(*) FROM gap_states"
        )
        assert kept == [(1, 1)] and len(ids(tmp_path / "ticks.duckdb")) == 6


def test_nothing_leaves_by_default(tmp_path: Path) -> None:
    assert settings(tmp_path).keep_days == 0
    assert RetentionSchedule(settings(tmp_path), clock=lambda: 0.0).wait_s() == float("inf")


def test_a_tick_without_a_time_of_the_exchange_is_as_old_as_its_receipt(tmp_path: Path) -> None:
    configured = settings(tmp_path, keep_days=2)
    recorded(settings(tmp_path), 3, 2, 0, ticks=10)
    assert ask(configured.path, "SELECT count(*) FROM ticks WHERE timestamp IS NULL") == [(6,)]
    with store(configured) as made:
        retain(made)
        assert ask(configured.path, "SELECT count(*), count(timestamp) FROM ticks") == [(20, 16)]


def test_a_clock_that_is_ahead_for_a_moment_deletes_nothing_that_trades_do_not_call_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A virtual machine wakes with a wrong clock, which is put right a minute later."""
    configured = settings(tmp_path, keep_days=30)
    everything = recorded(settings(tmp_path), 40, 20, 0)
    real_ns = time.time_ns
    with store(configured) as made:
        monkeypatch.setattr(time, "time_ns", lambda: real_ns() + 400 * DAY_NS)
        retain(made)
        assert [table for table in TABLES for _ in ask(configured.path, f"FROM {table}")] != []
        assert len(ids(configured.path)) == len(everything) - 6
        monkeypatch.setattr(time, "time_ns", lambda: real_ns() - 400 * DAY_NS)
        retain(made)
        assert len(ids(configured.path)) == len(everything) - 6


def test_a_clock_that_is_ahead_deletes_no_day_that_a_right_one_keeps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = recorded(settings(tmp_path), 1, 0)
    real_ns = time.time_ns
    with store(settings(tmp_path, keep_days=1)) as made:
        for ahead_ns in (0, DAY_NS, 10 * DAY_NS):
            monkeypatch.setattr(time, "time_ns", lambda ahead_ns=ahead_ns: real_ns() + ahead_ns)
            retain(made)
            assert ids(tmp_path / "ticks.duckdb") == everything


def test_where_no_exchange_has_sent_a_time_nothing_is_deleted(tmp_path: Path) -> None:
    """Then only this host's clock knows how old anything is."""
    everything = recorded(settings(tmp_path), 5, 0)
    with duckdb.connect(tmp_path / "ticks.duckdb") as con:
        con.execute("UPDATE store.ticks SET timestamp = NULL")
    with store(settings(tmp_path, keep_days=2)) as made:
        assert [step.rows for step in retain(made)] == [0]
        assert ids(tmp_path / "ticks.duckdb") == everything


def test_what_leaves_is_in_the_archive_first_value_by_value(tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    configured = settings(tmp_path, keep_days=2, archive_dir=folder)
    everything = recorded(settings(tmp_path), 5, 4, 0)
    before = {table: ask(configured.path, f"SELECT * FROM {table}") for table in TABLES}
    with store(configured) as made:
        retain(made)
        left = {table: ask(configured.path, f"SELECT * FROM {table}") for table in TABLES}
    for table in TABLES:
        names = [row[0] for row in ask(configured.path, f"SELECT column_name FROM (DESCRIBE {table})")]
        columns = ", ".join(f'"{name}"' for name in names)
        files = f"read_parquet('{folder}/{table}/**/*.parquet', hive_partitioning = true)"
        kept = answer(f"SELECT {columns} FROM {files}")
        assert sorted(kept + left[table], key=repr) == sorted(before[table], key=repr)
    assert sorted(archived(folder) + ids(configured.path)) == everything
    assert all("/date=" in name and not name.startswith(".") for name in tree(folder))
    assert f"symbol=BTC%2FUSDT%3AUSDT/date={date(5)}/" in "\n".join(tree(folder))


def test_rows_that_come_late_for_an_archived_day_are_added_to_it(tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    configured = settings(tmp_path, keep_days=2, archive_dir=folder)
    today = recorded(settings(tmp_path), 5, 0)[6:]
    with store(configured) as made:
        retain(made)
        write(made, 2, at_ns=ago(5), ticks=3)
        retain(made)
        assert len(archived(folder)) == len(set(archived(folder))) == 12
        assert ids(configured.path) == today
        assert [notice.detail["rows"] for notice in made.notices if notice.detail["table"] == "ticks"] == [6, 12]


def quiet(number: int, *trades: tuple[int, int | str], feeds: tuple[FeedRow, ...] = ()) -> Batch:
    """A batch of trades of a market of its own, each with its time and id."""
    block = Block("kraken")
    for made_ns, trade_id in trades:
        block.extend(["NANO/EUR"], [made_ns], [made_ns], ["1"], ["1"], ["buy"], [str(trade_id)], ["stream"])
    return Batch(number, (block,), feeds=feeds)


NANO = "(SELECT * FROM ticks WHERE symbol = 'NANO/EUR')"


@pytest.mark.parametrize("archive", variants(True, False))
def test_the_newest_trades_of_a_quiet_market_stay_until_younger_ones_come(tmp_path: Path, archive: bool) -> None:
    """Of one moment all stay, and none is archived twice: neither while it stays, nor when it leaves."""
    folder = tmp_path / "archive"
    configured = settings(tmp_path, keep_days=2, archive_dir=folder if archive else None)
    with store(configured) as made:
        trades = (ago(6), 1), (ago(5), "b"), (ago(5) + 1000, "c"), (ago(5) + 1000, "d")
        made.write(quiet(made.next_number(), *trades))
        write(made, at_ns=ago(0))
        assert [step.rows for step in retain(made)] == [1, 1, 0]
        assert ids(configured.path, NANO) == ["c", "d"]
        assert [step.rows for step in retain(made)] == [0]
        made.write(quiet(made.next_number(), (ago(1), "e")))
    with store(configured) as made:  # what is quiet is looked for once a day, and at a start
        assert [step.rows for step in retain(made)] == [2, 0]
        assert ids(configured.path, NANO) == ["e"] and len(ids(configured.path)) == 7
        assert [step.rows for step in retain(made)] == [0]
        assert "store_rows_missing" not in events(made)
    if archive:
        assert archived(folder) == ["1", "b", "c", "d"]


def test_days_of_which_all_trades_stay_do_not_stop_later_days_from_leaving(tmp_path: Path) -> None:
    configured = settings(tmp_path, keep_days=2)
    recorded(settings(tmp_path), 4, 3, 0)
    with store(configured) as made:
        made.write(quiet(made.next_number(), (ago(9), 1)))
        assert sum(step.rows for step in retain(made)) == 2 * (6 + 3)
        made.write(quiet(made.next_number(), (ago(8), 2)))  # late, and not younger than two days
        write(made, at_ns=ago(7))
        assert sum(step.rows for step in retain(made)) == 6 + 3
        assert ids(configured.path, NANO) == ["1", "2"] and len(ids(configured.path)) == 6 + 2
    with store(configured) as made:
        retain(made)
        assert ids(configured.path, NANO) == ["2"]


def test_a_quiet_market_that_appears_after_others_were_looked_for_keeps_its_newest_trade_too(
    tmp_path: Path,
) -> None:
    configured = settings(tmp_path, keep_days=2)
    recorded(settings(tmp_path), 4, 0)
    with store(configured) as made:
        assert sum(step.rows for step in retain(made)) == 6 + 3
        made.write(quiet(made.next_number(), (ago(8), 1), (ago(3), 2)))  # from a history
        assert sum(step.rows for step in retain(made)) == 1
        assert ids(configured.path, NANO) == ["2"]


def test_of_a_quiet_market_no_id_is_deleted_between_two_that_stay(tmp_path: Path) -> None:
    """The highest id may be a little older than the newest trade; a hole between them would count as missing."""
    with store(settings(tmp_path, keep_days=2)) as made:
        times = (ago(4), ago(4) + 4000, ago(4) + 5000, ago(4) + 6000, ago(4) + 9000)
        made.write(quiet(made.next_number(), *zip(times, (1, 3, 4, 5, 2), strict=True)))
        write(made, at_ns=ago(0))
        retain(made)
        assert ids(tmp_path / "ticks.duckdb", NANO) == ["2", "3", "4", "5"]


@pytest.mark.parametrize("promise", variants(IdPromise.CONTIGUOUS, IdPromise.INCREASING, IdPromise.OPAQUE))
def test_after_a_restart_trades_of_a_quiet_market_that_have_left_are_not_taken_for_new(
    tmp_path: Path, promise: IdPromise
) -> None:
    """What the exchange sends on subscribing is not stored and archived once more, nor does the gap of the downtime
    begin before the newest trade.
    """
    folder = tmp_path / "archive"
    configured = settings(tmp_path, keep_days=2, archive_dir=folder)
    trades = [(ago(5) + index * 1000, 101 + index) for index in range(3)]
    with store(configured) as made:
        started = FeedRow(ago(9), "kraken", "NANO/EUR", FeedEvent.STARTED, "run")
        first = FeedRow(trades[0][0], "kraken", "NANO/EUR", FeedEvent.FIRST, "run", "101", trades[0][0])
        made.write(quiet(made.next_number(), *trades, feeds=(started, first)))
        write(made, at_ns=ago(0))
        retain(made)
    for start in range(2):
        with store(configured) as made:
            made.merge()
            markets = {"kraken": {"NANO/EUR": promise}}
            (state,) = made.consult(partial(read_states, promises=markets, run_id=str(start)))["kraken"]
            continuity = Continuity("kraken", markets["kraken"])
            continuity.restore([state], ago(0))
            (sent,) = quiet(1, *trades).blocks
            continuity.deduplicator.admit(sent, 0, None, 0.0)
            assert len(sent) == 0
            assert {gap.from_ns for gap in continuity.take_gaps()} == {trades[-1][0]}
            retain(made)
        assert archived(folder) == ["101", "102"] and ids(configured.path, NANO) == ["103"]


@pytest.mark.slow
def test_two_recordings_may_share_an_archive(tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        with store(settings(tmp_path / name, keep_days=2, archive_dir=folder)) as made:
            write(made, at_ns=ago(5))
            write(made, at_ns=ago(0))
            retain(made)
    assert len(archived(folder)) == 12


@pytest.mark.slow
def test_a_day_of_many_rows_is_deleted_in_pieces_and_reported_once(tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    configured = settings(tmp_path, keep_days=2, archive_dir=folder)
    everything = recorded(settings(tmp_path), 5, ticks=400)
    with store(configured, limits=StoreLimits(retention_rows_max=100)) as made:
        (number,) = write(made, at_ns=ago(0), ticks=3)
        steps = [step.rows for step in retain(made)]
        # 400 trades a second apart, 60 a minute: a piece is one minute, but for the last two, of 60 and 40.
        assert steps == [60] * 5 + [100, 1, 1, 1, 0]
        assert archived(folder) == everything
        assert ids(configured.path) == [f"{number}-{index}" for index in range(3)]
        ticks = [notice.detail for notice in made.notices if notice.detail["table"] == "ticks"]
        assert [detail["rows"] for detail in ticks] == [400]


def test_what_retention_took_is_not_missed_afterwards_nor_does_it_hide_a_loss(tmp_path: Path) -> None:
    configured = settings(tmp_path, keep_days=2)
    with store(configured) as made:
        write(made, at_ns=ago(5), ticks=50)
        write(made, at_ns=ago(0), ticks=20)
        retain(made)
        made.merge()
        assert "store_rows_missing" not in events(made)
    with store(configured) as made:
        assert "store_rows_missing" not in events(made)
    with duckdb.connect(configured.path) as con:
        con.execute("DELETE FROM store.ticks WHERE trade_id LIKE '%-7'")
    with store(configured) as made:
        (missing,) = [notice for notice in made.notices if notice.event == "store_rows_missing"]
        assert missing.detail["lost"] == {"ticks": 1}


@pytest.mark.parametrize("archive", variants(True, False))
def test_of_what_a_lake_has_yet_to_get_no_row_leaves(tmp_path: Path, archive: bool) -> None:
    """Rows that never get there, because an older version merged them, leave as before."""
    folder = tmp_path / "archive"
    configured = settings(tmp_path, keep_days=2, archive_dir=folder if archive else None)
    with store(settings(tmp_path)) as made:
        days = [write(made, at_ns=ago(day))[0] for day in (5, 5, 4)]
        (today,) = write(made, at_ns=ago(0))
        made.merge()
    with duckdb.connect(configured.path) as con:
        for table in TABLES:
            con.execute(f"UPDATE store.{table} SET batch = NULL WHERE batch = {days[1]}")
    numbers = "SELECT DISTINCT batch FROM store.{} ORDER BY ALL NULLS FIRST"
    with store(configured) as made:
        for mark, left in ((0, [days[0], days[2]]), (days[0], days[2:]), (None, [])):
            made.ship_mark = mark
            steps = retain(made)
            for table in TABLES:
                assert [number for (number,) in ask(configured.path, numbers.format(table))] == [*left, today], (
                    mark,
                    table,
                )
            assert sum(step.rows for step in steps) == 6 + 3
            assert [step.rows for step in retain(made)] == [0]  # nor does it try for ever
            kept = archived(folder) if archive else []
            assert len(kept) == (len(days) - len(left)) * 6 * archive


def test_while_another_process_reads_the_file_no_day_is_deleted(tmp_path: Path) -> None:
    configured = settings(tmp_path, keep_days=2, archive_dir=tmp_path / "archive")
    recorded(settings(tmp_path), 5, 0)
    with store(configured) as made:
        made.merge()
        with subprocess.Popen(
            [sys.executable, "-c", HOLD, str(configured.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as reader:
            assert reader.stdout is not None and reader.stdout.readline() == "held\n"
            assert made.retain() == Retained(more=True)
            reader.communicate("\n")
        assert len(ids(configured.path)) == 12
        assert made.retain().rows == 6


def test_an_archive_that_cannot_be_written_keeps_everything_in_the_file(tmp_path: Path) -> None:
    (tmp_path / "archive").write_text("a file stands where the folder should be")
    configured = settings(tmp_path, keep_days=2, archive_dir=tmp_path / "archive")
    everything = recorded(settings(tmp_path), 5, 0)
    with store(configured) as made:
        made.merge()
        with pytest.raises(OSError, match="archive"):
            made.retain()
        assert ids(configured.path) == everything
        (tmp_path / "archive").unlink()
        assert made.retain().rows == 6
    assert archived(tmp_path / "archive") == everything[:6]


def test_an_archive_that_does_not_hold_what_was_written_keeps_everything_in_the_file(
    tmp_path: Path,
) -> None:
    def losing_rows(point: str) -> None:
        if point == "archive.placed":
            path = min((tmp_path / "archive").rglob("*.parquet"))
            rows = f"FROM read_parquet('{path}', hive_partitioning = false)"
            duckdb.sql(f"COPY ({rows} LIMIT 0) TO '{path}.less' (FORMAT parquet)")
            path.with_name(f"{path.name}.less").rename(path)

    configured = settings(tmp_path, keep_days=2, archive_dir=tmp_path / "archive")
    everything = recorded(settings(tmp_path), 5, 0)
    with store(configured, WatchedFiles(losing_rows)) as made:
        made.merge()
        with pytest.raises(ArchiveWrong, match="4 of 6 rows of ticks"):
            made.retain()
        assert ids(configured.path) == everything


HOLD = """
import sys, duckdb
reader = duckdb.connect(sys.argv[1], read_only=True)
print("held", flush=True)
input()
"""
CRASH = """
import sys
from pathlib import Path
from actors.settings import SinkLimits, StoreLimits, StoreSettings
from actors.store.store import Store
folder = Path(sys.argv[1])
made = Store(StoreSettings(path=folder / "ticks.duckdb", keep_days=2, archive_dir=folder / "archive"))
made.start()
made.merge()
while made.retain().more:
    pass
"""
POINTS = ("archive.placed", "retention.deleted", "retention.noted", "retention.committed")


@pytest.mark.parametrize("point", POINTS[: amount(1, 4)])
def test_a_crash_at_any_moment_loses_no_row_and_doubles_none(point: str, tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    everything = recorded(settings(tmp_path), 6, 5, 0, ticks=9)
    # The second time: one piece has left by then, and another is on its way.
    ended = subprocess.run(
        [sys.executable, "-c", CRASH, str(tmp_path)],
        env=environment(tmp_path, TICKWARDEN_CRASH_AT=f"{point}:2"),
        check=False,
    )
    assert ended.returncode == -9
    # A row that comes late for a day in the archive must neither replace what is there nor be lost.
    with store(settings(tmp_path, keep_days=2, archive_dir=folder)) as made:
        (number,) = write(made, at_ns=ago(6), ticks=1)
        retain(made)
        assert "store_rows_missing" not in events(made)
        made.finish(lambda: False)
    assert sorted(archived(folder) + ids(tmp_path / "ticks.duckdb")) == sorted([*everything, f"{number}-0"])
    assert len(ids(tmp_path / "ticks.duckdb")) == 9
    assert not list(folder.glob(".partial-*"))


@pytest.mark.slow
def test_the_file_does_not_grow_while_as_much_leaves_as_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured = settings(tmp_path, keep_days=2)
    sizes = []
    with store(configured) as made:
        made.merge()
        for day in range(8):
            with duckdb.connect(configured.path) as con:
                con.execute(
                    "INSERT INTO store.ticks BY NAME SELECT 'x' AS exchange, 'S' AS symbol, random() AS price,"
                    " make_timestamptz(? + i * 1000) AS timestamp, i AS trade_id FROM range(60_000) r(i)",
                    [(TODAY_NS + day * DAY_NS) // 1000],
                )
            monkeypatch.setattr(time, "time_ns", lambda now=TODAY_NS + (day + 1) * DAY_NS: now)
            while made.retain().more:
                pass
            sizes.append(configured.path.stat().st_size)
        assert ask(configured.path, "SELECT count(*) FROM ticks") == [(120_000,)]
    # Two days stay, a third comes before one leaves, and the rest is blocks that wait to be used again.
    assert max(sizes) < 6 * sizes[0]


def test_pieces_follow_each_other_at_an_easy_pace_and_then_it_looks_seldom() -> None:
    now = 1000.0
    schedule = RetentionSchedule(StoreSettings(path=Path("x"), keep_days=1), clock=lambda: now)
    assert schedule.wait_s() == 0
    schedule.done(Retained(rows=5, locked_s=0.3, more=True))
    assert schedule.wait_s() == pytest.approx(0.3 * SinkLimits().retention_rest)
    now += 0.3 * SinkLimits().retention_rest
    assert schedule.wait_s() == 0
    schedule.done(Retained())
    assert schedule.wait_s() == LOOK_S
    schedule.failed(OSError("no space"))
    assert schedule.wait_s() == RETRY_S and "no space" in (schedule.trouble or "")
    schedule.done(Retained())
    assert schedule.trouble is None


async def test_the_merger_deletes_old_days_reports_it_in_events_and_survives_a_failing_archive(
    tmp_path: Path,
) -> None:
    (tmp_path / "archive").write_text("a file stands where the folder should be")
    recorded(settings(tmp_path), 5, 0)
    configured = settings(tmp_path, keep_days=2, archive_dir=tmp_path / "archive", merge_interval_s=0.01)
    said: list[EventRow] = []
    with store(configured) as made:
        merger = Merger(made, configured, said.append, finish_s=5, limits=SinkLimits(retention_rest=0.0))
        async with Supervisor("tree", on_event=lambda _: None) as tree:
            await tree.start(ChildSpec("merger", merger.run, kind="merger", stop_s=30, on_stop=merger.stop))
            with trio.fail_after(30):
                await until(lambda: merger.retention.trouble is not None and merger.merges >= 3)
                assert "archive" in tree.health("merger").reason
                (tmp_path / "archive").unlink()
                merger.retention.done(Retained(more=True))  # not to wait for the retry
                await until(lambda: [row.event for row in said].count("retention") == 4)
        assert merger.locked_s > 0
    assert len(ids(configured.path)) == len(archived(tmp_path / "archive")) == 6


async def until(true: Callable[[], bool]) -> None:
    while not true():  # noqa: ASYNC110 - what threads bring about sets no event
        await trio.sleep(0.01)


def test_the_configuration_sets_how_long_days_are_kept_and_where_they_go(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    exchange = '\n[exchanges.okx]\nsymbols = ["BTC/USDT"]\n'
    file.write_text('[store]\nkeep_days = 30\narchive_dir = "old/"' + exchange)
    assert load_config(file).store.keep_days == 30
    assert load_config(file).store.archive_dir == tmp_path / "old"
    file.write_text('[store]\narchive_dir = ""' + exchange)
    assert load_config(file).store.archive_dir is None and load_config(file).store.keep_days == 0
    for wrong in ("keep_days = -1", "keep_days = 1.5", 'archive_dir = "a*"', "archive_dir = 1"):
        file.write_text(f"[store]\n{wrong}{exchange}")
        with pytest.raises(ConfigErrors, match=wrong.split()[0]):
            load_config(file)
