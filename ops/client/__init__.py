"""What strategies import: ticks as they arrive, and stored ticks in the order in which they were received."""

from actors.model.errors import DatabaseLocked
from ops.client.live import Live, live
from ops.client.position import Position, PositionLost
from ops.client.replay import Replay, replay
from ops.client.tick import Tick
from ops.control.client import NoService, ProblemReply
from ops.export.query import QueryError

__all__ = [
    "DatabaseLocked",
    "Live",
    "NoService",
    "Position",
    "PositionLost",
    "ProblemReply",
    "QueryError",
    "Replay",
    "Tick",
    "live",
    "replay",
]
