"""Crypto.com Exchange: what its documents and recordings say of names, messages and history."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from actors.exchanges.contract.feed import Ack, KeepAlive, MalformedTrade, Refusal, Reply
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
    Subscribe,
    TradeFrame,
    WireTrade,
    of_ms,
)

URL = "wss://stream.crypto.com/exchange/v1/market"


def wire(message: Any) -> Iterable[WireTrade] | None:
    """{"method":"subscribe","result":{"channel":"trade","data":[...]}}, newest first."""
    result = message.get("result")
    if not isinstance(result, dict) or result.get("channel") != "trade":
        return None
    return [
        WireTrade(row["i"], row["d"], Decimal(row["p"]), Decimal(row["q"]), row["s"].lower(), of_ms(row["t"]))
        for row in result["data"]
    ]


def control(message: Any) -> bool:
    return message.get("method") in ("public/heartbeat", "subscribe", "unsubscribe") and "result" not in message


# https://exchange-docs.crypto.com/exchange/v1/rest-ws/index.html#public-get-trades and #public-get-instruments, the
# documents' fields with values of ccxt's samples (ts/src/cryptocom.ts).
TRADES = (
    b'{"id":-1,"method":"public/get-trades","code":0,"result":{"data":[{"s":"sell","p":"26386.00","q":"0.00453",'
    b'"t":1686944282062,"tn":"1686944282062100000","d":"4611686018455979970","i":"BTC_USD"}]}}'
)
INSTRUMENTS = (
    b'{"id":1,"method":"public/get-instruments","code":0,"result":{"data":['
    b'{"symbol":"BTC_USDT","inst_type":"CCY_PAIR","display_name":"BTC/USDT","base_ccy":"BTC","quote_ccy":"USDT",'
    b'"quote_decimals":2,"quantity_decimals":5,"price_tick_size":"0.01","qty_tick_size":"0.00001",'
    b'"max_leverage":"50","tradable":true,"expiry_timestamp_ms":0,"beta_product":false},'
    b'{"symbol":"RUNEUSD-PERP","inst_type":"PERPETUAL_SWAP","display_name":"RUNEUSD Perpetual","base_ccy":"RUNE",'
    b'"quote_ccy":"USD","quote_decimals":3,"quantity_decimals":1,"price_tick_size":"0.001","qty_tick_size":"0.1",'
    b'"tradable":true,"expiry_timestamp_ms":0,"underlying_symbol":"RUNEUSD-INDEX","contract_size":"1"},'
    b'{"symbol":"ETHUSD-230825","inst_type":"FUTURE","display_name":"ETHUSD Futures 20230825","base_ccy":"ETH",'
    b'"quote_ccy":"USD","quote_decimals":2,"quantity_decimals":4,"price_tick_size":"0.01","qty_tick_size":"0.0001",'
    b'"tradable":false,"expiry_timestamp_ms":1692950400000,"contract_size":"1"},'
    b'{"symbol":"BTCUSD-230630-CW30000","inst_type":"WARRANT","base_ccy":"BTC","quote_ccy":"USD",'
    b'"price_tick_size":"0.001","qty_tick_size":"10","tradable":true,"put_call":"CALL","strike":"30000"}]}}'
)

CASES = Cases(
    markets=(
        Native("BTC/USDT", "BTC_USDT", URL),
        Native("BTC/USD:USD", "BTCUSD-PERP", URL),
        Native("BTC/USD:USD-260925", "BTCUSD-260925", URL),
    ),
    refused=(
        ("btc/usdt", "BTC/USDT"),
        ("BTC/USD:BTC", "BTC/USD:USD"),
        ("BTC/USD:BTC-260925", "BTC/USD:USD-260925"),
        ("BTC/USD:USD-260925-100-C", "BTC/USD:USD"),
    ),
    subscribes=(
        Subscribe(
            ("BTC_USDT", "BTCUSD-PERP"),
            "trade",
            '{"id":7,"method":"subscribe","params":{"channels":["trade.BTC_USDT","trade.BTCUSD-PERP"]}}',
        ),
    ),
    controls=(
        (
            '{"id":1788335101113,"method":"public/heartbeat","code":0}',
            Reply('{"id":1788335101113,"method":"public/respond-heartbeat"}'),
        ),
        ('{"id":"1","method":"public/heartbeat","code":0}', None),
        ('{"id":1,"method":"subscribe","code":0,"channel":"trade.BTC_USDT"}', Ack(("BTC_USDT",), "1")),
        ('{"id":1,"method":"subscribe","code":0,"channel":"book.WALUSD-PERP.50"}', KeepAlive()),
        ('{"id":2,"code":0,"method":"subscribe"}', Ack(request_id="2")),
        ('{"id":22,"method":"unsubscribe","code":0}', KeepAlive()),
        (
            '{"id":1,"method":"subscribe","code":40003,"message":"Unknown symbol"}',
            Refusal("40003 Unknown symbol", request_id="1"),
        ),
        (
            '{"id":1,"method":"subscribe","code":40003,"message":"Unknown symbol","channel":"trade.NOPE_USDT"}',
            Refusal("40003 Unknown symbol", ("NOPE_USDT",)),
        ),
        (
            '{"id":2,"method":"subscribe","code":42901,"message":"TOO_MANY_REQUESTS"}',
            Refusal("42901 TOO_MANY_REQUESTS", request_id="2", transient=True),
        ),
        (
            '{"id":2,"method":"subscribe","code":40107,"message":"Maximum subscriptions exceeded"}',
            Refusal("40107 Maximum subscriptions exceeded", request_id="2", transient=True),
        ),
        (
            '{"id":-1,"method":"subscribe","code":0,"result":{"instrument_name":"A_B","channel":"trade","data":[]}}',
            Ack(("A_B",)),
        ),
        (
            '{"id":-1,"method":"subscribe","code":0,"result":{"instrument_name":"A_B","channel":"trade","data":[{}]}}',
            MalformedTrade(),
        ),
        ('{"id":-1,"method":"subscribe","code":0,"result":{"channel":"book","data":[]}}', None),
    ),
    wire=wire,
    control=control,
    markets_of={
        "v2market_2021-11-23_RETIRED.mixed.jsonl": "v2market_2021-11-23_RETIRED.jsonl",
    },
    frame=TradeFrame(
        capture="live_2026-09.jsonl",
        symbol="BTC/USD:USD",
        keys={"native": "i", "price": "p", "volume": "q", "side": "s", "time": "t", "id": "d"},
        path=("result", "data", 0),
        bad_times=BAD_MS,
        odd_time="1723161255342",
        text_ids=True,
    ),
    unknown_market=(
        400,
        b'{"id":-1,"method":"public/get-trades","code":40004,"message":"Invalid instrument_name"}',
        "40004 Invalid instrument_name",
    ),
    rest_symbol="BTC/USD",
    requests=(
        PageRequest(
            trade_range=TradeRange(from_ns=1_686_944_282_062_100_000, to_ns=1_686_944_290_000_000_000),
            target="/exchange/v1/public/get-trades?instrument_name=BTC_USD&count=150"
            "&start_ts=1686857890001000000&end_ts=1686944290001000000",
        ),
        PageRequest(
            trade_range=TradeRange(from_ns=1_686_944_282_062_100_000),
            cursor="1686944282062100001",
            target="/exchange/v1/public/get-trades?instrument_name=BTC_USD&count=150"
            "&start_ts=1686857882062100001&end_ts=1686944282062100001",
        ),
    ),
    pages=(
        PageResponse(
            body=TRADES,
            rows=lambda _answer: [
                ("BTC_USD", "4611686018455979970", "26386.00", "0.00453", "sell", 1686944282062 * MS)
            ],
            cursor=None,
        ),
    ),
    errors=(
        (b'{"id":-1,"method":"public/get-trades","code":42901,"message":"TOO_MANY_REQUESTS"}', Busy),
        (b'{"id":-1,"method":"public/get-trades","code":40004,"message":"Invalid instrument_name"}', Refused),
        (b'{"id":-1,"method":"public/get-trades","code":0}', Garbled),
    ),
    error_texts=((503, b"<html>maintenance</html>", "<html>maintenance</html>"),),
    listed=(
        InstrumentsResponse(
            request=0,
            count=3,
            body=INSTRUMENTS,
            some=(
                Instrument(
                    symbol="BTC/USDT",
                    native="BTC_USDT",
                    kind="spot",
                    base="BTC",
                    quote="USDT",
                    price_step="0.01",
                    volume_step="0.00001",
                ),
                Instrument(
                    symbol="RUNE/USD:USD",
                    native="RUNEUSD-PERP",
                    kind="swap",
                    base="RUNE",
                    quote="USD",
                    settle="USD",
                    price_step="0.001",
                    volume_step="0.1",
                ),
                Instrument(
                    symbol="ETH/USD:USD-230825",
                    native="ETHUSD-230825",
                    kind="future",
                    base="ETH",
                    quote="USD",
                    settle="USD",
                    price_step="0.01",
                    volume_step="0.0001",
                    active=False,
                ),
            ),
        ),
    ),
    loopback_errors=(("/exchange/v1/public/get-trades?instrument_name=NOPE_USDT", 400, "Invalid instrument_name"),),
)
