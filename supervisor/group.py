"""The children of one supervisor: decides at each moment who must end and who may start.

Nothing here waits. Something happens (a child ends, a command, a delay is over), and `reconcile` compares
what is wished with what is, in start order for starting and in reverse for stopping. So a stop request
cannot be starved: it is looked at first, every time.
"""

from collections.abc import Callable

import trio

from supervisor.child import Child
from supervisor.errors import GaveUp, Verdict, describe
from supervisor.incarnation import DesiredState, Incarnation
from supervisor.shutdown import ended_as_asked, give_up_drain, launch_drain, must_stay_up, pause_s, wind_down
from supervisor.spec import Restart, Strategy
from supervisor.states import State
from supervisor.watchdog import WATCH_EVERY_S


class Group:
    """`together` stops all children at once instead of one after the other in reverse start order."""

    def __init__(self, name: str, strategy: Strategy, *, together: bool) -> None:
        self.children: list[Child] = []
        self.closing: DesiredState | None = None  # HOLD or END
        self.gave_up: GaveUp | None = None
        self.on_gave_up: Callable[[], None] = lambda: None
        self.is_outermost = False
        self._name = name
        self._strategy = strategy
        self._together = together
        self._nursery: trio.Nursery | None = None
        self._wake = trio.Event()

    async def supervise(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keeps the children as they are wished until `close` and all have ended. Raises GaveUp."""
        self.gave_up = None
        for child in self.children:  # a new life of the supervisor is a clean slate for its children
            child.forget_failures()
        try:
            async with trio.open_nursery() as self._nursery:
                task_status.started()
                while True:
                    self._wake = trio.Event()
                    now = trio.current_time()
                    for child in self.children:
                        child.look_for_stuck()
                    self._step()
                    if self.closing and not any(child.active for child in self.children):
                        break
                    with trio.move_on_at(self._next_due(now)):
                        await self._wake.wait()
        finally:
            self._nursery = None
            self._lay_to_rest()
        if self.gave_up is not None:
            raise self.gave_up

    def close(self, wish: DesiredState) -> None:
        """All children end: for good where `wish` is END, else only with this life of the supervisor."""
        if wish is DesiredState.END and self.closing is not DesiredState.END:
            self.closing = wish
            for child in self.children:
                child.due = min(child.due, trio.current_time())
        self.closing = self.closing or DesiredState.HOLD
        self.reconcile()

    def reconcile(self) -> None:
        """Takes every step that can be taken now, and has the next delay reckoned anew."""
        self._step()
        self._wake.set()

    def entering(self) -> trio.Event | None:
        """Set when a child has begun whose task has been made but has not run yet; None if there is none."""
        lives = (child.life for child in self.children)
        return next((life.entered for life in lives if life is not None and not life.entered.is_set()), None)

    def _step(self) -> None:
        now = trio.current_time()
        self._stop_who_must(now)
        self._start_who_may(now)

    def _lay_to_rest(self) -> None:
        # Also after a cancellation, which asks nobody: whoever waits for a child to go must be let go
        for child in self.children.copy():
            child.drain_again = False
            if child.state not in (State.STOPPED, State.PAUSED):
                child.enter(State.STOPPED, "its supervisor ended")
            if child.wish is DesiredState.CYCLE:
                child.wish = DesiredState.RUN
            never_again = child.spec.restart is Restart.TEMPORARY and child.state is State.STOPPED
            if child.wish is DesiredState.END or never_again:
                self._forget(child)
        if self.closing is DesiredState.HOLD:
            self.closing = None

    def _forget(self, child: Child) -> None:
        child.gone.set()
        self.children.remove(child)

    def _next_due(self, now: float) -> float:
        # What is due by `now` was started by this very pass, or waits for something that will wake us
        moments = [c.due for c in self.children if c.life is None and c.due > now]
        moments += [c.drain_until for c in self.children if c.drain_again and c.drain_until is not None]
        if any(c.life is not None and c.life.watch.needed for c in self.children):
            moments.append(now + WATCH_EVERY_S)
        return min(moments, default=float("inf"))

    def _wish(self, child: Child) -> DesiredState:
        if child.wish is DesiredState.END:
            return DesiredState.END
        return self.closing or child.wish

    def _stop_who_must(self, now: float) -> None:
        later_is_ending = False
        linked = self._strategy is not Strategy.ONE_FOR_ONE
        for child in reversed(self.children.copy()):
            wish = self._wish(child)
            in_turn = not self._together if self.closing else linked and wish is DesiredState.CYCLE
            give_up_drain(child, now)
            child.awaits_turn = in_turn and later_is_ending
            if wish is DesiredState.RUN or child.awaits_turn:
                continue
            wind_down(child, wish)
            if self._nursery is None and child.drain_again:
                child.drain_again = False  # nobody could run it
                wind_down(child, wish)
            later_is_ending |= in_turn and child.active
            if child.wish is DesiredState.END and child.gone.is_set():
                self._forget(child)

    def _start_who_may(self, now: float) -> None:
        if self._nursery is None:
            return
        for child in self.children:
            if self.closing is DesiredState.END and must_stay_up(child) and now >= child.due:
                child.launch(self._nursery, self)
        linked = self._strategy is not Strategy.ONE_FOR_ONE
        if linked and any(c.wish is not DesiredState.RUN and c.life is not None for c in self.children):
            return  # all who are restarted together have ended before the first starts
        for child in self.children:
            if child.life is not None:
                if not child.life.entered.is_set():
                    return  # the next one starts when this one runs: its entering wakes us
                continue
            if child.drain_again:
                if now >= child.due:
                    launch_drain(child, self._nursery, self)
                    return
                continue
            if child.finished or self._wish(child) not in (DesiredState.RUN, DesiredState.CYCLE):
                continue
            if now >= child.due:
                child.launch(self._nursery, self)
                return
            if linked:
                return  # who comes after it may need it

    def over(self, child: Child, life: Incarnation, error: Exception | None) -> None:
        """A life has ended; decides what follows."""
        if life.asked is not None:
            ended_as_asked(child, life, error)
        elif error is not None or child.spec.restart is Restart.PERMANENT:
            self._crashed(child, error or RuntimeError("ended by itself, though it is permanent"))
        else:
            child.finished = True
            child.enter(State.STOPPED, "done")
            if child.spec.restart is Restart.TEMPORARY:
                self._forget(child)
        self.reconcile()

    def _crashed(self, child: Child, error: Exception) -> None:
        verdict, retry_after_s = child.judge(error)
        detail = child.failure_detail(error, verdict)
        reason = describe(error)
        if child.spec.restart is Restart.TEMPORARY:
            child.enter(State.STOPPED, reason, detail=detail)
            self._forget(child)
            return
        too_many = verdict is Verdict.BUG and child.window.crashed()
        if too_many and child.spec.on_exhausted == "escalate":
            self._give_up(child, error, detail)
            return
        delay_s = child.retries.failed(retry_after_s) if self.closing is not DesiredState.END else pause_s(child)
        failed = too_many or verdict is Verdict.MISCONFIGURED or child.state is State.FAILED
        if failed and self.closing is not DesiredState.END:
            delay_s = max(child.spec.probe_interval_s, delay_s if retry_after_s else 0.0)
            if too_many:
                limit = child.spec.intensity
                reason = f"more than {limit.restarts_max} crashes in {limit.period_s:g} s: {reason}"
        child.due = trio.current_time() + delay_s
        child.enter(State.FAILED if failed else State.BACKOFF, reason, retry_in_s=delay_s, detail=detail)
        self._cycle_siblings(child)

    def _cycle_siblings(self, crashed: Child) -> None:
        if self._strategy is Strategy.ONE_FOR_ONE:
            return
        first = self.children.index(crashed) if self._strategy is Strategy.REST_FOR_ONE else 0
        for child in self.children[first:]:
            if child is not crashed and child.life is not None and child.wish is DesiredState.RUN:
                # a temporary child is stopped with the others and, being never restarted, for good
                child.wish = DesiredState.END if child.spec.restart is Restart.TEMPORARY else DesiredState.CYCLE
                child.cycle_reason = f"restarted with {crashed.spec.name}"
                child.due = crashed.due

    def _give_up(self, child: Child, error: Exception, detail: dict[str, object]) -> None:
        limit = child.spec.intensity
        text = f"{child.spec.name} crashed more than {limit.restarts_max} times in {limit.period_s:g} s"
        child.exhausted = True
        child.enter(State.FAILED, f"{text}: {describe(error)}", detail=detail)
        self.gave_up = GaveUp(f"{self._name}: {text}: {describe(error)}")
        self.gave_up.__cause__ = error
        self.on_gave_up()
        self.close(DesiredState.END if self.is_outermost else DesiredState.HOLD)
