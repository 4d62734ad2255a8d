"""What may stand at store.path: `run` and `check-config` decide alike, and nothing that is there is replaced."""

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from ops.terminal.exit_codes import CONFIGURATION, OK
from tests.harness.amounts import variants
from tests.harness.cli_process import tickwarden, tickwarden_here

CONFIG = (
    '[store]\npath = "{path}"\n[control]\nsocket = "s"\n[exchanges.binance]\nsymbols = ["BTC/USDT"]\n'
    'ws_url = "ws://127.0.0.1:9"\n'
)


def outcomes(folder: Path, path: str = "t.duckdb") -> list[tuple[int, str]]:
    """The exit code of each command, and what it printed to stderr."""
    (folder / "tickwarden.toml").write_text(CONFIG.format(path=path))
    done = tickwarden_here("check-config", folder=folder), tickwarden("run", "--for", "0.2", folder=folder)
    return [(one.returncode, one.stderr) for one in done]


def lite(path: Path) -> None:
    with sqlite3.connect(path) as con:
        con.execute("CREATE TABLE t (n)")
    con.close()


def other_storage(path: Path) -> None:
    with duckdb.connect(path, config={"storage_compatibility_version": "v1.4.0"}) as con:
        con.execute("CREATE TABLE t AS SELECT 1 AS n")


@pytest.mark.parametrize(
    ("make", "said"),
    variants(
        (lite, "an SQLite database"),
        (other_storage, "storage_version"),
        (lambda path: path.write_text("a shopping list"), "not a DuckDB file"),
        (lambda path: path.write_bytes(b"PAR1" + bytes(100)), "a Parquet file"),
        kept=2,
    ),
)
def test_a_file_of_something_else_is_refused_and_stays_as_it_is(
    make: Callable[[Path], object], said: str, tmp_path: Path
) -> None:
    path = tmp_path / "t.duckdb"
    make(path)
    before = path.read_bytes()
    for _ in range(2):  # a refused start leaves nothing that makes the next one think otherwise
        for code, stderr in outcomes(tmp_path):
            assert code == CONFIGURATION and said in stderr and "t.duckdb" in stderr
    assert path.read_bytes() == before
    assert not [one.name for one in tmp_path.iterdir() if "damaged" in one.name]


@pytest.mark.parametrize(
    ("make", "said"), variants((os.mkfifo, "a pipe"), (Path.mkdir, "a folder"), (lambda path: None, "a device"))
)
def test_what_is_no_file_is_refused_at_once(make: Callable[[Path], object], said: str, tmp_path: Path) -> None:
    make(tmp_path / "t.duckdb")
    for code, stderr in outcomes(tmp_path, "/dev/null" if said == "a device" else "t.duckdb"):
        assert code == CONFIGURATION and said in stderr


def test_an_empty_file_is_accepted_and_set_aside(tmp_path: Path) -> None:
    """It may be a recording whose content a power cut has taken: that must not pass unseen."""
    (tmp_path / "t.duckdb").touch()
    assert [code for code, _ in outcomes(tmp_path)] == [OK, OK]
    assert [path.stat().st_size for path in tmp_path.glob("t.duckdb.damaged-*")] == [0]


def test_a_recording_of_which_nothing_is_left_is_accepted_and_set_aside(tmp_path: Path) -> None:
    assert [code for code, _ in outcomes(tmp_path)] == [OK, OK]
    path = tmp_path / "t.duckdb"
    damaged = bytes(path.stat().st_size)
    path.write_bytes(damaged)
    assert [code for code, _ in outcomes(tmp_path)] == [OK, OK]
    assert [path.read_bytes() for path in tmp_path.glob("t.duckdb.damaged-*")] == [damaged]
    with duckdb.connect(path, read_only=True) as con:
        assert con.execute("SELECT count(*) FROM ticks").fetchall() == [(0,)]
