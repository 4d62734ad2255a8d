"""`tickwarden instruments` shows the newest row of each market in the file."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from actors.model.batch import Batch
from actors.settings import StoreSettings
from actors.store.store import Store
from tests.harness.buffering import LISTED
from tests.harness.cli_process import tickwarden_here
from tests.harness.store_harness import memory_folder

LATER_NS = LISTED.seen_ns + 10**9
SPOT = replace(LISTED, symbol="BTC/USD", native_symbol="BTC-USD", kind="spot", settle=None, volume_unit="base")
ROWS = (
    LISTED,
    replace(LISTED, active=False, seen_ns=LATER_NS, price_step="0.1"),
    SPOT,
    replace(SPOT, exchange="y", symbol="ETH/USD", native_symbol="ETHUSD", base="ETH"),
)


@pytest.fixture(scope="module")
def file() -> Iterator[Path]:
    """As a service that runs keeps it: all of it is in the tail. The tests only read it."""
    with memory_folder() as folder:
        store = Store(StoreSettings(path=folder / "t.duckdb"))
        store.start()
        store.write(Batch(store.next_number(), instruments=ROWS))
        store.close()
        yield folder / "t.duckdb"


@pytest.mark.parametrize(
    ("words", "natives"),
    [
        ([], ["BTC-USD", "XBTUSD", "ETHUSD"]),
        (["x"], ["BTC-USD", "XBTUSD"]),
        (["--base", "ETH"], ["ETHUSD"]),
        (["--kind", "spot"], ["BTC-USD", "ETHUSD"]),
        (["x", "--kind", "swap", "--base", "BTC"], ["XBTUSD"]),
        (["y", "--base", "BTC"], []),
    ],
)
def test_the_list_can_be_narrowed(file: Path, words: list[str], natives: list[str]) -> None:
    shown = tickwarden_here("instruments", *words, "--file", str(file), "--json", folder=file.parent)
    assert [row["native_symbol"] for row in json.loads(shown.stdout)] == natives


def test_the_newest_row_counts(file: Path) -> None:
    shown = tickwarden_here("instruments", "x", "--kind", "swap", "--file", str(file), "--json", folder=file.parent)
    (row,) = json.loads(shown.stdout)
    assert (row["active"], row["price_step"], row["settle"]) == (False, "0.1", "BTC")
    table = tickwarden_here("instruments", "--file", str(file), folder=file.parent)
    assert table.returncode == 0 and "XBTUSD" in table.stdout
