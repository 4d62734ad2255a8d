"""One kill under a flood and wrong clocks; fifty stand in tests/chaos/test_kills_under_flood.py."""

from pathlib import Path

from tests.harness.kills_under_flood import kills_under_flood


async def test_a_kill_under_flood_and_a_wrong_clock_loses_doubles_and_hides_nothing(tmp_path: Path) -> None:
    verdict = await kills_under_flood(tmp_path, 5, lives_s=(0.5, 0.5), rate_per_s=80.0, settle_s=1.0)
    assert verdict.happened > 100, verdict
