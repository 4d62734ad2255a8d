"""Hyperliquid: what its documents and recordings say of names, messages and history."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from actors.exchanges.contract.feed import Ack, KeepAlive, MalformedTrade, Refusal, Unsubscribed
from actors.exchanges.contract.history import TradeRange
from actors.exchanges.contract.instruments import Instrument
from actors.exchanges.contract.rest import Garbled, RestRequest
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

URL = "wss://api.hyperliquid.xyz/ws"
SIDES = {"B": "buy", "A": "sell"}  # the taker's


def wire(message: Any) -> Iterable[WireTrade] | None:
    if message.get("channel") != "trades":
        return None
    return [
        WireTrade(
            row["coin"], row["tid"], Decimal(row["px"]), Decimal(row["sz"]), SIDES[row["side"]], of_ms(row["time"])
        )
        for row in message["data"]
    ]


def control(message: Any) -> bool:
    return message.get("channel") in ("subscriptionResponse", "error", "pong")


def rows(answer: Any) -> list[Row]:
    return [
        (row["coin"], str(row["tid"]), row["px"], row["sz"], SIDES[row["side"]], row["time"] * MS)
        for row in sorted(answer, key=lambda row: -row["time"])
    ]


def answered(method: str, kind: str = "trades") -> str:
    subscription = f'{{"type":"{kind}","coin":"BTC"}}'
    return f'{{"channel":"subscriptionResponse","data":{{"method":"{method}","subscription":{subscription}}}}}'


# No answer of the past was recorded; its rows are those of the stream, here of 2025, in an order not promised.
RECENT = (
    b'[{"coin":"BTC","side":"B","px":"105056.0","sz":"0.02222","time":1737918847000,"hash":"0x00",'
    b'"tid":917211710228416,"users":["0x8a","0x68"]},{"coin":"BTC","side":"A","px":"105055.0","sz":"0.00036","time":1737918857033,'
    b'"hash":"0x00","tid":181211126211835,"users":["0xec","0xe0"]}]'
)
SPOT_META = (
    b'{"universe":[{"tokens":[1,0],"name":"PURR/USDC","index":0,"isCanonical":true},'
    b'{"tokens":[150,0],"name":"@107","index":107,"isCanonical":false}],"tokens":['
    b'{"name":"USDC","szDecimals":8,"weiDecimals":8,"index":0,"tokenId":"0x6d","isCanonical":true},'
    b'{"name":"PURR","szDecimals":0,"weiDecimals":5,"index":1,"tokenId":"0xc1","isCanonical":true},'
    b'{"name":"HYPE","szDecimals":2,"weiDecimals":8,"index":150,"tokenId":"0x0d","isCanonical":false}]}'
)
META = (
    b'{"universe":[{"szDecimals":5,"name":"BTC","maxLeverage":40,"marginTableId":56},'
    b'{"szDecimals":0,"name":"kPEPE","maxLeverage":10,"marginTableId":52},'
    b'{"szDecimals":1,"name":"MATIC","maxLeverage":20,"marginTableId":20,"isDelisted":true}],'
    b'"marginTables":[],"collateralToken":0}'
)
DEXES = (
    b"["
    + META
    + b',{"universe":[{"szDecimals":3,"name":"xyz:SP500","maxLeverage":20}],"collateralToken":0},'
    + b'{"universe":[{"szDecimals":2,"name":"flx:TSLA","maxLeverage":10}],"collateralToken":360}]'
)


def asked(text: str) -> RestRequest:
    return RestRequest(path="/info", body=text.encode())


CASES = Cases(
    markets=(
        Native("BTC/USDC:USDC", "BTC", URL),
        Native("kPEPE/USDC:USDC", "kPEPE", URL),
        Native("xyz_SP500/USDC:USDC", "xyz:SP500", URL),
        Native("flx_TSLA/USDH:USDH", "flx:TSLA", URL),
        Native("PURR/USDC", "PURR/USDC", URL),
    ),
    refused=(
        ("BTC/USDT:USDT", "BTC/USDC:USDC"),
        ("btc/USDC:USDC", "BTC/USDC:USDC"),
        ("xyz_sp500/USDC:USDC", "xyz_SP500/USDC:USDC"),
        ("BTC/USDC:USDC-261225", "BTC/USDC:USDC"),
        ("BTC/USDH:USDH", "BTC/USDC:USDC"),
    ),
    subscribes=(
        Subscribe(("BTC",), "trades", '{"method":"subscribe","subscription":{"type":"trades","coin":"BTC"}}'),
        Subscribe(("@107",), "trades", '{"method":"subscribe","subscription":{"type":"trades","coin":"@107"}}'),
    ),
    controls=(
        (answered("subscribe"), Ack(("BTC",))),
        (answered("unsubscribe"), Unsubscribed(("BTC",))),
        (answered("subscribe", "l2Book"), KeepAlive()),
        (
            '{"channel":"error","data":"Already subscribed: {\\"type\\":\\"trades\\",\\"coin\\":\\"SOL\\"}"}',
            Ack(("SOL",)),
        ),
        (
            '{"channel":"error","data":"Error parsing JSON into valid websocket request: {\\"coin\\":[]}"}',
            Refusal('Error parsing JSON into valid websocket request: {"coin":[]}'),
        ),
        (
            '{"channel":"error","data":"Too many requests: {\\"coin\\": \\"BTC\\"}"}',
            Refusal('Too many requests: {"coin": "BTC"}', ("BTC",), transient=True),
        ),
        ('{"channel":"pong"}', KeepAlive()),
        ('{"channel":"trades","data":[]}', KeepAlive()),
        ('{"channel":"trades","data":[{"coin":"BTC"}]}', MalformedTrade()),
        ('{"channel":"l2Book","data":{"coin":"BTC"}}', None),
    ),
    wire=wire,
    control=control,
    markets_of={
        "trades_2025-01-26.mixed.jsonl": "trades_2025-01-26.jsonl",
        "control_2026-09.jsonl": "trades_2026-09-03.jsonl",
    },
    frame=TradeFrame(
        capture="trades_2025-01-26.jsonl",
        symbol="BTC/USDC:USDC",
        keys={"native": "coin", "price": "px", "volume": "sz", "side": "side", "time": "time", "id": "tid"},
        path=("data", 0),
        bad_times=BAD_MS,
        odd_time="1737918847000",
    ),
    rest_symbol="BTC/USDC:USDC",
    requests=(
        PageRequest(
            trade_range=TradeRange(from_ns=5, to_ns=9),
            target="/info",
            body=b'{"type":"recentTrades","coin":"BTC"}',
        ),
        PageRequest(
            trade_range=TradeRange(from_ns=5, to_ns=9),
            symbol="xyz_SP500/USDC:USDC",
            target="/info",
            body=b'{"type":"recentTrades","coin":"xyz:SP500"}',
        ),
    ),
    pages=(PageResponse(body=RECENT, rows=rows, cursor=None),),
    errors=((b"null", Garbled), (RECENT.replace(b"BTC", b"ETH"), Garbled)),
    error_texts=((429, b"null", "null"),),
    listed=(
        InstrumentsResponse(
            request=0,
            body=META,
            count=3,
            some=(
                Instrument(
                    symbol="BTC/USDC:USDC",
                    native="BTC",
                    kind="swap",
                    base="BTC",
                    quote="USDC",
                    settle="USDC",
                    price_step="0.1",
                    volume_step="0.00001",
                ),
                Instrument(
                    symbol="MATIC/USDC:USDC",
                    native="MATIC",
                    kind="swap",
                    base="MATIC",
                    quote="USDC",
                    settle="USDC",
                    price_step="0.00001",
                    volume_step="0.1",
                    active=False,
                ),
            ),
        ),
        InstrumentsResponse(
            request=1,
            body=SPOT_META,
            count=2,
            listed_only=("@107",),
            some=(
                Instrument(
                    symbol="HYPE/USDC",
                    native="@107",
                    kind="spot",
                    base="HYPE",
                    quote="USDC",
                    price_step="0.000001",
                    volume_step="0.01",
                ),
            ),
        ),
        InstrumentsResponse(
            request=2,
            body=DEXES,
            count=2,
            some=(
                Instrument(
                    symbol="flx_TSLA/USDH:USDH",
                    native="flx:TSLA",
                    kind="swap",
                    base="flx_TSLA",
                    quote="USDH",
                    settle="USDH",
                    price_step="0.0001",
                    volume_step="0.01",
                ),
            ),
        ),
    ),
    loopback_errors=(
        (asked('{"type":"recentTrades","coin":"NOPE"}'), 200, "null"),
        (asked('{"type":"recentTrades"}'), 422, "Failed to deserialize"),
    ),
)
