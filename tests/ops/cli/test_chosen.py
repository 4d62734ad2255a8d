"""What a command is asked for must exist: time ranges, exchanges and markets that cannot be are wrong use."""

from pathlib import Path

import pytest

from tests.harness.cli_process import tickwarden_here

RANGED = ("gaps", "coverage", "report", "export copy.duckdb", "replay", "repair --exchange okx --symbol BTC/USDT")


@pytest.mark.parametrize("words", RANGED)
@pytest.mark.parametrize("backwards", [False, True])
def test_a_time_range_that_ends_before_it_begins_is_wrong_use(words: str, backwards: bool, tmp_path: Path) -> None:
    options = [("--from", "2026-06-02"), ("--to", "2026-06-01")]
    asked = [word for option in (reversed(options) if backwards else options) for word in option]
    done = tickwarden_here(*words.split(), *asked, folder=tmp_path)
    assert (done.returncode, done.stdout) == (64, "")
    assert "begins before it ends" in done.stderr and "2026-06-02" in done.stderr and "2026-06-01" in done.stderr
