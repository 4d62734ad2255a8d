"""The files are those of Tardis' trades: parsed here, and by the importers of backtesters where there are any.

python3 -m venv importers && importers/bin/pip install hftbacktest==2.4.4 nautilus_trader
TICKWARDEN_IMPORTERS=importers/bin/python pytest -n 0 tests/ops/export/test_tardis.py
"""

import csv
import gzip
import json
import os
import subprocess
from pathlib import Path

import pytest

from actors.exchanges.registry import EXCHANGES
from actors.model.batch import Batch
from actors.model.records import InstrumentRow
from ops.client import Tick
from ops.export.export import TimeRange
from ops.export.tardis import NAMES, exchange_name, export_tardis
from ops.export.target import ExportError
from tests.harness.cli_process import tickwarden_here
from tests.harness.recording_samples import settings, store
from tests.harness.tick_streams import BEGAN_US, tick, write

DAY = "2026-05-28"  # of BEGAN_US, 3 h 33 min before its end
NEXT_DAY_US = 13_000_000_000
PERPETUAL = ("binanceusdm", "BTC/USDT:USDT")
COLUMNS = ["exchange", "symbol", "timestamp", "local_timestamp", "id", "side", "price", "amount"]


def instrument(exchange: str, symbol: str, native: str, seen_us: int) -> InstrumentRow:
    return InstrumentRow(
        exchange,
        symbol,
        native,
        "spot",
        "BTC",
        "USDT",
        None,
        "base",
        None,
        None,
        None,
        active=True,
        seen_ns=(BEGAN_US + seen_us) * 1000,
    )


def record(folder: Path) -> list[Tick]:
    """Ticks of three markets on two days, not in the order of receipt; of two the native names are known."""
    ticks = [
        tick(*PERPETUAL, at_us=7, trade_id="12", price="60000.10", volume="0.001"),
        tick(*PERPETUAL, at_us=5, trade_id="11", price="60001", volume="20", side="sell"),
        tick(*PERPETUAL, at_us=NEXT_DAY_US, trade_id="13"),
        tick("kraken", "BTC/USD", at_us=6, trade_id=None, side=None),
        tick("whitebit", "ETH/USDT", at_us=1, trade_id='odd,"id"', volume="0.000000000000000001"),
    ]
    listed = [
        instrument(*PERPETUAL, "oldname", 0),
        instrument(*PERPETUAL, "btcusdt", 1),
        instrument("kraken", "BTC/USD", "BTC/USD", 1),
    ]
    with store(settings(folder)) as made:
        write(made, [ticks[:1], ticks[3:4]])
        write(made, [ticks[1:3], ticks[4:]])
        made.write(Batch(made.next_number(), instruments=tuple(listed)))
        made.merge()
    return ticks


def rows(path: Path) -> list[list[str]]:
    with gzip.open(path, "rt", newline="") as file:
        head, *found = csv.reader(file)
    assert head == COLUMNS
    return found


def test_there_is_a_file_for_each_exchange_day_of_receipt_and_native_symbol(tmp_path: Path) -> None:
    record(tmp_path)
    done = export_tardis(tmp_path / "ticks.duckdb", tmp_path / "made")
    assert sorted(path.name for path in (tmp_path / "made").iterdir()) == [
        f"binance-futures_trades_{DAY}_BTCUSDT.csv.gz",
        "binance-futures_trades_2026-05-29_BTCUSDT.csv.gz",
        f"kraken_trades_{DAY}_BTC-USD.csv.gz",
        f"whitebit_trades_{DAY}_ETH-USDT.csv.gz",  # the native name is not known
    ]
    assert (done.format, done.rows) == ("tardis", {"ticks": 5})


def test_the_rows_are_in_the_order_of_receipt_with_microseconds_and_the_digits_of_the_exchange(
    tmp_path: Path,
) -> None:
    record(tmp_path)
    made = tmp_path / "made"
    export_tardis(tmp_path / "ticks.duckdb", made)
    at = [str(BEGAN_US + us) for us in range(10)]
    before = [str(BEGAN_US + us - 1000) for us in range(10)]
    assert rows(made / f"binance-futures_trades_{DAY}_BTCUSDT.csv.gz") == [
        ["binance-futures", "BTCUSDT", before[5], at[5], "11", "sell", "60001", "20"],
        ["binance-futures", "BTCUSDT", before[7], at[7], "12", "buy", "60000.1", "0.001"],
    ]
    # neither time nor side nor id of the exchange
    assert rows(made / f"kraken_trades_{DAY}_BTC-USD.csv.gz") == [
        ["kraken", "BTC/USD", at[6], at[6], "", "unknown", "60000.1", "0.5"]
    ]
    assert rows(made / f"whitebit_trades_{DAY}_ETH-USDT.csv.gz")[0][4:] == [
        'odd,"id"',
        "buy",
        "60000.1",
        "0.000000000000000001",
    ]


def test_what_two_of_our_exchanges_call_the_same_does_not_share_a_file(tmp_path: Path) -> None:
    with store(settings(tmp_path)) as made:
        write(made, [[tick("coinbase", "BTC/USD")], [tick("coinbaseexchange", "BTC/USD")]])
    export_tardis(tmp_path / "ticks.duckdb", tmp_path / "made")
    names = sorted(path.name.partition("_")[0] for path in (tmp_path / "made").iterdir())
    assert names == ["coinbase", "coinbaseexchange"]


@pytest.mark.parametrize(
    ("exchange", "native", "names"),
    [
        ("bitget", "BTCUSDT", ["bitget", "bitget-futures"]),
        ("bingx", "BTC-USDT", ["bingx", "bingx-swap"]),
    ],
)
def test_two_kinds_of_market_that_an_exchange_calls_the_same_have_a_file_each(
    exchange: str, native: str, names: list[str], tmp_path: Path
) -> None:
    symbols = ("BTC/USDT", "BTC/USDT:USDT")
    with store(settings(tmp_path)) as made:
        write(made, [[tick(exchange, symbol) for symbol in symbols]])
        made.write(
            Batch(made.next_number(), instruments=tuple(instrument(exchange, one, native, 0) for one in symbols))
        )
    assert export_tardis(tmp_path / "ticks.duckdb", tmp_path / "made").rows == {"ticks": 2}
    assert sorted(path.name.partition("_")[0] for path in (tmp_path / "made").iterdir()) == names


def test_a_file_that_is_there_is_replaced_only_if_asked_for(tmp_path: Path) -> None:
    record(tmp_path)
    source, made = tmp_path / "ticks.duckdb", tmp_path / "made"
    half = TimeRange(None, BEGAN_US + 6)
    assert export_tardis(source, made, time_range=half).rows == {"ticks": 2}
    before = {path.name: path.read_bytes() for path in made.iterdir()}
    with pytest.raises(ExportError, match="--overwrite"):
        export_tardis(source, made)
    assert {path.name: path.read_bytes() for path in made.iterdir()} == before
    assert export_tardis(source, made, overwrite=True).rows == {"ticks": 5}
    assert [path.name for path in tmp_path.iterdir() if "partial" in path.name] == []


def test_the_command_writes_them_too(tmp_path: Path) -> None:
    record(tmp_path)
    words = ("export", "made", "--format", "tardis", "--file", "ticks.duckdb")
    done = tickwarden_here(*words, "--json", folder=tmp_path)
    assert json.loads(done.stdout)["rows"] == {"ticks": 5} and len(list((tmp_path / "made").iterdir())) == 4
    again = tickwarden_here(*words, folder=tmp_path)
    assert again.returncode == 1 and "--overwrite" in again.stderr
    (tmp_path / "made").chmod(0o700)
    refused = tickwarden_here("export", "made/", "--format", "duckdb", folder=tmp_path)
    assert refused.returncode == 64 and "name one" in refused.stderr


def test_every_name_is_one_of_ours_and_kinds_have_their_own() -> None:
    assert NAMES.keys() <= EXCHANGES.keys()
    assert [exchange_name("htx", symbol) for symbol in ("BTC/USDT", "BTC/USDT:USDT", "BTC/USD:BTC")] == [
        "huobi",
        "huobi-dm-linear-swap",
        "huobi-dm-swap",
    ]
    assert exchange_name("okx", "BTC/USD:BTC-261225") == "okex-futures"
    assert exchange_name("mexc", "BTC/USDT") == "mexc" and exchange_name("okx", "odd") == "okx"


# Prints what each importer makes of a file: time, price, amount and side of each trade.
IMPORT = """
import json, sys
from hftbacktest.data.utils import tardis
from hftbacktest.types import BUY_EVENT, SELL_EVENT, TRADE_EVENT
from nautilus_trader.adapters.tardis.loaders import TardisCSVDataLoader
made = tardis.convert([sys.argv[1]], buffer_size=1000, ss_buffer_size=1000)
side = lambda event: "buy" if event & BUY_EVENT else "sell" if event & SELL_EVENT else None
hft = [
    [int(e["exch_ts"]), int(e["local_ts"]), float(e["px"]), float(e["qty"]), side(e["ev"])]
    for e in made if e["ev"] & 0xFF == TRADE_EVENT
]
nautilus = [
    [t.ts_event, t.ts_init, float(str(t.price)), float(str(t.size)), {1: "buy", 2: "sell"}[int(t.aggressor_side)]]
    for t in TardisCSVDataLoader().load_trades(sys.argv[1])
]
print(json.dumps({"hftbacktest": hft, "nautilus": nautilus}))
"""


@pytest.mark.skipif("TICKWARDEN_IMPORTERS" not in os.environ, reason="the importers are not installed; see above")
def test_the_importers_of_backtesters_load_a_file(tmp_path: Path) -> None:
    ticks = sorted((one for one in record(tmp_path) if one.trade_id in ("11", "12")), key=lambda t: t.received_us)
    export_tardis(tmp_path / "ticks.duckdb", tmp_path / "made")
    path = tmp_path / "made" / f"binance-futures_trades_{DAY}_BTCUSDT.csv.gz"
    command = [os.environ["TICKWARDEN_IMPORTERS"], "-c", IMPORT, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    expected = [
        [(one.timestamp_us or 0) * 1000, one.received_us * 1000, float(one.price), float(one.volume), one.side]
        for one in ticks
    ]
    assert json.loads(done.stdout.splitlines()[-1]) == {"hftbacktest": expected, "nautilus": expected}
