"""dYdX v4: what its documents and quoted frames say of names, messages and history."""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any

from actors.exchanges.contract.feed import Ack, KeepAlive, MalformedTrade, Refusal, Unsubscribed, Welcome
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

URL = "wss://indexer.dydx.trade/v4/ws"
HISTORY = "/v4/trades/perpetualMarket/BTC-USD"


def wire(message: Any) -> Iterable[WireTrade] | None:
    if message.get("channel") != "v4_trades" or "contents" not in message:
        return None
    return [
        WireTrade(
            message["id"],
            row["id"],
            Decimal(row["price"]),
            Decimal(row["size"]),
            row["side"].lower(),
            datetime.fromisoformat(row["createdAt"]),
        )
        for row in message["contents"]["trades"]
    ]


def control(message: Any) -> bool:
    return message.get("type") in ("connected", "error", "unsubscribed", "pong")


def rows(answer: Any) -> list[Row]:
    return [
        (
            "BTC-USD",
            row["id"],
            row["price"],
            row["size"],
            row["side"].lower(),
            round((datetime.fromisoformat(row["createdAt"]) - EPOCH).total_seconds() * 1000) * MS,
        )
        for row in answer["trades"]
    ]


# Of an answer of December 2025.
TRADES = (
    b'{"trades":[{"id":"03f89a550000000200000002","side":"BUY","size":"0.0001","price":"89942","type":"LIMIT",'
    b'"createdAt":"2025-12-08T16:11:30.590Z","createdAtHeight":"66624085"},'
    b'{"id":"03f89a53000000020000000e","side":"BUY","size":"0.0365","price":"89970","type":"LIMIT",'
    b'"createdAt":"2025-12-08T16:11:29.425Z","createdAtHeight":"66624083"},'
    b'{"id":"03f89a53000000020000000b","side":"BUY","size":"0.1763","price":"89969","type":"LIMIT",'
    b'"createdAt":"2025-12-08T16:11:29.425Z","createdAtHeight":"66624083"}]}'
)
NOT_FOUND = b'{"errors":[{"msg":"NOPE-USD not found in markets of type perpetualMarket"}]}'
MARKETS = (
    b'{"markets":{"BTC-USD":{"clobPairId":"0","ticker":"BTC-USD","status":"ACTIVE","oraclePrice":"89942.1",'
    b'"atomicResolution":-10,"tickSize":"1","stepSize":"0.0001"},"LUNA-USD":{"clobPairId":"99","ticker":"LUNA-USD",'
    b'"status":"FINAL_SETTLEMENT","tickSize":"0.0001","stepSize":"1"}}}'
)


def message(kind: str, rest: str) -> str:
    return f'{{"type":"{kind}","connection_id":"x","message_id":7,"channel":"v4_trades",{rest}}}'


CASES = Cases(
    markets=(Native("BTC/USD:USDC", "BTC-USD", URL), Native("1INCH/USD:USDC", "1INCH-USD", URL)),
    refused=(
        ("btc/USD:USDC", "BTC/USD:USDC"),
        ("BTC/USD:USD", "BTC/USD:USDC"),
        ("BTC/USDC:USDC", "BTC/USD:USDC"),
        ("BTC/USD", "BTC/USD"),
    ),
    subscribes=(
        Subscribe(
            ("BTC-USD",),
            "v4_trades",
            '{"type":"subscribe","channel":"v4_trades","id":"BTC-USD","batched":false}',
        ),
    ),
    controls=(
        ('{"type":"connected","connection_id":"x","message_id":0}', Welcome()),
        (message("subscribed", '"id":"BTC-USD","contents":{"trades":[]}'), Ack(("BTC-USD",))),
        (message("unsubscribed", '"id":"BTC-USD"'), Unsubscribed(("BTC-USD",))),
        (message("channel_data", '"id":"BTC-USD","contents":{"trades":[]}'), KeepAlive()),
        (message("channel_data", '"id":"BTC-USD","contents":{"trades":[{"id":"0"}]}'), MalformedTrade()),
        (message("channel_batch_data", '"id":"BTC-USD","contents":[]'), MalformedTrade()),
        (message("subscribed", '"id":"BTC-USD"'), MalformedTrade()),
        (
            '{"type":"error","message":"Invalid subscription id for channel: (v4_trades-FOO)","message_id":8}',
            Refusal("Invalid subscription id for channel: (v4_trades-FOO)", ("FOO",)),
        ),
        (
            '{"type":"error","message":"Too many subscribe attempts for channel v4_trades-BTC-USD."}',
            Refusal("Too many subscribe attempts for channel v4_trades-BTC-USD.", ("BTC-USD",), transient=True),
        ),
        ('{"type":"pong","message_id":9}', KeepAlive()),
        ('{"type":"channel_data","channel":"v4_markets","message_id":true}', None),
        ('{"type":"subscribed","channel":"v4_markets"}', None),
    ),
    before=(b'{"type":"connected","connection_id":"x","message_id":0}',),
    wire=wire,
    control=control,
    unknown_market=(404, NOT_FOUND, "NOPE-USD not found in markets"),
    rest_symbol="BTC/USD:USDC",
    requests=(
        PageRequest(trade_range=TradeRange(from_ns=5), target=f"{HISTORY}?limit=1000"),
        PageRequest(
            trade_range=TradeRange(from_ns=5, to_ns=1_765_210_290_590_000_001),
            target=f"{HISTORY}?limit=1000&createdBeforeOrAt=2025-12-08T16%3A11%3A30.591Z",
        ),
        PageRequest(
            trade_range=TradeRange(from_ns=5, to_ns=9),
            cursor="66624083",
            target=f"{HISTORY}?limit=1000&createdBeforeOrAtHeight=66624083",
        ),
    ),
    pages=(PageResponse(body=TRADES, rows=rows, cursor=None),),
    errors=((NOT_FOUND, Busy), (b'{"trades":[{"id":"0"}]}', Garbled)),
    error_texts=(
        (404, NOT_FOUND, "NOPE-USD not found in markets of type perpetualMarket"),
        (429, b"slow down", "slow down"),
    ),
    listed=(
        InstrumentsResponse(
            request=0,
            body=MARKETS,
            count=2,
            some=(
                Instrument(
                    symbol="BTC/USD:USDC",
                    native="BTC-USD",
                    kind="swap",
                    base="BTC",
                    quote="USD",
                    settle="USDC",
                    price_step="1",
                    volume_step="0.0001",
                ),
                Instrument(
                    symbol="LUNA/USD:USDC",
                    native="LUNA-USD",
                    kind="swap",
                    base="LUNA",
                    quote="USD",
                    settle="USDC",
                    price_step="0.0001",
                    volume_step="1",
                    active=False,
                ),
            ),
        ),
    ),
    loopback_errors=(
        ("/v4/trades/perpetualMarket/NOPE-USD", 404, "NOPE-USD not found in markets"),
        (f"{HISTORY}?createdBeforeOrAt=yesterday", 400, "valid ISO 8601 date"),
    ),
)
