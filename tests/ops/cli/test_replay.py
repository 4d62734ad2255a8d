"""`tickwarden replay`: the lines of the tap, from the file, as NDJSON or CSV."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.cli_process import tickwarden, tickwarden_here
from tests.harness.recording_samples import settings, store
from tests.harness.store_harness import memory_folder
from tests.harness.tick_streams import tick, write

FIRST = {
    "exchange": "binance",
    "symbol": "BTC/USDT",
    "timestamp": "2026-05-28T20:26:39.999000Z",
    "received_at": "2026-05-28T20:26:40.000000Z",
    "price": "60000.1",
    "volume": "0.5",
    "side": "buy",
    "trade_id": "1",
    "source": "stream",
}


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Three ticks of two exchanges, of which the last arrived first. The tests only read them."""
    with memory_folder() as folder, store(settings(folder)) as made:
        write(made, [[tick("kraken", "BTC/USD", at_us=2, trade_id=None, side=None)]])
        write(made, [[tick(), tick(symbol="ETH/USDT", at_us=1, trade_id="2")]])
        yield folder


def lines(folder: Path, *words: str) -> list[dict[str, str | None]]:
    done = tickwarden_here("replay", "--file", "ticks.duckdb", *words, folder=folder)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_it_prints_a_json_object_a_line_in_the_order_of_receipt(folder: Path) -> None:
    found = lines(folder)
    assert found[0] == FIRST
    assert [line["exchange"] for line in found] == ["binance", "binance", "kraken"]
    assert (found[2]["timestamp"], found[2]["side"], found[2]["trade_id"]) == (None, None, None)


def test_it_prints_csv(folder: Path) -> None:
    done = tickwarden(
        "replay", "--file", "ticks.duckdb", "--csv", folder=folder
    )  # a pipe, and no text stream of ours
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert rows[0] == FIRST and len(rows) == 3 and rows[2]["side"] == ""


def test_it_is_limited_by_time_exchange_and_symbol(folder: Path) -> None:
    assert [line["symbol"] for line in lines(folder, "--symbol", "*/USDT")] == ["BTC/USDT", "ETH/USDT"]
    assert [line["symbol"] for line in lines(folder, "--exchange", "kraken")] == ["BTC/USD"]
    assert len(lines(folder, "--exchange", "kraken", "--exchange", "binance")) == 3
    since = ("--from", "2026-05-28T20:26:40.000001Z", "--to", "2026-05-28T20:26:40.000002Z")
    assert [line["symbol"] for line in lines(folder, *since)] == ["ETH/USDT"]
    assert [line["symbol"] for line in lines(folder, "--speed", "0.001", *since)] == ["ETH/USDT"]


@pytest.mark.parametrize(("form", "lines_out"), [((), 0), (("--csv",), 1)])
def test_a_range_without_ticks_says_so_beside_the_output(
    form: tuple[str, ...], lines_out: int, folder: Path
) -> None:
    done = tickwarden_here("replay", "--file", "ticks.duckdb", "--from", "2030-01-01", *form, folder=folder)
    assert (done.returncode, len(done.stdout.splitlines())) == (0, lines_out)
    assert "nothing was recorded there; `tickwarden coverage` shows what was" in done.stderr


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--symbol", "*USDT"), 64, "is no wildcard"),
        (("--from", "yesterday"), 64, "is not a time"),
        (("--speed", "0"), 64, "range"),
        (("--speed", "nan"), 64, "not a number"),
        (("--file", "nothing.duckdb"), 1, "no such file"),
    ],
)
def test_a_mistake_is_named(words: tuple[str, ...], code: int, said: str, folder: Path) -> None:
    done = tickwarden_here("replay", *words, folder=folder)
    assert done.returncode == code and said in done.stderr and done.stdout == ""
