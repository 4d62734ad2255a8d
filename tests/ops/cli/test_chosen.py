"""What a command is limited to must exist: time ranges, exchanges and markets that cannot be are wrong use."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.cli_process import tickwarden_here
from tests.harness.lake_values import small_lake
from tests.harness.recording_samples import settings, store
from tests.harness.service_process import Sandbox, Service, recording, sandbox
from tests.harness.store_harness import memory_folder
from tests.harness.tick_streams import tick, write

__all__ = ["sandbox"]  # the fixture

RANGED = ("gaps", "coverage", "report", "export copy.duckdb", "replay", "repair --exchange okx --symbol BTC/USDT")
BTC = ("--exchange", "binance", "--symbol", "BTC/USDT")


@pytest.mark.parametrize("words", RANGED)
@pytest.mark.parametrize("backwards", [False, True])
def test_a_time_range_that_ends_before_it_begins_is_wrong_use(words: str, backwards: bool, tmp_path: Path) -> None:
    options = [("--from", "2026-06-02"), ("--to", "2026-06-01")]
    asked = [word for option in (reversed(options) if backwards else options) for word in option]
    done = tickwarden_here(*words.split(), *asked, folder=tmp_path)
    assert (done.returncode, done.stdout) == (64, "")
    assert "begins before it ends" in done.stderr and "2026-06-02" in done.stderr and "2026-06-01" in done.stderr


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A recording of binance BTC/USDT, a configuration for it that has another exchange and a wildcard, and a lake.

    All tests of this module read it, and none changes it.
    """
    with memory_folder() as made:
        with store(settings(made)) as recorded:
            write(recorded, [[tick()]])
        (made / "tickwarden.toml").write_text(
            '[exchanges.kraken]\nsymbols = ["BTC/USD"]\n[exchanges.okx]\nsymbols = ["*/USDT"]\n'
        )
        small_lake(str(made / "lake"))
        yield made


@pytest.mark.parametrize("command", ["gaps", "coverage", "replay"])
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--exchange", "binanse"), ("'binanse'", "'binance'")),
        (("--symbol", "BTC/USDX"), ("'BTC/USDX'", "BTC/USDT")),
        (("--exchange", "kraken", "--symbol", "BTC/USDT"), ("kraken", "'BTC/USD'")),
        (("--exchange", "okx", "--symbol", "BTC/USD"), ("'BTC/USD'", "*/USDT")),
    ],
)
def test_what_neither_the_file_has_nor_its_configuration_is_wrong_use(
    command: str, words: tuple[str, ...], said: tuple[str, ...], folder: Path
) -> None:
    done = tickwarden_here(command, *words, folder=folder)
    assert (done.returncode, done.stdout) == (64, "")
    assert all(part in done.stderr for part in said)


@pytest.mark.parametrize("command", ["gaps", "coverage", "replay"])
@pytest.mark.parametrize(
    "words",
    [BTC, ("--exchange", "kraken", "--symbol", "BTC/USD"), ("--exchange", "okx", "--symbol", "NEW/USDT")],
    ids=["recorded only", "configured only", "by a wildcard"],
)
def test_what_is_only_recorded_or_only_configured_is_known(
    command: str, words: tuple[str, ...], folder: Path
) -> None:
    assert tickwarden_here(command, *words, folder=folder).returncode == 0


def test_a_configuration_for_another_file_does_not_count(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "tickwarden.toml", tmp_path)
    shutil.copy(folder / "ticks.duckdb", tmp_path / "other.duckdb")
    shutil.copytree(folder / "ticks.duckdb.tail", tmp_path / "other.duckdb.tail")
    asked = ("gaps", "--file", "other.duckdb")
    assert tickwarden_here(*asked, *BTC, folder=tmp_path).returncode == 0
    assert tickwarden_here(*asked, "--exchange", "kraken", folder=tmp_path).returncode == 64


def test_an_unknown_exchange_has_no_list_and_a_known_one_may_lack_it(folder: Path) -> None:
    unknown, known = (tickwarden_here("instruments", name, folder=folder) for name in ("krakn", "kraken"))
    assert unknown.returncode == 64 and "'kraken'" in unknown.stderr
    assert known.returncode == 0 and "no such market is in the lists" in known.stderr


@pytest.mark.parametrize("command", [("verify",), ("compact", "--dry-run")])
def test_an_exchange_that_a_lake_does_not_have_is_wrong_use(command: tuple[str, ...], folder: Path) -> None:
    unknown, known, configured = (
        tickwarden_here("lake", *command, "--uri", "lake", "--exchange", name, folder=folder)
        for name in ("krakken", "binance", "okx")
    )
    assert (unknown.returncode, unknown.stdout) == (64, "") and "'kraken'" in unknown.stderr
    nothing = 1 if command == ("verify",) else 0  # right use, but no row of it was compared
    assert (known.returncode, configured.returncode) == (0, nothing), known.stderr + configured.stderr


@pytest.fixture(scope="module")
def live(sandbox: Sandbox) -> Iterator[Service]:
    """A service that records binance."""
    with memory_folder() as made, recording(made, sandbox.tables("binance")) as (service, _):
        yield service


@pytest.mark.parametrize(
    "words", [("--exchange", "binanse"), ("--symbol", "BTC/USDX"), ("--exchange", "binance", "--symbol", "X/Y")]
)
def test_the_live_tail_refuses_what_the_service_does_not_record(words: tuple[str, ...], live: Service) -> None:
    done = tickwarden_here("tail", *words, folder=live.folder)
    assert (done.returncode, done.stdout) == (64, ""), done.stderr
    assert "is recorded now" in done.stderr and "known" in done.stderr


def test_a_market_that_is_added_and_not_listed_is_not_said_to_be_recorded(live: Service) -> None:
    live.wait_for_log("instruments_known")
    added = tickwarden_here("symbols", "binance", "--add", "FOO/USDT", folder=live.folder)
    assert added.returncode == 1 and "FOO/USDT" not in added.stdout and "BTC/USDT" in added.stdout
    assert "not recorded: FOO/USDT: binance does not list it" in added.stderr


def test_a_market_that_is_added_before_the_list_is_known_is_in_doubt(tmp_path: Path, sandbox: Sandbox) -> None:
    table = re.sub(r'rest_url = ".*"', 'rest_url = "http://127.0.0.1:9"', sandbox.tables("binance"))
    with recording(tmp_path, table):
        added = tickwarden_here("symbols", "binance", "--add", "FOO/USDT", folder=tmp_path)
    assert added.returncode == 0 and "FOO/USDT" in added.stdout
    assert "no list of binance that was read yet has FOO/USDT" in added.stderr


@pytest.mark.parametrize("since", ["-5min", "5 minutes", "yesterday"])
def test_a_time_ago_that_cannot_be_read_is_answered_with_one_that_can(since: str, tmp_path: Path) -> None:
    done = tickwarden_here("events", f"--since={since}", folder=tmp_path)
    assert done.returncode == 64 and "15min" in done.stderr and "2026-06-01T12:30:00Z" in done.stderr
