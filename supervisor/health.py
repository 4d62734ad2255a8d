"""What can be said of each actor at one moment, as frozen values."""

from dataclasses import dataclass

from supervisor.states import State


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
