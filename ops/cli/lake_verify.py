"""`tickwarden lake verify`: are all rows in the lake that were sent, once and unaltered?"""

import sys
from datetime import datetime
from pathlib import Path

import click

from ops.cli.chosen import check_exchange
from ops.cli.common import config_option, json_option, print_json, quiet_option
from ops.cli.completing import configured_exchanges
from ops.cli.ctrl_c import ends_on_ctrl_c
from ops.cli.lake_place import lake_place, uri_option
from ops.export.lake.engine import lake_engine
from ops.export.lake.opening import open_lake
from ops.export.lake.verify import Verified, verify
from ops.export.query import QueryError
from ops.terminal.exit_codes import FAILED, OK


@click.command("verify")
@click.option(
    "--exchange", shell_complete=configured_exchanges, help="Only this exchange, by its name in the lake."
)
@click.option("--day", type=click.DateTime(["%Y-%m-%d"]), metavar="DAY", help="Only this UTC day, like 2026-06-01.")
@uri_option
@json_option
@quiet_option
@config_option
def lake_verify_command(
    exchange: str | None,
    day: datetime | None,
    uri: str | None,
    as_json: bool,
    quiet: bool,
    config_path: Path | None,
) -> int:
    """Compare the rows of a lake with what was sent: their number and a checksum.

    Reads all rows, by table, exchange and day. Prints a line for each difference: rows that are missing, too many
    or altered; the exit code is then 1, as it is where there is nothing to compare. Commits that have not ended do
    not count.
    """
    try:
        place = lake_place(uri, config_path)
        tables = open_lake(place.uri, place.options)
        check_exchange(exchange, {*tables.exchanges(), *place.dialects}, f"in {tables.uri}")
        with ends_on_ctrl_c(), lake_engine(tables) as engine:
            found = Verified()
            for found in verify(engine, exchange=exchange, day=day.date() if day else None):
                if not quiet and sys.stderr.isatty():
                    sys.stderr.write(f"\r{found.parts:,} parts, {found.rows:,} rows ")
    except QueryError as error:
        click.echo(str(error), err=True)
        return FAILED
    if found.parts and not quiet and sys.stderr.isatty():
        sys.stderr.write("\n")
    nothing = not found.rows and not found.differences
    if as_json or not nothing:
        _print(found, as_json=as_json)
    if nothing:
        of = " of ".join(filter(None, ("rows", exchange, f"{day:%Y-%m-%d}" if day else None)))
        why = f"no commit that has ended sent {of}" if tables.marks else "no commit to this lake has ended yet"
        click.echo(f"nothing was compared: {why}", err=True)
    return FAILED if found.differences or nothing else OK


def _print(found: Verified, *, as_json: bool) -> None:
    if as_json:
        differences = [one.plain() for one in found.differences]
        print_json({"parts": found.parts, "rows": found.rows, "differences": differences})
        return
    for one in found.differences:
        click.echo(str(one))
    differ = f"{len(found.differences):,} differences" if found.differences else "no difference"
    click.echo(f"{found.rows:,} rows in {found.parts:,} parts were compared with what was sent: {differ}")
