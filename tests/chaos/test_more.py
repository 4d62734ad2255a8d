"""What the normal run samples, at length: `python -m pytest tests/chaos`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.amounts import CHAOS

TESTS = Path(__file__).parents[1]
SAMPLED = sorted(path.name for path in TESTS.glob("test_*.py") if "from tests.amounts import" in path.read_text())


@pytest.mark.parametrize("name", SAMPLED)
def test_what_the_normal_run_samples_holds_over_many_more(name: str) -> None:
    command = [sys.executable, "-m", "pytest", "-n", "0", str(TESTS / name)]
    done = subprocess.run(
        command, cwd=TESTS.parent, env={**os.environ, CHAOS: "1"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-10_000:]
