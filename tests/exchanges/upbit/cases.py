"""Upbit: what its documents and recordings say of names, messages and history."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from actors.exchanges.contract.feed import KeepAlive, MalformedTrade, Refusal
from actors.exchanges.contract.history import TradeRange
from actors.exchanges.contract.instruments import Instrument
from actors.exchanges.contract.rest import Busy, Garbled
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

URL = "wss://api.upbit.com/websocket/v1"
SIDES = {"ASK": "sell", "BID": "buy"}  # ASK: the taker sold

# The keys of the formats DEFAULT and SIMPLE.
KEYS = ("code", "sequential_id", "trade_price", "trade_volume", "ask_bid", "trade_timestamp")
SHORT_KEYS = ("cd", "sid", "tp", "tv", "ab", "ttms")


def wire(message: Any) -> Iterable[WireTrade] | None:
    """{"type":"trade","code":"KRW-BTC",...}, or {"ty":"trade","cd":"KRW-BTC",...}."""
    if message.get("type", message.get("ty")) != "trade":
        return None
    native, trade_id, price, volume, side, ms = (message[key] for key in (SHORT_KEYS if "ty" in message else KEYS))
    return [WireTrade(native, str(trade_id), Decimal(price), Decimal(volume), SIDES[side], of_ms(ms))]


def control(message: Any) -> bool:
    return "status" in message or "error" in message


def rows(answer: Any) -> list[Row]:
    return [
        (
            row["market"],
            str(row["sequential_id"]),
            row["trade_price"],
            row["trade_volume"],
            SIDES[row["ask_bid"]],
            row["timestamp"] * MS,
        )
        for row in answer
    ]


# The first two rows of the answer recorded in 2018, which had no ids yet, with ids as Upbit forms them.
RECORDED = (
    b'[{"market":"KRW-BTC","trade_date_utc":"2018-07-09","trade_time_utc":"01:21:21","timestamp":1531099281000,'
    b'"trade_price":7493000.00000000,"trade_volume":0.00671937,"prev_closing_price":7516000.00000000,'
    b'"change_price":-23000.00000000,"ask_bid":"ASK","sequential_id":15310992810000000},'
    b'{"market":"KRW-BTC","trade_date_utc":"2018-07-09","trade_time_utc":"01:21:17","timestamp":1531099277000,'
    b'"trade_price":7493000.00000000,"trade_volume":0.02988133,"prev_closing_price":7516000.00000000,'
    b'"change_price":-23000.00000000,"ask_bid":"BID","sequential_id":15310992770000000}]'
)
S_NS = 1_000_000_000
DAY_S = 86_400
DAY = 17_721  # 2018-07-09
TO_NS = (DAY * DAY_S + 4877) * S_NS + 5  # 01:21:17 and a bit
BY_TIME = TradeRange(from_ns=TO_NS - 100 * S_NS, to_ns=TO_NS)


CASES = Cases(
    markets=(
        Native("BTC/KRW", "KRW-BTC", URL),
        Native("ETH/BTC", "BTC-ETH", URL),
        Native("BTC/USDT", "USDT-BTC", URL),
        Native("FCT2/BTC", "BTC-FCT2", URL),
    ),
    refused=(
        ("btc/krw", "BTC/KRW"),
        ("BTC/KRW:KRW", "BTC/KRW"),
        ("BTC/USDT:USDT-261225", "BTC/USDT"),
    ),
    subscribes=(
        Subscribe(
            ("KRW-BTC", "BTC-ETH"),
            "trade",
            '[{"ticket":"tickwarden-7"},{"type":"trade","codes":["KRW-BTC","BTC-ETH"]},{"format":"DEFAULT"}]',
        ),
    ),
    controls=(
        ('{"status":"UP"}', KeepAlive()),
        ('{"error":{"name":"NO_CODES","message":"codes"}}', Refusal("NO_CODES: codes")),
        ('{"error":{"name":"WRONG_FORMAT"}}', Refusal("WRONG_FORMAT")),
        (
            '{"error":{"name":"TOO_MANY_REQUESTS","message":"slow"}}',
            Refusal("TOO_MANY_REQUESTS: slow", transient=True),
        ),
        ('{"type":"trade"}', MalformedTrade()),
        ('{"ty":"trade"}', MalformedTrade()),
        ('{"ty":"orderbook","cd":"KRW-BTC"}', None),
        ("[]", None),
    ),
    wire=wire,
    control=control,
    markets_of={
        "trade_simple_2021-04-17.mixed.jsonl": "trade_simple_2021-04-17.jsonl",
        "control_2026-09.jsonl": "live_2026-09.jsonl",
    },
    frame=TradeFrame(
        capture="frames_various_default_format_2021.jsonl",
        symbol="DOGE/KRW",
        keys=dict(zip(("native", "id", "price", "volume", "side", "time"), KEYS, strict=True)),
        bad_times=BAD_MS,
        odd_time="1614729599000",
        numbers=True,
    ),
    unknown_market=(404, b'{"error":{"name":404,"message":"Code not found"}}', "404 Code not found"),
    rest_symbol="BTC/KRW",
    listed=(
        InstrumentsResponse(
            request=0,
            body=b'[{"market":"KRW-BTC","korean_name":"\xeb\xb9\x84","english_name":"Bitcoin"},{"market":"BTC-ETH"}]',
            count=2,
            some=(Instrument(symbol="ETH/BTC", native="BTC-ETH", kind="spot", base="ETH", quote="BTC"),),
        ),
    ),
    requests=(
        PageRequest(trade_range=BY_TIME, target="/v1/trades/ticks?market=KRW-BTC&count=500"),
        # of the day of the newest trade, and of a day before
        PageRequest(
            trade_range=BY_TIME,
            cursor=f"{DAY} {DAY * DAY_S + 4878}",
            target="/v1/trades/ticks?market=KRW-BTC&count=500&to=012118",
        ),
        PageRequest(
            trade_range=BY_TIME,
            cursor=f"{DAY + 2} {DAY * DAY_S + 4878}",
            target="/v1/trades/ticks?market=KRW-BTC&count=500&to=012118&days_ago=2",
        ),
        PageRequest(
            trade_range=BY_TIME,
            cursor=f"{DAY} {DAY * DAY_S}",
            target="/v1/trades/ticks?market=KRW-BTC&count=500&days_ago=1",
        ),
        PageRequest(
            trade_range=BY_TIME,
            cursor=f"{DAY} {DAY * DAY_S + 4878} 15310992770000000",
            target="/v1/trades/ticks?market=KRW-BTC&count=500&cursor=15310992770000000",
        ),
    ),
    pages=(PageResponse(body=RECORDED, rows=rows, cursor=f"{DAY} {DAY * DAY_S + 4878} 15310992770000000"),),
    errors=(
        (b'{"error":{"name":404,"message":"Code not found"}}', Busy),  # final with status 404 alone
        (b'[{"market":"KRW-ETH"}]', Garbled),
        (RECORDED.replace(b"KRW-BTC", b"KRW-ETH"), Garbled),
    ),
    error_texts=(
        (404, b'{"error":{"name":404,"message":"Code not found"}}', "404 Code not found"),
        (429, b"Too many API requests", "Too many API requests"),
    ),
    loopback_errors=(
        ("/v1/trades/ticks?market=KRW-NOPE&count=1", 404, '"message":"Code not found"'),
        ("/v1/trades/ticks?market=KRW-BTC&days_ago=8", 400, "Invalid parameter"),
    ),
    loopback_shapes=(),
)
