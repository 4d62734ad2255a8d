"""The protocol between buffer, writer and merger and whatever makes batches durable; the DuckDB store is one.

A sink stores a batch at once and may take its time to make it part of what others read: `write` is the first step,
`merge`, `compact` and `retain` are its maintenance. A sink without such a second step has nothing to do in these.
"""

import json
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from actors.model.batch import Batch
from actors.model.records import EventRow, GapRow


@dataclass(frozen=True, slots=True)
class Notice:
    """Something an operator has to know: an event name and its reason; `gaps` is what it means for the record.

    With `alarm` it stays visible in health for a while: data is lost, or somebody has to look.
    """

    event: str
    reason: str
    detail: dict[str, object] = field(default_factory=dict)
    gaps: tuple[GapRow, ...] = ()
    alarm: bool = False

    def row(self) -> EventRow:
        """As a row of `events`."""
        return EventRow(time.time_ns(), "store", self.event, self.reason, detail_json=json.dumps(self.detail))


@dataclass(frozen=True, slots=True)
class Merged:
    """What a merge did. `backlog`: there is more to merge. `locked_s`: how long nobody else could read."""

    rows: int = 0
    segments: int = 0
    locked_s: float = 0.0
    backlog: bool = False


@dataclass(frozen=True, slots=True)
class Retained:
    """What a step of retention did: `rows` were deleted, which took a lock of `locked_s`; `more`: go on soon."""

    rows: int = 0
    locked_s: float = 0.0
    more: bool = False
    notice: Notice | None = None


@dataclass(frozen=True, slots=True)
class Filtered:
    """A batch of the same number without what cannot be stored.

    `ticks` counts the ticks of each exchange that are rejects in it now, `others` are the other rows left out.
    """

    batch: Batch
    ticks: Counter[str] = field(default_factory=Counter)
    others: tuple[str, ...] = ()

    @property
    def reason(self) -> str:
        """What was done, for the event; "" where everything can be stored."""
        parts = [f"{count} ticks of {name}" for name, count in self.ticks.items()]
        parts += [f"{len(self.others)} other rows"] if self.others else []
        return f"values that the store cannot hold were left out, see rejects: {', '.join(parts)}" if parts else ""


class Sink(Protocol):
    """All calls block and run in worker threads: `write` and `filter` in one, all others in another.

    `transient` are the errors of a sick disk or an unreachable server, which pass: the call is repeated with the
    same batch. Any other error is about the data, or a bug. Notices may be added by every call but `write`.
    """

    @property
    def transient(self) -> tuple[type[Exception], ...]:
        """The errors after which the same call may succeed later."""

    @property
    def notices(self) -> deque[Notice]:
        """What is to be reported; the merger takes it out."""

    @property
    def unreached(self) -> str:
        """Why other programs do not see the newest rows; "" if they do."""

    def start(self) -> None:
        """Recovers what a crash left."""

    def next_number(self) -> int:
        """A number for the next batch, above all before it, over restarts too."""

    def write(self, batch: Batch) -> None:
        """Makes the batch durable; after an error it may be called with the same batch again."""

    def filter(self, batch: Batch) -> Filtered:
        """The batch without rows that this sink cannot store."""

    def merge(self) -> Merged:
        """Makes stored batches part of what others read. Raises DatabaseLocked."""

    def compact(self) -> int:
        """Keeps what is not merged quick to read, while merges have to wait."""

    def retain(self) -> Retained:
        """Deletes a piece of what is too old."""

    def finish(self, deadline: Callable[[], bool]) -> Merged:
        """Merges all, unless `deadline()` becomes true. Raises DatabaseLocked."""

    def describe(self, error: Exception, *, merging: bool = False) -> str:
        """What a transient error of a write, or of maintenance, means for people."""

    def close(self) -> None:
        """Frees memory."""
