"""Reports the progress of a DuckDB statement while it runs."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

import duckdb

PROGRESS_S = 0.2

Result = TypeVar("Result")


def watched(
    con: duckdb.DuckDBPyConnection,
    say: Callable[[float], None],
    statement: Callable[[], Result],
    every_s: float = PROGRESS_S,
) -> Result:
    """Runs `statement`, which uses `con`; `say` receives the progress, 0 to 1, periodically from another thread.

    That thread has ended when this returns or raises, so that the connection may be closed: Ctrl-C takes effect
    only while the statement runs, and only once.
    """
    ended = threading.Event()
    thread = threading.Thread(target=_ask, args=(con, say, ended, every_s), name="progress")
    with _interrupts_held() as gate:
        thread.start()
        try:
            with gate.opened():
                return statement()
        finally:
            ended.set()
            thread.join()


def _ask(
    con: duckdb.DuckDBPyConnection, say: Callable[[float], None], ended: threading.Event, every_s: float
) -> None:
    while not ended.wait(every_s):
        try:
            percent = con.query_progress()
        except duckdb.Error:  # only informative
            return
        say(min(max(percent, 0.0), 100.0) / 100)


class _Gate:
    """Lets one Ctrl-C through while it is open; an earlier one waits."""

    def __init__(self) -> None:
        self.open = False
        self.waiting = False

    def arrived(self, _number: int, _frame: FrameType | None) -> None:
        if not self.open:
            self.waiting = True
            return
        self.open = False  # the next would interrupt the clean-up after the first
        raise KeyboardInterrupt

    @contextmanager
    def opened(self) -> Iterator[None]:
        self.open = True
        try:
            if self.waiting:
                raise KeyboardInterrupt
            yield
        finally:
            self.open = False


@contextmanager
def _interrupts_held() -> Iterator[_Gate]:
    """Defers KeyboardInterrupt, which Python may raise between any two instructions, even in `finally`."""
    gate = _Gate()
    # Only the main thread is interrupted, and only it may set signal handlers.
    here = threading.current_thread() is threading.main_thread()
    if not here or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield gate
        return
    try:
        signal.signal(signal.SIGINT, gate.arrived)
        yield gate
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if gate.waiting:
        raise KeyboardInterrupt
