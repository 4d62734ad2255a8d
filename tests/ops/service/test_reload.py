"""A reload of the real process that takes long, is not waited for, or fails half-way."""

import json
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from ops.control.client import ControlClient, ProblemReply
from tests.harness.cli_process import COMMAND, PATIENCE_S
from tests.harness.file_holder import held
from tests.harness.service_process import QUICK, Sandbox, recording, sandbox

__all__ = ["sandbox"]  # the fixture

BOTH = {"binance", "bybit"}
CHANGED = QUICK + "[supervision]\nbackoff_max_s = 7\n"  # of all exchanges: each is replaced
# Commands may take one second only.
IMPATIENT = """
import functools, ops.control.server as server
server.ControlLimits = functools.partial(server.ControlLimits, command_s=1.0)
"""
# While the file "fail" exists, bybit cannot be added: it fails before its actors are started, or among them.
FAILS = """
import os
from {module} import {owner}
real = {owner}.{method}
async def fails(self, *words):
    await real(self, *words)
    if os.path.exists("fail") and {of} == "bybit":
        raise KeyError("bybit")
{owner}.{method} = fails
"""
BEFORE = FAILS.format(module="actors.pipeline", owner="Pipeline", method="_recall", of="words[0][0].settings.name")
AMONG = FAILS.format(
    module="actors.feed.connection_pool", owner="ConnectionPool", method="start", of="self._settings.name"
)


def command(first: str) -> list[str]:
    """The command line in a process that does something else first."""
    return [sys.executable, "-c", f"{first}\n{COMMAND[-1]}"]


def recorded(folder: Path) -> set[str]:
    """The exchanges recorded now."""
    answer = ControlClient(folder / "ticks.duckdb.sock").get("/v1/status")
    assert isinstance(answer, dict)
    return set(answer["exchanges"])


def reload_refused(folder: Path) -> str:
    """Why a reload was refused."""
    with pytest.raises(ProblemReply) as refused:
        ControlClient(folder / "ticks.duckdb.sock").post("/v1/reload")
    return str(refused.value)


def test_a_reload_that_outlasts_its_command_goes_on_and_misses_one_exchange_at_a_time(
    tmp_path: Path, sandbox: Sandbox
) -> None:
    answers: list[str] = []
    asking = threading.Thread(target=lambda: answers.append(reload_refused(tmp_path)))
    with recording(tmp_path, sandbox.tables(*BOTH), command(IMPATIENT)) as (service, process):
        (tmp_path / "tickwarden.toml").write_text(CHANGED + sandbox.tables(*BOTH))
        seen = set()
        with held(tmp_path / "ticks.duckdb"):
            asking.start()
            until = time.monotonic() + PATIENCE_S
            while "reloaded" not in (tmp_path / "log").read_text():
                assert time.monotonic() < until
                seen.add(frozenset(recorded(tmp_path)))
                time.sleep(0.1)
        asking.join(PATIENCE_S)
        assert answers == [
            "the command was not finished within 1 s and goes on; see the log of the service (command_timeout)"
        ]
        assert min(map(len, seen)) == 1  # each waits for the file in its turn
        assert recorded(tmp_path) == BOTH
        service.wait_for_more(*BOTH)
        config = ControlClient(tmp_path / "ticks.duckdb.sock").get("/v1/config")
        assert isinstance(config, dict)
        assert {config["exchanges"][name]["supervision"]["backoff_max_s"] for name in BOTH} == {7.0}
        service.send(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0


@pytest.mark.parametrize("failing", [pytest.param(BEFORE, marks=pytest.mark.slow), AMONG])
def test_an_exchange_that_a_reload_could_not_add_again_is_named_and_added_by_the_next(
    failing: str, tmp_path: Path, sandbox: Sandbox
) -> None:
    file = tmp_path / "tickwarden.toml"
    with recording(tmp_path, sandbox.tables(*BOTH), command(failing)) as (service, process):
        (tmp_path / "fail").touch()
        file.write_text(CHANGED + sandbox.tables(*BOTH))
        why = reload_refused(tmp_path)
        assert "not applied: bybit (KeyError: 'bybit')" in why and "nothing was changed" not in why
        assert recorded(tmp_path) == {"binance"}
        service.wait_for_log("reload_refused")
        assert reload_refused(tmp_path) == why
        assert recorded(tmp_path) == {"binance"}

        (tmp_path / "fail").unlink()
        done = ControlClient(tmp_path / "ticks.duckdb.sock").post("/v1/reload")
        assert isinstance(done, dict) and (done["added"], done["replaced"]) == (["bybit"], []), json.dumps(done)
        service.wait_for_more(*BOTH)
        service.wait_for_log("reloaded")
        (line,) = (line for line in (tmp_path / "log").read_text().splitlines() if "reloaded" in line)
        assert all(text in line for text in ("added", "bybit", "removed", "needs_restart")), line

        service.send(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
