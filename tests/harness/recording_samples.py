"""Recordings for tests: batches with every table filled, numbered trades, and stores to put them into."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from actors.model.batch import Batch
from actors.model.records import AuditRow, EventRow
from actors.model.ticks import Block, Reason, Reject
from actors.settings import StoreSettings
from actors.store.filesystem import Files
from actors.store.store import Store
from tests.harness.store_harness import memory_folder
from tests.harness.store_reader import looking

SECOND_NS = 1_000_000_000
DAY_NS = 86_400 * SECOND_NS
START_NS = 1_780_272_000 * SECOND_NS  # 2026-06-01T00:00:00Z
SYMBOLS = ("BTC/USDT", "BTC/USDT:USDT", "'); drop table ticks; --")


def batch(number: int, *, at_ns: int = START_NS, ticks: int = 6, exchange: str = "binance") -> Batch:
    """`ticks` trades a second apart, newest first as some exchanges send them, and a row for every other table."""
    block = Block(exchange)
    for index in reversed(range(ticks)):
        now = at_ns + index * SECOND_NS
        block.extend(
            [SYMBOLS[index % len(SYMBOLS)]],
            [None if index % 5 == 4 else now],
            [now + SECOND_NS // 20],
            [f"{60000 + index}.123456789012345678"],
            ["0.00000001"],
            ["buy"],
            [f"{number}-{index}"],
            ["stream"],
        )
    return Batch(
        number,
        (block,),
        (Reject(at_ns, exchange, None, Reason.NOT_JSON, "no JSON", b"\xff{", 2),),
        (EventRow(at_ns, "writer", "started", detail_json='{"n": 1}'),),
        (AuditRow(at_ns, exchange, ticks, ticks, ticks * number, 0, 0, 0, "run"),),
    )


def settings(folder: Path, **more: Any) -> StoreSettings:
    """A store in a folder of the test's own."""
    return StoreSettings(path=folder / "ticks.duckdb", **more)


@contextmanager
def store(told: StoreSettings, files: Files | None = None, **more: Any) -> Iterator[Store]:
    """A started store, left as a crash would leave it unless the test finishes it."""
    made = Store(told, files, **more)
    made.start()
    try:
        yield made
    finally:
        made.close()


def write(into: Store, count: int = 1, **how: Any) -> list[int]:
    """Makes so many batches durable; returns their numbers."""
    numbers = [into.next_number() for _ in range(count)]
    for number in numbers:
        into.write(batch(number, **how))
    return numbers


def record(told: StoreSettings, *batches: int) -> None:
    """A recording of batches of so many ticks, a day apart, that was stopped cleanly."""
    assert told == settings(told.path.parent), "a copy has the settings of its original"
    told.path.write_bytes(_recorded(batches))


@cache
def _recorded(batches: tuple[int, ...]) -> bytes:
    """The whole file: a clean stop leaves no tail."""
    with memory_folder() as folder:
        configured = settings(folder)
        with store(configured) as made:
            for index, ticks in enumerate(batches):
                made.write(batch(made.next_number(), at_ns=START_NS + index * DAY_NS, ticks=ticks))
            made.finish(lambda: False)
        assert tree(folder) == [configured.path.name]
        return configured.path.read_bytes()


def ask(path: Path, sql: str) -> list[tuple[Any, ...]]:
    """One question to a DuckDB file, as any other process would put it."""
    with looking(path) as con:
        return con.execute(sql).fetchall()


def ids(path: Path, source: str = "ticks") -> list[str]:
    """Every trade id, sorted: what is lost or doubled shows."""
    return [row[0] for row in ask(path, f"SELECT trade_id FROM {source} ORDER BY 1")]


def tree(folder: Path) -> list[str]:
    """Every file below a folder."""
    return sorted(os.path.relpath(path, folder) for path in folder.rglob("*") if path.is_file())
