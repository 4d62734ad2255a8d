"""OKX v5: what its documents and recordings say of names, messages and history."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from actors.exchanges.contract.feed import Ack, CloseNotice, KeepAlive, Refusal, Unsubscribed
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
    TradeFrame,
    WireTrade,
    of_ms,
)


def wire(message: Any) -> Iterable[WireTrade] | None:
    """{"arg":{"channel":"trades",...},"data":[...]}; `side` is the taker's."""
    if "event" in message or not str(message.get("arg", {}).get("channel")).startswith("trades"):
        return None
    return [
        WireTrade(
            row["instId"], row["tradeId"], Decimal(row["px"]), Decimal(row["sz"]), row["side"], of_ms(row["ts"])
        )
        for row in message["data"]
    ]


def control(message: Any) -> bool:
    return "event" in message


def rows(answer: Any) -> list[Row]:
    return [
        ("BTC-USDT", row["tradeId"], row["px"], row["sz"], row["side"], int(row["ts"]) * MS)
        for row in answer["data"]
    ]


FROM_NS = 1_762_795_433_971_744_500


CASES = Cases(
    markets=(
        Native("BTC/USDT", "BTC-USDT", "wss://ws.okx.com:8443/ws/v5/public"),
        Native("BTC/USDT:USDT", "BTC-USDT-SWAP", "wss://ws.okx.com:8443/ws/v5/public", "contracts"),
        Native("BTC/USD:BTC", "BTC-USD-SWAP", "wss://ws.okx.com:8443/ws/v5/public", "contracts"),
        Native("BTC/USD:BTC-260925", "BTC-USD-260925", "wss://ws.okx.com:8443/ws/v5/public", "contracts"),
        Native("BTC/USDT:USDT-260925", "BTC-USDT-260925", "wss://ws.okx.com:8443/ws/v5/public", "contracts"),
        Native(
            "BTC/USD:BTC-260925-100000-C",
            "BTC-USD-260925-100000-C",
            "wss://ws.okx.com:8443/ws/v5/public",
            "contracts",
        ),
        Native("BTC/USDT", "BTC-USDT", "wss://ws.okx.com:8443/ws/v5/business", channel="trades-all"),
    ),
    refused=(
        ("btc/usdt", "BTC/USDT"),
        ("BTC/USD:USD", ":BTC"),
        ("BTC/USDT:BTC", ":USDT"),
    ),
    subscribes=(
        Subscribe(
            ("BTC-USDT", "BTC-USDT-SWAP"),
            "trades",
            '{"id":"7","op":"subscribe","args":[{"channel":"trades","instId":"BTC-USDT"},{"channel":"trades","instId":"BTC-USDT-SWAP"}]}',
        ),
    ),
    controls=(
        ("pong", KeepAlive()),
        ('{"event":"subscribe","arg":{"channel":"trades","instId":"BTC-USDT"},"connId":"c"}', Ack(("BTC-USDT",))),
        ('{"event":"subscribe","arg":{"channel":"books5","instId":"BTC-USDT"},"connId":"c"}', KeepAlive()),
        (
            '{"event":"error","code":"60018","msg":"Wrong URL, instId:FOO-USDT isn\'t there"}',
            Refusal("60018 Wrong URL, instId:FOO-USDT isn't there", ("FOO-USDT",)),
        ),
        (
            '{"event":"error","code":"60012","msg":"Invalid request","id":"4"}',
            Refusal("60012 Invalid request", request_id="4"),
        ),
        ('{"event":"notice","code":"64008","msg":"Please reconnect."}', CloseNotice("64008 Please reconnect.")),
        ('{"arg":{"channel":"trades","instId":"BTC-USDT"},"data":[]}', KeepAlive()),
        ('{"arg":{"channel":"books5","instId":"BTC-USDT"},"data":[]}', None),
        ('{"event":"unsubscribe","arg":{"channel":"trades","instId":"A-B"}}', Unsubscribed(("A-B",))),
        ('{"event":"unsubscribe","arg":{"channel":"books","instId":"A-B"}}', KeepAlive()),
        (
            '{"event":"channel-conn-count-error","channel":"trades","connCount":"31"}',
            Unsubscribed(reason="channel-conn-count-error, too many connections of this channel"),
        ),
        ('{"event":"channel-conn-count-error","channel":"orders","connCount":"31"}', KeepAlive()),
        ('{"event":"channel-conn-count","channel":"trades","connCount":"3"}', KeepAlive()),
        # about the rate, or the exchange's own trouble: not about markets
        (
            '{"event":"error","msg":"Requests too frequent","code":"60014","connId":"a"}',
            Refusal("60014 Requests too frequent", transient=True),
        ),
        (
            '{"event":"error","msg":"Rate limit reached","code":"50011","id":"3"}',
            Refusal("50011 Rate limit reached", request_id="3", transient=True),
        ),
        (
            '{"event":"error","msg":"Too Many Requests","code":"1","id":"3"}',
            Refusal("1 Too Many Requests", request_id="3", transient=True),
        ),
        (
            '{"event":"error","msg":"System error","code":"50026","arg":{"channel":"trades","instId":"A-B"}}',
            Refusal("50026 System error", ("A-B",), transient=True),
        ),
    ),
    wire=wire,
    control=control,
    markets_of={"trades_2022-05-13.mixed.jsonl": "trades_2022-05-13.jsonl"},
    frame=TradeFrame(
        capture="live_2026-09.jsonl",
        symbol="BTC/USDT",
        keys={"native": "instId", "price": "px", "volume": "sz", "side": "side", "time": "ts", "id": "tradeId"},
        path=("data", 0),
        bad_times=("", "0", "-5", "x", "1.5", "1_0", "9" * 16, "9" * 5000),
        odd_time=5,
        text_ids=True,
    ),
    unknown_market=(
        400,
        b'{"code":"51001","msg":"Instrument ID does not exist","data":[]}',
        "51001 Instrument ID does not exist",
    ),
    rest_symbol="BTC/USDT",
    requests=(
        PageRequest(
            trade_range=TradeRange(from_id=5, to_id=9),
            target="/api/v5/market/history-trades?instId=BTC-USDT&type=1&after=10&limit=100",
        ),
        PageRequest(
            trade_range=TradeRange(from_ns=FROM_NS, to_ns=FROM_NS + 10),
            target="/api/v5/market/history-trades?instId=BTC-USDT&type=2&after=1762795433972&limit=100",
        ),
    ),
    pages=(PageResponse(capture="okx/rest/trades_BTC-USDT_2025-05-12.json", rows=rows, cursor="734864332"),),
    errors=(
        (b'{"code":"50026","msg":"System error","data":[]}', Busy),
        (b'{"code":"0","msg":""}', Garbled),
        (b'{"code":"50011","msg":"Too Many Requests","data":[]}', Busy),
        (b'{"code":"51001","msg":"Instrument ID does not exist","data":[]}', Refused),
    ),
    error_texts=((400, b'{"code":"50011","msg":"Too Many Requests"}', "50011 Too Many Requests"),),
    listed=(
        InstrumentsResponse(
            capture="okx/rest/instruments_SPOT.json",
            request=0,
            count=5,
            some=(
                Instrument(
                    symbol="BTC/USD",
                    native="BTC-USD",
                    kind="spot",
                    base="BTC",
                    quote="USD",
                    price_step="0.1",
                    volume_step="0.00000001",
                ),
            ),
        ),
        InstrumentsResponse(
            capture="okx/rest/instruments_SWAP.json",
            request=1,
            count=3,
            some=(
                Instrument(
                    symbol="BTC/USD:BTC",
                    native="BTC-USD-SWAP",
                    kind="swap",
                    base="BTC",
                    quote="USD",
                    settle="BTC",
                    volume_unit="contracts",
                    contract_size="100",
                    price_step="0.1",
                    volume_step="1",
                ),
                Instrument(
                    symbol="ETH/USDT:USDT",
                    native="ETH-USDT-SWAP",
                    kind="swap",
                    base="ETH",
                    quote="USDT",
                    settle="USDT",
                    volume_unit="contracts",
                    contract_size="0.1",
                    price_step="0.01",
                    volume_step="0.01",
                ),
            ),
        ),
    ),
    loopback_errors=(("/api/v5/market/trades?instId=NOPE", 200, '"code":"51001"'),),
    loopback_shapes=(
        (
            "/api/v5/market/history-trades?instId=BTC-USDT&limit=20",
            "okx/rest/trades_BTC-USDT_2025-05-12.json",
            ("data",),
            ("data",),
        ),
    ),
)
