"""Two kills under a flood and wrong clocks; fifty stand in tests/chaos/test_kills_under_flood.py."""

from pathlib import Path

from tests.kills_under_flood import kills_under_flood


async def test_kills_under_flood_and_wrong_clocks_lose_double_and_hide_nothing(tmp_path: Path) -> None:
    verdict = await kills_under_flood(tmp_path, 5, lives_s=(0.7, 0.7, 0.7), rate_per_s=80.0, settle_s=2.0)
    assert verdict.happened > 100, verdict
