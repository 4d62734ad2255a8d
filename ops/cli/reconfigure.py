"""`tickwarden reload`, `symbols` and `log-level`: live changes to a running service."""

from pathlib import Path
from typing import Any

import click

from ops.cli.common import client, config_option, json_option, print_json, socket_option
from ops.cli.completing import configured_exchanges, configured_symbols
from ops.control.client import segment
from ops.terminal.exit_codes import FAILED, OK


@click.command()
@config_option
@socket_option
@json_option
def reload(config_path: Path | None, socket_path: Path | None, as_json: bool) -> int:
    """Make the service read its configuration again and apply the changes; an invalid one changes nothing."""
    answer: Any = client(config_path, socket_path).post("/v1/reload")
    if as_json:
        print_json(answer)
        return OK
    for what in ("added", "removed", "replaced"):
        if answer[what]:
            click.echo(f"{what}: {', '.join(answer[what])}")
    for exchange, change in answer["symbols"].items():
        click.echo(f"{exchange}: {_symbols(change)}")
    if answer["needs_restart"]:
        click.echo(f"needs a restart: {', '.join(answer['needs_restart'])}")
    click.echo("reloaded")
    return OK


def _symbols(change: dict[str, list[str]]) -> str:
    signed = [f"+{symbol}" for symbol in change["add"]] + [f"-{symbol}" for symbol in change["remove"]]
    return " ".join(signed)


@click.command()
@click.argument("exchange", shell_complete=configured_exchanges)
@click.option("--add", multiple=True, metavar="SYMBOL", help="May be given again.")
@click.option(
    "--remove", multiple=True, metavar="SYMBOL", shell_complete=configured_symbols, help="May be given again."
)
@config_option
@socket_option
@json_option
def symbols(
    exchange: str,
    add: tuple[str, ...],
    remove: tuple[str, ...],
    config_path: Path | None,
    socket_path: Path | None,
    as_json: bool,
) -> int:
    """Add and remove symbols of a running exchange, until the next reload or start.

    Exit code 1 if one that was added is not recorded: the exchange does not list it.
    """
    if not (add or remove):
        raise click.UsageError("nothing to change: give --add SYMBOL or --remove SYMBOL")
    route = f"/v1/exchanges/{segment(exchange)}/symbols"
    answer: Any = client(config_path, socket_path).post(route, {"add": list(add), "remove": list(remove)})
    problems, unlisted = answer["problems"], answer["unlisted"]
    if as_json:
        print_json(answer)
    else:
        recorded = [symbol for symbol in answer["symbols"] if symbol not in problems]
        click.echo(f"{exchange} records {', '.join(recorded) or 'nothing'}")
    for problem in problems.values():
        click.echo(f"not recorded: {problem}", err=True)
    if unlisted:
        names = ", ".join(unlisted)
        click.echo(
            f"no list of {exchange} that was read yet has {names}; `tickwarden status` shows more soon", err=True
        )
    return FAILED if problems else OK


@click.command("log-level")
@click.argument("level", type=click.Choice(["debug", "info", "warning", "error"]))
@config_option
@socket_option
@json_option
def log_level(level: str, config_path: Path | None, socket_path: Path | None, as_json: bool) -> int:
    """Change how much the service logs, until the next reload or start."""
    answer = client(config_path, socket_path).post("/v1/log-level", {"level": level})
    if as_json:
        print_json(answer)
    else:
        click.echo(f"the service now logs at level {level}")
    return OK
