"""KuCoin's tokens, and the forms that trades of its futures have had."""

import pytest

from actors.exchanges.contract.rest import Busy, Garbled
from actors.exchanges.kucoin.feed import FUTURES_URL, SPOT_URL, TOKENS
from actors.feed.decoder import Decoder
from actors.model.ticks import Block, Reason
from tests.harness.exchange_values import dialect_of

TOKEN = (
    b'{"code":"200000","data":{"token":"2neA+b/c","instanceServers":[{"endpoint":"wss://ws-api-spot.kucoin.com/",'
    b'"encrypt":true,"protocol":"websocket","pingInterval":18000,"pingTimeout":10000}]}}'
)


@pytest.mark.parametrize("body", [TOKEN, TOKEN.replace(b'com/"', b'com"')])
def test_a_token_says_where_to_connect_and_how_often_to_ping(body: bytes) -> None:
    token = TOKENS[SPOT_URL].read(body)
    assert token.url == "wss://ws-api-spot.kucoin.com/?token=2neA%2Bb%2Fc" and token.ping_interval_s == 18


def test_each_endpoint_has_a_token_of_its_own_host() -> None:
    hosts = {url: TOKENS[url].request.url(TOKENS[url].base) for url in (SPOT_URL, FUTURES_URL)}
    assert hosts == {
        SPOT_URL: "https://api.kucoin.com/api/v1/bullet-public",
        FUTURES_URL: "https://api-futures.kucoin.com/api/v1/bullet-public",
    }
    assert {TOKENS[url].request.method for url in hosts} == {"POST"}


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b'{"code":"429000","msg":"Too Many Requests"}', Busy),
        (b'{"code":"200000"}', Busy),
        (b'{"code":"200000","data":{"token":"a","instanceServers":[]}}', Garbled),
        (TOKEN.replace(b"wss:", b"http:"), Garbled),
        (b"<html>", Garbled),
    ],
)
def test_an_answer_without_a_token_is_transient(body: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        TOKENS[SPOT_URL].read(body)


def test_spot_and_futures_in_one_batch_are_read_one_by_one() -> None:
    spot = (
        b'{"type":"message","topic":"/market/match:BTC-USDT","subject":"trade.l3match","data":{"symbol":"BTC-USDT",'
        b'"side":"buy","price":"1.50","size":"2","time":"1788335265722000000","tradeId":"7"}}'
    )
    futures = (
        b'{"type":"message","topic":"/contractMarket/execution:XBTUSDTM","subject":"match","data":{'
        b'"symbol":"XBTUSDTM","side":"sell","price":57850.0,"size":16,"ts":1788335265722000001,"tradeId":"8"}}'
    )
    odd = futures.replace(b'"size":16', b'"size":[]')
    names = {"BTC-USDT": "BTC/USDT", "XBTUSDTM": "BTC/USDT:USDT"}
    block = Block("kucoin")
    outcome = Decoder("kucoin", dialect_of("kucoin"), names).read([spot, futures, odd], 5, block)
    assert block.price == ["1.50", "57850.0"] and block.volume == ["2", "16"]
    assert block.exchange_ns == [1_788_335_265_722_000_000, 1_788_335_265_722_000_001]
    assert [reject.reason for reject in outcome.rejects] == [Reason.BAD_TYPE]
