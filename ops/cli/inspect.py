"""`tickwarden status` and `tickwarden actors`: health, through the control socket."""

import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from ops.cli.common import client, config_option, json_option, print_json, socket_option
from ops.exits import OK
from ops.tables import write_table


@click.command()
@config_option
@socket_option
@json_option
def status(config_path: Path | None, socket_path: Path | None, as_json: bool) -> int:
    """Is it recording? The store and every exchange at a glance."""
    with client(config_path, socket_path) as service:
        said: Any = service.get("/v1/status")
    if as_json:
        print_json(said)
        return OK
    click.echo(f"{said['state']}  tickwarden {said['version']}, pid {said['pid']}, up {since(said['started_at'])}")
    for reason in said["reasons"]:
        click.echo(f"  ! {reason}")
    click.echo(_store_line(said["store"]))
    columns = [
        "exchange",
        "state",
        "conn",
        "last tick",
        "received",
        "stored",
        "dup",
        "rejected",
        "in flight",
        "gaps",
        "lag p50",
        "lag p99",
    ]
    write_table(columns, [_exchange_row(name, row) for name, row in said["exchanges"].items()], sys.stdout)
    return OK


def _store_line(store: Mapping[str, Any]) -> str:
    text = (
        f"{store['path']}: flushed {since(store['last_flush_at'])} ago, merged {since(store['last_merge_at'])} ago"
    )
    text += f", {store['segments']} segments in the tail ({store['segment_bytes'] / 1e6:.1f} MB)"
    if store["held"]:
        who = f"process {store['held_by_pid']}" if store["held_by_pid"] else "another process"
        text += f"; {who} has the file open, merging waits for it"
    return text


def _exchange_row(name: str, row: Mapping[str, Any]) -> tuple[object, ...]:
    return (
        name,
        row["state"],
        f"{row['connections']}/{row['connections_wanted']}",
        since(row["last_tick_at"]),
        row["received"],
        row["stored"],
        row["duplicates"],
        row["rejected"],
        row["in_flight"],
        row["gaps_open"],
        _milliseconds(row["lag_ms_p50"]),
        _milliseconds(row["lag_ms_p99"]),
    )


@click.command()
@config_option
@socket_option
@json_option
def actors(config_path: Path | None, socket_path: Path | None, as_json: bool) -> int:
    """Every actor: state, restarts, what it last died of, and how full its mailbox is."""
    with client(config_path, socket_path) as service:
        said: Any = service.get("/v1/actors")
    if as_json:
        print_json(said)
        return OK
    depth = {None: 0}
    rows = []
    for actor in said:
        depth[actor["name"]] = depth.get(actor["parent"], 0) + 1
        box = actor["mailbox"]
        rows.append(
            (
                "  " * (depth[actor["name"]] - 1) + actor["name"],
                actor["state"],
                since(actor["since"]),
                actor["restarts"],
                f"{box['depth']}/{box['capacity']}" if box else "",
                actor["handled"],
                actor["reason"] or actor["last_error"] or "",
            )
        )
    write_table(["actor", "state", "since", "restarts", "mailbox", "handled", "why"], rows, sys.stdout)
    return OK


def since(instant: str | None) -> str:
    """How long ago, in one unit that a person reads; "-" for None."""
    if instant is None:
        return "-"
    seconds = (datetime.now(UTC) - datetime.fromisoformat(instant)).total_seconds()
    if seconds < 100:
        return f"{max(0.0, seconds):.1f}s"
    minutes, hours, days = seconds / 60, seconds / 3600, seconds / 86400
    if minutes < 100:
        return f"{minutes:.0f}min"
    return f"{hours:.0f}h" if hours < 72 else f"{days:.0f}d"


def _milliseconds(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}ms"
