"""Poloniex: what its documents and recordings say of names, messages and history."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from actors.exchanges.contract.feed import Ack, KeepAlive, MalformedTrade, Refusal
from actors.exchanges.contract.history import TradeRange
from actors.exchanges.contract.instruments import Instrument
from actors.exchanges.contract.rest import Garbled, Refused
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

SPOT, SWAP = "wss://ws.poloniex.com/ws/public", "wss://ws.poloniex.com/ws/v3/public"


def wire(message: Any) -> Iterable[WireTrade] | None:
    """{"channel":"trades","data":[...]}; `quantity` is base, `amount` quote."""
    if message.get("channel") != "trades" or "data" not in message:
        return None
    return [
        WireTrade(
            row["symbol"],
            row["id"],
            Decimal(row["price"]),
            Decimal(row["quantity"]),
            row["takerSide"],
            of_ms(row["createTime"]),
        )
        for row in message["data"]
    ]


def control(message: Any) -> bool:
    return message.get("event") in ("subscribe", "error", "pong")


def spot_rows(answer: Any) -> list[Row]:
    return [
        (
            "BTC_USDT",
            row["id"],
            row["price"],
            row["quantity"],
            row["takerSide"].lower(),
            int(row["createTime"]) * MS,
        )
        for row in answer
    ]


def swap_rows(answer: Any) -> list[Row]:
    return [
        ("BTC_USDT_PERP", str(row["id"]), row["px"], row["qty"], row["side"], int(row["cT"]) * MS)
        for row in answer["data"]
    ]


# https://api-docs.poloniex.com/spot/api/public/reference-data#symbol-information, its own sample
MARKETS = (
    b'[{"symbol":"BTC_USDT","baseCurrencyName":"BTC","quoteCurrencyName":"USDT","displayName":"BTC/USDT",'
    b'"state":"NORMAL","visibleStartTime":1659018819512,"tradableStartTime":1659018819512,"symbolTradeLimit":'
    b'{"symbol":"BTC_USDT","priceScale":2,"quantityScale":6,"amountScale":2,"minQuantity":"0.000001",'
    b'"minAmount":"1","highestBid":"0","lowestAsk":"0"},"crossMargin":{"supportCrossMargin":true,"maxLeverage":3}}]'
)
# https://api-docs.poloniex.com/v3/futures/api/market/get-all-product-info: fields as documented, values of ccxt's
# sample
CONTRACTS = (
    b'{"code":200,"data":[{"symbol":"BNB_USDT_PERP","bAsset":".PBNBUSDT","bCcy":"BNB","qCcy":"USDT",'
    b'"visibleStartTime":"1620390600000","tradableStartTime":"1620390600000","sCcy":"USDT","tSz":"0.001",'
    b'"pxScale":"0.001,0.01,0.1,1,10","lotSz":"1","minSz":"1","ctVal":"0.1","status":"OPEN","ctType":"LINEAR",'
    b'"alias":""},{"symbol":"BNB_USDT_260925","bCcy":"BNB","qCcy":"USDT","sCcy":"USDT","tSz":"0.001","lotSz":"1",'
    b'"ctVal":"0.1","status":"OPEN","alias":"quarter"}],"msg":"Success"}'
)

CASES = Cases(
    markets=(
        Native("BTC/USDT", "BTC_USDT", SPOT),
        Native("BCH/BTC", "BCH_BTC", SPOT),
        Native("BTC/USDT:USDT", "BTC_USDT_PERP", SWAP, "contracts"),
    ),
    refused=(
        ("btc/usdt", "BTC/USDT"),
        ("BTC/USD:BTC", "BTC/USDT:USDT"),
        ("BTC/USDT:USDT-261225", "BTC/USDT:USDT"),
    ),
    subscribes=(
        Subscribe(
            ("BTC_USDT", "BCH_BTC"),
            "trades",
            '{"event":"subscribe","channel":["trades"],"symbols":["BTC_USDT","BCH_BTC"]}',
        ),
    ),
    controls=(
        ('{"event":"subscribe","channel":"trades","symbols":["BTC_USDT"]}', Ack(("BTC_USDT",))),
        ('{"event":"subscribe","channel":"book_lv2","symbols":["BTC_USDT"]}', KeepAlive()),
        ('{"event":"unsubscribe","channel":"trades","symbols":["BTC_USDT"]}', KeepAlive()),
        ('{"message":"no valid symbols","event":"error"}', Refusal("no valid symbols")),
        ('{"message":"Too many requests","event":"error"}', Refusal("Too many requests", transient=True)),
        ('{"event":"pong"}', KeepAlive()),
        ('{"channel":"trades","data":[]}', KeepAlive()),
        ('{"channel":"trades","data":[{"id":"1"}]}', MalformedTrade()),
        ('{"channel":"book_lv2","data":[]}', None),
    ),
    wire=wire,
    control=control,
    markets_of={
        "control_2026-09.jsonl": "live_2026-09.jsonl",
        "trades_2022-08-21.mixed.jsonl": "trades_2022-08-21.jsonl",
    },
    frame=TradeFrame(
        capture="live_2026-09.jsonl",
        symbol="BTC/USDT",
        keys={
            **{"native": "symbol", "price": "price", "volume": "quantity", "side": "takerSide"},
            **{"time": "createTime", "id": "id"},
        },
        path=("data", 0),
        bad_times=BAD_MS,
        odd_time="1723161255342",
        text_ids=True,
    ),
    unknown_market=(400, b'{"code":24101,"message":"Invalid symbol"}', "24101 Invalid symbol"),
    rest_symbol="BTC/USDT",
    requests=(
        PageRequest(trade_range=TradeRange(from_id=5, to_id=9), target="/markets/BTC_USDT/trades?limit=1000"),
        PageRequest(
            trade_range=TradeRange(from_id=5, to_id=9),
            target="/v3/market/trades?symbol=BTC_USDT_PERP&limit=1000",
            symbol="BTC/USDT:USDT",
        ),
    ),
    pages=(
        PageResponse(
            capture="poloniex/rest/markets_BTC_USDT_trades_limit1000_2025-04-06.json", rows=spot_rows, cursor=None
        ),
        PageResponse(
            capture="poloniex/rest/v3_market_trades_BTC_USDT_PERP_2024-12-16.json",
            symbol="BTC/USDT:USDT",
            rows=swap_rows,
            cursor=None,
        ),
    ),
    errors=(
        (b'{"code":24101,"message":"Invalid symbol"}', Refused),
        (b'{"trades":[]}', Garbled),
    ),
    error_texts=((403, b"ACCESS_DENY", "ACCESS_DENY"),),
    listed=(
        InstrumentsResponse(
            request=0,
            count=1,
            body=MARKETS,
            some=(
                Instrument(
                    symbol="BTC/USDT",
                    native="BTC_USDT",
                    kind="spot",
                    base="BTC",
                    quote="USDT",
                    price_step="0.01",
                    volume_step="0.000001",
                ),
            ),
        ),
        InstrumentsResponse(
            request=1,
            count=1,
            body=CONTRACTS,
            some=(
                Instrument(
                    symbol="BNB/USDT:USDT",
                    native="BNB_USDT_PERP",
                    kind="swap",
                    base="BNB",
                    quote="USDT",
                    settle="USDT",
                    volume_unit="contracts",
                    contract_size="0.1",
                    price_step="0.001",
                    volume_step="1",
                ),
            ),
        ),
    ),
    loopback_errors=(
        ("/markets/NOPE_USDT/trades", 400, "Invalid symbol"),
        ("/v3/market/trades?symbol=NOPE_USDT_PERP", 200, "Invalid symbol!"),
    ),
    loopback_shapes=(
        (
            "/markets/BTC_USDT/trades?limit=5",
            "poloniex/rest/markets_BTC_USDT_trades_limit1000_2025-04-06.json",
            (),
            (),
        ),
        (
            "/v3/market/trades?symbol=BTC_USDT_PERP&limit=5",
            "poloniex/rest/v3_market_trades_BTC_USDT_PERP_2024-12-16.json",
            ("data",),
            ("data",),
        ),
    ),
)
