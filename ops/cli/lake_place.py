"""Shared by the commands on a lake: --uri, and where the lake is by the configuration."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from actors.sink.lake.credentials import CredentialsWrong, configured_options
from ops.cli.common import configuration
from ops.config.config import Config, ConfigErrors
from ops.export.query import QueryError

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class LakePlace:
    """Where a lake is: its address, the options of its storage, and the dialects of exchanges of other names."""

    uri: str
    options: Mapping[str, str]
    dialects: Mapping[str, str]


def uri_option(command: F) -> F:
    """--uri, the same everywhere."""
    return click.option(
        "--uri",
        metavar="URI",
        help="The lake: a folder, or an address like s3://bucket/tape with credentials from the environment;"
        " without it, the [lake] of the configuration.",
    )(command)


def lake_place(uri: str | None, config_path: Path | None) -> LakePlace:
    """The lake that --uri names, or that of the configuration.

    A configuration is of use for another lake, too: for its storage and the names of exchanges. Raises
    ConfigErrors, and QueryError if there is no lake or its credentials cannot be read.
    """
    try:
        config: Config | None = configuration(config_path)
    except (ConfigErrors, OSError):
        if uri is None or config_path is not None:
            raise
        config = None
    lake = config.lake if config else None
    if uri is None and lake is None:
        raise QueryError("no lake is configured: set [lake] uri and recorder, or name one with --uri")
    try:
        options = configured_options(lake) if lake else {}
    except CredentialsWrong as error:
        raise QueryError(f"lake.credentials: expected {error}") from error
    except OSError as error:
        raise QueryError(f"lake.credentials: expected a file that can be read ({error})") from error
    named = config.exchanges.items() if config else ()
    return LakePlace(uri or (lake.uri if lake else ""), options, {name: one.dialect for name, one in named})
