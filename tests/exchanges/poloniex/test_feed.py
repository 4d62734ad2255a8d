"""Poloniex's perpetuals, whose frames have other keys than those of spot."""

import json

from actors.feed.decoder import Decoder
from actors.model.ticks import Block
from tests.harness.exchange_values import dialect_of

NOW_NS = 1_790_000_000_000_000_000


def test_frames_of_perpetuals_are_read_by_their_own_keys() -> None:
    usual = {
        "s": "BTC_USDT_PERP",
        "side": "sell",
        "px": "103868.38",
        "qty": "22",
        "amt": "2285.1",
        "cT": 1734354688285,
    }
    rows = [{**usual, "id": 105091009}, {**usual, "id": "105091010"}]
    frames = [json.dumps({"channel": "trades", "data": [row]}).encode() for row in rows]
    block = Block("poloniex")
    decoder = Decoder("poloniex", dialect_of("poloniex"), {"BTC_USDT_PERP": "BTC/USDT:USDT"})
    assert decoder.read(frames, NOW_NS, block).ticks == 2
    assert (block.volume, block.trade_id) == (["22", "22"], ["105091009", "105091010"])
    assert block.exchange_ns == [1_734_354_688_285_000_000] * 2
