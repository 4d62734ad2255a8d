"""Checks the exchanges and markets that a command is limited to: unknown ones are wrong use, no empty answer.

Known is what the file has, or the configuration that records into it, or the running service.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import duckdb

from actors.model.symbols import is_wildcard
from ops.cli.common import configuration
from ops.client.tick import TickFilter
from ops.config.config import ConfigErrors
from ops.export.query import holds_ticks, reading
from ops.terminal.suggestions import did_you_mean, nearest

Markets = Mapping[str, set[str]]  # the symbols of each exchange; wildcards for those that are not known yet
_SMALL = ("feeds", "gaps")  # have nearly every market; the table of ticks is large
_LISTED_MAX = 12


def check_recorded(
    path: Path,
    config_path: Path | None,
    exchanges: Sequence[str],
    symbols: Sequence[str] = (),
    *,
    timeout_s: float,
) -> None:
    """Raises click.UsageError for an exchange or market that neither the file knows nor its configuration.

    Raises QueryError and DatabaseLocked, too.
    """
    if not exchanges and not symbols:
        return
    configured = _configured(path, config_path)
    with reading(path, timeout_s=timeout_s) as con:
        if not holds_ticks(con):
            return  # the query itself reports that
        listed, problem = _markets(con, ["instruments"]), None
        for tables in (_SMALL, (*_SMALL, "ticks")):
            known = {name: set[str]() for name in listed}
            for name, found in _markets(con, tables).items():
                known.setdefault(name, set()).update(found)
            for name, texts in configured.items():
                known.setdefault(name, set()).update(_resolved(texts, listed.get(name)))
            problem = _problem(known, exchanges, symbols, f"in {path}")
            if problem is None:
                return
    if problem is not None:
        raise problem


def check_served(status: Mapping[str, Any], exchange: str, symbol: str) -> None:
    """Raises click.UsageError for an exchange or market that the service of this /v1/status does not record."""
    served = {name: row for name, row in status["exchanges"].items() if exchange in ("", name)}
    for name, row in served.items():
        if why := row["left_out"].get(symbol):
            raise click.UsageError(f"{why}; `tickwarden instruments {name}` lists its markets")
    known = {
        name: {*row["symbols"], *(text for text, count in row["wildcards"].items() if not count)}
        for name, row in status["exchanges"].items()
    }
    problem = _problem(known, [exchange] if exchange else [], [symbol] if symbol else [], "recorded now")
    if problem is not None:
        raise problem


def check_exchange(exchange: str | None, known: Iterable[str], where: str) -> None:
    """Raises click.UsageError for an exchange that is none of these."""
    problem = _problem({name: set() for name in known}, [exchange] if exchange else [], [], where)
    if problem is not None:
        raise problem


def _problem(
    known: Markets, exchanges: Sequence[str], symbols: Sequence[str], where: str
) -> click.UsageError | None:
    """What is unknown, and what is known instead."""
    for name in exchanges:
        if name not in known:
            return click.UsageError(f"no exchange {name!r} is {where}; {_instead(name, known)}")
    texts = set[str]().union(*(known[name] for name in exchanges or known))
    of = f" of {' and '.join(exchanges)}" if exchanges else ""
    for symbol in symbols:
        if symbol not in texts and not any(_matches(symbol, text) for text in texts):
            return click.UsageError(f"no market {symbol!r}{of} is {where}; {_instead(symbol, texts)}")
    return None


def _instead(word: str, known: Iterable[str]) -> str:
    names = list(known)
    if not names:
        return "nothing is known there yet"
    if nearest(word, names) is None and len(names) > _LISTED_MAX:
        return f"{len(names):,} others are; `tickwarden coverage` lists what is recorded"
    return did_you_mean(word, names)


def _matches(one: str, other: str) -> bool:
    """Whether one of them is a wildcard that stands for the other, or may stand for some of the same markets."""
    if is_wildcard(one) and is_wildcard(other):
        return True
    return (is_wildcard(one) and TickFilter((), (one,)).matches("", other)) or (
        is_wildcard(other) and TickFilter((), (other,)).matches("", one)
    )


def _configured(path: Path, config_path: Path | None) -> dict[str, tuple[str, ...]]:
    """The configured symbols of each exchange, if it is this file that they are recorded into."""
    try:
        config = configuration(config_path)
    except (ConfigErrors, OSError):  # a file needs no configuration to be read
        return {}
    if config.store.path.resolve() != path.resolve():
        return {}
    return {name: one.symbols for name, one in config.exchanges.items()}


def _resolved(texts: Iterable[str], listed: set[str] | None) -> set[str]:
    """The symbols, and those of the exchange's list that the wildcards match, which stay while there is none."""
    found = set[str]()
    for text in texts:
        if is_wildcard(text) and listed:
            found.update(symbol for symbol in listed if _matches(text, symbol))
        else:
            found.add(text)
    return found


def _markets(con: duckdb.DuckDBPyConnection, tables: Iterable[str]) -> dict[str, set[str]]:
    """The symbols of each exchange in those of these tables that the file has."""
    there = {name for (name,) in con.execute("SELECT table_name FROM information_schema.tables").fetchall()}
    found: dict[str, set[str]] = {}
    for table in there.intersection(tables):
        for exchange, symbol in con.execute(f"SELECT DISTINCT exchange, symbol FROM {table}").fetchall():
            found.setdefault(exchange, set()).add(symbol)
    return found
