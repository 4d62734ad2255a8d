"""The states of an actor, the one table of allowed transitions, and the event that each change emits."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from supervisor.text import REASON_CHARS_MAX, printable, printable_detail


class State(enum.Enum):
    """What an actor is doing.

    - STARTING: its run has been called and it has not said yet that it works.
    - OK, DEGRADED: it says that it works, or that it works with something amiss.
    - BACKOFF: it waits to be started again.
    - PAUSED: an operator stopped it; only an operator starts it again.
    - FAILED: it crashed too often, or needs an operator; it is probed from time to time, and stays
      FAILED during a probe until it says that it works.
    - STOPPING: it was asked to end. STOPPED: it has ended and will not start by itself.
    """

    STARTING = "starting"
    OK = "ok"
    DEGRADED = "degraded"
    BACKOFF = "backoff"
    PAUSED = "paused"
    FAILED = "failed"
    STOPPING = "stopping"
    STOPPED = "stopped"


_S = State
ALLOWED: Mapping[State, frozenset[State]] = MappingProxyType(
    {
        # a new actor is STOPPED; nothing else may come before STARTING
        _S.STOPPED: frozenset({_S.STARTING, _S.PAUSED, _S.STOPPING}),
        _S.STARTING: frozenset({_S.OK, _S.DEGRADED, _S.BACKOFF, _S.FAILED, _S.STOPPING, _S.STOPPED}),
        _S.OK: frozenset({_S.DEGRADED, _S.BACKOFF, _S.FAILED, _S.STOPPING, _S.STOPPED}),
        _S.DEGRADED: frozenset({_S.OK, _S.BACKOFF, _S.FAILED, _S.STOPPING, _S.STOPPED}),
        # out of backoff into STOPPING: what is left in its mailbox gets a last chance at shutdown
        _S.BACKOFF: frozenset({_S.STARTING, _S.PAUSED, _S.STOPPING, _S.STOPPED}),
        _S.PAUSED: frozenset({_S.STARTING, _S.STOPPING, _S.STOPPED}),
        # OK and DEGRADED come from a probe, STARTING from an operator
        _S.FAILED: frozenset({_S.OK, _S.DEGRADED, _S.STARTING, _S.PAUSED, _S.STOPPING, _S.STOPPED}),
        # BACKOFF: stopped because of a sibling, and waiting for it
        _S.STOPPING: frozenset({_S.STARTING, _S.BACKOFF, _S.PAUSED, _S.STOPPED}),
    }
)


class TransitionError(RuntimeError):
    """The supervisor's own logic is broken: a change that the table does not allow."""


def check(actor: str, old: State, new: State) -> None:
    """Raises TransitionError unless the table allows the change."""
    if new not in ALLOWED[old]:
        raise TransitionError(f"{actor} may not go from {old.value} to {new.value}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened to an actor.

    `at_ns` is wall-clock nanoseconds UTC; `event` the new state's value, or another stable word
    ("stuck", or what an actor notes itself); `retry_in_s` the seconds until the next start where one is
    planned. `detail` holds plain values only: "from" (the state before), and after a failure "verdict",
    "error", and for a bug "traceback".
    """

    at_ns: int
    actor: str
    event: str
    reason: str = ""
    restarts: int = 0
    retry_in_s: float | None = None
    detail: dict[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Whatever a reason or a detail quotes (a server, a library, a file name), the event itself is safe."""
        object.__setattr__(self, "reason", printable(self.reason, REASON_CHARS_MAX))
        if self.detail:
            object.__setattr__(self, "detail", printable_detail(self.detail))


@dataclass(frozen=True, slots=True)
class MailboxHealth:
    """How full a mailbox is, all three in the unit of its capacity (rows, if items weigh their rows)."""

    depth: int
    capacity: int
    peak: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ActorHealth:
    """One actor. Times are wall-clock nanoseconds UTC.

    `parent` is the supervisor's name, None for the children of the outermost one. `restarts` counts every
    start after the first, `handled` what the actor reported as work; both over all its lives.
    `last_error` stays after recovery.
    """

    name: str
    parent: str | None
    kind: str
    state: State
    reason: str
    since_ns: int
    restarts: int
    last_error: str | None
    next_retry_at_ns: int | None
    mailbox: MailboxHealth | None
    handled: int
