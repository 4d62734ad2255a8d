"""Compactions that are killed at any moment, beside recorders and other compactions, and on storage that fails."""

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from random import Random

import pytest

from actors.sink.lake.delta import DeltaLake
from ops.export.lake.views import lake_query
from tests.harness.cli_process import tickwarden_here
from tests.harness.lake_tape import STORES, random_lake, stored, tape
from tests.harness.lake_values import small_lake
from tests.harness.object_store import object_store
from tests.harness.paths import ROOT

COMPACT = """
import json, sys
from ops.export.lake.compact import Days, compact
from ops.export.lake.compact_tables import LakeFolder
from ops.export.lake.compact_ticks import How

lake = LakeFolder(sys.argv[1], json.loads(sys.argv[2]))
problems = [one.problem for one in compact(lake, Days(), How({}, "256MB", 1), join_open=True) if one.problem]
sys.exit("; ".join(problems) or 0)
"""
ROUNDS = 12


def started(uri: str, options: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    """A compaction of all closed days."""
    words = [sys.executable, "-c", COMPACT, uri, json.dumps(dict(options or {}))]
    return subprocess.Popen(words, cwd=ROOT)


@pytest.mark.parametrize("seed", range(4))
def test_kills_at_any_moment_beside_recorders_and_another_compaction(tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    uris = [str(tmp_path / "often"), str(tmp_path / "never")]
    senders = [random_lake(uri, Random(seed), 5) for uri in uris]
    killed = 0
    for _ in range(ROUNDS):
        both = [started(uris[0]) for _ in range(2)]
        ends = time.monotonic() + random.uniform(1.0, 4.0)
        while time.monotonic() < ends:
            for send in senders:
                send(1)
        if both[0].poll() is None:
            both[0].kill()
            killed += 1
        for process in both:
            process.wait(timeout=120)
        assert tape(uris[0]) == tape(uris[1])
    assert killed > ROUNDS // 4
    assert started(uris[0]).wait(timeout=120) == 0
    assert tape(uris[0]) == tape(uris[1])
    assert stored(uris[0]) < stored(uris[1])
    checked = tickwarden_here("lake", "verify", "--uri", uris[0], folder=tmp_path)
    assert checked.returncode == 0, checked.stdout
    for recorder, store in STORES:
        marks = [DeltaLake(uri, recorder, {}).marks(store) for uri in uris]
        assert marks[0] == marks[1]


@pytest.mark.parametrize(
    ("kind", "method", "part"),
    [
        ("503", "PUT", "ticks"),
        ("500", "GET", "ticks"),
        ("cut", "GET", "ticks"),
        ("lost", "PUT", "ticks/_delta_log"),
    ],
)
def test_a_compaction_on_object_storage_that_fails_now_and_then(kind: str, method: str, part: str) -> None:
    with object_store() as store:
        uri = store.uri("tape")
        small_lake(uri, store.options)
        store.fail(kind, method, part, times=3)
        for _ in range(3):
            if started(uri, store.options).wait(timeout=120) == 0:
                break
        store.heal()
        assert started(uri, store.options).wait(timeout=120) == 0
        with lake_query(uri, store.direct, "SELECT exchange, count(*) FROM ticks GROUP BY 1 ORDER BY 1") as answer:
            assert list(answer.rows) == [("binance", 100), ("kraken", 20), ("upbit", 4)]
        with lake_query(uri, store.direct, "SELECT count(*) FROM recorded_ticks") as answer:
            assert list(answer.rows) == [(124,)]
