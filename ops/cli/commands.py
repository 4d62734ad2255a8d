"""The commands of `tickwarden`, and the exit code of each outcome.

Each command is imported only when it is called: loading DuckDB, trio and the exchanges takes most of a second,
which --help does not need.
"""

import os
import sys
from importlib import import_module

import click

from ops.cli import streams
from ops.cli.lazy_group import LazyGroup
from ops.terminal.exit_codes import CONFIGURATION, FAILED, INTERRUPTED, NO_SERVICE, OK, USAGE

PROGRAM = "tickwarden"
COMPLETE_VARIABLE = "_TICKWARDEN_COMPLETE"  # with it a shell asks for completions; the name is click's

# In the order in which a new user needs them: name -> module of ops.cli, its name there, and what --help lists.
COMMANDS = {
    "demo": ("demo", "demo", "Record loopback exchanges and keep the DuckDB file."),
    "sandbox": (
        "sandbox",
        "sandbox",
        "Loopback exchanges that fail on demand; --prove shows that nothing is lost.",
    ),
    "init": ("init", "init", "Write a commented configuration, by asking or from options."),
    "run": ("run", "run", "Record until Ctrl-C or SIGTERM."),
    "check-config": ("check_config", "check_config", "Report every mistake in a configuration."),
    "exchanges": ("exchanges", "exchanges", "What each exchange offers and promises."),
    "doctor": ("doctor", "doctor", "Test every step to the configured exchanges."),
    "status": ("status", "status", "Is it recording? The store and every exchange at a glance."),
    "actors": ("status", "actors", "Every actor: state, restarts, last error, mailbox."),
    "top": ("top", "top", "The whole service, live."),
    "events": ("live", "events", "What happened to the actors since the service started."),
    "tail": ("live", "tail", "Live ticks as they arrive, until Ctrl-C."),
    "query": ("query", "query", "Run SQL on the DuckDB file."),
    "gaps": ("gaps", "gaps", "What is known to be missing."),
    "coverage": ("gaps", "coverage", "Is this time range complete?"),
    "report": ("report", "report_command", "Write an HTML report: verified, repaired, lost, unverifiable."),
    "instruments": ("instruments", "instruments", "The markets that the exchanges list, as stored last."),
    "repair": ("repair", "repair", "Request a time range again from an exchange."),
    "replay": ("replay", "replay", "Print stored ticks in the order of receipt."),
    "export": ("export", "export_command", "Copy the recording to PATH, as of one moment."),
    "lake": ("lake", "lake", "The lake of several recorders: query, status, compact, verify."),
    "restart": ("actor_commands", "restart", "Restart an actor now and reset its failure count."),
    "pause": ("actor_commands", "pause", "Stop an actor until `resume`."),
    "resume": ("actor_commands", "resume", "Start a paused actor again."),
    "flush": ("actor_commands", "flush", "Make everything received so far durable now."),
    "merge": ("actor_commands", "merge", "Merge the tail into the DuckDB file now."),
    "reload": ("reconfigure", "reload", "Make the service read its configuration again."),
    "symbols": ("reconfigure", "symbols", "Add and remove symbols of a running exchange."),
    "log-level": ("reconfigure", "log_level", "Change how much the service logs."),
    "completion": ("completion", "completion", "Print the completion script of bash, zsh or fish."),
}


class _Commands(LazyGroup):
    """Ends quietly when the reader of the output has closed it."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except (BrokenPipeError, BaseExceptionGroup) as error:  # click would treat it as a failure
            others = error.split(BrokenPipeError)[1] if isinstance(error, BaseExceptionGroup) else None
            if others is not None or not streams.reader_gone():
                raise
            streams.silence()
            return OK


@click.group(
    cls=_Commands,
    places=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="tickwarden", prog_name=PROGRAM)
def cli() -> None:
    """Records every trade of many crypto exchanges into one DuckDB file that anyone can query meanwhile."""


def main() -> None:
    """Runs the command named in sys.argv and ends the process with its exit code."""
    streams.prepare()
    sys.exit(streams.flushed(run_command()))


def run_command() -> int:
    """Runs the command named in sys.argv; returns its exit code."""
    try:
        if COMPLETE_VARIABLE in os.environ:
            import_module("ops.cli.completion")  # how bash is answered
        result = cli.main(prog_name=PROGRAM, standalone_mode=False)
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
    except BaseExceptionGroup as group:
        if group.split(KeyboardInterrupt)[1] is None:
            return INTERRUPTED  # Ctrl-C, as raised by a nursery
        if group.split(OSError)[1] is not None:
            raise
        return _refused(group)
    except OSError as error:
        return _refused(error)
    except Exception as error:
        code = _exit_code(error)
        if code is None:
            raise
        click.echo(str(error), err=True)
        return code
    return result if isinstance(result, int) else OK


def _exit_code(error: Exception) -> int | None:
    """The exit code of an error that is an answer to the user; None for a bug."""
    from ops.config.config import ConfigErrors
    from ops.control.client import NoService, ProblemReply
    from ops.export.target import ExportError

    kinds = {ConfigErrors: CONFIGURATION, NoService: NO_SERVICE, ProblemReply: FAILED, ExportError: FAILED}
    return next((code for kind, code in kinds.items() if isinstance(error, kind)), None)


def _refused(error: BaseException) -> int:
    """Reports an error of the operating system as text instead of an error number."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, OSError)
    where = f" ({error.filename})" if error.filename else ""
    click.echo(f"the system refused what this command needs: {error.strerror or error}{where}", err=True)
    return FAILED
