"""`tickwarden restart`, `pause`, `resume`, `flush`, `merge`: commands through the control socket."""

from pathlib import Path

import click

from ops.cli.common import client, config_option, json_option, print_json, socket_option
from ops.cli.completing import actors
from ops.control.client import segment
from ops.terminal.exit_codes import OK


def _actor_command(verb: str, help_text: str) -> click.Command:
    """A command on one actor."""

    @click.command(verb, help=help_text)
    @click.argument("name", shell_complete=actors)
    @config_option
    @socket_option
    @json_option
    def command(name: str, config_path: Path | None, socket_path: Path | None, as_json: bool) -> int:
        answer = client(config_path, socket_path).post(f"/v1/actors/{segment(name)}/{verb}")
        _answer(answer, as_json, f"{name}: {verb} done")
        return OK

    return command


def _service_command(verb: str, help_text: str, done: str) -> click.Command:
    """A command on the whole service."""

    @click.command(verb, help=help_text)
    @config_option
    @socket_option
    @json_option
    def command(config_path: Path | None, socket_path: Path | None, as_json: bool) -> int:
        answer = client(config_path, socket_path).post(f"/v1/{verb}")
        _answer(answer, as_json, done)
        return OK

    return command


def _answer(answer: object, as_json: bool, done: str) -> None:
    if as_json:
        print_json(answer)
    else:
        click.echo(done)


restart = _actor_command("restart", "Restart an actor now and reset its failure count.")
pause = _actor_command("pause", "Stop an actor until `resume`.")
resume = _actor_command("resume", "Start a paused actor again.")
flush = _service_command("flush", "Make everything received so far durable now.", "flushed")
merge = _service_command("merge", "Merge the tail into the DuckDB file now.", "merged")
