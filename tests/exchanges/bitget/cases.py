"""Bitget: what its documents and recordings say of names, messages and history."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from actors.exchanges.contract.feed import Ack, KeepAlive, MalformedTrade, Refusal, Unsubscribed
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

URL = "wss://ws.bitget.com/v2/ws/public"
WEEK_MS = 7 * 24 * 3600 * 1000
# The keys of a trade in version 2 and version 3; in version 1 it is a list: time, price, size, side.
KEYS, KEYS_V3 = ("tradeId", "price", "size", "side", "ts"), ("i", "p", "v", "S", "T")


def wire(message: Any) -> Iterable[WireTrade] | None:
    """The market stands in `arg` alone; BTCUSDT is the name of several."""
    if "action" not in message:
        return None
    arg = message["arg"]
    kind = {"sp": "SPOT"}.get(arg["instType"], arg["instType"].upper())
    native = f"{kind}:{arg.get('instId', arg.get('symbol'))}"
    if arg.get("channel", "trade") != "trade":
        return None
    trades = [
        (None, *row[1:], row[0]) if isinstance(row, list) else [row[key] for key in keys_of(arg)]
        for row in message["data"]
    ]
    return [
        WireTrade(native, id_, Decimal(price), Decimal(size), side, of_ms(ms))
        for id_, price, size, side, ms in trades
    ]


def keys_of(arg: dict[str, str]) -> tuple[str, ...]:
    return KEYS if "channel" in arg else KEYS_V3


def control(message: Any) -> bool:
    return "event" in message or message.get("text") == "pong"


def rows_of(native: str) -> Any:
    def rows(answer: Any) -> list[Row]:
        return [
            (native, row["tradeId"], row["price"], row["size"], row["side"].lower(), int(row["ts"]) * MS)
            for row in answer["data"]
        ]

    return rows


# The documents' samples.
FUTURES_ANSWER = (
    b'{"code":"00000","msg":"success","requestTime":1695865481335,"data":[{"tradeId":"2","price":"26372.5",'
    b'"size":"9.25","side":"Sell","ts":"1695865151000","symbol":"BTCUSDT"},{"tradeId":"1","price":"26383",'
    b'"size":"12.12","side":"Buy","ts":"1695865115000","symbol":"BTCUSDT"}]}'
)
SPOT_ANSWER = (
    b'{"code":"00000","msg":"success","requestTime":1695865274510,"data":[{"symbol":"BTCUSDT","tradeId":"3",'
    b'"side":"sell","price":"26372.10","size":"0.0250","ts":"1695865615662"}]}'
)
UNKNOWN = b'{"code":"40034","msg":"Parameter NOPEUSDT does not exist","requestTime":1,"data":null}'
END_MS = 1_790_000_000_000


CASES = Cases(
    markets=(
        Native("BTC/USDT", "SPOT:BTCUSDT", URL),
        Native("1INCH/USDT", "SPOT:1INCHUSDT", URL),
        Native("BTC/USDT:USDT", "USDT-FUTURES:BTCUSDT", URL),
        Native("BTC/USDC:USDC", "USDC-FUTURES:BTCPERP", URL),
        Native("BTC/USD:BTC", "COIN-FUTURES:BTCUSD", URL),
    ),
    refused=(
        ("btc/usdt", "BTC/USDT"),
        ("BTC/USDT:BTC", "BTC/USDT:USDT"),
        ("BTC/USD:USD", "BTC/USD:BTC"),
        ("BTC/EUR:EUR", "BTC/USDT:USDT"),
        ("BTC/USDT:USDT-261225", "BTC/USDT:USDT"),
    ),
    subscribes=(
        Subscribe(
            ("SPOT:BTCUSDT", "USDT-FUTURES:BTCUSDT"),
            "trade",
            '{"op":"subscribe","args":[{"instType":"SPOT","channel":"trade","instId":"BTCUSDT"},'
            '{"instType":"USDT-FUTURES","channel":"trade","instId":"BTCUSDT"}]}',
        ),
    ),
    controls=(
        ("pong", KeepAlive()),
        (
            '{"event":"subscribe","arg":{"instType":"SPOT","channel":"trade","instId":"BTCUSDT"}}',
            Ack(("SPOT:BTCUSDT",)),
        ),
        ('{"event":"subscribe","arg":{"instType":"SPOT","channel":"books","instId":"BTCUSDT"}}', KeepAlive()),
        (
            '{"event":"unsubscribe","arg":{"instType":"COIN-FUTURES","channel":"trade","instId":"BTCUSD"}}',
            Unsubscribed(("COIN-FUTURES:BTCUSD",)),
        ),
        (
            '{"event":"error","arg":{"instType":"USDT-FUTURES","channel":"trade","instId":"NOPEUSDT"},"code":30001,'
            '"msg":"instId:NOPEUSDT,precision:null doesn\'t exist","op":"subscribe"}',
            Refusal("30001 instId:NOPEUSDT,precision:null doesn't exist", ("USDT-FUTURES:NOPEUSDT",)),
        ),
        (
            '{"event":"error","arg":{"instType":"SPOT","channel":"trade","instId":"X"},"code":30001,"op":"unsubscribe"}',
            KeepAlive(),
        ),
        (
            '{"event":"error","code":30006,"msg":"request too many"}',
            Refusal("30006 request too many", transient=True),
        ),
        ('{"event":"error","code":30016,"msg":"Param error"}', Refusal("30016 Param error")),
        (
            '{"action":"snapshot","arg":{"instType":"SPOT","channel":"trade","instId":"BTCUSDT"},"data":[]}',
            KeepAlive(),
        ),
        (
            '{"action":"update","arg":{"instType":"SPOT","channel":"trade","instId":"BTCUSDT"},"data":[{}]}',
            MalformedTrade(),
        ),
        ('{"action":"update","arg":{"instType":"SPOT","channel":"books5","instId":"BTCUSDT"},"data":[]}', None),
    ),
    wire=wire,
    control=control,
    markets_of={"control_2026-09.jsonl": "live_2026-09_v2spot.jsonl"},
    frame=TradeFrame(
        capture="frames_v2_2024.jsonl",
        symbol="DOGE/USD:DOGE",
        native="COIN-FUTURES:DOGEUSD",
        keys={"price": "price", "volume": "size", "side": "side", "time": "ts", "id": "tradeId"},
        path=("data", 0),
        bad_times=("", "0", "-5", "x", "1.5", "1_0", "9" * 16, "9" * 5000),
        odd_time=5,
        text_ids=True,
    ),
    unknown_market=(400, UNKNOWN, "40034 Parameter NOPEUSDT does not exist"),
    rest_symbol="BTC/USDT",
    requests=(
        PageRequest(
            trade_range=TradeRange(from_ns=5, to_ns=END_MS * MS),
            target="/api/v2/spot/market/fills-history?symbol=BTCUSDT&limit=1000"
            f"&startTime={END_MS + 1 - WEEK_MS}&endTime={END_MS + 1}",
        ),
        PageRequest(
            trade_range=TradeRange(from_id=5, to_id=9, from_ns=5, to_ns=END_MS * MS),
            symbol="BTC/USDT:USDT",
            target="/api/v2/mix/market/fills-history?symbol=BTCUSDT&productType=USDT-FUTURES&limit=1000&idLessThan=10"
            f"&startTime={END_MS + 1 - WEEK_MS}&endTime={END_MS + 1}",
        ),
        PageRequest(
            trade_range=TradeRange(from_ns=5, to_ns=END_MS * MS),
            symbol="BTC/USD:BTC",
            cursor=f"77 {END_MS - 9}",
            target="/api/v2/mix/market/fills-history?symbol=BTCUSD&productType=COIN-FUTURES&limit=1000&idLessThan=77"
            f"&startTime={END_MS - 8 - WEEK_MS}&endTime={END_MS - 8}",
        ),
    ),
    pages=(
        PageResponse(body=SPOT_ANSWER, rows=rows_of("SPOT:BTCUSDT"), cursor="3 1695865615662"),
        PageResponse(
            body=FUTURES_ANSWER,
            rows=rows_of("USDT-FUTURES:BTCUSDT"),
            symbol="BTC/USDT:USDT",
            cursor="1 1695865115000",
        ),
    ),
    errors=(
        (UNKNOWN, Refused),
        (b'{"code":"429","msg":"Too Many Requests","data":null}', Busy),
        (b'{"code":"00000","msg":"success"}', Garbled),
    ),
    error_texts=((400, UNKNOWN, "40034 Parameter NOPEUSDT does not exist"),),
    listed=(
        InstrumentsResponse(
            request=0,
            body=b'{"code":"00000","msg":"success","requestTime":1744276707885,"data":[{"symbol":"BTCUSDT",'
            b'"baseCoin":"BTC","quoteCoin":"USDT","minTradeAmount":"0","takerFeeRate":"0.002","pricePrecision":"2",'
            b'"quantityPrecision":"6","quotePrecision":"8","status":"online","minTradeUSDT":"1","openTime":"1532454360000"},'
            b'{"symbol":"OLDUSDT","baseCoin":"OLD","quoteCoin":"USDT","pricePrecision":"0","quantityPrecision":"0",'
            b'"status":"halt"}]}',
            count=2,
            some=(
                Instrument(
                    symbol="BTC/USDT",
                    native="BTCUSDT",
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
            body=b'{"code":"00000","msg":"success","requestTime":1695793701269,"data":[{"symbol":"BTCUSDT",'
            b'"baseCoin":"BTC","quoteCoin":"USDT","supportMarginCoins":["USDT"],"minTradeNum":"0.01","priceEndStep":"5",'
            b'"volumePlace":"2","pricePlace":"1","sizeMultiplier":"0.01","symbolType":"perpetual","symbolStatus":"normal"},'
            b'{"symbol":"BTCUSDTZ26","baseCoin":"BTC","quoteCoin":"USDT","priceEndStep":"1","pricePlace":"1",'
            b'"sizeMultiplier":"0.01","symbolType":"delivery","symbolStatus":"normal"}]}',
            count=1,
            some=(
                Instrument(
                    symbol="BTC/USDT:USDT",
                    native="BTCUSDT",
                    kind="swap",
                    base="BTC",
                    quote="USDT",
                    settle="USDT",
                    price_step="0.5",
                    volume_step="0.01",
                ),
            ),
        ),
        InstrumentsResponse(
            request=2,
            body=b'{"code":"00000","data":[{"symbol":"BTCPERP","baseCoin":"BTC","quoteCoin":"USDC","priceEndStep":"1",'
            b'"pricePlace":"1","sizeMultiplier":"0.0001","symbolType":"perpetual","symbolStatus":"off"}]}',
            count=1,
            some=(
                Instrument(
                    symbol="BTC/USDC:USDC",
                    native="BTCPERP",
                    kind="swap",
                    base="BTC",
                    quote="USDC",
                    settle="USDC",
                    price_step="0.1",
                    volume_step="0.0001",
                    active=False,
                ),
            ),
        ),
        InstrumentsResponse(
            request=3,
            body=b'{"code":"00000","data":[{"symbol":"ETHUSD","baseCoin":"ETH","quoteCoin":"USD","priceEndStep":"1",'
            b'"pricePlace":"2","sizeMultiplier":"0.01","symbolType":"perpetual","symbolStatus":"normal"}]}',
            count=1,
            some=(
                Instrument(
                    symbol="ETH/USD:ETH",
                    native="ETHUSD",
                    kind="swap",
                    base="ETH",
                    quote="USD",
                    settle="ETH",
                    price_step="0.01",
                    volume_step="0.01",
                ),
            ),
        ),
    ),
    loopback_errors=(
        ("/api/v2/spot/market/fills-history?symbol=NOPEUSDT", 400, '"code":"40034"'),
        ("/api/v2/mix/market/fills-history?symbol=BTCUSDT&productType=COIN-FUTURES", 400, '"code":"40034"'),
        ("/api/v2/spot/market/fills-history?symbol=BTCUSDT&startTime=1&endTime=604800002", 400, '"code":"40017"'),
    ),
)
