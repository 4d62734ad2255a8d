"""The state machine of one child: its rules, the table of transitions, and the only code that changes a child.

Rules:

1. Only the methods of `Child` change a child. The group, the supervisor and the actor call them; they read the
   fields and never write them.
2. `desired` is what a child should do, `state` what it does. Commands and a sibling's crash change `desired`;
   the group compares the two in each of its steps, and calls `launch` or `wind_down` where they differ.
3. At most one incarnation exists at a time. It is asked to stop once, and cancelled at once or at its deadline.
   A final stop that begins while it stops for another reason changes what follows, not the deadline.
4. A failure is classified. TRANSIENT: BACKOFF, for ever. MISCONFIGURED: FAILED, probed from time to time. BUG:
   BACKOFF, and FAILED once the intensity is exceeded; a child that escalates is then `exhausted` instead, and
   its supervisor gives up. During the final stop nothing is probed: there is only BACKOFF with short pauses.
5. During a probe the state remains FAILED until the actor reports that it works.
6. An actor that returns unasked has failed if it is permanent; else it has `finished` and is STOPPED.
7. The final stop closes the input once. A child with an input that crashes meanwhile, or was cancelled for a
   restart or a pause, is run again until its work is finished or its deadline has passed: see shutdown.Drain.
8. `gone` is set when a child will never run again; its name is free then.
9. Every change of state is checked against the table and emitted as an event.
"""

import time
from collections.abc import Callable, Mapping
from random import Random
from types import MappingProxyType
from typing import Protocol

import trio

from supervisor.errors import Failure, Verdict, describe, judge
from supervisor.incarnation import Incarnation
from supervisor.latch import Latch
from supervisor.notes import Notes
from supervisor.restart_count import Retries, Window
from supervisor.shutdown import Drain
from supervisor.spec import ChildSpec, Restart
from supervisor.states import ActorHealth, DesiredState, Event, MailboxHealth, State
from supervisor.text import REASON_CHARS_MAX, printable

_S = State
TRANSITIONS: Mapping[State, frozenset[State]] = MappingProxyType(
    {
        # a new child is STOPPED; nothing else may come before STARTING
        _S.STOPPED: frozenset({_S.STARTING, _S.PAUSED, _S.STOPPING}),
        _S.STARTING: frozenset({_S.OK, _S.DEGRADED, _S.BACKOFF, _S.FAILED, _S.STOPPING, _S.STOPPED}),
        _S.OK: frozenset({_S.DEGRADED, _S.BACKOFF, _S.FAILED, _S.STOPPING, _S.STOPPED}),
        _S.DEGRADED: frozenset({_S.OK, _S.BACKOFF, _S.FAILED, _S.STOPPING, _S.STOPPED}),
        # STOPPING: run once more at the final stop, to drain what is left in its mailbox
        _S.BACKOFF: frozenset({_S.STARTING, _S.PAUSED, _S.STOPPING, _S.STOPPED}),
        _S.PAUSED: frozenset({_S.STARTING, _S.STOPPING, _S.STOPPED}),
        # OK and DEGRADED come from a probe, STARTING from an operator
        _S.FAILED: frozenset({_S.OK, _S.DEGRADED, _S.STARTING, _S.PAUSED, _S.STOPPING, _S.STOPPED}),
        # BACKOFF: stopped because of a sibling, and waiting for it
        _S.STOPPING: frozenset({_S.STARTING, _S.BACKOFF, _S.PAUSED, _S.STOPPED}),
    }
)

_STOP_REASONS = {
    DesiredState.SUSPEND: "its supervisor stops",
    DesiredState.PAUSE: "paused by an operator",
    DesiredState.STOP: "stop requested",
}


class TransitionError(RuntimeError):
    """A transition that the table does not allow: a bug in the supervisor itself."""


def check_transition(actor: str, old: State, new: State) -> None:
    """Raises TransitionError unless the table allows it."""
    if new not in TRANSITIONS[old]:
        raise TransitionError(f"{actor} may not go from {old.value} to {new.value}")


class Keeper(Protocol):
    """The owner of a child: its group."""

    def reconcile(self) -> None:
        """Something has changed: takes the steps that can be taken now."""

    def child_ended(self, child: "Child", error: Exception | None) -> None:
        """An incarnation has ended and the child's new state is set; not called when all are cancelled."""


class Child:
    """One child of a supervisor. Implements incarnation.Owner, and with it context.Listener.

    `on_asked`, for a child that is a supervisor, forwards a stop request to its own children.
    """

    def __init__(
        self,
        spec: ChildSpec,
        keeper: Keeper,
        *,
        parent: str | None,
        random: Random,
        emit: Callable[[Event], None],
        on_asked: Callable[[DesiredState], None] | None = None,
    ) -> None:
        self.spec = spec
        self.desired = DesiredState.RUN
        self.state = State.STOPPED
        self.reason = ""
        self.incarnation: Incarnation | None = None
        self.due = -1.0  # trio time before which it is not started
        self.finished = False  # not to be started again: it returned and is not permanent, or all were cancelled
        self.exhausted = False  # it exceeded its intensity and made its supervisor give up
        self.drain = Drain(spec)
        self.gone = Latch()
        self._keeper = keeper
        self._parent = parent
        self._emit = emit
        self._on_asked = on_asked
        self._restart_reason = ""
        self._supervisor_stops = False
        self._retries = Retries(spec.backoff, random)
        self._window = Window(spec.intensity)
        self._notes = Notes()
        self._since_ns = time.time_ns()
        self._started = False
        self._restarts = 0
        self._handled = 0
        self._last_error: str | None = None

    # What others read

    @property
    def active(self) -> bool:
        """Whether it runs, or will be run once more to drain."""
        return self.incarnation is not None or self.drain.pending

    @property
    def can_receive(self) -> bool:
        """Whether it does not run but could: it has an input that others drain into."""
        idle = not self.active and not self.finished and not self.exhausted
        return idle and self.spec.on_stop is not None and self.spec.mailbox is not None

    def health(self) -> ActorHealth:
        """The child's health now."""
        box = self.spec.mailbox.statistics() if self.spec.mailbox is not None else None
        waiting = self.incarnation is None and self.state in (State.BACKOFF, State.FAILED)
        left_s = max(0.0, self.due - trio.current_time()) if waiting else 0.0
        return ActorHealth(
            name=self.spec.name,
            parent=self._parent,
            kind=self.spec.kind,
            state=self.state,
            reason=self.reason,
            since_ns=self._since_ns,
            restarts=self._restarts,
            last_error=self._last_error,
            next_retry_at_ns=time.time_ns() + int(left_s * 1e9) if waiting else None,
            mailbox=MailboxHealth(box.weight, box.capacity, box.peak) if box is not None else None,
            handled=self._handled,
        )

    # Commands

    def stop(self) -> None:
        """Stops it for good."""
        self.desired = DesiredState.STOP

    def restart(self) -> None:
        """Restarts it for an operator, from any state; its failures no longer count."""
        self.forget_failures()
        self.desired, self._restart_reason = DesiredState.RESTART, "restarted by an operator"

    def restart_with(self, crashed: "Child") -> None:
        """Restarts it together with a sibling that crashed. A temporary child is never restarted: it stops for
        good.
        """
        temporary = self.spec.restart is Restart.TEMPORARY
        self.desired = DesiredState.STOP if temporary else DesiredState.RESTART
        self._restart_reason = f"restarted with {crashed.spec.name}"
        self.due = crashed.due

    def pause(self) -> None:
        """Stops it until `resume` or `restart`."""
        self.desired = DesiredState.PAUSE

    def resume(self) -> None:
        """Starts it again if it was paused, also before it has ended; its failures no longer count."""
        if self.desired is DesiredState.PAUSE:
            self.forget_failures()
            stops = self.incarnation is not None and self.incarnation.asked is not None
            self.desired = DesiredState.RESTART if stops else DesiredState.RUN
            self._restart_reason = "resumed by an operator"

    def forget_failures(self) -> None:
        """Allows it to start at once, as if it had never failed."""
        self._retries.forget()
        self._window.forget()
        self.finished = self.exhausted = False
        self.due = -1.0

    # Its supervisor's own start and stop

    def supervisor_stops(self) -> None:
        """The supervisor's final stop has begun: delays before a start no longer apply."""
        self._supervisor_stops = True
        self.due = min(self.due, trio.current_time())

    def supervisor_ended(self) -> None:
        """The supervisor has ended, perhaps cancelled; its plans for this child are void."""
        self.drain.cancel_run()
        if self.state not in (State.STOPPED, State.PAUSED):
            self._enter(State.STOPPED, "its supervisor ended")
        if self.desired is DesiredState.RESTART:
            self.desired = DesiredState.RUN

    def forget(self) -> None:
        """It will never run again."""
        self.gone.set()

    # Starting

    def launch(self, nursery: trio.Nursery) -> None:
        """Starts an incarnation: in state FAILED as a probe, in state STOPPING to drain."""
        self.incarnation = Incarnation(self.spec, self)
        self._retries.started()
        self._restarts += self._started
        self._started = True
        if self.state not in (State.FAILED, State.STOPPING) or self.desired is DesiredState.RESTART:
            self._enter(State.STARTING, "")
        if self.desired is DesiredState.RESTART:
            self.desired = DesiredState.RUN
        nursery.start_soon(self.incarnation.run, name=self.spec.name)

    def launch_drain(self, nursery: trio.Nursery) -> None:
        """Starts one more incarnation, whose input is closed already, to drain before the deadline."""
        self.drain.cancel_run()
        if self.state is not State.STOPPING:
            self._enter(State.STOPPING, "draining what is left in its mailbox")
        self.launch(nursery)
        assert self.incarnation is not None
        self.incarnation.ask(DesiredState.STOP, self.drain.deadline)

    # Stopping

    def wind_down(self, desired: DesiredState, *, can_run: bool) -> None:
        """Takes the next step towards the stop that is desired; called again until the child is at rest.

        `can_run`: its supervisor could still run it to drain.
        """
        if desired is DesiredState.STOP and self.drain.deadline is None:
            self._close_input()
        if not can_run:
            self.drain.cancel_run()
        if self.incarnation is not None:
            self._ask(self.incarnation, desired)
        elif not self.drain.pending:
            self._settle(desired)

    def _ask(self, incarnation: Incarnation, desired: DesiredState) -> None:
        if incarnation.asked is None:
            by_restart = desired is DesiredState.RESTART
            self._enter(State.STOPPING, self._restart_reason if by_restart else _STOP_REASONS[desired])
            # only an actor that can notice the request is given time: see ChildSpec
            closed = desired is DesiredState.STOP and self.spec.on_stop is not None
            given_time = closed or incarnation.context.watches_stopping or self._on_asked is not None
            incarnation.ask(desired, trio.current_time() + self.spec.stop_s if given_time else None)
        elif desired is DesiredState.STOP and incarnation.asked is not DesiredState.STOP:
            incarnation.ask_for_good()
        else:
            return
        if self._on_asked is not None:
            self._on_asked(desired)

    def _close_input(self) -> None:
        error = self.drain.close_input()
        if error is not None:
            self._last_error = describe(error)
            self.reported_note("on_stop_failed", self._last_error, {})
        if self.incarnation is None:
            if self._on_asked is not None:
                self._on_asked(DesiredState.STOP)
            if self._must_drain():
                self.drain.plan_run()
            self.due = trio.current_time()

    def _must_drain(self) -> bool:
        return not self.exhausted and self.drain.is_needed(finished=self.finished)

    def _settle(self, desired: DesiredState) -> None:
        now = trio.current_time()
        if desired is DesiredState.PAUSE and self.state is not State.PAUSED:
            self._enter(State.PAUSED, _STOP_REASONS[desired])
        elif desired is DesiredState.RESTART and self.state is State.STOPPING and self.due > now:
            self._enter(State.BACKOFF, self._restart_reason, retry_in_s=self.due - now)
        elif desired is DesiredState.SUSPEND and self.state not in (State.PAUSED, State.STOPPED):
            self._enter(State.STOPPED, _STOP_REASONS[desired])
        elif desired is DesiredState.STOP:
            if self.state is not State.STOPPED:
                left = self.drain.items_left
                self._enter(State.STOPPED, f"{left} items left in its mailbox" if left else "")
            self.gone.set()

    # What its incarnation reports: see incarnation.Owner

    def incarnation_started(self) -> None:
        self._keeper.reconcile()

    def incarnation_ended(self, incarnation: Incarnation, error: Exception | None, cancelled: bool) -> None:
        self.incarnation = None
        if cancelled:
            self.finished = True
            self._enter(State.STOPPED, "cancelled together with its supervisor")
            if self.desired is DesiredState.STOP:
                self.gone.set()  # a sibling may wait for that, shielded from this cancellation
            return
        if incarnation.asked is not None:
            self._ended_as_asked(incarnation, error)
        elif error is not None or self.spec.restart is Restart.PERMANENT:
            error = error or RuntimeError("returned unasked, though it is permanent")
            self._failed(error)
        else:
            self.finished = True
            self._enter(State.STOPPED, "done")
        self._keeper.child_ended(self, error)

    def _ended_as_asked(self, incarnation: Incarnation, error: Exception | None) -> None:
        if error is not None:
            failure = self._judge(error)
            self._enter(State.STOPPING, f"crashed while stopping: {failure.text}", detail=failure.detail)
        elif not (incarnation.was_cancelled and self.drain.in_time):
            return
        if incarnation.asked is DesiredState.STOP and self._must_drain():
            self.drain.plan_run()
            self.due = trio.current_time() + self.drain.next_pause_s()

    def _failed(self, error: Exception) -> None:
        failure, limit = self._judge(error), self.spec.intensity
        reason = failure.text
        if self.spec.restart is Restart.TEMPORARY:
            self._enter(State.STOPPED, reason, detail=failure.detail)
            return
        too_many = failure.verdict is Verdict.BUG and self._window.crashed()
        if too_many and self.spec.on_exhausted == "escalate":
            self.exhausted = True
            crashes = f"crashed more than {limit.restarts_max} times in {limit.period_s:g} s"
            self._enter(State.FAILED, f"{self.spec.name} {crashes}: {reason}", detail=failure.detail)
            return
        after_s = failure.retry_after_s
        delay_s = self.drain.next_pause_s() if self._supervisor_stops else self._retries.failed(after_s)
        failed = too_many or failure.verdict is Verdict.MISCONFIGURED or self.state is State.FAILED
        if failed and not self._supervisor_stops:
            delay_s = max(self.spec.probe_interval_s, delay_s if after_s else 0.0)
            if too_many:
                reason = f"more than {limit.restarts_max} crashes in {limit.period_s:g} s: {reason}"
        self.due = trio.current_time() + delay_s
        new = State.FAILED if failed else State.BACKOFF
        self._enter(new, reason, retry_in_s=delay_s, detail=failure.detail)

    def _judge(self, error: Exception) -> Failure:
        failure = judge(error, self.spec.classify)
        self._last_error = failure.text
        return failure

    def check_stuck(self) -> None:
        """Cancels an incarnation that is stuck, after its stack has been emitted."""
        found = self.incarnation.detect_stuck() if self.incarnation is not None else None
        if found is not None and self.incarnation is not None:
            complaint, stack = found
            self._emit_event("stuck", complaint, detail={"stack": stack})
            self.incarnation.cancel()

    # What its actor reports: see context.Listener

    def reported_ok(self) -> None:
        if self.state in (State.STARTING, State.DEGRADED, State.FAILED):
            self._enter(State.OK, "")

    def reported_degraded(self, reason: str) -> None:
        if self.state in (State.STARTING, State.OK, State.DEGRADED, State.FAILED):
            self._enter(State.DEGRADED, reason)

    def reported_healthy(self) -> None:
        self._retries.healthy()
        if self.state in (State.STARTING, State.FAILED):
            self._enter(State.OK, "")

    def reported_waiting(self, waiting: bool, /) -> None:
        if self.incarnation is not None:
            self.incarnation.watchdog.set_waiting(waiting)

    def reported_work(self, amount: int) -> None:
        self._handled += amount
        if self.incarnation is not None:
            self.incarnation.watchdog.beat()

    def reported_note(self, event: str, reason: str, detail: dict[str, object]) -> None:
        more = self._notes.admit(event, reason, detail)
        if more is not None:
            self._emit_event(event, reason, detail={**detail, **more})

    # The one change of state, and the events

    def _enter(
        self,
        state: State,
        reason: str,
        *,
        retry_in_s: float | None = None,
        detail: dict[str, object] | None = None,
    ) -> None:
        """The same state again is an event only if the reason or the planned start is new; `since` stays."""
        old, reason = self.state, printable(reason, REASON_CHARS_MAX)
        if state is old and reason == self.reason and retry_in_s is None and not detail:
            return
        if state is not old:
            check_transition(self.spec.name, old, state)
            self._since_ns = time.time_ns()
        self.state, self.reason = state, reason
        self._emit_event(state.value, reason, retry_in_s, {"from": old.value, **(detail or {})})

    def _emit_event(
        self, event: str, reason: str, retry_in_s: float | None = None, detail: dict[str, object] | None = None
    ) -> None:
        self._emit(
            Event(
                at_ns=time.time_ns(),
                actor=self.spec.name,
                event=event,
                reason=reason,
                restarts=self._restarts,
                retry_in_s=retry_in_s,
                detail=detail or {},
            )
        )
