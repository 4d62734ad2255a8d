"""Ctrl-C for commands whose engine computes for long without returning to Python, where signals are handled."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ops.export.target import delete_workshops
from ops.terminal.exit_codes import INTERRUPTED

GRACE_S = 1.0  # in which the command may end by itself


@contextmanager
def ends_on_ctrl_c() -> Iterator[None]:
    """Within the block Ctrl-C ends the process, by force if the block is not left within GRACE_S.

    Python notes a signal at once, but handles it only between its own instructions. For the main thread.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    left = threading.Event()

    def watch() -> None:
        number = os.read(reading, 1)
        os.close(reading)
        if number == bytes([signal.SIGINT]) and not left.wait(GRACE_S):
            delete_workshops()
            os._exit(INTERRUPTED)

    threading.Thread(target=watch, daemon=True).start()
    before = signal.set_wakeup_fd(writing)
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        left.set()
        os.close(writing)  # ends the thread
