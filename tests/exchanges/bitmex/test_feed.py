"""BitMEX's rows of its own, its spot, and pages that end within a millisecond."""

import json

from actors.exchanges.contract.history import TradeRange
from actors.feed.decoder import Decoder
from actors.model.ticks import Block
from tests.harness.exchange_cases import query_of
from tests.harness.exchange_values import dialect_of, history_of

NOW_NS = 1_790_000_000_000_000_000


def row(**changes: object) -> dict[str, object]:
    usual = {
        **{
            "timestamp": "2026-09-02T07:34:37.309Z",
            "symbol": "XBTUSD",
            "side": "Buy",
            "size": 8000,
            "price": 77454.5,
        },
        **{"trdMatchID": "00000000-006d-1000-0000-00367d215623", "homeNotional": 0.1032864},
    }
    return usual | changes


def test_settlements_without_a_side_are_kept_and_spot_is_counted_in_base() -> None:
    without = row()
    del without["side"]
    rows = [without, row(side=""), row(symbol="XBT_USDT", size=10328640)]
    frame = json.dumps({"table": "trade", "action": "insert", "data": rows}).encode()
    block = Block("bitmex")
    Decoder("bitmex", dialect_of("bitmex"), {"XBTUSD": "A", "XBT_USDT": "B"}).read([frame], NOW_NS, block)
    assert block.side == [None, None, "buy"] and block.volume == ["8000", "8000", "0.1032864"]


def test_after_a_page_that_ends_within_a_millisecond_all_of_that_comes_again_or_what_is_behind_it() -> None:
    history, wanted = history_of("bitmex"), TradeRange(from_ns=NOW_NS)
    early = row(timestamp="2026-09-02T07:34:37.308Z")
    page = history.page(json.dumps([early, row(), row()]).encode(), {}, query_of("bitmex", wanted, rows=3))
    assert page.cursor == "2026-09-02T07:34:37.309Z"
    whole = query_of("bitmex", wanted, page.cursor, rows=2)
    page = history.page(json.dumps([row(), row()]).encode(), {}, whole)
    assert page.cursor == "2026-09-02T07:34:37.309Z 2"
    following = query_of("bitmex", wanted, page.cursor, rows=2)
    assert history.page(json.dumps([row(), row()]).encode(), {}, following).cursor == "2026-09-02T07:34:37.309Z 4"
    assert history.page(json.dumps([row()]).encode(), {}, following).cursor is None
