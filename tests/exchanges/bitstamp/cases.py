"""Bitstamp: what its documents and recordings say of names, messages and history."""

from collections.abc import Iterable
from datetime import timedelta
from decimal import Decimal
from typing import Any

from actors.exchanges.contract.feed import Ack, CloseNotice, KeepAlive, MalformedTrade, Refusal, Unsubscribed
from actors.exchanges.contract.history import TradeRange
from actors.exchanges.contract.instruments import Instrument
from actors.exchanges.contract.rest import Busy, Garbled
from tests.harness.exchange_cases import (
    EPOCH,
    Cases,
    InstrumentsResponse,
    Native,
    PageRequest,
    PageResponse,
    Row,
    Subscribe,
    WireTrade,
)

URL = "wss://ws.bitstamp.net"
CHANNEL = "live_trades_"
SIDES = {"0": "buy", "1": "sell"}


def wire(message: Any) -> Iterable[WireTrade] | None:
    if message.get("event") != "trade":
        return None
    row = message["data"]
    return [
        WireTrade(
            message["channel"].removeprefix(CHANNEL),
            str(row["id"]),
            Decimal(row["price_str"]),
            Decimal(row["amount_str"]),
            SIDES[str(row["type"])],
            EPOCH + timedelta(microseconds=int(row["microtimestamp"])),
        )
    ]


def control(message: Any) -> bool:
    return str(message.get("event")).startswith("bts:")


def rows(answer: Any) -> list[Row]:
    return [
        ("btcusd", row["tid"], row["price"], row["amount"], SIDES[row["type"]], int(row["date"]) * 10**9)
        for row in answer
    ]


RECORDED = "bitstamp/rest/transactions_btcusd_time_hour_2019-06-14.json"
HISTORY = "/api/v2/transactions/btcusd/"
ERROR = b'{"status": "error", "reason": "Invalid time interval.", "code": "API0011"}'
# As ccxt's documentation quotes them.
MARKETS = (
    b'[{"name":"BTC/USD","market_symbol":"btcusd","base_currency":"BTC","base_decimals":8,"counter_currency":"USD",'
    b'"counter_decimals":0,"minimum_order_value":"10","trading":"Enabled","instant_order_counter_decimals":2,'
    b'"instant_and_market_orders":"Enabled","description":"Bitcoin / U.S. dollar","market_type":"SPOT"},'
    b'{"name":"BTC/USD-PERP","market_symbol":"btcusd-perp","base_currency":"BTC","base_decimals":5,'
    b'"counter_currency":"USD","counter_decimals":0,"trading":"Enabled","market_type":"PERPETUAL",'
    b'"underlying_asset":"Kaiko BTC Benchmark Reference Rate","payoff_type":"Linear","contract_size":"1.00000000"},'
    b'{"name":"UST/EUR","market_symbol":"usteur","base_currency":"UST","base_decimals":5,"counter_currency":"EUR",'
    b'"counter_decimals":5,"trading":"Disabled","market_type":"SPOT"}]'
)


def answered(event: str, channel: str, data: str = "{}") -> str:
    return f'{{"event":"{event}","channel":"{channel}","data":{data}}}'


CASES = Cases(
    markets=(
        Native("BTC/USD", "btcusd", URL),
        Native("1INCH/EUR", "1incheur", URL),
        Native("BTC/USD:USD", "btcusd-perp", URL),
    ),
    refused=(
        ("btc/usd", "BTC/USD"),
        ("BTC/USD:BTC", "BTC/USD:USD"),
        ("BTC/USD:USD-261225", "BTC/USD:USD"),
    ),
    subscribes=(
        Subscribe(
            ("btcusd-perp",),
            "live_trades",
            '{"event":"bts:subscribe","data":{"channel":"live_trades_btcusd-perp"}}',
        ),
    ),
    controls=(
        (answered("bts:subscription_succeeded", "live_trades_btcusd"), Ack(("btcusd",))),
        (answered("bts:subscription_succeeded", "order_book_btcusd"), KeepAlive()),
        (answered("bts:unsubscription_succeeded", "live_trades_btcusd"), Unsubscribed(("btcusd",))),
        (answered("bts:heartbeat", "", '{"status": "success"}'), KeepAlive()),
        (
            answered("bts:request_reconnect", "", "null"),
            CloseNotice("bitstamp asks for a new connection"),
        ),
        (
            answered("bts:error", "", '{"code": null, "message": "Bad subscription string."}'),
            Refusal("Bad subscription string."),
        ),
        (
            answered("bts:error", "live_trades_x", '{"code": 4009, "message": "Connection is unauthorized."}'),
            Refusal("4009 Connection is unauthorized.", ("x",)),
        ),
        (answered("trade", "live_trades_btcusd"), MalformedTrade()),
        (answered("data", "order_book_btcusd"), None),
        (answered("trade", "my_trades_btcusd"), None),
        ("[]", None),
    ),
    wire=wire,
    control=control,
    markets_of={
        "control_2026-09.jsonl": "live_2026-09.jsonl",
        "live_trades_2022-01-05.mixed.jsonl": "live_trades_2022-01-05.jsonl",
    },
    rest_symbol="BTC/USD",
    requests=(
        PageRequest(trade_range=TradeRange(from_ns=5, to_ns=9), target=f"{HISTORY}?time=minute"),
        PageRequest(
            trade_range=TradeRange(from_ns=5),
            symbol="BTC/USD:USD",
            target="/api/v2/transactions/btcusd-perp/?time=minute",
        ),
    ),
    pages=(PageResponse(capture=RECORDED, rows=rows, cursor=None),),
    errors=((ERROR, Busy), (b'[{"tid":"1","price":"5"}]', Garbled)),
    error_texts=((400, ERROR, "API0011 Invalid time interval."), (404, b"not found", "not found")),
    listed=(
        InstrumentsResponse(
            request=0,
            body=MARKETS,
            count=3,
            some=(
                Instrument(
                    symbol="BTC/USD:USD",
                    native="btcusd-perp",
                    kind="swap",
                    base="BTC",
                    quote="USD",
                    settle="USD",
                    contract_size="1.00000000",
                    price_step="1",
                    volume_step="0.00001",
                ),
                Instrument(
                    symbol="UST/EUR",
                    native="usteur",
                    kind="spot",
                    base="UST",
                    quote="EUR",
                    price_step="0.00001",
                    volume_step="0.00001",
                    active=False,
                ),
            ),
        ),
    ),
    loopback_errors=(
        ("/api/v2/transactions/nopeusd/?time=hour", 404, "404 Not Found"),
        (f"{HISTORY}?time=week", 400, "Invalid time interval"),
    ),
    loopback_shapes=((f"{HISTORY}?time=hour", RECORDED, (), ()),),
)
