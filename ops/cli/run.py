"""`tickwarden run`: the service in the foreground."""

import os
import sys
import threading
from pathlib import Path

import click
import trio

from actors.sink.lake.ship import THREAD_NAME
from ops.cli.common import YEAR_S, Number, config_option, configuration, quiet_option
from ops.config.config import Config
from ops.monitoring.logs import configure
from ops.service.run_screen import Screen, screen_for
from ops.service.service import run_service

LOG_DRAIN_S = 2.0


@click.command()
@config_option
@click.option(
    "--for", "for_s", type=Number(min=0, max=100 * YEAR_S), metavar="SECONDS", help="Stop after this time."
)
@click.option(
    "--take-over",
    "takes_over",
    is_flag=True,
    help="Replace the service that records into the same file now, without a gap; if there is none, just start.",
)
@quiet_option
def run(config_path: Path | None, for_s: float | None, takes_over: bool, quiet: bool) -> int:
    """Record until Ctrl-C or SIGTERM, which stores and merges everything received; a second one exits at once.

    With --take-over, for an upgrade or a changed configuration, it connects and subscribes while the running
    service still records, waits until it receives the same trades, then takes the file and the control socket
    over, and the other one ends. If anything fails on the way, the other one goes on.

    On a terminal it prints a few lines and one a minute; elsewhere, and where log.format is set, a log.
    """
    config = configuration(config_path)
    screen = None if quiet else screen_for(config, sys.stderr)
    level = config.log.level
    if quiet and level in ("debug", "info"):
        level = "warning"
    # Until it records, the screen has nothing to show and the log reports what it waits for.
    sink = configure("warning" if screen and level == "info" else level, config.log.format)
    try:
        if screen is None:
            code = trio.run(lambda: run_service(config, for_s=for_s, takes_over=takes_over))
        else:
            code = trio.run(_shown, config, for_s, screen, takes_over)
    finally:
        sink.drain(LOG_DRAIN_S)
    _leave_lake(code)
    return code


def _leave_lake(code: int) -> None:
    """Ends the process if a call to the lake is left: if it returned while Python shuts down, that would abort."""
    if any(thread.name == THREAD_NAME for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


async def _shown(config: Config, for_s: float | None, screen: Screen, takes_over: bool) -> int:
    """The service with a screen that follows it."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(screen.follow)
        code = await run_service(config, for_s=for_s, takes_over=takes_over, on_started=screen.started)
        nursery.cancel_scope.cancel()
    screen.end()
    return code
