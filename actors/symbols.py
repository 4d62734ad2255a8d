"""Unified symbols, written as ccxt writes them, taken apart and put together.

spot "BTC/USDT", linear perpetual "BTC/USDT:USDT", inverse "BTC/USD:BTC", dated "BTC/USD:BTC-261225",
option "BTC/USD:BTC-261225-100000-C".
"""

import re
from dataclasses import dataclass

# Mixed case exists (Kraken's "AAPLx/USD"), and so do names with digits first ("1000PEPE") and non-ASCII
# letters (Binance); the separators of the grammar, quotes, spaces and control characters never do.
_NAME = r"[^\s/:\-'\"\\;,(){}\[\]<>&?#%\x00-\x1f]{1,32}"
_UNIFIED = re.compile(
    rf"(?P<base>{_NAME})/(?P<quote>{_NAME})"
    rf"(?::(?P<settle>{_NAME})(?:-(?P<expiry>\d{{6}})(?:-(?P<strike>\d{{1,12}}(?:\.\d{{1,8}})?)-(?P<right>[CP]))?)?)?"
)


class SymbolError(ValueError):
    """The symbol cannot be used; the message says what would be right."""


@dataclass(frozen=True, slots=True)
class Symbol:
    """A unified symbol in parts; `expiry` is YYMMDD, `right` C or P. Absent parts are ""."""

    base: str
    quote: str
    settle: str = ""
    expiry: str = ""
    strike: str = ""
    right: str = ""

    @property
    def kind(self) -> str:
        """'spot', 'swap', 'future' or 'option'."""
        if not self.settle:
            return "spot"
        if not self.expiry:
            return "swap"
        return "option" if self.strike else "future"

    @property
    def inverse(self) -> bool:
        """Settled in the base coin, so that sizes are counted in quote-valued contracts."""
        return bool(self.settle) and self.settle == self.base

    def __str__(self) -> str:
        text = f"{self.base}/{self.quote}"
        if self.settle:
            text += f":{self.settle}"
        if self.expiry:
            text += f"-{self.expiry}"
        if self.strike:
            text += f"-{self.strike}-{self.right}"
        return text


def parse_symbol(text: str) -> Symbol:
    """Takes a unified symbol apart; raises SymbolError with an example of the right form."""
    match = _UNIFIED.fullmatch(text)
    if match is None:
        raise SymbolError(f'{text!r} is not a unified symbol; write "BTC/USDT" (spot) or "BTC/USDT:USDT" (swap)')
    return Symbol(**{key: value or "" for key, value in match.groupdict().items()})
