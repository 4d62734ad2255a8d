"""BingX's compressed frames: what is stored of volumes with many decimals, and what is rejected."""

import gzip
import json

import pytest

from actors.exchanges.contract.feed import Reply
from actors.feed.decoder import Decoder, Outcome
from actors.model.ticks import Block, Reason
from tests.harness.exchange_values import dialect_of

TRADE = {"q": "0.5", "p": "76398.30", "T": 1788348255196, "m": False, "s": "BTC-USDT"}


def frame(data: object) -> bytes:
    return gzip.compress(json.dumps({"code": 0, "dataType": "BTC-USDT@trade", "data": data}).encode())


def read(*messages: bytes) -> tuple[Block, Outcome]:
    block = Block("bingx")
    return block, Decoder("bingx", dialect_of("bingx"), {"BTC-USDT": "BTC/USDT"}).read(list(messages), 5, block)


def test_a_trade_with_more_decimals_than_can_be_stored_keeps_those_that_can() -> None:
    block, outcome = read(frame({**TRADE, "q": "0.0074439581595275245", "t": "233847470"}))
    assert block.volume == ["0.007443958159527524"] and block.trade_id == ["233847470"] and not outcome.rejects


def test_one_trade_or_a_list_of_them_is_read_oldest_first() -> None:
    rows = [{**TRADE, "T": 1788348255196 - age, "m": age > 1} for age in range(3)]
    block, _ = read(frame(TRADE), gzip.compress(b"Ping"), frame(rows))
    assert [ns // 1_000_000 % 1000 for ns in block.exchange_ns if ns] == [196, 194, 195, 196]
    assert block.side == ["buy", "sell", "buy", "buy"] and set(block.price) == {"76398.30"}


def test_a_ping_between_trades_is_answered() -> None:
    _, outcome = read(frame(TRADE), gzip.compress(b"Ping"))
    assert outcome.controls == [Reply("Pong")] and outcome.ticks == 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"q": "0.0000000000000000001"}, Reason.BAD_VOLUME),
        ({"q": 0.5}, Reason.BAD_TYPE),
        ({"p": "0"}, Reason.BAD_PRICE),
        ({"m": "true"}, Reason.BAD_TYPE),
        ({"T": "1788348255196"}, Reason.BAD_TYPE),
        ({"T": 0}, Reason.BAD_TIME),
        ({"s": "NOPE-USDT"}, Reason.UNKNOWN_SYMBOL),
    ],
)
def test_an_invalid_trade_costs_only_itself(change: dict[str, object], reason: Reason) -> None:
    block, outcome = read(frame([TRADE, {**TRADE, **change}, TRADE]), frame({**TRADE, **change}))
    assert [reject.reason for reject in outcome.rejects] == [reason, reason] and len(block) == 2
