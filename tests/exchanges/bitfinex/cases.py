"""Bitfinex: what its documents say of names, messages and history."""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any

from actors.exchanges.contract.feed import (
    Ack,
    CloseNotice,
    Condition,
    KeepAlive,
    MalformedTrade,
    Refusal,
    Unsubscribed,
)
from actors.exchanges.contract.history import TradeRange
from actors.exchanges.contract.instruments import Instrument
from actors.exchanges.contract.rest import Busy, Garbled, Refused
from tests.harness.exchange_cases import (
    MS,
    Cases,
    InstrumentsResponse,
    Native,
    PageRequest,
    PageResponse,
    Row,
    Subscribe,
    WireTrade,
    of_ms,
)

URL = "wss://api-pub.bitfinex.com/ws/2"
_CHANNELS: dict[int, str] = {}


def _trade(native: str, row: Any) -> WireTrade:
    """[ID, MTS, AMOUNT, PRICE]: an amount above 0 was bought by the taker, one below was sold."""
    amount = Decimal(row[2])
    side = "buy" if amount > 0 else "sell"
    moment: datetime = of_ms(row[1])
    return WireTrade(native, str(row[0]), Decimal(row[3]), abs(amount), side, moment)


def wire(message: Any) -> Iterable[WireTrade] | None:
    """The channel ids are those of the answers that came before."""
    if isinstance(message, dict):
        if message.get("event") == "subscribed" and message.get("channel") == "trades":
            _CHANNELS[message["chanId"]] = message["symbol"]
        return None
    native = _CHANNELS.get(message[0])
    if native is None or message[1] in ("hb", "tu"):
        return None
    return [_trade(native, row) for row in ([message[2]] if message[1] == "te" else message[1])]


def control(message: Any) -> bool:
    return isinstance(message, dict) or message[1] in ("hb", "tu")


def rows(answer: Any) -> list[Row]:
    return [
        (
            "tBTCUSD",
            str(row[0]),
            str(row[3]),
            str(row[2]).removeprefix("-"),
            "sell" if str(row[2]).startswith("-") else "buy",
            row[1] * MS,
        )
        for row in answer
    ]


ACK = b'{"event":"subscribed","channel":"trades","chanId":19111,"symbol":"tBTCUSD","pair":"BTCUSD"}'
HISTORY = b"[[401597393,1762795434000,0.005,7244.9],[401597395,1762795435000,-0.0050,7245.30]]"  # of later times
FROM_NS = 1_574_694_475_039 * MS + 7
BY_TIME = TradeRange(from_ns=FROM_NS, to_ns=FROM_NS + 10 * MS)


CASES = Cases(
    markets=(
        Native("BTC/USD", "tBTCUSD", URL),
        Native("BTC/USDT", "tBTCUST", URL),
        Native("ETH/USDC", "tETHUDC", URL),
        Native("DOGE/USD", "tDOGE:USD", URL),
        Native("DOGE/USDT", "tDOGE:UST", URL),
        Native("USDT/USD", "tUSTUSD", URL),
        Native("BTC/USDT:USDT", "tBTCF0:USTF0", URL),
        Native("DOGE/USDT:USDT", "tDOGEF0:USTF0", URL),
    ),
    refused=(
        ("btc/usd", "BTC/USD"),
        ("BTC/UST", "BTC/USDT"),
        ("BTC/UST:UST", "BTC/USDT:USDT"),
        ("BTC/USDT:BTC", "BTC/USDT:USDT"),
        ("BTC/USDT:USDT-261225", "BTC/USDT:USDT"),
    ),
    subscribes=(Subscribe(("tBTCUSD",), "trades", '{"event":"subscribe","channel":"trades","symbol":"tBTCUSD"}'),),
    before=(ACK,),
    controls=(
        (ACK.decode(), Ack(("tBTCUSD",))),
        ('{"event":"subscribed","channel":"book","chanId":7,"symbol":"tBTCUSD"}', KeepAlive()),
        ('[19111,"hb"]', KeepAlive()),
        ('[19111,"hb",5]', KeepAlive()),
        ('[19111,"tu",[401597395,1574694478808,0.005,7245.3]]', KeepAlive()),
        ("[19111,[]]", KeepAlive()),
        ('[19111,"te",[401597395,1574694478808,"x",7245.3]]', MalformedTrade()),
        ("[19111,[[401597395]]]", MalformedTrade()),
        ("[]", None),
        ('[19111,"cs",-5]', None),
        ('{"event":"unsubscribed","status":"OK","chanId":8}', KeepAlive()),
        ('{"event":"unsubscribed","status":"OK","chanId":19111}', Unsubscribed(("tBTCUSD",))),
        (
            '{"channel":"trades","symbol":"tNOPEUSD","event":"error","msg":"symbol: invalid","code":10300}',
            Refusal("10300 symbol: invalid", ("tNOPEUSD",)),
        ),
        (
            '{"channel":"trades","symbol":"tBTCUSD","event":"error","msg":"subscribe: dup","code":10301}',
            KeepAlive(),
        ),
        (
            '{"channel":"trades","symbol":"tBTCUSD","event":"error","msg":"subscribe: limit","code":10305}',
            Refusal("10305 subscribe: limit", ("tBTCUSD",), transient=True),
        ),
        ('{"event":"info","version":2,"serverId":"a","platform":{"status":1}}', Condition()),
        (
            '{"event":"info","version":2,"serverId":"a","platform":{"status":0}}',
            Condition("maintenance", matches=False),
        ),
        ('{"event":"info","code":20051,"msg":"Stopping"}', CloseNotice("20051 Stopping")),
        ('{"event":"info","code":20060,"msg":"Entering"}', Condition("20060 Entering", matches=False)),
        ('{"event":"info","code":20061,"msg":"Ended"}', CloseNotice("20061 Ended")),
        ('{"event":"pong","ts":1,"cid":2}', KeepAlive()),
        ('{"event":"conf","status":"OK"}', KeepAlive()),
        ('{"event":"auth"}', None),
    ),
    wire=wire,
    control=control,
    unknown_market=(400, b'["error",10020,"symbol: invalid"]', "10020 symbol: invalid"),
    rest_symbol="BTC/USD",
    listed=(
        InstrumentsResponse(
            request=0,
            body=b'[["BTCUSD","BTCUST","DOGE:USD","UDCUSD"]]',
            count=4,
            some=(
                Instrument(symbol="BTC/USDT", native="tBTCUST", kind="spot", base="BTC", quote="USDT"),
                Instrument(symbol="DOGE/USD", native="tDOGE:USD", kind="spot", base="DOGE", quote="USD"),
            ),
        ),
        InstrumentsResponse(
            request=1,
            body=b'[["BTCF0:USTF0"]]',
            count=1,
            some=(
                Instrument(
                    symbol="BTC/USDT:USDT",
                    native="tBTCF0:USTF0",
                    kind="swap",
                    base="BTC",
                    quote="USDT",
                    settle="USDT",
                ),
            ),
        ),
    ),
    requests=(
        PageRequest(
            trade_range=BY_TIME,
            target="/v2/trades/tBTCUSD/hist?limit=10000&start=1574694475039&end=1574694475050&sort=1",
        ),
        PageRequest(
            trade_range=TradeRange(from_ns=FROM_NS),
            symbol="BTC/USDT:USDT",
            cursor="1574694478808",
            target="/v2/trades/tBTCF0:USTF0/hist?limit=10000&start=1574694478808&sort=1",
        ),
    ),
    pages=(PageResponse(body=HISTORY, rows=rows, cursor=None),),
    errors=(
        (b'["error",11010,"ratelimit: error"]', Busy),
        (b'["error",10020,"symbol: invalid"]', Refused),
        (b'["error",20060,"maintenance"]', Busy),
        (b"[[401597393,1574694475038,0.005,7244.9]]", Garbled),  # before what was asked for
    ),
    error_texts=((429, b'["error",11010,"ratelimit: error"]', "11010 ratelimit: error"),),
    loopback_errors=(("/v2/trades/tNOPEUSD/hist?limit=5", 500, "symbol: invalid"),),
)
