"""The real service and its lake: what the lake has is what the file has, through kills, outages and a take-over."""

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from ops.control.client import ControlClient
from tests.harness.cli_process import running, wait_for
from tests.harness.lake_compare import differences, rows, ticks_of
from tests.harness.service_process import Sandbox, Service, recording, sandbox

__all__ = ["sandbox"]  # a fixture of the tests here

STORE = '[store]\npath = "ticks.duckdb"\nflush_interval_s = 0.5\nmerge_interval_s = 3\n'
LAKE = '[lake]\nuri = "lake"\nrecorder = "here"\nevery_s = 1\n'
STOP_S = 30.0


def lake_status(service: Service) -> dict[str, Any]:
    answer: Any = ControlClient(service.folder / "ticks.duckdb.sock").get("/v1/status")
    found: dict[str, Any] = answer["lake"]
    return found


def stopped(service: Service, process: subprocess.Popen[bytes]) -> None:
    service.send(signal.SIGTERM)
    assert process.wait(STOP_S) == 0


def test_the_lake_has_what_the_file_has_after_a_kill_an_outage_and_a_stop(tmp_path: Path, sandbox: Sandbox) -> None:
    config, lake, aside = LAKE + sandbox.tables("binance", "bybit"), tmp_path / "lake", tmp_path / "aside"
    part = lake / "ticks" / "exchange=binance"
    with recording(tmp_path, config, store=STORE) as (service, process):
        wait_for("commits", lambda: lake_status(service)["commits"] > 1)
        process.kill()
        process.wait()
    before = ticks_of(lake)
    assert before > 0
    with recording(tmp_path, config, store=STORE) as (service, process):
        wait_for("a commit", lambda: lake_status(service)["commits"] > 1)
        part.rename(aside)
        part.touch()  # root may write to any folder, but not below a file
        wait_for("an outage", lambda: lake_status(service)["failures"] > 1)
        service.wait_for_more("binance", "bybit")
        missing = lake_status(service)
        assert missing["trouble"] and missing["ticks_behind"] > 0 and missing["seconds_behind"] > 0
        part.unlink()
        aside.rename(part)
        service.wait_for_log('"lake_caught_up"')
        service.wait_for_more("binance", "bybit")
        stopped(service, process)
        log = (tmp_path / "log").read_text()
    assert log.count('"lake_unreachable"') == log.count('"lake_caught_up"') == 1 and "lake_left" not in log
    stored = rows(tmp_path / "ticks.duckdb")
    assert stored["ticks"] == ticks_of(lake) > before
    assert min(stored[name] for name in ("events", "audit", "feeds", "instruments")) > 0
    assert differences(tmp_path / "ticks.duckdb", lake) == dict.fromkeys(stored, 0)


@pytest.mark.slow
def test_a_trade_is_in_the_lake_within_the_interval_and_two_seconds(tmp_path: Path, sandbox: Sandbox) -> None:
    with recording(tmp_path, LAKE + sandbox.tables("binance"), store=STORE) as (service, process):
        wait_for("a commit", lambda: lake_status(service)["commits"] > 0)
        worst, until = 0.0, time.monotonic() + 5.0
        while time.monotonic() < until:
            worst = max(worst, lake_status(service)["seconds_behind"])
            time.sleep(0.05)
        assert 0.0 < worst <= 1.0 + 2.0
        stopped(service, process)


@pytest.mark.slow
def test_a_process_that_takes_over_goes_on_where_the_other_one_stopped_sending(
    tmp_path: Path, sandbox: Sandbox
) -> None:
    config = LAKE + sandbox.tables("binance", "bybit")
    with recording(tmp_path, config, store=STORE) as (service, process):
        wait_for("a commit", lambda: lake_status(service)["commits"] > 0)
        with running("run", "--take-over", folder=tmp_path) as successor:
            assert process.wait(STOP_S) == 0
            before = ticks_of(tmp_path / "lake")
            wait_for("its commits", lambda: lake_status(service)["commits"] > 1)
            service.wait_for_more("binance", "bybit")
            successor.send_signal(signal.SIGTERM)
            assert successor.wait(STOP_S) == 0
    stored = rows(tmp_path / "ticks.duckdb")
    assert stored["ticks"] == ticks_of(tmp_path / "lake") > before > 0
    assert differences(tmp_path / "ticks.duckdb", tmp_path / "lake") == dict.fromkeys(stored, 0)


@pytest.mark.slow
def test_a_lake_that_never_answers_delays_neither_recording_nor_the_stop(tmp_path: Path, sandbox: Sandbox) -> None:
    with recording(tmp_path, LAKE + sandbox.tables("binance"), store=STORE) as (service, process):
        wait_for("a commit", lambda: lake_status(service)["commits"] > 0)
        stopped(service, process)
    hint = tmp_path / "lake" / "ticks" / "_delta_log" / "_last_checkpoint"
    hint.unlink(missing_ok=True)
    os.mkfifo(hint)  # opening it waits for somebody who writes
    with recording(tmp_path, LAKE + sandbox.tables("binance"), store=STORE) as (service, process):
        service.wait_for_more("binance")
        assert lake_status(service)["mark"] is None
        began = time.monotonic()
        stopped(service, process)
        assert time.monotonic() - began < STOP_S / 2
        assert '"lake_left"' in (tmp_path / "log").read_text()
