"""One child of a supervisor: its state, its counts, and one life of it at a time."""

import time
import traceback
from collections.abc import Callable
from random import Random
from typing import Protocol

import trio

from supervisor.errors import Stuck, Verdict, describe
from supervisor.incarnation import DesiredState, Incarnation
from supervisor.notes import Notes
from supervisor.restart_policy import Retries, Window
from supervisor.spec import ChildSpec
from supervisor.states import ActorHealth, Event, MailboxHealth, State, check
from supervisor.text import REASON_CHARS_MAX, printable
from supervisor.watchdog import STACK_CHARS_MAX, stack_of


class Keeper(Protocol):
    """Who keeps children: the group."""

    def reconcile(self) -> None:
        """Something changed: a child runs now."""

    def over(self, child: "Child", life: Incarnation, error: Exception | None) -> None:
        """A life has ended by itself, as asked or as stuck; not called when it is torn down from outside."""


class Child:
    """Implements context.Listener. What is to be done with it is decided elsewhere: see group and ending."""

    def __init__(
        self,
        spec: ChildSpec,
        parent: str | None,
        random: Random,
        emit: Callable[[Event], None],
    ) -> None:
        self.spec = spec
        self.parent = parent
        self.wish = DesiredState.RUN
        self.life: Incarnation | None = None
        self.gone = trio.Event()
        self.due = -1.0  # trio time of the next start
        self.finished = False  # not to be started again: transient and done, or torn down
        self.exhausted = False  # it made its supervisor give up
        self.cycle_reason = ""
        self.on_asked: Callable[[DesiredState], None] | None = None  # a supervisor below is told how it is to end
        self.drain_until: float | None = None  # set once, when its input has been closed for good
        self.drain_again = False  # it ended without having emptied its mailbox, and there is time left
        self.drain_tries = 0
        self.awaits_turn = False  # it is to end, but those started after it come first
        self.retries = Retries(spec.backoff, random)
        self.window = Window(spec.intensity)
        self.state = State.STOPPED
        self.restarts = 0
        self.last_error: str | None = None
        self._reason = ""
        self._since_ns = time.time_ns()
        self._started = False
        self._handled = 0
        self._notes = Notes()
        self._emit = emit

    def forget_failures(self) -> None:
        """An operator's hand, or a new life of the supervisor: start afresh."""
        self.retries.forget()
        self.window.forget()
        self.finished = self.exhausted = False
        self.due = -1.0

    @property
    def active(self) -> bool:
        """It runs, or will run once more to drain."""
        return self.life is not None or self.drain_again

    def launch(self, nursery: trio.Nursery, keeper: Keeper) -> None:
        """Starts a life. While stopping it is a last chance to drain, while failed a probe."""
        self.life = Incarnation(self.spec, self)
        self.retries.started()
        self.restarts += self._started
        self._started = True
        if self.state not in (State.FAILED, State.STOPPING) or self.wish is DesiredState.CYCLE:
            self.enter(State.STARTING, "")
        if self.wish is DesiredState.CYCLE:
            self.wish = DesiredState.RUN
        nursery.start_soon(self._live, self.life, keeper, name=self.spec.name)

    async def _live(self, life: Incarnation, keeper: Keeper) -> None:
        error: Exception | None = None
        torn = True
        try:
            with life.scope:
                life.task = trio.lowlevel.current_task()
                life.entered.set()
                keeper.reconcile()
                await self.spec.run(life.context)
            torn = False
        except Exception as caught:  # noqa: BLE001 - whatever a child raises is judged, not lost
            error, torn = caught, False
        finally:
            life.context.detach()
            life.entered.set()
            self.life = None
            if torn:  # cancelled from outside, or KeyboardInterrupt: the supervisor itself is going
                self.finished = True
                self.enter(State.STOPPED, "cut off")
            else:
                keeper.over(self, life, life.stuck or error)
            life.over.set()

    def enter(
        self,
        state: State,
        reason: str,
        *,
        retry_in_s: float | None = None,
        detail: dict[str, object] | None = None,
    ) -> None:
        """Changes the state, checked against the table, and emits the event. The same state again is news
        only when the reason or the plan is; its `since` stays."""
        old, reason = self.state, printable(reason, REASON_CHARS_MAX)
        if state is old and reason == self._reason and retry_in_s is None and not detail:
            return
        if state is not old:
            check(self.spec.name, old, state)
            self._since_ns = time.time_ns()
        self.state, self._reason = state, reason
        self._tell(state.value, reason, retry_in_s, {"from": old.value, **(detail or {})})

    def judge(self, error: Exception) -> tuple[Verdict, float | None]:
        """The verdict of the child's own classify; when that fails in turn, it is a bug."""
        if isinstance(error, Stuck):
            return Verdict.BUG, None
        try:
            return self.spec.classify(error)
        except Exception as broken:  # noqa: BLE001 - a broken classify must not take the siblings down
            error.add_note(f"and its classify failed: {describe(broken)}")
            return Verdict.BUG, None

    def failure_detail(self, error: Exception, verdict: Verdict) -> dict[str, object]:
        """What an event says of a failure; remembers it as the last error."""
        self.last_error = describe(error)
        detail: dict[str, object] = {"verdict": verdict.value, "error": self.last_error}
        if verdict is Verdict.BUG and not isinstance(error, Stuck):
            detail["traceback"] = "".join(traceback.format_exception(error))[-STACK_CHARS_MAX:]
        return detail

    def look_for_stuck(self) -> None:
        """Cancels a life that is stuck, after reporting where it stands."""
        life = self.life
        if life is None or life.task is None or life.stuck is not None:
            return
        if life.asked is not None and (life.asked is not DesiredState.END or self.spec.on_stop is None):
            return  # it is ending and has its deadline; only one that should be draining is still judged
        complaint = life.watch.look(life.task) if life.watch.needed else None
        if complaint is not None:
            life.stuck = Stuck(complaint)
            self._tell("stuck", complaint, None, {"stack": stack_of(life.task)})
            life.scope.cancel()

    def health(self) -> ActorHealth:
        """This child now."""
        box = self.spec.mailbox.statistics() if self.spec.mailbox is not None else None
        waiting = self.life is None and self.state in (State.BACKOFF, State.FAILED)
        left_s = max(0.0, self.due - trio.current_time()) if waiting else 0.0
        return ActorHealth(
            name=self.spec.name,
            parent=self.parent,
            kind=self.spec.kind,
            state=self.state,
            reason=self._reason,
            since_ns=self._since_ns,
            restarts=self.restarts,
            last_error=self.last_error,
            next_retry_at_ns=time.time_ns() + int(left_s * 1e9) if waiting else None,
            mailbox=MailboxHealth(box.weight, box.capacity, box.peak) if box is not None else None,
            handled=self._handled,
        )

    def reported_ok(self) -> None:
        if self.state in (State.STARTING, State.DEGRADED, State.FAILED):
            self.enter(State.OK, "")

    def reported_degraded(self, reason: str) -> None:
        if self.state in (State.STARTING, State.OK, State.DEGRADED, State.FAILED):
            self.enter(State.DEGRADED, reason)

    def reported_healthy(self) -> None:
        self.retries.healthy()
        if self.state in (State.STARTING, State.FAILED):
            self.enter(State.OK, "")

    def reported_waiting(self, waiting: bool) -> None:
        if self.life is not None:
            self.life.watch.waiting = waiting

    def reported_work(self, amount: int) -> None:
        self._handled += amount
        if self.life is not None:
            self.life.watch.beat()

    def reported_note(self, event: str, reason: str, detail: dict[str, object]) -> None:
        more = self._notes.admit(event, reason, detail)
        if more is not None:
            self._tell(event, reason, None, {**detail, **more})

    def _tell(self, event: str, reason: str, retry_in_s: float | None, detail: dict[str, object]) -> None:
        self._emit(
            Event(
                at_ns=time.time_ns(),
                actor=self.spec.name,
                event=event,
                reason=reason,
                restarts=self.restarts,
                retry_in_s=retry_in_s,
                detail=detail,
            )
        )
