"""Kills, several processes of one recorder, several recorders: no row is lost, none is in the lake twice."""

import os
from pathlib import Path

import pytest

from tests.harness.amounts import amount
from tests.harness.lake_process import POINTS, Sender, differences, ended, finished, kill_many, send, started

TOKYO = Sender("tokyo", "store", 11)


def test_ten_kills_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    seed = int(os.environ.get("TICKWARDEN_LAKE_SEED", "1"))
    kill_many(str(tmp_path), TOKYO, kills=10, seed=seed)
    assert differences(str(tmp_path), {TOKYO: finished(str(tmp_path), TOKYO)}) == {}


def test_two_processes_with_one_store_send_each_batch_once(tmp_path: Path) -> None:
    last = amount(5, 20)
    both = [started(str(tmp_path), TOKYO, last) for _ in range(2)]
    assert ended(both) == [0, 0]
    assert differences(str(tmp_path), {TOKYO: last}) == {}


def test_recorders_that_commit_at_once_lose_nothing_and_wait_for_none(tmp_path: Path) -> None:
    """Two of them have one name, by mistake, and different stores."""
    senders = [Sender("tokyo", "one", 1), Sender("tokyo", "two", 2), Sender("london", "three", 3)]
    last = amount(3, 20)
    assert ended([started(str(tmp_path), sender, last) for sender in senders]) == [0, 0, 0]
    assert differences(str(tmp_path), dict.fromkeys(senders, last)) == {}


def test_every_crash_point_is_passed_in_one_commit(tmp_path: Path) -> None:
    """So that a point that is renamed in the code cannot be forgotten in the kills."""
    passed: list[str] = []

    class Passed:
        def __init__(self, _crash_at: str) -> None:
            pass

        def crash_point(self, name: str) -> None:
            passed.append(name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.harness.lake_process.Files", Passed)
        send(str(tmp_path), {}, TOKYO, 3, "")
    assert set(passed) == set(POINTS)
