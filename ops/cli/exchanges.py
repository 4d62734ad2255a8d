"""`tickwarden exchanges`: what each exchange offers, promises and limits."""

import sys

import click

from actors.exchanges.contract.exchange import Exchange
from actors.exchanges.registry import EXCHANGES
from ops.cli.common import json_option, print_json
from ops.terminal.exit_codes import OK
from ops.terminal.layout import wrapped
from ops.terminal.output import PIPE_COLUMNS, terminal_width, write_table
from ops.terminal.suggestions import did_you_mean


@click.command()
@click.argument("name", required=False)
@json_option
def exchanges(name: str | None, as_json: bool) -> int:
    """What each exchange offers and promises: markets, limits, pings, trade ids, history."""
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
    elif width := terminal_width(sys.stdout):
        for exchange in chosen:
            about = (
                f"records {exchange.feed.markets_note}",
                f"trade ids: {exchange.feed.ids_note}",
                f"history: {_summary(exchange)}",
            )
            click.echo(f"{exchange.name} ({exchange.title})")
            for line in (line for text in about for line in wrapped(f"  {text}", width, "    ")):
                click.echo(line)
    else:
        columns = ["name", "markets", "trade ids", "history"]
        rows = [(each.name, each.feed.markets_note, each.feed.ids_note, _summary(each)) for each in chosen]
        write_table(columns, rows, sys.stdout)
    return OK


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
        "symbols_per_request": limits.symbols_per_request,
        "requests_per_s": limits.requests_per_s,
        "connects_per_s": limits.connects_per_s,
        "message_bytes_max": limits.message_bytes,
        "notes": list(dialect.notes),
        "proven_by": exchange.proven,
        "doc": dialect.doc,
        "doc_read": dialect.doc_read,
    }
