"""Gate: what its documents and what was seen of live answers say of names, messages and history."""

from collections.abc import Iterable
from datetime import timedelta
from decimal import Decimal
from typing import Any

from actors.exchanges.contract.feed import Ack, CloseNotice, KeepAlive, MalformedTrade, Refusal, Unsubscribed
from actors.exchanges.contract.history import TradeRange
from actors.exchanges.contract.instruments import Instrument
from actors.exchanges.contract.rest import Busy, Garbled, Refused
from tests.harness.exchange_cases import (
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

SPOT = "wss://api.gateio.ws/ws/v4/"
USDT = "wss://fx-ws.gateio.ws/v4/ws/usdt"
BTC = "wss://fx-ws.gateio.ws/v4/ws/btc"
DATED = "wss://fx-ws.gateio.ws/v4/ws/delivery/usdt"
DATED_BTC = "wss://fx-ws.gateio.ws/v4/ws/delivery/btc"


def wire(message: Any) -> Iterable[WireTrade] | None:
    """`result` is a trade on spot, and a list of trades of contracts: the sign of `size` is the taker's side."""
    if message.get("event") != "update" or not message["channel"].endswith(".trades"):
        return None
    if message["channel"] == "spot.trades":
        row = message["result"]
        time = EPOCH + timedelta(microseconds=int(Decimal(row["create_time_ms"]) * 1000))
        native, amounts = f"spot.{row['currency_pair']}", (Decimal(row["price"]), Decimal(row["amount"]))
        return [WireTrade(native, str(row["id"]), *amounts, row["side"], time)]
    return [
        WireTrade(
            f"futures.{row['contract']}",
            str(row["id"]),
            Decimal(row["price"]),
            abs(Decimal(row["size"])),
            "buy" if Decimal(row["size"]) > 0 else "sell",
            of_ms(row["create_time_ms"]),
        )
        for row in message["result"]
    ]


def control(message: Any) -> bool:
    return message.get("event") in ("subscribe", "unsubscribe", "")


def spot_rows(answer: Any) -> list[Row]:
    return [
        (
            "spot.BTC_USDT",
            row["id"],
            row["price"],
            row["amount"],
            row["side"],
            int(Decimal(row["create_time_ms"]) * MS),
        )
        for row in answer
    ]


# The documents' own samples; the second has the times that clients have seen.
SPOT_ANSWER = (
    b'[{"id":"1232893232","create_time":"1548000000","create_time_ms":"1548000000123.456","order_id":"4128442423",'
    b'"side":"buy","role":"maker","amount":"0.15","price":"0.03","sequence_id":"588018","text":"t-test"}]'
)
FUTURES_ANSWER = (
    b'[{"id":121234231,"create_time":1514764800,"contract":"BTC_USDT","size":-100,"price":"100.123"},'
    b'{"id":121234230,"create_time":1514764799,"create_time_ms":1514764799.123,"contract":"BTC_USDT","size":"1.5",'
    b'"price":"100.123"},'
    b'{"id":121234229,"create_time":1514764799,"create_time_ms":1514764799122,"contract":"BTC_USDT","size":"2",'
    b'"price":"100.1"}]'
)
TO_S = 1_790_000_000
ANY = TradeRange(from_ns=5, to_ns=TO_S * 1000 * MS + 7)
BTC_SWAP = Instrument(
    symbol="BTC/USDT:USDT",
    native="BTC_USDT",
    kind="swap",
    base="BTC",
    quote="USDT",
    settle="USDT",
    volume_unit="contracts",
    contract_size="0.0001",
    price_step="0.1",
    volume_step="1",
)
UNKNOWN = '"error":{"code":2,"message":"unknown currency pair: NOPE_USDT"},"result":{"status":"fail"}}'


CASES = Cases(
    markets=(
        Native("BTC/USDT", "spot.BTC_USDT", SPOT),
        Native("1INCH/USDT", "spot.1INCH_USDT", SPOT),
        Native("币安人生/USDT", "spot.币安人生_USDT", SPOT),
        Native("BTC/USDT:USDT", "futures.BTC_USDT", USDT, "contracts"),
        Native("BTC/USD:BTC", "futures.BTC_USD", BTC, "contracts"),
        Native("BTC/USDT:USDT-261225", "futures.BTC_USDT_20261225", DATED, "contracts"),
        Native("BTC/USD:BTC-220603", "futures.BTC_USD_20220603", DATED_BTC, "contracts"),
    ),
    refused=(
        ("btc/usdt", "BTC/USDT"),
        ("BTC/USDT:BTC", "BTC/USDT:USDT"),
        ("ETH/USD:ETH", "ETH/USD:BTC"),
        ("BTC/USD:USD-261225", "BTC/USD:BTC-261225"),
        ("BTC/USDT:USDT-261225-9000-C", "BTC/USDT:USDT"),
    ),
    subscribes=(
        Subscribe(
            ("spot.BTC_USDT", "spot.ETH_USDT"),
            "trades",
            '{"id":7,"channel":"spot.trades","event":"subscribe","payload":["BTC_USDT","ETH_USDT"]}',
        ),
        Subscribe(
            ("futures.BTC_USDT",),
            "trades",
            '{"id":7,"channel":"futures.trades","event":"subscribe","payload":["BTC_USDT"]}',
        ),
    ),
    controls=(
        (
            '{"time":1606292218,"time_ms":1606292218231,"channel":"spot.trades","event":"subscribe",'
            '"result":{"status":"success"}}',
            Ack(),
        ),
        (
            '{"time":1,"time_ms":1000,"id":7,"conn_id":"a","trace_id":"b","channel":"futures.trades",'
            '"event":"subscribe","payload":["BTC_USDT","ETH_USDT"],"result":{"status":"success"}}',
            Ack(("futures.BTC_USDT", "futures.ETH_USDT"), "7"),
        ),
        (
            '{"time":1,"id":7,"channel":"spot.trades","event":"subscribe","payload":["BTC_USDT","NOPE_USDT"],'
            + UNKNOWN,
            Refusal("2 unknown currency pair: NOPE_USDT", ("spot.NOPE_USDT",), "7"),
        ),
        (
            '{"time":1606292218,"channel":"spot.trades","event":"subscribe",'
            '"error":{"code":2,"message":"unknown currency pair GIBBERISH_USD"},"result":null}',
            Refusal("2 unknown currency pair GIBBERISH_USD", ("spot.GIBBERISH_USD",)),
        ),
        (
            '{"id":7,"channel":"futures.trades","event":"subscribe","error":{"code":3,"message":"service error"}}',
            Refusal("3 service error", request_id="7", transient=True),
        ),
        (
            '{"channel":"futures.trades","event":"unsubscribe","payload":["BTC_USDT"],"result":{"status":"success"}}',
            Unsubscribed(("futures.BTC_USDT",)),
        ),
        ('{"channel":"futures.trades","event":"unsubscribe","result":{"status":"success"}}', KeepAlive()),
        ('{"time":1606292218,"channel":"spot.pong","event":"","result":null}', KeepAlive()),
        ('{"time":1,"channel":"futures.pong","event":"","result":null}', KeepAlive()),
        (
            '{"channel":"futures.system","event":"update","result":{"type":"upgrade","msg":"shut down"}}',
            CloseNotice("upgrade shut down"),
        ),
        ('{"channel":"futures.system","event":"update","result":{"type":"note"}}', KeepAlive()),
        ('{"channel":"futures.trades","event":"update","result":[]}', KeepAlive()),
        ('{"channel":"spot.trades","event":"update","result":{"id":1}}', MalformedTrade()),
        ('{"channel":"futures.trades","event":"api"}', None),
        ('{"channel":"spot.book_ticker","event":"update","result":{}}', None),
    ),
    wire=wire,
    control=control,
    frame=TradeFrame(
        capture="documented_spot.jsonl",
        symbol="GT/USDT",
        native="spot.GT_USDT",
        keys={
            "native": "currency_pair",
            "price": "price",
            "volume": "amount",
            "side": "side",
            "time": "create_time_ms",
            "id": "id",
        },
        path=("result",),
        bad_times=("", "0", "-5", "x", "1_0", "9" * 16, "9" * 5000, "1788336082402.", "1.5.5"),
        odd_time=1606292218213,
    ),
    unknown_market=(
        400,
        b'{"label":"INVALID_CURRENCY_PAIR","message":"Invalid currency pair NOPE_USDT"}',
        "INVALID_CURRENCY_PAIR Invalid currency pair NOPE_USDT",
    ),
    rest_symbol="BTC/USDT",
    requests=(
        PageRequest(
            trade_range=ANY,
            target=f"/api/v4/spot/trades?currency_pair=BTC_USDT&limit=1000&to={TO_S + 1}&page=1",
        ),
        PageRequest(
            trade_range=ANY,
            cursor="1790000000 3",
            target="/api/v4/spot/trades?currency_pair=BTC_USDT&limit=1000&to=1790000000&page=3",
        ),
        PageRequest(
            trade_range=ANY,
            symbol="BTC/USDT:USDT",
            cursor="1790000000 3",
            target="/api/v4/futures/usdt/trades?contract=BTC_USDT&limit=1000&to=1790000000&offset=2000",
        ),
        PageRequest(
            trade_range=ANY,
            symbol="BTC/USD:BTC-261225",
            target=f"/api/v4/delivery/btc/trades?contract=BTC_USD_20261225&limit=1000&to={TO_S + 1}&offset=0",
        ),
    ),
    pages=(
        PageResponse(body=SPOT_ANSWER, rows=spot_rows, cursor=None),
        PageResponse(
            body=FUTURES_ANSWER,
            symbol="BTC/USDT:USDT",
            rows=lambda _answer: [
                ("futures.BTC_USDT", "121234231", "100.123", "100", "sell", 1_514_764_800_000 * MS),
                ("futures.BTC_USDT", "121234230", "100.123", "1.5", "buy", 1_514_764_799_123 * MS),
                ("futures.BTC_USDT", "121234229", "100.1", "2", "buy", 1_514_764_799_122 * MS),
            ],
            cursor=None,
        ),
    ),
    errors=(
        (b'{"label":"INVALID_CURRENCY_PAIR","message":"Invalid currency pair"}', Refused),
        (b'{"label":"TOO_MANY_REQUESTS","message":"Request Rate Limit Exceeded"}', Busy),
        (b'{"result":[]}', Garbled),
    ),
    error_texts=((404, b'{"label":"CONTRACT_NOT_FOUND","message":"not found"}', "CONTRACT_NOT_FOUND not found"),),
    listed=(
        InstrumentsResponse(
            request=0,
            body=b'[{"id":"ETH_USDT","base":"ETH","base_name":"Ethereum","quote":"USDT","quote_name":"Tether",'
            b'"fee":"0.2","min_base_amount":"0.001","min_quote_amount":"1.0","amount_precision":3,"precision":6,'
            b'"trade_status":"tradable","sell_start":1516378650,"buy_start":1516378650,"st_tag":false},'
            b'{"id":"OLD_USDT","base":"OLD","quote":"USDT","amount_precision":0,"precision":1,'
            b'"trade_status":"untradable"}]',
            count=2,
            some=(
                Instrument(
                    symbol="ETH/USDT",
                    native="ETH_USDT",
                    kind="spot",
                    base="ETH",
                    quote="USDT",
                    price_step="0.000001",
                    volume_step="0.001",
                ),
                Instrument(
                    symbol="OLD/USDT",
                    native="OLD_USDT",
                    kind="spot",
                    base="OLD",
                    quote="USDT",
                    price_step="0.1",
                    volume_step="1",
                    active=False,
                ),
            ),
        ),
        InstrumentsResponse(
            request=1,
            body=b'[{"name":"BTC_USDT","type":"direct","quanto_multiplier":"0.0001","mark_price_round":"0.01",'
            b'"in_delisting":false,"order_price_round":"0.1","order_size_min":1,"status":"trading"},'
            b'{"name":"ETH_USDT","type":"direct","quanto_multiplier":"0.01","order_price_round":"0.01",'
            b'"enable_decimal":true,"in_delisting":true}]',
            count=2,
            some=(BTC_SWAP,),
        ),
        InstrumentsResponse(
            request=2,
            body=b'[{"name":"BTC_USD","type":"inverse","quanto_multiplier":"0","order_price_round":"0.1"}]',
            count=1,
            some=(
                Instrument(
                    symbol="BTC/USD:BTC",
                    native="BTC_USD",
                    kind="swap",
                    base="BTC",
                    quote="USD",
                    settle="BTC",
                    volume_unit="contracts",
                    contract_size="1",
                    price_step="0.1",
                    volume_step="1",
                ),
            ),
        ),
        InstrumentsResponse(
            request=3,
            body=b'[{"name":"BTC_USDT_20261225","underlying":"BTC_USDT","cycle":"QUARTERLY","type":"direct",'
            b'"quanto_multiplier":"0.0001","order_price_round":"0.1","in_delisting":false}]',
            count=1,
            some=(
                Instrument(
                    symbol="BTC/USDT:USDT-261225",
                    native="BTC_USDT_20261225",
                    kind="future",
                    base="BTC",
                    quote="USDT",
                    settle="USDT",
                    volume_unit="contracts",
                    contract_size="0.0001",
                    price_step="0.1",
                    volume_step="1",
                ),
            ),
        ),
    ),
    loopback_errors=(
        ("/api/v4/spot/trades?currency_pair=NOPE_USDT", 400, '"label":"INVALID_CURRENCY_PAIR"'),
        ("/api/v4/futures/usdt/trades?contract=NOPE_USDT", 400, '"label":"CONTRACT_NOT_FOUND"'),
    ),
)
