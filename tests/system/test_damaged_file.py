"""The real service beside a DuckDB file of which one stored bit has flipped: it records on, into a new one."""

import signal
import sys
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from ops.control.client import ControlClient
from tests.harness.cli_process import COMMAND, PATIENCE_S, running, wait_for
from tests.harness.rot import flip_one_bit
from tests.harness.service_process import QUICK, Sandbox, recording, sandbox

__all__ = ["sandbox"]  # the fixture

# While the file "fail" exists, a reload meets an error that nobody has expected.
FAILING = """
import os, ops.service.api as api
real = api.apply_changes
async def apply(*args):
    if os.path.exists("fail"):
        raise ZeroDivisionError("unexpected")
    return await real(*args)
api.apply_changes = apply
"""


def merged(folder: Path, table: str = "ticks") -> int:
    """How many rows are in the file itself."""
    try:
        with duckdb.connect(folder / "ticks.duckdb", read_only=True) as con:
            row = con.execute(f"SELECT count(*) FROM store.{table}").fetchone()
    except duckdb.Error:  # just open elsewhere, or not there yet
        return 0
    assert row is not None
    return int(row[0])


def set_aside(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if ".damaged-" in path.name]


def test_a_service_starts_with_a_file_of_which_one_bit_has_flipped(tmp_path: Path, sandbox: Sandbox) -> None:
    tables = sandbox.tables("binance")
    with recording(tmp_path, tables) as (service, process):
        wait_for("ticks", lambda: service.stored("binance") > 100)
        service.send(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
    flip_one_bit(tmp_path / "ticks.duckdb")
    for _ in range(2):  # the second start finds nothing to report
        with recording(tmp_path, tables) as (service, process):
            service.wait_for_more("binance")
            service.send(signal.SIGTERM)
            assert process.wait(PATIENCE_S) == 0
        assert len(set_aside(tmp_path)) == 1
    with duckdb.connect(tmp_path / "ticks.duckdb", read_only=True) as con:
        again = con.execute("SELECT count(*) - count(DISTINCT (exchange, symbol, trade_id)) FROM ticks").fetchall()
        reported = con.execute("SELECT count(*) FROM events WHERE event = 'store_file_damaged'").fetchall()
    assert (again, reported) == ([(0,)], [(1,)])


def test_a_reload_that_finds_the_damage_replaces_the_exchange_and_the_service_goes_on(
    tmp_path: Path, sandbox: Sandbox
) -> None:
    tables, seldom = sandbox.tables("binance"), QUICK.replace("0.5", "300")
    with recording(tmp_path, tables, store=seldom) as (service, process):
        control = ControlClient(tmp_path / "ticks.duckdb.sock")
        wait_for("ticks", lambda: service.stored("binance") > 100)
        control.post("/v1/merge")
        flip_one_bit(tmp_path / "ticks.duckdb")
        (tmp_path / "tickwarden.toml").write_text(seldom + "[supervision]\nbackoff_max_s = 7\n" + tables)
        service.send(signal.SIGHUP)
        service.wait_for_log("reloaded")
        assert len(set_aside(tmp_path)) == 1
        service.wait_for_more("binance")
        control.post("/v1/merge")
        assert merged(tmp_path) > 0
        service.send(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
    log = (tmp_path / "log").read_text()
    assert "reload_step_failed" not in log and log.count("store_file_damaged") == 1


@pytest.mark.parametrize("lose", [flip_one_bit, Path.unlink])
def test_the_file_that_takes_its_place_knows_what_is_recorded(
    lose: Callable[[Path], None], tmp_path: Path, sandbox: Sandbox
) -> None:
    path, seldom = tmp_path / "ticks.duckdb", QUICK.replace("0.5", "300")
    with recording(tmp_path, sandbox.tables("binance"), store=seldom) as (service, process):
        control = ControlClient(tmp_path / "ticks.duckdb.sock")
        wait_for("ticks", lambda: service.stored("binance") > 100)

        def described() -> bool:
            control.post("/v1/merge")
            return bool(merged(tmp_path, "feeds") and merged(tmp_path, "instruments"))

        wait_for("the marks of what is recorded", described)
        lose(path)
        control.post("/v1/merge")
        before = service.stored("binance")
        wait_for("more ticks", lambda: service.stored("binance") > before + 100)
        service.send(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
    with duckdb.connect(path, read_only=True) as con:
        uncovered = """SELECT count(*) FROM ticks t WHERE timestamp > (SELECT min(from_time) FROM coverage)
            AND NOT EXISTS (SELECT 1 FROM coverage c WHERE c.symbol = t.symbol AND c.status = 'live'
                            AND t.timestamp BETWEEN c.from_time AND c.to_time)"""
        assert con.execute(uncovered).fetchall() == [(0,)]
        assert con.execute("SELECT count(DISTINCT symbol) > 0 FROM coverage").fetchall() == [(True,)]
        assert con.execute("SELECT count(*) > 0 FROM instruments").fetchall() == [(True,)]


@pytest.mark.slow  # the start and the reload above meet the same damage
def test_a_process_takes_over_beside_a_file_of_which_one_bit_has_flipped(tmp_path: Path, sandbox: Sandbox) -> None:
    """It leaves the file alone while it is the other's, and sets it aside when it has the store."""
    with recording(tmp_path, sandbox.tables("binance"), store=QUICK.replace("0.5", "300")) as (service, process):
        wait_for("ticks", lambda: service.stored("binance") > 500)
        ControlClient(tmp_path / "ticks.duckdb.sock").post("/v1/merge")
        flip_one_bit(tmp_path / "ticks.duckdb")
        with running("run", "--take-over", folder=tmp_path) as successor:
            assert process.wait(PATIENCE_S) == 0
            assert len(set_aside(tmp_path)) == 1
            service.wait_for_more("binance")
            successor.send_signal(signal.SIGTERM)
            assert successor.wait(PATIENCE_S) == 0
    with duckdb.connect(tmp_path / "ticks.duckdb", read_only=True) as con:
        again = con.execute("SELECT count(*) - count(DISTINCT (symbol, trade_id)) FROM ticks").fetchall()
    assert again == [(0,)] and merged(tmp_path) > 0


def test_an_unexpected_error_of_a_reload_is_logged_and_the_service_goes_on(
    tmp_path: Path, sandbox: Sandbox
) -> None:
    command = [sys.executable, "-c", f"{FAILING}\n{COMMAND[-1]}"]
    with recording(tmp_path, sandbox.tables("binance"), command) as (service, process):
        (tmp_path / "fail").touch()
        service.send(signal.SIGHUP)
        service.wait_for_log("reload_failed")
        assert "ZeroDivisionError" in (tmp_path / "log").read_text()
        service.wait_for_more("binance")
        (tmp_path / "fail").unlink()
        service.send(signal.SIGHUP)
        service.wait_for_log("reloaded")
        service.send(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
