"""A recording can be moved and copied, and missing parts are reported; older DuckDBs open it too."""

import errno
import json
import os
import shutil
import subprocess
from pathlib import Path

import duckdb
import pytest

from actors.model.errors import DatabaseLocked
from actors.store.database import DuckFile
from actors.store.store import Store
from actors.store.views import recorded_tail
from tests.harness.amounts import variants
from tests.harness.recording_samples import ask, ids, record, settings, store, tree, write
from tests.harness.store_harness import FaultyFiles

# Pythons with another DuckDB in them, parted by ":"; CI has none, a release is tried with 1.2, 1.3 and 1.4.
OTHERS = [python for python in os.environ.get("TICKWARDEN_OTHER_DUCKDB", "").split(":") if python]

ASK = """
import json, sys, duckdb
con = duckdb.connect(sys.argv[1], read_only=True)
con.execute("SET TimeZone = 'UTC'")
row = con.execute('''
    SELECT count(*), count(DISTINCT trade_id), sum(price)::VARCHAR, min(timestamp)::VARCHAR, max(symbol),
        (SELECT count(*) FROM ticks WHERE timestamp > TIMESTAMPTZ '2026-06-01 00:00:02Z'),
        (SELECT count(*) FROM audit), (SELECT max(payload)::VARCHAR FROM rejects),
        (SELECT max(detail ->> 'n') FROM events), (SELECT max(version) FROM schema_version)
    FROM ticks''').fetchone()
print(json.dumps([duckdb.__version__, *row]))
"""


def folder(tmp_path: Path, name: str) -> Path:
    """A place to move to."""
    path = tmp_path / name
    path.mkdir()
    return path


def test_after_a_clean_stop_the_file_alone_is_complete_wherever_it_goes(tmp_path: Path) -> None:
    here, there = folder(tmp_path, "here"), folder(tmp_path, "there")
    with store(settings(here)) as made:
        write(made, 2, ticks=5)
        made.finish(lambda: False)
    before = ids(here / "ticks.duckdb")
    assert tree(here) == ["ticks.duckdb"] and len(before) == 10
    (here / "ticks.duckdb").rename(there / "other.duckdb")
    assert ids(there / "other.duckdb") == before


def test_started_elsewhere_the_views_reach_into_the_tail_there(tmp_path: Path) -> None:
    here, there = folder(tmp_path, "here"), folder(tmp_path, "there")
    record(settings(here), 5)
    configured = settings(there)
    (here / "ticks.duckdb").rename(configured.path)
    with store(configured) as made:
        write(made)
        assert not made.notices
        assert len(ids(configured.path)) == 11
        assert str(there / "ticks.duckdb.tail") in str(ask(configured.path, "SELECT sql FROM duckdb_views()"))
        assert tree(here) == []
        made.finish(lambda: False)
    assert len(ids(configured.path)) == 11 and tree(there) == ["ticks.duckdb"]


def test_after_a_kill_file_and_tail_can_be_moved_together(tmp_path: Path) -> None:
    here, there = folder(tmp_path, "here"), folder(tmp_path, "there")
    with store(settings(here)) as made:
        write(made, 2)
        made.merge()
        write(made, 3)
    before = ids(here / "ticks.duckdb")
    for path in list(here.iterdir()):
        path.rename(there / path.name)
    configured = settings(there)
    with store(configured) as made:
        assert not made.notices
        assert ids(configured.path) == before and len(before) == 30
        made.finish(lambda: False)
    assert ids(configured.path) == before


@pytest.mark.parametrize("where", ["there", "here"])
def test_a_file_that_comes_without_its_tail_is_recorded_into_and_the_loss_is_reported(
    where: str, tmp_path: Path
) -> None:
    here = folder(tmp_path, "here")
    with store(settings(here)) as made:
        write(made, 2)
        made.merge()
        write(made, 3)
        tail = made.tail
    if where == "there":
        configured = settings(folder(tmp_path, "there"))
        (here / "ticks.duckdb").rename(configured.path)
    else:
        configured = settings(here)
        tail.rename(tmp_path / "gone")
    segments = tree(tail)
    with store(configured) as made:
        (notice,) = made.notices
        assert notice.event == "store_tail_missing" and str(tail) in notice.reason
        assert ("still exists" in notice.reason) == (where == "there")
        assert len(ids(configured.path)) == 12
        write(made)
        assert len(ids(configured.path)) == 18
        made.finish(lambda: False)
    assert tree(tail) == segments or where == "here"
    with store(configured) as made:
        assert not made.notices


@pytest.mark.parametrize(
    "first", ["fails", "crashes", "never gets the file", "fails after it has adopted the file"]
)
@pytest.mark.parametrize("stopped", [True, False])
def test_a_lost_tail_is_reported_once_and_only_if_it_is_lost_however_the_first_start_ends(
    first: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, stopped: bool
) -> None:
    configured = settings(tmp_path)
    with store(configured) as made:
        write(made, 2)
        made.merge()
        write(made)
        if stopped:
            made.finish(lambda: False)
    shutil.rmtree(made.tail, ignore_errors=True)
    layer = FaultyFiles()
    again = Store(configured, layer)
    match first:
        case "fails":
            layer.fail["rename"] = (1, errno.ENOSPC)
            with pytest.raises(OSError, match="injected"):
                again.start()
        case "crashes":
            layer.fail["rename"] = (1, errno.ENOSPC)
            with pytest.raises(OSError, match="injected"):
                again.start()
            again = Store(configured)
        case "never gets the file":
            with duckdb.connect(configured.path):
                again.start()
                write(again)
                assert [notice.event for notice in again.notices] == ["store_held_at_start"]
                with pytest.raises(DatabaseLocked):
                    again.finish(lambda: False)
            again.close()
            again = Store(configured)
        case _:
            adopt = DuckFile.adopt

            def fails(duck: DuckFile, con: duckdb.DuckDBPyConnection, store_id: str) -> int:
                adopt(duck, con, store_id)
                raise duckdb.IOException("No space left on device")  # of the checkpoint

            with monkeypatch.context() as patch:
                patch.setattr(DuckFile, "adopt", fails)
                again.start()
    if "adopted" not in first:
        again.start()
    again.merge()
    again.merge()
    missing = [notice.event for notice in again.notices if notice.event != "store_file_unavailable"]
    assert missing == ([] if stopped else ["store_tail_missing"])
    again.close()


def test_a_new_file_or_one_that_was_being_begun_misses_nothing(tmp_path: Path) -> None:
    for _ in range(2):
        with store(settings(tmp_path)) as made:
            assert not made.notices


def test_a_copy_of_a_running_recording_shows_what_the_recording_shows(tmp_path: Path) -> None:
    configured, copy = settings(tmp_path), tmp_path / "copy.duckdb"
    with store(configured) as made:
        write(made, 2)
        made.merge()
        write(made, 2)
        copy.write_bytes(configured.path.read_bytes())
        assert ids(copy) == ids(configured.path) and len(ids(copy)) == 24


@pytest.mark.parametrize("name", variants("it's", "spaces and ü", "sym=x"))
def test_the_tail_is_found_again_whatever_its_folder_is_called(name: str, tmp_path: Path) -> None:
    import duckdb

    configured = settings(folder(tmp_path, name))
    with store(configured) as made:
        with duckdb.connect(configured.path, read_only=True) as con:
            assert recorded_tail(con) == made.tail
        made.finish(lambda: False)
        with duckdb.connect(configured.path, read_only=True) as con:
            assert recorded_tail(con) is None


@pytest.mark.skipif(not OTHERS, reason="TICKWARDEN_OTHER_DUCKDB names no Python with another DuckDB")
@pytest.mark.parametrize("state", ["running", "stopped"])
@pytest.mark.parametrize("python", OTHERS)
def test_an_older_duckdb_reads_the_file_running_or_stopped(python: str, state: str, tmp_path: Path) -> None:
    configured = settings(tmp_path)
    with store(configured) as made:
        write(made, 2)
        made.merge()
        write(made, 40)
        assert made.compact()
        if state == "stopped":
            made.finish(lambda: False)
        said = subprocess.run([python, "-c", ASK, str(configured.path)], check=True, capture_output=True, text=True)
    version, *found = json.loads(said.stdout)
    assert version < "2"
    assert found[:2] == [252, 252] and found[3] == "2026-06-01 00:00:00+00"
    assert found[2] == "15120661.111110831111110856"
    assert found[4:] == ["BTC/USDT:USDT", 42 * 2, 42, "\\xFF{", "1", 1]
