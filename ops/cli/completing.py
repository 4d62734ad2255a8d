"""What a shell completes: names of exchanges, symbols and actors. Nothing is found where nothing can be asked."""

from collections.abc import Iterable

import click

from actors.exchanges.registry import EXCHANGES
from actors.model.symbols import is_wildcard
from ops.cli.common import client, configuration
from ops.config.config import Config, ConfigErrors
from ops.control.client import NoService, ProblemReply
from ops.export.examples import EXAMPLES
from ops.export.lake.examples import LAKE_EXAMPLES


def known_exchanges(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001
    """Every exchange that can be recorded; the signature is click's, here and below."""
    return _beginning(EXCHANGES, incomplete)


def configured_exchanges(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001
    """The names under [exchanges]."""
    config = _config(ctx)
    return _beginning(config.exchanges, incomplete) if config else []


def configured_symbols(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001
    """The configured symbols, of the exchange named before where there is one."""
    config = _config(ctx)
    if config is None:
        return []
    named = ctx.params.get("exchange") or ""
    found = [one.symbols for name, one in config.exchanges.items() if named in ("", name)]
    return _beginning(sorted({text for texts in found for text in texts if not is_wildcard(text)}), incomplete)


def actors(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001
    """The actors of the running service."""
    try:
        found = client(ctx.params.get("config_path"), ctx.params.get("socket_path")).get("/v1/actors")
    except (ConfigErrors, NoService, ProblemReply, OSError):
        return []
    return _beginning((one["name"] for one in found), incomplete) if isinstance(found, list) else []


def examples(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001
    """The queries to begin with."""
    return _beginning(EXAMPLES, incomplete)


def lake_examples(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001
    """The queries to begin with on a lake."""
    return _beginning(LAKE_EXAMPLES, incomplete)


def _config(ctx: click.Context) -> Config | None:
    try:
        return configuration(ctx.params.get("config_path"))
    except (ConfigErrors, OSError):
        return None


def _beginning(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]
