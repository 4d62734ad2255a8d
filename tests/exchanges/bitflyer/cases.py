"""bitFlyer: what its documents and recordings say of names, messages and history."""

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from actors.exchanges.contract.feed import Ack, KeepAlive, MalformedTrade, Refusal
from actors.exchanges.contract.history import TradeRange
from actors.exchanges.contract.instruments import Instrument
from actors.exchanges.contract.rest import Busy, Garbled
from tests.harness.exchange_cases import (
    EPOCH,
    MS,
    Cases,
    InstrumentsResponse,
    Native,
    PageRequest,
    PageResponse,
    Row,
    Subscribe,
    WireTrade,
)

URL = "wss://ws.lightstream.bitflyer.com/json-rpc"
CHANNEL = "lightning_executions_"
SIDES = {"BUY": "buy", "SELL": "sell", "": None}


def wire(message: Any) -> Iterable[WireTrade] | None:
    if isinstance(message, list) or not str(message.get("params", {}).get("channel")).startswith(CHANNEL):
        return None
    return [
        WireTrade(
            message["params"]["channel"].removeprefix(CHANNEL),
            str(row["id"]),
            Decimal(row["price"]),
            Decimal(row["size"]),
            SIDES[row["side"]],
            datetime.fromisoformat(row["exec_date"][:26].rstrip("Z")).replace(tzinfo=UTC),
        )
        for row in message["params"]["message"]
    ]


def control(message: Any) -> bool:
    return isinstance(message, list) or "result" in message or "error" in message


def rows(answer: Any) -> list[Row]:
    return [
        (
            "FX_BTC_JPY",
            str(row["id"]),
            row["price"],
            row["size"],
            SIDES[row["side"]],
            round((datetime.fromisoformat(row["exec_date"] + "Z") - EPOCH).total_seconds() * 1000) * MS,
        )
        for row in answer
    ]


HISTORY = "/v1/executions?product_code=FX_BTC_JPY&count=500"
INVALID = b'{"status":-100,"error_message":"Invalid product","data":null}'
# As documented, and a future as the recordings of 2021 name it.
MARKETS = (
    b'[{"product_code":"BTC_JPY","market_type":"Spot"},{"product_code":"FX_BTC_JPY","market_type":"FX"},'
    b'{"product_code":"BTCJPY24DEC2021","alias":"BTCJPY_MAT1WK","market_type":"Futures"},'
    b'{"product_code":"ETH_BTC","market_type":"Spot"}]'
)


def answered(rest: str) -> str:
    return f'{{"jsonrpc":"2.0","id":7,{rest}}}'


def messages(rows: str, channel: str = "lightning_executions_BTC_JPY") -> str:
    params = f'{{"channel":"{channel}","message":{rows}}}'
    return f'{{"jsonrpc":"2.0","method":"channelMessage","params":{params}}}'


CASES = Cases(
    markets=(
        Native("BTC/JPY", "BTC_JPY", URL),
        Native("BTC/USD", "BTC_USD", URL),
        Native("BTC/JPY:JPY", "FX_BTC_JPY", URL),
        Native("BTC/JPY:JPY-211224", "BTCJPY24DEC2021", URL),
        Native("BTC/JPY:JPY-220107", "BTCJPY07JAN2022", URL),
    ),
    refused=(
        ("btc/jpy", "BTC/JPY"),
        ("BTC/USD:USD", "BTC/JPY:JPY"),
        ("BTC/JPY:JPY-211224-100-C", "BTC/JPY:JPY"),
    ),
    subscribes=(
        Subscribe(
            ("FX_BTC_JPY",),
            "lightning_executions",
            '{"jsonrpc":"2.0","method":"subscribe","params":{"channel":"lightning_executions_FX_BTC_JPY"},"id":7}',
        ),
    ),
    controls=(
        (answered('"result":true'), Ack(request_id="7")),
        (
            answered('"error":{"code":-32602,"message":"invalid channel"}'),
            Refusal("-32602 invalid channel", request_id="7"),
        ),
        (answered('"error":{"code":-32009,"message":"already subscribed"}'), Ack(request_id="7")),
        (
            answered('"error":{"code":-32603,"message":"Internal error"}'),
            Refusal("-32603 Internal error", request_id="7", transient=True),
        ),
        (
            '{"jsonrpc":"2.0","error":{"code":-32700,"message":"Parse error"},"id":null}',
            Refusal("-32700 Parse error"),
        ),
        ('[{"jsonrpc":"2.0","id":108,"result":true},{"jsonrpc":"2.0","id":109,"result":true}]', KeepAlive()),
        (messages("[]"), KeepAlive()),
        (messages('[{"id":1}]'), MalformedTrade()),
        (messages("{}", "lightning_ticker_BTC_JPY"), None),
        ("[]", None),
        ("[1]", None),
        ('{"result":true,"id":1}', None),
    ),
    wire=wire,
    control=control,
    markets_of={
        "control_2026-09.jsonl": "live_2026-09.jsonl",
        "executions_2021-12-12.mixed.jsonl": "executions_2021-12-12.jsonl",
    },
    unknown_market=(400, INVALID, "-100 Invalid product"),
    rest_symbol="BTC/JPY:JPY",
    requests=(
        PageRequest(trade_range=TradeRange(from_ns=5, to_ns=9), target=HISTORY),
        PageRequest(trade_range=TradeRange(from_id=5, to_id=9), target=f"{HISTORY}&before=10"),
        PageRequest(trade_range=TradeRange(from_ns=5), cursor="77", target=f"{HISTORY}&before=77"),
    ),
    pages=(PageResponse(capture="bitflyer/rest/executions_FX_BTC_JPY_2019-10-15.json", rows=rows, cursor=None),),
    errors=((INVALID, Busy), (b'[{"id":1,"side":"BUY"}]', Garbled)),
    error_texts=((400, INVALID, "-100 Invalid product"), (429, b"slow down", "slow down")),
    listed=(
        InstrumentsResponse(
            request=0,
            body=MARKETS,
            count=4,
            some=(
                Instrument(
                    symbol="BTC/JPY:JPY",
                    native="FX_BTC_JPY",
                    kind="swap",
                    base="BTC",
                    quote="JPY",
                    settle="JPY",
                ),
                Instrument(
                    symbol="BTC/JPY:JPY-211224",
                    native="BTCJPY24DEC2021",
                    kind="future",
                    base="BTC",
                    quote="JPY",
                    settle="JPY",
                ),
            ),
        ),
    ),
    loopback_errors=(("/v1/executions?product_code=NOPE_JPY", 400, "Invalid product"),),
    loopback_shapes=(
        (
            "/v1/executions?product_code=FX_BTC_JPY&count=3",
            "bitflyer/rest/executions_FX_BTC_JPY_2019-10-15.json",
            (),
            (),
        ),
    ),
)
