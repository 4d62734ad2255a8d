"""Hundreds of kills: `python -m pytest tests/chaos`.

TICKWARDEN_SEED=N repeats a run (its seed is printed with -s, or when it fails), TICKWARDEN_KILLS=N makes more.
"""

import os
from contextlib import ExitStack
from pathlib import Path
from random import Random

from tests.harness.kill_harness import (
    COMPACTIONS,
    FIRST,
    POINTS,
    Flood,
    Victim,
    Watcher,
    held_through_kills,
    kill_at,
    kill_at_random,
    seed_of_this_run,
)

KILLS = int(os.environ.get("TICKWARDEN_KILLS", "200"))
FOLDERS = 4  # each begun anew: the first moments of a file are passed as often


def test_hundreds_of_kills_at_every_named_point_and_at_random_lose_and_double_nothing(tmp_path: Path) -> None:
    """Four readers ask all the time; every named point is reached."""
    random = Random(seed_of_this_run())
    reached: dict[str, int] = dict.fromkeys(POINTS, 0)
    kills = 0
    for number in range(FOLDERS):
        folder = tmp_path / str(number)
        folder.mkdir()
        flood = Flood(3000)
        victim = Victim(folder, flood.port)
        for point in FIRST:
            with victim.life(point) as life:
                reached[point] += life.wait_for_death(30)
            victim.kills += 1
        with victim.life() as life:
            assert life.wait_for_batches(1)
        with ExitStack() as stack:
            watchers = [
                stack.enter_context(Watcher(victim.path, read_only=read_only))
                for read_only in (True, True, False, False)
            ]
            points = [point for point in POINTS if point not in FIRST]
            while victim.kills < KILLS / FOLDERS:
                if victim.kills % 2:
                    kill_at_random(victim, random)
                else:
                    point = min(points, key=lambda name: (reached[name], random.random()))
                    reached[point] += kill_at(victim, point, random)
                print(f"{kills + victim.kills} kills, {len(victim.acknowledged)} acknowledged")
        for watcher in watchers:
            assert watcher.said["wrong"] == []
        with victim.life() as life:
            assert life.wait_for_batches(1)
            assert life.stop() == 0
        flood.close()
        assert victim.verdict(flood.sent) == ""
        kills += victim.kills
    assert kills >= KILLS
    assert [point for point, times in reached.items() if not times] == []


def test_a_reader_that_holds_the_file_through_kills_at_every_point_of_a_compaction_sees_every_tick(
    tmp_path: Path,
) -> None:
    flood = Flood(3000)
    held_through_kills(tmp_path, flood, COMPACTIONS)
    flood.close()
