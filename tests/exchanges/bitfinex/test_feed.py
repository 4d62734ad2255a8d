"""Bitfinex's frames as they come: arrays that name a channel, whose market an earlier message has told."""

import json

from hypothesis import given
from hypothesis import strategies as st

from actors.exchanges.contract.feed import Ack, Condition, KeepAlive
from actors.feed.decoder import Decoder, Outcome
from actors.model.ticks import Block, Reason
from tests.harness.exchange_cases import market_of
from tests.harness.exchange_values import dialect_of

SYMBOLS = ("BTC/USD", "BTC/USDT:USDT")
LATER_NS = 1_790_000_000_000_000_000


def ack(channel: int, symbol: str) -> bytes:
    answer = {"event": "subscribed", "channel": "trades", "chanId": channel, "symbol": symbol, "pair": symbol[1:]}
    return json.dumps(answer).encode()


SESSION = [
    b'{"event":"info","version":2,"serverId":"a","platform":{"status":1}}',
    ack(19111, "tBTCUSD"),
    ack(7, "tBTCF0:USTF0"),
    b"[19111,[[401597395,1574694478808,0.005,7245.3],[401597393,1574694475039,-1e-05,7244.90]]]",
    b"[7,[]]",
    b'[19111,"te",[401597396,1574694480000,-0.00204490,7245]]',
    b'[19111,"hb"]',
    b'[7,"te",[647256282,1616219711336,0.00020449,58244,"appended"],5,"later"]',
    b'[19111,"tu",[401597396,1574694480000,-0.00204490,7245]]',
    b'[7,"hb",9]',
]
READ = [
    ("BTC/USD", "401597393", "7244.90", "0.00001", "sell", 1574694475039, "snapshot"),
    ("BTC/USD", "401597395", "7245.3", "0.005", "buy", 1574694478808, "snapshot"),
    ("BTC/USD", "401597396", "7245", "0.00204490", "sell", 1574694480000, "stream"),
    ("BTC/USDT:USDT", "647256282", "58244", "0.00020449", "buy", 1616219711336, "stream"),
]


def decoder() -> Decoder:
    markets = {market.native: market for market in (market_of("bitfinex", symbol) for symbol in SYMBOLS)}
    names = {native: market.symbol for native, market in markets.items()}
    return Decoder("bitfinex", dialect_of("bitfinex"), names, dialect_of("bitfinex").decoder_for(markets))


def rows(block: Block) -> list[tuple[object, ...]]:
    times = [None if ns is None else ns // 1_000_000 for ns in block.exchange_ns]
    columns = (block.symbol, block.trade_id, block.price, block.volume, block.side, times, block.source)
    return list(zip(*columns, strict=True))


def read(reader: Decoder, messages: list[bytes]) -> tuple[Block, Outcome]:
    block = Block("bitfinex")
    return block, reader.read(messages, LATER_NS, block)


@given(st.lists(st.integers(1, len(SESSION)), min_size=1, max_size=len(SESSION)))
def test_a_session_is_read_field_by_field_in_batches_of_any_size(sizes: list[int]) -> None:
    reader, block, rejects = decoder(), Block("bitfinex"), 0
    rest, controls = list(SESSION), []
    while rest:
        size = sizes[len(rest) % len(sizes)]
        outcome = reader.read(rest[:size], LATER_NS, block)
        rest, rejects = rest[size:], rejects + len(outcome.rejects)
        controls += outcome.controls
    assert rows(block) == READ and rejects == 0
    others = [control for control in controls if control != KeepAlive()]
    assert others == [Condition(), Ack(("tBTCUSD",)), Ack(("tBTCF0:USTF0",))]


def test_channel_ids_are_those_of_one_connection() -> None:
    read(decoder(), SESSION)
    block, outcome = read(decoder(), SESSION[3:])
    assert len(block) == 0 and {reject.reason for reject in outcome.rejects} == {Reason.UNKNOWN_SYMBOL}


def test_a_channel_of_another_kind_or_market_is_no_trade_of_ours() -> None:
    book = b'{"event":"subscribed","channel":"book","chanId":5,"symbol":"tBTCUSD"}'
    block, outcome = read(
        decoder(), [book, ack(6, "tETHUSD"), b"[5,[[7245,1,0.5]]]", b'[6,"te",[1,1574694480000,1,2]]']
    )
    assert len(block) == 0 and len(outcome.rejects) == 2 and len(outcome.controls) == 2


def test_one_bad_row_of_a_snapshot_costs_only_itself() -> None:
    snapshot = b"[19111,[[3,1574694478808,0,7245.3],[2,1574694478808,1,7245.3],[1,1574694478807,-1,7245.3]]]"
    block, outcome = read(decoder(), [ack(19111, "tBTCUSD"), snapshot])
    assert sorted(map(str, block.trade_id)) == ["1", "2"]
    assert [reject.reason for reject in outcome.rejects] == [Reason.BAD_VOLUME]


def test_a_channel_that_was_closed_or_replaced_is_forgotten() -> None:
    closed = b'{"event":"unsubscribed","status":"OK","chanId":19111}'
    trade = b'[%d,"te",[401597396,1574694480000,1,7245]]'
    block, outcome = read(decoder(), [ack(19111, "tBTCUSD"), ack(19112, "tBTCUSD"), trade % 19111, trade % 19112])
    assert len(block) == 1 and len(outcome.rejects) == 1
    block, outcome = read(decoder(), [ack(19111, "tBTCUSD"), closed, trade % 19111])
    assert len(block) == 0 and len(outcome.rejects) == 1
