"""How much of something a test does: a sample in the normal run, all of it under tests/chaos."""

import os

CHAOS = "TICKWARDEN_CHAOS"  # set by tests/chaos/test_more.py


def amount(normal: int, chaos: int) -> int:
    """Examples, seeds, rounds: `normal` keeps a promise watched, `chaos` looks for what hides from it."""
    return chaos if os.environ.get(CHAOS) else normal
