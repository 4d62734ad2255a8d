"""A store in memory, for the chaos test: as slow, as sick and as held as a seed wants it."""

import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from pathlib import Path
from random import Random

import duckdb

from actors.model.batch import Batch
from actors.model.errors import DatabaseLocked
from actors.model.ticks import Block
from actors.settings import StoreSettings
from actors.sink.sink import Filtered, Merged, Notice, Retained
from actors.store.database import FileTrouble
from actors.store.store import Store
from tests.harness.chaos_venue import POISON


class Boom(Exception):
    """A bug of ours."""


def poisoned(blocks: Iterable[Block]) -> bool:
    """Whether there is a tick that crashes who handles it."""
    return any(POISON in block.volume for block in blocks)


class NoClaim(nullcontext[None]):
    """Nobody else is there."""

    def __init__(self, *_: object) -> None:
        super().__init__()

    def file(self, path: Path) -> None:
        """Nothing to lock."""


class FakeStore:
    """What actors.store.store.Store promises, without a disk."""

    transient = (OSError, FileTrouble, duckdb.IOException, duckdb.OutOfMemoryException)

    def __init__(self, settings: StoreSettings, random: Random) -> None:
        self.path, self.tail = settings.path, Path(f"{settings.path}.tail")
        self.random = random
        self.calm = False
        self.sick = 0  # so many writes more will fail
        self.chokes_on_poison = False
        self.batches: list[Batch] = []
        self.rows: dict[str, int] = {}
        self.merged = 0  # batches in the file
        self.finished = False
        self.wrong: list[str] = []
        self.notices: deque[Notice] = deque()
        self.unreached = ""
        self.segment_count = self.segment_bytes = 0
        self.touched_ns = 1  # there is a file, which a start reads
        self._next = 1

    def make_folder(self) -> None:
        """There is one."""

    def start(self) -> None:
        """Nothing to recover."""
        self._next = time.time_ns() // 1000

    def next_number(self) -> int:
        """As the real one."""
        self._next += 1
        return self._next - 1

    def write(self, batch: Batch) -> None:
        """May fail before it is done, or after; with the same batch again it changes nothing."""
        late = self._trouble()
        if self.chokes_on_poison and poisoned(batch.blocks):
            raise Boom("poison")
        self._keep(batch)
        if late is not None:
            raise late

    def _trouble(self) -> Exception | None:
        """Raises what fails before anything is written; returns what fails afterwards."""
        if self.calm:
            return None
        if self.sick == 0 and self.random.random() < 0.05:
            self.sick = self.random.randint(1, 6)
        if self.sick == 0:
            return None
        self.sick -= 1
        words = "the disk is full"
        error = self.random.choice(
            [OSError(28, words), FileTrouble(words), duckdb.IOException(words), duckdb.OutOfMemoryException(words)]
        )
        if self.random.random() < 0.3:
            return error
        raise error

    def _keep(self, batch: Batch) -> None:
        if any(kept is batch for kept in self.batches):
            return
        if self.batches and batch.number <= self.batches[-1].number:
            self.wrong.append(f"batch {batch.number} came after {self.batches[-1].number}")
        self.batches.append(batch)
        for block in batch.blocks:
            self.rows[block.exchange] = self.rows.get(block.exchange, 0) + len(block)

    def merge(self) -> Merged:
        """Takes part of the tail, or finds the file held or sick."""
        if not self.calm:
            dice = self.random.random()
            if dice < 0.1:
                raise DatabaseLocked(self.path.name, 4711)
            if dice < 0.2:
                raise FileTrouble("sick")
            if dice < 0.25:
                self.notices.append(Notice("store_rows_missing", "some", alarm=True))
        part = self.random.randint(0, len(self.batches) - self.merged)
        self.merged += part
        return Merged(rows=part, segments=part, locked_s=0.01, backlog=self.merged < len(self.batches))

    def compact(self) -> int:
        """Nothing to join here."""
        return 0

    def finish(self, deadline: Callable[[], bool]) -> Merged:
        """Takes all that is there."""
        if not self.calm and self.random.random() < 0.1:
            raise FileTrouble("sick")
        self.merged = len(self.batches)
        self.finished = True
        return Merged(segments=self.merged)

    def consult(self, question: object) -> object:
        """Nothing is known of an earlier run: of exchanges in a list, in a mapping, or of one."""
        exchanges: list[str] | dict[str, object] = next(iter(getattr(question, "args", ())), [])
        return {name: [] for name in exchanges} if isinstance(exchanges, dict) else [[] for _ in exchanges]

    def retain(self) -> Retained:
        """Nothing is too old."""
        return Retained()

    def filter(self, batch: Batch) -> Filtered:
        """Nothing is unstorable."""
        return Store.filter(batch)

    def describe(self, error: Exception, *, merging: bool = False) -> str:
        """The error alone."""
        return str(error)

    def close(self) -> None:
        """Nothing to free."""
