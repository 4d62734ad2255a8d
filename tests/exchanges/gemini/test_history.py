"""Gemini's history has milliseconds, its channel `trade` nanoseconds: each trade is stored, and once."""

import json
import time
from typing import Any, NamedTuple

import pytest

from actors.exchanges.contract.rest import RestRequest
from tests.harness.exchange_cases import query_of
from tests.harness.exchange_values import history_of
from tests.harness.refetch import MS, Refetch


class Deal(NamedTuple):
    """A trade of one price and volume, `after_ns` the first millisecond of the test."""

    after_ns: int
    tid: int


START_NS = time.time_ns() // MS * MS - 60 * 10**9  # before now, as no trade is made in the future
# The second and third are missed; the second shares its millisecond with the first, the fourth with the fifth.
TAPE = [Deal(*row) for row in ((200_000, 11), (700_000, 12), (5_300_000, 13), (90_100_000, 14), (90_400_000, 15))]
LIVE, MISSED = [TAPE[0], *TAPE[3:]], TAPE[1:3]


def time_of(deal: Deal, channel: str) -> int:
    """As the channel has it."""
    made_ns = START_NS + deal.after_ns
    return made_ns if channel == "trade" else made_ns // MS * MS


def frame(deal: Deal, channel: str) -> bytes:
    made_ns = time_of(deal, channel)
    if channel == "trade":
        row: dict[str, Any] = {
            "E": made_ns,
            "s": "btcusd",
            "t": deal.tid,
            "p": "118000.01",
            "q": "0.0042",
            "m": True,
        }
    else:
        row = {"type": "trade", "symbol": "BTCUSD", "event_id": 7, "tid": deal.tid, "timestamp": made_ns // MS}
        row |= {"price": "118000.01", "quantity": "0.0042", "side": "sell"}
    return json.dumps(row).encode()


def answer(request: RestRequest) -> Any:
    """From the millisecond asked for on, newest first."""
    since = int(dict(request.query)["timestamp"])
    rows = []
    for deal in TAPE:
        ms = (START_NS + deal.after_ns) // MS
        row = {
            "timestamp": ms // 1000,
            "timestampms": ms,
            "tid": deal.tid,
            "price": "118000.01",
            "amount": "0.0042",
        }
        if ms >= since:
            rows.append({**row, "exchange": "gemini", "type": "sell"})
    return rows[::-1]


@pytest.mark.parametrize("channel", ["trade", "l2"])
async def test_trades_of_the_milliseconds_at_both_ends_of_a_gap_are_stored_once(channel: str) -> None:
    world = Refetch("gemini", "BTC/USD", channel, answer)
    for session, deals in ((1, LIVE[:1]), (2, LIVE[1:])):
        for deal in deals:
            world.live(frame(deal, channel), time_of(deal, channel), session=session)
    result = await world.fetch(time_of(LIVE[0], channel), time_of(LIVE[1], channel))
    assert result.complete
    ids = sorted((trade_id, source) for trade_id, _, source in world.stored.elements())
    expected = [(str(deal.tid), "backfill" if deal in MISSED else "stream") for deal in TAPE]
    assert ids == expected


async def test_fills_of_one_event_without_a_tid_are_all_stored() -> None:
    """As frames of 2021 are: the id of the event is none of a trade."""
    world = Refetch("gemini", "BTC/USD", "l2", answer)
    row = {"type": "trade", "symbol": "BTCUSD", "event_id": 7, "timestamp": START_NS // MS, "price": "118000.01"}
    for volume in ("1", "2", "2"):
        text = json.dumps({**row, "quantity": volume, "side": "buy"})
        world.live(text.encode(), START_NS, session=1)
    assert [trade_id for trade_id, _, _ in world.stored.elements()] == [None] * 3


async def test_auctions_are_left_out_of_the_history_as_they_are_of_the_stream() -> None:
    def with_auction(request: RestRequest) -> Any:
        ms = (START_NS + TAPE[1].after_ns) // MS
        row = {"timestamp": ms // 1000, "timestampms": ms, "tid": 99, "price": "118000", "amount": "37.5"}
        return [*answer(request), {**row, "exchange": "gemini", "type": "auction"}]

    world = Refetch("gemini", "BTC/USD", "l2", with_auction)
    result = await world.fetch(START_NS, START_NS + TAPE[-1].after_ns)
    assert result.complete and not result.reason
    assert {trade_id for trade_id, _, _ in world.stored} == {str(deal.tid) for deal in TAPE}


def test_a_full_page_whose_newest_row_is_an_auction_leads_to_what_comes_after_it() -> None:
    rows = [
        {"timestampms": START_NS // MS, "tid": tid, "price": "1", "amount": "1", "type": "sell"} for tid in (9, 8)
    ]
    rows[0]["type"] = "auction"
    page = history_of("gemini").page(json.dumps(rows).encode(), {}, query_of("gemini", rows=2))
    assert (page.trades.trade_id, page.cursor, page.odd) == (["8"], "9", ())
