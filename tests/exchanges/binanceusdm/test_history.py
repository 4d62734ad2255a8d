"""What the futures exchanges' histories leave out never counts as fetched."""

from typing import Any

import msgspec
import pytest

from actors.backfill.paging import Progress
from actors.exchanges.contract.feed import MS
from actors.exchanges.contract.history import TradeRange
from tests.harness.exchange_cases import query_of
from tests.harness.exchange_values import history_of

FUTURES = ["binanceusdm", "binancecoinm"]
HOUR_MS = 3_600_000
NOW_MS = 1_790_000_000_000


def newest(count: int) -> bytes:
    """Of two trades a second the newest."""
    rows = [
        {"id": 10_000 + n, "price": "1", "qty": "1", "quoteQty": "1", "time": NOW_MS - 500 * (count - n)}
        for n in range(count)
    ]
    return msgspec.json.encode([{**row, "isBuyerMaker": False} for row in rows])


def taken(name: str, channel: str, trade_range: TradeRange, *pages: tuple[str | None, bytes]) -> Progress:
    """The progress after answers to requests with these cursors, as of NOW_MS."""
    history, following = history_of(name), ""
    progress = Progress(history, trade_range)
    for cursor, body in pages:
        query = query_of(name, trade_range, cursor, channel=channel)
        page = history.page(body, {}, msgspec.structs.replace(query, now_ns=NOW_MS * MS))
        progress.take(page)
        following = page.cursor or ""
    if not following:
        progress.exhausted()
    return progress


@pytest.mark.parametrize("name", FUTURES)
@pytest.mark.parametrize(
    ("rows", "since_ms", "complete"),
    [
        (1_000, 400_000, True),
        (1_000, 500_000, False),  # the oldest one's own time: others of it may be left out
        (1_000, 600_000, False),
        (999, 600_000, True),  # the market never had more
    ],
)
def test_of_single_trades_only_the_newest_thousand_can_be_requested(
    name: str, rows: int, since_ms: int, complete: bool
) -> None:
    wanted = TradeRange(from_ns=(NOW_MS - since_ms) * MS, to_ns=(NOW_MS - 1_000) * MS)
    assert taken(name, "trade", wanted, (None, newest(rows))).complete is complete


@pytest.mark.parametrize("name", FUTURES)
@pytest.mark.parametrize(("age_h", "complete"), [(30, False), (20, True)])
def test_an_hour_without_aggregates_shows_nothing_beyond_their_documented_depth(
    name: str, age_h: int, complete: bool
) -> None:
    begin_ms = NOW_MS - age_h * HOUR_MS
    row: dict[str, Any] = {"a": 7, "p": "1", "q": "1", "f": 70, "l": 71, "T": begin_ms + HOUR_MS + 5, "m": False}
    found = msgspec.json.encode([row])
    wanted = TradeRange(from_ns=begin_ms * MS, to_ns=(begin_ms + 2 * HOUR_MS) * MS)
    pages = (None, b"[]"), (f"from {begin_ms + HOUR_MS}", found), ("7", found)
    assert taken(name, "aggTrade", wanted, *pages).complete is complete
