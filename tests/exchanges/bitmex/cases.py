"""BitMEX: what its documents and recordings say of names, messages and history."""

import json
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any

from actors.exchanges.contract.feed import Ack, KeepAlive, MalformedTrade, Refusal
from actors.exchanges.contract.history import TradeRange
from actors.exchanges.contract.instruments import Instrument
from actors.exchanges.contract.rest import Busy, Garbled
from tests.harness.exchange_cases import (
    BAD_RFC3339,
    EPOCH,
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

URL = "wss://ws.bitmex.com/realtime"


def wire(message: Any) -> Iterable[WireTrade] | None:
    """{"table":"trade","action":"insert","data":[...]}"""
    if message.get("table") != "trade":
        return None
    return [
        WireTrade(
            row["symbol"],
            row["trdMatchID"],
            Decimal(row["price"]),
            Decimal(row["size"]),
            row["side"].lower(),
            datetime.fromisoformat(row["timestamp"]),
        )
        for row in message["data"]
    ]


def control(message: Any) -> bool:
    return "info" in message or "success" in message or "error" in message


def rows(answer: Any) -> list[Row]:
    return [
        (
            row["symbol"],
            row["trdMatchID"],
            str(row["price"]),
            str(row["size"]),
            row["side"].lower(),
            round((datetime.fromisoformat(row["timestamp"]) - EPOCH).total_seconds() * 1000) * MS,
        )
        for row in answer
    ]


# https://www.bitmex.com/api/explorer/#!/Instrument/Instrument_getActive: fields as documented, the first row with
# values # of nautechsystems/nautilus_trader crates/adapters/bitmex/test_data/http_get_instrument_xbtusd.json
# (shortened).
PERPETUAL = {
    **{"symbol": "XBTUSD", "rootSymbol": "XBT", "state": "Open", "typ": "FFWCSX", "expiry": None},
    **{"underlying": "XBT", "quoteCurrency": "USD", "settlCurrency": "XBt", "lotSize": 100, "tickSize": 0.1},
    **{"multiplier": -100000000, "isQuanto": False, "isInverse": True},
}
LISTED = [
    PERPETUAL,
    {
        **PERPETUAL,
        **{"symbol": "ETHUSD", "underlying": "ETH", "lotSize": 1, "tickSize": 0.01, "multiplier": 100},
        **{"isQuanto": True, "isInverse": False},
    },
    {
        **PERPETUAL,
        **{
            "symbol": "XBTUSDT",
            "quoteCurrency": "USDT",
            "settlCurrency": "USDt",
            "lotSize": 1000,
            "tickSize": 1e-1,
        },
        **{"isInverse": False, "underlyingToPositionMultiplier": 1000000},
    },
    {**PERPETUAL, "symbol": "XBTM21", "typ": "FFCCSX", "expiry": "2021-06-25T12:00:00.000Z", "state": "Settled"},
    {
        **PERPETUAL,
        **{"symbol": "XBT_USDT", "typ": "IFXXXP", "quoteCurrency": "USDT", "settlCurrency": None},
        **{"lotSize": 1000, "tickSize": 0.5, "isInverse": False},
    },
    {**PERPETUAL, "symbol": ".BXBT", "typ": "MRCXXX"},
]

UNKNOWN = (
    '{"status":400,"error":"Unknown or expired symbol.","meta":{},'
    '"request":{"op":"subscribe","args":["trade:NOPE"]}}'
)
SEVERAL = (
    '{"status":400,"error":"Unknown or expired symbol.","meta":{},"request":{"op":"subscribe",'
    '"args":["trade:NOPE","trade:XBTUSD"]}}'
)

CASES = Cases(
    markets=(
        Native("BTC/USD:BTC", "XBTUSD", URL, "contracts"),
        Native("ETH/USD:BTC", "ETHUSD", URL, "contracts"),
        Native("BTC/USDT:USDT", "XBTUSDT", URL, "contracts"),
        Native("BTC/USD:BTC-210625", "XBTM21", URL, "contracts"),
        Native("ETH/USD:BTC-210625", "ETHUSDM21", URL, "contracts"),
        Native("ADA/BTC:BTC-210924", "ADAU21", URL, "contracts"),
        Native("BTC/USDT:USDT-261225", "XBTUSDTZ26", URL, "contracts"),
        Native("BTC/USDT", "XBT_USDT", URL),
    ),
    refused=(
        ("btc/usd:btc", "BTC/USD:BTC"),
        ("XBT/USD:XBT", "BTC/USD:BTC"),
        ("BTC/USD:USD", "BTC/USD:BTC"),
        ("ETH/BTC:BTC", "ETH/USD:BTC"),
        ("BTC/USDT:BTC", "BTC/USDT:USDT"),
        ("BTC/USD:BTC-210626", "BTC/USD:BTC-210625"),
        ("BTC/USD:BTC-210625-9-P", "BTC/USD:BTC"),
    ),
    subscribes=(
        Subscribe(("XBTUSD", "XBT_USDT"), "trade", '{"op":"subscribe","args":["trade:XBTUSD","trade:XBT_USDT"]}'),
    ),
    controls=(
        ('{"info":"Welcome to the BitMEX Realtime API.","version":"2.0.0","heartbeatEnabled":false}', KeepAlive()),
        ("pong", KeepAlive()),
        ('{"success":true,"subscribe":"trade:XBTUSD","pool":"Aggregated","request":{}}', Ack(("XBTUSD",))),
        ('{"success":true,"subscribe":"quote:XBTUSD","request":{}}', KeepAlive()),
        ('{"success":true,"unsubscribe":"trade:XBTUSD","request":{}}', KeepAlive()),
        (UNKNOWN, Refusal("400 Unknown or expired symbol.", ("NOPE",))),
        (SEVERAL, Refusal("400 Unknown or expired symbol.")),
        (
            '{"status":429,"error":"Rate limit exceeded, retry in 1 seconds.","meta":{"retryAfter":1}}',
            Refusal("429 Rate limit exceeded, retry in 1 seconds.", transient=True),
        ),
        ('{"status":400,"error":"not subscribed","request":{"op":"unsubscribe","args":["trade:A"]}}', KeepAlive()),
        ('{"table":"trade","action":"partial","data":[]}', KeepAlive()),
        ('{"table":"trade","action":"insert","data":[{}]}', MalformedTrade()),
        ('{"table":"quote","action":"insert","data":[]}', None),
    ),
    wire=wire,
    control=control,
    markets_of={"trade_2021-04-05.mixed.jsonl": "trade_2021-04-05.jsonl"},
    frame=TradeFrame(
        capture="frames_various_2019.jsonl",
        symbol="BTC/USD:BTC",
        keys={
            **{"native": "symbol", "price": "price", "volume": "size", "side": "side"},
            **{"time": "timestamp", "id": "trdMatchID"},
        },
        path=("data", 0),
        bad_times=BAD_RFC3339,
        odd_time=1723161255342,
        numbers=True,
        text_ids=True,
        optional=("side",),
    ),
    unknown_market=(
        400,
        b'{"error":{"message":"Unknown or expired symbol.","name":"HTTPError"}}',
        "HTTPError: Unknown or expired symbol.",
    ),
    rest_symbol="BTC/USD:BTC",
    requests=(
        PageRequest(
            trade_range=TradeRange(from_ns=1_569_773_109_466_000_000, to_ns=1_569_773_127_238_000_000),
            target="/api/v1/trade?symbol=XBTUSD&count=1000&startTime=2019-09-29T16%3A05%3A09.466Z"
            "&endTime=2019-09-29T16%3A05%3A27.239Z&reverse=false",
        ),
        PageRequest(
            trade_range=TradeRange(from_ns=1_569_773_109_466_000_000),
            cursor="2019-09-29T16:05:27.238Z 3",
            target="/api/v1/trade?symbol=XBTUSD&count=1000&start=3&startTime=2019-09-29T16%3A05%3A27.238Z"
            "&reverse=false",
        ),
    ),
    pages=(PageResponse(capture="bitmex/rest/trade_XBTUSD_2019-09-29.json", rows=rows, cursor=None),),
    errors=(
        (b'{"error":{"message":"Rate limit exceeded","name":"RateLimitError"}}', Busy),
        (b'{"trades":[]}', Garbled),
    ),
    error_texts=((503, b"<html>overloaded</html>", "<html>overloaded</html>"),),
    listed=(
        InstrumentsResponse(
            request=0,
            count=5,
            body=json.dumps(LISTED).encode(),
            some=(
                Instrument(
                    symbol="BTC/USD:BTC",
                    native="XBTUSD",
                    kind="swap",
                    base="BTC",
                    quote="USD",
                    settle="BTC",
                    volume_unit="contracts",
                    contract_size="1",
                    price_step="0.1",
                    volume_step="100",
                ),
                Instrument(
                    symbol="ETH/USD:BTC",
                    native="ETHUSD",
                    kind="swap",
                    base="ETH",
                    quote="USD",
                    settle="BTC",
                    volume_unit="contracts",
                    price_step="0.01",
                    volume_step="1",
                ),
                Instrument(
                    symbol="BTC/USDT:USDT",
                    native="XBTUSDT",
                    kind="swap",
                    base="BTC",
                    quote="USDT",
                    settle="USDT",
                    volume_unit="contracts",
                    contract_size="0.000001",
                    price_step="0.1",
                    volume_step="1000",
                ),
                Instrument(
                    symbol="BTC/USD:BTC-210625",
                    native="XBTM21",
                    kind="future",
                    base="BTC",
                    quote="USD",
                    settle="BTC",
                    volume_unit="contracts",
                    contract_size="1",
                    price_step="0.1",
                    volume_step="100",
                    active=False,
                ),
                Instrument(
                    symbol="BTC/USDT", native="XBT_USDT", kind="spot", base="BTC", quote="USDT", price_step="0.5"
                ),
            ),
        ),
    ),
    loopback_errors=(
        ("/api/v1/trade?symbol=NOPE", 400, "Unknown or expired symbol."),
        ("/api/v1/trade?symbol=XBTUSD&startTime=yesterday", 400, "ISO 8601"),
    ),
)
