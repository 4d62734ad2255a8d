"""One incarnation of a child: runs its actor once, stops it on request, and detects when it is stuck."""

from typing import Protocol

import trio

from supervisor.context import Context, Listener
from supervisor.errors import Stuck
from supervisor.latch import Latch
from supervisor.spec import ChildSpec
from supervisor.states import DesiredState
from supervisor.watchdog import Watchdog, stack_of


class Owner(Listener, Protocol):
    """The owner of an incarnation: the child."""

    def incarnation_started(self) -> None:
        """Its run has been called."""

    def incarnation_ended(self, incarnation: "Incarnation", error: Exception | None, cancelled: bool) -> None:
        """It has ended, by itself, as requested or as stuck; `cancelled`: together with the whole supervisor."""


class Incarnation:
    """From one start of a child until that run has ended. Only this class writes its fields.

    `asked` is the requested stop, None without one. `started` and `ended` are set once each.
    """

    def __init__(self, spec: ChildSpec, owner: Owner) -> None:
        self.asked: DesiredState | None = None
        self.started = Latch()
        self.ended = Latch()
        self.context = Context(spec.name, owner)
        self.watchdog = Watchdog(spec)
        self._spec = spec
        self._owner = owner
        self._scope = trio.CancelScope()
        self._task: trio.lowlevel.Task | None = None
        self._stuck: Stuck | None = None

    async def run(self) -> None:
        """Runs the actor; reports its end to the owner exactly once, whatever the cause."""
        error: Exception | None = None
        cancelled = True
        try:
            with self._scope:
                self._task = trio.lowlevel.current_task()
                self.started.set()
                self._owner.incarnation_started()
                await self._spec.run(self.context)
            cancelled = False
        except Exception as caught:  # noqa: BLE001 - whatever an actor raises is classified, not lost
            error, cancelled = caught, False
        finally:
            self.context.detach()
            self.started.set()
            self._owner.incarnation_ended(self, self._stuck or error, cancelled)
            self.ended.set()

    def ask(self, desired: DesiredState, deadline: float | None) -> None:
        """Requests a stop; it is cancelled at `deadline` in trio time, or at once without one."""
        self.asked = desired
        self.context.request_stop()
        if deadline is None:
            self._scope.cancel()
        else:
            self._scope.deadline = deadline

    def ask_for_good(self) -> None:
        """The final stop begins while it stops already for another reason; its deadline stays."""
        self.asked = DesiredState.STOP

    @property
    def was_cancelled(self) -> bool:
        """Whether it ended because it was cancelled."""
        return self._scope.cancelled_caught

    def detect_stuck(self) -> tuple[str, str] | None:
        """The evidence that the actor is stuck, and its stack; None if it works. Reported once.

        A stopping incarnation has its deadline; only one that should be draining is still watched.
        """
        stops = self.asked is not None and (self.asked is not DesiredState.STOP or self._spec.on_stop is None)
        if self._task is None or self._stuck is not None or stops or not self._spec.is_watched:
            return None
        complaint = self.watchdog.look(self._task)
        if complaint is None:
            return None
        self._stuck = Stuck(complaint)
        return complaint, stack_of(self._task)

    def cancel(self) -> None:
        """Ends it at once."""
        self._scope.cancel()
