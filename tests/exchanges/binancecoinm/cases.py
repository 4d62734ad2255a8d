"""Binance COIN-M futures: what its documents and recordings say of names, messages and history."""

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

ENDPOINT = "wss://dstream.binance.com/stream"


def wire(message: Any) -> Iterable[WireTrade] | None:
    """As on spot; fills off the book, whose X is not MARKET, are none."""
    trades = spot.wire(message)
    return [] if trades is not None and message["data"].get("X", "MARKET") != "MARKET" else trades


def trade_rows(answer: Any) -> list[Row]:
    return [
        (
            "BTCUSD_PERP",
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
        ("BTCUSD_PERP", str(row["a"]), row["p"], row["q"], "sell" if row["m"] else "buy", row["T"] * MS)
        for row in answer
    ]


CASES = Cases(
    markets=(
        Native("BTC/USD:BTC", "BTCUSD_PERP", ENDPOINT, "contracts"),
        Native("BTC/USD:BTC", "BTCUSD_PERP", ENDPOINT, "contracts", channel="trade"),
        Native("BTC/USD:BTC-260925", "BTCUSD_260925", ENDPOINT, "contracts"),
    ),
    refused=(
        ("btc/usd:btc", "BTC/USD:BTC"),
        ("BTC/USD", 'write "BTC/USD:BTC"'),
        ("BTC/USDT:USDT", 'write "BTC/USD:BTC"'),
        ("BTC/USD:BTC-260925-90000-C", 'write "BTC/USD:BTC"'),
    ),
    subscribes=(
        Subscribe(
            ("BTCUSD_PERP", "BTCUSD_260925"),
            "aggTrade",
            '{"method":"SUBSCRIBE","params":["btcusd_perp@aggTrade","btcusd_260925@aggTrade"],"id":7}',
        ),
        Subscribe(("BTCUSD_PERP",), "trade", '{"method":"SUBSCRIBE","params":["btcusd_perp@trade"],"id":7}'),
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
        ('{"stream":"btcusd_perp@trade","data":{}}', MalformedTrade()),
        ('{"stream":"btcusd_perp@aggTrade","data":{"e":"aggTrade","a":"x"}}', MalformedTrade()),
        ('{"stream":"btcusd_perp@bookTicker","data":{"e":"bookTicker"}}', None),
    ),
    wire=wire,
    control=spot.control,
    markets_of={"mixed_2024-08-08.jsonl": "trades_2024-08-08.jsonl"},
    frame=TradeFrame(
        capture="trades_2024-08-08.jsonl",
        symbol="ETH/USD:ETH",
        keys={"native": "s", "price": "p", "volume": "q", "side": "m", "time": "T", "id": "t"},
        path=("data",),
        bad_times=BAD_MS,
        odd_time="1723161255342",
        flag_side=True,
    ),
    unknown_market=(400, b'{"code":-1121,"msg":"Invalid symbol."}', "-1121 Invalid symbol."),
    rest_symbol="BTC/USD:BTC",
    requests=(
        PageRequest(
            trade_range=TradeRange(from_id=5, to_id=9),
            target="/dapi/v1/aggTrades?symbol=BTCUSD_PERP&fromId=5&limit=1000",
        ),
        PageRequest(
            trade_range=TradeRange(from_ns=1607294296000 * MS),
            target="/dapi/v1/aggTrades?symbol=BTCUSD_PERP&startTime=1607294296000&endTime=1607297895999&limit=1",
        ),
        PageRequest(
            trade_range=TradeRange(from_id=5, to_id=9),
            target="/dapi/v1/trades?symbol=BTCUSD_PERP&limit=1000",
            channel="trade",
        ),
    ),
    pages=(
        PageResponse(
            capture="binancecoinm/rest/aggTrades_BTCUSD_PERP_limit5_2020-12-06.json",
            rows=aggregate_rows,
            cursor=None,
        ),
        PageResponse(
            capture="binancecoinm/rest/trades_BTCUSD_PERP_limit5_2023-03-20.json",
            rows=trade_rows,
            cursor=None,
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
            capture="binancecoinm/rest/exchangeInfo.json",
            request=0,
            count=1,
            some=(
                Instrument(
                    symbol="BTC/USD:BTC-260925",
                    native="BTCUSD_260925",
                    kind="future",
                    base="BTC",
                    quote="USD",
                    settle="BTC",
                    volume_unit="contracts",
                    contract_size="100",
                    price_step="0.1",
                    volume_step="1",
                ),
            ),
        ),
        InstrumentsResponse(
            body=b'{"symbols":[{"symbol":"ETHUSD_PERP","pair":"ETHUSD","contractType":"PERPETUAL",'
            b'"contractStatus":"TRADING","contractSize":10,"baseAsset":"ETH","quoteAsset":"USD",'
            b'"marginAsset":"ETH","filters":[]}]}',
            request=0,
            count=1,
            some=(
                Instrument(
                    symbol="ETH/USD:ETH",
                    native="ETHUSD_PERP",
                    kind="swap",
                    base="ETH",
                    quote="USD",
                    settle="ETH",
                    volume_unit="contracts",
                    contract_size="10",
                ),
            ),
        ),
    ),
    loopback_errors=(
        ("/dapi/v1/aggTrades?symbol=NOPE", 400, '{"code":-1121,"msg":"Invalid symbol."}'),
        ("/dapi/v1/aggTrades", 400, '"code":-1102'),
        ("/dapi/v1/historicalTrades?symbol=XRPUSD_PERP", 401, '"code":-2014'),
    ),
    loopback_shapes=(
        (
            "/dapi/v1/aggTrades?symbol=XRPUSD_PERP",
            "binancecoinm/rest/aggTrades_BTCUSD_PERP_limit5_2020-12-06.json",
            (),
            (),
        ),
        (
            "/dapi/v1/trades?symbol=XRPUSD_PERP",
            "binancecoinm/rest/trades_BTCUSD_PERP_limit5_2023-03-20.json",
            (),
            (),
        ),
    ),
)
