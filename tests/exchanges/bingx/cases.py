"""BingX: what its documents and recordings say of names, messages and history."""

from collections.abc import Iterable
from decimal import ROUND_DOWN, Decimal
from typing import Any

from actors.exchanges.contract.feed import Ack, KeepAlive, MalformedTrade, Refusal, Reply
from actors.exchanges.contract.history import TradeRange
from actors.exchanges.contract.instruments import Instrument
from actors.exchanges.contract.rest import Busy, Garbled, Refused
from tests.harness.exchange_cases import (
    MS,
    Cases,
    InstrumentsResponse,
    Native,
    PageRequest,
    PageResponse,
    Row,
    Subscribe,
    WireTrade,
    of_ms,
)

SPOT, SWAP = "wss://open-api-ws.bingx.com/market", "wss://open-api-swap.bingx.com/swap-market"
STORED = Decimal("1e-18")


def wire(message: Any) -> Iterable[WireTrade] | None:
    """`data` is a trade on spot and a list of them of perpetuals; `m` is true where the taker sold."""
    if "data" not in message or not str(message.get("dataType")).endswith("@trade"):
        return None
    data = message["data"]
    return [
        WireTrade(
            row["s"],
            row.get("t"),
            Decimal(row["p"]),
            Decimal(row["q"]).quantize(STORED, ROUND_DOWN),
            "sell" if row["m"] else "buy",
            of_ms(row["T"]),
        )
        for row in (data if isinstance(data, list) else [data])
    ]


def control(message: Any) -> bool:
    return message.get("text") == "Ping" or "ping" in message or "id" in message


# As quoted by clients; prices and volumes of spot are JSON numbers here.
SPOT_ANSWER = (
    b'{"code":0,"timestamp":1655085975600,"data":[{"id":43148252,"price":25714.70,"qty":1E-3,"time":1655085975588,'
    b'"buyerMaker":true},{"id":43148253,"price":25714.71,"qty":1.674571,"time":1655085975589,"buyerMaker":false}]}'
)
SWAP_ANSWER = (
    b'{"code":0,"msg":"","data":[{"time":1672025549368,"isBuyerMaker":true,"price":"16885.0","qty":"3.3002",'
    b'"quoteQty":"55723.87"}]}'
)
UNKNOWN = b'{"code":109400,"msg":"NOPE-USDT,symbol not exist","data":{}}'
ANY = TradeRange(from_ns=5, to_ns=9)


CASES = Cases(
    markets=(
        Native("BTC/USDT", "BTC-USDT", SPOT),
        Native("1INCH/USDT", "1INCH-USDT", SPOT),
        Native("BTC/USDT:USDT", "BTC-USDT", SWAP),
        Native("ETH/USDC:USDC", "ETH-USDC", SWAP),
    ),
    refused=(
        ("btc/usdt", "BTC/USDT"),
        ("BTC/USD:BTC", "BTC/USDT:USDT"),
        ("BTC/USDC:USDT", "BTC/USDC:USDC"),
        ("BTC/USDT:USDT-261225", "BTC/USDT:USDT"),
    ),
    subscribes=(Subscribe(("BTC-USDT",), "trade", '{"id":"7","reqType":"sub","dataType":"BTC-USDT@trade"}'),),
    controls=(
        ("Ping", Reply("Pong")),
        (
            '{"ping":"2177c68e4d0e45679965f482929b59c2","time":"2022-06-07T16:27:36.323+0800"}',
            Reply('{"pong":"2177c68e4d0e45679965f482929b59c2","time":"2022-06-07T16:27:36.323+0800"}'),
        ),
        ('{"code":0,"id":"7","msg":"SUCCESS","timestamp":1788336365712}', Ack(request_id="7")),
        ('{"id":"7","code":0,"msg":"","dataType":"","data":null}', Ack(request_id="7")),
        ('{"code":0,"id":"u7","msg":"SUCCESS","timestamp":1}', KeepAlive()),
        ('{"code":100205,"id":"7","msg":"repeat request"}', Ack(request_id="7")),
        (
            '{"code":80015,"id":"7","msg":"dataType not support","timestamp":1}',
            Refusal("80015 dataType not support", request_id="7"),
        ),
        (
            '{"code":100410,"id":"7","msg":"frequency limit"}',
            Refusal("100410 frequency limit", request_id="7", transient=True),
        ),
        ('{"code":0,"dataType":"BTC-USDT@trade","data":[]}', KeepAlive()),
        ('{"code":0,"dataType":"BTC-USDT@trade","data":{}}', MalformedTrade()),
        ('{"code":0,"dataType":"BTC-USDT@depth20","data":{}}', None),
    ),
    wire=wire,
    control=control,
    unknown_market=(400, UNKNOWN, "109400 NOPE-USDT,symbol not exist"),
    rest_symbol="BTC/USDT",
    requests=(
        PageRequest(trade_range=ANY, target="/openApi/spot/v1/market/trades?symbol=BTC-USDT&limit=500&timestamp=0"),
        PageRequest(
            trade_range=ANY,
            symbol="BTC/USDT:USDT",
            target="/openApi/swap/v2/quote/trades?symbol=BTC-USDT&limit=1000&timestamp=0",
        ),
    ),
    pages=(
        PageResponse(
            body=SPOT_ANSWER,
            rows=lambda _answer: list[Row](
                (
                    ("BTC-USDT", "43148253", "25714.71", "1.674571", "buy", 1_655_085_975_589 * MS),
                    ("BTC-USDT", "43148252", "25714.70", "0.001", "sell", 1_655_085_975_588 * MS),
                )
            ),
            cursor=None,
        ),
        PageResponse(  # a volume as the stream has had it, and one with an exponent
            body=SPOT_ANSWER.replace(b"1.674571", b"0.0074439581595275245").replace(
                b"1E-3", b"7.44395815952752E-14"
            ),
            rows=lambda _answer: list[Row](
                (
                    ("BTC-USDT", "43148253", "25714.71", "0.007443958159527524", "buy", 1_655_085_975_589 * MS),
                    ("BTC-USDT", "43148252", "25714.70", "0.000000000000074439", "sell", 1_655_085_975_588 * MS),
                )
            ),
            cursor=None,
        ),
        PageResponse(
            body=SWAP_ANSWER,
            symbol="BTC/USDT:USDT",
            rows=lambda _answer: [("BTC-USDT", None, "16885.0", "3.3002", "sell", 1_672_025_549_368 * MS)],
            cursor=None,
        ),
    ),
    errors=(
        (UNKNOWN, Refused),
        (b'{"code":100410,"msg":"rate limited"}', Busy),
        (b'{"code":0,"msg":""}', Garbled),
        (b'{"code":0,"data":[{"price":"1","qty":"2","time":3}]}', Garbled),  # no side
    ),
    error_texts=((200, UNKNOWN, "109400 NOPE-USDT,symbol not exist"),),
    listed=(
        InstrumentsResponse(
            request=0,
            body=b'{"code":0,"msg":"","data":{"symbols":[{"symbol":"BTC-USDT","minQty":0.00003,"maxQty":15,'
            b'"minNotional":2,"maxNotional":600000,"status":1,"tickSize":0.01,"stepSize":1e-06,"apiStateSell":true},'
            b'{"symbol":"OLD-USDT","status":25,"tickSize":1,"stepSize":1}]}}',
            count=2,
            some=(
                Instrument(
                    symbol="BTC/USDT",
                    native="BTC-USDT",
                    kind="spot",
                    base="BTC",
                    quote="USDT",
                    price_step="0.01",
                    volume_step="0.000001",
                ),
            ),
        ),
        InstrumentsResponse(
            request=1,
            body=b'{"code":0,"msg":"","data":[{"contractId":"100","symbol":"BTC-USDT","size":"0.0001",'
            b'"quantityPrecision":4,"pricePrecision":1,"feeRate":0.0005,"currency":"USDT","asset":"BTC","status":0},'
            b'{"contractId":"101","symbol":"BTC-EUR","quantityPrecision":4,"pricePrecision":1,"currency":"EUR",'
            b'"asset":"BTC","status":1}]}',
            count=1,
            some=(
                Instrument(
                    symbol="BTC/USDT:USDT",
                    native="BTC-USDT",
                    kind="swap",
                    base="BTC",
                    quote="USDT",
                    settle="USDT",
                    price_step="0.1",
                    volume_step="0.0001",
                    active=False,
                ),
            ),
        ),
    ),
    loopback_errors=(
        ("/openApi/spot/v1/market/trades?symbol=NOPE-USDT", 200, '"code":109400'),
        ("/openApi/swap/v2/quote/trades?symbol=NOPE-USDT", 200, '"code":109400'),
    ),
)
