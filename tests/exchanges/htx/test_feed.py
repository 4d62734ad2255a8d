"""HTX's frames as they come: compressed, ids beyond 64 bits, rows in either order, old trades without a mark."""

import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.exchanges.contract.feed import Reply
from actors.feed.decoder import Decoder, Outcome
from actors.model.ticks import Block, Reason
from tests.harness.exchange_cases import cases_of
from tests.harness.exchange_values import dialect_of

NAMES = {"btcusdt": "BTC/USDT", "BTC-USDT": "BTC/USDT:USDT", "BTC-USD": "BTC/USD:BTC"}
LATER_NS = 1_790_000_000_000_000_000
# Live frames of 2021 (crypto-crawler/crypto-msg-parser tests/huobi.rs), and a second row as documented.
SPOT = (
    b'{"ch":"market.btcusdt.trade.detail","ts":1616243199157,"tick":{"id":123140716701,"ts":1616243199156,"data":['
    b'{"id":123140716701236887569077664,"ts":1616243199156,"tradeId":102357140867,"amount":1.98E-4,'
    b'"price":58911.07,"direction":"sell"},{"id":123140716701236887569077663,"ts":1616243199156,'
    b'"tradeId":102357140866,"amount":3.3E-5,"price":58911.10,"direction":""}]}}'
)
LINEAR = (
    b'{"ch":"market.BTC-USDT.trade.detail","ts":1616233478594,"tick":{"id":22419995164,"ts":1616233478583,"data":['
    b'{"amount":40,"quantity":0.04,"trade_turnover":2350.796,"ts":1616233478583,"id":224199951640000,'
    b'"price":58769.9,"direction":"sell"},{"amount":2,"quantity":0.002,"trade_turnover":1.5,"ts":1616233478583,'
    b'"id":224199951640001,"price":58770,"direction":"buy"}]}}'
)
COIN = (
    b'{"ch":"market.BTC-USD.trade.detail","ts":1616233683377,"tick":{"id":84230699705,"ts":1616233683352,"data":['
    b'{"amount":6,"quantity":0.0102273366481267780650901795408948579,"ts":1616233683352,"id":842306997050000,'
    b'"price":58666.3,"direction":"buy"}]}}'
)
PING = b'{"ping":1492420473027}'
READ = [
    ("BTC/USDT", "102357140866", "58911.10", "0.000033", None, 1616243199156),
    ("BTC/USDT", "102357140867", "58911.07", "0.000198", "sell", 1616243199156),
    ("BTC/USDT:USDT", "224199951640000", "58769.9", "40", "sell", 1616233478583),
    ("BTC/USDT:USDT", "224199951640001", "58770", "2", "buy", 1616233478583),
    ("BTC/USD:BTC", "842306997050000", "58666.3", "6", "buy", 1616233683352),
]


def read(messages: list[bytes]) -> tuple[Block, Outcome]:
    block = Block("htx")
    return block, Decoder("htx", dialect_of("htx"), NAMES).read(messages, LATER_NS, block)


def rows(block: Block) -> list[tuple[object, ...]]:
    times = [None if ns is None else ns // 1_000_000 for ns in block.exchange_ns]
    return list(zip(block.symbol, block.trade_id, block.price, block.volume, block.side, times, strict=True))


@given(level=st.integers(0, 9), at=st.lists(st.integers(0, 3), max_size=3))
def test_compressed_frames_are_read_field_by_field_and_pings_between_them_answered(
    level: int, at: list[int]
) -> None:
    plain = [SPOT, LINEAR, COIN]
    for place in at:
        plain.insert(place, PING)
    block, outcome = read([gzip.compress(frame, level) for frame in plain])
    assert rows(block) == READ and outcome.rejects == []
    assert outcome.controls == [Reply('{"pong":1492420473027}')] * len(at)
    assert set(block.source) == {"stream"}


def test_the_spot_id_of_28_digits_is_used_where_there_is_no_other_and_none_is_rounded() -> None:
    block, _ = read([gzip.compress(SPOT.replace(b'"tradeId":102357140867,', b""))])
    assert block.trade_id[-1] == "123140716701236887569077664" or "123140716701236887569077664" in block.trade_id


@pytest.mark.parametrize(("age_ms", "source"), [(25, "stream"), (999, "stream"), (1_000, "snapshot")])
def test_rows_that_are_old_by_the_exchanges_own_clock_were_sent_again(age_ms: int, source: str) -> None:
    frame = json.loads(LINEAR)
    text = LINEAR.replace(b'"ts":1616233478594', b'"ts":%d' % (frame["tick"]["data"][0]["ts"] + age_ms))
    block, _ = read([gzip.compress(text)])
    assert block.source == [source] * 2


def test_what_is_no_gzip_or_too_long_when_decompressed_costs_only_itself() -> None:
    bomb = gzip.compress(b" " * (dialect_of("htx").limits.message_bytes + 1))
    block, outcome = read([gzip.compress(COIN), SPOT, bomb, gzip.compress(COIN)])
    assert len(block) == 2 and len(outcome.rejects) == 2
    assert outcome.rejects[1].reason is Reason.OVERSIZE


def test_the_cases_read_the_same_trades_by_the_documents_alone() -> None:
    for frame in (SPOT, LINEAR, COIN):
        wire = cases_of("htx").wire(json.loads(frame, parse_float=str))
        assert wire is not None
        block, _ = read([gzip.compress(frame)])
        assert {trade.trade_id for trade in wire} == set(block.trade_id)
