"""Coinbase Exchange: what its documents and recordings say of names, messages and history."""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any

from actors.exchanges.contract.feed import Ack, KeepAlive, Refusal
from actors.exchanges.contract.history import TradeRange
from actors.exchanges.contract.instruments import Instrument
from actors.exchanges.contract.rest import Busy
from tests.harness.exchange_cases import (
    BAD_RFC3339,
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
)

TAKER = {"buy": "sell", "sell": "buy"}  # the wire's side is the maker's


def wire(message: Any) -> Iterable[WireTrade] | None:
    """{"type":"match",...}, or "last_match" on subscribe."""
    if message.get("type") not in ("match", "last_match"):
        return None
    time = datetime.fromisoformat(message["time"])
    price, size = Decimal(message["price"]), Decimal(message["size"])
    return [WireTrade(message["product_id"], message["trade_id"], price, size, TAKER[message["side"]], time)]


def control(message: Any) -> bool:
    return message.get("type") in ("subscriptions", "heartbeat")


# rows that a user of coinbasepro-python showed on 2020-12-30 (issue 414 there)
SAMPLE = (
    b'[{"time":"2020-12-30T13:45:30.397Z","trade_id":116922625,"price":"28026.04000000","size":"0.17982618",'
    b'"side":"sell"},{"time":"2020-12-30T13:33:55.41Z","trade_id":116921530,"price":"27909.44000000",'
    b'"size":"1.50000000","side":"buy"}]'
)
SAMPLE_ROWS: list[Row] = [
    ("BTC-USD", "116922625", "28026.04000000", "0.17982618", "buy", 1609335930397 * MS),
    ("BTC-USD", "116921530", "27909.44000000", "1.50000000", "sell", 1609335235410 * MS),
]
FROM_NS = 1_762_795_433_971_744_500


CASES = Cases(
    markets=(Native("BTC/USD", "BTC-USD", "wss://ws-feed.exchange.coinbase.com"),),
    refused=(
        ("Btc/USD", "BTC/USD"),
        ("BTC/USD:BTC", "BTC/USD"),
    ),
    subscribes=(
        Subscribe(
            ("BTC-USD",),
            "matches",
            '{"type":"subscribe","product_ids":["BTC-USD"],"channels":["matches","heartbeat"]}',
        ),
    ),
    controls=(
        ('{"type":"heartbeat","sequence":90,"last_trade_id":0,"product_id":"BTC-USD"}', KeepAlive()),
        (
            '{"type":"subscriptions","channels":[{"name":"heartbeat","product_ids":["ETH-USD"]},{"name":"matches","product_ids":["BTC-USD","ETH-USD"],"account_ids":null}]}',
            Ack(("BTC-USD", "ETH-USD"), whole=True),
        ),
        ('{"type":"subscriptions","channels":[{"name":"level2","product_ids":["A"]}]}', Ack(whole=True)),
        (
            '{"type":"error","message":"Failed to subscribe","reason":"FOO-USD is not a valid product"}',
            Refusal("Failed to subscribe: FOO-USD is not a valid product", ("FOO-USD",)),
        ),
        ('{"type":"error","message":"Too many requests"}', Refusal("Too many requests", transient=True)),
        ('{"type":"subscriptions","channels":[]}', Ack(whole=True)),
        # about the rate, or the exchange's own trouble: not about markets
        (
            '{"type":"error","message":"Failed to subscribe","reason":"rate limit exceeded"}',
            Refusal("Failed to subscribe: rate limit exceeded", transient=True),
        ),
        ('{"type":"error","message":"Internal server error"}', Refusal("Internal server error", transient=True)),
    ),
    wire=wire,
    control=control,
    markets_of={"matches_2021-04-17.mixed.jsonl": "matches_2021-04-17.jsonl"},
    frame=TradeFrame(
        capture="live_2026-09.jsonl",
        symbol="BTC/USD",
        keys={
            "native": "product_id",
            "price": "price",
            "volume": "size",
            "side": "side",
            "time": "time",
            "id": "trade_id",
        },
        bad_times=BAD_RFC3339,
        odd_time=5,
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
        PageRequest(
            trade_range=TradeRange(from_ns=FROM_NS, to_ns=FROM_NS + 10),
            cursor="77",
            target="/products/BTC-USD/trades?limit=1000&after=77",
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
        InstrumentsResponse(  # as documented
            body=b'[{"id":"BTC-USD","base_currency":"BTC","quote_currency":"USD","quote_increment":"0.01",'
            b'"base_increment":"0.00000001","display_name":"BTC-USD","min_market_funds":"1","margin_enabled":false,'
            b'"post_only":false,"limit_only":false,"cancel_only":false,"status":"online","status_message":"",'
            b'"trading_disabled":false,"fx_stablecoin":false,"auction_mode":false},{"id":"OLD-EUR",'
            b'"base_currency":"OLD","quote_currency":"EUR","status":"delisted","trading_disabled":true}]',
            request=0,
            count=2,
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
                Instrument(symbol="OLD/EUR", native="OLD-EUR", kind="spot", base="OLD", quote="EUR", active=False),
            ),
        ),
    ),
    loopback_errors=(
        ("/products/NOPE-USD/trades", 404, '{"message":"NotFound"}'),
        ("/products/BTC-USD/nothing", 404, '{"message":"NotFound"}'),
    ),
)
