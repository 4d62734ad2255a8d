"""What `tickwarden init` asks on a terminal: each answer is checked at once, and a wrong one asked for again."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

import click

from actors.exchanges.contract.instruments import Instrument
from actors.exchanges.registry import EXCHANGES
from actors.exchanges.selection import Listed, select
from actors.model.errors import DatabaseLocked
from actors.settings import StoreSettings, SupervisionSettings
from ops.cli.instruments import NEWEST
from ops.config.checks import Wrong, file_name
from ops.config.keys import DEFAULT_SYMBOLS
from ops.config.paths import place_mistakes, store_mistakes
from ops.config.reader import Mistake, Reader, shown
from ops.config.starter import default_symbols
from ops.export.query import QueryError, run_query
from ops.terminal.suggestions import did_you_mean

_LIST_WAIT_S = 2.0  # the service has the file locked for some tens of milliseconds
_SHOWN_MAX = 60


def ask_file(default: str, config: Path) -> str:
    """The DuckDB file to record into, one that can be, for the configuration at this path."""
    while True:
        text = _asked("The DuckDB file to record into", default)
        try:
            path = file_name(text).absolute()
        except Wrong as error:
            _say(f"expected {error}")
            continue
        mistakes = file_mistakes(path, config)
        for mistake in mistakes:
            _say(f"got {mistake.found}, expected {mistake.right}")
        if not mistakes:
            return text


def is_configuration(path: Path, config: Path) -> bool:
    """Whether the path is that of the configuration, or leads through it, which is no folder."""
    real, target = Path(os.path.realpath(path)), Path(os.path.realpath(config))
    return target in (real, *real.parents)


def file_mistakes(path: Path, config: Path) -> list[Mistake]:
    """Why the service of the configuration at `config` could not record into the file, as check-config reports."""
    if is_configuration(path, config):
        return [Mistake("store.path", shown(str(path)), "another file than the configuration")]
    store = StoreSettings(path=path)
    return list(place_mistakes(store, path.with_name(path.name + ".sock"))) or list(store_mistakes(store))


def ask_exchanges() -> list[str]:
    """The names of the exchanges."""
    _say("Which exchanges? Names with blanks between them; ? lists all.")
    while True:
        text = _asked("Exchanges", " ".join(DEFAULT_SYMBOLS))
        if text == "?":
            for name, one in EXCHANGES.items():
                _say(f"  {name:18}{one.feed.markets_note}")
            continue
        names = list(dict.fromkeys(_words(text)))
        unknown = [name for name in names if name not in EXCHANGES]
        for name in unknown:
            _say(f"there is no exchange {name!r}; {did_you_mean(name, EXCHANGES)}")
        if names and not unknown:
            return names


def ask_symbols(name: str, listed: Listed) -> list[str]:
    """The symbols and wildcards of one exchange."""
    one = EXCHANGES[name]
    count = f", {len(listed.instruments):,} markets in the list" if listed.instruments else ""
    _say(f"{one.title}: {one.feed.markets_note}{count}. ? and a part of a name, such as ?ETH, lists what there is.")
    while True:
        text = _asked(f"Symbols of {name}", " ".join(default_symbols(name)))
        if text.startswith("?"):
            _show_listed(name, text[1:].strip(), listed)
            continue
        symbols = list(dict.fromkeys(_words(text)))
        mistakes = symbol_mistakes(name, symbols)
        for mistake in mistakes:
            _say(mistake)
        if mistakes or not symbols:
            continue
        doubts = not_listed(name, symbols, listed)
        for doubt in doubts:
            _say(doubt)
        if not doubts or click.confirm("Keep them all the same?", default=False, err=True):
            return symbols


def symbol_mistakes(name: str, symbols: list[str]) -> list[str]:
    """What the naming rules of the exchange refuse, and what they accept instead."""
    reader = Reader(Path())
    reader.exchange(name, {"symbols": symbols}, SupervisionSettings())
    return [f"got {mistake.found}, expected {mistake.right}" for mistake in reader.mistakes]


def not_listed(name: str, symbols: list[str], listed: Listed) -> list[str]:
    """What the exchange's list, as stored, does not have, with what it has instead."""
    if not listed.instruments:
        return []
    return select(symbols, EXCHANGES[name], "", listed, exchanges=EXCHANGES).problems


def stored_lists(path: Path) -> Mapping[str, Listed]:
    """Each exchange's list of markets in a recording; none where there is no file, or none that can be read."""
    if not path.is_file():
        return {}
    try:
        result = run_query(path, NEWEST, values=[None, None, None], timeout_s=_LIST_WAIT_S)
    except (QueryError, DatabaseLocked) as error:
        _say(f"no list of markets could be read ({error}); only the spelling of symbols is checked")
        return {}
    found: dict[str, dict[str, Instrument]] = {}
    for row in result.rows:
        exchange, symbol, native, kind, base, quote, settle, unit, size, price_step, volume_step, active, *rest = (
            row
        )
        _, price_scale, volume_scale = rest
        steps = [None if value is None else str(value) for value in (size, price_step, volume_step)]
        found.setdefault(exchange, {})[symbol] = Instrument(
            symbol=symbol,
            native=native,
            kind=kind,
            base=base,
            quote=quote,
            settle=settle or "",
            volume_unit=unit,
            contract_size=steps[0],
            price_step=steps[1],
            volume_step=steps[2],
            active=active,
            price_scale=price_scale,
            volume_scale=volume_scale,
        )
    return {name: Listed(markets, {one.kind for one in markets.values()}) for name, markets in found.items()}


def _show_listed(name: str, part: str, listed: Listed) -> None:
    symbols = [one.symbol for one in listed.instruments.values() if one.active and part.upper() in one.symbol]
    if symbols:
        more = f" and {len(symbols) - _SHOWN_MAX:,} more" if len(symbols) > _SHOWN_MAX else ""
        _say("  " + " ".join(sorted(symbols)[:_SHOWN_MAX]) + more)
    elif listed.instruments:
        _say(f"{name} lists nothing with {part!r} in it")
    else:
        _say(
            f"no list of {name}'s markets is at hand: it is stored when {name} is recorded. Symbols are like "
            + ", ".join(EXCHANGES[name].feed.examples)
        )


def _words(text: str) -> list[str]:
    return [word for word in re.split(r"[\s,]+", text) if word]


def _asked(question: str, default: str) -> str:
    return str(click.prompt(question, default=default, err=True)).strip()


def _say(text: str) -> None:
    click.echo(text, err=True)
