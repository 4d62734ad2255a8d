"""HTX: what its documents and what was quoted of recordings say of names, messages and history."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from actors.exchanges.contract.feed import Ack, KeepAlive, MalformedTrade, Refusal, Reply, Unsubscribed
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

SPOT = "wss://api.huobi.pro/ws"
LINEAR = "wss://api.hbdm.com/linear-swap-ws"
COIN = "wss://api.hbdm.com/swap-ws"


def wire(message: Any) -> Iterable[WireTrade] | None:
    """{"ch":"market.btcusdt.trade.detail","tick":{"data":[...]}}; `direction` is the taker's, `tradeId` the id."""
    _, _, topic = str(message.get("ch")).partition("market.")
    native, _, kind = topic.partition(".")
    if kind != "trade.detail":
        return None
    return [
        WireTrade(
            native,
            str(row.get("tradeId", row["id"])),
            Decimal(row["price"]),
            Decimal(row["amount"]),
            row["direction"] or None,
            of_ms(row["ts"]),
        )
        for row in message["tick"]["data"]
    ]


def control(message: Any) -> bool:
    return "ping" in message or "status" in message


def rows(answer: Any) -> list[Row]:
    native = answer["ch"].split(".")[1]
    return [
        (
            native,
            str(row.get("trade-id", row["id"])),
            format(Decimal(row["price"]), "f"),
            format(Decimal(row["amount"]), "f"),
            row["direction"],
            row["ts"] * MS,
        )
        for match in answer["data"]
        for row in match["data"]
    ]


# As documented: nested, newest first; amounts of a live frame of 2021.
SPOT_ANSWER = (
    b'{"ch":"market.btcusdt.trade.detail","status":"ok","ts":1533265951000,"data":['
    b'{"id":14650745135,"ts":1533265950234,"data":[{"id":146507451359183894799,"ts":1533265950234,'
    b'"trade-id":102043495674,"amount":1.98E-4,"price":401.74,"direction":"buy"},'
    b'{"id":146507451359183894798,"ts":1533265950234,"trade-id":102043495673,"amount":0.0099,"price":401.74,'
    b'"direction":"buy"}]},{"id":14650745134,"ts":1533265949000,"data":[{"id":146507451349183894799,'
    b'"ts":1533265949000,"trade-id":102043495672,"amount":0.5,"price":401.70,"direction":"sell"}]}]}'
)
# The documents' own sample.
LINEAR_ANSWER = (
    b'{"ch":"market.BTC-USDT.trade.detail","data":[{"data":[{"amount":2,"direction":"buy","id":1314767870000,'
    b'"price":13081.3,"ts":1603695383124,"quantity":0.002,"trade_turnover":26.1626}],"id":131476787,'
    b'"ts":1603695383124}],"status":"ok","ts":1603695388965}'
)
ANY = TradeRange(from_ns=5, to_ns=9)


CASES = Cases(
    markets=(
        Native("BTC/USDT", "btcusdt", SPOT),
        Native("1INCH/USDT", "1inchusdt", SPOT),
        Native("BTC/USDT:USDT", "BTC-USDT", LINEAR, "contracts"),
        Native("BTC/USD:BTC", "BTC-USD", COIN, "contracts"),
    ),
    refused=(
        ("btc/usdt", "BTC/USDT"),
        ("BTC/USDT:BTC", "BTC/USDT:USDT"),
        ("BTC/USD:USD", "BTC/USD:BTC"),
        ("BTC/USDT:USDT-261225", "BTC/USDT:USDT"),
    ),
    subscribes=(Subscribe(("btcusdt",), "trade.detail", '{"sub":"market.btcusdt.trade.detail","id":"7"}'),),
    controls=(
        ('{"ping":1492420473027}', Reply('{"pong":1492420473027}')),
        ('{"ping":true}', None),
        (
            '{"id":"id1","status":"ok","subbed":"market.btcusdt.trade.detail","ts":1489474081631}',
            Ack(("btcusdt",)),
        ),
        ('{"id":"id1","status":"ok","subbed":"market.btcusdt.depth.step0","ts":1489474081631}', KeepAlive()),
        ('{"id":"id1","status":"ok","unsubbed":"market.btcusdt.trade.detail"}', Unsubscribed(("btcusdt",))),
        (
            '{"status":"error","ts":1790134833291,"id":"4","err-code":"bad-request",'
            '"err-msg":"invalid topic market.nopeusdt.trade.detail"}',
            Refusal("bad-request: invalid topic market.nopeusdt.trade.detail", ("nopeusdt",)),
        ),
        (
            '{"status":"error","ts":1,"id":"4","err-code":"bad-request","err-msg":"invalid command"}',
            Refusal("bad-request: invalid command", request_id="4"),
        ),
        (
            '{"status":"error","ts":1,"id":"4","err-code":"too-many-request","err-msg":"slow down"}',
            Refusal("too-many-request: slow down", request_id="4", transient=True),
        ),
        ('{"ch":"market.btcusdt.trade.detail","tick":{"data":[]}}', KeepAlive()),
        ('{"ch":"market.btcusdt.trade.detail"}', MalformedTrade()),
        ('{"ch":"market.btcusdt.depth.step0","tick":{"bids":[]}}', None),
        ('{"rep":"market.btcusdt.trade.detail","status":"ok","data":[]}', KeepAlive()),
    ),
    wire=wire,
    control=control,
    unknown_market=(
        400,
        b'{"status":"error","err-code":"invalid-parameter","err-msg":"invalid symbol","ts":1}',
        "invalid-parameter invalid symbol",
    ),
    rest_symbol="BTC/USDT",
    listed=(
        InstrumentsResponse(
            request=0,
            body=b'{"status":"ok","data":[{"base-currency":"btc","quote-currency":"usdt","price-precision":2,'
            b'"amount-precision":6,"symbol-partition":"main","symbol":"btcusdt","state":"online"},'
            b'{"base-currency":"nope","quote-currency":"usdt","symbol":"nopeusdt","state":"offline"}]}',
            count=2,
            some=(
                Instrument(
                    symbol="BTC/USDT",
                    native="btcusdt",
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
            body=b'{"status":"ok","data":[{"symbol":"BTC","contract_code":"BTC-USDT","contract_size":1E-3,'
            b'"price_tick":0.1,"contract_status":1},{"symbol":"BTC","contract_code":"BTC-USDT-261225",'
            b'"contract_size":0.001,"price_tick":0.1,"contract_status":1}],"ts":1}',
            count=1,
            some=(
                Instrument(
                    symbol="BTC/USDT:USDT",
                    native="BTC-USDT",
                    kind="swap",
                    base="BTC",
                    quote="USDT",
                    settle="USDT",
                    volume_unit="contracts",
                    contract_size="0.001",
                    price_step="0.1",
                    volume_step="1",
                ),
            ),
        ),
        InstrumentsResponse(
            request=2,
            body=b'{"status":"ok","data":[{"symbol":"BTC","contract_code":"BTC-USD","contract_size":100.0,'
            b'"price_tick":0.1,"contract_status":0}],"ts":1}',
            count=1,
            some=(
                Instrument(
                    symbol="BTC/USD:BTC",
                    native="BTC-USD",
                    kind="swap",
                    base="BTC",
                    quote="USD",
                    settle="BTC",
                    volume_unit="contracts",
                    contract_size="100.0",
                    price_step="0.1",
                    volume_step="1",
                    active=False,
                ),
            ),
        ),
    ),
    requests=(
        PageRequest(trade_range=ANY, target="/market/history/trade?symbol=btcusdt&size=2000"),
        PageRequest(
            trade_range=ANY,
            symbol="BTC/USDT:USDT",
            target="/linear-swap-ex/market/history/trade?contract_code=BTC-USDT&size=2000",
        ),
        PageRequest(
            trade_range=ANY,
            symbol="BTC/USD:BTC",
            target="/swap-ex/market/history/trade?contract_code=BTC-USD&size=2000",
        ),
    ),
    pages=(
        PageResponse(body=SPOT_ANSWER, rows=rows, cursor=None),
        PageResponse(body=LINEAR_ANSWER, rows=rows, cursor=None, symbol="BTC/USDT:USDT"),
    ),
    errors=(
        (b'{"status":"error","err-code":"invalid-parameter","err-msg":"invalid symbol","ts":1}', Refused),
        (b'{"status":"error","err-code":"internal-error","err-msg":"system error","ts":1}', Busy),
        (b'{"status":"ok","ch":"market.btcusdt.trade.detail","ts":1}', Garbled),
        (LINEAR_ANSWER, Garbled),  # another market than asked for
    ),
    error_texts=((200, b'{"status":"error","err-code":"bad-request","err-msg":"no"}', "bad-request no"),),
    loopback_errors=(
        ("/market/history/trade?symbol=nopeusdt&size=5", 200, '"err-code":"invalid-parameter"'),
        ("/linear-swap-ex/market/history/trade?size=5", 200, '"err-code":"invalid-parameter"'),
    ),
)
