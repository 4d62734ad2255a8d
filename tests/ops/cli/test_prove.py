"""The commands on README's first screen: each starts exchanges that fail, and proves that nothing is lost.

The normal run tries some of them, and ends the faults sooner.
"""

import json
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.harness.amounts import amount
from tests.harness.cli_process import COMMAND, environment, tickwarden_here
from tests.harness.paths import ROOT
from tests.harness.sampling import sample

SEVEN = re.compile(r"^\| ([^|]+) \| `tickwarden (sandbox [^`]*--prove \d+)` \|$", re.M)
PROOFS = dict(SEVEN.findall((ROOT / "README.md").read_text()))
(AGE,) = (pain for pain in PROOFS if "24 hours" in pain)  # its fault strikes after 20 s, if at all
SHORT_S = 4
PATIENCE_S = 240.0  # its own deadlines, one behind the other


def ran(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *words],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def proved(command: str, folder: Path) -> dict[str, Any]:
    """What the command found, which must be true."""
    if short := amount(SHORT_S, 0):
        command = re.sub(r"--prove \d+", f"--prove {short}", command)
    done = ran(*command.split(), "--json", "--quiet", folder=folder)
    assert done.returncode == 0, (command, done.stderr)
    found: dict[str, Any] = json.loads(done.stdout)
    for name, one in found["exchanges"].items():
        assert one["made"] == one["stored"] + one["listed"] > 0 == one["unproven"], (name, one)
    return found


def test_the_readme_begins_with_seven_pains_and_a_proof_of_each() -> None:
    first = (ROOT / "README.md").read_text().splitlines()[:40]
    assert len(PROOFS) == 7 and sum("--prove" in line and line.startswith("| ") for line in first) == 7


@pytest.mark.parametrize("pain", sample([pain for pain in PROOFS if pain != AGE], 1, "proofs"))
def test_what_collectors_suffer_from_is_solved(pain: str, tmp_path: Path) -> None:
    found = proved(PROOFS[pain], tmp_path)
    struck = sum(one["faults"] for one in found["exchanges"].values())
    assert (struck > 0) == ("--fault" in PROOFS[pain])
    assert found["reads"] > 0
    first_mb, last_mb = found["memory_mb"]
    assert last_mb < 2 * first_mb


@pytest.mark.slow
def test_connections_are_replaced_before_the_exchange_ends_them(tmp_path: Path) -> None:
    (one,) = proved(PROOFS[AGE], tmp_path)["exchanges"].values()
    assert one["faults"] == 0 and one["connections"] > 1 and one["repaired"] == 0


@pytest.mark.slow
def test_what_ids_cannot_show_is_called_unproven(tmp_path: Path) -> None:
    words = ("sandbox", "--exchange", "bybit", "--fault", "gap=0.3", "--prove", "4")
    done = ran(*words, folder=tmp_path)
    assert done.returncode == 0 and "missing unseen" in done.stdout and done.stdout.startswith("exchange")
    assert not list(tmp_path.iterdir())


def test_a_service_that_does_not_start_is_reported_with_the_end_of_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("sandbox", "--exchange", "okx", "--prove", "1")
    odd = tmp_path / "proj [old]"
    odd.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(odd))
    ended = tickwarden_here(*words, folder=tmp_path)
    assert ended.returncode == 1 and "Traceback" not in ended.stderr
    assert "the service has ended with exit code 78; its log ends: " in ended.stderr
    assert "a path without [ ] anywhere in it" in ended.stderr
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr("ops.cli.prove.START_S", 0.0)
    late = tickwarden_here(*words, folder=tmp_path)
    assert late.returncode == 1 and late.stderr.startswith("the service records nothing after 0 s; its log ends: ")


def test_json_needs_a_proof(tmp_path: Path) -> None:
    done = tickwarden_here("sandbox", "--json", folder=tmp_path)
    assert done.returncode == 64 and "--prove" in done.stderr
