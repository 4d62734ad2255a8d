"""Counts restarts by actor and reason, from the supervisor's events."""

from collections import Counter

from supervisor import Event, State

# Transient, misconfigured and bug are the supervisor's verdicts; "other" is a start together with another actor.
REASONS = ("transient", "misconfigured", "bug", "stuck", "operator", "other")


class Restarts:
    """`by_actor_and_reason` only rises, also if an actor is removed and created again."""

    def __init__(self) -> None:
        self.by_actor_and_reason: Counter[tuple[str, str]] = Counter()
        self._seen: dict[str, int] = {}
        self._cause: dict[str, str] = {}

    def on_event(self, event: Event) -> None:
        """Counts one event. A start is attributed to the last event of the actor before it.

        Not every start has an event of its own (a probe has none), so starts are counted by the number in each
        event.
        """
        seen = self._seen.get(event.actor, 0)
        # fewer: another actor of that name
        new = event.restarts - seen if event.restarts >= seen else event.restarts
        if new:
            self.by_actor_and_reason[event.actor, self._cause.get(event.actor, "other")] += new
        self._seen[event.actor] = event.restarts
        cause = _cause(event)
        if cause is not None:
            self._cause[event.actor] = cause


def _cause(event: Event) -> str | None:
    """The cause of a start that follows this event; None if the event indicates no new one."""
    verdict = event.detail.get("verdict")
    if isinstance(verdict, str):
        stuck = str(event.detail.get("error", "")).startswith("Stuck")
        return "stuck" if stuck else verdict if verdict in REASONS else "other"
    if event.event == State.STOPPING.value:
        return "operator" if "operator" in event.reason else "other"
    return "operator" if event.event == State.PAUSED.value else None
