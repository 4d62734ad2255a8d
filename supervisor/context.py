"""The context of a running actor: its name, the stop request, and the methods by which it reports its state."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from supervisor.latch import Latch


class Listener(Protocol):
    """Receives what an actor reports."""

    def reported_ok(self) -> None: ...
    def reported_degraded(self, reason: str) -> None: ...
    def reported_healthy(self) -> None: ...
    def reported_waiting(self, waiting: bool, /) -> None: ...
    def reported_work(self, amount: int) -> None: ...
    def reported_note(self, event: str, reason: str, detail: dict[str, object]) -> None: ...


class Context:
    """Passed to an actor's run; valid for that one incarnation. Later reports are ignored.

    `Context("name")` without a listener is complete, for running an actor alone.
    """

    def __init__(self, name: str, listener: Listener | None = None) -> None:
        self.name = name
        self.watches_stopping = False
        self._listener = listener
        self._stopping = Latch()

    @property
    def stopping(self) -> Latch:
        """Set when a stop is requested.

        An actor that has read it once promises to return when it is set: it is given its `stop_s` before it is
        cancelled, even without an on_stop.
        """
        self.watches_stopping = True
        return self._stopping

    def ok(self) -> None:
        """The actor works, without impairment."""
        if self._listener is not None:
            self._listener.reported_ok()

    def degraded(self, reason: str) -> None:
        """The actor works with an impairment, which `reason` describes to people. Lasts until `ok()`."""
        if self._listener is not None:
            self._listener.reported_degraded(reason)

    def degraded_by(self, reasons: Sequence[str], shown_max: int) -> None:
        """Degraded for these reasons, showing `shown_max` and counting the rest; ok without any."""
        more = len(reasons) - shown_max
        shown = [*reasons[:shown_max], f"and {more} more"] if more > 0 else reasons
        if shown:
            self.degraded("; ".join(shown))
        else:
            self.ok()

    def healthy(self) -> None:
        """Healthy work is done (data arrives, not only a connection). Call it often: it resets the backoff.

        It also ends STARTING and a probe, but not DEGRADED: a refused symbol remains an impairment while the
        others deliver.
        """
        if self._listener is not None:
            self._listener.reported_healthy()

    def handled(self, amount: int = 1) -> None:
        """Counts work that is done. Also the heartbeat of the stuck check: during long work call `handled(0)`."""
        if self._listener is not None:
            self._listener.reported_work(amount)

    @contextmanager
    def waiting(self, reason: str) -> Iterator[None]:
        """The block waits for something outside: space on a disk, a file that another process has locked.

        Health shows degraded with `reason`, until `ok()`. The time inside the block never counts as stuck: a
        restart would not help.
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
        """Emits an event of the actor's own; `event` is a stable word."""
        if self._listener is not None:
            self._listener.reported_note(event, reason, detail)

    def request_stop(self) -> None:
        """Sets `stopping`; called by the supervisor, or by the code that runs an actor alone."""
        self._stopping.set()

    def detach(self) -> None:
        """Called by the supervisor when the incarnation has ended."""
        self._listener = None
