"""How a child is brought to an end: asked, given its time, then cancelled; what is left is drained."""

import trio

from supervisor.child import Child, Keeper
from supervisor.errors import describe
from supervisor.incarnation import DesiredState, Incarnation
from supervisor.states import State

DRAIN_PAUSE_S = 0.1  # between runs that crash while draining; doubles, so that ten seconds hold few
DRAIN_PAUSE_S_MAX = 2.0  # and a few are left for the end of a long drain

_REASONS = {
    DesiredState.HOLD: "its supervisor ends",
    DesiredState.PAUSE: "paused by an operator",
    DesiredState.END: "stop requested",
}


def wind_down(child: Child, wish: DesiredState) -> None:
    """Takes the next step towards the end that is wished; called again until the child is at rest."""
    if wish is DesiredState.END and child.drain_until is None:
        _close_input(child)
    life = child.life
    if life is None:
        if not child.drain_again:
            _settle(child, wish)
    elif life.asked is None:
        life.asked = wish
        child.enter(State.STOPPING, child.cycle_reason if wish is DesiredState.CYCLE else _REASONS[wish])
        if child.on_asked is not None:
            child.on_asked(wish)
        life.context.request_stop()
        if _is_given_time(child, wish):
            life.scope.deadline = trio.current_time() + child.spec.stop_s
        else:
            life.scope.cancel()
    elif wish is DesiredState.END and life.asked is not DesiredState.END:
        life.asked = wish
        if child.on_asked is not None:
            child.on_asked(wish)


def launch_drain(child: Child, nursery: trio.Nursery, keeper: Keeper) -> None:
    """One more life whose input is closed already, to empty the mailbox before the deadline."""
    assert child.drain_until is not None
    child.drain_again = False
    if child.state is not State.STOPPING:
        child.enter(State.STOPPING, "draining what is left in its mailbox")
    child.launch(nursery, keeper)
    assert child.life is not None
    child.life.asked = DesiredState.END
    child.life.scope.deadline = child.drain_until
    child.life.context.request_stop()


def ended_as_asked(child: Child, life: Incarnation, error: Exception | None) -> None:
    """Notes how a life ended that had been asked to, and whether its mailbox needs another."""
    if error is not None:
        verdict, _ = child.judge(error)
        detail = child.failure_detail(error, verdict)
        child.enter(State.STOPPING, f"crashed while stopping: {describe(error)}", detail=detail)
    elif not _was_cut_off(child, life):
        return
    if life.asked is DesiredState.END and _must_drain(child):
        child.drain_again = True
        child.due = trio.current_time() + pause_s(child)


def _was_cut_off(child: Child, life: Incarnation) -> bool:
    """Whether it was cancelled for a restart or a pause and the final stop came just then."""
    in_time = child.drain_until is not None and trio.current_time() < child.drain_until
    return life.scope.cancelled_caught and in_time


def pause_s(child: Child) -> float:
    """The wait after one more crash during the final stop: there is no time for the usual backoff."""
    child.drain_tries += 1
    return min(DRAIN_PAUSE_S * 2.0 ** (child.drain_tries - 1), DRAIN_PAUSE_S_MAX)


def must_stay_up(child: Child) -> bool:
    """Whether a child that waits for its turn to stop must run meanwhile, be it from backoff, failed or
    paused: those before it in the turn drain into its mailbox, and a dead consumer would hold them up."""
    has_input = child.spec.on_stop is not None and child.spec.mailbox is not None
    idle = child.life is None and not child.drain_again and not child.finished and not child.exhausted
    return child.awaits_turn and has_input and idle


def give_up_drain(child: Child, now: float) -> None:
    """Past the deadline nothing more is tried."""
    if child.drain_again and child.drain_until is not None and now >= child.drain_until:
        child.drain_again = False


def _close_input(child: Child) -> None:
    """Once, whether the child runs or not: producers that wait on a dead consumer must be let go too."""
    child.drain_until = trio.current_time() + child.spec.stop_s
    if child.spec.on_stop is not None:
        try:
            child.spec.on_stop()
        except Exception as error:  # noqa: BLE001 - somebody else's callback must not stop the stopping
            child.last_error = describe(error)
            child.reported_note("on_stop_failed", child.last_error, {})
            child.drain_until = trio.current_time()
    if child.life is None:
        if child.on_asked is not None:
            child.on_asked(DesiredState.END)
        child.drain_again = _must_drain(child)
        child.due = trio.current_time()


def _must_drain(child: Child) -> bool:
    """Whether one more run is due to a child whose input is closed: what it has taken off its mailbox and
    still holds is its own affair, so an empty mailbox says nothing unless it had come to its end."""
    if child.spec.on_stop is None or child.exhausted:
        return False
    mailbox = child.spec.mailbox
    return not child.finished or (mailbox is not None and mailbox.statistics().depth > 0)


def _is_given_time(child: Child, wish: DesiredState) -> bool:
    """Only a child that can know of the request is waited for: see ChildSpec."""
    assert child.life is not None
    input_closed = wish is DesiredState.END and child.spec.on_stop is not None
    return input_closed or child.life.context.watches_stopping or child.on_asked is not None


def _settle(child: Child, wish: DesiredState) -> None:
    now = trio.current_time()
    if wish is DesiredState.PAUSE and child.state is not State.PAUSED:
        child.enter(State.PAUSED, _REASONS[wish])
    elif wish is DesiredState.CYCLE and child.state is State.STOPPING and child.due > now:
        child.enter(State.BACKOFF, child.cycle_reason, retry_in_s=child.due - now)
    elif wish is DesiredState.HOLD and child.state not in (State.PAUSED, State.STOPPED):
        child.enter(State.STOPPED, _REASONS[wish])
    elif wish is DesiredState.END:
        if child.state is not State.STOPPED:
            left = child.spec.mailbox.statistics().depth if child.spec.mailbox is not None else 0
            child.enter(State.STOPPED, f"{left} items left in its mailbox" if left else "")
        child.gone.set()
