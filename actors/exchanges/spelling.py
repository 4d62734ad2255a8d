"""Finds the market of a symbol as a user writes it; for a wrong spelling the error suggests a valid one."""

import re
import unicodedata
from collections.abc import Container, Iterable, Iterator, Mapping

from actors.exchanges.contract.exchange import Exchange
from actors.exchanges.contract.feed import Dialect, Market
from actors.model.symbols import Symbol, SymbolError, parse_symbol

SYMBOLS_MAX = 5_000  # per exchange: more than any exchange has
# The quote codes with which a name without a separator may end. A code that ends with another one comes before
# it, TUSD and BUSD last: "DOTUSD" is DOT in dollars far more often than DO in TUSD.
_QUOTES = (
    *("FDUSD", "PYUSD", "RLUSD", "USDT", "USDC", "USDE", "USD1", "USD"),
    *("DAI", "EURC", "EURI", "EUR", "GBP", "JPY", "TRY", "BRL", "AUD", "CAD", "CHF", "KRW", "MXN", "PLN", "ZAR"),
    *("XBT", "BTC", "ETH", "BNB", "SOL", "TUSD", "BUSD"),
)
_FUTURES = ("PI", "PF", "FI", "FF", "FX")  # "PI_XBTUSD", as Kraken names its futures, "FX_BTC_JPY" of bitFlyer
_SWAP = ("SWAP", "PERP", "PERPETUAL", "P", "PM", "UMCBL", "CM")  # how exchanges mark a perpetual
_TEXT_CHARS_MAX = 128  # longer text is no symbol


def market_of(text: str, dialect: Dialect, channel: str = "", *, exchanges: Mapping[str, Exchange]) -> Market:
    """The market of a unified symbol; raises SymbolError, whose `right` is a symbol that the exchange accepts.

    `exchanges` are all exchanges, for the message: one of them may have such a market.
    """
    try:
        return dialect.market(parse_symbol(text), channel)
    except SymbolError as error:
        problem = error.problem + _elsewhere(text, dialect, exchanges)
        raise SymbolError(problem, _accepted(text, error.right, dialect, exchanges)) from None


def markets_of(
    texts: Iterable[str],
    dialect: Dialect,
    channel: str = "",
    known: Iterable[Market] = (),
    *,
    exchanges: Mapping[str, Exchange],
) -> list[Market]:
    """The markets of several symbols; raises SymbolError also if two of them, or one and a `known` one, are the
    same.
    """
    seen = {(market.endpoint, market.native): market.symbol for market in known}
    markets = []
    for text in texts:
        market = market_of(text, dialect, channel, exchanges=exchanges)
        place = (market.endpoint, market.native)
        if place in seen:
            raise SymbolError(f"{text!r} is the same market as {seen[place]!r}")
        seen[place] = text
        markets.append(market)
    if len(seen) > SYMBOLS_MAX:
        raise SymbolError(f"{len(seen):,} symbols of one exchange are more than {SYMBOLS_MAX:,}")
    return markets


def _accepted(text: str, right: str, dialect: Dialect, exchanges: Container[str]) -> str:
    """A symbol that the exchange accepts: the one that it calls `text`, one made of its codes, or its example."""
    if own := _called(text, dialect, exchanges):
        return own
    for candidate in (
        *([right] if right else []),
        *_candidates(text, dialect.examples, exchanges),
        *dialect.examples,
    ):
        try:
            dialect.market(parse_symbol(candidate))
        except SymbolError as error:
            if not (error.right and _takes(dialect, error.right)):
                continue
            return error.right
        return candidate
    return ""


def _called(text: str, dialect: Dialect, exchanges: Container[str]) -> str:
    """The symbol whose native name is `text`, in capitals or not; "" if none is found."""
    for candidate in _candidates(text, dialect.examples, exchanges):
        for symbol in (candidate, _turned(candidate)):
            try:
                market = dialect.market(parse_symbol(symbol))
            except SymbolError as error:
                if not (error.right and _takes(dialect, error.right)):
                    continue
                market = dialect.market(parse_symbol(error.right))
            if market.native.casefold() == text.casefold():
                return market.symbol
    return ""


def _turned(text: str) -> str:
    """The pair with its quote first, as upbit and bithumb write it."""
    pair, *settle = text.split(":")
    return ":".join(("/".join(reversed(pair.split("/"))), *settle))


def _takes(dialect: Dialect, text: str) -> bool:
    try:
        dialect.market(parse_symbol(text))
    except SymbolError:
        return False
    return True


def _elsewhere(text: str, dialect: Dialect, exchanges: Mapping[str, Exchange]) -> str:
    """The exchanges that have a market of this kind, if this one has none."""
    try:
        kind = parse_symbol(text).kind
    except SymbolError:
        return ""
    if kind in dialect.ids:
        return ""
    names = [name for name, other in exchanges.items() if kind in other.feed.ids and _takes(other.feed, text)]
    return f' ("{text}" is a symbol of {" and ".join(names)})' if names else ""


def _candidates(text: str, examples: Iterable[str], exchanges: Container[str]) -> Iterator[str]:
    """Unified symbols that `text` may mean, the likeliest first; whether they exist is not checked."""
    quotes = list(dict.fromkeys(parse_symbol(example).quote for example in examples))
    visible = "".join(char for char in unicodedata.normalize("NFKC", text[:_TEXT_CHARS_MAX]) if _is_visible(char))
    visible, *_ = visible.split("@")  # "btcusdt@trade", a stream of Binance
    # A lone name is split if that works in either spelling, before it counts as a base without a quote.
    for words, lone in ((visible, []), (visible.upper(), []), (visible.upper(), quotes)):
        if re.fullmatch(r"t[A-Z0-9]{3,}(:[A-Z0-9]+)?", words):  # Bitfinex: tBTCUSD, tDOGE:USD
            words = words[1:]
        parts = [part for part in re.split(r"[^\w$]+|_", words) if part]
        if len(parts) > 1 and parts[0].lower() in exchanges:  # "BINANCE:BTCUSDT"
            del parts[0]
        if len(parts) > 1 and parts[0] in _FUTURES:
            parts = [*parts[1:], _SWAP[0]]
        alone = re.fullmatch(r"\w+", words) is not None
        for symbol in _readings(parts, lone if alone else []):
            yield str(symbol)


def _is_visible(char: str) -> bool:
    return unicodedata.category(char)[0] not in "CM"


def _readings(parts: list[str], quotes: Iterable[str]) -> Iterator[Symbol]:
    """The symbols that these codes may stand for; a lone code with each of `quotes`."""
    if not parts:
        return
    base, *rest = parts
    marked = bool(rest) and rest[-1] in _SWAP
    if marked:
        del rest[-1]
    elif not rest and (glued := re.fullmatch(r"(\w{2,}?)(?:PERP|SWAP)", base)):
        base, marked = glued[1], True
    if not rest or _is_expiry(rest[0]):
        base, quote = _cut(base)
        rest = [quote, *rest] if quote else rest
    if not rest:
        if marked:
            yield from (Symbol(base, quote, quote) for quote in ("USDC", "USDT"))
        yield from (Symbol(base, quote) for quote in quotes)
        yield from (Symbol(base, quote, quote) for quote in quotes)
        return
    quote, *rest = rest
    if quote[0].isdigit():  # "27DEC24"
        return
    if rest and not _is_expiry(rest[0]):
        marked = True  # BTC/USDT:USDT
        del rest[0]
    settles = (base, quote) if quote == "USD" else (quote, base)
    dated = [part for part in rest if part.isalnum()]
    if dated and _is_expiry(dated[0]):
        expiry, *option = dated
        if len(option) == 2 and option[1] in ("C", "P"):
            yield from (Symbol(base, quote, settle, expiry, *option) for settle in settles)
        yield from (Symbol(base, quote, settle, expiry) for settle in settles)
        marked = True
    if marked:
        yield from (Symbol(base, quote, settle) for settle in settles)
    yield Symbol(base, quote)


def _cut(name: str) -> tuple[str, str]:
    """Base and quote of a name without a separator; no quote if none is known."""
    cuts = [(name.removesuffix(quote), quote) for quote in _QUOTES if name.endswith(quote) and name != quote]
    known = [cut for cut in cuts if cut[0] in _QUOTES]  # "BTCTUSD" is not BTCT in dollars
    return (known or cuts or [(name, "")])[0]


def _is_expiry(part: str) -> bool:
    return re.fullmatch(r"[0-9]{6}", part) is not None
