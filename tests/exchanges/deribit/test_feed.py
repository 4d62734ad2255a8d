"""Deribit's sequence numbers show missing trades, which its ids cannot."""

import json

import pytest

from actors.feed.decoder import Decoder
from actors.model.ticks import AFTER_BREAK, Block
from tests.harness.exchange_values import dialect_of

NOW_NS = 1_790_000_000_000_000_000
NAMES = {"BTC-PERPETUAL": "BTC/USD:BTC", "ETH-PERPETUAL": "ETH/USD:ETH"}


def frame(*trades: tuple[str, int]) -> bytes:
    rows = [
        {
            **{"timestamp": 1788335114435, "price": 77529.5, "direction": "buy", "instrument_name": native},
            **{"trade_seq": sequence, "amount": 2.2e3, "trade_id": f"ETH-{sequence}"},
        }
        for native, sequence in trades
    ]
    params = {"channel": "trades.any.any.100ms", "data": rows}
    return json.dumps({"jsonrpc": "2.0", "method": "subscription", "params": params}).encode()


def test_a_hole_in_the_sequence_of_a_market_marks_the_trade_behind_it() -> None:
    dialect, block = dialect_of("deribit"), Block("deribit")
    decoder = Decoder("deribit", dialect, NAMES, dialect.decoder_for({}))
    first = frame(("BTC-PERPETUAL", 100), ("ETH-PERPETUAL", 7), ("BTC-PERPETUAL", 101))
    decoder.read([first, frame(("ETH-PERPETUAL", 8), ("BTC-PERPETUAL", 103))], NOW_NS, block)
    decoder.read([first, frame(("BTC-PERPETUAL", 104))], NOW_NS, block)  # sent twice, or read twice
    breaks = [(id_, source) for id_, source in zip(block.trade_id, block.source, strict=True) if source != "stream"]
    assert breaks == [("ETH-103", AFTER_BREAK)]


def test_holes_are_kept_when_the_batch_they_are_in_is_read_again() -> None:
    dialect, block = dialect_of("deribit"), Block("deribit")
    decoder = Decoder("deribit", dialect, NAMES, dialect.decoder_for({}))
    good = [frame(("BTC-PERPETUAL", number)) for number in (100, 103, 104, 107)]
    bad = frame(("BTC-PERPETUAL", 108)).replace(b"77529.5", b"-77529.5")
    outcome = decoder.read([*good, bad], NOW_NS, block)
    assert len(outcome.rejects) == 1 and block.trade_id == ["ETH-100", "ETH-103", "ETH-104", "ETH-107"]
    assert block.source == ["stream", AFTER_BREAK, "stream", AFTER_BREAK]


@pytest.mark.parametrize("together", [True, False])
def test_a_hole_before_invalid_trades_marks_the_next_valid_one_of_each_market(together: bool) -> None:
    dialect, block = dialect_of("deribit"), Block("deribit")
    decoder = Decoder("deribit", dialect, NAMES, dialect.decoder_for({}))
    invalid = [
        frame(("BTC-PERPETUAL", 103)).replace(b"77529.5", b"0.0"),
        frame(("ETH-PERPETUAL", 9), ("ETH-PERPETUAL", 10)).replace(b"77529.5", b"0.0", 1),
    ]
    begin = frame(("BTC-PERPETUAL", 100), ("ETH-PERPETUAL", 7))
    messages = [begin, *invalid, frame(("BTC-PERPETUAL", 104)), frame(("BTC-PERPETUAL", 105))]
    for batch in [messages] if together else [[message] for message in messages]:
        outcome = decoder.read(batch, NOW_NS, block)
        assert outcome.breaks == (AFTER_BREAK in block.source[len(block) - outcome.ticks :])
    assert block.trade_id == ["ETH-100", "ETH-7", "ETH-10", "ETH-104", "ETH-105"]
    assert block.source == ["stream", "stream", AFTER_BREAK, AFTER_BREAK, "stream"]


def test_a_new_connection_knows_no_sequence() -> None:
    dialect, block = dialect_of("deribit"), Block("deribit")
    for sequence in (5, 900):
        decoder = Decoder("deribit", dialect, NAMES, dialect.decoder_for({}))
        decoder.read([frame(("BTC-PERPETUAL", sequence))], NOW_NS, block)
    assert block.source == ["stream", "stream"] and block.volume == ["2200.0", "2200.0"]
