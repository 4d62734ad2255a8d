"""Crypto.com's order of rows, its frames of before 2023, and ids that several fills share."""

import json

from actors.feed.decoder import Decoder
from actors.model.ticks import Block, Reason
from tests.harness.exchange_values import dialect_of

NOW_NS = 1_790_000_000_000_000_000
NEW = {
    "d": "1788335095880381802",
    "t": 1788335095880,
    "p": "77558.92",
    "q": "0.00040",
    "s": "SELL",
    "i": "BTC_USDT",
}
OLD = {"d": 2733854074994198560, "t": 1659312000503, "p": 23297.35, "q": 2e-05, "s": "BUY", "i": "BTC_USDT"}


def read(*rows: dict[str, object]) -> tuple[Block, list[Reason]]:
    result = {"instrument_name": "BTC_USDT", "channel": "trade", "data": rows}
    frame = json.dumps({"id": -1, "method": "subscribe", "code": 0, "result": result}).encode()
    block = Block("cryptocom")
    outcome = Decoder("cryptocom", dialect_of("cryptocom"), {"BTC_USDT": "BTC/USDT"}).read([frame], NOW_NS, block)
    return block, [reject.reason for reject in outcome.rejects]


def test_rows_are_turned_round_and_fills_that_share_an_id_are_all_there() -> None:
    block, rejects = read({**NEW, "t": 1788335095881}, {**NEW, "q": "0.1"}, NEW)
    assert block.volume == ["0.00040", "0.1", "0.00040"] and block.trade_id == ["1788335095880381802"] * 3
    assert block.exchange_ns == [1788335095880000000, 1788335095880000000, 1788335095881000000] and not rejects


def test_frames_of_numbers_are_read_and_no_mixture_of_both_forms() -> None:
    block, _ = read(OLD)
    row = (block.trade_id, block.price, block.volume, block.side)
    assert row == (["2733854074994198560"], ["23297.35"], ["0.00002"], ["buy"])
    block, rejects = read({**OLD, "p": "23297.35"})
    assert not len(block) and rejects == [Reason.BAD_TYPE]
