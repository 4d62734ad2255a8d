"""Where one Delta log ends: python -m tests.bench lake_scale [requests|log|simulate|open] [OPTION]...

requests   the requests of one commit to one table on the S3 stand-in, by how many others committed meanwhile
log        commits a second that N processes get through one log: in a folder, and on the S3 stand-in with a latency
simulate   the same computed, for numbers of recorders and latencies that no test machine has
open       what it costs to open a table after many commits, with and without a checkpoint

The model of `simulate` is what `requests` shows. A commit lists the log, reads what is new there, one entry after
the other, lists and reads it twice more (all entries at once), puts its own entry, and begins again if another was
faster.
"""

import argparse
import heapq
import multiprocessing
import random
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import deltalake
import duckdb
from arro3.core import Table

from actors.sink.lake.tables import TABLES
from tests.bench.lake_compact import rows_of
from tests.harness.object_store import ObjectStore, object_store

TICKS = TABLES["ticks"]


def append(handle: deltalake.DeltaTable) -> None:
    """A commit without rows: what remains is the cost of the log."""
    empty = Table.from_batches([], schema=TICKS.arrow)
    properties = deltalake.CommitProperties(max_commit_retries=1000)
    deltalake.write_deltalake(handle, empty, mode="append", commit_properties=properties)


def create(uri: str, options: Mapping[str, str]) -> None:
    """An empty table of ticks."""
    deltalake.DeltaTable.create(
        uri, TICKS.arrow, partition_by=list(TICKS.partitions), storage_options=dict(options)
    )


def requests(behind: list[int]) -> None:
    """Prints the requests of one commit."""
    with object_store() as store:
        uri = store.uri("ticks")
        create(uri, store.options)
        for others in behind:
            handle = deltalake.DeltaTable(uri, storage_options=store.options)
            other = deltalake.DeltaTable(uri, storage_options=store.options)
            for _ in range(others):
                append(other)
            store.requests.clear()
            append(handle)
            kinds = Counter("LIST" if "list-type" in one else one.partition(" ")[0] for one in store.requests)
            before_put = next(n for n, one in enumerate(store.requests) if one.startswith("PUT"))
            print(f"{others:>3} others: {dict(kinds)}, {before_put} before the PUT")


def writer(uri: str, options: Mapping[str, str], seconds: float, results: Any) -> None:
    """Commits for so long; sends the seconds that each commit took."""
    handle = deltalake.DeltaTable(uri, storage_options=dict(options))
    took: list[float] = []
    ends = time.monotonic() + seconds
    while (began := time.monotonic()) < ends:
        if len(took) % 20 == 19:
            handle = deltalake.DeltaTable(uri, storage_options=dict(options))
        append(handle)
        took.append(time.monotonic() - began)
    results.put(took)


@contextmanager
def place(kind: str, latency_ms: float) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Where the log is: "folder", or "s3" with so much latency for each request."""
    if kind == "folder":
        with tempfile.TemporaryDirectory(prefix="tickwarden-bench-") as folder:
            yield f"{folder}/ticks", {}
        return
    with object_store() as store:
        slow(store, latency_ms / 1000)
        yield store.uri("ticks"), {**store.options, "timeout": "30s", "retry_timeout": "60s"}


def slow(store: ObjectStore, latency_s: float) -> None:
    """Delays each request."""
    fault_of = type(store).fault_of

    def delayed(self: ObjectStore, method: str, path: str) -> str | None:
        time.sleep(latency_s)
        return fault_of(self, method, path)

    type(store).fault_of = delayed  # type: ignore[method-assign]


def log(kind: str, writers: list[int], latency_ms: float, seconds: float) -> None:
    """Prints what so many processes get through one log."""
    context = multiprocessing.get_context("spawn")
    print(f"{kind}, {latency_ms:g} ms a request" if kind == "s3" else kind)
    for count in writers:
        with place(kind, latency_ms) as (uri, options):
            create(uri, options)
            results = context.Queue()
            processes = [
                context.Process(target=writer, args=(uri, options, seconds, results)) for _ in range(count)
            ]
            for process in processes:
                process.start()
            took = sorted(one for _ in processes for one in results.get(timeout=seconds + 120))
            for process in processes:
                process.join()
        print(
            f"{count:>4} writers: {len(took) / seconds:6.2f} commits/s,"
            f" a commit takes {statistics.median(took):5.2f} s, at most {took[-1]:5.2f} s"
        )


def simulated(
    writers: int, every_s: float, latency_ms: float, seconds: float, *, refresh: bool = False
) -> dict[str, float]:
    """One log under so many recorders, each of which commits every `every_s`; see the module for the model.

    Recorders begin at different moments. With `refresh` each updates its handle first, which reads all new entries
    at once. A commit that takes longer than `every_s` is followed by the next at once.
    """
    rng = random.Random(1)
    version, commits, attempts, asked = 0, 0, 0, 0
    took: list[float] = []
    first = "refresh" if refresh else "list"
    # (time, writer, step, begun at, version seen); "list" reads the log one by one, "put" writes the entry
    events = [(at, one, first, at, 0) for one, at in enumerate(rng.uniform(0, every_s) for _ in range(writers))]
    known = [0] * writers
    heapq.heapify(events)

    def request() -> float:
        return rng.uniform(0.7, 1.3) * latency_ms / 1000

    while events:
        at, one, step, begun, seen = heapq.heappop(events)
        if at > seconds:
            break
        if step == "refresh":
            asked += 1 + version - known[one]
            delay = sum(request() for _ in range(1 + 2 * min(version - known[one], 1)))
            known[one] = version
            heapq.heappush(events, (at + delay, one, "list", begun, version))
            continue
        if step == "list":
            new = version - known[one]
            asked += 2 + 3 * new
            known[one] = version
            delay = sum(request() for _ in range(2 + new + 2 * min(new, 1)))
            heapq.heappush(events, (at + request() + delay, one, "put", begun, version))
            continue
        attempts, asked = attempts + 1, asked + 1
        if seen != version:
            heapq.heappush(events, (at, one, "list", begun, 0))
            continue
        version, commits = version + 1, commits + 1
        took.append(at - begun)
        begins = max(at, begun + every_s)
        heapq.heappush(events, (begins, one, first, begins, 0))
    took.sort()
    return {
        "commits_s": commits / seconds,
        "attempts": attempts / max(1, commits),
        "median_s": statistics.median(took) if took else float("inf"),
        "p99_s": took[int(len(took) * 0.99)] if took else float("inf"),
        "requests": asked / max(1, commits),
    }


def simulate(
    writers: list[int], every_s: list[float], latencies_ms: list[float], seconds: float, *, refresh: bool
) -> None:
    """Prints the table of all combinations."""
    print("recorders  every_s  latency  commits/s  wanted/s  attempts  median s   p99 s  requests")
    for count in writers:
        for every in every_s:
            for latency in latencies_ms:
                found = simulated(count, every, latency, seconds, refresh=refresh)
                wanted = count / every if every else float("inf")
                print(
                    f"{count:>9} {every:>8g} {latency:>5g} ms {found['commits_s']:>10.2f} {wanted:>9.2f}"
                    f" {found['attempts']:>9.2f} {found['median_s']:>9.2f} {found['p99_s']:>7.2f}"
                    f" {found['requests']:>9.1f}"
                )


def opened(commits: list[int]) -> None:
    """Prints what opening costs, in a folder, with a file in each commit."""
    for count in commits:
        with tempfile.TemporaryDirectory(prefix="tickwarden-bench-") as folder, duckdb.connect() as con:
            con.execute("SET TimeZone = 'UTC'")
            uri = f"{folder}/ticks"
            create(uri, {})
            handle = deltalake.DeltaTable(uri)
            for number in range(count):
                if number % 20 == 0:
                    handle = deltalake.DeltaTable(uri)
                deltalake.write_deltalake(
                    handle,
                    Table.from_arrow(rows_of(con, "okx", number, 0, 20, 1000)),
                    mode="append",
                    post_commithook_properties=deltalake.PostCommitHookProperties(create_checkpoint=False),
                )
            plain = cpu(uri)
            log_mb = sum(path.stat().st_size for path in Path(uri, "_delta_log").iterdir()) / 1e6
            deltalake.DeltaTable(uri).create_checkpoint()
            checkpoint = next(Path(uri, "_delta_log").glob("*.checkpoint.parquet")).stat().st_size / 1e6
            print(
                f"{count:>6} commits: opened in {plain:.3f} s of CPU, {cpu(uri):.3f} s with a checkpoint;"
                f" log {log_mb:.2f} MB, checkpoint {checkpoint:.3f} MB"
            )


def cpu(uri: str) -> float:
    """CPU seconds of opening a table and listing its files."""
    began = time.process_time()
    deltalake.DeltaTable(uri).get_add_actions()
    return time.process_time() - began


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="?", default="simulate", choices=["requests", "log", "simulate", "open"])
    parser.add_argument("--on", choices=["folder", "s3"], default="folder", help="of log")
    parser.add_argument("--writers", type=int, nargs="+", default=[1, 3, 10, 30, 100])
    parser.add_argument("--every-s", type=float, nargs="+", default=[10, 60], help="of simulate")
    parser.add_argument("--latency-ms", type=float, nargs="+", default=[50, 100])
    parser.add_argument("--commits", type=int, nargs="+", default=[100, 1000], help="of open")
    parser.add_argument("--refresh", action="store_true", help="of simulate: handles are updated first")
    parser.add_argument("--seconds", type=float, default=0.0)
    chosen = parser.parse_args()
    if chosen.part == "requests":
        requests([0, 1, 5])
    elif chosen.part == "log":
        log(chosen.on, chosen.writers, chosen.latency_ms[0], chosen.seconds or 10)
    elif chosen.part == "open":
        opened(chosen.commits)
    else:
        simulate(chosen.writers, chosen.every_s, chosen.latency_ms, chosen.seconds or 1800, refresh=chosen.refresh)


if __name__ == "__main__":
    main()
