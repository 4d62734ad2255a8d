"""Removes rows that the store cannot hold from a batch, so that one bad value costs only its row.

Everything from the wire is validated on input; this handles what that validation does not foresee.
"""

import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

import duckdb
from msgspec.structs import replace

from actors.model.batch import FIELDS, Batch
from actors.model.records import AuditRow
from actors.model.schema import Schema
from actors.model.ticks import (
    COLUMNS,
    REJECT_DETAIL_CHARS_MAX,
    REJECT_PAYLOAD_BYTES_MAX,
    REJECTS,
    TICKS,
    Block,
    Reason,
    Reject,
)
from actors.sink.sink import Filtered
from actors.store.connecting import MEMORY, command_limits, connect
from supervisor import describe
from supervisor.text import printable

R = TypeVar("R")

SHOWN_CHARS_MAX = 1_000  # how much of a removed row the event keeps


TRY_MEMORY = "128MB"  # tested at a time: one row, or half of a block


def filter_batch(batch: Batch) -> Filtered:
    """Tests the rows by bisection in an in-memory database; blocks for about 0.1 s."""
    with connect(MEMORY, replace(command_limits(), memory=TRY_MEMORY, threads=1)) as con:
        blocks, refused, ticks, rejects = [], [], Counter[str](), []
        for block in batch.blocks:
            valid, bad = _halved(range(len(block)), partial(_try_ticks, con, block))
            blocks.append(_rows(block, valid) if bad else block)
            refused += [_rows(block, [row for row, _ in bad])] if bad else []
            ticks[block.exchange] += len(bad)
            rejects += [_refused_tick(block, row, error) for row, error in bad]
        small: dict[str, Any] = {}
        others = []
        for schema, field in FIELDS.items():
            if schema in (TICKS, REJECTS):
                continue
            small[field], left_out = _halved(getattr(batch, field), partial(_try_rows, con, schema))
            others += [ascii(row)[:SHOWN_CHARS_MAX] for row, _ in left_out]
        old, invalid = _halved(batch.rejects, partial(_try_rows, con, REJECTS))
        rejects += [
            _reject(printable(reject.exchange), reject.reason, ascii(reject), error) for reject, error in invalid
        ]
    small["audit"] = [_without(row, ticks[row.exchange]) for row in small["audit"]]
    replaced: dict[str, Any] = {field: tuple(rows) for field, rows in small.items()}
    replaced.update(blocks=tuple(filter(len, blocks)), rejects=(*old, *rejects))
    clean = replace(batch, **replaced)
    return Filtered(clean, +ticks, tuple(others), tuple(refused))


def _without(row: AuditRow, ticks: int) -> AuditRow:
    return replace(row, stored=row.stored - ticks, rejected=row.rejected + ticks)


def _halved(
    rows: Sequence[R], attempt: Callable[[Sequence[R]], Exception | None]
) -> tuple[list[R], list[tuple[R, Exception]]]:
    """The rows that can be stored, in order, and those that cannot, each with the reason."""
    error = attempt(rows) if rows else None
    if error is None:
        return list(rows), []
    if len(rows) == 1:
        return [], [(rows[0], error)]
    middle = len(rows) // 2
    (first, bad), (second, more) = _halved(rows[:middle], attempt), _halved(rows[middle:], attempt)
    return first + second, bad + more


def _try_ticks(con: duckdb.DuckDBPyConnection, block: Block, rows: Sequence[int]) -> Exception | None:
    return _try(con, TICKS, Batch(0, blocks=(_rows(block, rows),)))


def _try_rows(con: duckdb.DuckDBPyConnection, schema: Schema, rows: Sequence[object]) -> Exception | None:
    return _try(con, schema, replace(Batch(0), **{FIELDS[schema]: tuple(rows)}))


def _try(con: duckdb.DuckDBPyConnection, schema: Schema, batch: Batch) -> Exception | None:
    """Why these rows cannot be stored; None if they can."""
    try:
        con.register("batch", batch.arrow(schema))
        con.execute(f"CREATE OR REPLACE TEMP TABLE trial AS {schema.select('batch')}")
    except Exception as error:  # noqa: BLE001 - whatever a value can make Arrow or DuckDB raise
        return error
    finally:
        with suppress(duckdb.Error):
            con.unregister("batch")
    return None


def _rows(block: Block, rows: Sequence[int]) -> Block:
    part = Block(block.exchange)
    part.extend(*([getattr(block, name)[row] for row in rows] for name in COLUMNS))
    return part


def _refused_tick(block: Block, row: int, error: Exception) -> Reject:
    values = {name: getattr(block, name)[row] for name in COLUMNS}
    return _reject(block.exchange, Reason.UNSTORABLE, json.dumps(values, default=repr), error)


def _reject(exchange: str, reason: Reason, shown: str, error: Exception) -> Reject:
    payload = shown.encode("ascii", "backslashreplace")
    detail = printable(describe(error), REJECT_DETAIL_CHARS_MAX)
    return Reject(time.time_ns(), exchange, None, reason, detail, payload[:REJECT_PAYLOAD_BYTES_MAX], len(payload))
