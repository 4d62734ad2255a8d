"""Drains a child at its final stop: closes its input once and bounds the runs that process what is left in it."""

import trio

from supervisor.restart_policy import Backoff
from supervisor.spec import ChildSpec

# Between runs that crash while draining there is no time for the child's own backoff: ten seconds hold only a
# few runs, and a few are left for the last part of a long drain.
DRAIN_BACKOFF = Backoff(initial_s=0.1, max_s=2.0, jitter=0.0)


class Drain:
    """The final stop of one child. Times are trio's clock.

    `deadline` is set once, when the input has been closed for good. `pending`: the child ended without having
    finished its work, and is to be run once more before the deadline.
    """

    def __init__(self, spec: ChildSpec) -> None:
        self.deadline: float | None = None
        self.pending = False
        self._spec = spec
        self._crashes = 0

    def close_input(self) -> Exception | None:
        """Closes the input, whether the child runs or not: producers that wait for a dead consumer must be released
        too. Returns the error of `on_stop`, if any; then there is no time to drain.
        """
        now = trio.current_time()
        self.deadline = now + self._spec.stop_s
        if self._spec.on_stop is not None:
            try:
                self._spec.on_stop()
            except Exception as error:  # noqa: BLE001 - an error in a callback must not prevent the stop
                self.deadline = now
                return error
        return None

    def is_needed(self, *, finished: bool) -> bool:
        """Whether a child whose input is closed has to be run once more.

        An actor may hold items that it has taken off its mailbox, so an empty mailbox proves nothing unless the
        actor returned by itself (`finished`).
        """
        if self._spec.on_stop is None:
            return False
        return not finished or self.items_left > 0

    @property
    def items_left(self) -> int:
        """How many items are in the child's mailbox."""
        return self._spec.mailbox.statistics().depth if self._spec.mailbox is not None else 0

    @property
    def in_time(self) -> bool:
        """Whether the final stop has begun and its deadline has not passed."""
        return self.deadline is not None and trio.current_time() < self.deadline

    def plan_run(self) -> None:
        """The child is to be run once more."""
        self.pending = True

    def cancel_run(self) -> None:
        """That run begins, or will not take place."""
        self.pending = False

    def expire(self, now: float) -> None:
        """Past the deadline nothing more is tried."""
        if self.deadline is not None and now >= self.deadline:
            self.pending = False

    def next_pause_s(self) -> float:
        """The wait after one more crash during the final stop."""
        pause_s = DRAIN_BACKOFF.ceiling_s(self._crashes)
        self._crashes += 1
        return pause_s
