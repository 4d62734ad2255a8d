"""Input of an exchange costs time and memory in proportion to its size, and its texts stay within bounds."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
import trio

from actors.exchanges.contract.feed import Ack, Refusal
from actors.feed.decoder import ENTRIES_MAX, ODD_AT_ONCE, Decoder, Outcome
from actors.feed.subscription import Subscription
from actors.model.batch import Batch
from actors.model.chunk import Chunk
from actors.model.ticks import REJECT_PAYLOAD_BYTES_MAX, ROW_BYTES, Block, Reason, Reject
from actors.wire.frame_parser import FrameParser
from actors.wire.message_stream import CONTROLS_AT_ONCE, MessageStream
from supervisor.text import FOREIGN_CHARS_MAX
from tests.harness.amounts import variants
from tests.harness.bad_messages import LISTS, SPOILABLE, good, keys, list_key, reader, trade_in
from tests.harness.exchange_values import dialect_of
from tests.harness.sampling import sample

MESSAGE_BYTES = dialect_of("okx").limits.message_bytes


def portions(exchange: str, messages: list[bytes]) -> Iterator[Outcome]:
    while messages:
        outcome = reader(exchange).read(messages, 5, Block(exchange))
        yield outcome
        messages = messages[outcome.messages :]


@pytest.mark.parametrize("exchange", sample(LISTS, 2, "evidence"))
@pytest.mark.parametrize("entries", [2, 1_500, ENTRIES_MAX])
def test_evidence_of_one_message_is_in_proportion_to_it_however_many_of_its_trades_are_bad(
    exchange: str, entries: int
) -> None:
    frame = json.loads(good(exchange))
    message = json.dumps({"x": "y" * 900_000, **frame, list_key(exchange): [0] * entries}).encode()
    outcome = reader(exchange).read([message], 5, Block(exchange))
    assert len(outcome.rejects) == entries
    assert sum(len(reject.payload) for reject in outcome.rejects) < 4 * len(message)


@pytest.mark.parametrize("exchange", LISTS)
def test_a_valid_trade_beside_bad_ones_and_a_long_member_is_kept(exchange: str) -> None:
    frame = json.loads(good(exchange))
    trades = [0, frame[list_key(exchange)][0], {}]
    block = Block(exchange)
    outcome = reader(exchange).read(
        [json.dumps({"x": "y" * 900_000, **frame, list_key(exchange): trades}).encode()], 5, block
    )
    assert (outcome.ticks, len(outcome.rejects)) == (1, 2)


def test_a_message_with_more_entries_than_any_exchange_sends_is_one_reject_if_one_of_them_is_bad() -> None:
    frame = json.loads(good("okx"))
    message = json.dumps({**frame, "data": [0] * (ENTRIES_MAX + 1)}).encode()
    (reject,) = reader("okx").read([message], 5, Block("okx")).rejects
    assert (len(reject.payload), reject.payload_bytes) == (
        min(len(message), REJECT_PAYLOAD_BYTES_MAX),
        len(message),
    )


@pytest.mark.parametrize("exchange", sample(SPOILABLE, 2, "tiny"))
@pytest.mark.parametrize("message", [b"", b"{}", b'{"data":[0,0,0,0,0,0,0]}', b"\xff"])
def test_a_read_full_of_tiny_messages_is_taken_in_portions_and_each_is_accounted_for(
    exchange: str, message: bytes
) -> None:
    messages = [message] * 20_000
    found = list(portions(exchange, messages))
    assert max(len(outcome.rejects) + len(outcome.controls) for outcome in found) <= ODD_AT_ONCE
    assert sum(len(outcome.rejects) + len(outcome.controls) for outcome in found) == len(messages)


async def test_pings_of_one_read_are_handed_on_in_portions_with_a_turn_for_others_between_them() -> None:
    pings = 131_072
    ours, theirs = trio.testing.memory_stream_pair()
    stream = MessageStream(
        ours, FrameParser(1_000), _no_messages, before_read=lambda: None, read_bytes=4 * pings, send_s=1.0
    )
    answer = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"
    await theirs.send_all(answer)
    assert await stream.receive_some() == answer
    turns, handed = 0, []

    async def other() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        await theirs.send_all(b"\x89\x00" * pings)
        await theirs.aclose()
        while data := await stream.receive_some():
            handed.append(data)
        nursery.cancel_scope.cancel()
    assert b"".join(handed) == b"\x89\x00" * pings
    assert max(map(len, handed)) == 2 * CONTROLS_AT_ONCE
    assert turns >= pings // CONTROLS_AT_ONCE - 1


async def _no_messages(messages: list[bytes], received_ns: int) -> None:
    raise AssertionError


@pytest.mark.parametrize(
    "pattern", variants("a", "instId: ", " ", "a ", "a is not a valid product ", "\x1b[2J", "é", kept=2)
)
def test_a_refusal_of_any_length_takes_time_in_proportion_and_leaves_one_short_line(pattern: str) -> None:
    words = (pattern * 900_000)[:900_000]
    refusals: dict[str, dict[str, Any]] = {
        "binance": {"id": 1, "error": {"code": -1, "msg": words}},
        "bybit": {"success": False, "ret_msg": words, "op": "subscribe"},
        "coinbaseexchange": {"type": "error", "message": words, "reason": words},
        "kraken": {"method": "subscribe", "success": False, "error": words},
        "okx": {"event": "error", "code": "60018", "msg": words},
    }
    for exchange, message in refusals.items():
        begun = time.process_time()
        (control,) = reader(exchange).read([json.dumps(message).encode()], 5, Block(exchange)).controls
        assert time.process_time() - begun < 2.0  # it takes 0.02 s; a pattern that backtracks takes minutes
        assert isinstance(control, Refusal)
        assert control.reason.isprintable()
        assert bool(words.strip()) <= len(control.reason) <= FOREIGN_CHARS_MAX
        assert len(control.natives) <= 1


@pytest.mark.parametrize("exchange", [name for name in SPOILABLE if "id" in keys(name)])
def test_an_id_that_cannot_be_shown_or_encoded_is_a_reject(exchange: str) -> None:
    frame = good(exchange).decode()
    for text in (r"1\ud800", r"1\u0000", r"1\u001b[2J", r"1\u202e", r"1\n2", r"1\u009b"):
        value = json.loads(frame)
        trade_in(exchange, value)[keys(exchange)["id"]] = "<id>"
        message = json.dumps(value).replace("<id>", text).encode()
        block = Block(exchange)
        outcome = reader(exchange).read([message, frame.encode()], 5, block)
        assert (outcome.ticks, len(outcome.rejects)) == (1, 1)
        assert outcome.rejects[0].detail.isprintable()


def test_markets_never_requested_leave_nothing_behind() -> None:
    dialect = dialect_of("okx")
    mine = Decoder("okx", dialect, {"BTC-USDT": "BTC/USDT"})
    subscription = Subscription(dialect, ["BTC-USDT"], "trades")
    assert subscription.next(0.0) is not None
    acks = [{"event": "subscribe", "arg": {"channel": "trades", "instId": f"X{n}-USDT"}} for n in range(1_000)]
    outcome = mine.read([json.dumps(ack).encode() for ack in acks], 5, Block("okx"))
    for control in outcome.controls:
        assert isinstance(control, Ack)
        subscription.acknowledged(control, 1.0)
    assert subscription.confirmed == set()
    assert list(subscription.pending) == ["BTC-USDT"]


def test_the_evidence_of_rejects_weighs_in_the_intake_and_in_the_outbox() -> None:
    reject = Reject(5, "okx", None, Reason.NOT_JSON, "", b"x" * 65_000, 65_000)
    weight = 65_000 // ROW_BYTES
    assert Chunk(Block("okx"), (reject,) * 10).rows >= 10 * weight
    assert Batch(1, rejects=(reject,) * 10).rows >= 10 * weight
    assert Batch(1).rows == 1
