"""Where things lie that tests use."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"
CERTS = TESTS / "certs"
OPS = ROOT / "ops"
EXCHANGES_FOLDER = TESTS / "exchanges"


def capture(path: str) -> Path:
    """A recorded file from "NAME/file", as it lies below tests/exchanges/NAME/captures."""
    exchange, _, name = path.partition("/")
    return EXCHANGES_FOLDER / exchange / "captures" / name
