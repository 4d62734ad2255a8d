"""`tickwarden top`: the whole service, live.

sample    one look at the service
history   how fast ticks came in the last minutes
tables    what is shown, as text
poller    looks again and again, in a thread
screen    draws it, and gives commands by keys
dialogs   asks before a command, and lists the keys
"""

import os
import sys
from pathlib import Path

import click

from ops.cli.common import Number, client, config_option, socket_option
from ops.cli.status import ACTORS, EXCHANGES, actor_rows, exchange_rows, headline
from ops.cli.top.sample import Sample
from ops.terminal.exit_codes import OK
from ops.terminal.output import takes_unicode, terminal_width, write_table

NO_SCREEN = ("", "dumb", "unknown")  # values of TERM: nothing can be drawn at a place of one's choice


@click.command()
@click.option(
    "--interval", "interval_s", type=Number(min=0.1, max=3600), default=1.0, show_default=True, metavar="S"
)
@click.option("--once", is_flag=True, help="One picture instead of a live view.")
@config_option
@socket_option
def top(interval_s: float, once: bool, config_path: Path | None, socket_path: Path | None) -> int:
    """The whole service, live, until q or Ctrl-C; ? lists the keys, which also restart, pause, resume and flush."""
    service = client(config_path, socket_path)
    if once:
        _print(Sample.of(service))
        return OK
    if missing := _missing():
        raise click.UsageError(
            f"top draws on a terminal, and {missing}; `tickwarden top --once` prints one picture"
        )
    first = Sample.of(service)
    from ops.cli.top.screen import TopScreen  # with Textual, which no other command needs

    return TopScreen(service, first, interval_s).run(mouse=False) or OK


def _missing() -> str | None:
    """What a live view would need here and does not have."""
    for name, stream in (("input", sys.stdin), ("output", sys.stdout), ("error output", sys.stderr)):
        if not stream.isatty():
            return f"the {name} is not a terminal"
    if os.environ.get("TERM", "") in NO_SCREEN:
        return f"TERM is {os.environ.get('TERM', '')!r}"
    return None if takes_unicode(sys.stderr) else f"this one shows only {sys.stderr.encoding}"


def _print(sample: Sample) -> None:
    for line in headline(sample.status, terminal_width(sys.stdout)):
        click.echo(line)
    write_table(*exchange_rows(sample.status), sys.stdout, fit=EXCHANGES)
    click.echo()
    write_table(*actor_rows(sample.actors), sys.stdout, fit=ACTORS)
