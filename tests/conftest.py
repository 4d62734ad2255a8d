"""What holds for all tests: folders in memory, and nothing tried by the clock or, in the normal run, by chance."""

import gc
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, settings

from tests.harness.amounts import CHAOS, amount
from tests.harness.sampling import SAMPLE, chosen
from tests.harness.store_harness import memory_folder

# The same examples every time, so that a run fails for what was changed; tests/chaos draws new ones.
settings.register_profile(
    "tickwarden",
    deadline=None,
    max_examples=amount(25, 1000),
    derandomize=not os.environ.get(CHAOS),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("tickwarden")


chosen()  # before xdist starts its processes, which must collect the same tests


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not os.environ.get(CHAOS):
        terminalreporter.write_line(f"exchanges were sampled with {SAMPLE}={chosen()}")


# A run that was started in the background, or by nohup, ignores these, and so would every process it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# The services that tests start, over a hundred, would each compile all modules again: a third of a second.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# What waits longest begins first, so that no process is left alone with it at the end.
LONG = (
    "test_compact.py",
    "test_browser.py",
    "test_exactly_once.py",
    "test_lake.py",
    "test_kill.py",
    "test_truth.py",
    "test_pages.py",
    "test_repair.py",
    "test_cli.py",
    "test_output.py",
    "test_add_an_exchange.py",
    "test_take_over.py",
    "test_prove.py",
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not os.environ.get(CHAOS):
        config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("slow")])
        items[:] = [item for item in items if not item.get_closest_marker("slow")]
    items.sort(key=lambda item: item.path.name not in LONG)


def pytest_collection_finish() -> None:
    """The thousands of tests are there until the end: no search for garbage has to go through them."""
    gc.freeze()


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    """The command line that a test runs in this process changes what signals do; the next test starts afresh."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(autouse=True)
def _clock_as_before() -> Iterator[None]:
    """Two replacements of the clock that are undone in the wrong order leave one of them to all later tests."""
    before = time.time_ns
    yield
    after, time.time_ns = time.time_ns, before
    assert after is before


@pytest.fixture(autouse=True)
def _logs_as_before() -> Iterator[None]:
    """A command that runs in this process sets up the logs, and would drop lines of later tests."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder of the test's own, where fsync costs nothing: a busy disk takes longer than all else together."""
    with memory_folder() as folder:
        yield folder
