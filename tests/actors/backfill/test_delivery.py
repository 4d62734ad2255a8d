"""Rows from the history are stored once, and each invalid row is one reject."""

import uuid
from collections.abc import Callable
from typing import Any

import duckdb
import pytest
import trio

from actors.continuity.continuity import Continuity
from actors.model.errors import DatabaseLocked
from actors.model.records import GapStatus
from actors.model.ticks import IdPromise, Reason, Reject
from tests.harness.backfill_parts import BackfillParts
from tests.harness.continuity_rows import BTC, T0_NS, admit, block_of, tick


async def test_ids_that_memory_has_forgotten_are_looked_up_before_they_are_stored_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    swap = "BTC/USDT:USDT"
    stored = [str(uuid.UUID(int=number)) for number in range(3)]
    held = [True]

    async def consult(question: Callable[[duckdb.DuckDBPyConnection], Any]) -> Any:
        if held.pop() if held else False:
            raise DatabaseLocked
        with duckdb.connect() as con:
            con.execute(
                "CREATE TABLE ticks (exchange TEXT, symbol TEXT, trade_id TEXT, fills BIGINT,"
                " timestamp TIMESTAMPTZ, received_at TIMESTAMPTZ)"
            )
            con.execute(
                "INSERT INTO ticks SELECT 'x', ?, unnest(?), 1, make_timestamptz(?), now()",
                [swap, stored, T0_NS // 1000],
            )
            return question(con)

    parts = BackfillParts(Continuity("x", {swap: IdPromise.OPAQUE}), swap, "bybit", consult)
    account = parts.account
    fresh = [str(uuid.UUID(int=number)) for number in range(3, 6)]

    async def store() -> int:
        page, counts = block_of([(swap, one, T0_NS) for one in stored + fresh], "backfill"), list[int]()
        await parts.delivery.store_missing(page, lambda block: counts.append(len(block)))
        return sum(counts)

    with pytest.raises(DatabaseLocked):
        await store()
    assert (account.received, parts.intake.statistics().depth) == (0, 0)
    assert await store() == 3
    assert await store() == 0
    assert await parts.stored() == fresh and account.duplicates == 3 + 6


async def test_an_invalid_row_is_one_reject_however_often_the_history_returns_it() -> None:
    parts = BackfillParts(Continuity("x", {BTC: IdPromise.CONTIGUOUS}), BTC)
    for payload in (b"[1]", b"[2]", b"[1]", b"[1]"):
        parts.delivery.reject(Reject(T0_NS, "x", BTC, Reason.BAD_PRICE, "no price", payload, len(payload)))
    await parts.delivery.settle()
    sent = [chunk for chunk in await parts.sent() if chunk.rejects]
    assert [reject.payload for chunk in sent for reject in chunk.rejects] == [b"[1]", b"[2]"]
    assert parts.account.rejected == 2


async def test_a_gap_is_reported_filled_with_the_trades_that_fill_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    continuity = Continuity("x", {BTC: IdPromise.CONTIGUOUS})
    admit(continuity, [1])
    admit(continuity, [3, 4, 5], at=1.0)
    tick(continuity, 9.0)
    parts = BackfillParts(continuity, BTC)
    with trio.move_on_after(0):
        await parts.delivery.store_missing(block_of([(BTC, "2", T0_NS)], "backfill"), len)
    await parts.delivery.settle()
    sent = await parts.sent()
    assert [trade_id for chunk in sent for trade_id in chunk.block.trade_id] == ["2"]
    assert [gap.status for chunk in sent for gap in chunk.gaps] == [GapStatus.OPEN, GapStatus.FILLED]
