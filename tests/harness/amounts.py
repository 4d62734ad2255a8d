"""How much of something a test does: a sample in the normal run, all of it under tests/chaos."""

import os

import pytest

CHAOS = "TICKWARDEN_CHAOS"  # set by tests/chaos/test_more.py


def amount(normal: int, chaos: int) -> int:
    """Examples, seeds, rounds: `normal` keeps a promise watched, `chaos` looks for what hides from it."""
    return chaos if os.environ.get(CHAOS) else normal


def variants(*values: object, kept: int = 1) -> list[object]:
    """Values of a parameter, of which the normal run tries the first ones and tests/chaos all."""
    return [*values[:kept], *(_slow(value) for value in values[kept:])]


def _slow(value: object) -> object:
    parts = value if isinstance(value, tuple) else (value,)
    return pytest.param(*parts, marks=pytest.mark.slow)
