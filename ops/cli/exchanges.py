"""`tickwarden exchanges`: what each exchange offers, promises and limits."""

import math
import sys

import click

from actors.exchanges.contract.exchange import Exchange
from actors.exchanges.registry import EXCHANGES
from ops.cli.common import json_option, print_json
from ops.cli.completing import known_exchanges
from ops.terminal.exit_codes import OK
from ops.terminal.layout import Fit, wrapped
from ops.terminal.output import PIPE_COLUMNS, terminal_width, write_table
from ops.terminal.suggestions import did_you_mean

COLUMNS = (
    *("name", "markets", "trade ids", "history", "proven by", "time"),
    *("old trades on subscribe", "per connection", "requests/s", "as of"),
)
_FIT = Fit(
    drop=("requests/s", "per connection", "as of", "old trades on subscribe", "time"),
    shorten=("trade ids", "history", "old trades on subscribe"),
    text_width_min=12,
)


@click.command(
    epilog="proven by: a recording of the stream, a published sample of it, or the exchange's documents alone."
    " per connection: markets. time: the resolution of the times of trades. as of: when the facts were read."
)
@click.argument("name", required=False, shell_complete=known_exchanges)
@json_option
def exchanges(name: str | None, as_json: bool) -> int:
    """What each exchange offers and promises: markets, trade ids, history, limits; with NAME, all about one."""
    if name is not None and name not in EXCHANGES:
        raise click.UsageError(f"there is no exchange {name!r}; {did_you_mean(name, EXCHANGES)}")
    chosen = [EXCHANGES[name]] if name else list(EXCHANGES.values())
    if as_json:
        print_json([_facts(exchange) for exchange in chosen])
    elif name:
        room = terminal_width(sys.stdout) or PIPE_COLUMNS
        for key, value in _facts(chosen[0]).items():
            lines = [str(part) for part in value] if isinstance(value, list) else [str(value)]
            parts = [part for line in lines for part in wrapped(line, max(room - 26, 20))]
            for head, part in zip((key, *[""] * len(parts)), parts, strict=False):
                click.echo(f"{head:>24}  {part}".rstrip())
    else:
        write_table(COLUMNS, map(_row, chosen), sys.stdout, fit=_FIT)
    return OK


def _row(exchange: Exchange) -> tuple[object, ...]:
    """What a user chooses an exchange by, in the order of COLUMNS."""
    feed, history = exchange.feed, exchange.history
    return (
        exchange.name,
        " ".join(feed.ids),
        "/".join(dict.fromkeys(promise.value for promise in feed.ids.values())),
        _short(history.depth) if history is not None else "none",
        "docs" if exchange.proven == "documentation" else exchange.proven,
        feed.resolution,
        _short(feed.replay_note),
        feed.limits.symbols_per_connection,
        f"{feed.limits.requests_per_s:g}",
        feed.doc_read,
    )


def _short(text: str) -> str:
    """Without what is added behind a semicolon or in brackets."""
    return text.partition(";")[0].partition(" (")[0].removeprefix("the ")


def _summary(exchange: Exchange) -> str:
    return exchange.history.summary if exchange.history is not None else "none"


def _given_back(exchange: Exchange) -> dict[str, object]:
    """Which missed trades can be recovered, and which cannot."""
    history = exchange.history
    if history is None:
        return {"history_kind": "none", "history_depth": "nothing: missed trades are lost", "history_notes": []}
    return {
        "history_kind": history.kind.value,
        "history_depth": history.depth,
        "history_notes": list(history.notes),
    }


def _facts(exchange: Exchange) -> dict[str, object]:
    dialect, limits = exchange.feed, exchange.feed.limits
    return {
        "name": exchange.name,
        "title": exchange.title,
        "markets": dialect.markets_note,
        "channels": list(dialect.channels),
        "trade_ids": {kind: promise.value for kind, promise in dialect.ids.items()},
        "trade_ids_note": dialect.ids_note,
        "history": _summary(exchange),
        **_given_back(exchange),
        "time_resolution": dialect.resolution,
        "old_trades_on_subscribe": dialect.replay_note,
        "ping": dialect.ping_note,
        "silence_s": dialect.silence_s,
        "connection_lifetime_s": dialect.lifetime_s,
        "symbols_per_connection": limits.symbols_per_connection,
        "connections_max": None if limits.connections_max == math.inf else int(limits.connections_max),
        "symbols_per_request": limits.symbols_per_request,
        "requests_per_s": limits.requests_per_s,
        "connects_per_s": limits.connects_per_s,
        "message_bytes_max": limits.message_bytes,
        "notes": list(dialect.notes),
        "proven_by": exchange.proven,
        "doc": dialect.doc,
        "doc_read": dialect.doc_read,
    }
