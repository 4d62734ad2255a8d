"""Symbols: which characters a code may have."""

import pytest

from actors.model.symbols import SymbolError, parse_symbol


@pytest.mark.parametrize(
    "base", ["BTC", "AAPLx", "1000PEPE", "币安人生", "カメラー", "한국", "X.D", "$WIF", "ÉTÉ", "A_B"]
)
def test_letters_of_many_scripts_digits_and_a_few_signs_make_a_code(base: str) -> None:
    assert parse_symbol(f"{base}/USDT").base == base


@pytest.mark.parametrize(
    "text",
    [
        "BTC/BTC",
        "BTC/USD:BTC-269999",
        "BTC/USD:BTC-261225-0-C",
        "../USDT",
        "_/USDT",
        "$/USDT",
        "BTC/USDT:",
        "/USDT",
    ],
)
def test_a_symbol_that_no_exchange_can_have_is_refused(text: str) -> None:
    with pytest.raises(SymbolError):
        parse_symbol(text)
