"""Looks at the service again and again, in a thread: a slow answer or a slow screen delays only the next look."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from ops.cli.top.sample import Sample
from ops.control.client import ControlClient, NoService, ProblemReply

RETRY_S = 1.0  # a service that is gone is asked as often as this, whatever the interval
T = TypeVar("T")
Seen = Sample | NoService | ProblemReply


class Poller:
    """Calls `show` with each sample, or with what went wrong, in a thread of its own; looks again after `shown`.

    The thread is a daemon: the program ends although an answer, or the outcome of a command, is still awaited.
    """

    def __init__(self, service: ControlClient, interval_s: float, show: Callable[[Seen], object]) -> None:
        self._service, self._interval_s, self._show = service, interval_s, show
        self._stopped, self._shown = threading.Event(), threading.Event()

    def start(self) -> None:
        threading.Thread(target=self._run, name="poller", daemon=True).start()

    def stop(self) -> None:
        """Nothing is shown any more. A question that is not answered yet is given up."""
        self._stopped.set()
        self._shown.set()

    def shown(self) -> None:
        """What was seen last is on the screen: the next look may follow."""
        self._shown.set()

    def command(self, route: str, then: Callable[[str | None], object]) -> None:
        """Gives a command; calls `then` with what went wrong, or None, in a thread of its own."""

        def run() -> None:
            try:
                self._service.post(route)
            except (NoService, ProblemReply) as error:
                outcome: str | None = error.detail if isinstance(error, ProblemReply) else str(error)
            else:
                outcome = None
            self._tell(then, outcome)

        threading.Thread(target=run, name="command", daemon=True).start()

    def _run(self) -> None:
        due = time.monotonic() + self._interval_s
        while not self._stopped.wait(max(0.0, due - time.monotonic())):
            asked_s = time.monotonic()
            try:
                seen: Seen = Sample.of(self._service)
            except (NoService, ProblemReply) as error:
                seen = error
            due = asked_s + (self._interval_s if isinstance(seen, Sample) else min(self._interval_s, RETRY_S))
            self._shown.clear()
            if self._tell(self._show, seen):
                self._shown.wait()

    def _tell(self, who: Callable[[T], object], what: T) -> bool:
        """Whether the screen still wants answers."""
        with suppress(RuntimeError):  # the screen's loop has ended meanwhile
            if not self._stopped.is_set():
                who(what)
                return True
        return False
