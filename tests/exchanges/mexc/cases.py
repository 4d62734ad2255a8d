"""MEXC: what its documents and recordings say of names, messages and history."""

import json
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any

from actors.exchanges.contract.feed import Ack, KeepAlive, MalformedTrade, Refusal
from actors.exchanges.contract.history import TradeRange
from actors.exchanges.contract.instruments import Instrument
from actors.exchanges.contract.rest import Busy, Garbled, Refused
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
    json_or_text,
    of_ms,
)

SPOT, FUTURES = "wss://wbs-api.mexc.com/ws", "wss://contract.mexc.com/edge"
SIDES = {1: "buy", 2: "sell"}


def fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """Number and value of each field of a protobuf message that has texts and varints only."""
    rest = iter(data)

    def varint(first: int) -> int:
        value, shift, byte = first & 0x7F, 7, first
        while byte & 0x80:
            byte = next(rest)
            value |= (byte & 0x7F) << shift
            shift += 7
        return value

    for first in rest:
        key = varint(first)
        size = varint(next(rest))
        yield key >> 3, bytes(next(rest) for _ in range(size)) if key & 7 == 2 else size


def parse(payload: bytes) -> Any:
    """Protobuf as {"symbol": ..., "deals": [{field number: value}]}, all else as usual."""
    if payload[:1] != b"\n":
        return json_or_text(payload)
    wrapper = dict(fields(payload))
    deals = [dict(fields(value)) for number, value in fields(wrapper[314]) if number == 1]
    return {"symbol": wrapper[3].decode(), "deals": deals}


def wire(message: Any) -> Iterable[WireTrade] | None:
    """Spot deals have price 1, quantity 2, the taker's side 3 and a time 4; futures have p, v, T and t."""
    if "deals" in message:
        return [
            WireTrade(
                message["symbol"],
                None,
                Decimal(deal[1].decode()),
                Decimal(deal[2].decode()),
                SIDES[deal[3]],
                of_ms(deal[4]),
            )
            for deal in message["deals"]
        ]
    if message.get("channel") != "push.deal":
        return None
    data = message["data"]
    return [
        WireTrade(
            message["symbol"],
            row.get("i"),
            Decimal(row["p"]),
            Decimal(row["v"]),
            SIDES[int(row["T"])],
            of_ms(row["t"]),
        )
        for row in (data if isinstance(data, list) else [data])
    ]


def control(message: Any) -> bool:
    """The only acknowledgement recorded is of a book."""
    return message.get("channel") in ("pong", "rs.error", "rs.sub.deal") or "msg" in message


def spot_rows(answer: Any) -> list[Row]:
    return [
        ("ETHUSDT", None, row["price"], row["qty"], "sell" if row["isBuyerMaker"] else "buy", row["time"] * MS)
        for row in answer
    ]


# The documents' sample.
FUTURES_ANSWER = (
    b'{"success":true,"code":0,"data":[{"p":31199,"v":18,"T":1,"O":3,"M":2,"t":1609831235985},'
    b'{"p":31199.50,"v":15,"T":2,"O":3,"M":1,"t":1609831234759}]}'
)
ANY = TradeRange(from_ns=5, to_ns=9)
BLOCKED = "Not Subscribed successfully! [spot@public.deals.v3.api@BTCUSDT].  Reason\uff1a Blocked! "
CHANNEL = "spot@public.aggre.deals.v3.api.pb@10ms@"


CASES = Cases(
    markets=(
        Native("BTC/USDT", "BTCUSDT", SPOT),
        Native("1INCH/USDT", "1INCHUSDT", SPOT),
        Native("BTC/USDT:USDT", "BTC_USDT", FUTURES, "contracts"),
        Native("BTC/USDC:USDC", "BTC_USDC", FUTURES, "contracts"),
        Native("BTC/USD:BTC", "BTC_USD", FUTURES, "contracts"),
    ),
    refused=(
        ("btc/usdt", "BTC/USDT"),
        ("BTC/USDT:BTC", "BTC/USDT:USDT"),
        ("BTC/USD:USD", "BTC/USD:BTC"),
        ("BTC/USDT:USDT-261225", "BTC/USDT:USDT"),
    ),
    subscribes=(
        Subscribe(("BTCUSDT",), "deals", f'{{"method":"SUBSCRIPTION","params":["{CHANNEL}BTCUSDT"],"id":7}}'),
        Subscribe(("BTC_USDT",), "deals", '{"method":"sub.deal","param":{"symbol":"BTC_USDT","compress":false}}'),
    ),
    controls=(
        (f'{{"id":7,"code":0,"msg":"{CHANNEL}BTCUSDT"}}', Ack(("BTCUSDT",))),
        (
            f'{{"id":0,"code":0,"msg":"{CHANNEL}BTCUSDT,{CHANNEL}ETHUSDT"}}',
            Ack(("BTCUSDT", "ETHUSDT")),
        ),
        (json.dumps({"id": 0, "code": 0, "msg": BLOCKED}), Refusal(BLOCKED, ("BTCUSDT",))),
        ('{"id":0,"code":0,"msg":"spot@public.kline.v3.api.pb@BTCUSDT@Min1"}', KeepAlive()),
        ('{"id":0,"code":-2,"msg":"too many requests"}', Refusal("-2 too many requests", transient=True)),
        ('{"id":0,"code":0,"msg":"PONG"}', KeepAlive()),
        ('{"channel":"rs.sub.deal","data":"success","ts":1788335242021}', Ack()),
        ('{"channel":"rs.unsub.deal","data":"success","ts":1788335242021}', KeepAlive()),
        (
            '{"channel":"rs.error","data":"Contract [NOPE_USDT] not exists","ts":1789498321790}',
            Refusal("Contract [NOPE_USDT] not exists", ("NOPE_USDT",)),
        ),
        ('{"channel":"pong","data":1789498336785,"ts":1789498336785}', KeepAlive()),
        ('{"channel":"push.deal","symbol":"BTC_USDT","data":[]}', KeepAlive()),
        ('{"channel":"push.deal","symbol":"BTC_USDT","data":5}', MalformedTrade()),
        ('{"channel":"push.ticker","symbol":"BTC_USDT","data":{}}', None),
    ),
    wire=wire,
    control=control,
    parse=parse,
    markets_of={
        "control_2026-09.jsonl": "live_2026-09_futures.jsonl",
        "control_2026-09_spot_json_channel_blocked.jsonl": "spot_protobuf_reconstructed_2026-06-23.jsonl",
    },
    frame=TradeFrame(
        capture="cmp_frames_BTC_USD.jsonl",
        symbol="BTC/USD:BTC",
        native="BTC_USD",
        keys={"price": "p", "volume": "v", "side": "T", "time": "t"},
        path=("data",),
        bad_times=BAD_MS,
        odd_time="1616370470356",
        numbers=True,
        flag_side=True,
    ),
    unknown_market=(400, b'{"code":-1121,"msg":"Invalid symbol."}', "-1121 Invalid symbol."),
    rest_symbol="ETH/USDT",
    requests=(
        PageRequest(trade_range=ANY, target="/api/v3/trades?symbol=ETHUSDT&limit=1000"),
        PageRequest(trade_range=ANY, symbol="BTC/USDT:USDT", target="/api/v1/contract/deals/BTC_USDT?limit=100"),
    ),
    pages=(
        PageResponse(capture="mexc/rest/spot_trades_ETHUSDT_2025-01-23.json", rows=spot_rows, cursor=None),
        PageResponse(
            body=FUTURES_ANSWER,
            symbol="BTC/USDT:USDT",
            rows=lambda _answer: [
                ("BTC_USDT", None, "31199", "18", "buy", 1_609_831_235_985 * MS),
                ("BTC_USDT", None, "31199.50", "15", "sell", 1_609_831_234_759 * MS),
            ],
            cursor=None,
        ),
    ),
    errors=(
        (b'{"code":-1121,"msg":"Invalid symbol."}', Refused),
        (b'{"success":false,"code":1001,"message":"Contract does not exist"}', Refused),
        (b'{"success":false,"code":510,"message":"Excessive frequency of requests"}', Busy),
        (b'{"success":true,"code":0}', Garbled),
    ),
    error_texts=((500, b'{"success":false,"code":500,"message":"Internal error"}', "500 Internal error"),),
    listed=(
        InstrumentsResponse(
            request=0,
            body=b'{"timezone":"CST","serverTime":1,"rateLimits":[],"exchangeFilters":[],"symbols":[{"symbol":"METALUSDT",'
            b'"status":"1","baseAsset":"METAL","baseAssetPrecision":2,"quoteAsset":"USDT","quotePrecision":5,'
            b'"quoteAssetPrecision":5,"isSpotTradingAllowed":true,"baseSizePrecision":"0.1","st":false},'
            b'{"symbol":"OLDUSDT","status":"3","baseAsset":"OLD","baseAssetPrecision":0,"quoteAsset":"USDT",'
            b'"quotePrecision":1}]}',
            count=2,
            some=(
                Instrument(
                    symbol="METAL/USDT",
                    native="METALUSDT",
                    kind="spot",
                    base="METAL",
                    quote="USDT",
                    price_step="0.00001",
                    volume_step="0.01",
                ),
            ),
        ),
        InstrumentsResponse(
            request=1,
            body=b'{"success":true,"code":0,"data":[{"symbol":"BTC_USDT","baseCoin":"BTC","quoteCoin":"USDT",'
            b'"settleCoin":"USDT","contractSize":1E-4,"priceScale":2,"volScale":0,"priceUnit":0.5,"volUnit":1,"state":0},'
            b'{"symbol":"BTC_USD","baseCoin":"BTC","quoteCoin":"USD","settleCoin":"BTC","contractSize":100,'
            b'"priceUnit":0.5,"volUnit":1,"state":3}]}',
            count=2,
            some=(
                Instrument(
                    symbol="BTC/USDT:USDT",
                    native="BTC_USDT",
                    kind="swap",
                    base="BTC",
                    quote="USDT",
                    settle="USDT",
                    volume_unit="contracts",
                    contract_size="0.0001",
                    price_step="0.5",
                    volume_step="1",
                ),
                Instrument(
                    symbol="BTC/USD:BTC",
                    native="BTC_USD",
                    kind="swap",
                    base="BTC",
                    quote="USD",
                    settle="BTC",
                    volume_unit="contracts",
                    contract_size="100",
                    price_step="0.5",
                    volume_step="1",
                    active=False,
                ),
            ),
        ),
    ),
    loopback_errors=(
        ("/api/v3/trades?symbol=NOPEUSDT", 400, '"code":-1121'),
        ("/api/v1/contract/deals/NOPE_USDT", 200, '"code":1001'),
    ),
)
