"""`tickwarden init`: writes a commented configuration, by asking on a terminal or from options."""

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

import click

from actors.exchanges.registry import EXCHANGES
from actors.exchanges.selection import NOT_LISTED
from ops.cli.common import LocalPath, extent
from ops.cli.completing import known_exchanges
from ops.cli.questions import (
    ask_exchanges,
    ask_file,
    ask_symbols,
    file_mistakes,
    is_configuration,
    not_listed,
    stored_lists,
)
from ops.config.checks import Wrong, file_name
from ops.config.config import Config, ConfigErrors, config_of
from ops.config.keys import DEFAULT_SYMBOLS
from ops.config.paths import host_mistakes
from ops.config.starter import default_symbols, starter_toml
from ops.export.target import ExportError, check, place_file, workshop
from ops.export.write_errors import naming
from ops.terminal.exit_codes import FAILED, OK
from ops.terminal.suggestions import did_you_mean

_CONFIG = "tickwarden.toml"  # where every command looks for it
_STORE = "ticks.duckdb"


@click.command(
    epilog="Examples: tickwarden init; tickwarden init --exchange binance --exchange okx --symbol BTC/USDT;"
    " tickwarden init my.toml --exchange kraken=BTC/USD,ETH/USD --exchange bybit='*/USDT:USDT'"
)
@click.argument("path", default=_CONFIG, type=LocalPath(path_type=Path))
@click.option(
    "--exchange",
    "chosen",
    multiple=True,
    metavar="NAME[=SYMBOL,...]",
    shell_complete=known_exchanges,
    help="An exchange to record, and its symbols; may be given again. Without it a terminal is asked.",
)
@click.option(
    "--symbol",
    "symbols",
    multiple=True,
    help="A symbol or wildcard of every exchange that names none of its own; may be given again."
    f" Without any: BTC and ETH on {', '.join(DEFAULT_SYMBOLS)}; BTC on all others.",
)
@click.option(
    "--file",
    "store",
    help=f"The DuckDB file to record into; default: {_STORE} beside the configuration. Where it exists, symbols are"
    " also compared with the exchanges' lists of markets in it.",
)
@click.option("--overwrite", is_flag=True, help="Replace an existing configuration.")
def init(path: Path, chosen: tuple[str, ...], symbols: tuple[str, ...], store: str | None, overwrite: bool) -> int:
    """Write a commented configuration to PATH (./tickwarden.toml): every key with its meaning and default.

    Without --exchange it asks. What it writes passes check-config; an existing file stays, unless --overwrite
    is given.
    """
    asking = not chosen and not symbols
    if asking and not sys.stdin.isatty():
        raise click.UsageError("there is no terminal to ask on: name what to record, like --exchange binance")
    if symbols and not chosen:
        raise click.UsageError(f"--symbol {symbols[0]} of which exchange? Add one, like --exchange binance")
    if path.is_dir():
        raise click.UsageError(f"{path} is a folder; name a file in it, like {path / _CONFIG}")
    target = path.absolute()
    try:
        check(target.parent / _STORE, target, as_folder=False, overwrite=overwrite)
        if asking:
            store = store or ask_file(_STORE, target)
        recorded = _recorded(store, target)
        _check_file(target.parent / recorded, target)
        exchanges = _asked(recorded, target) if asking else _given(chosen, symbols)
        text = starter_toml(exchanges, recorded)
        config = _usable(text, target)
        if not asking:
            _warn(exchanges, config.store.path)
        _write(text, target, overwrite=overwrite)
    except (ExportError, OSError) as error:
        click.echo(str(error), err=True)
        return FAILED
    click.echo(f"wrote {path}: {extent(config)}, into {config.store.path}")
    click.echo(
        "record with: tickwarden run" + ("" if path == Path(_CONFIG) else f" --config {shlex.quote(str(path))}")
    )
    return OK


def _recorded(store: str | None, target: Path) -> str:
    """The store's path as the file names it; one given on the command line starts at the current folder."""
    if store is None or (store == _STORE and target.parent == Path.cwd()):
        return _STORE
    try:
        given = file_name(store)
    except Wrong as error:
        raise click.UsageError(f"--file: got {store!r}, expected {error}") from error
    return str(given) if target.parent == Path.cwd() else str(given.absolute())


def _check_file(path: Path, target: Path) -> None:
    """Raises ExportError and ConfigErrors for a file that cannot be recorded into."""
    if is_configuration(path, target):
        raise ExportError(
            f"{target} is, or contains, the DuckDB file by its own words; give one of them another name"
        )
    if mistakes := file_mistakes(path, target):
        raise ConfigErrors(target, mistakes)


def _asked(recorded: str, target: Path) -> dict[str, list[str]]:
    lists = stored_lists(target.parent / recorded)
    return {name: ask_symbols(name, lists.get(name, NOT_LISTED)) for name in ask_exchanges()}


def _given(chosen: tuple[str, ...], symbols: tuple[str, ...]) -> dict[str, list[str]]:
    """The exchanges of the options with their symbols; whether these can be is checked with the whole file."""
    exchanges: dict[str, list[str]] = {}
    for text in chosen:
        name, equals, own = text.partition("=")
        if name not in EXCHANGES:
            raise click.UsageError(f"there is no exchange {name!r}; {did_you_mean(name, EXCHANGES)}")
        if name in exchanges:
            raise click.UsageError(f"{name} is named twice; give all its symbols at once, like {name}=A/B,C/D")
        words = [word.strip() for word in own.split(",")] if equals else [*symbols] or [*default_symbols(name)]
        exchanges[name] = list(dict.fromkeys(words))
    return exchanges


def _usable(text: str, target: Path) -> Config:
    """The configuration that the text means, if it can work here; raises ConfigErrors as check-config does."""
    config = config_of(text, target)
    if mistakes := list(host_mistakes(config)):
        raise ConfigErrors(target, mistakes)
    return config


def _warn(exchanges: Mapping[str, list[str]], recording: Path) -> None:
    """Symbols that a stored list does not have: perhaps a misspelling, perhaps newer than the list."""
    lists = stored_lists(recording)
    for name, symbols in exchanges.items():
        for doubt in not_listed(name, symbols, lists.get(name, NOT_LISTED)):
            click.echo(f"warning: {doubt}", err=True)


def _write(text: str, target: Path, *, overwrite: bool) -> None:
    with workshop(target) as work, naming(made := work / "made.toml"):
        made.write_text(text, "utf-8")
        place_file(made, target, overwrite=overwrite)
