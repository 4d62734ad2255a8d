"""The command line `tickwarden`: results go to stdout, everything else to stderr.

Running
  run, init, check_config, demo, sandbox, doctor
Reading the file
  query, gaps (and coverage), report, export
Reading the lake of several recorders
  lake             the list of its commands; lake_query, lake_status, lake_verify: each of them
  lake_place       shared: where the lake is
Talking to the running service
  status (and actors), top, live (events and tail), repair
  actor_commands   restart, pause, resume, flush, merge
  reconfigure      reload, symbols, log-level
What can be recorded
  exchanges, instruments
Helpers
  commands         the list of commands; exit codes
  lazy_group       imports a command when it is called
  common           shared options; --json
  chosen           the exchanges and markets that a command is limited to must be known
  row_output       for the commands that run SQL: formats, files, examples
  questions        what `init` asks
  completion, completing   the scripts for shells, and the names that they complete
  streams          stdout and stderr that may be closed or limited
  ctrl_c           Ctrl-C while an engine computes

This module is the entry point and imports nothing heavy, so that a signal during the imports is not lost.
"""

import gc

from ops.service import signals


def main() -> None:
    """Runs the command line. A signal that arrives while it is imported takes effect in `run`."""
    signals.record_from_now_on()
    gc.disable()  # until the command is imported: collections find nothing there and take a tenth of a start
    from ops.cli.commands import main as run

    run()
