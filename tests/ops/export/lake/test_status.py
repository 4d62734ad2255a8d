"""`tickwarden lake status`: marks, delays, sizes, coverage, and the days that wait to be compacted."""

import json
import shutil
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from actors.sink.lake.delta import DeltaLake
from actors.sink.lake.errors import LakeUnavailable
from tests.harness.cli_process import tickwarden_here
from tests.harness.lake_values import DAY, batch, ship, to_batches, trades


def status(lake: Path) -> dict[str, Any]:
    done = tickwarden_here("lake", "status", "--uri", str(lake), "--json", folder=lake.parent)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def test_status_shows_each_recorder_and_what_the_lake_holds(small: tuple[Path, object]) -> None:
    found = status(small[0])
    recorders = {one["recorder"]: one for one in found["recorders"]}
    assert {name: (one["mark"], one["intended"], one["ticks"], one["rows"]) for name, one in recorders.items()} == {
        "london": (3, 3, 90, 96),
        "tokyo": (3, 3, 94, 101),
        "virginia": (3, 3, 20, 26),
    }
    assert {datetime.fromisoformat(one["newest_at"]).date() for one in recorders.values()} == {DAY}
    assert all(0 <= one["sent_s"] < 3600 < one["newest_s"] for one in recorders.values())
    tables = {one["table"]: one for one in found["tables"]}
    assert tables["ticks"]["rows"] == 204 and tables["ticks"]["files"] == 10 and tables["ticks"]["bytes"] > 0
    kraken = next(one for one in found["coverage"] if one["exchange"] == "kraken")
    assert (kraken["markets"], kraken["lost_s"], kraken["verified_s"]) == (1, 0, 0)
    assert 10 < kraken["unknown_s"] < 12 and 100 < kraken["recorded_s"] < 102
    assert found["to_compact"] == [{"exchange": name, "day": str(DAY)} for name in ("binance", "kraken", "upbit")]


def test_the_table_has_a_line_for_each_recorder_table_and_exchange(small: tuple[Path, object]) -> None:
    done = tickwarden_here("lake", "status", "--uri", str(small[0]), folder=small[0].parent)
    for start in ("tokyo ", "virginia ", "ticks ", "shipments ", "binance ", "kraken "):
        assert any(line.startswith(start) for line in done.stdout.splitlines()), (start, done.stdout)
    assert f"to compact: 3 closed days of exchanges ({DAY})" in done.stdout


def test_a_commit_that_was_begun_and_a_day_that_is_not_closed_are_shown_as_such(
    small: tuple[Path, object], tmp_path: Path
) -> None:
    lake = Path(shutil.copytree(small[0], tmp_path / "lake"))

    def cut(point: str) -> None:
        if point == "lake.intent":
            raise LakeUnavailable(point)

    now = time.time_ns()
    ship(str(lake), "osaka", "one", [batch(1, trades("kraken", "BTC/USD", [1], start_ns=now))])
    with pytest.raises(LakeUnavailable):
        DeltaLake(str(lake), "osaka", {}, crash_point=cut).commit(to_batches("one", 1, 4, [batch(4, [])]))
    found = status(lake)
    osaka = next(one for one in found["recorders"] if one["recorder"] == "osaka")
    assert (osaka["mark"], osaka["intended"], osaka["ticks"]) == (1, 4, 1)
    assert -2 < osaka["newest_s"] < 60
    assert len(found["to_compact"]) == 3
    done = tickwarden_here("lake", "status", "--uri", str(lake), folder=tmp_path)
    assert "a commit through 4 was begun" in done.stdout
