"""What strategies import: ticks as they arrive, and stored ticks in the order in which they were received."""

from actors.model.errors import DatabaseLocked
from ops.client.replay import Replay, replay
from ops.client.tick import Tick
from ops.export.query import QueryError

__all__ = ["DatabaseLocked", "QueryError", "Replay", "Tick", "replay"]
