"""Binance USD-M futures: what its documents and recordings say of names, messages and history."""

from collections.abc import Iterable
from typing import Any

from actors.exchanges.contract.feed import Ack, CloseNotice, MalformedTrade, Refusal
from actors.exchanges.contract.history import TradeRange
from actors.exchanges.contract.instruments import Instrument
from actors.exchanges.contract.rest import Busy, Refused
from tests.exchanges.binance import cases as spot
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
)

MARKET = "wss://fstream.binance.com/market/stream"
PUBLIC = "wss://fstream.binance.com/public/stream"


def wire(message: Any) -> Iterable[WireTrade] | None:
    """As on spot; fills off the book, whose X is not MARKET, are none."""
    trades = spot.wire(message)
    return [] if trades is not None and message["data"].get("X", "MARKET") != "MARKET" else trades


def trade_rows(answer: Any) -> list[Row]:
    return [
        (
            "BTCUSDT",
            str(row["id"]),
            row["price"],
            row["qty"],
            "sell" if row["isBuyerMaker"] else "buy",
            row["time"] * MS,
        )
        for row in answer
    ]


def aggregate_rows(answer: Any) -> list[Row]:
    return [
        ("LTCUSDT", str(row["a"]), row["p"], row["q"], "sell" if row["m"] else "buy", row["T"] * MS)
        for row in answer
    ]


CASES = Cases(
    markets=(
        Native("BTC/USDT:USDT", "BTCUSDT", MARKET),
        Native("BTC/USDC:USDC", "BTCUSDC", MARKET, channel="aggTrade"),
        Native("BTC/USDT:USDT", "BTCUSDT", PUBLIC, channel="trade"),
        Native("BTC/USDT:USDT-260925", "BTCUSDT_260925", MARKET),
        Native("1000PEPE/USDT:USDT", "1000PEPEUSDT", MARKET),
    ),
    refused=(
        ("btc/usdt:usdt", "BTC/USDT:USDT"),
        ("BTC/USDT", 'write "BTC/USDT:USDT"'),
        ("BTC/USD:BTC", 'write "BTC/USDT:USDT"'),
        ("BTC/USDT:USDT-260925-90000-C", 'write "BTC/USDT:USDT"'),
    ),
    subscribes=(
        Subscribe(
            ("BTCUSDT", "BTCUSDT_260925"),
            "aggTrade",
            '{"method":"SUBSCRIBE","params":["btcusdt@aggTrade","btcusdt_260925@aggTrade"],"id":7}',
        ),
        Subscribe(("BTCUSDT",), "trade", '{"method":"SUBSCRIBE","params":["btcusdt@trade"],"id":7}'),
    ),
    controls=(
        ('{"result":null,"id":3}', Ack(request_id="3")),
        (
            '{"error":{"code":3,"msg":"Invalid JSON: expected value at line 1 column 1"}}',
            Refusal("3 Invalid JSON: expected value at line 1 column 1"),
        ),
        (
            '{"id":19,"error":{"code":4,"msg":"Too many subscriptions"}}',
            Refusal("4 Too many subscriptions", request_id="19", transient=True),
        ),
        ('{"e":"serverShutdown","E":1}', CloseNotice("serverShutdown")),
        ('{"stream":"btcusdt@trade","data":{}}', MalformedTrade()),
        ('{"stream":"btcusdt@aggTrade","data":{"e":"aggTrade","a":"x"}}', MalformedTrade()),
        ('{"stream":"btcusdt@bookTicker","data":{"e":"bookTicker"}}', None),
    ),
    wire=wire,
    control=spot.control,
    markets_of={"mixed_2024-08-08.jsonl": "trades_2024-08-08.jsonl"},
    frame=TradeFrame(
        capture="trades_2024-08-08.jsonl",
        symbol="BTC/USDT:USDT",
        keys={"native": "s", "price": "p", "volume": "q", "side": "m", "time": "T", "id": "t"},
        path=("data",),
        bad_times=BAD_MS,
        odd_time="1723161255342",
        flag_side=True,
    ),
    unknown_market=(400, b'{"code":-1121,"msg":"Invalid symbol."}', "-1121 Invalid symbol."),
    rest_symbol="LTC/USDT:USDT",
    requests=(
        PageRequest(
            trade_range=TradeRange(from_id=5, to_id=9),
            target="/fapi/v1/aggTrades?symbol=LTCUSDT&fromId=5&limit=1000",
        ),
        PageRequest(
            trade_range=TradeRange(from_ns=1602816263000 * MS),
            target="/fapi/v1/aggTrades?symbol=LTCUSDT&startTime=1602816263000&endTime=1602819862999&limit=1",
        ),
        PageRequest(
            trade_range=TradeRange(from_id=5, to_id=9),
            target="/fapi/v1/trades?symbol=LTCUSDT&limit=1000",
            channel="trade",
        ),
    ),
    pages=(
        PageResponse(
            capture="binanceusdm/rest/aggTrades_LTCUSDT_startTime_endTime_2020-10-16.json",
            rows=aggregate_rows,
            cursor=None,  # 500 rows, fewer than are requested
        ),
        PageResponse(
            capture="binanceusdm/rest/trades_BTCUSDT_limit1000_2023-07-17.json",
            rows=trade_rows,
            cursor=None,
            symbol="BTC/USDT:USDT",
            channel="trade",
        ),
    ),
    errors=(
        (b'{"code":-1000,"msg":"An unknown error occurred"}', Busy),
        (b'{"code":-1121,"msg":"Invalid symbol."}', Refused),
    ),
    error_texts=((400, b'{"code":-1121,"msg":"Invalid symbol."}', "-1121 Invalid symbol."),),
    listed=(
        InstrumentsResponse(
            capture="binanceusdm/rest/exchangeInfo.json",
            request=0,
            count=3,
            some=(
                Instrument(
                    symbol="BTC/USDT:USDT",
                    native="BTCUSDT",
                    kind="swap",
                    base="BTC",
                    quote="USDT",
                    settle="USDT",
                    price_step="0.10",
                    volume_step="0.001",
                ),
                Instrument(
                    symbol="BTC/USDT:USDT-260925",
                    native="BTCUSDT_260925",
                    kind="future",
                    base="BTC",
                    quote="USDT",
                    settle="USDT",
                    price_step="0.1",
                    volume_step="0.001",
                ),
            ),
        ),
        InstrumentsResponse(  # one that is not open yet has neither type nor day
            body=b'{"symbols":[{"symbol":"NEWUSDT","pair":"NEWUSDT","contractType":"","status":"PENDING_TRADING",'
            b'"baseAsset":"NEW","quoteAsset":"USDT","marginAsset":"USDT","filters":[]},'
            b'{"symbol":"OLDUSDT","contractType":"PERPETUAL","status":"SETTLING","baseAsset":"OLD",'
            b'"quoteAsset":"USDT","marginAsset":"USDT","filters":[]}]}',
            request=0,
            count=1,
            some=(
                Instrument(
                    symbol="OLD/USDT:USDT",
                    native="OLDUSDT",
                    kind="swap",
                    base="OLD",
                    quote="USDT",
                    settle="USDT",
                    active=False,
                ),
            ),
        ),
    ),
    loopback_errors=(
        ("/fapi/v1/aggTrades?symbol=NOPE", 400, '{"code":-1121,"msg":"Invalid symbol."}'),
        ("/fapi/v1/aggTrades", 400, '"code":-1102'),
        ("/fapi/v1/historicalTrades?symbol=SUSHIUSDT", 401, '"code":-2014'),
    ),
    loopback_shapes=(
        (
            "/fapi/v1/aggTrades?symbol=SUSHIUSDT",
            "binanceusdm/rest/aggTrades_LTCUSDT_startTime_endTime_2020-10-16.json",
            (),
            (),
        ),
        (
            "/fapi/v1/trades?symbol=SUSHIUSDT",
            "binanceusdm/rest/trades_BTCUSDT_limit1000_2023-07-17.json",
            (),
            (),
        ),
    ),
)
