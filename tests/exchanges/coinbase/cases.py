"""Coinbase Advanced Trade: what its documents and recordings say of names, messages and history."""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any

from actors.exchanges.contract.feed import Ack, KeepAlive, MalformedTrade, Refusal
from actors.exchanges.contract.history import TradeRange
from actors.exchanges.contract.instruments import Instrument
from actors.exchanges.contract.rest import Busy
from tests.exchanges.coinbaseexchange.cases import FROM_NS, SAMPLE, SAMPLE_ROWS
from tests.harness.exchange_cases import (
    BAD_RFC3339,
    Cases,
    InstrumentsResponse,
    Native,
    PageRequest,
    PageResponse,
    Subscribe,
    TradeFrame,
    WireTrade,
)

ENDPOINT = "wss://advanced-trade-ws.coinbase.com"
TAKER = {"BUY": "sell", "SELL": "buy"}  # the wire's side is the maker's


def wire(message: Any) -> Iterable[WireTrade] | None:
    """{"channel":"market_trades","events":[{"type":"update","trades":[...]}]}."""
    if message.get("channel") != "market_trades":
        return None
    return [
        WireTrade(
            row["product_id"],
            row["trade_id"],
            Decimal(row["price"]),
            Decimal(row["size"]),
            TAKER[row["side"]],
            datetime.fromisoformat(row["time"]),
        )
        for event in message["events"]
        for row in event["trades"]
    ]


def control(message: Any) -> bool:
    return message.get("channel") in ("subscriptions", "heartbeats")


CASES = Cases(
    markets=(Native("BTC/USD", "BTC-USD", ENDPOINT), Native("BTC/EUR", "BTC-EUR", ENDPOINT)),
    refused=(
        ("Btc/USD", "BTC/USD"),
        ("BTC/USDC", 'write "BTC/USD"'),
        ("BTC/USD:BTC", "BTC/USD"),
    ),
    subscribes=(
        Subscribe(
            ("BTC-USD", "ETH-USD"),
            "market_trades",
            '{"type":"subscribe","product_ids":["BTC-USD","ETH-USD"],"channel":"market_trades"}',
        ),
    ),
    controls=(
        (
            '{"channel":"heartbeats","timestamp":"2026-08-09T21:05:48.856364007Z","sequence_num":35,"events":['
            '{"current_time":"2026-08-09 21:05:48.854840045 +0000 UTC m=+41691.26","heartbeat_counter":41691}]}',
            KeepAlive(),
        ),
        (
            '{"channel":"subscriptions","sequence_num":26,"events":[{"subscriptions":{"heartbeats":["heartbeats"],'
            '"market_trades":["BTC-USD","ETH-USD"]}}]}',
            Ack(("BTC-USD", "ETH-USD"), whole=True),
        ),
        # the answer to the request for heartbeats, before the first one for trades
        ('{"channel":"subscriptions","events":[{"subscriptions":{"heartbeats":["heartbeats"]}}]}', KeepAlive()),
        ('{"channel":"market_trades","events":[{"type":"update","trades":[{"side":"BUY"}]}]}', MalformedTrade()),
        # of a product that has never traded
        ('{"channel":"market_trades","events":[{"type":"snapshot","trades":[]}]}', KeepAlive()),
        ('{"channel":"ticker","events":[]}', None),
        (
            '{"type":"error","message":"Failed to subscribe","reason":"FOO-USD is not a valid product"}',
            Refusal("Failed to subscribe: FOO-USD is not a valid product", ("FOO-USD",)),
        ),
        ('{"type":"error","message":"rate limit exceeded"}', Refusal("rate limit exceeded", transient=True)),
    ),
    wire=wire,
    control=control,
    markets_of={"market_trades_2026-08-09.mixed.jsonl": "market_trades_2026-08-09.jsonl"},
    frame=TradeFrame(
        capture="market_trades_2026-08-09.jsonl",
        symbol="BTC/USD",
        keys={
            "native": "product_id",
            "price": "price",
            "volume": "size",
            "side": "side",
            "time": "time",
            "id": "trade_id",
        },
        path=("events", 0, "trades", 0),
        bad_times=BAD_RFC3339,
        odd_time=5,
        text_ids=True,
    ),
    unknown_market=(404, b'{"message":"NotFound"}', "NotFound"),
    rest_symbol="BTC/USD",
    requests=(
        PageRequest(
            trade_range=TradeRange(from_id=5, to_id=9), target="/products/BTC-USD/trades?limit=1000&after=10"
        ),
        PageRequest(
            trade_range=TradeRange(from_ns=FROM_NS, to_ns=FROM_NS + 10), target="/products/BTC-USD/trades?limit=1"
        ),
    ),
    pages=(
        PageResponse(
            body=SAMPLE,
            rows=lambda _answer: SAMPLE_ROWS,
            headers={"cb-before": "116922625", "cb-after": "116921530"},
            cursor="116921530",
        ),
    ),
    errors=((b'{"message":"Internal server error"}', Busy),),
    error_texts=((400, b'{"message":"NotFound"}', "NotFound"),),
    listed=(
        InstrumentsResponse(  # without BTC-USDC, which stands for BTC-USD
            capture="coinbase/rest/products.json",
            request=0,
            count=1,
            some=(
                Instrument(
                    symbol="BTC/USD",
                    native="BTC-USD",
                    kind="spot",
                    base="BTC",
                    quote="USD",
                    price_step="0.01",
                    volume_step="0.00000001",
                ),
            ),
        ),
        InstrumentsResponse(
            body=b'{"products":[{"product_id":"OLD-EUR","product_type":"SPOT","base_currency_id":"OLD",'
            b'"quote_currency_id":"EUR","status":"delisted","alias":""},{"product_id":"BIT-24APR26-CDE",'
            b'"product_type":"FUTURE","base_currency_id":"","quote_currency_id":"USD","alias":""}]}',
            request=0,
            count=1,
            some=(
                Instrument(symbol="OLD/EUR", native="OLD-EUR", kind="spot", base="OLD", quote="EUR", active=False),
            ),
        ),
    ),
    loopback_errors=(
        ("/products/NOPE-USD/trades", 404, '{"message":"NotFound"}'),
        ("/products/BTC-USD/nothing", 404, '{"message":"NotFound"}'),
    ),
)
