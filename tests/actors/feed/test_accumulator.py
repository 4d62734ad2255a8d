"""What a connection has read waits to be decoded together, and is collected before the next batch."""

from collections.abc import Sequence
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from actors.continuity.continuity import Continuity
from actors.exchanges.contract.feed import Trades
from actors.feed.accumulator import Accumulator
from actors.feed.decoder import Decoder
from actors.model.chunk import Chunk, Source
from actors.model.ticks import Block, IdPromise, Reason
from actors.telemetry.ledger import Account
from supervisor import Mailbox
from tests.harness.exchange_server import trade
from tests.harness.exchange_values import changed_feed, dialect_of

NAMES = {"BTC-USDT": "BTC/USDT"}
NS = 1_790_000_000_000_000_000


class Desk:
    """An accumulator of okx, its account and mailbox, and whom the buffer expects."""

    def __init__(self, rows: int = 1_000, **changes: Any) -> None:
        self.account, self.expected = Account(), list[Source]()
        self.intake: Mailbox[Chunk] = Mailbox(rows, weigh=lambda chunk: chunk.rows, on_dead_letter=lambda *_: None)
        continuity = Continuity("x", {"BTC/USDT": IdPromise.CONTIGUOUS})
        self.accumulator = Accumulator("x", self.account, self.intake, self.expected.append, continuity)
        dialect = changed_feed("okx", **changes)["okx"].feed if changes else dialect_of("okx")
        self.decoder = Decoder("x", dialect, NAMES)

    def read(self, *numbers: int, at_ns: int = NS) -> None:
        self.accumulator.add([trade("okx", "BTC-USDT", number, NS) for number in numbers], at_ns)

    def decode(self) -> None:
        self.accumulator.take(self.decoder)


async def test_messages_wait_and_are_decoded_together_each_with_the_time_it_was_read(
    autojump_clock: MockClock,
) -> None:
    desk = Desk()
    for number in range(5):
        desk.read(number, at_ns=NS + number)
    assert (desk.accumulator.waiting, desk.account.received) == (5, 0)
    desk.accumulator.decode = desk.decode
    desk.accumulator.prepare()
    (chunk,) = desk.accumulator.collect()
    assert chunk.block.trade_id == ["0", "1", "2", "3", "4"]
    assert chunk.block.received_ns == [NS, NS + 1, NS + 2, NS + 3, NS + 4]
    assert (desk.accumulator.waiting, desk.account.received, desk.account.in_flight) == (0, 5, 5)
    assert desk.accumulator.collect() == []


async def test_the_buffer_learns_once_that_there_is_something_until_it_has_collected(
    autojump_clock: MockClock,
) -> None:
    desk = Desk()
    desk.accumulator.decode = desk.decode
    for number in range(3):
        desk.read(number)
    assert desk.expected == [desk.accumulator]
    desk.accumulator.prepare()
    desk.accumulator.collect()
    desk.read(3)
    assert desk.expected == [desk.accumulator] * 2


async def test_what_is_read_after_it_was_prepared_is_expected_with_the_next_batch(
    autojump_clock: MockClock,
) -> None:
    desk = Desk()
    desk.accumulator.decode = desk.decode
    desk.read(1)
    desk.accumulator.prepare()
    desk.read(2)
    (chunk,) = desk.accumulator.collect()
    assert chunk.block.trade_id == ["1"]
    assert desk.expected == [desk.accumulator] * 2 and desk.accumulator.waiting == 1


async def test_what_comes_back_from_a_hand_over_is_expected_with_the_next_batch(autojump_clock: MockClock) -> None:
    """It waited for room when the last one was collected, and the connection ends."""
    desk = Desk(rows=1)
    desk.intake.put_nowait(Chunk(Block("x")))
    desk.accumulator.decode = desk.decode
    desk.read(1)
    with trio.move_on_after(1.0):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(desk.accumulator.hand_over)
            await trio.testing.wait_all_tasks_blocked()
            assert desk.accumulator.collect() == []
    assert desk.expected == [desk.accumulator] * 2
    (chunk,) = desk.accumulator.collect()
    assert chunk.block.trade_id == ["1"]


async def test_a_bug_in_the_decoder_costs_the_message_that_triggers_it(autojump_clock: MockClock) -> None:
    whole = dialect_of("okx")

    def trades(frames: Sequence[bytes]) -> Trades:
        if any(b'"13"' in frame for frame in frames):
            raise ZeroDivisionError("a bug")
        return whole.trades(frames)

    desk = Desk(trades=trades)
    desk.read(11, 12)
    desk.read(13, 14, at_ns=NS + 1)
    with pytest.raises(ZeroDivisionError):
        desk.decode()
    chunk = desk.accumulator.rest()
    assert chunk is not None
    assert chunk.block.trade_id == ["11", "12", "14"]
    assert [(reject.reason, reject.received_ns) for reject in chunk.rejects] == [(Reason.CRASHED, NS + 1)]
    assert desk.account.balanced and desk.account.received == 4


async def test_a_full_mailbox_keeps_everything_in_order(autojump_clock: MockClock) -> None:
    desk = Desk(rows=1)
    desk.read(1)
    desk.decode()
    await desk.accumulator.hand_over()
    desk.read(2)
    desk.decode()
    assert not desk.accumulator.hand_over_now()
    desk.read(3)
    desk.decode()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.accumulator.hand_over)
        await trio.sleep(1)
        ids = list[str | None]()
        for _ in range(2):
            async with desk.intake.receive() as chunk:
                ids += chunk.block.trade_id
    assert ids == ["1", "2", "3"]
