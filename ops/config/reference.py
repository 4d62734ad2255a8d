"""The built-in configuration as a commented TOML file, printed from the same table that reads it."""

from collections.abc import Iterator, Mapping

from ops.config.keys import DEFAULT_SYMBOLS, EXCHANGE, EXCHANGES, SECTIONS, Key
from ops.config.reader import shown

HELP_COLUMN = 38
_NOTES = {"supervision": "each key may stand in a table under [exchanges] too, for that exchange alone"}


def default_toml() -> str:
    """A file that means exactly what no file means; what has no default is shown, commented out."""
    lines = ["# Tickwarden's configuration. Every key with its default; unknown keys are errors."]
    for section, (_, keys) in SECTIONS.items():
        note = f"  # {_NOTES[section]}" if section in _NOTES else ""
        lines += ["", f"[{section}]{note}", *_section(keys)]
    for index, (name, symbols) in enumerate(DEFAULT_SYMBOLS.items()):
        lines += ["", f"[{EXCHANGES}.{name}]", f"symbols = {shown(list(symbols))}"]
        if index == 0:  # the other keys are explained once
            lines += _section({key: spec for key, spec in EXCHANGE.items() if key != "symbols"})
    return "\n".join(lines) + "\n"


def _section(keys: Mapping[str, Key]) -> Iterator[str]:
    for name, key in keys.items():
        if key.default is not None:
            yield f"{name} = {_toml(key.default)}".ljust(HELP_COLUMN) + f"# {key.help}"
        else:
            yield f"# {name} = {_toml(key.sample)}".ljust(HELP_COLUMN) + f"# {key.help}"


def _toml(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 10_000:
        return f"{value:_}"
    return shown(value)
