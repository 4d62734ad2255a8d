"""Binance's history finds the id of a time, hour by hour."""

import json

from actors.exchanges.contract.history import (
    TradeRange,
)
from tests.harness.exchange_cases import query_of
from tests.harness.exchange_values import history_of
from tests.harness.paths import capture

MS = 1_000_000


def test_an_id_is_found_by_its_time_among_the_aggregates() -> None:
    body = capture("binance/rest/aggTrades_BTCUSDT_startTime_endTime_2020-11-18.json").read_bytes()
    rows = json.loads(body)
    trade_range = TradeRange(from_ns=1605740428000 * MS, to_ns=1605750000000 * MS)
    asked = query_of("binance", trade_range, symbol="BTC/USDT")
    assert dict(history_of("binance").request(asked).query)["startTime"] == "1605740428000"
    page = history_of("binance").page(body, {}, asked)
    assert not page.trades.price and page.cursor == str(rows[0]["f"])
    assert history_of("binance").page(body, {}, query_of("binance", trade_range, channel="aggTrade")).cursor == str(
        rows[0]["a"]
    )
    following = history_of("binance").request(query_of("binance", trade_range, page.cursor))
    assert following.path == "/api/v3/historicalTrades" and dict(following.query)["fromId"] == str(rows[0]["f"])


def test_the_search_goes_hour_by_hour_and_not_past_the_stretch() -> None:
    asked, hours = query_of("binance", TradeRange(from_ns=5 * MS, to_ns=2 * 3_600_000 * MS)), 0
    while True:
        parameters = dict(history_of("binance").request(asked).query)
        assert int(parameters["endTime"]) - int(parameters["startTime"]) < 3_600_000
        cursor, hours = history_of("binance").page(b"[]", {}, asked).cursor, hours + 1
        if cursor is None:
            break
        asked = query_of("binance", asked.trade_range, cursor)
    assert hours == 2
