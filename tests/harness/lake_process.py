"""Processes that send made-up batches to a lake, and are killed; and what the lake holds afterwards.

The processes are forked from a server that has imported everything: to start one takes milliseconds.
"""

import multiprocessing
import os
import random
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple

from deltalake import DeltaTable

from actors.model.batch import FIELDS
from actors.sink.lake.delta import DeltaLake
from actors.sink.lake.tables import TABLES
from actors.store.filesystem import Files
from tests.harness.lake_values import MadeUpSource

POINTS = ("lake.intent", "lake.written", "lake.table", "lake.ticks", "lake.committed")
KILLED = -9
ENDED_S_MAX = 120.0
_ROWS_MAX = 40  # of a commit: about two batches


class Sender(NamedTuple):
    """One recorder's store, and the seed of its batches."""

    recorder: str
    store_id: str
    seed: int

    def source(self, last: int) -> MadeUpSource:
        """The batches up to `last`."""
        return MadeUpSource(self.seed, self.store_id, last, rare=0.1)


def send(uri: str, options: Mapping[str, str], sender: Sender, last: int, crash_at: str) -> None:
    """The body of a process: sends all batches up to `last`."""
    lake = DeltaLake(uri, sender.recorder, options, crash_point=Files(crash_at).crash_point)
    source = sender.source(last)
    while True:
        try:
            marks = lake.marks(source.store_id)
            intended = marks.intended if marks.intended > marks.committed else None
            sent = source.batches(marks.committed, _ROWS_MAX, intended)
            if sent is None:
                return
            lake.commit(sent)
        except lake.transient as error:
            print(f"{sender.recorder} {os.getpid()}: {lake.describe(error)}", flush=True)
            time.sleep(random.random() * 0.05)


def started(
    uri: str, sender: Sender, last: int, crash_at: str = "", options: Mapping[str, str] | None = None
) -> BaseProcess:
    """A running process that sends."""
    context: Any = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    process: BaseProcess = context.Process(target=send, args=(uri, dict(options or {}), sender, last, crash_at))
    process.start()
    return process


def ended(processes: Iterable[BaseProcess]) -> list[int | None]:
    """The exit codes of the processes, once all have ended."""
    codes: list[int | None] = []
    for process in processes:
        process.join(ENDED_S_MAX)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise AssertionError(f"a process did not end within {ENDED_S_MAX} s")
        codes.append(process.exitcode)
        process.close()
    return codes


def kill_many(uri: str, sender: Sender, kills: int, seed: int, options: Mapping[str, str] | None = None) -> None:
    """Starts a process after the other and kills it: at named points in turn, or (one of three) at any moment."""
    choice = random.Random(f"{seed}/kills")
    for number in range(kills):
        if number % 3 == 2:
            process = started(uri, sender, 10**9, "", options)
            time.sleep(choice.uniform(0.05, 0.6))
            process.kill()
        else:
            point = POINTS[(number - number // 3) % len(POINTS)]
            process = started(uri, sender, 10**9, f"{point}:{choice.randint(1, 3)}", options)
        assert ended([process]) == [KILLED]


def finished(uri: str, sender: Sender, options: Mapping[str, str] | None = None) -> int:
    """Lets one more process send the commit that was begun, and a few batches more; returns the last batch."""
    last = DeltaLake(uri, sender.recorder, options or {}).marks(sender.store_id).intended + 4
    assert ended([started(uri, sender, last, "", options)]) == [0]
    return last


def differences(
    uri: str, sent: Mapping[Sender, int], options: Mapping[str, str] | None = None
) -> dict[str, tuple[Any, Any]]:
    """What is missing in each table, and what is too much; `sent` are the last batches.

    By recorder, store and batch, and for ticks by trade too. Rows of other tables above the mark never happened.
    """
    wrong = {}
    for schema in FIELDS:
        key = ("recorder", "store", "batch", *(("trade_id",) if schema.name == "ticks" else ()))
        expected: Counter[tuple[Any, ...]] = Counter()
        for sender, last in sent.items():
            for number in range(1, last + 1):
                made = sender.source(last).batch(number)
                prefix = (sender.recorder, sender.store_id, number)
                if schema.name == "ticks":
                    expected.update((*prefix, trade) for block in made.blocks for trade in block.trade_id)
                elif rows := made.rows_of(schema):
                    expected[prefix] += rows
        found = _rows(f"{uri}/{schema.name}", key, options)
        marks = {(sender.recorder, sender.store_id): last for sender, last in sent.items()}
        counted = Counter({row: n for row, n in found.items() if row[2] <= marks.get((row[0], row[1]), 0)})
        if schema.name == "ticks":
            counted = found
        if counted != expected:
            wrong[schema.name] = (expected - counted, counted - expected)
    return wrong


def _rows(uri: str, columns: tuple[str, ...], options: Mapping[str, str] | None) -> Counter[tuple[Any, ...]]:
    if not DeltaTable.is_deltatable(uri, dict(options or {})):
        return Counter()
    found = DeltaTable(uri, storage_options=dict(options or {})).scan(list(columns)).read_all()
    return Counter(zip(*(found.column(name).to_pylist() for name in columns), strict=True))


assert TABLES.keys() - {"shipments"} == {schema.name for schema in FIELDS}
