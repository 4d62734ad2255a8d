"""One life of a child, from its start to its end, and what may be wished of a child."""

import enum

import trio

from supervisor.context import Context, Listener
from supervisor.errors import Stuck
from supervisor.spec import ChildSpec
from supervisor.watchdog import Watchdog


class DesiredState(enum.Enum):
    """What is wanted of a child at this moment."""

    RUN = "run"
    CYCLE = "cycle"  # end, to be started again soon
    HOLD = "hold"  # end, because the supervisor ends; it may start again with it
    PAUSE = "pause"
    END = "end"  # for good: its input is closed and drained


class Incarnation:
    """One start of a child until its end."""

    def __init__(self, spec: ChildSpec, listener: Listener) -> None:
        self.scope = trio.CancelScope()
        self.context = Context(spec.name, listener)
        self.watch = Watchdog(spec)
        self.entered = trio.Event()
        self.over = trio.Event()
        self.asked: DesiredState | None = None
        self.stuck: Stuck | None = None
        self.task: trio.lowlevel.Task | None = None
