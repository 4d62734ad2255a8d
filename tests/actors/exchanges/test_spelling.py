"""Spelling: every advice on a symbol is one that the exchange takes, and no market comes twice."""

# ruff: noqa: RUF001 - characters that look like others are what is tested

import itertools
from contextlib import suppress
from functools import partial

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from actors.exchanges import spelling
from actors.exchanges.registry import EXCHANGES
from actors.model.symbols import SymbolError, parse_symbol
from tests.harness.exchange_values import dialect_of

BINANCE = dialect_of("binance")

market_of = partial(spelling.market_of, exchanges=EXCHANGES)
markets_of = partial(spelling.markets_of, exchanges=EXCHANGES)


@pytest.mark.parametrize(
    "odd",
    [
        *("\u200b", "\u200d", "\u2060", "\ufeff", "\u00ad", "\u034f", "\u180e", "\u2063", "\U000e0041"),  # unseen
        *("\u200e", "\u202e", "\u2066", "\u061c"),  # turn the direction of writing
        *("\ue000", "\U0010ffff", "\ud800", "\u0378"),  # private, no character, a half, not assigned
        *("\ufe0f", "\u0301", "\u20e3", "\U000e0100"),  # change the character before
        *(" ", "\u00a0", "\u3000", "\t", "\n", "\x85", "\u2028", "\x00", "\x1b", "\x7f"),
        *("\uff22", "ﬀ", "²", "Ⅷ", "\u212a", "①", "\uf900"),  # NFKC makes others of them
        *("\u115f", "\u1160", "\u3164", "\uffa0", "\u2800"),  # letters that have no shape
        *("А", "В", "Ο", "Ρ", "Ꭺ", "ꓐ", "ʙ", "ǃ"),  # look like A, B, O, P, !
        *(
            "٣",
            "४",
            "🚀",
            "😀",
            "*",
            "?",
            "'",
            '"',
            "\\",
            ";",
            "(",
            "%",
            "#",
            "&",
            "@",
            "=",
            "|",
            "`",
            "<",
            "{",
            ",",
        ),
    ],
)
@pytest.mark.parametrize(
    "form", ["{0}BTC/USDT", "B{0}TC/USDT", "BTC{0}/USDT", "BTC/US{0}DT", "BTC/USDT{0}", "{0}/USDT"]
)
def test_what_cannot_be_seen_or_looks_like_something_else_is_refused_with_the_symbol_that_was_meant(
    odd: str, form: str
) -> None:
    with pytest.raises(SymbolError) as caught:
        market_of(form.format(odd), BINANCE)
    assert BINANCE.market(parse_symbol(caught.value.right))
    assert caught.value.right in str(caught.value)


@pytest.mark.parametrize(
    ("exchange", "written", "right"),
    [
        ("binance", "BTCUSDT", "BTC/USDT"),
        ("binance", "btcusdt", "BTC/USDT"),
        ("binance", "btc/usdt", "BTC/USDT"),
        ("binance", "BTC_USDT", "BTC/USDT"),
        ("binance", "BTC-USDT", "BTC/USDT"),
        ("binance", "BTC/USDT-PERP", "BTC/USDT"),
        ("binance", "BTC/USDT:USDT", "BTC/USDT"),
        ("binance", "btcusdt@trade", "BTC/USDT"),
        ("binance", "BTC/USDT\u200b", "BTC/USDT"),
        ("binance", "ВТС/USDT", "BTC/USDT"),
        ("binance", "*/USDT", "BTC/USDT"),
        ("binance", "BTCTUSD", "BTC/TUSD"),
        ("binance", "币安人生USDT", "币安人生/USDT"),
        ("kraken", "XBTUSD", "BTC/USD"),
        ("kraken", "XXBTZUSD", "BTC/USD"),
        ("kraken", "XBT/USD", "BTC/USD"),
        ("kraken", "XDGEUR", "DOGE/EUR"),
        ("kraken", "PI_XBTUSD", "BTC/USD"),
        ("kraken", "tBTCUSD", "BTC/USD"),
        ("coinbaseexchange", "BTC-USD", "BTC/USD"),
        ("coinbaseexchange", "btc", "BTC/USD"),
        ("okx", "BTC-USDT-SWAP", "BTC/USDT:USDT"),
        ("okx", "BTC-USD-SWAP", "BTC/USD:BTC"),
        ("okx", "BTC-USD-260925", "BTC/USD:BTC-260925"),
        ("okx", "BTC-USD-260925-100000-C", "BTC/USD:BTC-260925-100000-C"),
        ("okx", "BTC/USD:USD", "BTC/USD:BTC"),
        ("okx", "btc-usdt", "BTC/USDT"),
        ("bybit", "BTCPERP", "BTC/USDC:USDC"),
        ("bybit", "BTCUSDT.P", "BTC/USDT:USDT"),
        ("bybit", "BYBIT:BTCUSDT", "BTC/USDT"),
        ("bybit", "BTC/USDT:USDT-261225", "BTC/USDT:USDT"),
        ("bybit", "DOTUSD", "DOT/USD"),
    ],
)
def test_the_advice_is_made_of_the_codes_that_somebody_wrote(exchange: str, written: str, right: str) -> None:
    with pytest.raises(SymbolError) as caught:
        market_of(written, dialect_of(exchange))
    assert caught.value.right == right


@pytest.mark.parametrize(
    ("exchange", "native", "symbol"),
    [
        ("upbit", "KRW-BTC", "BTC/KRW"),
        ("bithumb", "krw-btc", "BTC/KRW"),
        ("bitflyer", "FX_BTC_JPY", "BTC/JPY:JPY"),
        ("bitstamp", "btcusd-perp", "BTC/USD:USD"),
        ("hyperliquid", "BTC", "BTC/USDC:USDC"),
        ("whitebit", "BTC_PERP", "BTC/USDT:USDT"),
    ],
)
def test_the_exchanges_own_name_leads_to_the_market_that_has_it(exchange: str, native: str, symbol: str) -> None:
    with pytest.raises(SymbolError) as refused:
        market_of(native, dialect_of(exchange))
    assert refused.value.right == symbol


@pytest.mark.parametrize("exchange", EXCHANGES)
def test_small_letters_are_named_as_what_is_wrong_where_nothing_else_is(exchange: str) -> None:
    symbols = [
        f"{base}/{quote}" for base, quote in itertools.product(("BTC", "ETH"), ("USD", "USDT", "KRW", "JPY"))
    ]
    symbols += ["BTC/USD:BTC", "BTC/USD:USD", "BTC/USDT:USDT", "BTC/USD:USDC", "BTC/USDC:USDC", "BTC/JPY:JPY"]
    taken = []
    for symbol in symbols:
        with suppress(SymbolError):
            taken.append(market_of(symbol, dialect_of(exchange)).symbol)
    if exchange == "hyperliquid":  # spot pairs are looked up in its list
        taken = [symbol for symbol in taken if ":" in symbol]
    assert taken
    for symbol in taken:
        with pytest.raises(SymbolError, match="in capitals") as refused:
            market_of(symbol.lower(), dialect_of(exchange))
        assert refused.value.right == symbol


def test_a_kind_of_market_that_the_exchange_has_not_names_those_that_have_it() -> None:
    some = {name: EXCHANGES[name] for name in ("binance", "bitfinex", "bybit", "htx", "kraken", "okx", "upbit")}
    with pytest.raises(SymbolError, match=r"\(\S+ is a symbol of bitfinex and bybit and htx and okx\)"):
        spelling.market_of("BTC/USDT:USDT", BINANCE, exchanges=some)


codes = st.sampled_from(
    ["BTC", "btc", "XBT", "XXBT", "USDT", "USD", "ZUSD", "USDC", "EUR", "1INCH", "t", "PERP", "SWAP"]
)
pieces = st.one_of(codes, st.sampled_from([*"/:-_.@* \u200b", "260925", "100000", "C", "P"]), st.text(max_size=3))


@given(st.sampled_from(list(EXCHANGES)), st.lists(pieces, max_size=8).map("".join))
@example("bybit", "BTC/EUR:EUR")
@example("okx", "BTC/USD:BTC-269999")
def test_every_advice_is_accepted_by_its_exchange(exchange: str, written: str) -> None:
    dialect, refused = dialect_of(exchange), None
    try:
        assert market_of(written, dialect).symbol == written
    except SymbolError as error:
        refused = error
    if refused is not None:
        assert market_of(refused.right, dialect).symbol == refused.right
        assert f'write "{refused.right}"' in str(refused)


def test_two_spellings_of_one_native_name_are_one_market() -> None:
    with pytest.raises(SymbolError, match="same market"):
        markets_of(["A/BUSDT", "AB/USDT"], BINANCE)
    known = markets_of(["A/BUSDT"], BINANCE)
    with pytest.raises(SymbolError, match="same market"):
        markets_of(["AB/USDT"], BINANCE, known=known)
