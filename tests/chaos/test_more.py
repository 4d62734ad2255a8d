"""What the normal run samples or leaves out, at length: `python -m pytest tests/chaos`.

How long that takes stands in ops/docs/operations.md. Each file runs in a process of its own;
`-k test_decoder` picks one.
"""

import os
import subprocess
import sys

import pytest

from tests.harness.amounts import CHAOS
from tests.harness.paths import TESTS

SIGNS = ("from tests.harness.amounts import", "from tests.harness.sampling import", "pytest.mark.slow")
MODULES = [path for path in TESTS.rglob("test_*.py") if path.relative_to(TESTS).parts[0] not in ("bench", "chaos")]
SAMPLED = sorted(str(p.relative_to(TESTS)) for p in MODULES if any(sign in p.read_text() for sign in SIGNS))
assert SAMPLED  # or nothing would be run, and nobody would see it


@pytest.mark.parametrize("name", SAMPLED)
def test_what_the_normal_run_samples_holds_over_many_more(name: str) -> None:
    command = [sys.executable, "-m", "pytest", "-n", "0", str(TESTS / name)]
    done = subprocess.run(
        command, cwd=TESTS.parent, env={**os.environ, CHAOS: "1"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-10_000:]
