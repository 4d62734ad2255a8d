"""Converts a parsed TOML document to settings, and collects every mistake."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from actors.exchanges import registry
from actors.exchanges.contract.exchange import Exchange
from actors.exchanges.selection import check_wildcard
from actors.exchanges.spelling import SYMBOLS_MAX, market_of
from actors.model.symbols import SymbolError, is_wildcard
from actors.settings import ExchangeSettings, SupervisionSettings
from ops.config.checks import INT_BITS_MAX, Wrong, exchange_name
from ops.config.keys import EXCHANGE, EXCHANGES, SECTIONS, SUPERVISION, Key
from ops.terminal.suggestions import expected_instead
from supervisor import Backoff, Intensity, PolicyError, check_policy

FOUND_CHARS_MAX = 80


class Mistake(Struct, frozen=True):
    """`key` is the path in the file ("" for the file), `found` the value there, `right` what is expected."""

    key: str
    found: str
    right: str

    def __str__(self) -> str:
        place = f"{self.key}: " if self.key else ""
        return f"{place}got {self.found}, expected {self.right}" if self.found else f"{place}{self.right}"


def shown(value: object) -> str:
    """A value in TOML notation, shortened if it is long."""
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, bool):
        text = str(value).lower()
    elif isinstance(value, str):
        text = '"' + value.encode("unicode_escape").decode().replace('"', '\\"') + '"'
    elif isinstance(value, list):
        text = "[" + ", ".join(shown(item) for item in value) + "]"
    else:
        text = hex(value) if isinstance(value, int) and value.bit_length() > INT_BITS_MAX else str(value)
    return text if len(text) <= FOUND_CHARS_MAX else text[: FOUND_CHARS_MAX - 3] + "..."


def _joined(*parts: str) -> str:
    return ".".join(part if re.fullmatch(r"[\w-]+", part, re.ASCII) else shown(part) for part in parts)


class Reader(Struct):
    """One pass over one document. Relative file names are relative to `base`."""

    base: Path
    mistakes: list[Mistake] = field(default_factory=list)

    def wrong(self, key: str, found: str, right: str) -> None:
        self.mistakes.append(Mistake(key, found, right))

    def unknown(self, name: str, known: Iterable[str], *path: str) -> None:
        """Records that `name` is not a key here, with the nearest one that is."""
        self.wrong(_joined(*path), "an unknown key", expected_instead(name, known) + _elsewhere(name))

    def table(self, value: object, *path: str) -> Mapping[str, object]:
        """`value` if it is a table; otherwise records a mistake and returns an empty one."""
        if isinstance(value, Mapping):
            return value
        self.wrong(_joined(*path), shown(value), f"a table: [{_joined(*path)}]")
        return {}

    def keys(self, table: Mapping[str, object], keys: Mapping[str, Key], *path: str) -> dict[str, Any]:
        """The valid values of `table`; each unknown key and invalid value is a mistake."""
        values: dict[str, Any] = {}
        for name, value in table.items():
            place = _joined(*path, name)
            key = keys.get(name)
            if key is None:
                self.unknown(name, keys, *path, name)
                continue
            try:
                checked = key.check(value)
            except Wrong as error:
                self.wrong(place, shown(value), str(error))
                continue
            values[name] = self.base / checked if isinstance(checked, Path) else checked
        return values

    def supervision(self, values: Mapping[str, Any], above: SupervisionSettings, *path: str) -> SupervisionSettings:
        """The supervision keys of `values` over those `above`; a contradictory pair is a mistake."""
        own = {name: values[name] for name in SUPERVISION if name in values}
        merged = {name: own.get(name, getattr(above, name)) for name in SUPERVISION}
        initial, longest = merged["backoff_initial_s"], merged["backoff_max_s"]
        if initial > longest and own.keys() & {"backoff_initial_s", "backoff_max_s"}:
            name = "backoff_initial_s" if "backoff_initial_s" in own else "backoff_max_s"
            relation = f"backoff_initial_s ({initial:g}) at most backoff_max_s ({longest:g})"
            self.wrong(_joined(*path, name), f"{own[name]:g}", relation)
        elif own:
            self._reachable(SupervisionSettings(**merged), *path)
        return SupervisionSettings(**merged)

    def _reachable(self, policy: SupervisionSettings, *path: str) -> None:
        """Delays so long that restarts_max can never be exceeded would hide a bug for ever."""
        try:
            check_policy(
                Backoff(policy.backoff_initial_s, policy.backoff_max_s, policy.backoff_reset_s),
                Intensity(policy.restarts_max, policy.restarts_period_s),
            )
        except PolicyError as error:
            self.wrong(_joined(*path, "restarts_period_s"), f"{policy.restarts_period_s:g}", str(error))

    def exchange(self, name: str, value: object, above: SupervisionSettings) -> ExchangeSettings | None:
        """One table under [exchanges]; None if it has a mistake."""
        path = (EXCHANGES, name)
        before = len(self.mistakes)
        if right := exchange_name(name):
            self.wrong(_joined(*path), shown(name), right)
        values = self.keys(self.table(value, *path), {**EXCHANGE, **SUPERVISION}, *path)
        supervision = self.supervision(values, above, *path)
        exchange = self._exchange(name, values)
        dialect = exchange.feed if exchange is not None else None
        symbols = self._symbols(values.get("symbols"), exchange, *path, "symbols")
        if "ws_url" in values and "rest_url" not in values and any(map(is_wildcard, symbols)):
            right = "an address: with a ws_url the list that wildcards need is read only from a rest_url"
            self.wrong(_joined(*path, "rest_url"), "nothing", right)
        if isinstance(value, Mapping) and "symbols" not in value:
            self.wrong(_joined(*path, "symbols"), "nothing", 'a list like ["BTC/USDT", "ETH/USDT"]')
        channel = values.get("channel")
        if dialect is not None and channel is not None and channel not in dialect.channels:
            self.wrong(_joined(*path, "channel"), shown(channel), expected_instead(channel, dialect.channels))
        ca_file = values.get("ca_file")
        if ca_file is not None and not ca_file.is_file():
            self.wrong(_joined(*path, "ca_file"), shown(str(ca_file)), "a file that is there")
        if len(self.mistakes) > before or dialect is None:
            return None
        plain = {key: values[key] for key in EXCHANGE if key in values}
        plain.update(name=name, dialect=values.get("dialect", name), symbols=symbols, supervision=supervision)
        return ExchangeSettings(**plain)

    def _exchange(self, name: str, values: Mapping[str, Any]) -> Exchange | None:
        wanted = values.get("dialect", name)
        if wanted in registry.EXCHANGES:
            return registry.EXCHANGES[wanted]
        place = _joined(EXCHANGES, name, "dialect") if "dialect" in values else _joined(EXCHANGES, name)
        right = expected_instead(wanted, registry.EXCHANGES)
        if "dialect" not in values:
            right += '; or dialect = "..." if the table has a name of your own'
        self.wrong(place, f"an unknown dialect, {shown(wanted)}", right)
        return None

    def _symbols(self, symbols: object, exchange: Exchange | None, *path: str) -> tuple[str, ...]:
        """The symbols and wildcards, each known to the exchange and each once."""
        if not isinstance(symbols, tuple):
            return ()
        if len(symbols) > SYMBOLS_MAX:
            self.wrong(_joined(*path), f"{len(symbols)} symbols", f"at most {SYMBOLS_MAX}")
            return ()
        seen: dict[tuple[str, str], str] = {}
        for index, symbol in enumerate(symbols):
            place = f"{_joined(*path)}[{index}]"
            if not isinstance(symbol, str):
                self.wrong(place, shown(symbol), 'text like "BTC/USDT"')
                continue
            try:
                identity = _identity(symbol, exchange)
            except SymbolError as error:
                what = "a wildcard" if is_wildcard(symbol) else "a symbol"
                self.wrong(place, shown(symbol), f"{what} of this exchange: {error}")
                continue
            if identity in seen:
                self.wrong(place, shown(symbol), f"each market once: {shown(seen[identity])} is listed already")
            seen[identity] = symbol
        return tuple(symbol for symbol in symbols if isinstance(symbol, str))


def _identity(symbol: str, exchange: Exchange | None) -> tuple[str, str]:
    """What two symbols of one market have in common. Raises SymbolError."""
    if exchange is None:
        return "", symbol
    if is_wildcard(symbol):
        return "", check_wildcard(symbol, exchange).text
    market = market_of(symbol, exchange.feed, exchanges=registry.EXCHANGES)
    return market.endpoint, market.native


def _elsewhere(name: str) -> str:
    """The table in which a misplaced key belongs."""
    homes = [f"[{section}]" for section, (_, keys) in SECTIONS.items() if name in keys]
    homes += ["[exchanges.NAME]"] if name in EXCHANGE else []
    return f"; {name} belongs under {' or '.join(homes)}" if homes else ""
