"""A take-over with a kill -9 at every step of either process: one goes on, and nothing is missing or doubled.

`python -m pytest -s tests/chaos/test_take_over.py` takes about six minutes.
"""

from pathlib import Path

import pytest

from tests.harness.take_over import STEPS_OF_NEW, STEPS_OF_OLD, take_over


@pytest.mark.parametrize("step", STEPS_OF_NEW)
async def test_the_old_process_goes_on_if_the_new_one_is_killed(tmp_path: Path, step: str) -> None:
    left, outcome = await take_over(tmp_path, 1, kill_new_at=step)
    print(step, left, outcome)
    assert outcome.new_ended == -9 and left == "old"
    assert outcome.verdict.stored == outcome.verdict.happened


@pytest.mark.parametrize("step", STEPS_OF_OLD)
async def test_the_new_process_goes_on_if_the_old_one_is_killed(tmp_path: Path, step: str) -> None:
    left, outcome = await take_over(tmp_path, 1, kill_old_at=step)
    print(step, left, outcome)
    assert outcome.old_ended == -9 and left == "new"
    assert outcome.verdict.stored == outcome.verdict.happened


async def test_without_a_kill_the_socket_always_answers(tmp_path: Path) -> None:
    left, outcome = await take_over(tmp_path, 1)
    print(left, outcome)
    assert outcome.old_ended == 0 and left == "new"
    assert outcome.verdict.stored == outcome.verdict.happened
    assert outcome.unanswered_s < 0.1
