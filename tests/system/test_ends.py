"""How the real process ends when the disk, the terminal, a port or the first moment is against it."""

import json
import os
import pty
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from ops.terminal.exit_codes import CONFIGURATION, GAVE_UP, LOST
from tests.harness.amounts import variants
from tests.harness.cli_process import (
    COMMAND,
    PATIENCE_S,
    environment,
    status,
    tickwarden,
    tickwarden_here,
    wait_for,
)
from tests.harness.service_process import QUICK, Sandbox, Service, recording, sandbox

__all__ = ["sandbox"]  # the fixture

ALONE = '[exchanges.binance]\nsymbols = ["BTC/USDT"]\nws_url = "ws://127.0.0.1:9"\n'
HASTY = """
import msgspec
from actors.settings import Limits
from ops.config.config import Config
plain, limits = Config.pipeline, Limits(buffer_stop_s=0.5, writer_stop_s=0.5)
Config.pipeline = lambda config: msgspec.structs.replace(plain(config), limits=limits)
"""
# From the moment that the file "hang" exists, writes do not return; an end waits a moment only.
DEAD_DISK = """
import os, time, ops.service.service, actors.store.store as s
ops.service.service.STOP_S_MAX = ops.service.service.STOP_SLACK_S = 0.3
real = s.Store.write
def write(store, batch):
    if os.path.exists("hang"):
        time.sleep(1000)
    return real(store, batch)
s.Store.write = write
"""


def command(first: str) -> list[str]:
    """The command line in a process that does something else first."""
    return [sys.executable, "-c", f"{first}\n{COMMAND[-1]}"]


def lines(folder: Path, event: str) -> list[dict[str, Any]]:
    said = [json.loads(line) for line in (folder / "log").read_text().splitlines() if line.startswith("{")]
    return [line for line in said if line["event"] == event]


def block(folder: Path) -> None:
    """Nothing can be written into the tail any more, by root neither."""
    partial = folder / "ticks.duckdb.tail" / ".partial"
    shutil.rmtree(partial)
    partial.touch()


def dead(folder: Path) -> None:
    (folder / "hang").touch()


@pytest.mark.parametrize(
    ("first", "trouble"), [pytest.param(HASTY, block, marks=pytest.mark.slow), (DEAD_DISK, dead)]
)
def test_a_stop_that_loses_trades_reports_how_many_and_the_next_start_has_a_gap_from_the_last_stored_one(
    tmp_path: Path, sandbox: Sandbox, first: str, trouble: Callable[[Path], None]
) -> None:
    def in_flight() -> int:
        return int(status(tmp_path).get("exchanges", {}).get("binance", {}).get("in_flight", 0))

    with recording(tmp_path, sandbox.tables("binance"), command(first)) as (service, process):
        service.wait_for_more("binance")
        trouble(tmp_path)
        wait_for("trades that are not stored", lambda: in_flight() > 50)
        service.send(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == LOST
    (said,) = lines(tmp_path, "trades_lost")
    assert said["level"] == "warning" and said["exchanges"].keys() == {"binance"}
    assert said["exchanges"]["binance"] > 50 and str(said["exchanges"]["binance"]) in said["reason"]
    assert not lines(tmp_path, "stuck")

    if trouble is block:
        (tmp_path / "ticks.duckdb.tail" / ".partial").unlink()
    (tmp_path / "hang").unlink(missing_ok=True)
    assert tickwarden("run", "--for", "1.5", folder=tmp_path).returncode == 0
    with duckdb.connect(tmp_path / "ticks.duckdb", read_only=True) as con:
        found = con.execute(
            "SELECT symbol, from_id::BIGINT, to_id::BIGINT FROM gaps WHERE reason = 'downtime'"
        ).fetchall()
        for symbol, after, before in found:
            streamed = con.execute(
                "SELECT count(*) FILTER (trade_id::BIGINT = ?), count(*) FILTER (trade_id::BIGINT = ?) "
                "FROM ticks WHERE symbol = ? AND source = 'stream'",
                [after, before, symbol],
            ).fetchone()
            assert streamed == (1, 1)
    assert found


def test_a_disk_that_is_full_for_long_is_no_bug_and_recording_resumes_within_a_second(
    tmp_path: Path, sandbox: Sandbox
) -> None:
    with recording(tmp_path, sandbox.tables("binance")) as (service, process):
        block(tmp_path)
        wait_for("health that says so", lambda: status(tmp_path)["state"] == "degraded")
        assert "cannot write" in str(status(tmp_path)["reasons"])
        before = service.stored("binance")
        (tmp_path / "ticks.duckdb.tail" / ".partial").unlink()
        wait_for("more durable trades", lambda: service.stored("binance") > before, 3.0)
        wait_for("health again", lambda: status(tmp_path)["state"] == "ok")
        service.send(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
    assert not lines(tmp_path, "trades_lost")


def until_exit(pid: int) -> int:
    def look() -> tuple[int] | None:
        ended, how = os.waitpid(pid, os.WNOHANG)
        return (os.waitstatus_to_exitcode(how),) if ended else None

    code: tuple[int] = wait_for("the end of the service", look)
    return code[0]


def test_a_service_in_the_foreground_ends_in_order_with_its_terminal(tmp_path: Path, sandbox: Sandbox) -> None:
    (tmp_path / "tickwarden.toml").write_text(QUICK + sandbox.tables("binance"))
    pid, terminal = pty.fork()
    if pid == 0:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests themselves may run under nohup
        os.chdir(tmp_path)
        os.execve(sys.executable, [*COMMAND, "run"], environment(tmp_path))
    Service(tmp_path, pid).wait_for_more("binance")
    os.close(terminal)
    assert until_exit(pid) == 0
    assert not (tmp_path / "ticks.duckdb.tail").exists()


@pytest.mark.parametrize("outlives", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_where_no_signal_comes_the_end_of_the_terminal_is_seen_unless_it_was_started_to_outlive_it(
    tmp_path: Path, outlives: bool
) -> None:
    (tmp_path / "tickwarden.toml").write_text(QUICK + ALONE)
    action = "SIG_IGN" if outlives else "SIG_DFL"  # as nohup does, and as a shell does
    first = f"import signal; signal.signal(signal.SIGHUP, signal.{action})"
    terminal, theirs = pty.openpty()
    process = subprocess.Popen(
        [*command(first), "run"], cwd=tmp_path, env=environment(tmp_path), start_new_session=True,
        stdin=theirs, stdout=theirs, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    try:
        wait_for("the service", lambda: status(tmp_path).get("state") in ("ok", "degraded"))
        os.close(terminal)
        if outlives:
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(2.5)
            process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("number", variants(signal.SIGTERM, signal.SIGINT))
def test_a_stop_requested_while_the_program_is_loading_counts(tmp_path: Path, number: int) -> None:
    (tmp_path / "tickwarden.toml").write_text(QUICK + ALONE)
    loading = (
        f"import os\nfrom ops.service.signals import *\nrecord_from_now_on()\nos.kill(os.getpid(), {int(number)})"
    )
    ended = subprocess.run(
        [*command(loading), "run"], cwd=tmp_path, env=environment(tmp_path), capture_output=True, timeout=PATIENCE_S
    )
    assert ended.returncode == 0, ended.stderr
    assert b"stopping" in ended.stderr and b"Traceback" not in ended.stderr
    assert not (tmp_path / "ticks.duckdb.tail").exists()


def test_the_entry_point_notes_signals_before_it_imports_the_rest() -> None:
    heavy = "import ops.cli, sys; print([m for m in ('trio', 'click', 'duckdb', 'structlog') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True).stdout == "[]\n"


@pytest.mark.parametrize(
    ("control", "code", "words"),
    variants(  # tests/ops/control/test_socket.py has the same errors of a socket
        ('http = "127.0.0.1:{port}"', GAVE_UP, "another process listens"),
        ('socket = "missing/s"', CONFIGURATION, "set [control] socket to another path"),
        ('group = "no-such-group"', CONFIGURATION, "no-such-group"),
        ('socket = "occupied"', CONFIGURATION, "not a socket"),
        kept=2,
    ),
)
def test_a_control_interface_that_cannot_be_had_ends_the_service_before_it_records(
    tmp_path: Path, control: str, code: int, words: str
) -> None:
    (tmp_path / "occupied").touch()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        table = f"[control]\n{control.format(port=taken.getsockname()[1])}\n"
        (tmp_path / "tickwarden.toml").write_text(QUICK + table + ALONE)
        ended = tickwarden("run", "--for", "5", folder=tmp_path)
    assert ended.returncode == code and words in ended.stderr
    assert "recording" not in ended.stderr
    assert not {"ticks.duckdb", "ticks.duckdb.tail", "ticks.duckdb.sock"} & {p.name for p in tmp_path.iterdir()}


def test_a_store_that_cannot_be_created_is_named(tmp_path: Path) -> None:
    (tmp_path / "occupied").touch()
    (tmp_path / "tickwarden.toml").write_text('[store]\npath = "occupied/ticks.duckdb"\n' + ALONE)
    ended = tickwarden("run", "--for", "5", folder=tmp_path)
    assert ended.returncode == CONFIGURATION and str(tmp_path / "occupied") in ended.stderr


def test_check_config_reports_an_http_port_in_use_but_by_the_running_service(
    tmp_path: Path, sandbox: Sandbox
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    http = f'[control]\nhttp = "127.0.0.1:{port}"\n'
    with recording(tmp_path, sandbox.tables("binance"), store=QUICK + http):
        assert tickwarden_here("check-config", folder=tmp_path).returncode == 0
        other = http.replace("http", 'socket = "other.sock"\nhttp')
        (tmp_path / "other.toml").write_text(other + ALONE)
        checked = tickwarden_here("check-config", "other.toml", folder=tmp_path)
    assert checked.returncode == CONFIGURATION
    assert f"127.0.0.1:{port}" in checked.stderr and "in use" in checked.stderr


def test_lines_for_the_journal_bear_their_priority(tmp_path: Path) -> None:
    (tmp_path / "tickwarden.toml").write_text(QUICK + ALONE)
    with (tmp_path / "log").open("wb") as log:
        seen = os.fstat(log.fileno())
        there = environment(tmp_path, JOURNAL_STREAM=f"{seen.st_dev}:{seen.st_ino}")
        subprocess.run([*COMMAND, "run", "--for", "0.2"], cwd=tmp_path, env=there, stderr=log, check=True)
    said = (tmp_path / "log").read_text().splitlines()
    levels = {"<6>": "info", "<4>": "warning", "<3>": "error"}
    assert {line[:3] for line in said} <= levels.keys() and "<6>" in {line[:3] for line in said}
    assert all(json.loads(line[3:])["level"] == levels[line[:3]] for line in said)
