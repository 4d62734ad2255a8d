"""Binance spot: what its documents and recordings say of names, messages and history."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from actors.exchanges.contract.feed import Ack, CloseNotice, MalformedTrade, Refusal
from actors.exchanges.contract.history import TradeRange
from actors.exchanges.contract.instruments import Instrument
from actors.exchanges.contract.rest import Busy, Refused
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


def wire(message: Any) -> Iterable[WireTrade] | None:
    """{"e":"trade",...} or "aggTrade", or under "data" of a combined stream; `m`: the buyer is the maker."""
    trade = message.get("data", message)
    if trade.get("e") not in ("trade", "aggTrade"):
        return None
    number = trade["t"] if trade["e"] == "trade" else trade["a"]
    side = "sell" if trade["m"] else "buy"
    return [WireTrade(trade["s"], number, Decimal(trade["p"]), Decimal(trade["q"]), side, of_ms(trade["T"]))]


def control(message: Any) -> bool:
    return "result" in message


def trade_rows(answer: Any) -> list[Row]:
    return [
        (
            "ETHBTC",
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
        ("BTCUSDT", str(row["a"]), row["p"], row["q"], "sell" if row["m"] else "buy", row["T"] * MS)
        for row in answer
    ]


CASES = Cases(
    markets=(
        Native("BTC/USDT", "BTCUSDT", "wss://stream.binance.com:9443/stream"),
        Native("币安人生/USDT", "币安人生USDT", "wss://stream.binance.com:9443/stream"),
    ),
    refused=(
        ("btc/usdt", "BTC/USDT"),
        ("BTC/USDT:USDT", 'write "BTC/USDT"'),
    ),
    subscribes=(
        Subscribe(
            ("BTCUSDT", "ETHUSDT"),
            "trade",
            '{"method":"SUBSCRIBE","params":["btcusdt@trade","ethusdt@trade"],"id":7}',
        ),
        Subscribe(("BTCUSDT",), "aggTrade", '{"method":"SUBSCRIBE","params":["btcusdt@aggTrade"],"id":7}'),
    ),
    controls=(
        ('{"result":null,"id":3}', Ack(request_id="3")),
        ('{"code":2,"msg":"Invalid request","id":3}', Refusal("2 Invalid request", request_id="3")),
        ('{"error":{"code":3,"msg":"Invalid JSON"},"id":null}', Refusal("3 Invalid JSON")),
        ('{"e":"serverShutdown","E":1}', CloseNotice("serverShutdown")),
        ('{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1}}', CloseNotice("serverShutdown")),
        ('{"stream":"btcusdt@trade","data":{}}', MalformedTrade()),
        ('{"stream":"btcusdt@depth","data":{"e":"depthUpdate","id":1,"result":1}}', None),
        # about the rate, or the exchange's own trouble: not about markets
        (
            '{"code":-1003,"msg":"Way too much request weight used; IP banned","id":3}',
            Refusal("-1003 Way too much request weight used; IP banned", request_id="3", transient=True),
        ),
        (
            '{"error":{"code":4,"msg":"Too many subscriptions"},"id":19}',
            Refusal("4 Too many subscriptions", request_id="19", transient=True),
        ),
        (
            '{"error":{"code":-1008,"msg":"Server is currently overloaded"},"id":null}',
            Refusal("-1008 Server is currently overloaded", transient=True),
        ),
    ),
    wire=wire,
    control=control,
    markets_of={"mixed_2024-08-08.jsonl": "trades_2024-08-08.jsonl"},
    frame=TradeFrame(
        capture="trades_2024-08-08.jsonl",
        symbol="BTC/USDT",
        keys={"native": "s", "price": "p", "volume": "q", "side": "m", "time": "T", "id": "t"},
        path=("data",),
        bad_times=BAD_MS,
        odd_time="1723161255342",
        flag_side=True,
    ),
    unknown_market=(400, b'{"code":-1121,"msg":"Invalid symbol."}', "-1121 Invalid symbol."),
    rest_symbol="ETH/BTC",
    requests=(
        PageRequest(
            trade_range=TradeRange(from_id=5, to_id=9),
            target="/api/v3/historicalTrades?symbol=ETHBTC&fromId=5&limit=1000",
        ),
        # as it was recorded (captures/rest/aggTrades_BTCUSDT_fromId202790190_2020.txt), but for the order
        PageRequest(
            trade_range=TradeRange(from_id=202790190),
            target="/api/v3/aggTrades?symbol=BTCUSDT&fromId=202790190&limit=1000",
            symbol="BTC/USDT",
            channel="aggTrade",
        ),
    ),
    pages=(
        PageResponse(
            capture="binance/rest/trades_ETHBTC_limit1000_2023-03-20.json", rows=trade_rows, cursor="409019748"
        ),
        PageResponse(
            capture="binance/rest/aggTrades_BTCUSDT_fromId202790190_2020.json",
            rows=aggregate_rows,
            cursor="202791190",
            symbol="BTC/USDT",
            channel="aggTrade",
        ),
    ),
    errors=(
        (b'{"code":-1000,"msg":"An unknown error occurred"}', Busy),
        (b'{"code":-1121,"msg":"Invalid symbol."}', Refused),
    ),
    error_texts=((400, b'{"code":-1121,"msg":"Invalid symbol."}', "-1121 Invalid symbol."),),
    listed=(
        InstrumentsResponse(
            capture="binance/rest/exchangeInfo.json",
            request=0,
            count=1,
            some=(Instrument(symbol="ETH/BTC", native="ETHBTC", kind="spot", base="ETH", quote="BTC"),),
        ),
        InstrumentsResponse(  # as documented
            body="""{"symbols":[{"symbol":"币安人生USDT","status":"BREAK","baseAsset":"币安人生","quoteAsset":"USDT",
            "filters":[{"filterType":"PRICE_FILTER","tickSize":"0.00000100"},
            {"filterType":"LOT_SIZE","stepSize":"0.10000000"},
            {"filterType":"MARKET_LOT_SIZE","stepSize":"0.00000000"}]}]}""".encode(),
            request=0,
            count=1,
            some=(
                Instrument(
                    symbol="币安人生/USDT",
                    native="币安人生USDT",
                    kind="spot",
                    base="币安人生",
                    quote="USDT",
                    price_step="0.00000100",
                    volume_step="0.10000000",
                    active=False,
                ),
            ),
        ),
    ),
    loopback_errors=(
        ("/api/v3/trades?symbol=NOPE", 400, '{"code":-1121,"msg":"Invalid symbol."}'),
        ("/api/v3/trades", 400, '"code":-1102'),
    ),
    loopback_shapes=(
        (
            "/api/v3/historicalTrades?symbol=BTCUSDT&limit=20",
            "binance/rest/trades_ETHBTC_limit1000_2023-03-20.json",
            (),
            (),
        ),
        ("/api/v3/aggTrades?symbol=BTCUSDT", "binance/rest/aggTrades_BTCUSDT_fromId202790190_2020.json", (), ()),
    ),
)
