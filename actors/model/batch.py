"""A batch: the rows of one flush, with the number under which they are stored exactly once."""

from collections.abc import Mapping, Sequence
from itertools import chain, groupby
from operator import attrgetter
from typing import Any

from arro3.core import Array, ChunkedArray, Table
from msgspec import Struct

from actors.model.chunk import reject_rows
from actors.model.columns import constant
from actors.model.records import (
    AUDIT,
    EVENTS,
    FEEDS,
    GAP_STATES,
    INSTRUMENTS,
    LAGS,
    AuditRow,
    EventRow,
    FeedRow,
    GapRow,
    InstrumentRow,
    LagRow,
)
from actors.model.schema import Schema
from actors.model.ticks import REJECTS, TICKS, Block, Reject

# The field of a batch that holds the rows of a table.
FIELDS: Mapping[Schema, str] = {
    TICKS: "blocks",
    REJECTS: "rejects",
    EVENTS: "events",
    AUDIT: "audit",
    GAP_STATES: "gaps",
    FEEDS: "feeds",
    LAGS: "lags",
    INSTRUMENTS: "instruments",
}


class Batch(Struct, frozen=True):
    """The buffer hands it over for good. `number` only rises, across restarts too."""

    number: int
    blocks: tuple[Block, ...] = ()
    rejects: tuple[Reject, ...] = ()
    events: tuple[EventRow, ...] = ()
    audit: tuple[AuditRow, ...] = ()
    gaps: tuple[GapRow, ...] = ()
    feeds: tuple[FeedRow, ...] = ()
    lags: tuple[LagRow, ...] = ()
    instruments: tuple[InstrumentRow, ...] = ()

    @property
    def ticks(self) -> int:
        """The number of ticks."""
        return sum(map(len, self.blocks))

    @property
    def rows(self) -> int:
        """Its weight in rows, including the evidence of rejects; at least 1."""
        small = (self.events, self.audit, self.gaps, self.feeds, self.lags, self.instruments)
        return max(1, self.ticks + reject_rows(self.rejects) + sum(map(len, small)))

    def rows_of(self, schema: Schema) -> int:
        """The number of rows of a table."""
        return self.ticks if schema is TICKS else len(getattr(self, FIELDS[schema]))

    def arrow(self, schema: Schema) -> Table:
        """The rows of a table as an Arrow table (0 rows are fine)."""
        if schema is TICKS:
            columns = _join_blocks(self.blocks)
        else:
            rows: Sequence[Any] = getattr(self, FIELDS[schema])
            columns = [
                Array([getattr(row, c.attribute) for row in rows], type=c.kind.arrow) for c in schema.columns
            ]
        return Table.from_pydict({c.name: values for c, values in zip(schema.columns, columns, strict=True)})


def _join_blocks(blocks: Sequence[Block]) -> list[Any]:
    """Joins all blocks, column by column, in order; lists between packed blocks are joined first."""
    pieces: list[list[Any]] = []
    for packed, group in groupby(blocks, lambda block: block.arrays is not None):
        some = list(group)
        pieces += map(_packed, some) if packed else [_plain(some)]
    return [ChunkedArray(column) for column in zip(*(pieces or [_plain([])]), strict=True)]


def _packed(block: Block) -> list[Any]:
    assert block.arrays is not None
    return [constant(block.exchange, len(block)), *block.arrays.values()]


def _plain(blocks: Sequence[Block]) -> list[Any]:
    """One array per column: creating one costs as much as 200 values."""
    of_blocks, *of_rows = TICKS.columns
    exchange = chain.from_iterable([block.exchange] * len(block) for block in blocks)
    lists = [chain.from_iterable(map(attrgetter(column.attribute), blocks)) for column in of_rows]
    return [
        Array(list(values), type=column.kind.arrow)
        for column, values in zip((of_blocks, *of_rows), (exchange, *lists), strict=True)
    ]
