"""Bithumb: rows of its first API beside the second's, and how far pages of the history lead."""

import json

from actors.exchanges.bithumb.history import parse
from actors.feed.decoder import Decoder
from actors.model.ticks import Block, Reason
from tests.exchanges.bithumb.cases import TICKS
from tests.harness.capture_files import incoming
from tests.harness.exchange_cases import query_of
from tests.harness.exchange_values import dialect_of

NOW_NS = 1_790_000_000_000_000_000
NAMES = {"KRW-CON": "CON/KRW", "KRW-GOM2": "GOM2/KRW", "KRW-BTC": "BTC/KRW"}


def test_one_bad_row_of_the_first_api_costs_only_itself() -> None:
    frame = json.loads(incoming("bithumb", "transaction_2021-06-01_RETIRED.jsonl")[-1])
    (good,) = frame["content"]["list"]
    bad = (
        ({"contDtm": "2021-06-02T08:43:41+09:00"}, Reason.BAD_TIME),
        ({"contPrice": "-7.5"}, Reason.BAD_PRICE),
        ({"contQty": 626}, Reason.BAD_TYPE),
        ({"buySellGb": "3"}, Reason.BAD_SIDE),
        ({"symbol": "NOPE_KRW"}, Reason.UNKNOWN_SYMBOL),
        ({"symbol": "GOM2"}, Reason.UNKNOWN_SYMBOL),
    )
    frame["content"]["list"] = [good, *({**good, **changes} for changes, _ in bad), good]
    block = Block("bithumb")
    outcome = Decoder("bithumb", dialect_of("bithumb"), NAMES).read([json.dumps(frame).encode()], NOW_NS, block)
    assert [reject.reason for reject in outcome.rejects] == [reason for _, reason in bad]
    assert block.exchange_ns == [1622591021416901000] * 2 and block.trade_id == [None, None]


def test_frames_of_both_apis_in_one_read_are_read_one_by_one() -> None:
    (trade,) = incoming("bithumb", "v2_trade_2026-09-23.jsonl")
    *_, first = incoming("bithumb", "transaction_2021-06-01_RETIRED.jsonl")
    for messages in ([trade, first, trade], [first, trade, first]):
        block = Block("bithumb")
        assert Decoder("bithumb", dialect_of("bithumb"), NAMES).read(messages, NOW_NS, block).ticks == 3


def test_a_page_that_leads_nowhere_is_the_last() -> None:
    assert parse(b"[]", {}, query_of("bithumb", cursor="5")).cursor is None
    assert parse(TICKS, {}, query_of("bithumb", cursor="1079953210371761650")).cursor is None
    assert parse(TICKS, {}, query_of("bithumb", cursor="1079953210371761800")).cursor == "1079953210371761650"
