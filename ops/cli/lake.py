"""`tickwarden lake`: what several recorders have sent to one lake."""

import click

from ops.cli.lazy_group import LazyGroup

# As in ops.cli.commands: name -> module of ops.cli, its name there, and what --help lists.
COMMANDS = {
    "query": ("lake_query", "lake_query_command", "Run SQL on the tape of all recorders."),
}


@click.group(cls=LazyGroup, places=COMMANDS)
def lake() -> None:
    """Read, check and compact the lake that recorders send their trades to."""
