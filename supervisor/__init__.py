"""Supervises actors: starts, watches, restarts and stops them, and queues items between them at least once.

Knows nothing of exchanges, files or configuration; needs trio and the standard library.

The terms are those of Erlang/OTP: "Supervisor Behaviour" in the OTP Design Principles,
https://www.erlang.org/doc/system/sup_princ.html (its text in the repository erlang/otp,
system/doc/design_principles/sup_princ.md, read 2026-11-22). What is the same:

- Children are started in order and stopped in reverse; each has a deadline, then it is cancelled. A
  supervisor that is itself a child has all the time its children need, unless its spec limits it.
- permanent (always restarted), transient (only after a failure), temporary (never, not even when a
  sibling's restart stopped it; then it is forgotten).
- one-for-one, rest-for-one (the child and those started after it), one-for-all. All children that are
  restarted together have stopped, in reverse order, before the first of them starts again, in order.
- Intensity: more than `restarts_max` within `period_s` on the monotonic clock is too much. If such a child's
  spec says "escalate", its supervisor stops all its children and ends with GaveUp; the supervisor above
  decides in turn.

What differs, and why:

- Failures are classified first (`classify`). A TransientError has its cause outside and never counts towards
  the intensity: an outage elsewhere must not stop us. After a MisconfiguredError, which only an operator can
  correct, the child is failed at once. Only bugs count, and a permanent child that returns unasked is one.
- Restarts wait: d = min(max_s, initial_s * factor^n), of which d/2 + uniform(0, d/2) is waited, Retry-After
  being a floor. OTP restarts at once, which is right for a broken process and wrong for a busy server.
  n returns to 0 only after `reset_s` of healthy work, not after connecting.
- Intensity is counted for each child, not for the whole supervisor, and a child that exceeds it is
  normally `failed` alone: its siblings keep running (under one-for-one), and it is probed every
  `probe_interval_s` until it reports that it works. During a probe its state remains failed. The crashes stay
  in the window, so that a relapse soon after is failed at once; an operator's restart clears them.
- A supervisor may stop its children together, as OTP's simple_one_for_one does.
- A stuck actor is cancelled and restarted; OTP leaves that to the caller's timeouts.
- The final stop closes an actor's input (`on_stop`) so that it drains. If it crashes while draining, or
  was waiting to be restarted with work in its mailbox, it is run again at once within its `stop_s`.
  Until its own turn to stop comes it is kept running, for the actors started after it drain into it.

The modules, from the top: `supervisor` (the commands), `group` (which child must stop, which may start),
`child` (the state machine of one child), `incarnation` (one run of it), `shutdown` (its final stop),
`restart_policy` (the values), `restart_count` (what is counted by them), `watchdog`, `spec`, `context`, `mailbox`,
`latch`, `states`, `errors`, `notes`, `text`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from supervisor.context import Context
    from supervisor.errors import GaveUp, MisconfiguredError, TransientError, Verdict, classify, describe, leaves
    from supervisor.mailbox import Mailbox
    from supervisor.restart_policy import Backoff, Intensity, PolicyError, check_policy
    from supervisor.spec import ChildSpec, Restart, Strategy
    from supervisor.states import ActorHealth, Event, State
    from supervisor.supervisor import Supervisor, UnknownActorError

__all__ = [
    "ActorHealth",
    "Backoff",
    "ChildSpec",
    "Context",
    "Event",
    "GaveUp",
    "Intensity",
    "Mailbox",
    "MisconfiguredError",
    "PolicyError",
    "Restart",
    "State",
    "Strategy",
    "Supervisor",
    "TransientError",
    "UnknownActorError",
    "Verdict",
    "check_policy",
    "classify",
    "describe",
    "leaves",
]

# Each is imported when it is first used: a command that reads only policies and errors needs no trio, which takes a
# third of its start.
_MODULES = {
    "context": ("Context",),
    "errors": ("GaveUp", "MisconfiguredError", "TransientError", "Verdict", "classify", "describe", "leaves"),
    "mailbox": ("Mailbox",),
    "restart_policy": ("Backoff", "Intensity", "PolicyError", "check_policy"),
    "spec": ("ChildSpec", "Restart", "Strategy"),
    "states": ("ActorHealth", "Event", "State"),
    "supervisor": ("Supervisor", "UnknownActorError"),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    return value
