"""Coinbase's history finds a time by halving the ids."""

import json

import pytest

from actors.exchanges.contract.history import (
    TradeRange,
)
from tests.harness.exchange_cases import query_of
from tests.harness.exchange_values import history_of


@pytest.mark.parametrize("newest", [3, 777, 1_000_003])
def test_coinbase_finds_a_time_by_halving_the_ids(newest: int) -> None:
    """A market of one trade a second, the first with id 1 at second 1."""
    for wanted in sorted({1, newest // 3 + 1, newest - 1, newest, newest + 5}):
        trade_range = TradeRange(from_ns=0, to_ns=wanted * 1_000_000_000)
        asked, requests = query_of("coinbaseexchange", trade_range), 0
        while asked.cursor is None or asked.cursor.startswith("seek"):
            requests += 1
            parameters = dict(history_of("coinbaseexchange").request(asked).query)
            id_ = min(newest, int(parameters.get("after", newest + 1)) - 1)
            assert parameters["limit"] == "1" and requests < 20
            day, second = divmod(id_, 86_400)
            time = f"1970-01-{day + 1:02d}T{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}Z"
            body = json.dumps([{"time": time, "trade_id": id_, "price": "1", "size": "1", "side": "buy"}])
            cursor = history_of("coinbaseexchange").page((body if id_ > 0 else "[]").encode(), {}, asked).cursor
            assert cursor is not None
            asked = query_of("coinbaseexchange", trade_range, cursor)
        assert asked.cursor is not None
        assert 0 <= int(asked.cursor) - 1 - min(wanted, newest) <= 501
