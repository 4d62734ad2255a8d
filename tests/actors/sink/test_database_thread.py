"""Upkeep rests where recording needs the processor."""

import time

import pytest

from actors.sink.database_thread import UPKEEP_SHARE, with_rest


@pytest.mark.parametrize(("cpu_s", "share"), [(0.5, UPKEEP_SHARE), (0.9, 0.9), (0.05, 0.05)])
def test_a_call_that_had_to_wait_is_followed_by_a_rest_and_another_is_not(
    monkeypatch: pytest.MonkeyPatch, cpu_s: float, share: float
) -> None:
    clocks = {"monotonic": 0.0, "thread_time": 0.0}
    for name in clocks:
        monkeypatch.setattr(time, name, lambda name=name: clocks[name])

    def call() -> str:
        clocks["monotonic"] += 1.0
        clocks["thread_time"] += cpu_s
        return "done"

    result, rest_s = with_rest(call)
    assert result == "done"
    assert cpu_s / (1.0 + rest_s) == pytest.approx(share)


def test_an_error_of_the_call_reaches_the_caller() -> None:
    with pytest.raises(ZeroDivisionError):
        with_rest(lambda: 1 // 0)
