"""What each dialect makes of messages that are no sound trades: answers, heartbeats, farewells."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.exchanges.contract.feed import Ack, Alive, Condition, Control, Leaving, Refusal, TradeLike, Unsubscribed
from tests.harness.capture_files import EXCHANGES
from tests.harness.exchange_values import dialect_of


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
            Ack(("BTC-USD", "ETH-USD"), whole=True),
        ),
        (
            "coinbaseexchange",
            '{"type":"subscriptions","channels":[{"name":"level2","product_ids":["A"]}]}',
            Ack(whole=True),
        ),
        (
            "coinbaseexchange",
            '{"type":"error","message":"Failed to subscribe","reason":"FOO-USD is not a valid product"}',
            Refusal("Failed to subscribe: FOO-USD is not a valid product", ("FOO-USD",)),
        ),
        (
            "coinbaseexchange",
            '{"type":"error","message":"Too many requests"}',
            Refusal("Too many requests", passing=True),
        ),
        ("kraken", '{"channel":"heartbeat"}', Alive()),
        ("kraken", '{"channel":"status","type":"update","data":[{"system":"online"}]}', Condition()),
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
    assert dialect_of(exchange).control(parsed) == meaning


@pytest.mark.parametrize(
    ("exchange", "message", "natives", "request_id"),
    [
        ("binance", '{"code":-1003,"msg":"Way too much request weight used; IP banned","id":3}', (), "3"),
        ("binance", '{"error":{"code":4,"msg":"Too many subscriptions"},"id":19}', (), "19"),
        ("binance", '{"error":{"code":-1008,"msg":"Server is currently overloaded"},"id":null}', (), ""),
        ("bybit", '{"success":false,"ret_msg":"Too many visits!","req_id":"2","op":"subscribe"}', (), "2"),
        ("bybit", '{"success":false,"ret_code":10006,"ret_msg":"","req_id":"2","op":"subscribe"}', (), "2"),
        (
            "coinbaseexchange",
            '{"type":"error","message":"Failed to subscribe","reason":"rate limit exceeded"}',
            (),
            "",
        ),
        ("coinbaseexchange", '{"type":"error","message":"Internal server error"}', (), ""),
        ("kraken", '{"Error":"Exceeded msg rate"}', (), ""),
        ("kraken", '{"error":"Exceeded msg rate","req_id":7}', (), "7"),
        (
            "kraken",
            '{"error":"EAPI:Rate limit exceeded","method":"subscribe","req_id":7,"success":false,"symbol":"A/B"}',
            ("A/B",),
            "",
        ),
        ("kraken", '{"error":"EService:Unavailable","method":"subscribe","req_id":7,"success":false}', (), "7"),
        ("okx", '{"event":"error","msg":"Requests too frequent","code":"60014","connId":"a"}', (), ""),
        ("okx", '{"event":"error","msg":"Rate limit reached","code":"50011","id":"3"}', (), "3"),
        ("okx", '{"event":"error","msg":"Too Many Requests","code":"1","id":"3"}', (), "3"),
        (
            "okx",
            '{"event":"error","msg":"System error","code":"50026","arg":{"channel":"trades","instId":"A-B"}}',
            ("A-B",),
            "",
        ),
    ],
)
def test_a_refusal_about_rate_or_the_exchanges_own_trouble_is_not_about_markets(
    exchange: str, message: str, natives: tuple[str, ...], request_id: str
) -> None:
    control = dialect_of(exchange).control(json.loads(message))
    assert isinstance(control, Refusal) and control.passing
    assert (control.natives, control.request_id) == (natives, request_id)


@pytest.mark.parametrize(
    ("exchange", "message", "meaning"),
    [
        (
            "kraken",
            '{"method":"unsubscribe","result":{"channel":"trade","symbol":"A/B"},"success":true}',
            Unsubscribed(("A/B",)),
        ),
        ("kraken", '{"method":"unsubscribe","result":{"channel":"trade"},"success":true}', Unsubscribed()),
        ("kraken", '{"method":"unsubscribe","result":{"channel":"book","symbol":"A/B"},"success":true}', Alive()),
        ("kraken", '{"method":"unsubscribe","error":"Subscription Not Found","success":false}', Alive()),
        ("okx", '{"event":"unsubscribe","arg":{"channel":"trades","instId":"A-B"}}', Unsubscribed(("A-B",))),
        ("okx", '{"event":"unsubscribe","arg":{"channel":"books","instId":"A-B"}}', Alive()),
        (
            "okx",
            '{"event":"channel-conn-count-error","channel":"trades","connCount":"31"}',
            Unsubscribed((), "channel-conn-count-error, too many connections of this channel"),
        ),
        ("okx", '{"event":"channel-conn-count-error","channel":"orders","connCount":"31"}', Alive()),
        ("okx", '{"event":"channel-conn-count","channel":"trades","connCount":"3"}', Alive()),
        ("bybit", '{"success":true,"ret_msg":"","op":"unsubscribe"}', Unsubscribed()),
        (
            "bybit",
            '{"success":true,"ret_msg":"","op":"unsubscribe","args":["publicTrade.AB","tickers.AB"]}',
            Unsubscribed(("AB",)),
        ),
        ("bybit", '{"success":false,"ret_msg":"no","op":"unsubscribe"}', Alive()),
        ("coinbaseexchange", '{"type":"subscriptions","channels":[]}', Ack(whole=True)),
        ("kraken", '{"error":"Already subscribed","success":false,"symbol":"A/B"}', Ack(("A/B",))),
        (
            "bybit",
            '{"success":false,"ret_msg":"error:already subscribed,topic:publicTrade.AB","req_id":"3"}',
            Ack(("AB",), "3"),
        ),
        (
            "kraken",
            '{"channel":"status","data":[{"system":"maintenance"}]}',
            Condition("maintenance", matches=False),
        ),
        (
            "kraken",
            '{"channel":"status","data":[{"system":"cancel_only"}]}',
            Condition("cancel_only", matches=False),
        ),
        ("kraken", '{"channel":"status","data":[{"system":"post_only"}]}', Condition("post_only", matches=False)),
        ("kraken", '{"channel":"status","data":[{"system":"limit_only"}]}', Condition("limit_only")),
        ("kraken", '{"channel":"status","data":[{"system":"of a new kind"}]}', Condition("of a new kind")),
        ("kraken", '{"channel":"status","data":[]}', Condition()),
        ("kraken", '{"channel":"status","data":[[]]}', Condition()),
    ],
)
def test_what_the_exchange_does_and_says_of_its_own_accord_is_understood(
    exchange: str, message: str, meaning: Control
) -> None:
    assert dialect_of(exchange).control(json.loads(message)) == meaning


KEYS = """stream data e id code error result msg type channels name product_ids message reason channel method
success symbol req_id event arg instId topic op ret_msg system Error args ret_code"""

words = st.sampled_from(KEYS.split()) | st.text(max_size=3)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=5),
    max_leaves=12,
)


@given(json_values)
def test_no_message_whatever_makes_a_dialect_stumble(message: object) -> None:
    for exchange in EXCHANGES:
        dialect_of(exchange).control(message)
