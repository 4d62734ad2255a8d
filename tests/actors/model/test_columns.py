"""Blocks that hold their columns as arrays: the same rows, in the same order, in every form."""

from typing import Any

import duckdb
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.continuity.continuity import Continuity
from actors.feed.accumulator import Accumulator
from actors.feed.decoder import Decoder
from actors.model.batch import Batch
from actors.model.chunk import Chunk
from actors.model.columns import PACK_ROWS_MIN
from actors.model.ticks import COLUMNS, TICKS, Block, IdPromise
from actors.sink.buffer import refusals
from actors.telemetry.ledger import Account
from supervisor import Mailbox
from tests.harness.exchange_values import dialect_of

NS = 1_700_000_000_000_000_000
ROWS = st.integers(PACK_ROWS_MIN - 2, PACK_ROWS_MIN + 2) | st.sampled_from((1, 4_096, 4_097, 5_000))


def block(rows: int, first: int = 0, *, steady: bool = True, exchange: str = "x") -> Block:
    """Rows that are told apart by their ids; not `steady`: every column varies and has missing ranges where it
    may.
    """
    made = Block(exchange)
    numbers = range(first, first + rows)
    made.extend(
        ["A/B" if steady else f"{'AB'[n % 2]}/C" for n in numbers],
        [NS + n if steady or n % 3 else None for n in numbers],
        [NS + n for n in numbers],
        [f"{n + 1}.5" for n in numbers],
        [f"0.{n + 1}" for n in numbers],
        ["buy" if steady else ("buy", "sell", None)[n % 3] for n in numbers],
        [str(n) if steady or n % 5 else None for n in numbers],
        ["stream" if steady or n % 2 else "snapshot" for n in numbers],
        None if steady else [1 + n % 2 for n in numbers],
    )
    return made


def columns(of: Block) -> dict[str, list[Any]]:
    return {name: list(getattr(of, name)) for name in COLUMNS}


@given(ROWS, st.booleans())
def test_a_packed_block_returns_its_rows_unchanged(rows: int, steady: bool) -> None:
    packed, plain = block(rows, steady=steady), block(rows, steady=steady)
    packed.pack()
    assert (packed.arrays is not None) == (rows >= PACK_ROWS_MIN), "what is short stays as it is"
    assert len(packed) == rows and packed.first_received_ns == NS
    assert (packed.arrays is not None) == (rows >= PACK_ROWS_MIN), "to be counted it is not unpacked"
    assert columns(packed) == columns(plain)
    assert packed.arrays is None and len(packed) == rows and packed.first_received_ns == NS


def test_rows_can_be_added_to_and_taken_out_of_a_packed_block() -> None:
    packed, plain = block(1_000), block(1_000)
    packed.pack()
    more = block(3, 1_000)
    for made in (packed, plain):
        made.extend(*more.lists())
        made.remove(10, [10, 500, 700, 1_001, 1_002])
    assert len(packed) == 998 and columns(packed) == columns(plain)


@pytest.mark.parametrize(("name", "value"), [("price", "\ud800"), ("exchange_ns", 1 << 63), ("side", 7)])
def test_what_an_array_cannot_hold_is_left_for_the_writer_to_complain_of(name: str, value: Any) -> None:
    made = block(PACK_ROWS_MIN)
    getattr(made, name)[-1] = value
    made.pack()
    assert made.arrays is None and getattr(made, name)[-1] == value
    with pytest.raises((ValueError, OverflowError, TypeError)):
        Batch(1, (made,)).arrow(TICKS)


def test_a_name_that_is_no_column_is_an_error_packed_or_not() -> None:
    made = block(PACK_ROWS_MIN)
    for _ in range(2):
        with pytest.raises(AttributeError):
            made.prices  # type: ignore[attr-defined]  # noqa: B018
        made.pack()
    assert made.arrays is not None


@pytest.mark.parametrize("steady", [True, False])
def test_packed_and_plain_blocks_are_stored_in_their_order(steady: bool) -> None:
    sizes = [3, 600, 400, 2, 1, 5_000, 7]
    blocks, plain, first = [], [], 0
    for number, rows in enumerate(sizes):
        name = f"e{number % 3}"
        blocks.append(block(rows, first, steady=steady, exchange=name))
        plain.append(block(rows, first, steady=steady, exchange=name))
        blocks[-1].pack()
        first += rows
    with duckdb.connect() as con:
        con.register("packed", Batch(1, tuple(blocks)).arrow(TICKS))
        con.register("plain", Batch(1, tuple(plain)).arrow(TICKS))
        rows_of = {name: con.execute(TICKS.select(name)).fetchall() for name in ("packed", "plain")}
    assert rows_of["packed"] == rows_of["plain"] and len(rows_of["packed"]) == sum(sizes)
    assert sum(made.arrays is not None for made in blocks) == 3


def test_a_packed_block_that_is_refused_keeps_its_rows_as_evidence() -> None:
    packed = block(PACK_ROWS_MIN)
    packed.pack()
    (of_packed,), (of_plain,) = (refusals([made], ValueError("no")) for made in (packed, block(PACK_ROWS_MIN)))
    assert of_packed.payload == of_plain.payload and of_packed.payload.count(b"buy") == PACK_ROWS_MIN


async def test_a_flood_is_packed_on_its_way_and_comes_back_whole_if_it_cannot_go(autojump_clock: MockClock) -> None:
    def frame(number: int) -> bytes:
        data = f'"s":"AB","t":{number},"p":"1.5","q":"2","T":1700000000000,"m":true'
        return b'{"e":"trade",' + data.encode() + b"}"

    account, continuity = Account(), Continuity("binance", {"A/B": IdPromise.CONTIGUOUS})
    intake: Mailbox[Chunk] = Mailbox(PACK_ROWS_MIN, weigh=lambda chunk: chunk.rows, on_dead_letter=print)
    catch = Accumulator("binance", account, intake, lambda _: None, continuity)
    reader = Decoder("binance", dialect_of("binance"), {"AB": "A/B"})
    chunks: list[Chunk] = []
    for first in (0, 1_000):
        catch.add([frame(n) for n in range(first, first + 1_000)], NS)
        catch.take(reader)
        with trio.move_on_after(1) as patience:
            await catch.hand_over()  # the second one finds the intake full
        assert patience.cancelled_caught == bool(first)
    catch.add([frame(2_000)], NS)
    catch.take(reader)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(catch.hand_over)
        await wait_all_tasks_blocked()
        for _ in range(2):
            async with intake.receive() as chunk:
                chunks.append(chunk)
    assert all(chunk.block.arrays is not None for chunk in chunks)
    assert [number for chunk in chunks for number in chunk.block.trade_id] == list(map(str, range(2_001)))
    assert account.in_flight == 2_001 and account.balanced


def test_a_block_that_takes_lists_over_holds_what_one_that_copies_them_holds() -> None:
    taking, copying = Block("x"), Block("x")
    for rows in (1, 2, 3):
        lists = [[f"{name}{row}" for row in range(rows)] for name in COLUMNS[:-1]]
        copying.extend(*lists)
        taking.take(*[values.copy() for values in lists])
        assert taking.lists() == copying.lists()
    assert len(taking) == 6
