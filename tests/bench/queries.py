"""How long a reader waits for the questions that users ask of a large file: python -m tests.bench.queries

    --rows N        rows in the file (100,000,000: about 3 GB), spread over --days N (5)
    --merged N      rows of each merge by which it is built (300,000: a minute at 5,000 a second)
    --folder DIR    where it is built;  --keep FILE  builds that file, or asks the one that is there
    --json          one line of JSON instead of the table

The file is filled by SQL through the product's own schema, each minute's rows in one transaction and checkpoint as
a merge writes them; the tail is then as full as it gets between two merges: 60 flushes of 5,000 rows through the
product's own writer. Another process asks the public views: first with a connection that it has just opened, then
several times. A candle reads the minute's rows within DuckDB; where the rows themselves are asked for, making
Python objects of them takes most of the time (10 us a row).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from actors.model.batch import Batch
from actors.model.schema import MERGED_SCHEMA
from actors.model.ticks import TICKS, Block
from actors.settings import StoreSettings
from actors.store.store import Store

EXCHANGES = ("binance", "okx", "bybit", "coinbase", "kraken", "bitget", "gate", "htx")
SYMBOLS = (
    *("BTC/USDT", "ETH/USDT", "SOL/USDT", "XRP/USDT", "DOGE/USDT"),
    *("BTC/USDT:USDT", "ETH/USDT:USDT", "ADA/USDT", "LINK/USDT", "LTC/USDT"),
)
TAIL_SEGMENTS, TAIL_ROWS = 60, 5_000
MARKETS = {
    "busiest": "exchange = 'binance' AND symbol = 'BTC/USDT'",
    "quietest": "exchange = 'htx' AND symbol = 'LTC/USDT'",
}
MINUTE = " FROM ticks WHERE {market} AND {time} > TIMESTAMPTZ '{now}' - INTERVAL 1 MINUTE"
CANDLE = (
    "SELECT count(*), min(price), max(price), arg_min(price, {time}), arg_max(price, {time}), sum(volume),"
    " sum(price::DOUBLE * volume::DOUBLE)" + MINUTE
)
DAY = (
    "SELECT count(*) FROM ticks WHERE {market} AND {time} >= TIMESTAMPTZ '{day}'"
    " AND {time} < TIMESTAMPTZ '{day}' + INTERVAL 1 DAY"
)
TARGETS_MS = {"last minute": 100, "rows of the last minute": 100, "count of a day": 300}
ASKED = 9
ASKER = """
import json, statistics, sys, time, duckdb
path, question, asked = sys.argv[1], sys.argv[2], int(sys.argv[3])
began = time.perf_counter()
con = duckdb.connect(path, read_only=True)
con.execute("SET enable_progress_bar = false")
rows = con.execute(question).fetchall()
first = time.perf_counter() - began
times = []
cpu = time.process_time()
for _ in range(asked):
    began = time.perf_counter()
    rows = con.execute(question).fetchall()
    times.append(time.perf_counter() - began)
cpu = (time.process_time() - cpu) / asked
count = rows[0][0] if len(rows) == 1 else len(rows)
print(json.dumps([first * 1000, statistics.median(times) * 1000, max(times) * 1000, cpu * 1000, count]))
"""


def insert_sql(first: int, last: int, start_us: int, step_us: int) -> str:
    """Rows FIRST to LAST of the whole file: markets of very unequal activity, rising ids, late exchange times."""
    names, symbols = list(EXCHANGES), list(SYMBOLS)
    price = "6 * 10 ** (4 - s // 2) * (1 + sin(i / 1e6) / 50 + (hash(i + 3) % 1000) / 1e6)"
    values = {
        "exchange": f"{names}[1 + e]",
        "symbol": f"{symbols}[1 + s]",
        "timestamp": "make_timestamptz((us - 20000 - (hash(i + 2) % 60000)::BIGINT) // 1000 * 1000)",
        "received_at": "make_timestamptz(us)",
        "price": f"round({price}, 2 + s // 2)",
        "volume": "round(10 ** (s // 2 - 4) * (hash(i + 4) % 100000), 8)",
        "side": "CASE WHEN hash(i + 5) % 2 = 0 THEN 'buy' ELSE 'sell' END",
        "trade_id": "i // 10 + 1000000000 * (1 + e)::BIGINT + 100000000 * s",
        "source": "'stream'",
        "fills": "1",
    }
    casts = ", ".join(f"({values.get(c.name, 'NULL')})::{_rounded(c.name, c.kind.sql)}" for c in TICKS.columns)
    return (
        f"INSERT INTO {MERGED_SCHEMA}.ticks ({TICKS.names}) SELECT {casts} FROM (SELECT range AS i,"
        f" {start_us} + range * {step_us} AS us, {_skewed(len(names), 'range')} AS e,"
        f" {_skewed(len(symbols), 'range + 1')} AS s FROM range({first}, {last}))"
    )


def _rounded(name: str, sql: str) -> str:
    """Prices and volumes have as many digits as real ones, in the type that the file has."""
    return {"price": f"DECIMAL(18,6)::{sql}", "volume": f"DECIMAL(18,8)::{sql}"}.get(name, sql)


def _skewed(count: int, seed: str) -> str:
    """SQL for a number below `count`, the smaller the likelier: one in sqrt(1 / count) is the first."""
    return f"floor({count} * ((hash({seed}) % 1000000) / 1e6) ** 2)::INT"


def build(path: Path, rows: int, days: float, merged: int, say: Any) -> None:
    """The file, with its tail."""
    store = Store(StoreSettings(path=path))
    store.start()
    step_us = int(days * 86_400_000_000) // rows
    start_us = time.time_ns() // 1000 - TAIL_SEGMENTS * 1_000_000 - step_us * rows
    settings: dict[str, Any] = {"memory_limit": "2GB", "temp_directory": str(path) + ".building"}
    began = time.monotonic()
    for first in range(0, rows, merged):
        with duckdb.connect(str(path), config=settings) as con:
            con.execute(insert_sql(first, min(first + merged, rows), start_us, step_us))
        if first // merged % 50 == 0:
            say(f"{first:,} rows after {time.monotonic() - began:.0f} s")
    for i in range(TAIL_SEGMENTS):
        end_us = start_us + step_us * rows + (i + 1) * 1_000_000
        store.write(Batch(store.next_number(), (flushed(end_us, rows + i * TAIL_ROWS),)))
    store.close()


def flushed(end_us: int, first: int) -> Block:
    """One flush: all exchanges are in it, as blocks one after another would be."""
    rows = range(first, first + TAIL_ROWS)
    times = [(end_us - 1_000_000 + i * 1_000_000 // TAIL_ROWS) * 1000 for i in range(TAIL_ROWS)]
    block = Block(EXCHANGES[0] if first // TAIL_ROWS % 4 else EXCHANGES[-1])
    block.extend(
        [SYMBOLS[i % len(SYMBOLS)] for i in rows],
        [ns // 1_000_000 * 1_000_000 for ns in times],
        times,
        [f"{60000 + i % 997 * 0.01:.2f}" for i in rows],
        [f"{0.001 + i % 77 * 0.00013:.8f}" for i in rows],
        ["buy" if i & 1 else "sell" for i in rows],
        [str(3_000_000_000 + i) for i in rows],
        ["stream"] * TAIL_ROWS,
    )
    return block


def questions(path: Path) -> dict[str, str]:
    """The questions by name: the newest minute, and the last whole day, of a busy and a quiet market."""
    with duckdb.connect(str(path), read_only=True) as con:
        newest = con.execute("SELECT max(received_at) FROM ticks").fetchone()
        assert newest is not None
        day = con.execute("SELECT date_trunc('day', ?::TIMESTAMPTZ - INTERVAL 1 DAY)", newest).fetchone()
    assert day is not None
    return {
        f"{what} of the {name} market, by {column}": sql.format(
            market=market, time=column, now=newest[0], day=day[0]
        )
        for what, sql in (
            ("last minute", CANDLE),
            ("rows of the last minute", "SELECT *" + MINUTE),
            ("count of a day", DAY),
        )
        for name, market in MARKETS.items()
        for column in ("received_at", "timestamp")
    }


def ask(path: Path, question: str) -> dict[str, float]:
    """Asked by another process."""
    command = [sys.executable, "-c", ASKER, str(path), question, str(ASKED)]
    figures = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return dict(zip(("first_ms", "median_ms", "max_ms", "cpu_ms", "rows"), figures, strict=True))


@contextmanager
def folder_for(keep: Path | None, folder: Path) -> Iterator[Path]:
    """The path of the file."""
    if keep is not None:
        yield keep
        return
    with tempfile.TemporaryDirectory(dir=folder) as own:
        yield Path(own) / "ticks.duckdb"


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000_000)
    parser.add_argument("--days", type=float, default=5.0)
    parser.add_argument("--merged", type=int, default=300_000)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    with folder_for(asked.keep, asked.folder) as path:
        if not path.exists():
            build(path, asked.rows, asked.days, asked.merged, lambda text: print(text, file=sys.stderr, flush=True))
        found = {name: ask(path, question) for name, question in questions(path).items()}
        size = path.stat().st_size
    if asked.json:
        print(json.dumps({"duckdb": duckdb.__version__, "cores": os.cpu_count(), "bytes": size, "asked": found}))
        return
    print(
        f"DuckDB {duckdb.__version__}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {size / 1e9:.2f} GB"
    )
    print(f"{'':<52}{'newly opened':>13}{'median':>11}{'CPU':>11}{'target':>9}{'rows':>12}")
    for name, row in found.items():
        target = next(ms for what, ms in TARGETS_MS.items() if name.startswith(what))
        print(
            f"{name:<52}{row['first_ms']:>10.0f} ms{row['median_ms']:>8.1f} ms{row['cpu_ms']:>8.1f} ms"
            f"{target:>6} ms{row['rows']:>12,.0f}"
        )


if __name__ == "__main__":
    main()
