"""Bithumb: what its documents and recordings say of names, messages and history."""

from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

from actors.exchanges.contract.feed import KeepAlive, MalformedTrade, Refusal
from actors.exchanges.contract.history import TradeRange
from actors.exchanges.contract.instruments import Instrument
from actors.exchanges.contract.rest import Busy, Garbled
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

URL = "wss://ws-api.bithumb.com/websocket/v1"
SIDES = {"ASK": "sell", "BID": "buy"}  # ASK: the taker sold
FIRST_SIDES = {"1": "sell", "2": "buy"}
KOREA = timezone(timedelta(hours=9))


def wire(message: Any) -> Iterable[WireTrade] | None:
    """The second API has one trade a frame; the first a list, Korean times and no ids."""
    match message.get("type"):
        case "trade":
            keys = ("code", "sequential_id", "trade_price", "trade_volume", "ask_bid", "trade_timestamp")
            native, trade_id, price, volume, side, ms = (message[key] for key in keys)
            return [WireTrade(native, str(trade_id), Decimal(price), Decimal(volume), SIDES[side], of_ms(ms))]
        case "transaction":
            return [first(row) for row in message["content"]["list"]]
    return None


def first(row: Any) -> WireTrade:
    base, quote = row["symbol"].split("_")
    time = datetime.fromisoformat(row["contDtm"]).replace(tzinfo=KOREA)
    price, volume = Decimal(row["contPrice"]), Decimal(row["contQty"])
    return WireTrade(f"{quote}-{base}", None, price, volume, FIRST_SIDES[row["buySellGb"]], time)


def control(message: Any) -> bool:
    return "status" in message or "error" in message


def rows(answer: Any) -> list[Row]:
    return [
        (
            row["market"],
            str(row["sequential_id"]),
            str(row["trade_price"]),
            str(row["trade_volume"]),
            SIDES[row["ask_bid"]],
            row["timestamp"] * MS,
        )
        for row in answer
    ]


# As documented, with the trade of September 2026 and one before it.
TICKS = (
    b'[{"market":"KRW-BTC","trade_date_utc":"2026-09-23","trade_time_utc":"03:18:33","timestamp":1790133513739,'
    b'"trade_price":116208000,"trade_volume":0.0009,"prev_closing_price":115000000,"change_price":1208000,'
    b'"ask_bid":"BID","sequential_id":1079953210371761701},'
    b'{"market":"KRW-BTC","trade_date_utc":"2026-09-23","trade_time_utc":"03:18:32","timestamp":1790133512001,'
    b'"trade_price":116200000,"trade_volume":0.1000,"prev_closing_price":115000000,"change_price":1200000,'
    b'"ask_bid":"ASK","sequential_id":1079953210371761650}]'
)
TICKS_PATH = "/v1/trades/ticks?market=KRW-BTC&count=500"
NOT_FOUND = b'{"error":{"name":404,"message":"Code not found"}}'


CASES = Cases(
    markets=(
        Native("BTC/KRW", "KRW-BTC", URL),
        Native("ETH/BTC", "BTC-ETH", URL),
        Native("GOM2/KRW", "KRW-GOM2", URL),
    ),
    refused=(("btc/krw", "BTC/KRW"), ("BTC/KRW:KRW", "BTC/KRW")),
    subscribes=(
        Subscribe(
            ("KRW-BTC", "BTC-ETH"),
            "trade",
            '[{"ticket":"tickwarden-7"},{"type":"trade","codes":["KRW-BTC","BTC-ETH"]},{"format":"DEFAULT"}]',
        ),
    ),
    controls=(
        ('{"status":"UP"}', KeepAlive()),
        ('{"status":"0000","resmsg":"Filter Registered Successfully"}', KeepAlive()),
        ('{"status":"5100","resmsg":"Invalid Filter Syntax"}', Refusal("5100 Invalid Filter Syntax")),
        ('{"error":{"name":"NO_TICKET","message":"ticket"}}', Refusal("NO_TICKET: ticket")),
        ('{"error":{"name":"WRONG_FORMAT"}}', Refusal("WRONG_FORMAT")),
        (
            '{"error":{"name":"too_many_requests","message":"slow"}}',
            Refusal("too_many_requests: slow", transient=True),
        ),
        ('{"type":"trade"}', MalformedTrade()),
        ('{"type":"transaction","content":{"list":[]}}', MalformedTrade()),
        ('{"type":"orderbook","code":"KRW-BTC"}', None),
        ("[]", None),
    ),
    wire=wire,
    control=control,
    markets_of={"control_2026-09.jsonl": "v2_trade_2026-09-23.jsonl"},
    frame=TradeFrame(
        capture="v2_trade_2026-09-23.jsonl",
        symbol="BTC/KRW",
        keys={
            "native": "code",
            "price": "trade_price",
            "volume": "trade_volume",
            "side": "ask_bid",
            "time": "trade_timestamp",
            "id": "sequential_id",
        },
        bad_times=BAD_MS,
        odd_time="1790133513739",
        numbers=True,
    ),
    unknown_market=(404, NOT_FOUND, "404 Code not found"),
    rest_symbol="BTC/KRW",
    requests=(
        PageRequest(trade_range=TradeRange(from_ns=5, to_ns=9), target=TICKS_PATH),
        PageRequest(
            trade_range=TradeRange(from_ns=5, to_ns=9),
            cursor="1079953210371761650",
            target=f"{TICKS_PATH}&cursor=1079953210371761650",
        ),
        PageRequest(
            trade_range=TradeRange(from_ns=5, to_id=1079953210371761650, to_ns=9),
            target=f"{TICKS_PATH}&cursor=1079953210371761651",
        ),
    ),
    pages=(PageResponse(body=TICKS, rows=rows, cursor="1079953210371761650"),),
    errors=((NOT_FOUND, Busy), (TICKS.replace(b"KRW-BTC", b"KRW-ETH"), Garbled)),
    error_texts=((404, NOT_FOUND, "404 Code not found"), (429, b"Too many API requests", "Too many API requests")),
    listed=(
        InstrumentsResponse(
            request=0,
            body=b'[{"market":"KRW-BTC","korean_name":"\xeb\xb9\x84","english_name":"Bitcoin"},{"market":"BTC-ETH"}]',
            count=2,
            some=(Instrument(symbol="ETH/BTC", native="BTC-ETH", kind="spot", base="ETH", quote="BTC"),),
        ),
    ),
    loopback_errors=(
        ("/v1/trades/ticks?market=KRW-NOPE&count=1", 404, '"message":"Code not found"'),
        (f"{TICKS_PATH}&cursor=x", 400, "Invalid parameter"),
    ),
)
