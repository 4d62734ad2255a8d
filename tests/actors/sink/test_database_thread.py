"""Upkeep rests where recording needs the processor."""

import time

import pytest

from actors.sink.database_thread import UPKEEP_SHARE, with_rest


def test_a_call_that_had_to_wait_is_followed_by_a_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    clocks = {"monotonic": 0.0, "thread_time": 0.0}
    for name in clocks:
        monkeypatch.setattr(time, name, lambda name=name: clocks[name])

    def call() -> str:
        clocks["monotonic"] += 1.0
        clocks["thread_time"] += 0.5
        return "done"

    result, rest_s = with_rest(call)
    assert result == "done"
    assert 0.5 / (1.0 + rest_s) == pytest.approx(UPKEEP_SHARE)


def test_a_call_that_had_the_processor_for_itself_is_followed_by_no_rest() -> None:
    def call() -> float:
        until = time.thread_time() + 0.02
        while time.thread_time() < until:
            pass
        return until

    assert min(with_rest(call)[1] for _ in range(20)) == 0.0


def test_an_error_of_the_call_reaches_the_caller() -> None:
    with pytest.raises(ZeroDivisionError):
        with_rest(lambda: 1 // 0)
