"""Upkeep in a thread that leaves the processor to recording."""

import os
import sys
import threading

import pytest

from actors.sink.database_thread import UPKEEP_NICE, at_low_priority


@pytest.mark.skipif(sys.platform != "linux", reason="only there has each thread a priority of its own")
def test_only_the_thread_of_the_call_gets_a_low_priority() -> None:
    before = os.getpriority(os.PRIO_PROCESS, 0)
    assert at_low_priority(lambda: os.getpriority(os.PRIO_PROCESS, 0)) == min(before + UPKEEP_NICE, 19)
    assert os.getpriority(os.PRIO_PROCESS, 0) == before


def test_the_result_and_the_error_of_the_call_reach_the_caller() -> None:
    assert at_low_priority(threading.get_ident) != threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        at_low_priority(lambda: 1 // 0)
