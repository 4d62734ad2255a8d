"""What each exchange makes of messages that are no sound trades: answers, heartbeats, announcements."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.exchanges.registry import EXCHANGES
from tests.harness.exchange_cases import cases_of, market_of, parsed
from tests.harness.exchange_values import dialect_of

every_exchange = pytest.mark.parametrize("name", EXCHANGES)


@every_exchange
def test_a_message_that_is_no_sound_trade_means_what_the_exchange_says_it_means(name: str) -> None:
    cases = cases_of(name)
    markets = {case.native: market_of(name, case.symbol, case.channel) for case in cases.markets}
    decoder = dialect_of(name).decoder_for(markets)
    for before in cases.before:
        decoder.control(json.loads(before))
    assert cases.controls
    for message, meaning in cases.controls:
        assert decoder.control(parsed(message)) == meaning, message


KEYS = """stream data e id code error result msg type channels name product_ids message reason channel method
success symbol req_id event arg instId topic op ret_msg system Error args ret_code ping ts status err-code err-msg
subbed unsubbed ch tick chanId version ty cd"""

words = st.sampled_from(KEYS.split()) | st.text(max_size=3)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=5),
    max_leaves=12,
)


@given(json_values)
def test_no_message_whatever_makes_a_dialect_raise(message: object) -> None:
    for name in EXCHANGES:
        dialect_of(name).decoder_for({}).control(message)
