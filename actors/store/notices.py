"""What the store tells those who use it: how a merge went, and what an operator must hear of."""

import json
import time
from dataclasses import dataclass, field

from actors.batch import EventRow


@dataclass(frozen=True, slots=True)
class Notice:
    """Something an operator must hear of: an event name, and words."""

    event: str
    reason: str
    detail: dict[str, object] = field(default_factory=dict)

    def row(self) -> EventRow:
        """As a row of `events`."""
        return EventRow(time.time_ns(), "store", self.event, self.reason, detail_json=json.dumps(self.detail))


@dataclass(frozen=True, slots=True)
class Merged:
    """How a merge went. `held` with `held_by_pid`: somebody has the file, nothing was done.

    `backlog`: there is more to merge. `locked_s`: how long nobody else could open the file.
    """

    held: bool = False
    held_by_pid: int | None = None
    rows: int = 0
    segments: int = 0
    locked_s: float = 0.0
    backlog: bool = False
