"""Queries through the service's short locks: exact, read-only and never hanging."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from actors.model.errors import DatabaseLocked
from actors.store.connecting import command_limits, connect
from ops.export.query import QueryError, run_query
from tests.harness.cli_process import tickwarden_here
from tests.harness.file_holder import held

BIG = Decimal("12345678901234567890.123456789012345678")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "t.duckdb"
    with duckdb.connect(path) as connection:
        connection.execute("CREATE TABLE t (n INTEGER, p DECIMAL(38,18), seen TIMESTAMPTZ)")
        connection.execute("INSERT INTO t VALUES (1, ?, '2026-11-22T10:00:00.123456Z')", [BIG])
        connection.execute("INSERT INTO t VALUES (2, 0.000000000000000001, NULL)")
    return path


def test_rows_come_with_exact_decimals_and_times_in_utc(file: Path) -> None:
    result = run_query(file, "SELECT * FROM t ORDER BY n")
    assert result.columns == ("n", "p", "seen") and not result.more
    assert result.rows[0] == (1, BIG, datetime(2026, 11, 22, 10, 0, 0, 123456, tzinfo=UTC))
    assert str(result.rows[0][2]).endswith("+00:00")
    assert result.rows[1] == (2, Decimal("1E-18"), None)


def test_no_more_rows_than_requested_are_fetched_and_the_rest_is_reported(file: Path) -> None:
    assert run_query(file, "FROM range(100)", rows_max=10).more
    cut = run_query(file, "FROM t", rows_max=1)
    assert len(cut.rows) == 1 and cut.more
    assert not run_query(file, "FROM t", rows_max=2).more


def test_a_statement_without_rows_is_an_empty_result(file: Path) -> None:
    assert run_query(file, "SET threads = 1").rows == []


@pytest.mark.parametrize("sql", ["", "-- later", ";"])
def test_an_empty_query_is_reported(file: Path, sql: str) -> None:
    with pytest.raises(QueryError, match="the query is empty"):
        run_query(file, sql)


def test_it_waits_for_a_lock_that_is_soon_let_go(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with held(file) as holder:
        waits: list[float] = []

        def wait(seconds: float) -> None:
            waits.append(seconds)
            if len(waits) == 5:
                assert holder.stdin is not None
                holder.stdin.write("\n")
                holder.stdin.flush()
                holder.wait()

        monkeypatch.setattr("ops.export.query.time.sleep", wait)
        assert run_query(file, "SELECT count(*) FROM t").rows == [(2,)]
    assert len(waits) == 5 and waits[4] > waits[0] and max(waits) <= 0.25


def test_a_lock_that_is_never_released_is_reported_with_its_holder(file: Path) -> None:
    with held(file) as holder, pytest.raises(DatabaseLocked, match=str(holder.pid)):
        run_query(file, "FROM t", timeout_s=0.2)


@pytest.mark.parametrize("words", [("query", "FROM t"), ("export", "copy.duckdb")])
def test_a_command_names_the_process_that_has_the_file_open(file: Path, words: tuple[str, str]) -> None:
    with held(file) as holder:
        failed = tickwarden_here(*words, "--file", str(file), "--timeout", "0.1", folder=file.parent)
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr == f"process {holder.pid} has {file} open; try again later\n"


def test_other_readers_do_not_lock(file: Path) -> None:
    with connect(file, command_limits(), read_only=True):
        assert run_query(file, "SELECT count(*) FROM t").rows == [(2,)]


@pytest.mark.parametrize(
    "sql", ["SELEC 1", "FROM nothing_here", "INSERT INTO t VALUES (3, 3, NULL)", "DROP TABLE t"]
)
def test_wrong_sql_and_writing_are_refused_in_duckdbs_words(file: Path, sql: str) -> None:
    with pytest.raises(QueryError) as caught:
        run_query(file, sql)
    assert "Error" in str(caught.value)
    assert run_query(file, "SELECT count(*) FROM t").rows == [(2,)]


def test_a_file_that_is_missing_or_no_database_is_reported_and_not_created(tmp_path: Path) -> None:
    missing, other = tmp_path / "none.duckdb", tmp_path / "other.duckdb"
    other.write_text("not a database" * 100)
    with pytest.raises(QueryError, match="no such file"):
        run_query(missing, "SELECT 1")
    assert not missing.exists()
    with pytest.raises(QueryError, match=r"other\.duckdb"):
        run_query(other, "SELECT 1")


def test_the_file_is_let_go_even_after_an_error(file: Path) -> None:
    with pytest.raises(QueryError):
        run_query(file, "FROM nothing_here")
    with duckdb.connect(file) as connection:  # read-write: impossible while a reader of this process is open
        connection.execute("DELETE FROM t")
