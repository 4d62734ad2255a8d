"""`tickwarden demo` and `tickwarden sandbox`: loopback exchanges, no internet needed."""

import sys
from pathlib import Path

import click
import trio

from ops.cli.common import DAY_S, Number, quiet_option
from ops.sandbox import FAULTS, VENUES, FaultError, Sandbox, faults_help, parse_faults
from ops.sandbox.demo import run_demo
from ops.sandbox.server import RATE_MAX
from ops.terminal.exit_codes import OK


@click.command()
@click.option(
    "--seconds", type=Number(min=1, max=DAY_S), default=12.0, show_default=True, help="How long to record."
)
@click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("tickwarden-demo"),
    show_default=True,
    help="Where the DuckDB file goes; made if it is not there.",
)
@quiet_option
def demo(seconds: float, folder: Path, quiet: bool) -> int:
    """Record five loopback exchanges with the real service, watch it, and keep the DuckDB file."""
    return trio.run(run_demo, seconds, folder, quiet)


@click.command(epilog="\b\nFaults:\n" + faults_help())
@click.option(
    "--exchange",
    "names",
    multiple=True,
    type=click.Choice(list(VENUES)),
    help="Which ones; may be given again. Without it, all.",
)
@click.option(
    "--rate",
    type=Number(min=0, min_open=True, max=RATE_MAX),
    default=20.0,
    show_default=True,
    help="Trades a second of each exchange.",
)
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="0 (the default) takes a free one.")
@click.option("--fault", "faults", multiple=True, metavar="NAME[=VALUE]", help=f"One of {', '.join(FAULTS)}.")
@click.option("--seed", type=int, default=0, help="The same seed makes the same trades.")
@quiet_option
def sandbox(names: tuple[str, ...], rate: float, port: int, faults: tuple[str, ...], seed: int, quiet: bool) -> int:
    """Serve loopback exchanges until Ctrl-C, and print the configuration that points a service at them."""
    try:
        exchanges = Sandbox(names or tuple(VENUES), rate, parse_faults(faults), seed)
    except (FaultError, ValueError) as error:
        raise click.UsageError(str(error)) from error
    return trio.run(_serve, exchanges, port, quiet)


async def _serve(exchanges: Sandbox, port: int, quiet: bool) -> int:
    async with trio.open_nursery() as nursery:
        await nursery.start(exchanges.serve, "127.0.0.1", port)
        click.echo(exchanges.config_toml())
        sys.stdout.flush()
        if quiet:
            return OK  # the nursery goes on
        click.echo(f"serving on port {exchanges.port}; put the above into a file and run", err=True)
        click.echo("`tickwarden run --config FILE`; Ctrl-C ends this", err=True)
    return OK
