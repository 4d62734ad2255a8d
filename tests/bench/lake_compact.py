"""What it costs to compact a day of a lake: python -m tests.bench lake_compact [--rows N] [--exchange E] [--json]

Makes a lake with one day of one exchange: N rows, half of them by each of two recorders that saw the same trades of
100 symbols, in commits of 50,000 rows. Then `tickwarden lake compact` runs on it as a process. Reports its CPU and
wall time, the most memory and temporary space it took, and what a query of one symbol costs before and after.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import deltalake
import duckdb

from actors.sink.lake.handles import Handles
from actors.sink.lake.tables import TABLES
from tests.harness.paths import ROOT

DAY = "2026-11-02"
SYMBOLS = 100
COMMIT_ROWS = 50_000
_ROWS = """
SELECT '{exchange}' AS exchange, 'S' || lpad((hash(n) % {symbols})::VARCHAR, 3, '0') || '/USDT' AS symbol,
       make_timestamptz(({start} + n * 86e9 / {trades})::BIGINT) AS "timestamp",
       make_timestamptz(({start} + n * 86e9 / {trades} + 20000 + hash(n + {of}) % 100000)::BIGINT) AS received_at,
       ((6000000 + hash(n // 50) % 1000000)::DECIMAL(38,18) * 0.01)::DECIMAL(38,18) AS price,
       ((1 + hash(n * 3) % 1000000)::DECIMAL(38,18) * 0.00001)::DECIMAL(38,18) AS volume,
       CASE WHEN hash(n) % 2 = 0 THEN 'buy' ELSE 'sell' END AS side, (5000000000 + n)::VARCHAR AS trade_id,
       'stream' AS source, 1::BIGINT AS fills, 'recorder-{of}' AS recorder, 'store-{of}' AS store,
       ({start} + n)::BIGINT AS batch, DATE '{day}' AS day
FROM range({first}, {last}) AS made(n)
"""


def rows_of(con: duckdb.DuckDBPyConnection, exchange: str, of: int, first: int, last: int, trades: int) -> Any:
    """Trades `first` to before `last` of a day of so many, as recorder `of` stores them; a relation of `con`."""
    start = int(datetime.fromisoformat(f"{DAY}T00:00:00+00:00").timestamp()) * 1_000_000
    values = {"exchange": exchange, "symbols": SYMBOLS, "start": start, "trades": trades, "day": DAY}
    return con.sql(_ROWS.format(of=of, first=first, last=last, **values))


def make(uri: str, exchange: str, rows: int) -> None:
    """The ticks of a lake with one day."""
    handles, table = Handles(deltalake, uri, "bench", {}), TABLES["ticks"]
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        for first in range(0, rows // 2, COMMIT_ROWS):
            for of in (1, 2):
                last = min(rows // 2, first + COMMIT_ROWS)
                made = rows_of(con, exchange, of, first, last, rows // 2)
                deltalake.write_deltalake(handles.for_writing(table), made, mode="append")


def compact(uri: str, memory: str, folder: Path) -> dict[str, float]:
    """Runs the command; what it took."""
    space, ended = [0], threading.Event()

    def watch() -> None:
        while not ended.wait(0.1):
            sizes = []
            for path in folder.rglob("*"):
                try:
                    sizes.append(path.stat().st_size)
                except OSError:
                    continue
            space[0] = max(space[0], sum(sizes))

    watcher = threading.Thread(target=watch)
    watcher.start()
    began = time.monotonic()
    words = ["lake", "compact", "--uri", uri, "--memory", memory, "--temporary", str(folder), "--json"]
    program = folder / "run.py"  # DuckDB prints its progress where it takes a process for an interactive one
    program.write_text("from ops.cli import main\nmain()\n")
    process = subprocess.run(
        [sys.executable, str(program), *words],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    wall_s = time.monotonic() - began
    ended.set()
    watcher.join()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = next(one for one in json.loads(process.stdout) if one["table"] == "ticks")
    return {
        "rows_before": done["rows_before"],
        "rows": done["rows"],
        "files_before": done["files_before"],
        "files": done["files"],
        "mb_before": round(done["bytes_before"] / 1e6, 1),
        "mb": round(done["bytes"] / 1e6, 1),
        "wall_s": round(wall_s, 1),
        "cpu_s": round(used.ru_utime + used.ru_stime, 1),
        "memory_mb": round(used.ru_maxrss / 1000),
        "temporary_mb": round(space[0] / 1e6),
    }


def query(uri: str, exchange: str) -> float:
    """CPU seconds of counting one symbol's day with delta-rs' engine."""
    began = time.process_time()
    table = deltalake.DeltaTable(f"{uri}/ticks")
    sql = f"SELECT sum(volume) FROM t WHERE exchange = '{exchange}' AND day = '{DAY}' AND symbol = 'S042/USDT'"
    deltalake.QueryBuilder().register("t", table).execute(sql).read_all()
    return round(time.process_time() - began, 3)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--exchange", default="okx", help="okx: unique ids; binance: contiguous ids")
    parser.add_argument("--memory", default="1GB")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tickwarden-bench-") as folder:
        uri, temporary = f"{folder}/lake", Path(folder) / "temporary"
        temporary.mkdir()
        make(uri, chosen.exchange, chosen.rows)
        figures: dict[str, Any] = {"query_before_cpu_s": query(uri, chosen.exchange)}
        figures |= compact(uri, chosen.memory, temporary)
        figures["query_cpu_s"] = query(uri, chosen.exchange)
        figures["cores"] = os.cpu_count()
    if chosen.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name:<20} {value}")


if __name__ == "__main__":
    main()
