"""Kraken's history goes on from `last`, and finds tokenised assets."""

import msgspec
import pytest
from msgspec.structs import replace

from actors.exchanges.contract.feed_helpers import digits
from actors.exchanges.contract.history import (
    Refused,
)
from actors.model.validation import FieldError
from tests.harness.exchange_cases import query_of
from tests.harness.exchange_values import history_of


def test_kraken_steps_back_from_last_except_where_that_leads_nowhere() -> None:
    row = '["1.5","2.5",1762795433.5,"b","l","",%d]'
    body = '{"error":[],"result":{"XXBTZUSD":[%s],"last":"1762795433500000000"}}'
    two = (body % ",".join(row % id_ for id_ in (1, 2))).encode()
    assert history_of("kraken").page(two, {}, query_of("kraken", rows=2)).cursor == "1762795433499999999"
    again = query_of("kraken", cursor="1762795433499999999", rows=2)
    assert history_of("kraken").page(two, {}, again).cursor == "1762795433500000000"
    assert (
        history_of("kraken").page(two, {}, query_of("kraken", rows=3)).cursor is None
    )  # not full: the newest page


def test_kraken_asks_for_an_unknown_pair_again_as_a_tokenised_asset_and_goes_on_so() -> None:
    unknown = b'{"error":["EQuery:Unknown asset pair"]}'
    first = query_of("kraken", symbol="AAPLx/USD", rows=1)
    page = history_of("kraken").page(unknown, {}, first)
    assert not page.trades.price and page.cursor is not None
    second = replace(first, cursor=page.cursor)
    asked = dict(history_of("kraken").request(second).query)
    assert asked == {**dict(history_of("kraken").request(first).query), "asset_class": "tokenized_asset"}
    row = b'["230.1","0.5",1762795433.5,"b","m","",7]'
    body = b'{"error":[],"result":{"AAPLxUSD":[%b],"last":"1762795433500000000"}}' % row
    page = history_of("kraken").page(body, {}, second)
    assert page.trades.native == ["AAPLx/USD"] and page.cursor is not None
    following = dict(history_of("kraken").request(replace(first, cursor=page.cursor)).query)
    assert (following["since"], following["asset_class"]) == ("1762795433499999999", "tokenized_asset")
    with pytest.raises(Refused, match="Unknown asset pair"):
        history_of("kraken").page(unknown, {}, second)


def test_decimals_keep_their_digits_as_numbers_and_as_strings() -> None:
    body = b'{"error":[],"result":{"P":[[0.00123440,"105433.60000",1762795433.9717445,"b","l","",1]],"last":"1"}}'
    trades = history_of("kraken").page(body, {}, query_of("kraken")).trades
    assert (trades.price, trades.volume) == (["0.00123440"], ["105433.60000"])
    with pytest.raises(FieldError):
        digits(msgspec.Raw(b"null"), "price")
