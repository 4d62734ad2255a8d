"""Kraken Futures: what its documents and recordings say of names, messages and history."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from actors.exchanges.contract.feed import Ack, KeepAlive, MalformedTrade, Refusal, Unsubscribed
from actors.exchanges.contract.history import TradeRange
from actors.exchanges.contract.instruments import Instrument
from actors.exchanges.contract.rest import Busy, Refused
from tests.harness.exchange_cases import (
    BAD_MS,
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
    of_ms,
)

ENDPOINT = "wss://futures.kraken.com/ws/v1"


def wire(message: Any) -> Iterable[WireTrade] | None:
    """{"feed":"trade",...}, or rows of it in a trade_snapshot; block trades are off the book."""
    rows = {"trade": [message], "trade_snapshot": message.get("trades")}.get(message.get("feed"))
    if rows is None or "event" in message:
        return None
    return [
        WireTrade(
            row["product_id"],
            row.get("uid"),
            Decimal(row["price"]),
            Decimal(row["qty"]),
            row["side"],
            of_ms(row["time"]),
        )
        for row in rows
        if row["type"] != "block"
    ]


def control(message: Any) -> bool:
    return "event" in message


def history_rows(answer: Any) -> list[Row]:
    return [
        (
            "PI_ETHUSD",
            row["uid"],
            str(row["price"]),
            str(row["size"]),
            row["side"],
            (datetime.fromisoformat(row["time"]) - EPOCH) // timedelta(milliseconds=1) * MS,
        )
        for row in answer["history"]
    ]


CASES = Cases(
    markets=(
        Native("BTC/USD:BTC", "PI_XBTUSD", ENDPOINT, "contracts"),
        Native("ETH/USD:ETH-260925", "FI_ETHUSD_260925", ENDPOINT, "contracts"),
        Native("BTC/USD:USD", "PF_XBTUSD", ENDPOINT),
        Native("AAPLx/USD:USD", "PF_AAPLxUSD", ENDPOINT),
        Native("BTC/USD:USD-260925", "FF_XBTUSD_260925", ENDPOINT),
    ),
    refused=(
        ("btc/usd:btc", 'write "BTC/USD:BTC"'),
        ("XBT/USD:XBT", 'write "BTC/USD:BTC"'),
        ("XBT/USD:USD", 'write "BTC/USD:USD"'),
        ("BTC/USDT:USDT", 'write "BTC/USD:USD"'),
        ("ETH/USD:BTC-260925", 'write "ETH/USD:USD-260925"'),
        ("BTC/USD", 'write "BTC/USD:USD"'),
        ("BTC/USD:BTC-260925-90000-C", 'write "BTC/USD:BTC-260925"'),
    ),
    subscribes=(
        Subscribe(
            ("PI_XBTUSD", "PF_XBTUSD"),
            "trade",
            '{"event":"subscribe","feed":"trade","product_ids":["PI_XBTUSD","PF_XBTUSD"]}',
        ),
    ),
    controls=(
        ('{"event":"info","version":1}', KeepAlive()),
        ('{"event":"subscribed","feed":"trade","product_ids":["PI_XBTUSD"]}', Ack(("PI_XBTUSD",))),
        ('{"event":"subscribed","feed":"book","product_ids":["PI_XBTUSD"]}', KeepAlive()),
        ('{"event":"unsubscribed","feed":"trade","product_ids":["PI_XBTUSD"]}', Unsubscribed(("PI_XBTUSD",))),
        # a product by its name, whatever the case of its letters
        ('{"event":"subscribed","feed":"trade","product_ids":["PF_AAPLXUSD"]}', Ack(("PF_AAPLxUSD",))),
        (
            '{"event":"alert","message":"Couldn\'t subscribe to invalid product `PF_NOTAREALTHING`"}',
            Refusal("Couldn't subscribe to invalid product `PF_NOTAREALTHING`", ("PF_NOTAREALTHING",)),
        ),
        ('{"event":"alert","message":"Already subscribed to feed, re-requesting"}', KeepAlive()),
        (
            '{"event":"alert","message":"Trading engine unavailable"}',
            Refusal("Trading engine unavailable", transient=True),
        ),
        ('{"event":"alert","message":"Bad request"}', Refusal("Bad request")),
        ('{"event":"error","message":"Bad websocket message"}', Refusal("Bad websocket message")),
        ('{"feed":"heartbeat","time":1534262350627}', KeepAlive()),
        ('{"feed":"trade","product_id":"PI_XBTUSD"}', MalformedTrade()),
        ('{"feed":"trade_snapshot","product_id":"PI_XBTUSD","trades":[]}', KeepAlive()),
        ('{"feed":"book_snapshot","product_id":"PI_XBTUSD"}', None),
    ),
    wire=wire,
    control=control,
    markets_of={
        "trade_2021-07-22.mixed.jsonl": "trade_2021-07-22.jsonl",
        "control_2026-09.jsonl": "cmp_frames.jsonl",
    },
    frame=TradeFrame(
        capture="cmp_frames.jsonl",
        symbol="BTC/USD:BTC-220624",
        keys={
            "native": "product_id",
            "price": "price",
            "volume": "qty",
            "side": "side",
            "time": "time",
            "id": "uid",
        },
        bad_times=BAD_MS,
        odd_time="1646478498512",
        numbers=True,
        text_ids=True,
        optional=("uid",),
    ),
    unknown_market=(400, b'{"result":"error","error":"invalidArgument: symbol"}', "invalidArgument: symbol"),
    rest_symbol="ETH/USD:ETH",
    requests=(
        PageRequest(
            trade_range=TradeRange(from_ns=1_573_456_000_000_000_000, to_ns=1_573_456_460_093_000_000),
            target="/derivatives/api/v3/history?symbol=PI_ETHUSD&lastTime=2019-11-11T07%3A14%3A20.094Z",
        ),
        PageRequest(
            trade_range=TradeRange(from_ns=1_573_456_000_000_000_000),
            target="/derivatives/api/v3/history?symbol=PI_ETHUSD",
        ),
        PageRequest(
            trade_range=TradeRange(from_ns=1_573_456_000_000_000_000),
            cursor="1573456460007",
            target="/derivatives/api/v3/history?symbol=PI_ETHUSD&lastTime=2019-11-11T07%3A14%3A20.007Z",
        ),
    ),
    pages=(
        PageResponse(
            capture="krakenfutures/rest/history_PI_ETHUSD_2019-11-11.json",
            rows=history_rows,
            cursor="1573455479116",  # the oldest row and a ms,
        ),
    ),
    errors=(
        (b'{"result":"error","error":"apiLimitExceeded","serverTime":"2026-11-26T00:00:00.000Z"}', Busy),
        (b'{"result":"error","error":"invalidArgument: symbol"}', Refused),
    ),
    error_texts=((400, b'{"result":"error","error":"invalidArgument: symbol"}', "invalidArgument: symbol"),),
    listed=(
        InstrumentsResponse(
            capture="krakenfutures/rest/instruments.json",
            request=0,
            count=4,
            some=(
                Instrument(
                    symbol="BTC/USD:BTC",
                    native="PI_XBTUSD",
                    kind="swap",
                    base="BTC",
                    quote="USD",
                    settle="BTC",
                    volume_unit="contracts",
                    contract_size="1",
                    price_step="0.5",
                    volume_step="1",
                ),
                Instrument(
                    symbol="PEPE/USD:USD",
                    native="PF_PEPEUSD",
                    kind="swap",
                    base="PEPE",
                    quote="USD",
                    settle="USD",
                    price_step="0.0000000001",
                    volume_step="1000",
                ),
            ),
        ),
        InstrumentsResponse(  # without base and quote, as older answers are; indices are no markets
            body=b'{"result":"success","instruments":[{"symbol":"fi_xbtusd_180615","type":"futures_inverse",'
            b'"tickSize":1,"contractSize":1,"tradeable":false},{"symbol":"in_xbtusd","type":"spot index",'
            b'"tradeable":false}],"serverTime":"2018-07-19T11:32:39.433Z"}',
            request=0,
            count=1,
            some=(
                Instrument(
                    symbol="BTC/USD:BTC-180615",
                    native="FI_XBTUSD_180615",
                    kind="future",
                    base="BTC",
                    quote="USD",
                    settle="BTC",
                    volume_unit="contracts",
                    contract_size="1",
                    price_step="1",
                    active=False,
                ),
            ),
        ),
    ),
    loopback_errors=(
        ("/derivatives/api/v3/history?symbol=NOPE", 400, '"error":"invalidArgument: symbol"'),
        ("/derivatives/api/v3/history", 400, '"result":"error"'),
    ),
    loopback_shapes=(
        (
            "/derivatives/api/v3/history?symbol=PI_XBTUSD",
            "krakenfutures/rest/history_PI_ETHUSD_2019-11-11.json",
            ("history",),
            ("history",),
        ),
    ),
)
