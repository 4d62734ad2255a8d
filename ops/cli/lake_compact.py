"""`tickwarden lake compact`: rewrites the closed days of a lake."""

import os
import sys
from dataclasses import asdict
from datetime import date
from pathlib import Path

import click

from actors.store.filesystem import Files
from ops.cli.chosen import check_exchange
from ops.cli.common import LocalPath, config_option, json_option, print_json
from ops.cli.lake_place import lake_place, uri_option
from ops.config.checks import Wrong, memory_limit
from ops.export.lake.compact import CLOSED_AFTER_S, KEEP_HOURS, KEEP_HOURS_MAX, Days, Done, compact
from ops.export.lake.compact_tables import LakeFolder
from ops.export.lake.compact_ticks import How
from ops.export.lake.opening import open_lake
from ops.export.query import QueryError
from ops.terminal.exit_codes import FAILED, OK
from ops.terminal.output import plain, write_table

_MEMORY = "1GB"
_COLUMNS = ("table", "exchange", "day", "done", "rows", "files", "MB")


class _Day(click.ParamType[date]):
    name = "day"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> date:
        if isinstance(value, date):
            return value
        try:
            return date.fromisoformat(str(value))
        except ValueError:
            self.fail(f"got {value}, expected a UTC day like 2026-11-02", param, ctx)


class _Memory(click.ParamType[str]):
    name = "size"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return memory_limit(value)
        except Wrong as error:
            self.fail(f"got {value}, expected {error}", param, ctx)


@click.command("compact")
@uri_option
@click.option("--day", type=_Day(), metavar="DAY", help="Only this UTC day, like 2026-11-02.")
@click.option("--before", type=_Day(), metavar="DAY", help="Only the days before this one.")
@click.option("--exchange", metavar="NAME", help="Only this exchange.")
@click.option(
    "--closed-after",
    "closed_after_s",
    type=click.FloatRange(min=0),
    default=CLOSED_AFTER_S,
    show_default=True,
    metavar="SECONDS",
    help="A day is closed so long after its end.",
)
@click.option(
    "--keep-hours",
    type=click.IntRange(1, KEEP_HOURS_MAX),
    default=KEEP_HOURS,
    show_default=True,
    metavar="HOURS",
    help="Delete files that were replaced longer ago. A query that began before they were replaced, or one of an"
    " older version of a table, fails once they are gone: allow for the longest that you want to be able to run.",
)
@click.option(
    "--memory",
    type=_Memory(),
    default=_MEMORY,
    show_default=True,
    metavar="SIZE",
    help="What does not fit is written to --temporary.",
)
@click.option(
    "--temporary",
    type=LocalPath(path_type=Path, exists=True, file_okay=False, writable=True),
    metavar="DIR",
    help="A folder with room for a day of one exchange; default: that of the system.",
)
@click.option(
    "--join-open",
    is_flag=True,
    help="Join the small files of days that are not closed, too: every commit costs CPU for each file of a table.",
)
@click.option("--dry-run", is_flag=True, help="Print what would be done.")
@json_option
@config_option
def lake_compact(
    uri: str | None,
    day: date | None,
    before: date | None,
    exchange: str | None,
    closed_after_s: float,
    keep_hours: int,
    memory: str,
    temporary: Path | None,
    join_open: bool,
    dry_run: bool,
    as_json: bool,
    config_path: Path | None,
) -> int:
    """Rewrite the closed days of the lake: each trade once, sorted by symbol and time, in files of about 256 MB.

    Each exchange and day is replaced in one transaction, so readers and recorders need not stop, and a run that is
    repeated or killed changes no trade. Rows that arrive later for such a day are part of the next run. Then the
    coverage of these days is stored, small files of the other tables are joined, and files that were replaced
    longer than --keep-hours ago are deleted. Run it once a day, on one machine, and with --join-open more often.
    """
    done: list[Done] = []
    try:
        place = lake_place(uri, config_path)
        if exchange is not None:
            tables = open_lake(place.uri, place.options)
            check_exchange(exchange, {*tables.exchanges(), *place.dialects}, f"in {tables.uri}")
        days = Days(day, before, exchange, closed_after_s)
        crash_point = Files(os.environ.get("TICKWARDEN_CRASH_AT", "")).crash_point
        how = How(place.dialects, memory, os.cpu_count() or 1, temporary, crash_point=crash_point)
        lake = LakeFolder(place.uri, place.options)
        for one in compact(lake, days, how, keep_hours=keep_hours, join_open=join_open, dry_run=dry_run):
            done.append(one)
            click.echo(_line(one), err=True)
    except QueryError as error:
        click.echo(str(error), err=True)
        return FAILED
    if as_json:
        print_json([plain(asdict(one)) for one in done])
    elif done:
        write_table(_COLUMNS, map(_row, done), sys.stdout)
    else:
        click.echo("nothing to do")
    return FAILED if any(one.problem for one in done) else OK


def _line(one: Done) -> str:
    """Progress, and what failed."""
    where = " ".join(str(part) for part in (one.table, one.exchange, one.day) if part is not None)
    return f"{where}: {one.problem or one.action}"


def _row(one: Done) -> tuple[object, ...]:
    return (
        one.table,
        one.exchange,
        one.day,
        one.action,
        _change(one.rows_before, one.rows),
        _change(one.files_before, one.files),
        _change(one.bytes_before // 1_000_000, one.bytes // 1_000_000),
    )


def _change(before: int, after: int) -> str:
    return str(after) if before == after else f"{before} -> {after}"
