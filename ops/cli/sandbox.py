"""`tickwarden sandbox`: loopback exchanges with faults, no internet needed."""

import sys

import click
import trio

from ops.cli.common import DAY_S, Number, json_option, quiet_option
from ops.config.keys import DEFAULT_SYMBOLS
from ops.sandbox import FAULTS, LOOPBACKS, FaultError, Sandbox, faults_help, parse_faults
from ops.sandbox.faults import EVERY_S
from ops.sandbox.server import PORT_MAX, RATE_MAX
from ops.terminal.exit_codes import OK

STRIKES = 4  # how often what strikes "every 10 s or so" does so during a proof, however short


@click.command(epilog="\b\nFaults:\n" + faults_help())
@click.option(
    "--exchange",
    "names",
    multiple=True,
    type=click.Choice(list(LOOPBACKS)),
    help=f"Which ones; may be given again. Without it all, with --prove {', '.join(DEFAULT_SYMBOLS)}.",
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
@click.option(
    "--prove",
    "prove_s",
    type=Number(min=1, max=DAY_S),
    metavar="SECONDS",
    help="Record them with the real service, with the faults for so long; then compare each trade that was made"
    " with the DuckDB file, and end. Exit code 1 if they differ.",
)
@json_option
@quiet_option
def sandbox(
    names: tuple[str, ...],
    rate: float,
    port: int,
    faults: tuple[str, ...],
    seed: int,
    prove_s: float | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Serve loopback exchanges until Ctrl-C, and print the configuration that points a service at them.

    With --prove: record them, and prove that no trade is lost.
    """
    if as_json and prove_s is None:
        raise click.UsageError("--json is for the result of --prove; a sandbox prints a configuration")
    every_s = EVERY_S if prove_s is None else min(EVERY_S, prove_s / STRIKES)
    names = names or tuple(LOOPBACKS if prove_s is None else DEFAULT_SYMBOLS)
    try:
        strikes = parse_faults(faults, every_s)
        exchanges = Sandbox(names, rate, strikes, seed)
    except (FaultError, ValueError) as error:
        raise click.UsageError(str(error)) from error
    if port + exchanges.port_count - 1 > PORT_MAX:
        first = PORT_MAX - exchanges.port_count + 1
        raise click.UsageError(
            f"got port {port}, expected at most {first}: {exchanges.port_count} ports are needed"
        )
    if prove_s is not None:
        from ops.cli.prove import prove  # with DuckDB, which a sandbox does not need

        return trio.run(lambda: prove(exchanges, port, strikes, prove_s, quiet=quiet, as_json=as_json))
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
