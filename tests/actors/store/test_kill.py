"""Kill -9 at any moment: the real service, a numbered flood, and readers that never stop asking."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from random import Random

import pytest

from tests.harness.amounts import amount
from tests.harness.kill_harness import (
    FIRST,
    PATIENCE_S,
    POINTS,
    Flood,
    Victim,
    Watcher,
    kill_at,
    kill_at_random,
    seed_of_this_run,
)
from tests.harness.paths import ROOT
from tests.harness.store_harness import wait_until

# Files from their creation on, and kills of each; tests/chaos makes hundreds.
FOLDERS, KILLS = amount(1, 2), amount(3, 10)


@pytest.fixture
def flood() -> Iterator[Flood]:
    """1,000 trades a second."""
    flood = Flood(1000)
    yield flood
    flood.close()


@pytest.mark.parametrize("_folder", range(FOLDERS))
def test_kills_lose_and_double_nothing_and_no_reader_sees_an_error(
    tmp_path: Path, flood: Flood, _folder: int
) -> None:
    """Half at random moments, half at named points; four processes open, ask and close all the time."""
    random = Random(seed_of_this_run())
    victim = Victim(tmp_path, flood.port)
    for point in FIRST:
        with victim.life(point) as life:
            assert life.wait_for_death(30), point
        victim.kills += 1
    with victim.life() as life:
        assert life.wait_for_batches(1)
    victim.kills += 1
    others = random.sample([point for point in POINTS if point not in FIRST], (KILLS - victim.kills) // 2)
    with ExitStack() as stack:
        watchers = [
            stack.enter_context(Watcher(victim.path, read_only=read_only))
            for read_only in (True, True, False, False)
        ]
        for point in others:
            kill_at(victim, point, random)
        while victim.kills < KILLS:
            kill_at_random(victim, random)
        with victim.life() as life:
            assert life.wait_for_batches(2)
            wait_until(lambda: all(watcher.said.get("asked") for watcher in watchers), PATIENCE_S)
            stack.close()  # a reader in the way at the stop would leave the tail
            assert life.stop() == 0
    for watcher in watchers:
        assert watcher.said["wrong"] == []
    assert not Path(f"{victim.path}.tail").exists()
    assert victim.verdict(flood.sent) == ""
    assert len(victim.acknowledged) > KILLS // 2
    most = max(watcher.said["last"][0] for watcher in watchers)
    assert 0 < most <= len(victim.truth())


@pytest.mark.slow
def test_a_second_service_is_refused_with_the_firsts_pid_and_socket_and_takes_over_when_it_is_dead(
    tmp_path: Path, flood: Flood
) -> None:
    """Exit code 75: starting it again later can help.

    tests/ops/cli/test_cli.py has the refusal and tests/actors/test_pipeline.py the start after a kill.
    """
    victim = Victim(tmp_path, flood.port)
    with victim.life() as life:
        assert life.wait_for_batches(1)
        command = [sys.executable, "-c", "from ops.cli import main; main()", "run", "--config", str(victim.config)]
        environment = {**os.environ, "TICKWARDEN_CRASH_AT": ""}
        second = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
        assert second.returncode == 75
        assert str(life.process.pid) in second.stderr and f"{victim.path}.sock" in second.stderr
        life.process.send_signal(signal.SIGKILL)
    with victim.life() as life:
        assert life.wait_for_batches(1)
        assert life.stop() == 0
    assert victim.verdict(flood.sent) == ""
