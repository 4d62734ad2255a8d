"""The buffer actor with a writer that a test scripts, and blocks of rows to put into it."""

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from actors.model.batch import Batch
from actors.model.chunk import Chunk
from actors.model.records import EventRow, InstrumentRow, LagRow
from actors.model.ticks import Block, Reason, Reject
from actors.settings import DEFAULT_LIMITS, SinkLimits, StoreSettings
from actors.sink.buffer import Buffer
from actors.telemetry.ledger import Ledger
from supervisor import Context

SETTINGS = StoreSettings(path=Path("never-opened"), flush_interval_s=1.0, flush_rows_max=1000)
NS = 1_790_000_000_000_000_000


def block(rows: int, exchange: str = "x", first: int = 0) -> Block:
    made = Block(exchange)
    ids = [str(number) for number in range(first, first + rows)]
    made.extend(
        ["A/B"] * rows, [NS] * rows, [NS] * rows, ["1"] * rows, ["2"] * rows, ["buy"] * rows, ids, ["stream"] * rows
    )
    return made


def reject(exchange: str = "x") -> Reject:
    return Reject(NS, exchange, None, Reason.NOT_JSON, "", b"{", 1)


LISTED = InstrumentRow(
    "x",
    "BTC/USD:BTC",
    "XBTUSD",
    "swap",
    "BTC",
    "USD",
    "BTC",
    "contracts",
    "1",
    "0.5",
    None,
    active=True,
    seen_ns=NS,
    price_scale=4,
)
LAG = LagRow(NS, "x", 3, 1.0, 2.0, -0.5, 2.0, 1, "run")


class Desk:
    """A ledger and a buffer; `give` books and puts in what a connection would."""

    def __init__(self, settings: StoreSettings = SETTINGS, limits: SinkLimits = DEFAULT_LIMITS.sink) -> None:
        self.ledger = Ledger("run")
        numbers = itertools.count(101)
        self.buffer = Buffer(settings, self.ledger, lambda: next(numbers), limits)
        self.given = 0
        self.context = Context("buffer")

    async def give(self, rows: int, rejects: int = 0, exchange: str = "x") -> None:
        made = block(rows, exchange, self.given)
        self.given += rows
        self.ledger.account(exchange).read(1, NS, rows, rejects, made)
        await self.buffer.intake.put(Chunk(made, (reject(exchange),) * rejects))

    async def batch(self) -> Batch:
        async with self.buffer.outbox.receive() as batch:
            self.ledger.stored(batch)
            return batch

    def balanced(self) -> bool:
        return all(account.balanced for account in self.ledger.accounts.values())


@asynccontextmanager
async def buffering(desk: Desk) -> AsyncIterator[Desk]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.buffer.run, desk.context)
        yield desk
        nursery.cancel_scope.cancel()


def event(number: int = 0) -> EventRow:
    return EventRow(NS, "x:1", "ok", str(number))
