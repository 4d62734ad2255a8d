"""The plain values of supervision: the states of an actor, its events, and its health at one moment."""

import enum
from dataclasses import dataclass, field

from supervisor.text import REASON_CHARS_MAX, printable, printable_detail


class State(enum.Enum):
    """What an actor is doing. The transitions between them are in `supervisor.child`.

    - STARTING: its run has been called and it has not reported yet that it works.
    - OK, DEGRADED: it reports that it works, or that it works with an impairment.
    - BACKOFF: it waits to be started again.
    - PAUSED: an operator stopped it; only an operator starts it again.
    - FAILED: it crashed too often, or needs an operator; it is probed from time to time, and remains
      FAILED during a probe until it reports that it works.
    - STOPPING: it was asked to stop. STOPPED: it has ended and will not start by itself.
    """

    STARTING = "starting"
    OK = "ok"
    DEGRADED = "degraded"
    BACKOFF = "backoff"
    PAUSED = "paused"
    FAILED = "failed"
    STOPPING = "stopping"
    STOPPED = "stopped"


class DesiredState(enum.Enum):
    """What an actor should do at this moment, by its supervisor's and the operators' decision."""

    RUN = "run"
    RESTART = "restart"  # stop, and be started again soon
    SUSPEND = "suspend"  # stop, because the supervisor does; it may start again with it
    PAUSE = "pause"
    STOP = "stop"  # for good: its input is closed and drained


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
        """Makes foreign text in the reason and the detail (a server's, a library's, a file name) safe to show."""
        object.__setattr__(self, "reason", printable(self.reason, REASON_CHARS_MAX))
        if self.detail:
            object.__setattr__(self, "detail", printable_detail(self.detail))


@dataclass(frozen=True, slots=True)
class MailboxHealth:
    """The fill level of a mailbox, in the unit of its capacity (rows, if items weigh their rows)."""

    depth: int
    capacity: int
    peak: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ActorHealth:
    """One actor. Times are wall-clock nanoseconds UTC.

    `parent` is the supervisor's name, None for the children of the outermost one. `restarts` counts every
    start after the first, `handled` what the actor reported as work; both over all its incarnations.
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
