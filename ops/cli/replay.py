"""`tickwarden replay`: stored ticks in the order in which they were received."""

import csv
import sys
from collections.abc import Callable
from pathlib import Path

import click
import msgspec

from actors.model.errors import DatabaseLocked
from ops.cli.chosen import check_recorded
from ops.cli.common import LocalPath, Number, config_option, configuration, range_options, timeout_option
from ops.cli.completing import configured_exchanges, configured_symbols
from ops.client.replay import replay as ticks_of
from ops.client.tick import Tick
from ops.export.query import QueryError
from ops.terminal.exit_codes import FAILED, OK
from ops.terminal.output import decimal_text, instant_text

SPEED_MAX = 1e9
_COLUMNS = ("exchange", "symbol", "timestamp", "received_at", "price", "volume", "side", "trade_id", "source")
_encode = msgspec.json.Encoder().encode


@click.command("replay")
@range_options
@click.option(
    "--exchange",
    "exchanges",
    multiple=True,
    shell_complete=configured_exchanges,
    help="Only this exchange; may be given several times.",
)
@click.option(
    "--symbol",
    "symbols",
    multiple=True,
    shell_complete=configured_symbols,
    help='Only this symbol or wildcard, such as "*/USDT"; likewise.',
)
@click.option(
    "--speed",
    type=Number(min=0, min_open=True, max=SPEED_MAX),
    metavar="X",
    help="Keep the intervals of the recording, divided by X; without it, no pauses.",
)
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV instead of JSON.")
@click.option("--file", "path", type=LocalPath(path_type=Path), help="The DuckDB file; without it, the config's.")
@timeout_option
@config_option
def replay(
    since_us: int | None,
    until_us: int | None,
    exchanges: tuple[str, ...],
    symbols: tuple[str, ...],
    speed: float | None,
    as_csv: bool,
    path: Path | None,
    timeout_s: float,
    config_path: Path | None,
) -> int:
    """Print stored ticks of all exchanges in the order in which they were received, one JSON object a line.

    --from and --to are times of receipt. The lines have the members of `tail --json`. The file is open meanwhile:
    the service records, and merges later.
    """
    source = path or configuration(config_path).store.path
    try:
        stored = ticks_of(
            source,
            since_us,
            until_us,
            speed=speed,
            exchanges=exchanges,
            symbols=symbols,
            timeout_s=timeout_s,
        )
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--symbol") from error
    try:
        check_recorded(source, config_path, exchanges, symbols, timeout_s=timeout_s)
        write, tick = _csv_writer() if as_csv else _json_writer(), None
        for tick in stored:
            write(tick)
            if speed is not None:
                sys.stdout.flush()
    except (QueryError, DatabaseLocked) as error:
        click.echo(str(error), err=True)
        return FAILED
    if tick is None:
        click.echo("nothing was recorded there; `tickwarden coverage` shows what was", err=True)
    return OK


def _json_writer() -> Callable[[Tick], None]:
    def write(tick: Tick) -> None:
        sys.stdout.write(_encode(dict(zip(_COLUMNS, _texts(tick), strict=True))).decode() + "\n")

    return write


def _csv_writer() -> Callable[[Tick], None]:
    writer = csv.writer(sys.stdout, lineterminator="\r\n")
    writer.writerow(_COLUMNS)

    def write(tick: Tick) -> None:
        writer.writerow(_texts(tick))

    return write


def _texts(tick: Tick) -> tuple[str | None, ...]:
    """A tick as the tap renders it."""
    return (
        tick.exchange,
        tick.symbol,
        None if tick.timestamp_us is None else instant_text(tick.timestamp_us),
        instant_text(tick.received_us),
        decimal_text(tick.price),
        decimal_text(tick.volume),
        tick.side,
        tick.trade_id,
        tick.source,
    )
