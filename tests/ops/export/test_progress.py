"""The progress thread ends with its statement, wherever Ctrl-C interrupts."""

import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, cast

import duckdb
import pytest

from ops.export import progress as export_progress
from ops.export.progress import watched


class Statement:
    """Stands in for a connection: its one statement ends when it has been asked how far it is so many times."""

    def __init__(self, percent: float = 50.0, asked_min: int = 1, *, interrupted: bool = False) -> None:
        self.percent, self.asked_min, self.interrupted = percent, asked_min, interrupted
        self.asked = 0
        self.closed = False

    def query_progress(self) -> float:
        self.asked += 1
        if self.closed:
            raise duckdb.ConnectionException("Connection already closed!")
        return self.percent

    def run(self) -> str:
        if self.interrupted:
            signal.raise_signal(signal.SIGINT)
        deadline = time.monotonic() + 30
        while self.asked < self.asked_min:
            assert time.monotonic() < deadline
            time.sleep(0.001)
        return "done"

    def watched(self, say: Callable[[float], None] = lambda _part: None) -> str:
        """Under the eyes of the code that is tested."""
        return watched(cast(duckdb.DuckDBPyConnection, self), say, self.run, every_s=0.001)


def watchers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "progress"]


@pytest.mark.parametrize(("percent", "part"), [(-1.0, 0.0), (0.0, 0.0), (25.0, 0.25), (100.0, 1.0), (101.0, 1.0)])
def test_progress_is_reported_from_nothing_to_all(percent: float, part: float) -> None:
    said: list[float] = []
    assert Statement(percent, asked_min=3).watched(said.append) == "done"
    assert said and set(said) == {part} and not watchers()


def test_a_failing_statement_raises_its_own_error_and_progress_ends() -> None:
    def fail() -> None:
        raise duckdb.ConversionException("no number")

    with pytest.raises(duckdb.ConversionException, match="no number"):
        watched(cast(duckdb.DuckDBPyConnection, Statement()), lambda _part: None, fail)
    assert not watchers()


def test_a_progress_thread_without_an_answer_ends_silently(capfd: pytest.CaptureFixture[str]) -> None:
    statement = Statement()
    statement.closed = True
    assert statement.watched() == "done"
    assert statement.asked == 1 and capfd.readouterr() == ("", "")


@pytest.mark.parametrize("interrupted", [False, True], ids=["the first", "the second"])
def test_a_ctrl_c_at_any_instruction_is_raised_and_leaves_no_thread(interrupted: bool) -> None:
    """Any line, in the library's part of it: starting the thread, ending it and waiting for it included."""
    files = {export_progress.__file__, threading.__file__, sys.modules["contextlib"].__file__}

    def struck(moment: int) -> tuple[int, bool]:
        """How many instructions there were, and whether KeyboardInterrupt came out of them."""
        passed = 0

        def step(frame: FrameType, event: str, _argument: Any) -> Any:
            nonlocal passed
            if frame.f_code.co_filename not in files:
                return None
            ours = frame.f_code.co_filename == export_progress.__file__
            frame.f_trace_opcodes = ours
            if event == ("opcode" if ours else "line"):
                passed += 1
                if passed == moment:
                    signal.raise_signal(signal.SIGINT)
            return step

        statement = Statement(asked_min=0, interrupted=interrupted)
        before, raised = sys.gettrace(), True
        try:
            sys.settrace(step)
            statement.watched()
            raised = False
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(before)
        left = watchers()
        statement.closed = True  # none of them lives on
        assert left == [], moment
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler, moment
        return passed, raised

    instructions, raised = struck(0)
    assert instructions > 100 and raised == interrupted
    for moment in range(1, instructions + 1):
        assert struck(moment)[1], moment
