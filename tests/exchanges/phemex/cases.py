"""Phemex: what its documents and recordings say of names, messages and history."""

import json
from collections.abc import Iterable
from datetime import timedelta
from decimal import Decimal
from typing import Any

from actors.exchanges.contract.feed import Ack, KeepAlive, MalformedTrade, Refusal
from actors.exchanges.contract.history import TradeRange
from actors.exchanges.contract.instruments import Instrument
from actors.exchanges.contract.rest import Busy, Garbled, Refused
from tests.harness.exchange_cases import (
    EPOCH,
    Cases,
    InstrumentsResponse,
    Native,
    PageRequest,
    PageResponse,
    Subscribe,
    WireTrade,
)

URL = "wss://ws.phemex.com"


def wire(message: Any) -> Iterable[WireTrade] | None:
    """{"symbol":"BTCUSD","trades":[[ns,"Buy",763550000,370]]}, or trades_p with plain decimals."""
    rows = message.get("trades", message.get("trades_p"))
    if rows is None:
        return None
    native = message["symbol"]
    scales = (0, 0) if "trades_p" in message else (8, 8) if native.startswith("s") else (4, 0)
    return [
        WireTrade(
            native,
            None,
            Decimal(price).scaleb(-scales[0]),
            Decimal(volume).scaleb(-scales[1]),
            side.lower(),
            EPOCH + timedelta(microseconds=int(ns) // 1000),
        )
        for ns, side, price, volume in rows
    ]


def control(message: Any) -> bool:
    return "result" in message


# https://phemex-docs.github.io/#query-recent-trades, its own sample
SAMPLE = (
    b'{"error":null,"id":0,"result":{"type":"snapshot","sequence":77702250,"symbol":"BTCUSD","trades":['
    b'[1579164056368538508,"Sell",86960000,121],[1579164055036820552,"Sell",86960000,58]]}}'
)
LINEAR = (
    b'{"error":null,"id":0,"result":{"type":"snapshot","sequence":77702250,"symbol":"BTCUSDT","trades_p":['
    b'[1669198793402790477,"Buy","16545.6","0.7"]]}}'
)

# https://phemex-docs.github.io/#query-product-information: fields as documented, values of ccxt's samples
# (ts/src/phemex.ts), shortened.
INVERSE_ROW = {
    **{"symbol": "BTCUSD", "displaySymbol": "BTC / USD", "type": "Perpetual", "status": "Listed"},
    **{"contractUnderlyingAssets": "USD", "settleCurrency": "BTC", "quoteCurrency": "USD", "contractSize": "1 USD"},
    **{"lotSize": 1, "tickSize": 0.5, "priceScale": 4, "ratioScale": 8, "pricePrecision": 1},
}
SPOT_ROW = {
    **{"symbol": "sBTCUSDT", "displaySymbol": "BTC / USDT", "type": "Spot", "status": "Delisted"},
    **{"quoteCurrency": "USDT", "baseCurrency": "BTC", "baseTickSize": "0.000001 BTC", "baseTickSizeEv": 100},
    **{"quoteTickSize": "0.01 USDT", "quoteTickSizeEv": 1000000, "baseQtyPrecision": 6, "quoteQtyPrecision": 2},
}
LINEAR_ROW = {
    **{"symbol": "BTCUSDT", "displaySymbol": "BTC / USDT", "type": "PerpetualV2", "status": "Listed"},
    **{"quoteCurrency": "USDT", "settleCurrency": "USDT", "tickSize": "0.1", "qtyStepSize": "0.001"},
}
PRODUCTS = {
    "code": 0,
    "msg": "",
    "data": {
        "currencies": [{"currency": "BTC", "valueScale": 8}, {"currency": "USD", "valueScale": 4}],
        "products": [INVERSE_ROW, SPOT_ROW, {**INVERSE_ROW, "symbol": ".BTC", "type": "Index"}],
        "perpProductsV2": [LINEAR_ROW],
    },
}

CASES = Cases(
    markets=(
        Native("BTC/USDT", "sBTCUSDT", URL),
        Native("BTC/USDT:USDT", "BTCUSDT", URL),
        Native("ETH/USDC:USDC", "ETHUSDC", URL),
        Native("BTC/USD:BTC", "BTCUSD", URL, "contracts"),
    ),
    refused=(
        ("btc/usdt", "BTC/USDT"),
        ("BTC/USD:USD", "BTC/USD:BTC"),
        ("BTC/USDT:BTC", "BTC/USDT:USDT"),
        ("BTC/USDT:USDT-261225", "BTC/USDT:USDT"),
    ),
    subscribes=(
        Subscribe(("BTCUSD",), "trade", '{"id":7,"method":"trade.subscribe","params":["BTCUSD"]}'),
        Subscribe(("sSOLUSDT",), "trade", '{"id":7,"method":"trade.subscribe","params":["sSOLUSDT"]}'),
        Subscribe(("SOLUSDT",), "trade", '{"id":7,"method":"trade_p.subscribe","params":["SOLUSDT"]}'),
    ),
    controls=(
        ('{"error":null,"id":1,"result":{"status":"success"}}', Ack(request_id="1")),
        ('{"error":null,"id":0,"result":"pong"}', KeepAlive()),
        (
            '{"error":{"code":6001,"message":"invalid argument"},"id":106,"result":null}',
            Refusal("6001 invalid argument", request_id="106"),
        ),
        (
            '{"error":{"code":6015,"message":"subscription limit exceeded"},"id":102,"result":null}',
            Refusal("6015 subscription limit exceeded", request_id="102", transient=True),
        ),
        ('{"sequence":1,"symbol":"BTCUSD","trades":[],"type":"incremental"}', KeepAlive()),
        ('{"sequence":1,"symbol":"BTCUSD","trades":[[5,"Buy","x",1]],"type":"incremental"}', MalformedTrade()),
        ('{"sequence":1,"symbol":"BTCUSD","book":{},"type":"incremental"}', None),
    ),
    wire=wire,
    control=control,
    unknown_market=(
        400,
        b'{"error":{"code":6001,"message":"invalid argument"},"id":0,"result":null}',
        "6001 invalid argument",
    ),
    rest_symbol="BTC/USD:BTC",
    requests=(
        PageRequest(trade_range=TradeRange(from_id=5, to_id=9), target="/md/trade?symbol=BTCUSD"),
        PageRequest(
            trade_range=TradeRange(from_id=5, to_id=9), target="/md/v2/trade?symbol=BTCUSDT", symbol="BTC/USDT:USDT"
        ),
    ),
    pages=(
        PageResponse(
            body=SAMPLE,
            rows=lambda _answer: [
                ("BTCUSD", None, "8696.0000", "121", "sell", 1579164056368538508),
                ("BTCUSD", None, "8696.0000", "58", "sell", 1579164055036820552),
            ],
            cursor=None,
        ),
        PageResponse(
            body=LINEAR,
            symbol="BTC/USDT:USDT",
            rows=lambda _answer: [("BTCUSDT", None, "16545.6", "0.7", "buy", 1669198793402790477)],
            cursor=None,
        ),
    ),
    errors=(
        (b'{"error":{"code":10003,"message":"too many requests"},"id":0,"result":null}', Busy),
        (b'{"error":{"code":6001,"message":"invalid argument"},"id":0,"result":null}', Refused),
        (b'{"error":null,"id":0,"result":{"type":"snapshot"}}', Garbled),
    ),
    error_texts=((403, b"<html>forbidden</html>", "<html>forbidden</html>"),),
    listed=(
        InstrumentsResponse(
            request=0,
            count=3,
            body=json.dumps(PRODUCTS).encode(),
            some=(
                Instrument(
                    symbol="BTC/USD:BTC",
                    native="BTCUSD",
                    kind="swap",
                    base="BTC",
                    quote="USD",
                    settle="BTC",
                    volume_unit="contracts",
                    contract_size="1",
                    price_step="0.5",
                    volume_step="1",
                    price_scale=4,
                    volume_scale=0,
                ),
                Instrument(
                    symbol="BTC/USDT",
                    native="sBTCUSDT",
                    kind="spot",
                    base="BTC",
                    quote="USDT",
                    price_step="0.01",
                    volume_step="0.000001",
                    active=False,
                    price_scale=8,
                    volume_scale=8,
                ),
                Instrument(
                    symbol="BTC/USDT:USDT",
                    native="BTCUSDT",
                    kind="swap",
                    base="BTC",
                    quote="USDT",
                    settle="USDT",
                    price_step="0.1",
                    volume_step="0.001",
                ),
            ),
        ),
    ),
    loopback_errors=(
        ("/md/trade?symbol=NOPEUSD", 400, "invalid argument"),
        ("/md/trade?symbol=BTCUSDT", 400, "invalid argument"),
    ),
)
