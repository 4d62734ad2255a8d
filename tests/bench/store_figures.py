"""What the store costs: python tests/bench/store_figures.py [--only NAME]... [--folder DIR] [--quick]

flush     how long one flush takes, p50 and p99, at 5,000 and 50,000 ticks a second
merge     merging 60, 600 and 3,600 segments into the file, and the share of time the file is locked at 5,000/s
size      bytes a tick in the file and in the tail
query     the last minute's count with 0, 60 and 3,600 segments, and after a day's hold at one flush a second
restart   taking up a tail of a million rows

Everything is the product's own store on the disk of --folder; queries are asked by another process.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from actors.model.batch import Batch
from actors.model.records import AuditRow
from actors.model.ticks import TICKS, Block
from actors.settings import DEFAULT_LIMITS, StoreSettings
from actors.store.filesystem import Files
from actors.store.segments import crc_of
from actors.store.store import Store
from actors.store.tail import Segment

MERGE_INTERVAL_S = 60.0
QUERY = "SELECT count(*) FROM ticks WHERE timestamp > now() - INTERVAL 1 MINUTE"
ASKED = 15
ASKER = """
import statistics, sys, time, duckdb
con = duckdb.connect(sys.argv[1], read_only=True)
times = []
for line in sys.stdin:
    times = []
    for _ in range(int(sys.argv[3])):
        began = time.perf_counter()
        count = con.execute(sys.argv[2]).fetchone()[0]
        times.append(time.perf_counter() - began)
    print(statistics.median(times) * 1000, count, flush=True)
"""


def batch(number: int, rows: int, at_ns: int) -> Batch:
    """Ticks as an exchange gives them: rising ids, prices that wander, times spread over the second before."""
    block = Block("binance")
    times = [at_ns - (rows - i) * 1_000_000_000 // max(rows, 1) for i in range(rows)]
    block.extend(
        ["BTC/USDT" if i % 3 else "ETH/USDT" for i in range(rows)],
        [ns // 1_000_000 * 1_000_000 for ns in times],
        times,
        [f"{60000 + (number * 7 + i) % 997 * 0.01:.8f}" for i in range(rows)],
        [f"{0.001 + i % 77 * 0.00013:.8f}" for i in range(rows)],
        ["buy" if i & 1 else "sell" for i in range(rows)],
        [str(3_000_000_000 + number % 100_000 * 100_000 + i) for i in range(rows)],
        ["stream"] * rows,
    )
    audit = AuditRow(at_ns, "binance", rows, rows, rows, 0, 0, 0, "20260101T000000Z-abcdef")
    return Batch(number, (block,), audit=(audit,))


@contextmanager
def started(
    folder: Path, layer: Files | None = None, clock: Callable[[], float] = time.monotonic
) -> Iterator[Store]:
    """A new store in a folder of its own."""
    with tempfile.TemporaryDirectory(dir=folder) as own:
        one = Store(StoreSettings(path=Path(own) / "ticks.duckdb"), layer, clock=clock)
        one.start()
        try:
            yield one
        finally:
            one.close()


def fill(one: Store, segments: int, rows: int, *, after: Callable[[int], object] = lambda _: None) -> None:
    """So many flushes, one for each second of the time that ends now."""
    now_ns = time.time_ns()
    for i in range(segments):
        one.write(batch(one.next_number(), rows, now_ns - (segments - 1 - i) * 1_000_000_000))
        after(i)


def quantile(values: list[float], share: float) -> float:
    """The value below which that share of them lies."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def say(what: str, value: str) -> None:
    """One line."""
    print(f"{what:<58} {value:>22}", flush=True)


def flush(folder: Path, quick: bool) -> None:
    """One batch a second, as the writer does; the making of the batch is not counted."""
    for rate in (5_000, 50_000):
        with started(folder) as one:
            times = []
            for _ in range(20 if quick else 120):
                made = batch(one.next_number(), rate, time.time_ns())
                began = time.perf_counter()
                one.write(made)
                times.append((time.perf_counter() - began) * 1000)
            p50, p99 = quantile(times, 0.5), quantile(times, 0.99)
            say(f"flush of {rate:,} ticks", f"p50 {p50:.1f} ms, p99 {p99:.1f} ms")


def merge(folder: Path, quick: bool) -> None:
    """The time during which nobody else can open the file; long backlogs are taken in parts."""
    for segments in (60, 600) if quick else (60, 600, 3_600):
        with started(folder) as one:
            fill(one, 60, 5_000)
            while one.merge().backlog:  # the file is not empty
                pass
            fill(one, segments, 5_000)
            locked = []
            while True:
                report = one.merge()
                locked.append(report.locked_s)
                if not report.backlog:
                    break
            words = f"{sum(locked):.2f} s" + (
                f" in {len(locked)}, max {max(locked):.2f} s" if len(locked) > 1 else ""
            )
            say(f"merge of {segments:,} segments of 5,000 ticks: locked", words)
            if segments == 60:
                say("share of time locked, 5,000 ticks/s", f"{sum(locked) / MERGE_INTERVAL_S:.2%}")


def size(folder: Path, quick: bool) -> None:
    """A tick in its segment, and in the DuckDB file at the end."""
    with started(folder) as one:
        segments = 60 if quick else 600
        fill(one, segments, 5_000)
        say("bytes a tick in the tail", f"{one.segment_bytes / segments / 5_000:.1f}")
        while one.merge().backlog:
            pass
        one.finish(lambda: False)
        say("bytes a tick in the file", f"{one.path.stat().st_size / segments / 5_000:.1f}")


@contextmanager
def asking(one: Store) -> Iterator[Callable[[], tuple[float, int]]]:
    """Another process that holds the file; the call gives the median in ms and the answer."""
    command = [sys.executable, "-c", ASKER, str(one.path), QUERY, str(ASKED)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:

        def ask() -> tuple[float, int]:
            assert process.stdin is not None and process.stdout is not None
            process.stdin.write("\n")
            process.stdin.flush()
            median, count = process.stdout.readline().split()
            return float(median), int(count)

        yield ask
        process.kill()


class Careless(Files):
    """No fsync: for figures in which only what lies there counts."""

    def sync_file(self, path: Path) -> None:
        """Nothing."""


def query(folder: Path, quick: bool) -> None:
    """By a reader that holds the file for good."""
    clock = hurry()
    costs: dict[int, float] = {}
    for segments in (0, 60, 360 if quick else 3_600):
        with started(folder, Careless(), clock) as one:
            fill(one, 60, 1_000)
            one.merge()
            with asking(one) as ask:
                ask()
                # Sixty stand as they are; longer holds are compacted, as the merger does every five seconds.
                compact = every_five(one) if segments > 60 else (lambda _: None)
                fill(one, segments, 1_000, after=compact)
                costs[segments], _ = ask()
                say(f"last minute's count, {segments:,} flushes since the hold began", f"{costs[segments]:.1f} ms")
    for rate in (20, 5_000):
        with started(folder, Careless()) as one, asking(one) as ask:
            old = a_days_segments(one, rate)
            recent = 500 if quick else 4_480
            fill(one, recent, min(rate, 200), after=every_five(one))
            cost, _ = ask()
            names = list((one.tail / "ticks").iterdir())
            links = sum(path.is_symlink() for path in names)
            say(f"  a day held, {rate:,} ticks/s", f"{cost:.1f} ms, {cost / costs[60]:.1f} times that of 60")
            say(
                "    large segments, smaller ones, links passed over", f"{old}, {len(names) - links - old}, {links}"
            )


def every_five(one: Store) -> Callable[[int], object]:
    """Compacts at each fifth flush."""
    return lambda i: i % 5 == 4 and one.compact()


def a_days_segments(one: Store, rate: int) -> int:
    """What compaction leaves of 81,920 flushes: links to one segment of as many rows under many names."""
    first = one.next_number()
    levels = (
        [4, 3, 3, 3, 3]
        if rate * 81_920 < DEFAULT_LIMITS.store.compact_rows_max
        else [6] * (rate * 81_920 // 8_000_000)
    )
    rows = rate * 81_920 // len(levels)
    since_us = (time.time_ns() // 1000) - 86_400_000_000
    select = ", ".join(
        {
            "timestamp": f"make_timestamptz({since_us} + range * 1000)",
            "received_at": f"make_timestamptz({since_us} + range * 1000)",
            "price": "(60000 + range % 997 / 100)",
            "volume": "(0.001 + range % 77 / 10000)",
            "trade_id": "(range + 3000000000)",
        }.get(column.name, "NULL")
        + f"::{column.kind.sql} AS {column.quoted}"
        for column in TICKS.columns
    )
    path = one.tail / "big"
    with duckdb.connect() as con:
        con.execute(
            f"COPY (SELECT {select} FROM range({rows})) TO '{path}'"
            " (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 491520, USE_TMP_FILE false)"
        )
    crc = crc_of(path)
    for i, level in enumerate(levels):
        segment = Segment(first + i * 10, first + i * 10 + 9, level, rows, crc)
        (one.tail / "ticks" / segment.name).hardlink_to(path)
    for _ in range(10 * len(levels)):  # numbers are given out above all that is there
        one.next_number()
    return len(levels)


def hurry() -> Callable[[], float]:
    """Flushes come faster than one a second here: what compaction keeps for seconds is kept for so many flushes.

    A clock that goes on by five seconds each time: a compaction is asked for every five flushes.
    """
    began, asked = time.monotonic(), [0]

    def now() -> float:
        asked[0] += 5
        return began + asked[0]

    return now


def restart(folder: Path, quick: bool) -> None:
    """From the beginning of start() to the moment from which ticks are recorded, then the merge of it all."""
    rows = 5_000
    with started(folder) as one:
        fill(one, 40 if quick else 200, rows)
        one.close()
        again = Store(StoreSettings(path=one.path))
        began = time.perf_counter()
        again.start()
        took = time.perf_counter() - began
        say(f"restart with {again.segment_count * rows:,} rows in the tail", f"{took:.2f} s")
        began = time.perf_counter()
        again.merge()
        say("  and merging them", f"{time.perf_counter() - began:.2f} s")
        again.close()


FIGURES = {"flush": flush, "merge": merge, "size": size, "restart": restart, "query": query}


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=FIGURES, default=None)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--quick", action="store_true", help="a tenth of everything")
    arguments = parser.parse_args()
    print(f"DuckDB {duckdb.__version__}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {arguments.folder}")
    for name in arguments.only or FIGURES:
        FIGURES[name](arguments.folder, arguments.quick)


if __name__ == "__main__":
    main()
