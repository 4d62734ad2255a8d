"""Bitget's frames: which market their trades are of, their order, and their forms in three versions."""

import json

import pytest

from actors.feed.decoder import Decoder
from actors.model.ticks import Block, Reason
from tests.harness.exchange_values import dialect_of

MARKETS = {"SPOT:BTCUSDT": "BTC/USDT", "USDT-FUTURES:BTCUSDT": "BTC/USDT:USDT"}
ARG = {"instType": "SPOT", "channel": "trade", "instId": "BTCUSDT"}


def frame(arg: dict[str, str], rows: list[object], action: str = "update") -> bytes:
    return json.dumps({"action": action, "arg": arg, "data": rows, "ts": 1788335044369}).encode()


def row(age: int) -> dict[str, str]:
    """So many milliseconds before the newest."""
    ms = 1788335044368 - age
    return {"ts": str(ms), "price": "77600.75", "size": "0.0105", "side": "buy", "tradeId": str(ms)}


def read(*messages: bytes) -> Block:
    block = Block("bitget")
    outcome = Decoder("bitget", dialect_of("bitget"), MARKETS).read(list(messages), 5, block)
    assert not outcome.rejects
    return block


def test_trades_are_of_the_market_in_the_argument_and_come_oldest_first() -> None:
    block = read(
        frame(ARG, [row(0), row(1), row(2)], "snapshot"), frame({**ARG, "instType": "USDT-FUTURES"}, [row(0)])
    )
    assert block.symbol == ["BTC/USDT"] * 3 + ["BTC/USDT:USDT"]
    assert block.source == ["snapshot"] * 3 + ["stream"]
    assert block.trade_id == ["1788335044366", "1788335044367", "1788335044368", "1788335044368"]


@pytest.mark.parametrize(
    ("arg", "trade", "trade_id"),
    [
        (
            {"instType": "spot", "topic": "publicTrade", "symbol": "BTCUSDT"},
            {"i": "7", "p": "1.50", "v": "2", "S": "sell", "T": "1777358880170", "L": "8", "isRPI": "no"},
            "7",
        ),
        ({**ARG, "instType": "sp"}, ["1777358880170", "1.50", "2", "sell"], None),
    ],
)
def test_other_versions_are_read_like_this_one(arg: dict[str, str], trade: object, trade_id: str | None) -> None:
    block = read(frame(arg, [trade]))
    assert (block.symbol, block.price, block.volume) == (["BTC/USDT"], ["1.50"], ["2"])
    assert (block.side, block.trade_id, block.exchange_ns) == (["sell"], [trade_id], [1_777_358_880_170_000_000])


def test_a_market_of_another_kind_was_not_asked_for() -> None:
    block = Block("bitget")
    bad = frame({**ARG, "instType": "COIN-FUTURES"}, [row(0)])
    outcome = Decoder("bitget", dialect_of("bitget"), MARKETS).read([bad], 5, block)
    assert [reject.reason for reject in outcome.rejects] == [Reason.UNKNOWN_SYMBOL] and not len(block)
