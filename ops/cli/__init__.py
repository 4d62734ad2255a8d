"""The command line: one command, `tickwarden`; results to stdout, everything else to stderr.

This module is the entry point and imports nothing heavy, so that a signal during the imports is not lost.
"""

from ops.service import signals


def main() -> None:
    """Runs the command line. A signal that arrives while it is imported takes effect in `run`."""
    signals.record_from_now_on()
    from ops.cli.commands import main as run

    run()
