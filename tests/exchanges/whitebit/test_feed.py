"""WhiteBIT: exact times, the order of a frame, and trades that cannot be read."""

import json

from actors.feed.decoder import Decoder
from actors.model.ticks import Block, Reason
from tests.harness.exchange_values import dialect_of

NOW_NS = 1_790_000_000_000_000_000


def row(id_: int, time: str = "1788335142.5668371", **changes: object) -> str:
    fields = {"id": id_, "price": "77572.99", "amount": "0.012017", "type": "buy", "rpi": False, **changes}
    return json.dumps(fields).replace("{", f'{{"time": {time}, ', 1)


def frame(*rows: str) -> bytes:
    return f'{{"method": "trades_update", "params": ["BTC_USDT", [{", ".join(rows)}]], "id": null}}'.encode()


def reader() -> Decoder:
    return Decoder("whitebit", dialect_of("whitebit"), {"BTC_USDT": "BTC/USDT"})


def test_times_are_the_digits_of_the_wire() -> None:
    """As binary fractions they would be nanoseconds off."""
    block = Block("whitebit")
    times = ["1788335142.5668371", "1788335142", "1788335142.5", "1788335142.56683712", "1788335142.0000001"]
    reader().read([frame(row(at, time)) for at, time in enumerate(times)], NOW_NS, block)
    assert [time and time - 1788335142 * 10**9 for time in block.exchange_ns] == [
        *(566_837_100, 0, 500_000_000, 566_837_120, 100)
    ]


def test_frames_are_newest_first() -> None:
    block = Block("whitebit")
    reader().read([frame(row(3), row(2), row(1)), frame(row(5), row(4))], NOW_NS, block)
    assert block.trade_id == ["1", "2", "3", "4", "5"]


def test_old_trades_come_after_each_request() -> None:
    block, decoder = Block("whitebit"), reader()
    decoder.requested(["BTC_USDT"], 1788335142 * 10**9)
    decoder.read([frame(row(2, "1788335141.9"), row(1, "1788335100.1")), frame(row(3))], NOW_NS, block)
    decoder.requested(["BTC_USDT"], 1788335143 * 10**9)
    decoder.read([frame(row(3), row(2, "1788335141.9")), frame(row(4, "1788335144.1"))], NOW_NS, block)
    assert block.source == ["snapshot", "snapshot", "stream", "snapshot", "snapshot", "stream"]


def test_one_bad_trade_costs_only_itself() -> None:
    block = Block("whitebit")
    bad = (
        (row(2, '"now"'), Reason.BAD_TIME),
        (row(3, "-5"), Reason.BAD_TIME),
        (row(3, "1e400"), Reason.BAD_TIME),
        (row(3, "null"), Reason.BAD_TYPE),
        (row(4, price=5), Reason.BAD_TYPE),
        (row(5, amount="0"), Reason.BAD_VOLUME),
        (row(6, type="hold"), Reason.BAD_SIDE),
        (json.dumps({"id": 7}), Reason.MISSING_FIELD),
    )
    outcome = reader().read([frame(row(9), *(text for text, _ in bad), row(1))], NOW_NS, block)
    assert block.trade_id == ["9", "1"]
    assert [reject.reason for reject in outcome.rejects] == [reason for _, reason in bad]
