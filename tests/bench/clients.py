"""What is measured: the service and its peers, each a process on one core, with the load on another core.

A client is measured from outside: processor time and memory of its processes by the kernel, messages by the load.
"""

import argparse
import contextlib
import fcntl
import functools
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from ops.control.client import ControlClient, NoService
from tests.bench.load import AGGREGATES, Spec
from tests.harness.cli_process import COMMAND, environment
from tests.harness.exchange_cases import listed_symbol
from tests.harness.paths import CERTS, ROOT

PATIENCE_S = 180.0
ORPHAN_S = 600  # a client whose benchmark was killed ends by itself after so long
LOOK_S = 0.25
LATE_S = 15.0  # what a client has read is counted by then
CA = CERTS / "ca.pem"


def pinned(core: int) -> Callable[[], None]:
    """Runs in a new process: keeps it to one core, where the system lets us choose."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_setaffinity") else []
    return lambda: os.sched_setaffinity(0, {cores[core % len(cores)]}) if cores else None


def started(command: Sequence[str], core: int, folder: Path, **more: Any) -> subprocess.Popen[str]:
    """A process in a session of its own."""
    return subprocess.Popen(command, cwd=folder, text=True, preexec_fn=pinned(core), start_new_session=True, **more)


def answer_of(process: subprocess.Popen[str]) -> dict[str, Any]:
    """The next line that it prints; it is killed if none comes."""
    assert process.stdout is not None
    watchdog = threading.Timer(PATIENCE_S, process.kill)
    watchdog.start()
    try:
        line = process.stdout.readline()
    finally:
        watchdog.cancel()
    if not line:
        raise RuntimeError(f"{shlex.join(map(str, process.args))[:200]} ended")  # type: ignore[arg-type]
    answer: dict[str, Any] = json.loads(line)
    return answer


def until(what: str, look: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Looks until it is so; an error if the process ends before, or after long."""
    deadline = time.monotonic() + PATIENCE_S
    while not look():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{what} did not happen; {shlex.join(map(str, process.args))[:200]}")  # type: ignore[arg-type]
        time.sleep(LOOK_S)


class LoadProcess:
    """The load on the second core."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.addresses = answer_of(process)

    def ask(self, *words: object) -> dict[str, Any]:
        """One command of tests/bench/load.py."""
        assert self._process.stdin is not None
        print(*words, file=self._process.stdin, flush=True)
        return answer_of(self._process)


@contextlib.contextmanager
def loaded(spec: Spec) -> Iterator[LoadProcess]:
    """Serves while the block runs."""
    command = [sys.executable, "-m", "tests.bench.load", json.dumps(asdict(spec))]
    process = started(command, 1, ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        yield LoadProcess(process)
    finally:
        process.kill()
        process.communicate()


@dataclass(frozen=True, slots=True)
class Usage:
    """Processor seconds so far, and resident memory now and at most, in MB."""

    cpu_s: float
    rss_mb: float
    peak_mb: float


class Running:
    """A client that has been started."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self.process, self.folder = process, folder

    def usage(self) -> Usage:
        """Of all processes of its session."""
        cpu_s = rss_kib = peak_kib = 0.0
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if os.getsid(int(folder.name)) != self.process.pid:
                    continue
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                memory = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
                cpu_s += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
                rss_kib += int(memory["VmRSS"].split()[0])
                peak_kib += int(memory["VmHWM"].split()[0])
        return Usage(cpu_s, rss_kib / 1024, peak_kib / 1024)

    def stop(self) -> None:
        """Asks it to end."""
        self.process.send_signal(signal.SIGTERM)


class Candidate(Protocol):
    """Something that can be measured. `dialect` is the exchange it collects from where the benchmark has one only;
    `share` of a flood's trades are enough for it.
    """

    name: str
    dialect: str
    share: float

    def command(self, folder: Path, load: LoadProcess, spec: Spec, plan: "Plan") -> list[str]:
        """What starts it in this folder."""

    def environment(self, folder: Path) -> Mapping[str, str]:
        """Its environment."""

    def durable_at(self, running: Running, ticks: int) -> float:
        """Waits until so many trades are stored, and returns when they were."""

    def received(self, running: Running, sent: int) -> int:
        """Stops it, and returns how many trades it has received of those sent, sound and new ones."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a client records: `tables` are dialects of exchanges and their symbols; `ticks` of a flood, or 0.

    The service ends by itself after `seconds`.
    """

    tables: Sequence[tuple[str, Sequence[str]]]
    ticks: int = 0
    seconds: float = ORPHAN_S


class Service:
    """`tickwarden run`; `words` start it, by default that of this folder."""

    dialect, share = "binance", 1.0

    def __init__(self, name: str, words: Sequence[str] = ()) -> None:
        self.name, self._words = name, words

    def command(self, folder: Path, load: LoadProcess, spec: Spec, plan: Plan) -> list[str]:
        tables = [f'[store]\npath = "ticks.duckdb"\nmerge_interval_s = {3600 if plan.ticks else 60}\n']
        for number, (dialect, symbols) in enumerate(plan.tables):
            url = f"{'wss' if spec.tls else 'ws'}://localhost:{load.addresses['ports'][dialect]}"
            lines = [f'[exchanges.x{number}]\ndialect = "{dialect}"\nws_url = "{url}"\nredundancy = 1']
            lines += [f"symbols = {json.dumps(list(symbols))}"]
            lines += [f'ca_file = "{CA}"'] if spec.tls else []
            lines += (
                [f'rest_url = "{load.addresses["rest"][dialect]}"'] if dialect in load.addresses["rest"] else []
            )
            tables.append("\n".join(lines) + "\n")
        (folder / "tickwarden.toml").write_text("\n".join(tables))
        return [*(self._words or COMMAND), "run", "--quiet", "--for", str(plan.seconds)]

    def environment(self, folder: Path) -> Mapping[str, str]:
        found = environment(folder)
        return found if not self._words else {key: value for key, value in found.items() if key != "PYTHONPATH"}

    def status(self, running: Running) -> Any:
        """/v1/status; None while it does not answer."""
        try:
            return ControlClient(running.folder / "ticks.duckdb.sock").get("/v1/status")
        except NoService:
            return None

    def _sum(self, running: Running, key: str) -> int:
        status = self.status(running)
        return sum(row[key] for row in status["exchanges"].values()) if status else 0

    def durable_at(self, running: Running, ticks: int) -> float:
        until(f"storing {ticks} trades", lambda: self._sum(running, "stored") >= ticks, running.process)
        return max(path.stat().st_mtime for path in running.folder.glob("ticks.duckdb.tail/ticks/*.parquet"))

    def received(self, running: Running, sent: int) -> int:
        ends, total = time.monotonic() + LATE_S, 0
        while total < sent and time.monotonic() < ends:
            time.sleep(LOOK_S)
            total = (
                self._sum(running, "received") - self._sum(running, "rejected") - self._sum(running, "duplicates")
            )
        running.stop()
        running.process.wait(PATIENCE_S)
        return total


class Peer:
    """One of tests/bench/peers.py."""

    def __init__(self, name: str, python: str, dialect: str = "binance", share: float = 1.0) -> None:
        self.name, self._python, self.dialect, self.share = name, python, dialect, share

    def command(self, folder: Path, load: LoadProcess, spec: Spec, plan: Plan) -> list[str]:
        stream = "aggTrade" if self.dialect == AGGREGATES else "trade"
        symbols = [symbol.partition(":")[0].replace("/", "").lower() for symbol in plan.tables[0][1]]
        path = "ws" if self.name == "ccxt" else "stream?streams=" + "/".join(f"{one}@{stream}" for one in symbols)
        url = f"{'wss' if spec.tls else 'ws'}://localhost:{load.addresses['ports'][self.dialect]}/{path}"
        words = [self._python, str(ROOT / "tests/bench/peers.py"), self.name, url, str(folder / "peer.duckdb")]
        words += ["--connections", str(len(plan.tables)), "--ticks", str(plan.ticks)]
        return words + (["--ca", str(CA)] if spec.tls else [])

    def environment(self, folder: Path) -> Mapping[str, str]:
        return {key: value for key, value in environment(folder).items() if key != "PYTHONPATH"} | (
            {"SSL_CERT_FILE": str(CA)}
        )

    def durable_at(self, running: Running, ticks: int) -> float:
        return float(answer_of(running.process)["done_at"])

    def received(self, running: Running, sent: int) -> int:
        running.stop()
        return int(answer_of(running.process)["messages"])


@contextlib.contextmanager
def running(candidate: Candidate, load: LoadProcess, spec: Spec, plan: Plan) -> Iterator[Running]:
    """Starts it in an empty folder, waits until it has subscribed everything; killed with the block."""
    markets = sum(len(symbols) for _, symbols in plan.tables)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = candidate.command(folder, load, spec, plan)
        with (folder / "log").open("w") as log:
            process = started(
                command, 0, folder, env=candidate.environment(folder), stdout=subprocess.PIPE, stderr=log
            )
            client = Running(process, folder)
            try:
                until(
                    f"subscribing {markets} markets",
                    lambda: load.ask("count")["markets"] >= markets,
                    process,
                )
                yield client
            except Exception:
                sys.stderr.write((folder / "log").read_text()[-2000:])
                raise
            finally:
                process.kill()
                process.communicate()


@contextlib.contextmanager
def alone(path: str) -> Iterator[None]:
    """Holds the lock on a file, if one is named, while the block runs."""
    if not path:
        yield
        return
    with Path(path).open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@functools.cache
def market_of_each(dialect: str) -> str:
    """The market that a benchmark takes of an exchange."""
    return listed_symbol(dialect)


def arguments(description: str | None, peers: Sequence[str] = ()) -> argparse.ArgumentParser:
    """The options that all parts have."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3, help="rounds; in each, all candidates take turns")
    parser.add_argument(
        "--service",
        action="append",
        metavar="[NAME=]COMMAND",
        help="the tickwarden command to measure, by default this folder's; give it twice to compare two",
    )
    if peers:
        parser.add_argument("--peers", metavar="PYTHON", help="one that has what tests/bench/peers.txt lists")
        parser.add_argument("--peer", action="append", choices=peers, help="measure only these")
    parser.add_argument("--lock", default="", metavar="FILE", help="hold this file's lock during each measurement")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to it")
    return parser


def services(options: argparse.Namespace) -> list[Candidate]:
    """Those of --service."""
    found: list[Candidate] = []
    for text in options.service or ["service="]:
        name, equals, words = text.partition("=")
        found.append(Service(name, shlex.split(words)) if equals else Service(text, shlex.split(text)))
    return found
