"""`tickwarden lake`: what several recorders have sent to one lake."""

import click

from ops.cli.lazy_group import LazyGroup

# As in ops.cli.commands: name -> module of ops.cli, its name there, and what --help lists.
COMMANDS = {
    "status": ("lake_status", "lake_status_command", "Who sends to the lake, how far behind, and what it holds."),
    "query": ("lake_query", "lake_query_command", "Run SQL on the tape of all recorders."),
    "verify": ("lake_verify", "lake_verify_command", "Are all rows there that were sent, once and unaltered?"),
    "compact": ("lake_compact", "lake_compact", "Rewrite closed days: each trade once, in few files."),
}


@click.group(cls=LazyGroup, places=COMMANDS)
def lake() -> None:
    """Read, check and compact the lake that recorders send their trades to."""
