"""Unified symbols in ccxt's notation: parsed and formatted.

spot "BTC/USDT", linear perpetual "BTC/USDT:USDT", inverse "BTC/USD:BTC", dated "BTC/USD:BTC-261225",
option "BTC/USD:BTC-261225-100000-C".
"""

import re
import unicodedata
from datetime import date

from msgspec import Struct

CODE_CHARS_MAX = 32  # the longest codes on exchanges have about twenty
# Mixed case exists (Kraken's "AAPLx/USD"), and so do codes with digits first ("1000PEPE"), with these signs, and of
# Chinese, Japanese or Korean letters (Binance). The last two are letters of Japanese and Chinese words.
_SIGNS = "._$ー々"
# By the first words of their Unicode names. Scripts whose letters look like Latin ones (Greek, Cyrillic, Cherokee,
# Lisu) are not among them: an exchange acknowledges a look-alike and sends nothing, or refuses what seems right.
_LETTERS = (
    "LATIN CAPITAL LETTER",
    "LATIN SMALL LETTER",
    "CJK UNIFIED IDEOGRAPH",
    "HIRAGANA LETTER",
    "KATAKANA LETTER",
    "HANGUL SYLLABLE",
    "THAI CHARACTER",
    "DEVANAGARI LETTER",
    "HEBREW LETTER",
    "ARABIC LETTER",
)
ANY = "*"  # in a wildcard, any code
_PART = rf"[^/:\-]{{1,{CODE_CHARS_MAX}}}"
_UNIFIED = re.compile(
    rf"(?P<base>{_PART})/(?P<quote>{_PART})"
    rf"(?::(?P<settle>{_PART})(?:-(?P<expiry>[0-9]{{6}})"
    r"(?:-(?P<strike>[0-9]{1,12}(?:\.[0-9]{1,8})?)-(?P<right>[CP]))?)?)?"
)


_CODE = rf"(?:\*|[^/:\-*]{{1,{CODE_CHARS_MAX}}})"
_WILDCARD = re.compile(rf"(?P<base>{_CODE})/(?P<quote>{_CODE})(?::(?P<settle>{_CODE})(?P<dated>-\*)?)?")


class SymbolError(ValueError):
    """The symbol cannot be used. `problem` is the reason, `right` a symbol to use instead ("": none known)."""

    def __init__(self, problem: str, right: str = "") -> None:
        super().__init__(f'{problem}; write "{right}"' if right else problem)
        self.problem, self.right = problem, right


class Symbol(Struct, frozen=True):
    """A parsed unified symbol; `expiry` is YYMMDD, `right` C or P. Absent parts are ""."""

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
        """Settled in the base coin: sizes are then counted in contracts valued in the quote coin."""
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
    """Parses a unified symbol; raises SymbolError."""
    if odd := odd_character(text, "/:-"):
        raise SymbolError(f"{text!r} contains {odd}")
    match = _UNIFIED.fullmatch(text)
    if match is None:
        raise SymbolError(f"{text!r} is not a unified symbol (spot BASE/QUOTE, swap BASE/QUOTE:SETTLE)")
    symbol = Symbol(**{key: value or "" for key, value in match.groupdict().items()})
    for code in (symbol.base, symbol.quote, symbol.settle):
        if code and not (code[0].isalnum() or (code[0] == "$" and len(code) > 1)):
            raise SymbolError(f"{text!r}: no code begins with {code[0]!r}")
    if symbol.base == symbol.quote:
        raise SymbolError(f"{text!r}: base and quote are the same")
    if symbol.expiry and not _is_day(symbol.expiry):
        raise SymbolError(f"{text!r}: {symbol.expiry} is not a day written YYMMDD")
    if symbol.strike and not float(symbol.strike):
        raise SymbolError(f"{text!r}: a strike is above 0")
    return symbol


class Wildcard(Struct, frozen=True):
    """All markets of one kind whose codes are these, where "*" is any; written as a symbol with "*" for a code.

    spot "*/USDT", "BTC/*"; swaps "*/USDT:USDT"; dated "BTC/USD:BTC-*".
    """

    text: str
    base: str
    quote: str
    settle: str
    kind: str

    def matches(self, kind: str, base: str, quote: str, settle: str) -> bool:
        """Whether a market of this kind with these codes is among them; `settle` is "" for spot."""
        return (
            self.kind == kind
            and self.base in (ANY, base)
            and self.quote in (ANY, quote)
            and self.settle in (ANY, settle)
        )


def is_wildcard(text: str) -> bool:
    """Whether it is meant for one; `parse_wildcard` tells whether it is."""
    return ANY in text


def parse_wildcard(text: str) -> Wildcard:
    """Takes a wildcard apart; raises SymbolError."""
    match = _WILDCARD.fullmatch(text)
    if match is None:
        raise SymbolError(
            f'{text!r} is no wildcard: "*" stands for a whole code, as in "*/USDT", "BTC/*", "*/USDT:USDT" and'
            ' "BTC/USD:BTC-*"'
        )
    base, quote, settle, dated = match["base"], match["quote"], match["settle"] or "", match["dated"]
    # What is written out must be as in a symbol; a code that "*" stands for is another one than those beside it.
    parse_symbol(f"{_named(base, 'A')}/{_named(quote, 'B')}" + (f":{_named(settle, 'C')}" if settle else ""))
    return Wildcard(text, base, quote, settle, "future" if dated else "swap" if settle else "spot")


def _named(code: str, other: str) -> str:
    return f"{other}{'0' * 8}" if code == ANY else code


def odd_character(text: str, separators: str = "") -> str:
    """The first character not allowed in a code, described for a message; "" if there is none.

    Not allowed are invisible characters, look-alikes, and characters that Unicode normalization (NFKC) replaces.
    """
    for index, char in enumerate(text):
        if not (char in separators or char in _SIGNS or _is_letter(char)):
            return _described(char, index)
    if unicodedata.normalize("NFKC", text) != text:
        return "letters that Unicode writes in another way (NFKC)"
    return ""


def _is_letter(char: str) -> bool:
    if char.isascii():
        return char.isalnum()
    if unicodedata.normalize("NFKC", char) != char:
        return False
    return unicodedata.category(char) in ("Lu", "Ll", "Lo") and unicodedata.name(char, "").startswith(_LETTERS)


def _described(char: str, index: int) -> str:
    if char == "*":
        return "a wildcard, where one market is meant"
    if "!" <= char <= "~":
        return f"the character {char}, which no code has"
    name = unicodedata.name(char, "a character without a name")
    return f"U+{ord(char):04X} ({name}) as character {index + 1}; codes are letters, digits and . _ $"


def _is_day(text: str) -> bool:
    try:
        date.fromisoformat(f"20{text}")
    except ValueError:
        return False
    return True
