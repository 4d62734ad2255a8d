"""Bybit v5: what its documents and recordings say of names, messages and history."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from actors.exchanges.contract.feed import Ack, KeepAlive, Refusal, Unsubscribed
from actors.exchanges.contract.history import TradeRange
from actors.exchanges.contract.instruments import Instrument
from actors.exchanges.contract.rest import Busy, Garbled, Refused
from tests.harness.exchange_cases import (
    BAD_MS,
    MS,
    Cases,
    InstrumentsResponse,
    Native,
    PageRequest,
    PageResponse,
    Row,
    Subscribe,
    TradeFrame,
    WireTrade,
    of_ms,
)


def wire(message: Any) -> Iterable[WireTrade] | None:
    """{"topic":"publicTrade.BTCUSDT","data":[...]}; `S` is the taker's side."""
    if not str(message.get("topic")).startswith("publicTrade"):
        return None
    return [
        WireTrade(row["s"], row["i"], Decimal(row["p"]), Decimal(row["v"]), row["S"].lower(), of_ms(row["T"]))
        for row in message["data"]
    ]


def control(message: Any) -> bool:
    return "success" in message or message.get("op") in ("pong", "subscribe")


# https://bybit-exchange.github.io/docs/v5/market/recent-trade, its own sample
SAMPLE = (
    b'{"retCode":0,"retMsg":"OK","result":{"category":"spot","list":[{"execId":"2100000000007764263",'
    b'"symbol":"BTCUSDT","price":"16618.49","size":"0.00012","side":"Buy","time":"1672052955758",'
    b'"isBlockTrade":false}]},"retExtInfo":{},"time":1672053054358}'
)
SAMPLE_ROW: Row = ("BTCUSDT", "2100000000007764263", "16618.49", "0.00012", "buy", 1672052955758 * MS)


CASES = Cases(
    markets=(
        Native("BTC/USDT", "BTCUSDT", "wss://stream.bybit.com/v5/public/spot"),
        Native("BTC/USDT:USDT", "BTCUSDT", "wss://stream.bybit.com/v5/public/linear"),
        Native("BTC/USDC:USDC", "BTCPERP", "wss://stream.bybit.com/v5/public/linear"),
        Native("1000PEPE/USDT:USDT", "1000PEPEUSDT", "wss://stream.bybit.com/v5/public/linear"),
        Native("BTC/USD:BTC", "BTCUSD", "wss://stream.bybit.com/v5/public/inverse", "quote"),
    ),
    refused=(
        ("btc/usdt", "BTC/USDT"),
        ("BTC/USD:USD", "BTC/USD:BTC"),
        ("BTC/USDT:USDT-261225", "BTC/USDT:USDT"),
        ("BTC/USDC:USDC-261225-90000-C", 'BTC/USDC:USDC"'),
    ),
    subscribes=(
        Subscribe(
            ("BTCUSDT", "ETHUSDT"),
            "publicTrade",
            '{"req_id":"7","op":"subscribe","args":["publicTrade.BTCUSDT","publicTrade.ETHUSDT"]}',
        ),
    ),
    controls=(
        ('{"success":true,"ret_msg":"","conn_id":"d","req_id":"2","op":"subscribe"}', Ack(request_id="2")),
        ('{"success":true,"ret_msg":"subscribe","conn_id":"d","op":"subscribe"}', Ack()),
        (
            '{"success":false,"ret_msg":"Invalid symbol :[publicTrade.FOO]","req_id":"2","op":"subscribe"}',
            Refusal("Invalid symbol :[publicTrade.FOO]", request_id="2"),
        ),
        ('{"success":true,"ret_msg":"pong","conn_id":"d","op":"ping"}', KeepAlive()),
        ('{"args":["1672916271846"],"op":"pong"}', KeepAlive()),
        ('{"topic":"publicTrade.BTCUSDT","data":[]}', KeepAlive()),
        ('{"topic":"tickers.BTCUSDT","data":{}}', None),
        ('{"success":true,"ret_msg":"","op":"unsubscribe"}', Unsubscribed()),
        ('{"success":true,"ret_msg":"","req_id":"7","op":"unsubscribe"}', KeepAlive()),  # our own
        (
            '{"success":true,"ret_msg":"","op":"unsubscribe","args":["publicTrade.AB","tickers.AB"]}',
            Unsubscribed(("AB",)),
        ),
        ('{"success":false,"ret_msg":"no","op":"unsubscribe"}', KeepAlive()),
        (
            '{"success":false,"ret_msg":"error:already subscribed,topic:publicTrade.AB","req_id":"3"}',
            Ack(("AB",), "3"),
        ),
        # about the rate, or the exchange's own trouble: not about markets
        (
            '{"success":false,"ret_msg":"Too many visits!","req_id":"2","op":"subscribe"}',
            Refusal("Too many visits!", request_id="2", transient=True),
        ),
        (
            '{"success":false,"ret_code":10006,"ret_msg":"","req_id":"2","op":"subscribe"}',
            Refusal("", request_id="2", transient=True),
        ),
    ),
    wire=wire,
    control=control,
    markets_of={
        "linear_2026-08-09.mixed.jsonl": "linear_2026-08-09.jsonl",
        "spot_2026-08-09.mixed.jsonl": "spot_2026-08-09.jsonl",
    },
    frame=TradeFrame(
        capture="live_2026-09_spot.jsonl",
        symbol="BTC/USDT",
        keys={"native": "s", "price": "p", "volume": "v", "side": "S", "time": "T", "id": "i"},
        path=("data", 0),
        bad_times=BAD_MS,
        odd_time="1723161255342",
        text_ids=True,
    ),
    gained={"inverse": {"RPI": False, "seq": 1}},
    unknown_market=(400, b'{"retCode":10001,"retMsg":"Not supported symbols"}', "10001 Not supported symbols"),
    rest_symbol="BTC/USDT:USDT",
    requests=(
        PageRequest(
            trade_range=TradeRange(from_id=5, to_id=9),
            target="/v5/market/recent-trade?category=linear&symbol=BTCUSDT&limit=1000",
        ),
        PageRequest(
            trade_range=TradeRange(from_id=5, to_id=9),
            target="/v5/market/recent-trade?category=spot&symbol=BTCUSDT&limit=60",
            symbol="BTC/USDT",
        ),
    ),
    pages=(PageResponse(body=SAMPLE, rows=lambda _answer: [SAMPLE_ROW], cursor=None),),
    errors=(
        (b'{"retCode":10016,"retMsg":"Server error","result":{}}', Busy),
        (b'{"retCode":0,"retMsg":"OK","result":{}}', Garbled),
        (b'{"retCode":10006,"retMsg":"Too many visits!","result":{}}', Busy),
        (b'{"retCode":10001,"retMsg":"Not supported symbols","result":{}}', Refused),
    ),
    error_texts=((400, b"access too frequent", "access too frequent"),),
    listed=(
        InstrumentsResponse(
            capture="bybit/rest/instruments_info_spot.json",
            request=0,
            count=2,
            some=(
                Instrument(
                    symbol="BTC/USDT",
                    native="BTCUSDT",
                    kind="spot",
                    base="BTC",
                    quote="USDT",
                    price_step="0.1",
                    volume_step="0.0001",
                ),
            ),
        ),
        InstrumentsResponse(
            capture="bybit/rest/instruments_info_linear.json",
            request=1,
            count=2,
            some=(
                Instrument(
                    symbol="ETH/USDT:USDT",
                    native="ETHUSDT",
                    kind="swap",
                    base="ETH",
                    quote="USDT",
                    settle="USDT",
                    price_step="0.05",
                    volume_step="0.01",
                ),
            ),
        ),
    ),
    loopback_errors=(
        ("/v5/market/recent-trade?category=spot&symbol=NOPE", 200, '"retCode":10001'),
        ("/v5/market/recent-trade?symbol=BTCUSDT", 200, "Category is invalid"),
    ),
)
