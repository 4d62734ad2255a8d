"""The protocol of a sink, which makes batches durable for buffer, writer and merger; the DuckDB store is one.

A sink stores a batch at once, and may make it visible to readers later: `write` is the first step, `merge`,
`compact` and `retain` are the maintenance. A sink without such a second step does nothing in these.
"""

import json
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Protocol

from msgspec import Struct, field

from actors.model.batch import Batch
from actors.model.records import EventRow, GapRow
from actors.model.ticks import Block


class Notice(Struct, frozen=True):
    """A message to the operator: an event name and its reason; `gaps` are its consequences for the recording.

    With `alarm` it stays visible in health for a while: data was lost, or an operator has to act.
    """

    event: str
    reason: str
    detail: dict[str, object] = field(default_factory=dict)
    gaps: tuple[GapRow, ...] = ()
    alarm: bool = False

    def row(self) -> EventRow:
        """The notice as a row of `events`."""
        return EventRow(time.time_ns(), "store", self.event, self.reason, detail_json=json.dumps(self.detail))


class Merged(Struct, frozen=True):
    """The result of a merge. `backlog`: there is more to merge. `locked_s`: how long nobody else could read.

    `created`: the database was missing and has been made, so that rows which describe others are missing in it.
    """

    rows: int = 0
    segments: int = 0
    locked_s: float = 0.0
    backlog: bool = False
    created: bool = False


class Retained(Struct, frozen=True):
    """The result of a retention step: `rows` were deleted, under a lock of `locked_s`; `more`: the next step is due
    soon.
    """

    rows: int = 0
    locked_s: float = 0.0
    more: bool = False
    notice: Notice | None = None


class Filtered(Struct, frozen=True):
    """A batch of the same number without the rows that cannot be stored.

    `ticks` counts each exchange's ticks that are now rejects, and `refused` has them; `others` are the other rows
    removed.
    """

    batch: Batch
    ticks: Counter[str] = field(default_factory=Counter)
    others: tuple[str, ...] = ()
    refused: tuple[Block, ...] = ()

    @property
    def reason(self) -> str:
        """The text for the event; "" if everything can be stored."""
        parts = [f"{count} ticks of {name}" for name, count in self.ticks.items()]
        parts += [f"{len(self.others)} other rows"] if self.others else []
        return (
            f"rows with values that the store cannot hold were removed, see rejects: {', '.join(parts)}"
            if parts
            else ""
        )


class Sink(Protocol):
    """Makes batches durable. All calls block and run in worker threads: `write` and `filter` in one, all others in
    another.

    `transient` are the errors of a failing disk or an unreachable server: the call is repeated with the same batch.
    Any other error is about the data, or a bug. Every call but `write` may add notices.
    """

    @property
    def transient(self) -> tuple[type[Exception], ...]:
        """The errors after which the same call may succeed later."""

    @property
    def notices(self) -> deque[Notice]:
        """The notices to be reported; the merger removes them."""

    @property
    def unreached(self) -> str:
        """Why other programs do not see the newest rows; "" if they do."""

    def start(self) -> None:
        """Recovers from a crash."""

    def next_number(self) -> int:
        """A number for the next batch, above all before it, across restarts."""

    def write(self, batch: Batch) -> None:
        """Makes the batch durable; after an error it may be called with the same batch again."""

    def filter(self, batch: Batch) -> Filtered:
        """The batch without rows that this sink cannot store."""

    def merge(self) -> Merged:
        """Makes stored batches visible to readers. Raises DatabaseLocked."""

    def compact(self) -> int:
        """Keeps unmerged batches fast to read while merges have to wait."""

    def retain(self) -> Retained:
        """Deletes a piece of the days that are too old."""

    def finish(self, deadline: Callable[[], bool]) -> Merged:
        """Merges all, unless `deadline()` becomes true. Raises DatabaseLocked."""

    def describe(self, error: Exception, *, merging: bool = False) -> str:
        """The message of a transient error of a write, or of maintenance."""

    def close(self) -> None:
        """Frees memory."""
