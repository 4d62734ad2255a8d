"""`tickwarden status` and `tickwarden actors`: health, through the control socket."""

import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from ops.cli.common import client, config_option, json_option, print_json, socket_option
from ops.terminal.exit_codes import OK
from ops.terminal.layout import Fit, reason_for_people, shortened, wrapped
from ops.terminal.output import terminal_width, write_table
from supervisor.text import REASON_CHARS_MAX, printable

REASONS_MAX = 5  # on a terminal; problems must not push the table out of sight
REASON_LINES = 2
EXCHANGES = Fit(
    drop=("lag p99", "in flight", "dup", "lag p50", "rejected", "received", "conn"),
)
ACTORS = Fit(drop=("handled", "mailbox", "since", "restarts"), shorten=("why",), text_width_min=36)
Rows = tuple[Sequence[str], list[tuple[object, ...]]]


@click.command()
@config_option
@socket_option
@json_option
def status(config_path: Path | None, socket_path: Path | None, as_json: bool) -> int:
    """Is it recording? The store and every exchange at a glance."""
    answer: Any = client(config_path, socket_path).get("/v1/status")
    if as_json:
        print_json(answer)
        return OK
    width = terminal_width(sys.stdout)
    for line in headline(answer, width):
        click.echo(line)
    write_table(*exchange_rows(answer), sys.stdout, fit=EXCHANGES)
    for line in wildcard_lines(answer):
        click.echo(line)
    return OK


@click.command()
@config_option
@socket_option
@json_option
def actors(config_path: Path | None, socket_path: Path | None, as_json: bool) -> int:
    """Every actor: state, restarts, last error, and how full its mailbox is."""
    answer: Any = client(config_path, socket_path).get("/v1/actors")
    if as_json:
        print_json(answer)
    else:
        write_table(*actor_rows(answer), sys.stdout, fit=ACTORS)
    return OK


def headline(answer: Mapping[str, Any], width: int | None = None) -> list[str]:
    """The service in a few lines of at most `width`: its state, its problems, and the store."""
    texts = map(reason_for_people, answer["reasons"])
    if width is None:
        return _headline({**answer, "reasons": list(texts)})
    reasons = [printable(text, REASON_CHARS_MAX) for text in texts]
    plain = {**answer, "reasons": [shortened(reason, REASON_LINES * (width - 8)) for reason in reasons]}
    if len(plain["reasons"]) > REASONS_MAX:
        left = len(plain["reasons"]) - REASONS_MAX
        plain["reasons"] = [
            *plain["reasons"][:REASONS_MAX],
            f"and {left} more; `tickwarden status --json` lists all",
        ]
    return [part for line in _headline(plain) for part in wrapped(line, width, "    ")]


def _headline(answer: Mapping[str, Any]) -> list[str]:
    store = answer["store"]
    up = since(answer["started_at"])
    lines = [f"{answer['state']}  tickwarden {answer['version']}, pid {answer['pid']}, up {up}"]
    lines += [f"  ! {reason}" for reason in answer["reasons"]]
    jumps = answer["clock"]["jumps"]
    if jumps:
        jump_s, ago = answer["clock"]["last_jump_s"], since(answer["clock"]["last_jump_at"])
        lines.append(f"jumps of this host's clock: {jumps}, the last {ago} ago by {jump_s:+.3f} s")
    text = f"{store['path']}: {_done('flushed', store['last_flush_at'])}, {_done('merged', store['last_merge_at'])}"
    text += f", {store['segments']} segments in the tail ({store['segment_bytes'] / 1e6:.1f} MB)"
    if store["held"]:
        who = f"process {store['held_by_pid']}" if store["held_by_pid"] else "another process"
        text += f"; {who} has the file open, merging waits for it"
    lines.append(text)
    if lake := answer.get("lake"):
        lines.append(f"{lake['uri']}: {lake_words(lake)}")
    return lines


def lake_words(lake: Mapping[str, Any], now: datetime | None = None) -> str:
    """What the lake of /v1/status has."""
    if lake["mark"] is None:
        return "not reached yet"
    sent = f"sent {since(lake['last_commit_at'], now)} ago" if lake["last_commit_at"] else "nothing sent yet"
    return f"{sent}, {lake['seconds_behind']:,.1f} s behind"


def exchange_rows(answer: Mapping[str, Any]) -> Rows:
    """The exchanges of /v1/status as a table."""
    names = ["received", "stored", "duplicates", "rejected", "in_flight", "gaps_open"]
    head = ["exchange", "state", "conn", "last tick", "received", "stored", "dup", "rejected", "in flight", "gaps"]
    rows = [
        (
            name,
            row["state"],
            f"{row['connections']}/{row['connections_wanted']}",
            since(row["last_tick_at"]),
            *(row[key] for key in names),
            " ".join(filter(None, (_milliseconds(row["lag_ms_p50"]), row["lag_flag"]))),
            _milliseconds(row["lag_ms_p99"]),
        )
        for name, row in answer["exchanges"].items()
    ]
    return [*head, "lag p50", "lag p99"], rows


def wildcard_lines(answer: Mapping[str, Any]) -> list[str]:
    """How many markets each wildcard of /v1/status matches, a line for each exchange that has any."""
    return [
        f"{name}: " + ", ".join(f"{text} matches {count:,} markets" for text, count in row["wildcards"].items())
        for name, row in answer["exchanges"].items()
        if row["wildcards"]
    ]


def actor_rows(answer: Sequence[Mapping[str, Any]]) -> Rows:
    """/v1/actors as a table, each actor indented below its supervisor."""
    depth: dict[str | None, int] = {None: 0}
    rows: list[tuple[object, ...]] = []
    for actor in answer:
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
                reason_for_people(actor["reason"] or actor["last_error"] or ""),
            )
        )
    return ["actor", "state", "since", "restarts", "mailbox", "handled", "why"], rows


def _done(what: str, instant: str | None) -> str:
    return f"{what} {since(instant)} ago" if instant else f"not {what} yet"


def since(instant: str | None, now: datetime | None = None) -> str:
    """How long ago, in the largest suitable unit; "-" for None."""
    if instant is None:
        return "-"
    seconds = ((now or datetime.now(UTC)) - datetime.fromisoformat(instant)).total_seconds()
    if seconds < 100:
        return f"{max(0.0, seconds):.1f}s"
    minutes, hours, days = seconds / 60, seconds / 3600, seconds / 86400
    if minutes < 100:
        return f"{minutes:.0f}min"
    return f"{hours:.0f}h" if hours < 72 else f"{days:.0f}d"


def _milliseconds(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}ms"
