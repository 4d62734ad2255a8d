"""The examples run over a file and over a running service, and the notebook shows what is recorded."""

import csv
import importlib.util
import inspect
import subprocess
import sys
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest

from ops.client import Tick
from ops.examples import views
from ops.examples.bars import Bar, Bars
from ops.examples.spread import Spread, SpreadWatcher
from tests.harness.cli_process import environment, sandbox, wait_for
from tests.harness.exchange_values import FIVE
from tests.harness.paths import ROOT
from tests.harness.recording_samples import settings, store
from tests.harness.service_process import Service, recording
from tests.harness.tick_streams import BEGAN_US, tick, write

NOTEBOOK = ROOT / "ops" / "examples" / "notebook.py"


def run(name: str, *words: str, folder: Path) -> list[str]:
    """What an example prints."""
    done = subprocess.run(
        [sys.executable, "-m", f"ops.examples.{name}", *words],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


TICKS = [
    tick("binance", at_us=0, price="100"),
    tick("kraken", at_us=400_000, price="100.01"),
    tick("okx", at_us=900_000, price="100.10", volume="2"),
    tick("okx", at_us=1_000_000, price="100.20"),
    tick("kraken", at_us=1_500_000, price="99.90"),
    tick("binance", at_us=2_500_000, price="100.20"),
    tick("okx", "ETH/USDT", at_us=2_600_000, price="5"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with store(settings(tmp_path)) as made:
        write(made, [[one] for one in reversed(TICKS)])
    return tmp_path


def test_the_spread_watcher_reports_each_new_widest_difference(folder: Path) -> None:
    watcher = SpreadWatcher(Decimal(5))
    found = [spread for one in TICKS if (spread := watcher.update(one))]
    assert [(one.low, one.high, round(one.bps)) for one in found] == [
        ("binance", "okx", 10),
        ("binance", "okx", 20),
        ("kraken", "okx", 30),
    ]
    assert found[0] == Spread(BEGAN_US + 900_000, "BTC/USDT", "binance", "okx", Decimal(10))
    lines = run("spread", "ticks.duckdb", "--bps", "5", folder=folder)
    assert [line.split()[1:3] for line in lines] == [
        ["BTC/USDT", "10.00"],
        ["BTC/USDT", "20.00"],
        ["BTC/USDT", "30.03"],
    ]


def test_a_price_that_is_old_or_of_the_past_is_not_compared() -> None:
    watcher = SpreadWatcher(Decimal(5))
    assert watcher.update(tick("binance", price="90")) is None
    assert watcher.update(tick("okx", at_us=11_000_000, price="100")) is None
    late = Tick("kraken", "BTC/USDT", 0, BEGAN_US, Decimal(1), Decimal(1), "buy", "1", "backfill")
    assert watcher.update(late) is None


def test_bars_hold_the_trades_of_each_second(folder: Path) -> None:
    bars = Bars()
    found = [bar for one in TICKS for bar in bars.update(one)] + bars.finish()
    price = Decimal("100.1")
    assert found[2] == Bar("okx", "BTC/USDT", BEGAN_US, price, price, price, price, Decimal(2))
    assert sum(bar.trades for bar in found) == len(TICKS) and len(found) == 7
    rows = list(csv.DictReader(run("bars", "ticks.duckdb", folder=folder)))
    assert [(row["exchange"], Decimal(row["close"])) for row in rows] == [
        (bar.exchange, bar.close) for bar in found
    ]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    with sandbox(folder, rate=100.0) as config, recording(folder, config) as (service, _):
        wait_for("a second of trades of each", lambda: min(map(service.stored, FIVE)) > 100)
        yield service


@pytest.mark.parametrize(("name", "every_us"), [("bars", 1_000_000), ("spread --bps 0", 5_000)])
def test_a_reader_that_closes_the_output_ends_an_example_quietly(name: str, every_us: int, tmp_path: Path) -> None:
    with store(settings(tmp_path)) as made:
        rising = [tick(at_us=n * every_us, price=str(n + 1), trade_id=str(n)) for n in range(1000)]
        write(made, [[one] for one in rising] + [[tick("kraken", price="0.5")]])
    script, *words = name.split()
    with subprocess.Popen(
        [sys.executable, "-m", f"ops.examples.{script}", "ticks.duckdb", *words],
        cwd=tmp_path,
        env=environment(tmp_path, PYTHONUNBUFFERED="1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()
        complaint = process.stderr.read()
    assert (process.returncode, complaint) == (0, b"")


def test_the_same_scripts_run_over_a_running_service(service: Service) -> None:
    socket = "ticks.duckdb.sock"
    (line,) = run("spread", socket, "--symbol", "BTC/USDT", "--bps", "0", "--most", "1", folder=service.folder)
    assert "BTC/USDT" in line and "<" in line
    rows = list(csv.DictReader(run("bars", socket, "--most", "3", folder=service.folder)))
    assert len(rows) == 3 and all(int(row["trades"]) >= 1 for row in rows)


def test_the_notebook_has_candles_spread_and_coverage(service: Service) -> None:
    file = service.folder / "ticks.duckdb"
    busiest = views.markets(file)[0]
    candles = views.candles(file, busiest["exchange"], busiest["symbol"], seconds=1)
    assert candles and all(row["low"] <= row["open"] <= row["high"] for row in candles)
    assert all(row["low"] <= row["close"] <= row["high"] and row["volume"] > 0 for row in candles)
    spreads = views.spread(file, "BTC/USDT", seconds=1)
    assert spreads and all(
        row["bps"] >= 0 and row["exchanges"] > 1 and row["low"] != row["high"] for row in spreads
    )
    assert {row["exchange"] for row in views.coverage(file)} == {row["exchange"] for row in views.markets(file)}


@pytest.mark.parametrize("ids", [(9, 10, 11), (11, 10, 9)])
def test_candles_and_spreads_of_the_notebook_end_with_the_last_trade_of_a_sweep_by_its_number(
    ids: tuple[int, ...], tmp_path: Path
) -> None:
    """The trades of a sweep have the same times: only their ids tell them apart."""
    now_us = time.time_ns() // 1000 - BEGAN_US
    with store(settings(tmp_path)) as made:
        sweep = [tick(at_us=now_us, price=str(number), trade_id=str(number)) for number in ids]
        write(made, [sweep, [tick("kraken", at_us=now_us, price="22")]])
        (candle,) = views.candles(tmp_path / "ticks.duckdb", "binance", "BTC/USDT")
        assert (candle["open"], candle["close"]) == (9, 11)
        (spread,) = views.spread(tmp_path / "ticks.duckdb", "BTC/USDT")
        assert round(spread["bps"]) == 10_000


def test_every_cell_of_the_notebook_runs(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without marimo: what it gives is passed from cell to cell by the names of the arguments, as it does."""
    cells: list[Any] = []
    marimo, shown = MagicMock(), MagicMock()
    marimo.App.return_value.cell = cells.append
    marimo.ui.dropdown = lambda names, **_: MagicMock(value=next(name for name in names if "BTC/USDT" in name))
    marimo.ui.slider = lambda *_, value, **__: MagicMock(value=value)
    for name, module in (("marimo", marimo), ("altair", shown)):
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setenv("TICKS", str(service.folder / "ticks.duckdb"))
    spec = importlib.util.spec_from_file_location("notebook", NOTEBOOK)
    assert spec is not None and spec.loader is not None
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    names: dict[str, Any] = {}
    assigned: set[str] = set()
    for cell in cells:
        own = {name for name in cell.__code__.co_varnames[cell.__code__.co_argcount :] if not name.startswith("_")}
        assert not own & assigned, "marimo accepts a name in one cell only"
        assigned |= own
        wanted = inspect.signature(cell).parameters
        returned = cell(**{name: names[name] for name in wanted})
        last = inspect.getsource(cell).rstrip().rpartition("return ")[2].strip("()\n, ")
        names.update(zip(last.split(", "), returned, strict=True))
    assert names["candles"] and names["spreads"] and names["covered"] and len(cells) == 5


@pytest.mark.slow  # test_every_cell_of_the_notebook_runs has the same cells
@pytest.mark.skipif(importlib.util.find_spec("marimo") is None, reason="pip install -e '.[notebook]'")
def test_the_notebook_runs_as_a_script(service: Service) -> None:
    chosen = environment(service.folder, TICKS=str(service.folder / "ticks.duckdb"))
    done = subprocess.run(
        [sys.executable, NOTEBOOK], env=chosen, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
