"""`tickwarden run`: the service in the foreground."""

from pathlib import Path

import click
import trio

from ops.cli.common import config_option, configuration
from ops.logs import configure
from ops.service import run_service

LOG_DRAIN_S = 2.0


@click.command()
@config_option
@click.option("--for", "for_s", type=click.FloatRange(min=0), metavar="SECONDS", help="Stop after so long.")
def run(config_path: Path | None, for_s: float | None) -> int:
    """Record until Ctrl-C or SIGTERM, which drains, commits and merges; a second one ends at once."""
    config = configuration(config_path)
    sink = configure(config.log.level, config.log.format)
    try:
        return trio.run(lambda: run_service(config, for_s=for_s))
    finally:
        sink.drain(LOG_DRAIN_S)
