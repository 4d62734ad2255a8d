"""A process takes over from the running one: every trade is stored once, and the socket answers all the time.

The kills at every step stand in tests/chaos/test_take_over.py.
"""

from pathlib import Path

from tests.harness.take_over import take_over

TWO = ("binance", "bitstamp")  # with ids that count, and with ids that do not


async def test_a_process_takes_over_without_a_gap_also_after_another_was_killed_in_the_attempt(
    tmp_path: Path,
) -> None:
    left, outcome = await take_over(tmp_path, 1, names=TWO, killed_before="take_over.stored")
    assert left == "new" and outcome.old_ended == 0, outcome.log
    assert outcome.verdict.total.stored == outcome.verdict.total.made > 0
    assert outcome.gaps == [], "two have delivered everything all the time, so nothing can be missing"
    assert outcome.answers > 100 and outcome.unanswered_s < 0.5  # a retry
