"""The configuration reference, ops/docs/configuration.md, generated from the keys that the reader checks.

`python -m ops.config.reference > ops/docs/configuration.md` writes the page; a test compares the two.
"""

import sys
from collections.abc import Iterator, Mapping

from ops.config.checks import Wrong
from ops.config.keys import DEFAULT_SYMBOLS, EXCHANGE, EXCHANGES, SECTIONS, Key
from ops.config.reader import shown

_INTRODUCTION = """# Configuration

`tickwarden check-config` reports every mistake in a configuration with its key and what is expected instead.
Run it as the user of the service: it also checks the paths, the group and the port on this host. An unknown key
is an error that names the nearest known key.

The file is the first of these that exists: that of `--config`, that of `$TICKWARDEN_CONFIG`,
 `./tickwarden.toml`, `$XDG_CONFIG_HOME/tickwarden/config.toml` (`~/.config` where that variable is not
set). Without a file the built-in default applies: BTC and ETH on five exchanges, recorded into
`./ticks.duckdb`. Relative paths start at the folder of the file. `tickwarden reload` and SIGHUP apply a changed
file to a running service.

A file in UTF-8 TOML. Symbols are written as ccxt writes them: spot `BTC/USDT`, linear perpetual
`BTC/USDT:USDT`, inverse perpetual `BTC/USD:BTC`. A symbol in another spelling (`BTCUSDT`, `XBTUSD`,
`BTC-USDT-SWAP`) is rejected with the spelling that the exchange accepts. `tickwarden exchanges` lists the
dialects; `dialect = "binance"` lets a table under `[exchanges]` have a name of its own. Where `ws_url` points
somewhere else, history is requested only if `rest_url` does too.
"""

_WILDCARDS = """### Wildcards

`*` stands for a whole code: `"*/USDT"` for all spot markets in USDT, `"BTC/*"` for all spot markets of BTC,
`"*/USDT:USDT"` for all perpetuals settled in USDT, `"BTC/USD:BTC-*"` for all dated futures of that kind. They
are resolved from the exchange's list of markets, at start and whenever the list is read: new listings start by
themselves, delisted markets end without a gap. At most 5,000 markets of one exchange are recorded; symbols that
are written out come first. Until an exchange's list has been read once, its wildcards wait and its other symbols
are recorded. `tickwarden status` shows how many markets each wildcard matches (`wildcards` with `--json`),
`tickwarden instruments` lists all that there are. Wildcards can be added and removed live, like symbols.
"""

_TABLES = {
    "store": "the DuckDB file",
    "control": "the control socket, see [control-socket.md](control-socket.md)",
    "log": "the log on stderr",
    "lake": "Delta tables in a folder or on object storage, shared by many recorders, see [lake.md](lake.md)",
    "supervision": "restarts; each key may stand in a table under `[exchanges]` too, for that exchange alone",
}


def reference() -> str:
    """The page as Markdown, with the built-in configuration as a file."""
    parts = [_INTRODUCTION]
    parts += [_table(f"[{name}]", _TABLES[name], keys) for name, (_, keys) in SECTIONS.items()]
    parts.append(_table(f"[{EXCHANGES}.NAME]", "one table for each exchange", EXCHANGE))
    parts.append(_WILDCARDS)
    parts.append("## The built-in default as a file\n")
    parts.append(f"```toml\n{default_toml()}```\n")
    return "\n".join(parts)


def default_toml() -> str:
    """The built-in default as a commented TOML file; a key without a default is commented out, with a sample."""
    lines = ["# Every key with its default."]
    for section, (_, keys) in SECTIONS.items():
        lines += ["", f"[{section}]", *_assignments(keys)]
    for index, (name, symbols) in enumerate(DEFAULT_SYMBOLS.items()):
        lines += ["", f"[{EXCHANGES}.{name}]", f"symbols = {shown(list(symbols))}"]
        if index == 0:  # the other keys are shown once
            lines += _assignments({key: spec for key, spec in EXCHANGE.items() if key != "symbols"})
    return "\n".join(lines) + "\n"


def _table(title: str, about: str, keys: Mapping[str, Key]) -> str:
    head = [f"## `{title}`", "", f"{about[0].upper()}{about[1:]}.", "", "| key | default | expected | meaning |"]
    rows = (f"| {name} | {_default(key)} | {_expected(key)} | {key.help} |" for name, key in keys.items())
    return "\n".join([*head, "|---|---|---|---|", *rows]) + "\n"


def _default(key: Key) -> str:
    return "" if key.default is None else f"`{toml_value(key.default)}`"


def _expected(key: Key) -> str:
    """The expectation of the check, taken from its own message."""
    try:
        key.check(object())  # not a TOML value: every check rejects it
    except Wrong as error:
        return str(error)
    raise AssertionError(f"{key} accepts anything")


def _assignments(keys: Mapping[str, Key]) -> Iterator[str]:
    for name, key in keys.items():
        yield (
            f"# {name} = {toml_value(key.sample)}" if key.default is None else f"{name} = {toml_value(key.default)}"
        )


def toml_value(value: object) -> str:
    """A key's value as it stands in a file; large numbers are grouped."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 10_000:
        return f"{value:_}"
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{name} = {shown(inner)}' for name, inner in value.items())} }}"
    return shown(value)


if __name__ == "__main__":
    sys.stdout.write(reference())
