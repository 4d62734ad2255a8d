"""Every exchange's frames cut anywhere, between control frames, and with any field broken: all accounted for."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.exchanges.contract.feed import KeepAlive
from actors.exchanges.registry import EXCHANGES
from actors.feed.decoder import Decoder, parts
from actors.model.ticks import Block
from actors.wire.frame_parser import FrameParser
from tests.harness.amounts import amount
from tests.harness.broken_frames import broken
from tests.harness.exchange_values import dialect_of
from tests.harness.fuzz_frames import Mutator, check
from tests.harness.sampling import sample
from tests.harness.server_frames import BINARY, CONTINUATION, PING, PONG, TEXT, frame, message_frame
from tests.harness.wire_frames import NOW_NS, Received, everything, from_loopback, packed, plain

CUTS = (1, 2, 3, 130, 1459, 9001, 40_000)
MESSAGES = amount(25, 60)  # of a connection, at once

every_exchange = pytest.mark.parametrize("exchange", EXCHANGES)
some_exchanges = pytest.mark.parametrize("exchange", sample(EXCHANGES, 6, "frames"))


def in_fragments(message: bytes, random: Random) -> tuple[bytes, int]:
    """A message's frames with pings and pongs between them, and how many of those there are."""
    whole = message_frame(message)
    pieces, controls = [], 0
    while True:
        if random.random() < 0.2:
            pieces.append(frame(random.randbytes(random.randint(0, 125)), random.choice((PING, PONG))))
            controls += 1
        opcode = CONTINUATION if any(piece[0] & 0xF < PING - 1 for piece in pieces) else whole[0] & 0xF
        assert opcode in (TEXT, BINARY, CONTINUATION)
        size = random.choice((0, 1, 7, 100, len(message)))
        final = size >= len(message)
        pieces.append(frame(message[:size], opcode, final=final))
        message = message[size:]
        if final:
            return b"".join(pieces), controls


def rows(block: Block) -> list[tuple[object, ...]]:
    return list(zip(*block.lists(), strict=True))


def read(decoder: Decoder, messages: list[bytes], block: Block) -> tuple[int, list[object], list[object]]:
    """Reads all, in portions: the count of ticks, the rejects, and the controls but for heartbeats, which a decoder
    may pass over in a batch."""
    ticks, rejects, controls = 0, list[object](), list[object]()
    while messages:
        outcome = decoder.read(messages, NOW_NS, block)
        ticks += outcome.ticks
        rejects += outcome.rejects
        controls += [control for control in outcome.controls if not isinstance(control, KeepAlive)]
        messages = messages[outcome.messages :]
    return ticks, rejects, controls


@every_exchange
@settings(max_examples=amount(2, 60))
@given(seed=st.integers(0, 2**32))
def test_frames_cut_anywhere_between_control_frames_give_the_same_trades(exchange: str, seed: int) -> None:
    random = Random(seed)
    for connection in everything(exchange):
        messages = list(connection.messages)
        at = random.randint(0, max(0, len(messages) - MESSAGES))
        before, messages = messages[:at], messages[at : at + MESSAGES]
        made = [in_fragments(message, random) for message in messages]
        data = b"".join(piece for piece, _ in made)
        parser = FrameParser(dialect_of(exchange).limits.message_bytes)
        decoder, block, controls, got = connection.decoder(*before), Block(exchange), 0, list[bytes]()
        whole = read(connection.decoder(*before), messages, expected := Block(exchange))
        outcome = [0, list[object](), list[object]()]
        while data:
            size = random.choice(CUTS)
            arrived, found = parser.feed(data[:size])
            for place, part in enumerate(read(decoder, arrived, block)):
                outcome[place] += part  # type: ignore[operator]
            got += arrived
            controls += len(found)
            data = data[size:]
        assert got == messages and controls == sum(count for _, count in made) and parser.violation is None
        assert rows(block) == rows(expected) and tuple(outcome) == whole


@every_exchange
def test_the_loopback_and_the_recordings_hold_trades_to_be_broken(exchange: str) -> None:
    assert all(connection.trades for connection in from_loopback(exchange))


@some_exchanges
@given(seed=st.integers(0, 2**32))
def test_a_trade_frame_with_a_broken_field_is_accounted_for_and_its_neighbours_are_stored(
    exchange: str, seed: int
) -> None:
    random = Random(seed)
    connection = random.choice([one for one in everything(exchange) if one.trades])
    good = random.choice(connection.trades)
    bad = packed(exchange, broken(plain(exchange, good), random))
    check_between(connection, good, bad)
    check(exchange, [plain(exchange, bad)])


def check_between(connection: Received, good: bytes, bad: bytes) -> None:
    """Every message is a tick, a reject or known, whatever stands beside it."""
    exchange = connection.exchange
    alone = connection.decoder(*connection.others).read([good], NOW_NS, Block(exchange))
    for messages in ([good, bad, good], [bad, good]):
        decoder, block, ticks, odd = connection.decoder(*connection.others), Block(exchange), 0, 0
        rest = messages
        while rest:
            outcome = decoder.read(rest, NOW_NS, block)
            ticks += outcome.ticks
            odd += len(outcome.rejects) + len(outcome.controls)
            rest = rest[outcome.messages :]
        from_good = messages.count(good) * alone.ticks
        assert ticks == len(block) >= from_good and ticks - from_good + odd >= 1, bad


@every_exchange
def test_a_frame_of_several_trades_splits_into_them_so_that_a_bad_one_is_rejected_alone(exchange: str) -> None:
    def trades(block: Block) -> list[tuple[object, ...]]:
        columns = (block.symbol, block.exchange_ns, block.price, block.volume, block.side, block.trade_id)
        return sorted(zip(*columns, strict=True), key=str)

    for connection in everything(exchange):
        for message in connection.trades:
            whole, single = Block(exchange), Block(exchange)
            if connection.decoder(*connection.others).read([message], NOW_NS, whole).ticks > 1:
                for part in parts(plain(exchange, message), dialect_of(exchange)):
                    connection.decoder(*connection.others).read([packed(exchange, part)], NOW_NS, single)
                assert trades(single) == trades(whole)


@every_exchange
@settings(max_examples=amount(4, 200))
@given(seed=st.integers(0, 2**32))
def test_mutated_frames_are_accounted_for_and_can_be_stored(exchange: str, seed: int) -> None:
    mutator = Mutator(Random(seed))
    check(exchange, [mutator.message(exchange) for _ in range(5)])
