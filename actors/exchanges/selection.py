"""Which markets configured symbols and wildcards mean, by the exchange's list of markets where it is known."""

from collections.abc import Container, Iterable, Mapping, Sequence
from difflib import get_close_matches

from msgspec import Struct, field

from actors.exchanges.contract.exchange import Exchange
from actors.exchanges.contract.feed import Market
from actors.exchanges.contract.instruments import Instrument
from actors.exchanges.contract.rest import UNREADABLE
from actors.exchanges.spelling import SYMBOLS_MAX, market_of, markets_of
from actors.model.symbols import (
    Symbol,
    SymbolError,
    Wildcard,
    is_wildcard,
    parse_symbol,
    parse_wildcard,
)

NEAR_MAX = 3  # near misses that are named for a symbol that the exchange does not list
NEAR_SYMBOLS_MAX = 20  # symbols for which near misses are looked for: each takes some milliseconds


class Listed(Struct, frozen=True):
    """An exchange's list of markets, by symbol. Of the kinds in `whole` it has every market that there is."""

    instruments: Mapping[str, Instrument] = field(default_factory=dict)
    whole: Container[str] = ()


NOT_LISTED = Listed()  # nothing is known of the list


class Selection(Struct):
    """The markets to record, by symbol; of each symbol that is left out, why; how many each wildcard matches.

    `problems` is what is wrong with the configured symbols, for people.
    """

    markets: dict[str, Market] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    matched: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def check_symbols(
    texts: Sequence[str],
    exchange: Exchange,
    channel: str = "",
    listed: Listed = NOT_LISTED,
    *,
    exchanges: Mapping[str, Exchange],
) -> None:
    """Raises SymbolError for what cannot be a symbol or wildcard of the exchange, and for a market named twice."""
    for text in filter(is_wildcard, texts):
        check_wildcard(text, exchange)
    if len(set(texts)) < len(texts):
        raise SymbolError(f"{next(text for text in texts if texts.count(text) > 1)!r} stands there twice")
    plain = [text for text in texts if not is_wildcard(text) and text not in listed.instruments]
    markets_of(plain, exchange.feed, channel, exchanges=exchanges)
    if len(texts) > SYMBOLS_MAX:
        raise SymbolError(f"{len(texts):,} symbols of one exchange are more than {SYMBOLS_MAX:,}")


def check_wildcard(text: str, exchange: Exchange) -> Wildcard:
    """Takes a wildcard apart. Raises SymbolError, also for one that can match no market of the exchange."""
    wildcard = parse_wildcard(text)
    if exchange.instruments is None:
        raise SymbolError(f"{text!r}: no list of {exchange.name}'s markets is read, so name each symbol")
    if wildcard.kind not in exchange.feed.ids:
        kinds = " and ".join(exchange.feed.ids)
        raise SymbolError(f"{text!r} matches {wildcard.kind} markets; {exchange.name} records {kinds} markets only")
    return wildcard


def select(
    texts: Iterable[str],
    exchange: Exchange,
    channel: str,
    listed: Listed = NOT_LISTED,
    *,
    exchanges: Mapping[str, Exchange],
) -> Selection:
    """What to record of checked symbols and wildcards.

    Where the list says nothing of a symbol the naming rule counts. Inactive markets are left out, and symbols that
    are not in the list although it has every market of their kind.
    """
    found, seen = Selection(), dict[tuple[str, str], str]()
    wildcards = []
    for text in texts:
        if is_wildcard(text):
            wildcards.append(parse_wildcard(text))
            continue
        try:
            _add(found, seen, _market(text, exchange, channel, listed, len(found.left_out), exchanges))
        except SymbolError as error:
            found.left_out[text] = error.problem
    found.problems += found.left_out.values()
    for wildcard in wildcards:
        symbols = [
            one.symbol
            for one in listed.instruments.values()
            if one.active and wildcard.matches(one.kind, one.base, one.quote, one.settle)
        ]
        found.matched[wildcard.text] = 0
        for symbol in sorted(symbols):
            try:
                _add(found, seen, exchange.feed.market_listed(listed.instruments[symbol], channel))
            except TooManySymbols as error:
                found.problems.append(f"{wildcard.text}: {error.problem}")
                break
            except UNREADABLE:
                continue  # of a form that is not recorded, or another name of a market that is
            found.matched[wildcard.text] += 1
        if not symbols:
            known = f"matches no market that {exchange.name} lists" if listed.instruments else "waits for the list"
            found.problems.append(f"{wildcard.text} {known}")
    return found


class TooManySymbols(SymbolError):
    """A wildcard matches more markets than one exchange may have."""


def _add(found: Selection, seen: dict[tuple[str, str], str], market: Market) -> None:
    place = (market.endpoint, market.native)
    other = seen.setdefault(place, market.symbol)
    if other != market.symbol:
        raise SymbolError(f"{market.symbol} is the same market as {other}")
    if len(seen) > SYMBOLS_MAX:
        del seen[place]
        raise TooManySymbols(f"more than {SYMBOLS_MAX:,} markets are selected; those beyond are not recorded")
    found.markets[market.symbol] = market


def _market(
    text: str,
    exchange: Exchange,
    channel: str,
    listed: Listed,
    unlisted: int,
    exchanges: Mapping[str, Exchange],
) -> Market:
    instrument = listed.instruments.get(text)
    if instrument is not None and instrument.active:
        try:
            return exchange.feed.market_listed(instrument, channel)
        except UNREADABLE:
            return market_of(text, exchange.feed, channel, exchanges=exchanges)
    if instrument is not None:
        raise SymbolError(f"{text}: {exchange.name} does not trade it at present, as its list says")
    symbol = parse_symbol(text)
    if symbol.kind not in listed.whole:
        return market_of(text, exchange.feed, channel, exchanges=exchanges)
    near = _near(symbol, listed) if unlisted < NEAR_SYMBOLS_MAX else []
    raise SymbolError(
        f"{text}: {exchange.name} does not list it" + (f"; it lists {', '.join(near)}" if near else "")
    )


def _near(symbol: Symbol, listed: Listed) -> list[str]:
    """Symbols of active markets that may be meant: another spelling of the coin, or another market of it."""
    kind, text = symbol.kind, str(symbol)
    active = [one for one in listed.instruments.values() if one.active and one.kind == kind]
    quoted = {one.base: one.symbol for one in active if one.quote == symbol.quote}
    near = [quoted[base] for base in get_close_matches(symbol.base, sorted(quoted), NEAR_MAX, cutoff=0.7)]
    near += [one.symbol for one in active if one.base == symbol.base]
    return get_close_matches(text, sorted(set(near)), NEAR_MAX, cutoff=0.0)
