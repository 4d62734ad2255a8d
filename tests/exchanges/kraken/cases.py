"""Kraken spot: what its documents and recordings say of names, messages and history."""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any

from actors.exchanges.contract.feed import Ack, Condition, KeepAlive, Refusal, Unsubscribed
from actors.exchanges.contract.history import TradeRange
from actors.exchanges.contract.instruments import Instrument
from actors.exchanges.contract.rest import Busy, Garbled, Refused
from tests.harness.exchange_cases import (
    BAD_RFC3339,
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


def wire(message: Any) -> Iterable[WireTrade] | None:
    """{"channel":"trade","type":"update","data":[...]}; `side` is the taker's."""
    if message.get("channel") != "trade":
        return None
    return [
        WireTrade(
            row["symbol"],
            row["trade_id"],
            Decimal(row["price"]),
            Decimal(row["qty"]),
            row["side"],
            datetime.fromisoformat(row["timestamp"]),
        )
        for row in message["data"]
    ]


def control(message: Any) -> bool:
    return "success" in message or message.get("channel") in ("heartbeat", "status")


def rows(answer: Any) -> list[Row]:
    return [
        ("BTC/USDT", str(row[6]), row[0], row[1], {"b": "buy", "s": "sell"}[row[3]], int(Decimal(row[2]) * 10**9))
        for row in answer["result"]["XBTUSDT"]
    ]


FROM_NS = 1_762_795_433_971_744_500
BY_ID = TradeRange(from_id=5, to_id=9, from_ns=FROM_NS, to_ns=FROM_NS + 10)


CASES = Cases(
    markets=(
        Native("BTC/USD", "BTC/USD", "wss://ws.kraken.com/v2"),
        Native("AAPLx/USD", "AAPLx/USD", "wss://ws.kraken.com/v2"),
    ),
    refused=(
        ("XBT/USD", "BTC/USD"),
        ("XDG/EUR", "DOGE/EUR"),
        ("xbt/usd", "BTC/USD"),
        ("BTC/USD:USD", 'write "BTC/USD"'),
    ),
    subscribes=(
        Subscribe(
            ("BTC/USD", "ETH/USD"),
            "trade",
            '{"method":"subscribe","params":{"channel":"trade","symbol":["BTC/USD","ETH/USD"],"snapshot":false},"req_id":7}',
        ),
    ),
    controls=(
        ('{"channel":"heartbeat"}', KeepAlive()),
        ('{"channel":"status","type":"update","data":[{"system":"online"}]}', Condition()),
        ('{"channel":"trade","type":"update","data":[]}', KeepAlive()),
        ('{"method":"pong","req_id":1,"time_in":"x"}', KeepAlive()),
        (
            '{"method":"subscribe","req_id":1,"result":{"channel":"trade","symbol":"BTC/USD"},"success":true}',
            Ack(("BTC/USD",)),
        ),
        (
            '{"method":"subscribe","req_id":1,"result":{"channel":"book","symbol":"BTC/USD"},"success":true}',
            KeepAlive(),
        ),
        (
            '{"error":"No XBT/USD","method":"subscribe","req_id":9,"success":false,"symbol":"XBT/USD"}',
            Refusal("No XBT/USD", ("XBT/USD",)),
        ),
        ('{"error":"Bad request","req_id":9,"success":false}', Refusal("Bad request", request_id="9")),
        (
            '{"method":"unsubscribe","result":{"channel":"trade","symbol":"A/B"},"success":true}',
            Unsubscribed(("A/B",)),
        ),
        ('{"method":"unsubscribe","result":{"channel":"trade"},"success":true}', Unsubscribed()),
        ('{"method":"unsubscribe","result":{"channel":"book","symbol":"A/B"},"success":true}', KeepAlive()),
        ('{"method":"unsubscribe","error":"Subscription Not Found","success":false}', KeepAlive()),
        ('{"error":"Already subscribed","success":false,"symbol":"A/B"}', Ack(("A/B",))),
        ('{"channel":"status","data":[{"system":"maintenance"}]}', Condition("maintenance", False)),
        ('{"channel":"status","data":[{"system":"cancel_only"}]}', Condition("cancel_only", False)),
        ('{"channel":"status","data":[{"system":"post_only"}]}', Condition("post_only", False)),
        ('{"channel":"status","data":[{"system":"limit_only"}]}', Condition("limit_only")),
        ('{"channel":"status","data":[{"system":"of a new kind"}]}', Condition("of a new kind")),
        ('{"channel":"status","data":[]}', Condition()),
        ('{"channel":"status","data":[[]]}', Condition()),
        # about the rate, or the exchange's own trouble: not about markets
        ('{"Error":"Exceeded msg rate"}', Refusal("Exceeded msg rate", transient=True)),
        ('{"error":"Exceeded msg rate","req_id":7}', Refusal("Exceeded msg rate", request_id="7", transient=True)),
        (
            '{"error":"EAPI:Rate limit exceeded","method":"subscribe","req_id":7,"success":false,"symbol":"A/B"}',
            Refusal("EAPI:Rate limit exceeded", ("A/B",), transient=True),
        ),
        (
            '{"error":"EService:Unavailable","method":"subscribe","req_id":7,"success":false}',
            Refusal("EService:Unavailable", request_id="7", transient=True),
        ),
    ),
    wire=wire,
    control=control,
    frame=TradeFrame(
        capture="single_frames_2024-2026.jsonl",
        symbol="USDC/USD",
        keys={
            "native": "symbol",
            "price": "price",
            "volume": "qty",
            "side": "side",
            "time": "timestamp",
            "id": "trade_id",
        },
        path=("data", 0),
        bad_times=BAD_RFC3339,
        odd_time=5,
        numbers=True,
        texts=False,
    ),
    unknown_market=(400, b'{"error":["EQuery:Unknown asset pair"]}', "EQuery:Unknown asset pair"),
    rest_symbol="BTC/USDT",
    requests=(
        PageRequest(trade_range=BY_ID, target="/0/public/Trades?pair=XBTUSDT&since=1762795433971743499&count=1000"),
        PageRequest(
            trade_range=BY_ID,
            target="/0/public/Trades?pair=XDGXBT&since=1762795433971743499&count=1000",
            symbol="DOGE/BTC",
        ),
    ),
    pages=(
        PageResponse(
            capture="kraken/rest/Trades_XBTUSDT_1000_2025-11-10.json", rows=rows, cursor="1762820035982277753"
        ),
    ),
    errors=(
        (b'{"error":["EGeneral:Too many requests"]}', Busy),
        (b'{"error":["EService:Unavailable"],"result":{}}', Busy),
        (b'{"error":["EGeneral:Invalid arguments"]}', Refused),
        (b'{"error":["EGeneral:Internal error"]}', Busy),
        (b'{"error":["EQuery:Unknown asset pair","EService:Busy"]}', Busy),
        (b'{"error":["EGeneral:Unknown method"]}', Busy),
        (b'{"error":[],"result":{"XXBTZUSD":[]}}', Garbled),
        (b'{"error":[],"result":{"XXBTZUSD":[],"last":"now"}}', Garbled),
    ),
    error_texts=((400, b"\xff", "�"),),
    listed=(
        InstrumentsResponse(
            capture="kraken/rest/AssetPairs.json",
            request=0,
            count=1,
            some=(
                Instrument(
                    symbol="BTC/USDT",
                    native="BTC/USDT",
                    kind="spot",
                    base="BTC",
                    quote="USDT",
                    price_step="0.1",
                    volume_step="0.00000001",
                ),
            ),
        ),
        InstrumentsResponse(
            capture="kraken/rest/AssetPairs_tokenized.json",
            request=1,
            count=1,
            some=(
                Instrument(
                    symbol="AAPLx/USD",
                    native="AAPLx/USD",
                    kind="spot",
                    base="AAPLx",
                    quote="USD",
                    price_step="0.01",
                    volume_step="0.00000001",
                ),
            ),
        ),
        InstrumentsResponse(  # as documented: another old name, a market that was ended, a dark pool without a name
            body=b'{"error":[],"result":{"XDGUSD":{"altname":"XDGUSD","wsname":"XDG/USD","lot_decimals":8,'
            b'"tick_size":"0.0000001","status":"delisted"},"XETHXXBT.d":{"altname":"ETHXBT.d","lot_decimals":8}}}',
            request=0,
            count=1,
            some=(
                Instrument(
                    symbol="DOGE/USD",
                    native="DOGE/USD",
                    kind="spot",
                    base="DOGE",
                    quote="USD",
                    price_step="0.0000001",
                    volume_step="0.00000001",
                    active=False,
                ),
            ),
        ),
    ),
    loopback_errors=(("/0/public/Trades?pair=NOPEUSD", 200, '{"error":["EQuery:Unknown asset pair"]}'),),
    loopback_shapes=(
        (
            "/0/public/Trades?pair=XBTUSD&count=20",
            "kraken/rest/Trades_XBTUSDT_1000_2025-11-10.json",
            ("result", "XXBTZUSD"),
            ("result", "XBTUSDT"),
        ),
    ),
)
