"""Shared by several commands: the options that find a configuration or a service, a time range, and --json."""

import json
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ops.config.checks import scheme_of
from ops.config.config import Config, find_config, load_config
from ops.terminal.output import instant_text, takes_unicode
from ops.terminal.time_options import instant

if TYPE_CHECKING:
    from ops.control.client import ControlClient

F = TypeVar("F", bound=Callable[..., Any])

DAY_S = 86_400.0
YEAR_S = 365 * DAY_S  # longer than anybody waits, and within the range of every clock and timer


def extent(config: Config) -> str:
    """How much is configured, like "1 symbol on 1 exchange"."""
    symbols, exchanges = sum(len(one.symbols) for one in config.exchanges.values()), len(config.exchanges)
    return f"{symbols} symbol{'s'[: symbols != 1]} on {exchanges} exchange{'s'[: exchanges != 1]}"


class Number(click.FloatRange):
    """A number in a range. Click's own type accepts nan and inf."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a number of {self._describe_range()}.", param, ctx)
        return number


class LocalPath(click.Path):
    """A path of this machine. Click's own type takes an address like s3://bucket/copy for one, of folders here."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if scheme := scheme_of(os.fsdecode(value)):
            self.fail(f"{value}: expected a path of this machine, without {scheme}", param, ctx)
        return super().convert(value, param, ctx)


def config_option(command: F) -> F:
    """--config, the same everywhere."""
    return click.option(
        "--config",
        "config_path",
        type=LocalPath(path_type=Path),
        help="The configuration file. Without it: $TICKWARDEN_CONFIG, ./tickwarden.toml,"
        " $XDG_CONFIG_HOME/tickwarden/config.toml, or the built-in default.",
    )(command)


def socket_option(command: F) -> F:
    """--socket, for asking a running service."""
    return click.option(
        "--socket",
        "socket_path",
        type=LocalPath(path_type=Path),
        help="The control socket. Without it, the one that the configuration names.",
    )(command)


def json_option(command: F) -> F:
    """--json, for every command that prints a table."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")(command)


def configuration(config_path: Path | None) -> Config:
    """The configuration found by `--config` and the environment; raises ConfigErrors."""
    return load_config(find_config(config_path))


def client(config_path: Path | None, socket_path: Path | None) -> "ControlClient":
    """A client of the service."""
    from ops.control.client import ControlClient  # with http.client and email, which `run` does not need

    return ControlClient(socket_path or configuration(config_path).control.socket)


def range_options(command: F) -> F:
    """--from and --to as `since_us` and `until_us`, the same everywhere: a range begins before it ends."""
    begins = click.option(
        "--from", "since_us", callback=instant, is_eager=True, metavar="T", help="From this time or UTC day on."
    )
    ends = click.option("--to", "until_us", callback=_end, metavar="T", help="To before this time or UTC day.")
    return begins(ends(command))


def _end(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    until_us = instant(ctx, param, value)
    check_range(ctx.params["since_us"], until_us)  # it is eager, and so parsed by now
    return until_us


def check_range(since_us: int | None, until_us: int | None) -> None:
    """Raises click.UsageError for a time range that does not begin before it ends."""
    if since_us is not None and until_us is not None and since_us >= until_us:
        begin, end = instant_text(since_us), instant_text(until_us)
        raise click.UsageError(f"a time range begins before it ends; --from {begin} is not before --to {end}")


def timeout_option(command: F) -> F:
    """--timeout, for a file that another process may hold."""
    return click.option(
        "--timeout",
        "timeout_s",
        type=Number(min=0, max=DAY_S),
        default=30.0,
        show_default=True,
        metavar="SECONDS",
        help="How long to wait for the file.",
    )(command)


def quiet_option(command: F) -> F:
    """--quiet, for every command that prints progress."""
    return click.option(
        "-q", "--quiet", is_flag=True, help="Print no progress, only results, warnings and errors."
    )(command)


def print_json(value: object) -> None:
    """Prints one JSON document to stdout, for people and programs."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=not takes_unicode(sys.stdout)))


def print_json_line(value: object) -> None:
    """Prints one JSON object per line, for streams of them (NDJSON)."""
    click.echo(json.dumps(value, ensure_ascii=not takes_unicode(sys.stdout)))
    sys.stdout.flush()
