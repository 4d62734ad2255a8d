"""What the real process does on a signal, without its parent, and with a reader in its way.

A plain SIGTERM and a plain Ctrl-C stand in test_pipeline.py.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import duckdb
import pytest

from tests.harness.amounts import variants
from tests.harness.cli_process import COMMAND, PATIENCE_S, environment, tickwarden, wait_for
from tests.harness.service_process import (
    PR_SET_CHILD_SUBREAPER,
    QUICK,
    STOP_S,
    Sandbox,
    Service,
    recording,
    sandbox,
)

__all__ = ["sandbox"]  # a fixture of the tests here

PARENT = """
import subprocess, sys, time
service = subprocess.Popen(
    sys.argv[1:], stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
)
print(service.pid, flush=True)
time.sleep(600)
"""

READER = """
import sys, time, duckdb
while True:
    try:
        con = duckdb.connect("ticks.duckdb", read_only=True)
        break
    except duckdb.IOException:
        time.sleep(0.1)
while True:
    print(con.execute("SELECT count(*) FROM ticks").fetchone()[0], flush=True)
    sys.stdin.readline()
"""


def check_file(folder: Path) -> dict[str, int]:
    """Books that agree with what is there, each trade once; the ticks by exchange."""
    with duckdb.connect(folder / "ticks.duckdb", read_only=True) as con:
        ticks = dict(con.execute("SELECT exchange, count(*) FROM ticks GROUP BY ALL").fetchall())
        last = con.execute(
            'SELECT exchange, arg_max(stored, "at"), arg_max(in_flight, "at") FROM audit GROUP BY ALL'
        ).fetchall()
        again = con.execute("SELECT count(*) - count(DISTINCT (exchange, symbol, trade_id)) FROM ticks").fetchone()
        wrong = con.execute(
            "SELECT count(*) FROM audit WHERE received <> stored + duplicates + rejected + in_flight"
        ).fetchone()
    assert {exchange: stored for exchange, stored, _ in last} == ticks
    assert {in_flight for _, _, in_flight in last} == {0}
    assert again == wrong == (0,)
    return ticks


def test_sighup_applies_what_differs_in_the_file_and_a_wrong_file_changes_nothing(
    tmp_path: Path, sandbox: Sandbox
) -> None:
    file = tmp_path / "tickwarden.toml"
    with recording(tmp_path, sandbox.tables("binance")) as (service, process):
        file.write_text(QUICK + sandbox.tables("binance", "bybit"))
        service.send(signal.SIGHUP)
        service.wait_for_more("bybit", "binance")

        file.write_text(QUICK.replace("path", "paht") + sandbox.tables("binance"))
        service.send(signal.SIGHUP)
        service.wait_for_log("reload_refused")
        assert "paht" in (tmp_path / "log").read_text()
        file.unlink()
        service.send(signal.SIGHUP)
        service.wait_for_log("reload_refused", times=2)
        service.wait_for_more("bybit", "binance")

        file.write_text(QUICK + sandbox.tables("bybit"))
        service.send(signal.SIGHUP)
        wait_for("the end of binance", lambda: service.stored("binance") == -1)
        service.wait_for_more("bybit")
        service.send(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
    assert check_file(tmp_path).keys() == {"binance", "bybit"}


@pytest.mark.parametrize(
    ("first", "second"), variants((signal.SIGINT, signal.SIGTERM), (signal.SIGTERM, signal.SIGINT))
)
def test_a_second_signal_of_either_kind_ends_the_process_at_once(
    tmp_path: Path, sandbox: Sandbox, first: int, second: int
) -> None:
    with recording(tmp_path, sandbox.tables("binance")) as (service, process), sandbox.frozen():
        service.send(first)
        service.wait_for_log("stopping")
        assert process.poll() is None
        service.send(second)
        assert process.wait(PATIENCE_S) == 128 + second  # 0 is for an end in order


def test_a_service_whose_parent_has_exited_keeps_recording_and_stops_in_order(
    tmp_path: Path, sandbox: Sandbox
) -> None:
    (tmp_path / "tickwarden.toml").write_text(QUICK + sandbox.tables("binance") + '[log]\nlevel = "debug"\n')
    with adopting(), subprocess.Popen(
        [sys.executable, "-c", PARENT, *COMMAND, "run"],
        cwd=tmp_path, env=environment(tmp_path), stdout=subprocess.PIPE,
    ) as parent:  # fmt: skip
        assert parent.stdout is not None
        service = Service(tmp_path, int(parent.stdout.readline()))
        try:
            service.wait_for_more("binance")
            parent.kill()  # and with it the readers of the service's stdout and stderr
            parent.wait()
            service.send(signal.SIGHUP)  # as from a terminal that was closed
            for _ in range(3):
                service.wait_for_more("binance")
            service.send(signal.SIGTERM)
            assert exit_code(service.pid) == 0
        finally:
            parent.kill()
            with suppress(ProcessLookupError, ChildProcessError):
                service.send(signal.SIGKILL)
                os.waitpid(service.pid, 0)
    assert check_file(tmp_path)["binance"] > 0
    assert not (tmp_path / "ticks.duckdb.tail").exists()


@contextmanager
def adopting() -> Iterator[None]:
    """Orphans below this process become its children, so that it sees how they end."""
    prctl: Callable[..., int] = ctypes.CDLL(None, use_errno=True).prctl
    assert prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    try:
        yield
    finally:
        prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def exit_code(pid: int) -> int:
    def look() -> tuple[int] | None:
        ended, status = os.waitpid(pid, os.WNOHANG)
        return (os.waitstatus_to_exitcode(status),) if ended else None

    code: tuple[int] = wait_for("the end of the service", look)
    return code[0]


def test_a_reader_that_holds_the_file_at_the_stop_costs_no_tick_and_no_patience(
    tmp_path: Path, sandbox: Sandbox
) -> None:
    with recording(tmp_path, sandbox.tables("binance")) as (service, process):
        with subprocess.Popen(
            [sys.executable, "-c", READER],
            cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        ) as reader:  # fmt: skip
            assert reader.stdin is not None
            assert reader.stdout is not None
            assert int(reader.stdout.readline()) >= 0
            service.wait_for_more("binance")
            began = time.monotonic()
            service.send(signal.SIGTERM)
            assert process.wait(PATIENCE_S) == 0
            assert time.monotonic() - began < STOP_S
            assert (tmp_path / "ticks.duckdb.tail").exists()
            assert "merge_left" in (tmp_path / "log").read_text()
            reader.stdin.write("\n")
            reader.stdin.flush()
            seen = int(reader.stdout.readline())
            reader.kill()
        assert sum(check_file(tmp_path).values()) == seen
    (tmp_path / "tickwarden.toml").write_text(
        QUICK + '[exchanges.binance]\nsymbols = ["BTC/USDT"]\nws_url = "ws://127.0.0.1:9"\n'
    )
    assert tickwarden("run", "--for", "0.1", folder=tmp_path).returncode == 0
    assert not (tmp_path / "ticks.duckdb.tail").exists()
    with duckdb.connect(tmp_path / "ticks.duckdb", read_only=True) as con:
        assert con.execute("SELECT count(*) FROM ticks").fetchone() == (seen,)
