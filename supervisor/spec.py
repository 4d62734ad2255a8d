"""The specification of a child, as one frozen and checked value."""

import enum
import math
from collections.abc import Awaitable, Callable
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Literal

from supervisor.context import Context
from supervisor.errors import Verdict, classify
from supervisor.mailbox import Mailbox
from supervisor.restart_policy import Backoff, Intensity, check_policy
from supervisor.text import NAME_CHARS_MAX

STUCK_S = 8.0  # with the watchdog's own second this detects a stuck actor within ten


class Restart(enum.Enum):
    """Whether a child that has ended is started again."""

    PERMANENT = "permanent"  # always; to return without a stop request is a bug
    TRANSIENT = "transient"  # only after a failure
    TEMPORARY = "temporary"  # never; it is forgotten


class Strategy(enum.Enum):
    """Which siblings are restarted together with a child that crashed."""

    ONE_FOR_ONE = "one_for_one"  # none
    REST_FOR_ONE = "rest_for_one"  # those started after it
    ONE_FOR_ALL = "one_for_all"  # all


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """A child: its name, what it runs, and how it is restarted, stopped and watched.

    - `run(context)` is one incarnation; no task of it may outlive its return. It is called for each start, so
      what it opens it opens inside.
    - `classify(error)` returns the verdict and the Retry-After in seconds; pure.
    - `on_stop()` closes the child's input for good, so that it drains and returns by itself within `stop_s`,
      after which it is cancelled. It is called once, at the final stop, never for a restart or a pause.
    - Without `on_stop` the child is cancelled at once, unless it reads `context.stopping`: then it has
      `stop_s` to return. The same holds for every child at a restart or a pause.
    - `on_exhausted` is what happens when `intensity` is exceeded: "fail" (failed, probed every
      `probe_interval_s`, siblings untouched) or "escalate" (the supervisor stops all children and raises GaveUp).
    - `mailbox` is the child's input where it has one: shown in health, watched by the stuck check, and
      what is left in it at the final stop keeps the child draining, crashes or not, until `stop_s`.
    - `stuck_s`: with something in the mailbox and no progress for so long, the child is stuck. Progress
      is an item taken off or `context.handled()`; a child that waits to put into a full mailbox, or for
      something outside in `context.waiting()`, is not stuck.
    - `heartbeat_s`: the child promises `context.handled()` at least so often, mailbox or not.
    """

    name: str
    run: Callable[[Context], Awaitable[None]]
    _: KW_ONLY
    kind: str = "worker"
    restart: Restart = Restart.PERMANENT
    backoff: Backoff = field(default_factory=Backoff)
    intensity: Intensity = field(default_factory=Intensity)
    classify: Callable[[BaseException], tuple[Verdict, float | None]] = classify
    stop_s: float = 5.0
    on_stop: Callable[[], None] | None = None
    on_exhausted: Literal["fail", "escalate"] = "fail"
    probe_interval_s: float = 300.0
    mailbox: Mailbox[Any] | None = None
    stuck_s: float = STUCK_S
    heartbeat_s: float | None = None

    def __post_init__(self) -> None:
        if not (0 < len(self.name) <= NAME_CHARS_MAX and self.name.isprintable() and " " not in self.name):
            raise ValueError(f"a child's name is 1 to {NAME_CHARS_MAX} visible characters, not {self.name!r}")
        if not self.stop_s >= 0:
            raise ValueError(f"{self.name}: stop_s must be at least 0, not {self.stop_s:g}")
        if self.on_exhausted not in ("fail", "escalate"):
            raise ValueError(f'{self.name}: on_exhausted is "fail" or "escalate", not {self.on_exhausted!r}')
        if not (self.probe_interval_s > 0 and math.isfinite(self.probe_interval_s)):
            raise ValueError(f"{self.name}: probe_interval_s must be a finite number above 0")
        if not self.stuck_s > 0 or not (self.heartbeat_s is None or self.heartbeat_s > 0):
            raise ValueError(f"{self.name}: stuck_s and heartbeat_s must be above 0")
        check_policy(self.backoff, self.intensity)

    @property
    def is_watched(self) -> bool:
        """Whether there is anything by which a stuck child can be detected."""
        return self.mailbox is not None or self.heartbeat_s is not None
