"""File and tail belong together by a random id: a copy or a move is an error and never a silent missing range."""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
from msgspec.structs import replace

from actors.model.errors import DatabaseLocked
from actors.store import lock
from actors.store.adjacent_tail import TailMissing, owner_of, usable_tail
from actors.store.database import FileRefused
from actors.store.identity import read_identity
from actors.store.lock import StoreLock, StoreTaken
from actors.store.store import Store
from actors.store.views import create_views
from ops.export.export import export
from ops.export.query import QueryError, run_query
from tests.harness.amounts import variants
from tests.harness.cli_process import COMMAND, environment
from tests.harness.recording_samples import ids, settings, store, write
from tests.harness.store_harness import StumblingFiles, World, reader

COUNT = "SELECT count(*) FROM ticks"


def counted(path: Path) -> int:
    """What `tickwarden query` finds."""
    found: int = run_query(path, COUNT).rows[0][0]
    return found


@pytest.mark.parametrize(
    "where",
    variants(
        "", "WHERE symbol = 'no such'", "WHERE timestamp > now()", "WHERE price < 0", "WHERE side IS NULL", kept=2
    ),
)
def test_a_copy_from_before_a_merge_fails_on_every_query(where: str, tmp_path: Path) -> None:
    """Also where statistics would let DuckDB leave the tail out."""
    configured, copy = settings(tmp_path), tmp_path / "copy.duckdb"
    with store(configured) as made:
        write(made, 2)
        shutil.copy(configured.path, copy)
        assert len(ids(copy)) == 12  # nothing is missing yet
        write(made, 2)
        made.merge()
        made.merge()  # deletes what the first has merged
        with (
            duckdb.connect(copy, read_only=True) as con,
            pytest.raises(duckdb.Error, match="tickwarden export PATH"),
        ):
            con.execute(f"{COUNT} {where}").fetchall()
        with pytest.raises(QueryError, match="tickwarden export"):
            run_query(copy, f"{COUNT} {where}")
        with pytest.raises(QueryError, match="tickwarden export"):
            export(copy, tmp_path / "export.duckdb")
        assert counted(configured.path) == 24


def test_another_recording_under_the_same_path_is_never_read(tmp_path: Path) -> None:
    here, other = tmp_path / "here", tmp_path / "other"
    here.mkdir()
    other.mkdir()
    for folder in (here, other):
        with store(settings(folder)) as made:
            write(made, 2)
    shutil.rmtree(here / "ticks.duckdb.tail")
    (other / "ticks.duckdb.tail").rename(here / "ticks.duckdb.tail")
    file = here / "ticks.duckdb"
    with duckdb.connect(file, read_only=True) as con, pytest.raises(duckdb.Error, match="does not belong"):
        con.execute(COUNT)
    with pytest.raises(QueryError):
        run_query(file, COUNT)
    with store(settings(here)) as made:  # a start sorts it out: what is not its own is set aside
        assert "segment_foreign" in [notice.event for notice in made.notices]
        assert counted(file) == 0
        write(made)
        assert counted(file) == len(ids(file)) == 6


def test_a_folder_seen_elsewhere_is_read_with_the_tail_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    with store(settings(tmp_path / "here")) as made:
        write(made, 2)
        made.merge()
        write(made, 2)
    (tmp_path / "here").rename(tmp_path / "there")
    file = tmp_path / "there" / "ticks.duckdb"
    assert counted(file) == 24
    for view in ("gaps", "coverage"):
        run_query(file, f"FROM {view}")
    (tmp_path / "there" / "ticks.duckdb.tail").rename(tmp_path / "lost")
    with duckdb.connect(file, read_only=True) as con, pytest.raises(duckdb.Error, match="No files found"):
        con.execute(COUNT)
    with pytest.raises(QueryError, match="Put the tail back"):
        run_query(file, COUNT)
    assert run_query(file, "SELECT 1").rows == [(1,)]


def test_a_copy_that_is_recorded_into_gets_an_id_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    configured, twin = settings(tmp_path), settings(tmp_path / "b")
    with store(configured) as made:
        write(made, 2)
        shutil.copy(configured.path, twin.path)
        with store(twin) as other:
            write(other)
            first, second = read_identity(made.tail), read_identity(other.tail)
            assert first and second and first.store_id != second.store_id
            with duckdb.connect(twin.path, read_only=True) as con:
                owner = owner_of(con)
            assert owner and owner.store_id == second.store_id
            shutil.rmtree(other.tail)
            shutil.copytree(made.tail, other.tail)
            with pytest.raises(TailMissing):
                usable_tail(twin.path, owner)


def test_a_process_that_holds_the_file_before_the_start_is_named_and_our_queries_see_all_rows(
    tmp_path: Path,
) -> None:
    configured = settings(tmp_path)
    with store(configured) as made:
        write(made, 2)
        made.finish(lambda: False)
    with reader() as other:
        assert other.open(configured.path) == []
        with store(configured) as made:
            write(made, 2)
            (notice,) = made.notices
            assert notice.event == "store_held_at_start" and f"process {other.process.pid}" in notice.reason
            assert made.unreached == notice.reason
            with pytest.raises(DatabaseLocked):
                made.merge()
            assert counted(configured.path) == 24
            assert made.consult(lambda con: con.execute(COUNT).fetchall()) == [(24,)]
            assert export(configured.path, tmp_path / "copy.duckdb").rows["ticks"] == 24
            other.end()
            made.merge()
            assert not made.unreached
            assert len(ids(configured.path)) == 24


def test_every_name_of_a_file_is_one_service(tmp_path: Path) -> None:
    """From another process: flock of one process by two descriptors would do as well, but this is what happens."""
    configured = settings(tmp_path)
    with StoreLock(configured.path) as mine:
        one = Store(configured, lock=mine.file)
        one.start()
        twin = tmp_path / "twin.duckdb"
        twin.hardlink_to(configured.path)
        script = (
            "import sys; from pathlib import Path; from actors.store.lock import StoreLock, StoreTaken\n"
            "path = Path(sys.argv[1])\n"
            "try:\n    with StoreLock(path) as mine: mine.file(path)\n    print('free')\n"
            "except StoreTaken as taken: print(taken.pid)"
        )
        command = [sys.executable, "-c", script, str(twin)]
        root = Path(lock.__file__).parents[2]
        assert subprocess.run(command, capture_output=True, text=True, cwd=root).stdout.strip() == str(os.getpid())
        one.close()
    assert subprocess.run(command, capture_output=True, text=True, cwd=root).stdout.strip() == "free"


def test_a_lock_is_released_although_its_file_cannot_be_cleared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything is stored by then: a clean stop is not to end with the error of a file that nobody needs."""

    def fails(*_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "ftruncate", fails)
    path = tmp_path / "t.duckdb"
    for _ in range(2):
        with StoreLock(path), pytest.raises(StoreTaken), StoreLock(path):
            pass


@pytest.mark.parametrize("kind", ["symlink", "hardlink", "fifo", "folder", "text"])
def test_a_lock_that_is_not_ours_is_neither_followed_nor_changed(kind: str, tmp_path: Path) -> None:
    precious, lock = tmp_path / "precious", tmp_path / "t.duckdb.lock"
    precious.write_text("precious")
    match kind:
        case "symlink":
            lock.symlink_to(precious)
        case "hardlink":
            lock.hardlink_to(precious)
        case "fifo":
            os.mkfifo(lock)
        case "folder":
            lock.mkdir()
        case _:
            lock.write_text("precious")
    with pytest.raises(FileRefused, match="not a lock file"), StoreLock(tmp_path / "t.duckdb"):
        pass
    assert precious.read_text() == "precious"
    if kind == "text":
        assert lock.read_text() == "precious"


def test_a_storage_version_that_the_file_does_not_have_is_refused(tmp_path: Path) -> None:
    configured = settings(tmp_path)
    with store(configured) as made:
        made.finish(lambda: False)
    with pytest.raises(FileRefused, match="Set it to v1"), store(replace(configured, storage_version="v1.4.0")):
        pass
    with store(replace(configured, storage_version="v1.2.2")):  # the same format
        pass


def test_what_is_recorded_is_its_owners_alone_whatever_the_umask(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(
        '[store]\npath = "t.duckdb"\n[exchanges.kraken]\nsymbols = ["BTC/USD"]\n'
        'ws_url = "ws://127.0.0.1:9"\nrest_url = "http://127.0.0.1:9"\n'
    )
    command = [*COMMAND, "run", "--config", "c.toml", "--for", "1"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment(tmp_path), capture_output=True, umask=0, check=False
    )
    assert done.returncode == 0, done.stderr
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir() if path.name != "c.toml"}
    assert modes["t.duckdb"] == 0o600 and set(modes.values()) == {0o600}, modes
    export(tmp_path / "t.duckdb", tmp_path / "copy.duckdb")
    assert (tmp_path / "copy.duckdb").stat().st_mode & 0o777 == 0o600


def test_the_views_of_a_new_file_are_created_once_and_again_when_it_was_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Creating them takes 40 ms of a start."""
    tails: list[Path | None] = []

    def counted(con: duckdb.DuckDBPyConnection, tail: Path | None) -> None:
        tails.append(tail)
        create_views(con, tail)

    monkeypatch.setattr("actors.store.database.create_views", counted)
    configured = settings(tmp_path)
    with store(configured) as made:
        assert tails == [made.tail]
        write(made, 2)
        assert len(ids(configured.path)) == 12
        made.finish(lambda: False)
    with store(configured) as made:
        assert tails == [made.tail, None, made.tail]
        write(made, 2)
        assert len(ids(configured.path)) == 24


@pytest.mark.parametrize("step", variants(2, 5, 8, 1, 3, 4, 6, 7, kept=3))
def test_what_a_failed_write_left_in_a_new_tail_is_not_another_files(step: int, tmp_path: Path) -> None:
    """The service starts after a clean stop while another program has the file, and its first write fails."""
    world = World(tmp_path, StumblingFiles)
    world.start()
    world.write()
    world.finish()
    world.hold(read_only=False)
    world.start()
    world.files.stumble = step  # type: ignore[attr-defined]
    world.write()
    world.files.stumble = 0  # type: ignore[attr-defined]
    world.release()
    world.merge()
    if world.pending is not None:
        world.write()
    world.finish()
    world.check()
    assert world.said == []
