"""`tickwarden sandbox`: loopback exchanges with faults, no internet needed."""

import sys

import click
import trio

from ops.cli.common import Number, quiet_option
from ops.sandbox import FAULTS, LOOPBACKS, FaultError, Sandbox, faults_help, parse_faults
from ops.sandbox.server import PORT_MAX, RATE_MAX
from ops.terminal.exit_codes import OK


@click.command(epilog="\b\nFaults:\n" + faults_help())
@click.option(
    "--exchange",
    "names",
    multiple=True,
    type=click.Choice(list(LOOPBACKS)),
    help="Which ones; may be given again. Without it, all.",
)
@click.option(
    "--rate",
    type=Number(min=0, min_open=True, max=RATE_MAX),
    default=20.0,
    show_default=True,
    help="Trades a second of each exchange.",
)
@click.option(
    "--port",
    type=click.IntRange(0, PORT_MAX),
    default=0,
    help="The first port; more follow it where exchanges have the same URL paths. 0 (the default) takes free ones.",
)
@click.option("--fault", "faults", multiple=True, metavar="NAME[=VALUE]", help=f"One of {', '.join(FAULTS)}.")
@click.option("--seed", type=int, default=0, help="The same seed makes the same trades.")
@quiet_option
def sandbox(names: tuple[str, ...], rate: float, port: int, faults: tuple[str, ...], seed: int, quiet: bool) -> int:
    """Serve loopback exchanges until Ctrl-C, and print the configuration that points a service at them."""
    try:
        exchanges = Sandbox(names or tuple(LOOPBACKS), rate, parse_faults(faults), seed)
    except (FaultError, ValueError) as error:
        raise click.UsageError(str(error)) from error
    if port + exchanges.port_count - 1 > PORT_MAX:
        first = PORT_MAX - exchanges.port_count + 1
        raise click.UsageError(
            f"got port {port}, expected at most {first}: {exchanges.port_count} ports are needed"
        )
    return trio.run(_serve, exchanges, port, quiet)


async def _serve(exchanges: Sandbox, port: int, quiet: bool) -> int:
    async with trio.open_nursery() as nursery:
        await nursery.start(exchanges.serve, "127.0.0.1", port)
        click.echo(exchanges.config_toml())
        sys.stdout.flush()
        if quiet:
            return OK  # the nursery goes on
        click.echo(f"serving on {exchanges.where}; put the above into a file and run", err=True)
        click.echo("`tickwarden run --config FILE`; Ctrl-C ends this", err=True)
    return OK
