"""`tickwarden check-config`: every mistake in a configuration, and what is expected instead."""

from pathlib import Path

import click

from ops.cli.common import LocalPath, extent, json_option, print_json
from ops.config.config import Config, ConfigErrors, find_config, load_config
from ops.config.paths import host_mistakes
from ops.terminal.exit_codes import CONFIGURATION, OK


@click.command("check-config")
@click.argument("path", required=False, type=LocalPath(path_type=Path))
@click.option("--config", "config_path", type=LocalPath(path_type=Path), help="The same as PATH.")
@json_option
def check_config(path: Path | None, config_path: Path | None, as_json: bool) -> int:
    """Report every mistake in a configuration with its key and what is expected; exit 78 if there is any.

    Paths, the group and the http port are checked for this host and this user: run it as the service's user.
    """
    if path is not None and config_path is not None:
        raise click.UsageError("name one configuration, by PATH or by --config, not both")
    found = find_config(path or config_path)
    name = str(found) if found else None
    try:
        config = _checked(found)
    except ConfigErrors as errors:
        if as_json:
            print_json({"path": name, "mistakes": [str(mistake) for mistake in errors.mistakes]})
        else:
            click.echo(str(errors), err=True)
        return CONFIGURATION
    if as_json:
        print_json({"path": name, "mistakes": []})
    else:
        where = name or "the built-in default"
        click.echo(f"{where}: fine; {extent(config)}, into {config.store.path}")
    return OK


def _checked(path: Path | None) -> Config:
    """The configuration, if it can work here; raises ConfigErrors."""
    config = load_config(path)
    if mistakes := list(host_mistakes(config)):
        raise ConfigErrors(path, mistakes)
    return config
