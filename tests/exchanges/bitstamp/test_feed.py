"""Bitstamp: perpetuals, odd amounts and times, frames that cannot be read, and how far back REST is asked."""

import json

import pytest
from msgspec.structs import replace

from actors.exchanges.bitstamp.history import request
from actors.exchanges.contract.history import TradeRange
from actors.feed.decoder import Decoder
from actors.model.ticks import Block, Reason
from tests.harness.exchange_cases import query_of
from tests.harness.exchange_values import dialect_of

NOW_NS = 1_790_000_000_000_000_000
NAMES = {"btcusd": "BTC/USD", "btcusd-perp": "BTC/USD:USD"}


def frame(native: str = "btcusd", **changes: object) -> bytes:
    data = {"id": 628186942, "timestamp": "1788335012", "amount": 6.514e-05, "amount_str": "0.00006514"}
    rest = {"price": 77558.07, "price_str": "77558.07", "type": 1, "microtimestamp": "1788335012854000"}
    fields = {key: value for key, value in {**data, **rest, **changes}.items() if value is not ...}
    return json.dumps({"data": fields, "channel": f"live_trades_{native}", "event": "trade"}).encode()


def read(*frames: bytes) -> tuple[Block, list[Reason]]:
    block = Block("bitstamp")
    outcome = Decoder("bitstamp", dialect_of("bitstamp"), NAMES).read(list(frames), NOW_NS, block)
    return block, [reject.reason for reject in outcome.rejects]


def test_a_perpetual_has_a_long_id_and_milliseconds() -> None:
    more = {"id": 2001939623936278528, "id_str": "2001939623936278528", "timestamp": "1788335012854"}
    block, _ = read(frame("btcusd-perp", **more), frame("btcusd-perp", **more, microtimestamp=...), frame())
    assert block.trade_id == ["2001939623936278528", "2001939623936278528", "628186942"]
    assert block.symbol == ["BTC/USD:USD", "BTC/USD:USD", "BTC/USD"]
    assert block.exchange_ns == [1788335012854000000] * 3


def test_amounts_are_the_digits_of_the_text() -> None:
    block, _ = read(frame(amount_str="1E-8", price=3651.3000000000002, price_str="3651.30"))
    assert (block.price, block.volume) == (["3651.30"], ["0.00000001"])


def test_seconds_are_read_where_there_is_nothing_finer() -> None:
    block, _ = read(frame(microtimestamp=...))
    assert block.exchange_ns == [1788335012000000000]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"type": 2}, Reason.BAD_SIDE),
        ({"type": "1"}, Reason.BAD_TYPE),
        ({"type": True}, Reason.BAD_TYPE),
        ({"price_str": 5.0}, Reason.BAD_TYPE),
        ({"price_str": "-1"}, Reason.BAD_PRICE),
        ({"amount_str": "0"}, Reason.BAD_VOLUME),
        ({"amount_str": ...}, Reason.MISSING_FIELD),
        ({"microtimestamp": "soon"}, Reason.BAD_TIME),
        ({"microtimestamp": "9" * 40}, Reason.BAD_TIME),
        ({"microtimestamp": ..., "timestamp": ...}, Reason.BAD_TIME),
        ({"id": "628186942"}, Reason.BAD_TYPE),
        ({"native": "nopeusd"}, Reason.UNKNOWN_SYMBOL),
    ],
)
def test_a_frame_that_cannot_be_read_costs_no_other(changes: dict[str, object], reason: Reason) -> None:
    block, reasons = read(frame(), frame(**changes), frame())  # type: ignore[arg-type]
    assert (len(block), reasons) == (2, [reason])


def test_another_channel_is_no_trade() -> None:
    own = frame().replace(b"live_trades_", b"private-my_trades_")
    assert read(frame(), own)[1] == [Reason.UNKNOWN_MESSAGE]


@pytest.mark.parametrize(("ago_s", "span"), [(30, "minute"), (59, "hour"), (3_000, "hour"), (4_000, "day")])
def test_the_shortest_span_that_reaches_back_is_asked_for(ago_s: int, span: str) -> None:
    query = query_of("bitstamp", TradeRange(from_ns=NOW_NS - ago_s * 10**9))
    assert request(replace(query, now_ns=NOW_NS)).query == (("time", span),)
