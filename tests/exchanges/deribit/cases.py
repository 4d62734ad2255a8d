"""Deribit: what its documents and recordings say of names, messages and history."""

import json
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from actors.exchanges.contract.feed import Ack, KeepAlive, MalformedTrade, Refusal, Reply
from actors.exchanges.contract.history import TradeRange
from actors.exchanges.contract.instruments import Instrument
from actors.exchanges.contract.rest import Busy, Garbled, Refused
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

URL = "wss://www.deribit.com/ws/api/v2"


def wire(message: Any) -> Iterable[WireTrade] | None:
    """{"method":"subscription","params":{"channel":"trades.BTC-PERPETUAL.100ms","data":[...]}}"""
    params = message.get("params")
    if not isinstance(params, dict) or not str(params.get("channel")).startswith("trades."):
        return None
    return [
        WireTrade(
            row["instrument_name"],
            row["trade_id"],
            Decimal(row["price"]),
            Decimal(row["amount"]),
            row["direction"],
            of_ms(row["timestamp"]),
        )
        for row in params["data"]
    ]


def control(message: Any) -> bool:
    return "result" in message or "error" in message or message.get("method") == "heartbeat"


def rows(answer: Any) -> list[Row]:
    return [
        (
            row["instrument_name"],
            row["trade_id"],
            str(row["price"]),
            str(row["amount"]),
            row["direction"],
            int(row["timestamp"]) * MS,
        )
        for row in answer["result"]["trades"]
    ]


# https://docs.deribit.com/api-reference/market-data/public-get_instruments: fields as documented, values of
# nautechsystems/nautilus_trader crates/adapters/deribit/test_data/http_get_instruments.json (shortened), spot and
# linear rows in the same form.
INVERSE = {"instrument_type": "reversed", "counter_currency": "USD", "quote_currency": "USD", "is_active": True}
LINEAR = {"instrument_type": "linear", "counter_currency": "USDC", "quote_currency": "USDC", "is_active": True}
PERPETUAL = {
    **{"instrument_name": "BTC-PERPETUAL", "kind": "future", "base_currency": "BTC", "settlement_currency": "BTC"},
    **{"settlement_period": "perpetual", "tick_size": 0.5, "contract_size": 10.0, "min_trade_amount": 10.0},
    **INVERSE,
}
FUTURES = [
    PERPETUAL,
    {**PERPETUAL, "instrument_name": "BTC-27DEC24", "settlement_period": "month"},
    {
        **PERPETUAL,
        **{"instrument_name": "SOL_USDC-PERPETUAL", "base_currency": "SOL", "settlement_currency": "USDC"},
        **{"tick_size": 0.01, "min_trade_amount": 0.1, **LINEAR},
    },
    {**PERPETUAL, "instrument_name": "BTC-FS-27DEC24_PERP", "kind": "future_combo"},
]
OPTIONS = [
    {
        **PERPETUAL,
        **{"instrument_name": "BTC-27DEC24-100000-C", "kind": "option", "option_type": "call", "strike": 100000.0},
        **{"tick_size": 5e-4, "contract_size": 1.0, "min_trade_amount": 0.1, "quote_currency": "BTC"},
    },
    {
        **PERPETUAL,
        **{"instrument_name": "XRP_USDC-3JAN25-0d625-P", "kind": "option", "base_currency": "XRP"},
        **{"settlement_currency": "USDC", "tick_size": 1e-4, "min_trade_amount": 1000.0, **LINEAR},
    },
]
SPOT = [
    {
        **{"instrument_name": "BTC_USDC", "kind": "spot", "base_currency": "BTC", "tick_size": 1.0},
        **{"contract_size": 1e-4, "min_trade_amount": 1e-4, "quote_currency": "USDC", "is_active": False},
    }
]


def listing(listed: list[dict[str, object]]) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": 1, "result": listed}).encode()


CASES = Cases(
    markets=(
        Native("BTC/USD:BTC", "BTC-PERPETUAL", URL, "quote"),
        Native("BTC/USDC:USDC", "BTC_USDC-PERPETUAL", URL),
        Native("BTC/USD:BTC-260925", "BTC-25SEP26", URL, "quote"),
        Native("ETH/USD:ETH-250103", "ETH-3JAN25", URL, "quote"),
        Native("BTC/USD:BTC-260925-100000-C", "BTC-25SEP26-100000-C", URL),
        Native("XRP/USDC:USDC-250103-0.625-P", "XRP_USDC-3JAN25-0d625-P", URL),
        Native("BTC/USDC", "BTC_USDC", URL),
    ),
    refused=(
        ("btc/usd:btc", "BTC/USD:BTC"),
        ("BTC/USD:USD", "BTC/USD:BTC"),
        ("BTC/USDC:BTC-260925", "BTC/USDC:USDC-260925"),
        ("BTC/EUR:EUR-260925-100-C", "BTC/USD:BTC-260925-100-C"),
    ),
    subscribes=(
        Subscribe(
            ("BTC-PERPETUAL", "BTC-25SEP26-100000-C"),
            "trades.100ms",
            '{"jsonrpc":"2.0","id":7,"method":"public/subscribe","params":{"channels":'
            '["trades.BTC-PERPETUAL.100ms","trades.BTC-25SEP26-100000-C.100ms"]}}',
        ),
    ),
    controls=(
        (
            '{"jsonrpc":"2.0","id":1,"result":["trades.BTC-PERPETUAL.100ms"],"usIn":1,"usOut":2,"usDiff":1}',
            Ack(("BTC-PERPETUAL",), "1", only=True),
        ),
        ('{"jsonrpc":"2.0","id":3,"result":[]}', Ack((), "3", only=True)),
        ('{"jsonrpc":"2.0","id":0,"result":"ok"}', KeepAlive()),
        ('{"jsonrpc":"2.0","id":0,"result":{"version":"1.2.26"}}', KeepAlive()),
        (
            '{"jsonrpc":"2.0","method":"heartbeat","params":{"type":"test_request"}}',
            Reply('{"jsonrpc":"2.0","id":0,"method":"public/test","params":{}}'),
        ),
        ('{"jsonrpc":"2.0","method":"heartbeat","params":{"type":"heartbeat"}}', KeepAlive()),
        (
            '{"jsonrpc":"2.0","id":2,"error":{"code":10028,"message":"too_many_requests","data":{"wait":1}}}',
            Refusal("10028 too_many_requests", request_id="2", transient=True),
        ),
        (
            '{"jsonrpc":"2.0","id":2,"error":{"code":13778,"message":"raw_subscriptions_not_available_for_unauthorized"}}',
            Refusal("13778 raw_subscriptions_not_available_for_unauthorized", request_id="2"),
        ),
        ('{"jsonrpc":"2.0","id":0,"error":{"code":-32602,"message":"Invalid params"}}', KeepAlive()),
        (
            '{"jsonrpc":"2.0","method":"subscription","params":{"channel":"trades.BTC-PERPETUAL.raw","data":[]}}',
            KeepAlive(),
        ),
        (
            '{"jsonrpc":"2.0","method":"subscription","params":{"channel":"trades.BTC-PERPETUAL.raw","data":[{}]}}',
            MalformedTrade(),
        ),
        ('{"jsonrpc":"2.0","method":"subscription","params":{"channel":"book.BTC-PERPETUAL.raw","data":{}}}', None),
    ),
    wire=wire,
    control=control,
    markets_of={
        "control_options_2021-07-22.jsonl": "live_2026-09.jsonl",
    },
    frame=TradeFrame(
        capture="live_2026-09.jsonl",
        symbol="BTC/USD:BTC",
        keys={
            **{"native": "instrument_name", "price": "price", "volume": "amount", "side": "direction"},
            **{"time": "timestamp", "id": "trade_id"},
        },
        path=("params", "data", 0),
        bad_times=BAD_MS,
        odd_time="1723161255342",
        numbers=True,
        text_ids=True,
    ),
    unknown_market=(
        400,
        b'{"jsonrpc":"2.0","error":{"message":"Invalid params","data":{"reason":"instrument not found"},'
        b'"code":-32602}}',
        "-32602 Invalid params instrument not found",
    ),
    rest_symbol="ETH/USD:ETH",
    requests=(
        PageRequest(
            trade_range=TradeRange(from_ns=1_766_332_040_636_000_000, to_ns=1_766_332_090_000_000_000),
            target="/api/v2/public/get_last_trades_by_instrument_and_time?instrument_name=ETH-PERPETUAL"
            "&start_timestamp=1766332040636&end_timestamp=1766332090001&count=1000&sorting=asc",
        ),
        PageRequest(
            trade_range=TradeRange(from_ns=1_766_332_040_636_000_000, to_ns=1_766_332_090_000_000_000),
            cursor="203024597",
            target="/api/v2/public/get_last_trades_by_instrument?instrument_name=ETH-PERPETUAL"
            "&start_seq=203024597&count=1000&sorting=asc",
        ),
    ),
    pages=(
        PageResponse(
            capture="deribit/rest/get_last_trades_by_instrument_ETH-PERPETUAL_2025-12-21.json",
            rows=rows,
            cursor="203024597",
        ),
    ),
    errors=(
        (b'{"jsonrpc":"2.0","error":{"code":10028,"message":"too_many_requests"}}', Busy),
        (b'{"jsonrpc":"2.0","error":{"code":-32602,"message":"Invalid params"}}', Refused),
        (b'{"jsonrpc":"2.0","result":{"trades":{},"has_more":false}}', Garbled),
    ),
    error_texts=((502, b"<html>bad gateway</html>", "<html>bad gateway</html>"),),
    listed=(
        InstrumentsResponse(
            request=0,
            count=3,
            body=listing(FUTURES),
            some=(
                Instrument(
                    symbol="BTC/USD:BTC",
                    native="BTC-PERPETUAL",
                    kind="swap",
                    base="BTC",
                    quote="USD",
                    settle="BTC",
                    volume_unit="quote",
                    price_step="0.5",
                    volume_step="10.0",
                ),
                Instrument(
                    symbol="BTC/USD:BTC-241227",
                    native="BTC-27DEC24",
                    kind="future",
                    base="BTC",
                    quote="USD",
                    settle="BTC",
                    volume_unit="quote",
                    price_step="0.5",
                    volume_step="10.0",
                ),
            ),
        ),
        InstrumentsResponse(
            request=2,
            count=2,
            body=listing(OPTIONS),
            some=(
                Instrument(
                    symbol="XRP/USDC:USDC-250103-0.625-P",
                    native="XRP_USDC-3JAN25-0d625-P",
                    kind="option",
                    base="XRP",
                    quote="USDC",
                    settle="USDC",
                    price_step="0.0001",
                    volume_step="1000.0",
                ),
            ),
        ),
        InstrumentsResponse(
            request=1,
            count=1,
            body=listing(SPOT),
            some=(
                Instrument(
                    symbol="BTC/USDC",
                    native="BTC_USDC",
                    kind="spot",
                    base="BTC",
                    quote="USDC",
                    price_step="1.0",
                    volume_step="0.0001",
                    active=False,
                ),
            ),
        ),
    ),
    loopback_errors=(
        ("/api/v2/public/get_last_trades_by_instrument?instrument_name=NOPE", 400, "instrument not found"),
        (
            "/api/v2/public/get_last_trades_by_instrument_and_time?instrument_name=BTC-PERPETUAL",
            400,
            "start_timestamp",
        ),
    ),
    loopback_shapes=(
        (
            "/api/v2/public/get_last_trades_by_instrument?instrument_name=BTC-PERPETUAL&count=5",
            "deribit/rest/get_last_trades_by_instrument_ETH-PERPETUAL_2025-12-21.json",
            ("result", "trades"),
            ("result", "trades"),
        ),
    ),
)
