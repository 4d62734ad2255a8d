"""What each dialect makes of messages that are no sound trades: answers, heartbeats, farewells."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.dialect import Ack, Alive, Control, Leaving, Refusal, TradeLike
from actors.dialects import DIALECTS
from tests.capture_files import EXCHANGES


@pytest.mark.parametrize(
    ("exchange", "message", "meaning"),
    [
        ("binance", '{"result":null,"id":3}', Ack(request_id="3")),
        (
            "binance",
            '{"code":2,"msg":"Invalid request","id":3}',
            Refusal("2 Invalid request", request_id="3"),
        ),
        ("binance", '{"error":{"code":3,"msg":"Invalid JSON"},"id":null}', Refusal("3 Invalid JSON")),
        ("binance", '{"e":"serverShutdown","E":1}', Leaving("serverShutdown")),
        (
            "binance",
            '{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1}}',
            Leaving("serverShutdown"),
        ),
        ("binance", '{"stream":"btcusdt@trade","data":{}}', TradeLike()),
        ("binance", '{"stream":"btcusdt@depth","data":{"e":"depthUpdate","id":1,"result":1}}', None),
        (
            "coinbaseexchange",
            '{"type":"heartbeat","sequence":90,"last_trade_id":0,"product_id":"BTC-USD"}',
            Alive(),
        ),
        (
            "coinbaseexchange",
            '{"type":"subscriptions","channels":[{"name":"heartbeat","product_ids":["ETH-USD"]},'
            '{"name":"matches","product_ids":["BTC-USD","ETH-USD"],"account_ids":null}]}',
            Ack(("BTC-USD", "ETH-USD")),
        ),
        (
            "coinbaseexchange",
            '{"type":"subscriptions","channels":[{"name":"level2","product_ids":["A"]}]}',
            Alive(),
        ),
        (
            "coinbaseexchange",
            '{"type":"error","message":"Failed to subscribe","reason":"FOO-USD is not a valid product"}',
            Refusal("Failed to subscribe: FOO-USD is not a valid product", ("FOO-USD",)),
        ),
        ("coinbaseexchange", '{"type":"error","message":"Too many requests"}', Refusal("Too many requests")),
        ("kraken", '{"channel":"heartbeat"}', Alive()),
        ("kraken", '{"channel":"status","type":"update","data":[{"system":"online"}]}', Alive()),
        ("kraken", '{"channel":"trade","type":"update","data":[]}', Alive()),
        ("kraken", '{"method":"pong","req_id":1,"time_in":"x"}', Alive()),
        (
            "kraken",
            '{"method":"subscribe","req_id":1,"result":{"channel":"trade","symbol":"BTC/USD"},"success":true}',
            Ack(("BTC/USD",)),
        ),
        (
            "kraken",
            '{"method":"subscribe","req_id":1,"result":{"channel":"book","symbol":"BTC/USD"},"success":true}',
            Alive(),
        ),
        (
            "kraken",
            '{"error":"No XBT/USD","method":"subscribe","req_id":9,"success":false,"symbol":"XBT/USD"}',
            Refusal("No XBT/USD", ("XBT/USD",)),
        ),
        (
            "kraken",
            '{"error":"Bad request","req_id":9,"success":false}',
            Refusal("Bad request", request_id="9"),
        ),
        ("okx", "pong", Alive()),
        (
            "okx",
            '{"event":"subscribe","arg":{"channel":"trades","instId":"BTC-USDT"},"connId":"c"}',
            Ack(("BTC-USDT",)),
        ),
        ("okx", '{"event":"subscribe","arg":{"channel":"books5","instId":"BTC-USDT"},"connId":"c"}', Alive()),
        (
            "okx",
            '{"event":"error","code":"60018","msg":"Wrong URL, instId:FOO-USDT isn\'t there"}',
            Refusal("60018 Wrong URL, instId:FOO-USDT isn't there", ("FOO-USDT",)),
        ),
        (
            "okx",
            '{"event":"error","code":"60012","msg":"Invalid request","id":"4"}',
            Refusal("60012 Invalid request", (), "4"),
        ),
        (
            "okx",
            '{"event":"notice","code":"64008","msg":"Please reconnect."}',
            Leaving("64008 Please reconnect."),
        ),
        ("okx", '{"arg":{"channel":"trades","instId":"BTC-USDT"},"data":[]}', Alive()),
        ("okx", '{"arg":{"channel":"books5","instId":"BTC-USDT"},"data":[]}', None),
        (
            "bybit",
            '{"success":true,"ret_msg":"","conn_id":"d","req_id":"2","op":"subscribe"}',
            Ack(request_id="2"),
        ),
        ("bybit", '{"success":true,"ret_msg":"subscribe","conn_id":"d","op":"subscribe"}', Ack()),
        (
            "bybit",
            '{"success":false,"ret_msg":"Invalid symbol :[publicTrade.FOO]","req_id":"2","op":"subscribe"}',
            Refusal("Invalid symbol :[publicTrade.FOO]", request_id="2"),
        ),
        ("bybit", '{"success":true,"ret_msg":"pong","conn_id":"d","op":"ping"}', Alive()),
        ("bybit", '{"args":["1672916271846"],"op":"pong"}', Alive()),
        ("bybit", '{"topic":"publicTrade.BTCUSDT","data":[]}', Alive()),
        ("bybit", '{"topic":"tickers.BTCUSDT","data":{}}', None),
    ],
)
def test_a_message_that_is_no_trade_means_what_the_exchange_says_it_means(
    exchange: str, message: str, meaning: Control | None
) -> None:
    parsed = json.loads(message) if message.startswith("{") else message
    assert DIALECTS[exchange].control(parsed) == meaning


KEYS = """stream data e id code error result msg type channels name product_ids message reason channel method
success symbol req_id event arg instId topic op ret_msg"""

words = st.sampled_from(KEYS.split()) | st.text(max_size=3)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=5),
    max_leaves=12,
)


@given(json_values)
def test_no_message_whatever_makes_a_dialect_stumble(message: object) -> None:
    for exchange in EXCHANGES:
        DIALECTS[exchange].control(message)
