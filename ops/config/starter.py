"""A commented configuration to begin with: what was chosen, and every other key with its meaning and default."""

import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence

from actors.exchanges.registry import EXCHANGES as KNOWN
from ops.config.keys import DEFAULT_SYMBOLS, EXCHANGE, EXCHANGES, SECTIONS, Key
from ops.config.reference import toml_value

_HEAD = """\
# What Tickwarden records. `tickwarden check-config` reports every mistake, `tickwarden run` records.
# A key behind "# " is not set: the value that stands there is its default, or a sample where it has none.
"""
_WIDTH = 100
_SYMBOLS_ON_A_LINE = 6


def default_symbols(name: str) -> tuple[str, ...]:
    """What is recorded of an exchange for which nobody has chosen."""
    return DEFAULT_SYMBOLS.get(name) or KNOWN[name].feed.examples[:1]


def starter_toml(exchanges: Mapping[str, Sequence[str]], store: str) -> str:
    """The file for these symbols of these exchanges, recorded into `store`."""
    lines = [_HEAD]
    for section, (_, keys) in SECTIONS.items():
        lines += [f"[{section}]", *_keys(keys, {"path": _text(store)} if section == "store" else {}), ""]
    for index, (name, symbols) in enumerate(exchanges.items()):
        one = KNOWN[name]
        lines += [*_comment(f"{one.title}: {one.feed.markets_note}"), f"[{EXCHANGES}.{name}]"]
        shown = EXCHANGE if index == 0 else {"symbols": EXCHANGE["symbols"]}  # the other keys are shown once
        lines += [*_keys(shown, {"symbols": _list(symbols)}, comments=index == 0), ""]
    return "\n".join(lines)


def _keys(keys: Mapping[str, Key], chosen: Mapping[str, str], *, comments: bool = True) -> Iterator[str]:
    for name, key in keys.items():
        if comments:
            yield from _comment(key.help)
        if name in chosen:
            yield f"{name} = {chosen[name]}"
        else:
            yield f"# {name} = {toml_value(key.sample if key.default is None else key.default)}"


def _comment(text: str) -> Iterator[str]:
    yield from (f"# {line}" for line in textwrap.wrap(text, _WIDTH, break_on_hyphens=False))


def _list(symbols: Sequence[str]) -> str:
    texts = [_text(symbol) for symbol in symbols]
    if len(texts) <= _SYMBOLS_ON_A_LINE:
        return f"[{', '.join(texts)}]"
    return "[\n" + "".join(f"    {text},\n" for text in texts) + "]"


def _text(value: str) -> str:
    """Every JSON string is a TOML string, but for DEL."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
