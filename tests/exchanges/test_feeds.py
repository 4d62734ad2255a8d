"""What each dialect promises besides decoding: the names of its markets and its subscribe texts."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.exchanges.contract.feed_helpers import rfc3339_ns
from actors.exchanges.registry import EXCHANGES as REGISTRY
from actors.model.symbols import SymbolError, parse_symbol
from tests.harness.capture_files import EXCHANGES
from tests.harness.exchange_values import dialect_of

PUBLIC = "wss://ws.okx.com:8443/ws/v5/public"
BYBIT = "wss://stream.bybit.com/v5/public/"


@pytest.mark.parametrize("name", EXCHANGES)
def test_every_dialect_is_registered_under_its_own_name_and_says_what_the_command_line_prints(
    name: str,
) -> None:
    exchange, dialect = REGISTRY[name], dialect_of(name)
    assert exchange.name == name and (exchange.history is None or exchange.history.summary)
    assert all((exchange.title, dialect.ids_note, dialect.markets_note, dialect.ping_note))
    assert dialect.doc.startswith("https://") and dialect.doc_read == "2026-11-22"
    assert dialect.ids and dialect.channels
    assert dialect.ping is None or dialect.silence_s > 2 * dialect.ping.interval_s  # one lost answer is no reason
    assert dialect.limits.symbols_per_request <= dialect.limits.symbols_per_connection


@pytest.mark.parametrize(
    ("exchange", "symbol", "native", "endpoint", "unit"),
    [
        ("binance", "BTC/USDT", "BTCUSDT", "wss://stream.binance.com:9443/stream", "base"),
        ("binance", "币安人生/USDT", "币安人生USDT", "wss://stream.binance.com:9443/stream", "base"),
        ("coinbaseexchange", "BTC/USD", "BTC-USD", "wss://ws-feed.exchange.coinbase.com", "base"),
        ("kraken", "BTC/USD", "BTC/USD", "wss://ws.kraken.com/v2", "base"),
        ("kraken", "AAPLx/USD", "AAPLx/USD", "wss://ws.kraken.com/v2", "base"),
        ("okx", "BTC/USDT", "BTC-USDT", PUBLIC, "base"),
        ("okx", "BTC/USDT:USDT", "BTC-USDT-SWAP", PUBLIC, "contracts"),
        ("okx", "BTC/USD:BTC", "BTC-USD-SWAP", PUBLIC, "contracts"),
        ("okx", "BTC/USD:BTC-260925", "BTC-USD-260925", PUBLIC, "contracts"),
        ("okx", "BTC/USDT:USDT-260925", "BTC-USDT-260925", PUBLIC, "contracts"),
        ("okx", "BTC/USD:BTC-260925-100000-C", "BTC-USD-260925-100000-C", PUBLIC, "contracts"),
        ("bybit", "BTC/USDT", "BTCUSDT", BYBIT + "spot", "base"),
        ("bybit", "BTC/USDT:USDT", "BTCUSDT", BYBIT + "linear", "base"),
        ("bybit", "BTC/USDC:USDC", "BTCPERP", BYBIT + "linear", "base"),
        ("bybit", "1000PEPE/USDT:USDT", "1000PEPEUSDT", BYBIT + "linear", "base"),
        ("bybit", "BTC/USD:BTC", "BTCUSD", BYBIT + "inverse", "quote"),
    ],
)
def test_a_unified_symbol_becomes_the_exchanges_own_name_at_the_right_endpoint(
    exchange: str, symbol: str, native: str, endpoint: str, unit: str
) -> None:
    market = dialect_of(exchange).market(parse_symbol(symbol))
    assert (market.symbol, market.native, market.endpoint, market.volume_unit) == (
        symbol,
        native,
        endpoint,
        unit,
    )


def test_the_channel_decides_the_endpoint_where_the_exchange_has_it_so() -> None:
    assert dialect_of("okx").market(parse_symbol("BTC/USDT"), "trades").endpoint == PUBLIC
    assert dialect_of("okx").market(parse_symbol("BTC/USDT"), "trades-all").endpoint.endswith("/ws/v5/business")


@pytest.mark.parametrize(
    ("exchange", "symbol", "right"),
    [
        ("binance", "btc/usdt", "BTC/USDT"),
        ("binance", "BTC/USDT:USDT", 'write "BTC/USDT"'),
        ("coinbaseexchange", "Btc/USD", "BTC/USD"),
        ("coinbaseexchange", "BTC/USD:BTC", "BTC/USD"),
        ("kraken", "XBT/USD", "BTC/USD"),
        ("kraken", "XDG/EUR", "DOGE/EUR"),
        ("kraken", "xbt/usd", "BTC/USD"),
        ("kraken", "BTC/USD:USD", 'write "BTC/USD"'),
        ("okx", "btc/usdt", "BTC/USDT"),
        ("okx", "BTC/USD:USD", ":BTC"),
        ("okx", "BTC/USDT:BTC", ":USDT"),
        ("bybit", "btc/usdt", "BTC/USDT"),
        ("bybit", "BTC/USD:USD", "BTC/USD:BTC"),
        ("bybit", "BTC/USDT:USDT-261225", "BTC/USDT:USDT"),
        ("bybit", "BTC/USDC:USDC-261225-90000-C", 'BTC/USDC:USDC"'),
    ],
)
def test_a_symbol_that_would_have_to_be_changed_is_refused_with_the_right_spelling(
    exchange: str, symbol: str, right: str
) -> None:
    with pytest.raises(SymbolError, match=right):
        dialect_of(exchange).market(parse_symbol(symbol))


codes = st.sampled_from(["BTC", "ETH", "USDT", "USDC", "USD", "EUR", "1INCH"])


@given(
    base=codes,
    quote=codes,
    settle=st.one_of(st.none(), codes),
    tail=st.sampled_from(["", "-261225", "-261225-9-P"]),
)
def test_no_two_symbols_share_a_native_name_at_one_endpoint(
    base: str, quote: str, settle: str | None, tail: str
) -> None:
    symbol = f"{base}/{quote}" + (f":{settle}{tail}" if settle else "")
    others = [
        f"{base}/{quote}",
        *(f"{base}/{quote}:{code}{tail}" for code in (base, quote, "USD", "USDT", "USDC")),
    ]
    for exchange in EXCHANGES:
        market = dialect_of(exchange).market
        try:
            mine = market(parse_symbol(symbol))
        except SymbolError:
            continue
        for other in set(others) - {symbol}:
            try:
                theirs = market(parse_symbol(other))
            except SymbolError:
                continue
            assert (mine.native, mine.endpoint) != (theirs.native, theirs.endpoint)


@pytest.mark.parametrize(
    ("exchange", "natives", "channel", "text"),
    [
        (
            "binance",
            ["BTCUSDT", "ETHUSDT"],
            "trade",
            '{"method":"SUBSCRIBE","params":["btcusdt@trade","ethusdt@trade"],"id":7}',
        ),
        ("binance", ["BTCUSDT"], "aggTrade", '{"method":"SUBSCRIBE","params":["btcusdt@aggTrade"],"id":7}'),
        (
            "coinbaseexchange",
            ["BTC-USD"],
            "matches",
            '{"type":"subscribe","product_ids":["BTC-USD"],"channels":["matches","heartbeat"]}',
        ),
        (
            "kraken",
            ["BTC/USD", "ETH/USD"],
            "trade",
            '{"method":"subscribe","params":{"channel":"trade","symbol":["BTC/USD","ETH/USD"],"snapshot":false},"req_id":7}',
        ),
        (
            "okx",
            ["BTC-USDT", "BTC-USDT-SWAP"],
            "trades",
            '{"id":"7","op":"subscribe","args":[{"channel":"trades","instId":"BTC-USDT"},'
            '{"channel":"trades","instId":"BTC-USDT-SWAP"}]}',
        ),
        (
            "bybit",
            ["BTCUSDT", "ETHUSDT"],
            "publicTrade",
            '{"req_id":"7","op":"subscribe","args":["publicTrade.BTCUSDT","publicTrade.ETHUSDT"]}',
        ),
    ],
)
def test_the_subscribe_text_is_what_the_exchange_documents(
    exchange: str, natives: list[str], channel: str, text: str
) -> None:
    (request,) = dialect_of(exchange).subscribe(natives, channel, 7)
    assert (request.text, request.request_id, request.natives) == (text, "7", tuple(natives))


@pytest.mark.parametrize("exchange", EXCHANGES)
@pytest.mark.parametrize("count", [1, 10, 11, 450])
def test_many_markets_are_asked_for_once_each_within_the_limits(exchange: str, count: int) -> None:
    dialect = dialect_of(exchange)
    natives = [f"LONGNAME{number}-USDT-SWAP" for number in range(count)]
    asked = dialect.subscribe(natives, dialect.channels[0], 5)
    assert [native for request in asked for native in request.natives] == natives
    assert [request.request_id for request in asked] == [str(5 + number) for number in range(len(asked))]
    for request in asked:
        json.loads(request.text)
        assert len(request.natives) <= dialect.limits.symbols_per_request
        assert len(request.text.encode()) <= dialect.limits.request_bytes


def test_one_market_longer_than_a_request_is_still_asked_for() -> None:
    dialect = dialect_of("binance")
    natives = ["A" * dialect.limits.request_bytes, "B"]
    asked = dialect.subscribe(natives, "trade", 1)
    assert [request.natives for request in asked] == [(native,) for native in natives]


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("2021-04-17T16:43:37.089723Z", 1618677817089723000),
        ("2024-05-27T12:33:10Z", 1716813190000000000),
        ("1970-01-01T00:00:00.000000001Z", 1),
        ("2024-02-29T23:59:59.9Z", 1709251199900000000),
    ],
)
def test_times_in_words_are_exact_to_the_nanosecond(text: str, nanoseconds: int) -> None:
    assert rfc3339_ns(text) == nanoseconds
