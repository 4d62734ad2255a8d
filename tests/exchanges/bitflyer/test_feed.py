"""bitFlyer: sides, times and pages that no recording here shows."""

import json

from actors.exchanges.bitflyer.history import parse
from actors.feed.decoder import Decoder
from actors.model.ticks import Block, Reason
from tests.harness.exchange_cases import query_of
from tests.harness.exchange_values import dialect_of

NOW_NS = 1_790_000_000_000_000_000
S_NS = 1_000_000_000


def row(id_: int, **changes: object) -> dict[str, object]:
    fields = {"id": id_, "side": "SELL", "price": 13633748.0, "size": 0.03}
    return {**fields, "exec_date": "2026-09-23T03:31:27.0873222Z", **changes}


def frame(*rows: object, channel: str = "lightning_executions_FX_BTC_JPY") -> bytes:
    params = {"channel": channel, "message": rows}
    return json.dumps({"jsonrpc": "2.0", "method": "channelMessage", "params": params}).encode()


def reader() -> Decoder:
    return Decoder("bitflyer", dialect_of("bitflyer"), {"FX_BTC_JPY": "BTC/JPY:JPY"})


def test_a_trade_of_an_auction_has_no_side() -> None:
    block = Block("bitflyer")
    reader().read([frame(row(1, side=""), row(2, side="BUY"))], NOW_NS, block)
    assert block.side == [None, "buy"]
    body = json.dumps([row(1, side="")]).encode()
    assert parse(body, {}, query_of("bitflyer")).trades.side == [None]


def test_times_have_up_to_seven_decimals() -> None:
    block = Block("bitflyer")
    times = ["27.0873222Z", "27.087Z", "27Z"]
    reader().read([frame(row(1, exec_date=f"2026-09-23T03:31:{time}")) for time in times], NOW_NS, block)
    assert [time and time % S_NS for time in block.exchange_ns] == [87_322_200, 87_000_000, 0]


def test_one_bad_trade_costs_only_itself() -> None:
    bad = (
        (row(2, side="HOLD"), Reason.BAD_SIDE),
        (row(3, price=-1), Reason.BAD_PRICE),
        (row(4, size=0), Reason.BAD_VOLUME),
        (row(5, size=None), Reason.BAD_TYPE),
        (row(6, exec_date="2026-09-23 03:31:27"), Reason.BAD_TIME),
        ({"id": 7}, Reason.MISSING_FIELD),
    )
    block = Block("bitflyer")
    outcome = reader().read([frame(row(1), *(one for one, _ in bad), row(9))], NOW_NS, block)
    assert block.trade_id == ["1", "9"]
    assert [reject.reason for reject in outcome.rejects] == [reason for _, reason in bad]


def test_another_channel_is_no_trade() -> None:
    for channel in ("lightning_ticker_FX_BTC_JPY", "x_lightning_executions_FX_BTC_JPY"):
        outcome = reader().read([frame(row(1), channel=channel)], NOW_NS, Block("bitflyer"))
        assert [reject.reason for reject in outcome.rejects] == [Reason.UNKNOWN_MESSAGE], channel


def test_a_full_page_leads_to_the_ids_before_it() -> None:
    body = json.dumps([row(9), row(8)]).encode()
    assert parse(body, {}, query_of("bitflyer", rows=2)).cursor == "8"
    assert parse(body, {}, query_of("bitflyer", rows=3)).cursor is None
