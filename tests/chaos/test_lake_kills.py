"""200 kills of processes that send to a lake in a folder, 15 on object storage: lost 0, doubled 0.

A failure is repeated with TICKWARDEN_LAKE_SEED.
"""

import os
import random
from pathlib import Path

import pytest

from tests.harness.lake_process import Sender, differences, ended, finished, kill_many, started
from tests.harness.object_store import object_store

SEED = int(os.environ.get("TICKWARDEN_LAKE_SEED", random.randrange(10**6)))
PARTS, KILLS_EACH, KILLS_ON_S3 = 8, 25, 15


@pytest.mark.parametrize("part", range(PARTS))
def test_two_hundred_kills_lose_nothing_and_double_nothing(tmp_path: Path, part: int) -> None:
    print(f"TICKWARDEN_LAKE_SEED={SEED}")
    uri, sender = str(tmp_path), Sender("tokyo", "store", SEED + part)
    other = Sender("london", "store", SEED)  # commits meanwhile
    beside = started(uri, other, 60)
    kill_many(uri, sender, KILLS_EACH, SEED + part)
    last = finished(uri, sender)
    assert ended([beside]) == [0]
    assert differences(uri, {sender: last, other: 60}) == {}, f"seed {SEED}"


def test_kills_on_object_storage_lose_nothing_and_double_nothing() -> None:
    print(f"TICKWARDEN_LAKE_SEED={SEED}")
    with object_store() as store:
        uri, sender = store.uri("tape"), Sender("tokyo", "store", SEED)
        store.fail("lost", "PUT", "_delta_log", times=10, skip=10)
        store.fail("503", "PUT", ".parquet", times=10, skip=20)
        kill_many(uri, sender, KILLS_ON_S3, SEED, store.options)
        store.heal()
        last = finished(uri, sender, store.options)
        assert differences(uri, {sender: last}, store.direct) == {}, f"seed {SEED}"
