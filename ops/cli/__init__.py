"""The entry point of the command `tickwarden`: what has to be done before anything heavy is imported."""

from ops.service import signals


def main() -> None:
    """Runs the command line. A stop that is asked for while it is being imported counts for `run`."""
    signals.note_from_now_on()
    from ops.cli import main as command_line

    command_line()
