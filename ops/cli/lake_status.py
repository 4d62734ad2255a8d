"""`tickwarden lake status`: who sends to the lake, how far behind, and what it holds."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from ops.cli.common import config_option, json_option, print_json
from ops.cli.ctrl_c import ends_on_ctrl_c
from ops.cli.lake_place import lake_place, uri_option
from ops.export.lake.engine import lake_engine
from ops.export.lake.opening import open_lake
from ops.export.lake.status import LakeStatus, lake_status
from ops.export.query import QueryError
from ops.terminal.exit_codes import FAILED, OK
from ops.terminal.layout import Fit
from ops.terminal.output import plain, write_table

_RECORDERS = ("recorder", "store", "mark", "ticks", "rows", "newest tick", "last commit", "note")
_TABLES = ("table", "rows", "files", "MB")
_COVERAGE = ("exchange", "markets", "recorded h", "verified", "unproven", "unknown", "lost")


@click.command("status")
@uri_option
@json_option
@config_option
def lake_status_command(uri: str | None, as_json: bool, config_path: Path | None) -> int:
    """Who sends to the lake, how far behind each is, and what it holds: tables, coverage, days to compact."""
    now = datetime.now(UTC)
    try:
        place = lake_place(uri, config_path)
        with ends_on_ctrl_c(), lake_engine(open_lake(place.uri, place.options)) as engine:
            found = lake_status(engine, now)
    except QueryError as error:
        click.echo(str(error), err=True)
        return FAILED
    if as_json:
        print_json(_document(found, now))
    else:
        _print(found, now)
    return OK


def _document(found: LakeStatus, now: datetime) -> dict[str, Any]:
    return {
        "uri": found.uri,
        "recorders": [
            {
                **{name: plain(value) for name, value in one._asdict().items()},
                "newest_s": _age_s(one.newest_at, now),
                "sent_s": _age_s(one.sent_at, now),
            }
            for one in found.recorders
        ],
        "tables": [one._asdict() for one in found.tables],
        "coverage": [one._asdict() for one in found.coverage],
        "to_compact": [{"exchange": exchange, "day": day.isoformat()} for exchange, day in found.to_compact],
    }


def _print(found: LakeStatus, now: datetime) -> None:
    click.echo(found.uri)
    rows = [
        (
            one.recorder,
            one.store,
            one.mark,
            one.ticks,
            one.rows,
            _ago(one.newest_at, now),
            _ago(one.sent_at, now),
            f"a commit through {one.intended} was begun" if one.intended > one.mark else "",
        )
        for one in found.recorders
    ]
    write_table(_RECORDERS, rows, sys.stdout, fit=Fit(drop=("note", "rows", "mark"), shorten=("store",)))
    click.echo()
    sizes = [(one.table, one.rows, one.files, round(one.bytes / 1e6, 1)) for one in found.tables]
    write_table(_TABLES, sizes, sys.stdout)
    click.echo()
    shares = [
        (
            one.exchange,
            one.markets,
            round(one.recorded_s / 3600, 1),
            *(
                _share(seconds, one.recorded_s)
                for seconds in (
                    one.verified_s,
                    one.recorded_s - one.verified_s - one.unknown_s - one.lost_s,
                    one.unknown_s,
                    one.lost_s,
                )
            ),
        )
        for one in found.coverage
    ]
    write_table(_COVERAGE, shares, sys.stdout)
    click.echo()
    if found.to_compact:
        days = sorted({day for _, day in found.to_compact})
        span = f"{days[0]}" if len(days) == 1 else f"{days[0]} to {days[-1]}"
        click.echo(
            f"to compact: {len(found.to_compact):,} closed days of exchanges ({span}); `tickwarden lake compact`"
        )
    else:
        click.echo("to compact: nothing")


def _age_s(at: datetime | None, now: datetime) -> float | None:
    return None if at is None else round((now - at).total_seconds(), 3)


def _ago(at: datetime | None, now: datetime) -> str:
    seconds = _age_s(at, now)
    if seconds is None:
        return "never"
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{seconds:.1f} s ago"


def _share(seconds: float, whole: float) -> str:
    return f"{100 * seconds / whole:.2f}%" if whole else "-"
