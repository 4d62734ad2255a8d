"""WhiteBIT: what its documents and quoted frames say of names and messages."""

from collections.abc import Iterable
from datetime import timedelta
from decimal import Decimal
from typing import Any

from actors.exchanges.contract.feed import Ack, KeepAlive, MalformedTrade, Refusal
from actors.exchanges.contract.instruments import Instrument
from tests.harness.exchange_cases import EPOCH, Cases, InstrumentsResponse, Native, Subscribe, WireTrade

URL = "wss://wss.whitebit.com/ws"


def wire(message: Any) -> Iterable[WireTrade] | None:
    if message.get("method") != "trades_update":
        return None
    native, rows = message["params"]
    return [
        WireTrade(
            native,
            str(row["id"]),
            Decimal(row["price"]),
            Decimal(row["amount"]),
            row["type"],
            EPOCH + timedelta(microseconds=int(Decimal(row["time"]) * 1_000_000)),
        )
        for row in rows
    ]


def control(message: Any) -> bool:
    return "result" in message


# As documented, the future with the values that ccxt's documentation quotes.
MARKETS = (
    b'[{"name":"BTC_USDT","stock":"BTC","money":"USDT","stockPrec":"6","moneyPrec":"2","makerFee":"0.001",'
    b'"takerFee":"0.001","minAmount":"0.0001","minTotal":"1","tradesEnabled":true,"type":"spot"},'
    b'{"name":"BTC_PERP","stock":"BTC","money":"USDT","stockPrec":"3","moneyPrec":"1","minAmount":"0.001",'
    b'"tradesEnabled":true,"isCollateral":true,"type":"futures"},'
    b'{"name":"SON_USD","stock":"SON","money":"USD","stockPrec":"3","moneyPrec":"5","tradesEnabled":false,'
    b'"type":"spot"}]'
)


CASES = Cases(
    markets=(
        Native("BTC/USDT", "BTC_USDT", URL),
        Native("1INCH/EUR", "1INCH_EUR", URL),
        Native("BTC/USDT:USDT", "BTC_PERP", URL),
    ),
    refused=(
        ("btc/usdt", "BTC/USDT"),
        ("BTC/USD:USD", "BTC/USDT:USDT"),
        ("BTC/USDT:USDT-261225", "BTC/USDT:USDT"),
    ),
    subscribes=(
        Subscribe(
            ("BTC_USDT", "BTC_PERP"),
            "trades",
            '{"id":7,"method":"trades_subscribe","params":["BTC_USDT","BTC_PERP"]}',
        ),
    ),
    controls=(
        ('{"error": null, "result": {"status": "success"}, "id": 7}', Ack(request_id="7")),
        ('{"error": null, "result": "pong", "id": 0}', KeepAlive()),
        (
            '{"error":{"code":9,"message":"market NOPE_PERP does not exist"},"result":null,"id":12}',
            Refusal("9 market NOPE_PERP does not exist", ("NOPE_PERP",), "12"),
        ),
        (
            '{"error":{"code":1,"message":"invalid argument"},"result":null,"id":12}',
            Refusal("1 invalid argument", (), "12"),
        ),
        (
            '{"error":{"code":7,"message":"too many requests"},"result":null,"id":12}',
            Refusal("7 too many requests", (), "12", transient=True),
        ),
        ('{"method":"trades_update","params":["BTC_USDT",[]],"id":null}', KeepAlive()),
        ('{"method":"trades_update","params":["BTC_USDT",[{"id":1}]],"id":null}', MalformedTrade()),
        ('{"method":"trades_update","params":[],"id":null}', MalformedTrade()),
        ('{"method":"depth_update","params":[true,{}],"id":null}', None),
        ('{"error":null,"result":null,"id":3}', None),
    ),
    wire=wire,
    control=control,
    markets_of={"control_2026-09.jsonl": "live_2026-09.jsonl"},
    listed=(
        InstrumentsResponse(
            request=0,
            body=MARKETS,
            count=3,
            some=(
                Instrument(
                    symbol="BTC/USDT:USDT",
                    native="BTC_PERP",
                    kind="swap",
                    base="BTC",
                    quote="USDT",
                    settle="USDT",
                    price_step="0.1",
                    volume_step="0.001",
                ),
                Instrument(
                    symbol="SON/USD",
                    native="SON_USD",
                    kind="spot",
                    base="SON",
                    quote="USD",
                    price_step="0.00001",
                    volume_step="0.001",
                    active=False,
                ),
            ),
        ),
    ),
)
