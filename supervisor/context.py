"""What a running child is given: its name, the request to stop, and the words to report with."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import trio


class Listener(Protocol):
    """Who hears what a child reports; the supervisor's record of that child."""

    def reported_ok(self) -> None: ...
    def reported_degraded(self, reason: str) -> None: ...
    def reported_healthy(self) -> None: ...
    def reported_waiting(self, waiting: bool, /) -> None: ...
    def reported_work(self, amount: int) -> None: ...
    def reported_note(self, event: str, reason: str, detail: dict[str, object]) -> None: ...


class Context:
    """Passed to a child's run; valid for that one life. Afterwards its reports go nowhere.

    `Context("name")` without a listener is complete in itself, for running an actor alone.
    """

    def __init__(self, name: str, listener: Listener | None = None) -> None:
        self.name = name
        self.watches_stopping = False
        self._listener = listener
        self._stopping = trio.Event()

    @property
    def stopping(self) -> trio.Event:
        """Set when a stop is requested.

        To have read it once is to promise to end on it: such a child is given its `stop_s` before it is
        cancelled, also when it has no on_stop.
        """
        self.watches_stopping = True
        return self._stopping

    def ok(self) -> None:
        """It works, and nothing is amiss."""
        if self._listener is not None:
            self._listener.reported_ok()

    def degraded(self, reason: str) -> None:
        """It works, but something is amiss; `reason` says what, for people. Lasts until `ok()`."""
        if self._listener is not None:
            self._listener.reported_degraded(reason)

    def degraded_by(self, reasons: Sequence[str], shown_max: int) -> None:
        """Degraded for these reasons, of which health shows so many and counts the others; ok without any."""
        more = len(reasons) - shown_max
        shown = [*reasons[:shown_max], f"and {more} more"] if more > 0 else reasons
        if shown:
            self.degraded("; ".join(shown))
        else:
            self.ok()

    def healthy(self) -> None:
        """Real work flows (data, not a mere connection). Call it often: it is what resets the backoff.

        It also ends STARTING, and a probe, but not DEGRADED: one symbol refused stays amiss while the
        others flow.
        """
        if self._listener is not None:
            self._listener.reported_healthy()

    def handled(self, amount: int = 1) -> None:
        """So much was done. Also the heartbeat of the stuck check: during long work call `handled(0)`."""
        if self._listener is not None:
            self._listener.reported_work(amount)

    @contextmanager
    def waiting(self, reason: str) -> Iterator[None]:
        """The block waits for the world: room on a disk, a file that another process holds.

        Health says degraded with `reason`, until `ok()`. The time inside the block is never held against the
        child: a restart would bring no room.
        """
        self.degraded(reason)
        self._report_waiting(True)
        try:
            yield
        finally:
            self._report_waiting(False)

    def _report_waiting(self, waiting: bool) -> None:
        if self._listener is not None:
            self._listener.reported_waiting(waiting)

    def note(self, event: str, reason: str = "", **detail: object) -> None:
        """Emits an event of the child's own; `event` is a stable word."""
        if self._listener is not None:
            self._listener.reported_note(event, reason, detail)

    def request_stop(self) -> None:
        """For the supervisor, or whoever runs the actor alone."""
        self._stopping.set()

    def detach(self) -> None:
        """For the supervisor: this life is over."""
        self._listener = None
