"""The store with real files and real reader processes: what is written is seen, once, by anybody, at any time."""

import errno
import os
import shutil
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from actors.model.batch import Batch
from actors.model.errors import DatabaseLocked
from actors.model.records import FEEDS, FeedEvent, FeedRow
from actors.model.ticks import TICKS, Block
from actors.settings import StoreLimits
from actors.store import database, segments
from actors.store import filesystem as files
from actors.store.connecting import Limits, connect
from actors.store.manifest import Manifest
from actors.store.sql import EMPTY_NAME, sql_text
from actors.store.store import Store
from actors.store.tail import Segment, Tail, live, parse_name, plan
from actors.store.views import read_tail_once, select_sql
from tests.harness.amounts import amount, variants
from tests.harness.buffering import LISTED
from tests.harness.store_harness import (
    Crash,
    Reader,
    StumblingFiles,
    WatchedFiles,
    World,
    batch,
    given_group,
    ids_in,
    never,
    reader,
)
from tests.harness.store_harness import settings as settings_in

HOSTILE = "'); drop table ticks; --"


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Store]:
    """A running store."""
    one = Store(settings_in(tmp_path))
    one.start()
    yield one
    one.close()


def write(one: Store, *ids: int) -> int:
    """One batch of these ticks; its number."""
    number = one.next_number()
    one.write(batch(number, ids))
    return number


@pytest.mark.parametrize("read_only", variants(True, False))
def test_a_batch_is_seen_by_another_process_as_soon_as_write_has_returned(one: Store, read_only: bool) -> None:
    """By one that comes, and by one that is there."""
    with reader() as other:
        write(one, 1, 2)
        assert other.open(one.path, read_only=read_only) == []
        assert other.ids() == {1: 1, 2: 1}
        write(one, 3)
        assert other.ids() == {1: 1, 2: 1, 3: 1}


def test_row_groups_are_joined_by_small_merges_and_seldom_by_large_ones(
    one: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rewriting them takes longer than a large merge; not to do so would split the small tables ever further."""

    def groups_after(merges: range) -> tuple[int, ...] | None:
        for number in merges:
            write(one, number)
            one.merge()
        with duckdb.connect(str(one.path), read_only=True) as con:
            counted = "SELECT count(DISTINCT row_group_id) FROM pragma_storage_info('store.ticks')"
            return con.execute(counted).fetchone()

    assert groups_after(range(3)) == (1,)
    monkeypatch.setattr(database, "ROW_GROUP", 1)
    assert groups_after(range(3, database.JOINED_EVERY - 1)) == (database.JOINED_EVERY - 3,)
    assert groups_after(range(database.JOINED_EVERY - 1, database.JOINED_EVERY)) == (1,)


def test_a_tail_that_is_read_once_gives_the_rows_that_the_view_gives(one: Store) -> None:
    def noted(at_ns: int) -> Batch:
        row = FeedRow(at_ns, "x", "BTC/USDT", FeedEvent.STARTED, "run", time_ns=at_ns)
        return replace(batch(one.next_number(), [at_ns]), feeds=(row,))

    def look(con: duckdb.DuckDBPyConnection) -> tuple[list[tuple[object, ...]], ...]:
        question = "SELECT * FROM feeds ORDER BY time"
        before = con.execute(question).fetchall()
        read_tail_once(con, FEEDS, one.tail)
        after, plan = con.execute(question).fetchall(), con.execute(f"EXPLAIN {question}").fetchall()
        assert "PARQUET" not in str(plan).upper()
        return before, after

    assert not one.has_tail_ticks()
    one.write(noted(1_000))
    assert one.has_tail_ticks()
    one.merge()
    assert not one.has_tail_ticks()
    one.write(noted(2_000))
    assert one.has_tail_ticks()
    before, after = one.consult(look)
    assert before == after and len(after) == 2


def test_the_database_that_writes_is_replaced_before_it_has_grown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = list[str]()

    def counted(database: str, limits: Limits) -> duckdb.DuckDBPyConnection:
        made.append(str(limits.spill))
        return connect(database, limits)

    monkeypatch.setattr(segments, "COPIES_MAX", 4)
    monkeypatch.setattr(segments, "connect", counted)
    one = Store(settings_in(tmp_path))
    one.start()
    for number in range(20):
        write(one, number)
    one.merge()
    one.close()
    assert made.count(str(tmp_path / "ticks.duckdb.spill-flush")) >= 20 / 4
    assert ids_in(one.path) == dict.fromkeys(range(20), 1)


def test_listed_markets_are_seen_at_once_and_after_the_merge(one: Store) -> None:
    one.write(Batch(one.next_number(), instruments=(LISTED, replace(LISTED, active=False, settle=None))))
    question = (
        "SELECT native_symbol, settle, contract_size, price_step::VARCHAR, volume_step, active,"
        " epoch_us(seen_at) * 1000, price_scale FROM instruments"
    )
    rows = [
        ("XBTUSD", "BTC", Decimal(1), "0.500000000000000000", None, True, LISTED.seen_ns, 4),
        ("XBTUSD", None, Decimal(1), "0.500000000000000000", None, False, LISTED.seen_ns, 4),
    ]
    for _ in range(2):
        with duckdb.connect(one.path, read_only=True) as con:
            assert con.execute(question).fetchall() == rows
        one.merge()


def test_every_value_comes_back_as_it_was_from_tail_and_file_in_any_time_zone(one: Store) -> None:
    """Nothing goes through a float or a time zone, and names and payloads are data, whatever they spell."""
    block = Block("binance")
    at_ns = 1_700_000_000_123_456_000
    digits = "12345678901234567890.123456789012345678"
    block.extend(
        [HOSTILE, "BTC/USDT"],
        [None, at_ns],
        [at_ns, at_ns],
        [digits, "0.000000000000000001"],
        ["1", "1e-18"],
        [None, "sell"],
        [None, "x\x00é'\""],
        ["snapshot", "stream"],
    )
    one.write(Batch(one.next_number(), (block,)))
    at = datetime(2023, 11, 14, 22, 13, 20, 123456, tzinfo=UTC)
    names = "exchange, symbol, timestamp, received_at, price, volume, side, trade_id, source"
    tiny = Decimal("0.000000000000000001")
    for turn in ("tail", "file"):
        with duckdb.connect(str(one.path), read_only=True) as con:
            con.execute("SET TimeZone = 'Asia/Kathmandu'")
            rows = con.execute(f"SELECT {names} FROM ticks ORDER BY price DESC").fetchall()
        assert rows == [
            ("binance", HOSTILE, None, at, Decimal(digits), Decimal(1), None, None, "snapshot"),
            ("binance", "BTC/USDT", at, at, tiny, tiny, "sell", "x\x00é'\"", "stream"),
        ], turn
        one.merge()


def test_a_process_that_holds_the_file_is_named_sees_new_ticks_and_lets_the_backlog_in_when_it_ends(
    one: Store,
) -> None:
    """Read-only and read-write alike."""
    for read_only in (True, False):
        with reader() as other:
            assert other.open(one.path, read_only=read_only) == []
            seen = sum(other.ids().values())
            for i in range(20):
                write(one, seen + i)
                if i % 10 == 0:
                    with pytest.raises(DatabaseLocked) as locked:
                        one.merge()
                    assert locked.value.pid == other.process.pid
            assert one.compact() > 0
            assert other.ids() == dict.fromkeys(range(seen + 20), 1)
        report = one.merge()
        assert report.rows == 20 and not report.backlog
        assert one.segment_count == 0


def test_a_clean_stop_leaves_one_file_that_can_be_moved_and_taken_up_elsewhere(one: Store, tmp_path: Path) -> None:
    """The views then reach into the new place's tail."""
    write(one, 1, 2, 3)
    report = one.finish(never)
    assert not report.backlog
    assert [p.name for p in tmp_path.iterdir()] == ["ticks.duckdb"]
    elsewhere = tmp_path / "else where"
    elsewhere.mkdir()
    one.path.rename(elsewhere / "moved.duckdb")
    assert ids_in(elsewhere / "moved.duckdb") == {1: 1, 2: 1, 3: 1}
    again = Store(settings_in(elsewhere, "moved.duckdb"))
    again.start()
    write(again, 4)
    assert ids_in(again.path) == {1: 1, 2: 1, 3: 1, 4: 1}
    assert not again.notices
    again.close()


def test_a_tail_that_is_moved_with_its_file_is_taken_up_there(one: Store, tmp_path: Path) -> None:
    """As after a kill and a move."""
    write(one, 1)
    one.merge()
    write(one, 2)
    (tmp_path / "new").mkdir()
    for name in ("ticks.duckdb", "ticks.duckdb.tail"):
        (tmp_path / name).rename(tmp_path / "new" / name)
    again = Store(settings_in(tmp_path / "new"))
    again.start()
    assert ids_in(again.path) == {1: 1, 2: 1}
    assert not again.notices
    again.close()


@pytest.mark.parametrize("name", variants('it\'s {a,b} "x" ünï→ %20;-- $HOME', "exchange=kraken", "~"))
def test_any_path_will_do(tmp_path: Path, name: str) -> None:
    """Also one that DuckDB could take for a partition, a pattern or SQL."""
    folder = tmp_path / name
    folder.mkdir()
    one = Store(settings_in(folder, f"{name}.duckdb"))
    one.start()
    write(one, 1)
    with duckdb.connect(str(one.path), read_only=True) as con:
        assert con.execute("SELECT exchange, trade_id FROM ticks").fetchall() == [("binance", "1")]
    for i in range(2, 20):
        write(one, i)
    assert one.compact() > 0
    assert one.merge().rows == 19
    assert one.finish(never).segments == 0
    with duckdb.connect(str(one.path), read_only=True) as con:
        assert con.execute("SELECT DISTINCT exchange FROM ticks").fetchall() == [("binance",)]
    one.close()


@pytest.mark.parametrize("name", ["a*b", "a?b", "a[b", "a]b", "a\\b"])
def test_a_path_that_duckdb_takes_for_a_pattern_is_refused_with_what_to_do(tmp_path: Path, name: str) -> None:
    """Before anything is made."""
    with pytest.raises(ValueError, match="choose a path without them"):
        Store(settings_in(tmp_path / name))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["store.duckdb", "Store.DuckDB", "store", ".store.db", "link.duckdb"])
def test_a_name_that_duckdb_confuses_with_the_schema_is_refused_with_what_to_do(tmp_path: Path, name: str) -> None:
    """Nothing would ever be merged, and nothing could read it. A link is judged by where it leads."""
    (tmp_path / "link.duckdb").symlink_to("STORE.tar.duckdb")
    with pytest.raises(ValueError, match="choose another name, like ticks"):
        Store(settings_in(tmp_path, name))
    assert [path.name for path in tmp_path.iterdir()] == ["link.duckdb"]


@pytest.mark.parametrize("name", variants("stored.duckdb", "my.store.duckdb", "main.duckdb", "ticks.store"))
def test_a_name_that_only_resembles_the_schema_holds_a_recording(tmp_path: Path, name: str) -> None:
    one = Store(settings_in(tmp_path, name))
    one.start()
    write(one, 1)
    assert one.merge().rows == 1
    with duckdb.connect(str(one.path), read_only=True) as con:
        assert con.execute("SELECT trade_id FROM ticks").fetchall() == [("1",)]
    one.close()


def test_two_names_of_one_file_are_one_store(tmp_path: Path) -> None:
    """A second tail beside a symbolic link would be merged past the first one's watermark."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link.duckdb").symlink_to(tmp_path / "real" / "ticks.duckdb")
    one = Store(settings_in(tmp_path, "link.duckdb"))
    assert one.path == tmp_path / "real" / "ticks.duckdb"
    one.close()


def test_numbers_rise_even_when_the_clock_has_been_set_back(
    one: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch numbered below the watermark would count as merged."""
    write(one, 1)
    one.merge()
    last = write(one, 2)
    one.merge()
    monkeypatch.setattr(time, "time_ns", lambda: 1_000_000_000)
    again = Store(settings_in(tmp_path))
    again.start()
    assert again.next_number() > last
    write(again, 3)
    assert ids_in(again.path) == {1: 1, 2: 1, 3: 1}
    again.close()


def test_numbers_are_above_those_that_a_lake_has(one: Store) -> None:
    """An older copy of the file may have been put back since: lower ones would count as sent."""
    one.ship_mark = one.next_number() + 10**12
    assert one.next_number() == one.ship_mark + 1


@pytest.mark.parametrize("lives", [1, 2])
def test_batches_of_a_clock_behind_the_watermark_are_stored_though_another_process_hides_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lives: int
) -> None:
    """An earlier run had the clock ahead, and a program holds the file from before the start."""
    real = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() + 3_600 * 10**9)
    world = World(tmp_path, limits=StoreLimits(compact_width=3, compact_rows_max=30, hide_s=0.0, keep_s=0.0))
    world.start()
    world.write()
    world.finish()
    monkeypatch.setattr(time, "time_ns", real)
    world.hold(read_only=False)
    for life in range(lives):
        if life:
            world.fall()
        world.start()
        for _ in range(5):
            world.write()
            world.compact()
        assert isinstance(world.merge(), DatabaseLocked)
    world.release()
    for _ in range(3):
        world.merge()
        world.write()
        world.check()
    world.finish()
    world.check()
    assert len(world.acknowledged) == 4 + 5 * lives
    assert world.said == []


def test_nobody_can_open_the_file_at_any_moment_of_a_merge(tmp_path: Path) -> None:
    """The lock goes as soon as the process closes any descriptor of the file: nothing may do that meanwhile."""
    passed: list[str] = []
    answers: list[str] = []
    files = WatchedFiles()
    one = Store(settings_in(tmp_path), files)
    one.start()
    with reader() as other:

        def at(point: str) -> None:
            if point.startswith(("merge.", "finish.")) and point not in ("merge.closed",):
                passed.append(point)
                answers.extend(str(other.open(one.path, read_only=read_only)) for read_only in (True, False))

        files.at = at
        for i in range(3):
            write(one, i)
            one.merge()
        one.finish(never)
        one.close()
    wanted = {"opened", "deleting", "deleted", "inserted", "committed", "checkpointed"}
    assert {point for point in passed if point.startswith("merge.")} == {f"merge.{name}" for name in wanted}
    assert {"finish.committed", "finish.left"} <= set(passed)
    assert answers and all(f"PID {os.getpid()}" in answer for answer in answers), answers


def test_the_file_is_not_open_between_merges(one: Store) -> None:
    """Or readers would be locked out."""
    write(one, 1)
    one.merge()
    links = [fd.readlink() for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink()]
    assert links and not [link for link in links if str(link).startswith(f"{one.path}")]


def test_nothing_in_the_service_but_the_duckdb_file_module_opens_a_duckdb_file() -> None:
    """Whoever reads the file from inside the service drops the lock under a merge."""
    root = Path(files.__file__).parents[2]
    texts = {
        str(path.relative_to(root)): path.read_text()
        for folder in ("actors", "supervisor", "ops")
        for path in (root / folder).rglob("*.py")
    }
    plain = {
        name for name, text in texts.items() if "duckdb.connect(" in text.replace('duckdb.connect(":memory:"', "")
    }
    assert plain == {"actors/store/connecting.py"}, "others open a file without limits"
    openers = {
        name
        for name, text in texts.items()
        if "actors.store.connecting import" in text and " connect(" in text.replace(" connect(MEMORY", "")
    }
    check = (
        "import sys, ops.service.service; print(*[m for m in sys.modules if m.split('.')[0] in ('ops','actors')])"
    )
    loaded = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True, cwd=root)
    loaded_files = {module.replace(".", "/") + ".py" for module in loaded.stdout.split()}
    # The checks of a config open a new file, or one with limits of other connections: then DuckDB refuses it here.
    checks = {"ops/config/checks.py", "ops/config/paths.py"}
    assert openers & loaded_files - checks == {"actors/store/database.py"}


@pytest.mark.slow
def test_a_hold_of_many_flushes_leaves_few_segments_and_old_names_stay_openable(tmp_path: Path) -> None:
    """What compactions replace is not listed by new queries, can be opened by old ones, and goes in the end."""
    limits, now = StoreLimits(hide_s=0.0), 1_000.0
    one = Store(settings_in(tmp_path), limits=limits, clock=lambda: now)
    one.start()
    listing = f"SELECT file FROM glob({sql_text(one.tail / 'ticks' / '**')})"
    with reader() as other:
        other.open(one.path)
        old_names: set[str] = set()
        for i in range(100):
            write(one, i)
            if i % 10 == 9:
                old_names.update(row[0] for row in other.sql(listing))
                one.compact()
        assert len(old_names) > 100
        for name in old_names:
            assert other.sql(f"SELECT count(*) > -1 FROM read_parquet({sql_text(name)})") == [[True]], name
        assert len(other.sql(listing)) < 30
        assert other.ids() == dict.fromkeys(range(100), 1)
        now += limits.keep_s
        one.compact()
        assert len(list((one.tail / "ticks").iterdir())) < 30
        assert other.ids() == dict.fromkeys(range(100), 1)
    assert one.merge().rows == 100
    one.merge()
    assert [p.name for p in (one.tail / "ticks").iterdir()] == [EMPTY_NAME]
    assert list((one.tail / ".replaced" / "ticks").iterdir()) == []


def test_nothing_is_deleted_while_any_process_has_a_segment_open(tmp_path: Path) -> None:
    """It may be a query that has not come to the others yet."""
    now = 0.0
    one = Store(settings_in(tmp_path), limits=StoreLimits(hide_s=1.0, keep_s=1.0), clock=lambda: now)
    one.start()
    for i in range(16):
        write(one, i)
    path = min((one.tail / "ticks").glob("0-*"))
    assert one.compact() == 48 and not path.is_symlink()
    now = 2.0
    with path.open("rb") as file:
        sleeper = subprocess.Popen(["sleep", "60"], stdin=file)
    with sleeper:
        one.compact()
        assert path.is_symlink() and path.exists()
        sleeper.kill()
    one.compact()
    assert not path.is_symlink()
    assert ids_in(one.path) == dict.fromkeys(range(16), 1)


@pytest.mark.slow
def test_queries_give_whole_answers_while_segments_are_compacted_hidden_and_deleted(
    tmp_path: Path,
) -> None:
    """Two processes count in a loop; no count falls, none fails, none doubles."""
    limits = StoreLimits(hide_s=0.1, keep_s=2.0)  # kept longer than a query takes on a busy machine
    one = Store(settings_in(tmp_path), limits=limits)
    one.start()
    wrong: list[object] = []
    asked = 0
    written = 0
    done = threading.Event()

    def ask(other: Reader) -> None:
        nonlocal asked
        least = 0
        while not done.is_set():
            before = written
            answer = other.sql("SELECT count(*), count(DISTINCT trade_id) FROM ticks")
            asked += 1
            if isinstance(answer, str) or answer[0][0] != answer[0][1] or answer[0][0] < max(least, before):
                wrong.append((answer, least, before))
            else:
                least = answer[0][0]

    with reader() as first, reader() as second:
        askers = [threading.Thread(target=ask, args=(other,)) for other in (first, second)]
        for other in (first, second):
            other.open(one.path)
        for asker in askers:
            asker.start()
        began = time.monotonic()
        while written < 50 or asked < 20 or time.monotonic() < began + 3.0:
            write(one, written)
            written += 1
            if written % 4 == 0:
                one.compact()
        done.set()
        for asker in askers:
            asker.join()
    assert not wrong


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is what stops a query between its two listings")
def test_a_compaction_between_a_querys_two_listings_changes_nothing(one: Store, tmp_path: Path) -> None:
    """The rule is listed before the rows: in the other order a compaction in between would hide its sources."""
    for i in range(16):
        write(one, i)
    one.merge(rows_max=0)
    script = (
        f"import duckdb; con = duckdb.connect({str(one.path)!r}, read_only=True)\n"
        "con.execute('SELECT 1').fetchall(); print('ready', flush=True); input()\n"
        "print(con.execute('SELECT count(*), count(DISTINCT trade_id) FROM ticks').fetchall(), flush=True)"
    )
    trace = tmp_path / "trace"
    command = ["strace", "-f", "-o", str(trace), "-P", str(one.tail / "ticks"), "-e", "trace=openat"]
    command += ["-e", "inject=openat:delay_enter=1500000:when=2", sys.executable, "-c", script]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        if process.stdout.readline() != "ready\n":
            pytest.skip("strace may not trace here")
        process.stdin.write("\n")
        process.stdin.flush()
        deadline = time.monotonic() + 10
        while "openat" not in trace.read_text() and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.3)  # the first listing is over, the second waits
        assert one.compact() == 48
        assert process.stdout.readline() == "[(16, 16)]\n"
    assert "DELAYED" in trace.read_text()


def test_a_stray_file_in_the_tail_is_moved_away_and_reported(one: Store) -> None:
    """DuckDB would stumble over it at every query."""
    write(one, 1)
    (one.tail / "ticks" / ".DS_Store").write_bytes(b"rubbish")
    one.merge()
    assert [notice.event for notice in one.notices] == ["stray_file"]
    assert ids_in(one.path) == {1: 1}


def test_a_deleted_file_or_tail_is_created_again(one: Store) -> None:
    """Recording goes on by itself; what was in the file is said to be missing."""
    write(one, 1)
    one.merge()
    write(one, 2)
    one.merge()
    one.path.unlink()
    write(one, 3)
    one.merge()
    assert [notice.event for notice in one.notices] == ["store_rows_missing"]
    assert one.notices[0].detail["lost"] == {"ticks": 1, "events": 1, "audit": 1}
    assert ids_in(one.path) == {2: 1, 3: 1}
    shutil.rmtree(one.tail)
    number = one.next_number()
    with pytest.raises((OSError, duckdb.Error)):
        one.write(batch(number, [4]))
    one.write(batch(number, [4]))
    assert ids_in(one.path) == {2: 1, 3: 1, 4: 1}


def test_a_file_that_a_merge_makes_before_it_fails_is_reported_by_the_next(tmp_path: Path) -> None:
    troubles, files = list[OSError](), WatchedFiles()

    def trouble(point: str) -> None:
        if point == "merge.opened" and troubles:
            raise troubles.pop()

    files.at = trouble
    one = Store(settings_in(tmp_path), files)
    one.start()
    one.path.unlink()
    write(one, 1)
    troubles.append(OSError(errno.EIO, "Input/output error"))
    with pytest.raises(OSError, match="Input/output"):
        one.merge()
    assert one.path.exists() and [one.merge().created for _ in range(2)] == [True, False]


def test_a_file_whose_adoption_is_stored_and_fails_all_the_same_is_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where its write-ahead log may not grow: the commit is in it, and the checkpoint after it fails."""
    one = Store(settings_in(tmp_path))
    one.start()
    write(one, 1)
    one.finish(never)
    adopt, failures = database.DuckFile.adopt, 0

    def failing(self: database.DuckFile, con: duckdb.DuckDBPyConnection, store_id: str) -> int:
        nonlocal failures
        failures += 1
        if failures != 2:
            adopt(self, con, store_id)
        raise duckdb.TransactionException("Failed to commit: File too large")

    one = Store(settings_in(tmp_path))
    with monkeypatch.context() as patched:
        patched.setattr(database.DuckFile, "adopt", failing)
        one.start()
        write(one, 2)
        for _ in range(2):
            with pytest.raises(database.FileTrouble, match="too large"):
                one.merge()
            assert ids_in(one.path) == {1: 1, 2: 1}
    one.merge()
    assert failures == 3 and ids_in(one.path) == {1: 1, 2: 1}
    assert [notice.event for notice in one.notices if notice.event != "store_file_unavailable"] == []


@pytest.mark.parametrize("ends", ["cleanly", "by a kill"])
def test_a_group_that_is_configured_later_may_read_what_is_there(ends: str, tmp_path: Path) -> None:
    plain, group = settings_in(tmp_path), given_group()
    one = Store(plain)
    one.start()
    write(one, 1)
    if ends == "cleanly":
        one.finish(never)
    tail = [one.tail, *one.tail.rglob("*")] if ends == "by a kill" else []
    one.close()
    paths = [plain.path, *tail]
    for path in paths:
        path.chmod(0o700 if path.is_dir() else 0o604)
    other = Store(replace(plain, group=group.gr_gid))
    before = os.umask(0o027)  # as the service does
    try:
        other.start()
    finally:
        os.umask(before)
    for path in filter(Path.exists, paths):
        state = path.stat()
        assert (path, state.st_gid, state.st_mode & 0o040) == (path, group.gr_gid, 0o040)
    assert stat.S_IMODE(plain.path.stat().st_mode) == 0o644, "what others may do stays"
    other.close()


def killed_once_merged(point: str) -> None:
    if point == "merge.closed":
        raise Crash


def test_a_fold_never_reaches_over_a_watermark_that_cannot_be_read(tmp_path: Path) -> None:
    """Merged, not noted down, killed; then somebody has the file open for writing, so it cannot be asked."""
    watched = WatchedFiles()
    one = Store(settings_in(tmp_path), watched)
    one.start()
    for i in range(20):
        write(one, i)
    watched.at = killed_once_merged
    with pytest.raises(Crash):
        one.merge(rows_max=10)
    one.close()
    with reader() as other:
        assert other.open(one.path, read_only=False) == []
        again = Store(settings_in(tmp_path))
        again.start()
        assert again.compact() == 0
        for i in range(20, 40):
            write(again, i)
        assert again.compact() == 0
        assert other.ids() == dict.fromkeys(range(40), 1)
    assert again.merge().rows == 30
    assert ids_in(again.path) == dict.fromkeys(range(40), 1)
    assert not again.notices
    with reader() as other:  # now nothing is in doubt, although nobody can ask
        assert other.open(one.path, read_only=False) == []
        third = Store(settings_in(tmp_path))
        third.start()
        for i in range(40, 60):
            write(third, i)
        assert third.compact() > 0
        assert other.ids() == dict.fromkeys(range(60), 1)
    for one_of_them in (again, third):
        one_of_them.close()


def test_a_compaction_leaves_alone_what_is_not_committed_yet(tmp_path: Path) -> None:
    """Events come before the ticks of their batch; compacted with others, a crash would take those along."""
    stumbling = StumblingFiles()
    one = Store(settings_in(tmp_path), stumbling)
    one.start()
    for i in range(15):
        write(one, i)
    number = one.next_number()
    stumbling.stumble = 8  # three files, then two names with their folders: the ticks get none
    with pytest.raises(OSError, match="injected"):
        one.write(batch(number, [15]))
    counted = Tail(one.tail, files.Files()).live(0)
    assert [len(counted[table]) for table in ("events", "audit", "ticks")] == [16, 16, 15]
    assert one.compact() == 0
    again = Store(settings_in(tmp_path))  # it was killed before it could try again
    again.start()
    for table in ("events", "audit", "ticks"):
        with duckdb.connect(str(one.path), read_only=True) as con:
            assert con.execute(f"SELECT count(*) FROM {table}").fetchone() == (15,), table
    for one_of_them in (one, again):
        one_of_them.close()


# -- the rule of what counts, and the plan ---------------------------------------------------------------

_spans = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 12), st.integers(0, 6)), max_size=8, unique=True)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, duckdb.DuckDBPyConnection]]:
    """A segment to be linked under many names, and a database with a view over them."""
    folder = tmp_path_factory.mktemp("rule")
    with duckdb.connect(":memory:") as con:
        con.execute("CREATE SCHEMA store")
        con.execute("CREATE TABLE store.watermark AS SELECT 0::BIGINT AS merged_through")
        con.execute(f"CREATE TABLE store.ticks ({TICKS.definition})")
        con.register("empty", batch(0, []).arrow(TICKS))
        con.register("one", batch(0, [1]).arrow(TICKS))
        for name in ("empty", "one"):
            con.execute(f"COPY ({TICKS.select(name)}) TO {sql_text(folder / name)} (FORMAT parquet)")
        yield folder, con


@settings(max_examples=amount(30, 500), suppress_health_check=list(HealthCheck))
@given(spans=_spans, watermark=st.integers(0, 12))
def test_the_views_and_the_service_agree_on_which_segments_count(
    template: tuple[Path, duckdb.DuckDBPyConnection], spans: list[tuple[int, int, int]], watermark: int
) -> None:
    """One rule in two languages."""
    folder, con = template
    tail = folder / "tail"
    shutil.rmtree(tail, ignore_errors=True)
    (tail / "ticks").mkdir(parents=True)
    (tail / "ticks" / EMPTY_NAME).hardlink_to(folder / "empty")
    segments = {Segment(first, first + more, level, 1, 0) for level, first, more in spans}
    for segment in segments:
        (tail / "ticks" / segment.name).hardlink_to(folder / "one")
        assert parse_name(segment.name) == segment
    con.execute("UPDATE store.watermark SET merged_through = ?", [watermark])
    con.execute(f"CREATE OR REPLACE VIEW ticks AS {select_sql(TICKS, tail, checked=False)}")
    row = con.execute("SELECT count(*) FROM ticks").fetchone()
    assert row == (len(live(segments, watermark)),)


def test_a_merge_takes_about_as_much_as_it_may_and_never_cuts_a_segment_in_two() -> None:
    """A compacted segment of another table reaches over several batches; the watermark goes round it."""
    ticks = [Segment(n, n, 0, 10, 0) for n in range(1, 9)]
    compacted = [Segment(1, 4, 1, 4, 0), Segment(5, 5, 0, 1, 0), Segment(6, 7, 1, 2, 0)]
    counted = {"ticks": ticks, "events": compacted}
    cut = plan(counted, 1)
    assert (cut.through, cut.rows, cut.more) == (4, 40, True)
    assert cut.segments == {"ticks": ticks[:4], "events": compacted[:1]}
    assert plan(counted, 45).through == 5
    assert plan(counted, 50).through == 5
    assert plan(counted, 51).through == 7
    everything = plan(counted, 1000)
    assert (everything.through, everything.rows, everything.more) == (8, 80, False)
    beyond = plan({"ticks": ticks[:2], "events": compacted[:1]}, 1000)
    assert (beyond.through, beyond.more) == (0, True)
    assert plan({"ticks": [], "events": []}, 1000).more is False


def test_a_torn_or_foreign_line_of_the_manifest_is_passed_over(one: Store) -> None:
    """The newest line that is whole counts."""
    write(one, 1)
    one.merge()
    path = one.tail / "manifest.jsonl"
    text = path.read_text()
    path.write_text(text + '{"through": 99, "ro\n[1]\nnull\n{"through": "x", "rows": {}}\n\xff')
    manifest = Manifest(path, files.Files())
    manifest.load()
    assert manifest.last is not None and manifest.last.rows["ticks"] == 1
    path.unlink()
    manifest.load()
    assert manifest.last is None


def test_leftovers_of_a_crash_are_cleared_at_the_next_start(one: Store, tmp_path: Path) -> None:
    """Half-written files, links that lead nowhere, replaced segments that nobody can name any more."""
    write(one, 1)
    tail = Tail(one.tail, files.Files())
    rubbish = [tail.partial / "flush-ticks-1", tail.replaced(TICKS) / "x", tail.replaced(TICKS) / "x.link"]
    for path in rubbish:
        path.write_bytes(b"half")
    dangling = one.tail / "ticks" / Segment(5, 5, 0, 1, 0).name
    dangling.symlink_to(tail.replaced(TICKS) / "nothing")
    again = Store(settings_in(tmp_path))
    again.start()
    assert not any(path.exists() for path in rubbish) and not dangling.is_symlink()
    assert ids_in(again.path) == {1: 1}
    again.close()


@pytest.mark.parametrize("moment", variants(0, 3, 1, 2, 4, 5, kept=2))
def test_a_batch_that_is_committed_while_a_merge_lists_the_tail_keeps_its_other_tables(
    moment: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its ticks are its commit, and follow its other tables."""

    class Interleaved(files.Files):
        listings = count(-1_000_000)

        def names(self, folder: Path) -> list[str]:
            if folder.parent == store.tail and next(self.listings) == moment:
                write(store, 2)
            return super().names(folder)

    store = Store(settings_in(tmp_path), Interleaved())
    store.start()
    write(store, 1)
    whole = store._compaction.remove_unneeded

    def before_the_plan(through: int) -> None:
        whole(through)
        Interleaved.listings = count()

    with monkeypatch.context() as patch:
        patch.setattr(store._compaction, "remove_unneeded", before_the_plan)
        store.merge()
    Interleaved.listings = count(-1_000_000)
    write(store, 3)
    assert not store.finish(never).backlog
    with duckdb.connect(str(store.path), read_only=True) as con:
        found = con.execute("SELECT (SELECT count(*) FROM ticks), (SELECT count(*) FROM events)").fetchone()
    assert found == (3, 3)
