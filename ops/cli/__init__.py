"""The command line: one command, `tickwarden`; results to stdout, everything else to stderr."""

import os
import sys
from importlib.metadata import version

import click

from ops.cli.change import changes
from ops.cli.command import commands
from ops.cli.follow import events, tail, top
from ops.cli.inspect import actors, status
from ops.cli.learn import check_config, exchanges
from ops.cli.play import demo, sandbox
from ops.cli.read import query
from ops.cli.run import run
from ops.config import ConfigErrors
from ops.control.client import NoService, ProblemReply
from ops.exits import CONFIGURATION, FAILED, INTERRUPTED, NO_SERVICE, OK, USAGE
from ops.nearest import did_you_mean


class _InOrder(click.Group):
    """Lists commands as they were added, and names the nearest for one that does not exist."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - the signature is click's
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            raise click.UsageError(f"{error.message} {did_you_mean(args[0], self.commands)}", ctx) from error


@click.group(cls=_InOrder, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(version("tickwarden"), prog_name="tickwarden")
def cli() -> None:
    """Records every trade of many crypto exchanges into one DuckDB file that anyone can query meanwhile."""


# In the order in which a new user meets them.
for command in (
    demo,
    run,
    check_config,
    exchanges,
    status,
    actors,
    top,
    events,
    tail,
    query,
    *commands,
    *changes,
    sandbox,
):
    cli.add_command(command)


def main() -> None:
    """The entry point: runs a command and turns what went wrong into a message and an exit code."""
    sys.exit(_run())


def _run() -> int:
    try:
        result = cli.main(standalone_mode=False)
    except click.UsageError as error:
        error.show()
        return USAGE
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.exceptions.Exit as exit_:
        return exit_.exit_code
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except ConfigErrors as errors:
        click.echo(str(errors), err=True)
        return CONFIGURATION
    except NoService as error:
        click.echo(str(error), err=True)
        return NO_SERVICE
    except ProblemReply as problem:
        click.echo(str(problem), err=True)
        return FAILED
    except BrokenPipeError:
        # `tickwarden query ... | head`: the reader has had enough. Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    return result if isinstance(result, int) else OK
