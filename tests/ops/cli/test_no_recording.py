"""Commands that read a file report one that is no recording, and what is expected, without DuckDB's own words."""

import os
import shlex
import sqlite3
from pathlib import Path

import duckdb
import pytest

from tests.harness.cli_process import tickwarden_here
from tests.harness.recording_samples import settings, store

READING = (
    "query 'FROM ticks'",
    "query 'FROM ticks' --out rows.csv",
    "gaps",
    "gaps --exchange kraken",
    "coverage",
    "report",
    "instruments",
    "export copy.duckdb",
    "replay",
    "replay --exchange kraken",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with duckdb.connect(tmp_path / "foreign.duckdb") as con:
        con.execute("CREATE TABLE t AS SELECT 1 AS n")
    with sqlite3.connect(tmp_path / "lite.db") as lite:
        lite.execute("CREATE TABLE t (n)")
    lite.close()
    (tmp_path / "notes.txt").write_text("a shopping list")
    (tmp_path / "empty").touch()
    (tmp_path / "made").mkdir()
    os.mkfifo(tmp_path / "pipe")
    return tmp_path


@pytest.mark.parametrize("words", READING)
@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("foreign.duckdb", "holds no ticks"),
        ("notes.txt", "is not a DuckDB file"),
        ("empty", "is an empty file"),
        ("made", "is a folder"),
        ("pipe", "is a pipe"),
        ("/dev/null", "is a device"),
        ("none", "no such file"),
    ],
)
def test_a_file_that_is_no_recording_is_described_and_another_asked_for(
    words: str, file: str, said: str, folder: Path
) -> None:
    command, *options = shlex.split(words)
    done = tickwarden_here(command, *options, "--file", file, folder=folder)
    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr and "--file names" in done.stderr and file in done.stderr
    assert "Did you mean" not in done.stderr and "IO Error" not in done.stderr


def test_an_sqlite_database_is_called_by_its_name(folder: Path) -> None:
    done = tickwarden_here("gaps", "--file", "lite.db", folder=folder)
    assert done.returncode == 1 and "lite.db is an SQLite database" in done.stderr


def test_any_duckdb_file_can_be_queried_all_the_same(folder: Path) -> None:
    done = tickwarden_here("query", "SELECT n + 41 FROM t", "--file", "foreign.duckdb", folder=folder)
    assert done.returncode == 0 and "42" in done.stdout


def test_a_mistake_in_a_query_on_a_recording_is_not_blamed_on_the_file(tmp_path: Path) -> None:
    with store(settings(tmp_path)):
        done = tickwarden_here("query", "FROM tocks", "--file", "ticks.duckdb", folder=tmp_path)
    assert done.returncode == 1 and "tocks" in done.stderr and "holds no ticks" not in done.stderr
