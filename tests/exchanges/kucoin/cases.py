"""KuCoin: what its documents and recordings say of names, messages and history."""

from collections.abc import Iterable
from datetime import timedelta
from decimal import Decimal
from typing import Any

from actors.exchanges.contract.feed import Ack, CloseNotice, KeepAlive, MalformedTrade, Refusal, Welcome
from actors.exchanges.contract.history import TradeRange
from actors.exchanges.contract.instruments import Instrument
from actors.exchanges.contract.rest import Busy, Garbled, Refused
from tests.harness.exchange_cases import (
    EPOCH,
    Cases,
    InstrumentsResponse,
    Native,
    PageRequest,
    PageResponse,
    Row,
    Subscribe,
    TradeFrame,
    WireTrade,
)

SPOT, FUTURES = "wss://ws-api-spot.kucoin.com/", "wss://ws-api-futures.kucoin.com/"


def wire(message: Any) -> Iterable[WireTrade] | None:
    """`side` is the taker's; `time` (spot) and `ts` (futures) are nanoseconds, stored as microseconds."""
    if message.get("subject") not in ("trade.l3match", "match"):
        return None
    row = message["data"]
    time = EPOCH + timedelta(microseconds=int(row.get("time", row.get("ts"))) // 1000)
    return [
        WireTrade(row["symbol"], row["tradeId"], Decimal(row["price"]), Decimal(row["size"]), row["side"], time)
    ]


def control(message: Any) -> bool:
    """Those without a type are of the sockets without tokens."""
    return message.get("type") in ("welcome", "ack", "pong", "error")


def spot_rows(answer: Any) -> list[Row]:
    """Newest first."""
    return [
        ("BTC-USDT", row["sequence"], row["price"], row["size"], row["side"], row["time"])
        for row in reversed(answer["data"])
    ]


# The documents' samples.
SPOT_ANSWER = (
    b'{"code":"200000","data":[{"sequence":"1545896668571","price":"0.07","size":"0.004","side":"buy",'
    b'"time":1545904567062140823},{"sequence":"1545896668578","price":"0.054","size":"0.066","side":"buy",'
    b'"time":1545904581619888405}]}'
)
FUTURES_ANSWER = (
    b'{"code":"200000","data":[{"sequence":1697915257909,"contractId":1,"tradeId":"1697915257909","makerOrderId":"2",'
    b'"takerOrderId":"1","ts":1729242032152000000,"size":1,"price":"67878","side":"sell"}]}'
)
PARAMETER = b'{"code":"400100","msg":"symbol not exists"}'
ANY = TradeRange(from_ns=5, to_ns=9)


CASES = Cases(
    markets=(
        Native("BTC/USDT", "BTC-USDT", SPOT),
        Native("1INCH/USDT", "1INCH-USDT", SPOT),
        Native("BTC/USDT:USDT", "XBTUSDTM", FUTURES, "contracts"),
        Native("SOL/USDT:USDT", "SOLUSDTM", FUTURES, "contracts"),
        Native("ETH/USDC:USDC", "ETHUSDCM", FUTURES, "contracts"),
        Native("BTC/USD:BTC", "XBTUSDM", FUTURES, "contracts"),
        Native("ETH/USD:ETH", "ETHUSDM", FUTURES, "contracts"),
    ),
    refused=(
        ("btc/usdt", "BTC/USDT"),
        ("XBT/USDT:USDT", "BTC/USDT:USDT"),
        ("BTC/USD:USD", "BTC/USD:BTC"),
        ("BTC/USDT:BTC", "BTC/USDT:USDT"),
        ("BTC/USD:BTC-261225", "BTC/USD:BTC"),
    ),
    subscribes=(
        Subscribe(
            ("BTC-USDT", "ETH-USDT"),
            "trades",
            '{"id":"7","type":"subscribe","topic":"/market/match:BTC-USDT,ETH-USDT","privateChannel":false,'
            '"response":true}',
        ),
        Subscribe(
            ("XBTUSDTM",),
            "trades",
            '{"id":"7","type":"subscribe","topic":"/contractMarket/execution:XBTUSDTM","privateChannel":false,'
            '"response":true}',
        ),
    ),
    controls=(
        ('{"id":"senken1","type":"welcome"}', Welcome()),
        ('{"id":"7","type":"ack"}', Ack(request_id="7")),
        ('{"id":"u7","type":"ack"}', KeepAlive()),
        ('{"id":"p16","type":"pong","timestamp":1790113097236506}', KeepAlive()),
        (
            '{"id":"28","type":"error","code":404,"data":"topic does not exist"}',
            Refusal("404 topic does not exist", request_id="28"),
        ),
        (
            '{"id":"2","type":"error","code":509,"data":"exceed max subscription count"}',
            Refusal("509 exceed max subscription count", request_id="2", transient=True),
        ),
        ('{"id":"u2","type":"error","code":404,"data":"topic does not exist"}', KeepAlive()),
        ('{"type":"error","code":400,"data":"ping timeout"}', CloseNotice("400 ping timeout")),
        ('{"type":"message","topic":"/market/match:BTC-USDT","subject":"trade.l3match"}', MalformedTrade()),
        ('{"type":"message","topic":"/contractMarket/execution:XBTUSDTM","data":{}}', MalformedTrade()),
        ('{"type":"message","topic":"/market/level2:BTC-USDT","data":{}}', None),
        ('{"id":"p17","result":true}', None),
    ),
    wire=wire,
    control=control,
    markets_of={"control_2026-09.jsonl": "live_2026-09_tradeid_blanked.jsonl"},
    frame=TradeFrame(
        capture="live_2026-09_tradeid_blanked.jsonl",
        symbol="BTC/USDT",
        keys={
            "native": "symbol",
            "price": "price",
            "volume": "size",
            "side": "side",
            "time": "time",
            "id": "tradeId",
        },
        path=("data",),
        bad_times=("", "0", "-5", "x", "1.5", "1_0", "9" * 19, "9" * 5000),
        odd_time=1788335265722000000,
        text_ids=True,
    ),
    unknown_market=(400, PARAMETER, "400100 symbol not exists"),
    rest_symbol="BTC/USDT",
    requests=(
        PageRequest(trade_range=ANY, target="/api/v1/market/histories?symbol=BTC-USDT"),
        PageRequest(trade_range=ANY, symbol="BTC/USDT:USDT", target="/api/v1/trade/history?symbol=XBTUSDTM"),
    ),
    pages=(
        PageResponse(body=SPOT_ANSWER, rows=spot_rows, cursor=None),
        PageResponse(
            body=FUTURES_ANSWER,
            symbol="BTC/USDT:USDT",
            rows=lambda _answer: [
                ("XBTUSDTM", "1697915257909", "67878", "1", "sell", 1_729_242_032_152_000_000),
            ],
            cursor=None,
        ),
    ),
    errors=(
        (PARAMETER, Refused),
        (b'{"code":"429000","msg":"Too Many Requests"}', Busy),
        (b'{"code":"500000","msg":"Internal Server Error"}', Busy),
        (b'{"code":"200000"}', Garbled),
    ),
    error_texts=((400, PARAMETER, "400100 symbol not exists"),),
    listed=(
        InstrumentsResponse(
            request=0,
            body=b'{"code":"200000","data":[{"symbol":"BTC-USDT","name":"BTC-USDT","baseCurrency":"BTC",'
            b'"quoteCurrency":"USDT","feeCurrency":"USDT","market":"USDS","baseMinSize":"0.00001","quoteMinSize":"0.1",'
            b'"baseIncrement":"0.00000001","quoteIncrement":"0.000001","priceIncrement":"0.1","priceLimitRate":"0.1",'
            b'"minFunds":"0.1","isMarginEnabled":true,"enableTrading":true}]}',
            count=1,
            some=(
                Instrument(
                    symbol="BTC/USDT",
                    native="BTC-USDT",
                    kind="spot",
                    base="BTC",
                    quote="USDT",
                    price_step="0.1",
                    volume_step="0.00000001",
                ),
            ),
        ),
        InstrumentsResponse(
            request=1,
            body=b'{"code":"200000","data":[{"symbol":"ETHUSDTM","rootSymbol":"USDT","type":"FFWCSX",'
            b'"expireDate":null,"baseCurrency":"ETH","quoteCurrency":"USDT","settleCurrency":"USDT","lotSize":1,'
            b'"tickSize":0.05,"multiplier":0.01,"isInverse":false,"status":"Open"},'
            b'{"symbol":"XBTUSDM","rootSymbol":"XBT","type":"FFWCSX","baseCurrency":"XBT","quoteCurrency":"USD",'
            b'"settleCurrency":"XBT","lotSize":1,"tickSize":1E-1,"multiplier":-1.0,"isInverse":true,"status":"Closed"},'
            b'{"symbol":"XBTMZ26","rootSymbol":"XBT","type":"FFICSX","expireDate":1798185600000,"baseCurrency":"XBT",'
            b'"quoteCurrency":"USD","settleCurrency":"XBT","lotSize":1,"tickSize":1.0,"multiplier":-1.0,'
            b'"isInverse":true,"status":"Open"}]}',
            count=2,
            some=(
                Instrument(
                    symbol="ETH/USDT:USDT",
                    native="ETHUSDTM",
                    kind="swap",
                    base="ETH",
                    quote="USDT",
                    settle="USDT",
                    volume_unit="contracts",
                    contract_size="0.01",
                    price_step="0.05",
                    volume_step="1",
                ),
                Instrument(
                    symbol="BTC/USD:BTC",
                    native="XBTUSDM",
                    kind="swap",
                    base="BTC",
                    quote="USD",
                    settle="BTC",
                    volume_unit="contracts",
                    contract_size="1.0",
                    price_step="0.1",
                    volume_step="1",
                    active=False,
                ),
            ),
        ),
    ),
    loopback_errors=(
        ("/api/v1/market/histories?symbol=NOPE-USDT", 400, '"code":"400100"'),
        ("/api/v1/trade/history?symbol=BTC-USDT", 400, '"code":"400100"'),
        ("/api/v1/bullet-public", 200, '"code":"405000"'),
    ),
)
