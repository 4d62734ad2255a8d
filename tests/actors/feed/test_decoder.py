"""The Reader on real recordings: every expected trade, whole or in pieces, and nothing else unseen."""

import json
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from decimal import Decimal
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.exchanges.contract.feed import Ack, Condition, Control, KeepAlive, Trades
from actors.feed.decoder import Decoder, Outcome
from actors.feed.gunzip import gunzip
from actors.model.symbols import SymbolError, parse_symbol
from actors.model.ticks import Block, Reason
from tests.harness.amounts import amount
from tests.harness.capture_files import EXCHANGES, expected, frames, incoming, recordings
from tests.harness.exchange_cases import cases_of
from tests.harness.exchange_values import dialect_of

T = TypeVar("T")
RECEIVED_NS = 1_790_000_000_000_000_000
FULL = [(exchange, name) for exchange in EXCHANGES for name in recordings(exchange) if "mixed" not in name]
MIXED = [(exchange, name) for exchange in EXCHANGES for name in recordings(exchange) if "mixed" in name]
# The only other options market recorded; the dialect does not subscribe to options.
OPTION = {"BTC/USDC:USDC-230428-29500-C": "BTC-28APR23-29500-C"}


def markets(exchange: str, name: str) -> dict[str, str]:
    """The natives of a recording, as the dialect itself names them."""
    found = {}
    for row in expected(exchange, name):
        try:
            native = dialect_of(exchange).market(parse_symbol(row["symbol"])).native
        except SymbolError:
            native = OPTION[row["symbol"]]
        found[native] = row["symbol"]
    return found


def reader_of(exchange: str, names: dict[str, str]) -> Decoder:
    """A new connection's decoder."""
    dialect = dialect_of(exchange)
    return Decoder(exchange, dialect, names, dialect.decoder_for({}))


def rows(block: Block) -> list[tuple[object, ...]]:
    return list(
        zip(
            block.symbol,
            block.exchange_ns,
            block.received_ns,
            block.price,
            block.volume,
            block.side,
            block.trade_id,
            block.source,
            strict=True,
        )
    )


@pytest.mark.parametrize(("exchange", "name"), FULL)
def test_every_recorded_trade_is_read_field_by_field_as_expected(exchange: str, name: str) -> None:
    reader = reader_of(exchange, markets(exchange, name))
    sent = [frame.recv_ns for frame in frames(exchange, name) if not frame.incoming and frame.recv_ns]
    reader.requested(markets(exchange, name), min(sent, default=0))
    wanted = expected(exchange, name)
    # Of a long recording not all trades are expected, so that some of its markets are not known here.
    live = sum(not row["snapshot"] for row in wanted)
    cut = live >= 200 or len(wanted) - live >= 60
    odd = {Reason.UNKNOWN_MESSAGE, *([Reason.UNKNOWN_SYMBOL] if cut else [])}
    # Which trades are re-sent ones without a mark is known only from when they were requested.
    labelled = bool(sent) or not dialect_of(exchange).replays_unmarked
    read: Counter[tuple[object, ...]] = Counter()
    digits: set[tuple[int, str, str]] = set()
    for frame in frames(exchange, name):
        if frame.incoming:
            block = Block(exchange)
            outcome = reader.read([frame.data], RECEIVED_NS, block)
            assert outcome.ticks == len(block)
            assert {reject.reason for reject in outcome.rejects} <= odd
            assert not (block and outcome.controls)
            for symbol, exchange_ns, received_ns, price, volume, side, trade_id, source in rows(block):
                assert received_ns == RECEIVED_NS
                amounts = Decimal(str(price)), Decimal(str(volume))
                label = source if labelled else None
                read[frame.line, symbol, exchange_ns, *amounts, side, trade_id, label] += 1
                digits.add((frame.line, str(price), str(volume)))
    for row in wanted:
        source = None if not labelled else "snapshot" if row["snapshot"] else "stream"
        amounts = Decimal(row["price"]), Decimal(row["size"])
        key = (row["line"], row["symbol"], row["ts_ns"], *amounts, row["side"], row["trade_id"], source)
        assert read[key] > 0, key  # newest-first frames are turned round, so the place in the frame says nothing
        read[key] -= 1
        if "price_wire" not in row and "size_wire" not in row:
            assert (row["line"], row["price"], row["size"]) in digits
    assert not read.total() or cut, "a trade that nobody expected"


def all_messages(exchange: str) -> tuple[dict[str, str], list[bytes]]:
    names, messages = {}, []
    for name in recordings(exchange):
        names.update(markets(exchange, name))
        messages += incoming(exchange, name)[:150]
    return names, messages


def together(*outcomes: Outcome) -> tuple[int, list[object], list[object]]:
    return (
        sum(outcome.ticks for outcome in outcomes),
        [reject for outcome in outcomes for reject in outcome.rejects],
        [control for outcome in outcomes for control in outcome.controls],
    )


@pytest.mark.parametrize("exchange", EXCHANGES)
@settings(max_examples=amount(6, 100), deadline=None)
@given(data=st.data())
def test_messages_give_the_same_alone_and_in_batches_of_any_size(exchange: str, data: st.DataObject) -> None:
    names, messages = all_messages(exchange)
    start = data.draw(st.integers(0, max(0, len(messages) - 60)))
    messages = messages[start : start + 60]
    for bad in data.draw(st.lists(st.sampled_from([b"{", b"\xff", b"{}", b"pong", b'{"a":\n1}', b""]), max_size=3)):
        messages.insert(data.draw(st.integers(0, len(messages))), bad)
    alone, batched = Block(exchange), Block(exchange)
    one, many = (reader_of(exchange, names) for _ in "12")
    times = [RECEIVED_NS + number for number in range(len(messages))]  # each was read alone
    singles = [one.read([message], at, alone) for message, at in zip(messages, times, strict=True)]
    batches = []
    while messages:
        size = data.draw(st.integers(1, 40))
        batches.append(many.read(messages[:size], times[:size], batched))
        messages, times = messages[size:], times[size:]
    assert rows(alone) == rows(batched)
    assert together(*singles) == together(*batches)
    assert one.seen == many.seen == {native for native, symbol in names.items() if symbol in alone.symbol}


@pytest.mark.parametrize(("exchange", "name"), FULL)
def test_a_batch_knows_how_many_trades_each_message_has(exchange: str, name: str) -> None:
    dialect, messages = dialect_of(exchange), incoming(exchange, name)[:300]
    if dialect.compression is not None:
        messages = [gunzip(message, dialect.limits.message_bytes) for message in messages]
    feed, found = dialect.decoder_for({}), list[tuple[bytes, int]]()
    for message in messages:
        try:
            found.append((message, len(feed.trades([message]).native)))
        except ValueError:
            with suppress(ValueError):
                feed.control(json.loads(message))  # may define what later ones mean
    known = 0
    for some in batched(found, 8):
        with suppress(ValueError):  # several kinds in one recording
            counts = feed.trades([message for message, _ in some]).counts or [1] * len(some)
            assert counts == [count for _, count in some]
            known += 1
    assert known or len(found) < 16


def batched(items: list[T], size: int) -> list[list[T]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


@pytest.mark.parametrize(("exchange", "name"), MIXED)
def test_a_stream_of_books_and_tickers_gives_its_trades_and_counts_the_rest(exchange: str, name: str) -> None:
    messages = incoming(exchange, name)
    names = {native: native for message in messages for native in natives_of(exchange, message)}
    trades = sum(len(natives_of(exchange, message)) for message in messages)
    block = Block(exchange)
    reader, outcomes, rest = reader_of(exchange, names), [], messages
    while rest:
        outcomes.append(reader.read(rest, RECEIVED_NS, block))
        rest = rest[outcomes[-1].messages :]
    ticks, rejects, controls = together(*outcomes)
    assert trades == ticks == len(block) > 0
    assert {reject.reason for outcome in outcomes for reject in outcome.rejects} == {Reason.UNKNOWN_MESSAGE}
    carriers = sum(1 for message in messages if natives_of(exchange, message))
    assert carriers + len(rejects) + len(controls) == len(messages)


def natives_of(exchange: str, message: bytes) -> list[str]:
    """The natives of the trades in a frame, told apart without the dialects."""
    return [trade.native for trade in cases_of(exchange).wire(json.loads(message, parse_float=str)) or ()]


def test_answers_and_heartbeats_come_out_in_order_and_count_as_neither_tick_nor_reject() -> None:
    messages = incoming("kraken", "single_frames_2024-2026.jsonl")
    ack = b'{"method":"subscribe","result":{"channel":"trade","symbol":"BTC/USD"},"success":true}'
    reader = Decoder("kraken", dialect_of("kraken"), {"BTC/USD": "BTC/USD", "USDC/USD": "USDC/USD"})
    outcome = reader.read([*messages, ack], RECEIVED_NS, Block("kraken"))
    assert (outcome.ticks, outcome.rejects) == (3, [])
    assert outcome.controls == [Condition(), KeepAlive(), KeepAlive(), Ack(("BTC/USD",))]


def test_trades_around_a_heartbeat_are_decoded_together_once_it_is_known_how_trades_begin() -> None:
    dialect = dialect_of("okx")

    class Counted:
        def __init__(self) -> None:
            self.sizes: list[int] = []

        def trades(self, messages: Sequence[bytes]) -> Trades:
            self.sizes.append(len(messages))
            return dialect.trades(messages)

        def control(self, message: object) -> Control | None:
            return dialect.control(message)

    feed, names = Counted(), {"A-B": "A/B", "C-D": "C/D"}
    reader = Decoder("okx", dialect, names, feed)
    sent = [okx_trade(native, 1000, number) for number in range(1, 21) for native in names]
    mixed = [*sent[:20], b"pong", *sent[20:]]
    for sizes in ([41, *[8] * 3, *[1] * 8, 8, 8, 1], [41, 20, 1, 20]):
        block = Block("okx")
        outcome = reader.read(mixed, RECEIVED_NS, block)
        assert (outcome.ticks, outcome.rejects, outcome.controls) == (40, [], [KeepAlive()])
        assert block.trade_id == [str(number) for number in range(1, 21) for _ in names]
        assert feed.sizes == sizes
        feed.sizes.clear()


def okx_trade(native: str, ms: int, trade_id: int) -> bytes:
    trade = {"instId": native, "tradeId": str(trade_id), "px": "1", "sz": "1", "side": "buy", "ts": str(ms)}
    return json.dumps({"arg": {"channel": "trades", "instId": native}, "data": [trade]}).encode()


def test_only_the_first_trade_of_a_market_can_be_one_that_was_sent_again_without_a_mark() -> None:
    reader = Decoder("okx", dialect_of("okx"), {"A-B": "A/B", "C-D": "C/D"})
    reader.requested(("A-B", "C-D"), 1_000 * 1_000_000)
    block = Block("okx")
    messages = [
        okx_trade("A-B", 900, 1),
        okx_trade("A-B", 999, 2),
        okx_trade("A-B", 1000, 3),
        okx_trade("A-B", 950, 4),
        okx_trade("C-D", 10, 5),
    ]
    reader.read(messages, RECEIVED_NS, block)
    assert block.source == ["snapshot", "stream", "stream", "stream", "snapshot"]
    reader.read([okx_trade("C-D", 2000, 6), okx_trade("C-D", 20, 7)], RECEIVED_NS, block)
    assert block.source[5:] == ["stream", "stream"]


def test_ids_are_known_as_integers_only_if_those_of_all_ticks_are() -> None:
    def trade(trade_id: object) -> bytes:
        data = {"e": "trade", "s": "AB", "t": trade_id, "p": "1", "q": "1", "T": 1_700_000_000_000, "m": True}
        return json.dumps({"stream": "ab@trade", "data": data}).encode()

    reader, sound = (
        Decoder("binance", dialect_of("binance"), {"AB": "A/B"}),
        [trade(number) for number in range(20)],
    )
    assert reader.read(sound, RECEIVED_NS, Block("binance")).numbers == list(range(20))
    outcome = reader.read([*sound, trade("x")], RECEIVED_NS, Block("binance"))
    assert (outcome.ticks, outcome.numbers) == (20, None)


def test_a_market_counts_as_seen_once_it_has_delivered_a_trade() -> None:
    reader = Decoder("okx", dialect_of("okx"), {"A-B": "A/B", "C-D": "C/D"})
    assert reader.seen == set()
    reader.read([okx_trade("C-D", 1000, 1), okx_trade("X-Y", 1000, 1)], RECEIVED_NS, Block("okx"))
    assert reader.seen == {"C-D"}
