"""Gemini: what its documents and recordings say of names, messages and history."""

from collections.abc import Iterable
from datetime import timedelta
from decimal import Decimal
from typing import Any

from actors.exchanges.contract.feed import Ack, KeepAlive, MalformedTrade, Refusal
from actors.exchanges.contract.history import TradeRange
from actors.exchanges.contract.instruments import Instrument
from actors.exchanges.contract.rest import Busy, Garbled
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

URL = "wss://api.gemini.com/v2/marketdata"
NEWER = "wss://ws.gemini.com"
SIDES = {"buy": "buy", "sell": "sell"}  # a block has no taker


def wire(message: Any) -> Iterable[WireTrade] | None:
    """A trade, or those inside the first order book of a market; the newer API has names of one letter."""
    if "m" in message:
        time = EPOCH + timedelta(microseconds=message["E"] // 1000)
        side = "sell" if message["m"] else "buy"
        price, volume = Decimal(message["p"]), Decimal(message["q"])
        return [WireTrade(message["s"].upper(), str(message["t"]), price, volume, side, time)]
    match message.get("type"):
        case "trade":
            return [trade(message)]
        case "l2_updates":
            return [trade(row) for row in message.get("trades", ())]
    return None


def trade(row: Any) -> WireTrade:
    trade_id = str(row["tid"]) if "tid" in row else None
    price, volume = Decimal(row["price"]), Decimal(row["quantity"])
    return WireTrade(row["symbol"], trade_id, price, volume, SIDES.get(row["side"]), of_ms(row["timestamp"]))


def control(message: Any) -> bool:
    return message.get("type") == "heartbeat" or "status" in message or message.get("result") == "error"


def rows(answer: Any) -> list[Row]:
    """Newest first; stored the other way round."""
    return [
        ("BTCUSD", str(row["tid"]), row["price"], row["amount"], SIDES.get(row["type"]), row["timestampms"] * MS)
        for row in reversed(answer)
    ]


RECORDED = "gemini/rest/trades_BTCUSD_limit500_since_2020-06-06.json"
INVALID = b'{"result":"error","reason":"InvalidSymbol","message":"Supplied value \'nope\' is not a valid symbol"}'
LIMIT = b'{"result":"error","reason":"RateLimit","message":"Requests were made too frequently"}'
PAGE = b'[{"timestampms":1591404856618,"tid":8,"price":"9593.65","amount":"0.1","type":"block"}]'

CASES = Cases(
    markets=(
        Native("BTC/USD", "BTCUSD", URL),
        Native("ETH/BTC", "ETHBTC", URL),
        Native("SOL/USDC:USDC", "SOLUSDCPERP", URL),
        Native("BTC/GUSD:GUSD", "BTCGUSDPERP", URL),
        Native("BTC/USD", "BTCUSD", NEWER, channel="trade"),
    ),
    refused=(("btc/usd", "BTC/USD"), ("BTC/USD:USD", "BTC/USDC:USDC"), ("BTC/USD:USD-261225", "BTC/USD")),
    subscribes=(
        Subscribe(
            ("BTCUSD", "SOLUSDCPERP"),
            "l2",
            '{"type":"subscribe","subscriptions":[{"name":"l2","symbols":["BTCUSD","SOLUSDCPERP"]}]}',
        ),
        Subscribe(
            ("BTCUSD", "ETHUSD"), "trade", '{"id":7,"method":"SUBSCRIBE","params":["btcusd@trade","ethusd@trade"]}'
        ),
    ),
    controls=(
        ('{"timestamp":1789456747150,"type":"heartbeat"}', KeepAlive()),
        ('{"type":"auction_result","symbol":"BTCUSD","time_ms":1}', KeepAlive()),
        ('{"reason":"NoValidTradingPairs","result":"error"}', Refusal("NoValidTradingPairs")),
        ('{"reason":"RateLimit","result":"error"}', Refusal("RateLimit", transient=True)),
        ('{"id":1,"status":200}', Ack(request_id="1")),
        (
            '{"id":4,"status":400,"error":{"code":-1013,"msg":"Invalid stream name: nopeusd@trade"}}',
            Refusal("-1013 Invalid stream name: nopeusd@trade", ("NOPEUSD",), "4"),
        ),
        (
            '{"id":11,"status":400,"error":{"code":-1020,"msg":"Unsupported operation"}}',
            Refusal("-1020 Unsupported operation", request_id="11"),
        ),
        (
            '{"id":5,"status":429,"error":{"code":-1003,"msg":"Too many requests"}}',
            Refusal("-1003 Too many requests", request_id="5", transient=True),
        ),
        ('{"type":"trade","symbol":"BTCUSD"}', MalformedTrade()),
        ('{"type":"l2_updates","symbol":"BTCUSD","changes":[["buy","1","2"]]}', KeepAlive()),
        ('{"type":"l2_updates","symbol":"BTCUSD","changes":[],"trades":[{"price":1}]}', MalformedTrade()),
        ('{"E":1,"s":"btcusd","t":1}', MalformedTrade()),
        ('{"type":"candles_1m_updates","symbol":"BTCUSD"}', None),
        ("[]", None),
    ),
    wire=wire,
    control=control,
    markets_of={"control_2026-09.jsonl": "v2_2026-08-09.jsonl"},
    frame=TradeFrame(
        capture="frames_various_2019-2020.jsonl",
        symbol="BTC/USD",
        keys={
            "native": "symbol",
            "price": "price",
            "volume": "quantity",
            "side": "side",
            "time": "timestamp",
        },
        bad_times=BAD_MS,
        odd_time="1569888020080",
    ),
    gained={"": {"tid": 1}},
    unknown_market=(400, INVALID, "InvalidSymbol Supplied value"),
    rest_symbol="BTC/USD",
    requests=(
        PageRequest(
            trade_range=TradeRange(from_ns=1_591_404_856_618 * MS),
            target="/v1/trades/btcusd?timestamp=1591404856618&limit_trades=500",
        ),
        PageRequest(
            trade_range=TradeRange(from_ns=1_591_404_856_618 * MS),
            cursor="607568549",
            target="/v1/trades/btcusd?since_tid=607568549&limit_trades=500",
        ),
    ),
    pages=(
        PageResponse(capture=RECORDED, rows=rows, cursor="607568549"),
        PageResponse(body=PAGE, rows=rows, cursor=None),
    ),
    errors=((LIMIT, Busy), (b'{"trades":[]}', Garbled)),
    error_texts=(
        (400, INVALID, "InvalidSymbol Supplied value 'nope' is not a valid symbol"),
        (429, LIMIT, "RateLimit Requests were made too frequently"),
    ),
    listed=(
        InstrumentsResponse(
            request=0,
            count=9,
            body=b'["btcusd","solusdcperp","usdcusd","ethbtc","paxgusd","btcgusd","gusdusd","btcrlusd","btcgusdperp"]',
            some=(
                Instrument(symbol="BTC/USD", native="BTCUSD", kind="spot", base="BTC", quote="USD"),
                Instrument(symbol="USDC/USD", native="USDCUSD", kind="spot", base="USDC", quote="USD"),
                Instrument(symbol="PAXG/USD", native="PAXGUSD", kind="spot", base="PAXG", quote="USD"),
                Instrument(symbol="BTC/GUSD", native="BTCGUSD", kind="spot", base="BTC", quote="GUSD"),
                Instrument(symbol="GUSD/USD", native="GUSDUSD", kind="spot", base="GUSD", quote="USD"),
                Instrument(symbol="BTC/RLUSD", native="BTCRLUSD", kind="spot", base="BTC", quote="RLUSD"),
                Instrument(
                    symbol="SOL/USDC:USDC",
                    native="SOLUSDCPERP",
                    kind="swap",
                    base="SOL",
                    quote="USDC",
                    settle="USDC",
                ),
            ),
        ),
    ),
    loopback_errors=(("/v1/trades/nopeusd", 400, '"reason":"InvalidSymbol"'),),
    loopback_shapes=(("/v1/trades/btcusd", RECORDED, (), ()),),
)
