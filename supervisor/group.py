"""The children of one supervisor: decides in each step which of them must stop and which may start.

Nothing here waits. After each change (a child ends, a command, a delay has passed) `reconcile` compares what is
desired with what is, in reverse start order for stopping, then in start order for starting. So crashing children
cannot starve a stop request: every step considers it first.
"""

from collections.abc import Callable, Set

import trio

from supervisor.child import Child
from supervisor.errors import GaveUp
from supervisor.latch import Latch
from supervisor.spec import Restart, Strategy
from supervisor.states import DesiredState, State
from supervisor.watchdog import WATCH_EVERY_S


class Group:
    """`together` stops all children at once instead of one after the other in reverse start order.

    `names` are those in use in the whole tree; a child's name is removed when it is free again.
    """

    def __init__(self, name: str, strategy: Strategy, *, together: bool, names: set[str]) -> None:
        self.children: list[Child] = []
        self.closing: DesiredState | None = None  # SUSPEND or STOP
        self._gave_up: GaveUp | None = None
        self._on_gave_up: Callable[[], None] | None = None
        self._name, self._names = name, names
        self._linked = strategy is not Strategy.ONE_FOR_ONE
        self._restarts_all = strategy is Strategy.ONE_FOR_ALL
        self._together = together
        self._nursery: trio.Nursery | None = None
        self._wake = trio.Event()

    async def supervise(
        self,
        on_gave_up: Callable[[], None] | None = None,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Runs the children as desired until `close` has been called and all have ended. Raises GaveUp.

        `on_gave_up`, for the outermost supervisor, is called as soon as that is decided; its stop is final.
        """
        self._gave_up, self._on_gave_up = None, on_gave_up
        for child in self.children:
            child.forget_failures()
        try:
            async with trio.open_nursery() as self._nursery:
                task_status.started()
                while True:
                    self._wake = trio.Event()
                    now = trio.current_time()
                    for child in self.children:
                        child.check_stuck()
                    self._step()
                    if self.closing and not any(child.active for child in self.children):
                        break
                    with trio.move_on_at(self._next_due(now)):
                        await self._wake.wait()
        finally:
            self._nursery = None
            self._settle_all()
        if self._gave_up is not None:
            raise self._gave_up

    def close(self, desired: DesiredState) -> None:
        """Stops all children: for good with STOP, else until this supervisor is started again."""
        if desired is DesiredState.STOP and self.closing is not DesiredState.STOP:
            self.closing = desired
            for child in self.children:
                child.supervisor_stops()
        self.closing = self.closing or DesiredState.SUSPEND
        self.reconcile()

    def reconcile(self) -> None:
        """Takes every step that can be taken now, and has the next delay recalculated."""
        self._step()
        self._wake.set()

    def child_ended(self, child: Child, error: Exception | None) -> None:
        """An incarnation has ended; what follows for the others."""
        if child.exhausted:
            self._give_up(child, error)
        elif child.state in (State.BACKOFF, State.FAILED):
            self._restart_siblings(child)
        elif child.state is State.STOPPED and child.spec.restart is Restart.TEMPORARY:
            self._forget(child)
        self.reconcile()

    def starting(self) -> Latch | None:
        """Set when the child whose task has been made but has not run yet has started; None without one."""
        incarnations = (child.incarnation for child in self.children)
        return next((one.started for one in incarnations if one is not None and not one.started.is_set()), None)

    def _step(self) -> None:
        now = trio.current_time()
        waiting = self._stop_those_who_must(now)
        if self._nursery is not None:
            self._start_those_who_may(now, waiting, self._nursery)

    def _stop_those_who_must(self, now: float) -> Set[Child]:
        """Returns those that must stop and wait for their turn."""
        waiting: set[Child] = set()
        later_is_ending = False
        for child in reversed(self.children.copy()):
            desired = self._desired(child)
            in_turn = not self._together if self.closing else self._linked and desired is DesiredState.RESTART
            child.drain.expire(now)
            if in_turn and later_is_ending:
                waiting.add(child)
                continue
            if desired is DesiredState.RUN:
                continue
            child.wind_down(desired, can_run=self._nursery is not None)
            later_is_ending |= in_turn and child.active
            if child.desired is DesiredState.STOP and child.gone.is_set():
                self._forget(child)
        return waiting

    def _start_those_who_may(self, now: float, waiting: Set[Child], nursery: trio.Nursery) -> None:
        if self.closing is DesiredState.STOP:
            # Those that stop before them drain into their mailboxes; a dead consumer would hold them up
            for child in self.children:
                if child in waiting and child.can_receive and now >= child.due:
                    child.launch(nursery)
        if self._linked and any(c.desired is not DesiredState.RUN and c.incarnation for c in self.children):
            return  # all that are restarted together have ended before the first of them starts
        for child in self.children:
            if child.incarnation is not None:
                if not child.incarnation.started.is_set():
                    return  # the next one starts when this one runs: `incarnation_started` reconciles
                continue
            if child.drain.pending:
                if now >= child.due:
                    child.launch_drain(nursery)
                    return
                continue
            if child.finished or self._desired(child) not in (DesiredState.RUN, DesiredState.RESTART):
                continue
            if now >= child.due:
                child.launch(nursery)
                return
            if self._linked:
                return  # those after it may need it

    def _desired(self, child: Child) -> DesiredState:
        if child.desired is DesiredState.STOP:
            return DesiredState.STOP
        return self.closing or child.desired

    def _next_due(self, now: float) -> float:
        # What is due by `now` was started in this very step, or waits for something that wakes the loop
        moments = [c.due for c in self.children if c.incarnation is None and c.due > now]
        moments += [c.drain.deadline for c in self.children if c.drain.pending and c.drain.deadline is not None]
        if any(c.incarnation is not None and c.spec.is_watched for c in self.children):
            moments.append(now + WATCH_EVERY_S)
        return min(moments, default=float("inf"))

    def _settle_all(self) -> None:
        # Also after a cancellation, during which no child was asked: tasks that wait for `gone` must be released
        for child in self.children.copy():
            child.supervisor_ended()
            never_again = child.spec.restart is Restart.TEMPORARY and child.state is State.STOPPED
            if child.desired is DesiredState.STOP or never_again:
                self._forget(child)
        if self.closing is DesiredState.SUSPEND:
            self.closing = None

    def _forget(self, child: Child) -> None:
        child.forget()
        self.children.remove(child)
        self._names.discard(child.spec.name)

    def _restart_siblings(self, crashed: Child) -> None:
        if not self._linked:
            return
        first = 0 if self._restarts_all else self.children.index(crashed)
        for child in self.children[first:]:
            if child is not crashed and child.incarnation is not None and child.desired is DesiredState.RUN:
                child.restart_with(crashed)

    def _give_up(self, child: Child, error: Exception | None) -> None:
        self._gave_up = GaveUp(f"{self._name}: {child.reason}")
        self._gave_up.__cause__ = error
        if self._on_gave_up is not None:
            self._on_gave_up()
        self.close(DesiredState.SUSPEND if self._on_gave_up is None else DesiredState.STOP)
