"""What several commands share: the options that find a configuration or a service, and --json."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from ops.config import Config, find_config, load_config
from ops.control.client import ControlClient

F = TypeVar("F", bound=Callable[..., Any])


def config_option(command: F) -> F:
    """--config, the same everywhere."""
    return click.option(
        "--config",
        "config_path",
        type=click.Path(path_type=Path),
        help="The configuration file. Without it: $TICKWARDEN_CONFIG, ./tickwarden.toml,"
        " $XDG_CONFIG_HOME/tickwarden/config.toml, or the built-in default.",
    )(command)


def socket_option(command: F) -> F:
    """--socket, for asking a running service."""
    return click.option(
        "--socket",
        "socket_path",
        type=click.Path(path_type=Path),
        help="The control socket. Without it, the one that the configuration names.",
    )(command)


def json_option(command: F) -> F:
    """--json, wherever a table is printed."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")(command)


def configuration(config_path: Path | None) -> Config:
    """The configuration that `--config` and the environment lead to; raises ConfigErrors."""
    return load_config(find_config(config_path))


def client(config_path: Path | None, socket_path: Path | None) -> ControlClient:
    """A client of the service."""
    return ControlClient(socket_path or configuration(config_path).control.socket)


def print_json(value: object) -> None:
    """JSON to stdout, for people and programs alike."""
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())
