"""How long a start takes: python -m tests.bench start [--runs N] [--json] [CHECKOUT ...]

From the exec of `tickwarden run` to the moment a loopback server has received its first subscription, and the
last where five exchanges are configured; over ws:// and wss://, on a new file and on one with trades; and how long
`--help`, `check-config` and `status` run. Each figure is the median of N runs in milliseconds, of wall time and of
the CPU time of the process. Several checkouts of the project take turns, so that they meet the same load.
"""

import argparse
import json
import os
import shutil
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from queue import Empty, Queue

from ops.config.keys import DEFAULT_SYMBOLS
from tests.bench import feeder
from tests.bench.service import Service
from tests.harness.cli_process import wait_for
from tests.harness.paths import CERTS, ROOT
from tests.harness.server_frames import frame

PATIENCE_S = 30.0
COMPILED = Path(tempfile.gettempdir()) / "tickwarden-bench-compiled"  # kept, as only the first run takes longer


@dataclass(frozen=True)
class Case:
    """A service with the first `exchanges` of the default configuration."""

    exchanges: int
    scheme: str
    stored: bool

    def __str__(self) -> str:
        return f"run: {self.exchanges} over {self.scheme}, {'existing' if self.stored else 'new'} file"


CASES = [Case(number, scheme, stored) for number in (1, 5) for scheme in ("ws", "wss") for stored in (False, True)]


class Server:
    """Accepts WebSocket clients on loopback and notes when each sends its first message; answers nothing."""

    def __init__(self, scheme: str) -> None:
        self.received_at: Queue[float] = Queue()
        self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH) if scheme == "wss" else None
        if self._tls is not None:
            self._tls.load_cert_chain(CERTS / "localhost.pem")
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError, EOFError), connection:
            client = self._tls.wrap_socket(connection, server_side=True) if self._tls else connection
            feeder.welcome(client)
            client.recv(1)
            self.received_at.put(time.monotonic())
            while client.recv(4096):
                pass

    def next_at(self) -> float:
        """When the next client sent its first message."""
        return self.received_at.get(timeout=PATIENCE_S)


@dataclass(frozen=True)
class Checkout:
    """A tree of the project; its commands run in a process of their own."""

    root: Path

    @contextmanager
    def running(self, *words: str, folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], float]]:
        """A command, and when it was started; killed when the block is left."""
        began = time.monotonic()
        env = {
            **os.environ,
            "PYTHONPATH": str(self.root),
            "PYTHONPYCACHEPREFIX": str(COMPILED / self.root.name),
            "HOME": str(folder),
            "SSL_CERT_FILE": str(folder.parent / "ca.pem"),
        }
        env.pop("PYTHONDONTWRITEBYTECODE", None)  # where it is installed it is compiled
        process = subprocess.Popen(
            [sys.executable, "-c", "from ops.cli import main; main()", *words],
            cwd=folder,
            env=env,
            stdout=subprocess.DEVNULL,
            stderr=(folder / "log").open("wb"),
        )
        try:
            yield process, began
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()


def cpu_ms(pid: int) -> float:
    """The CPU time of all threads of a process so far."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e6


def write_config(folder: Path, exchanges: int, url: str) -> None:
    tables = ['[store]\npath = "ticks.duckdb"\n']
    for name, symbols in list(DEFAULT_SYMBOLS.items())[:exchanges]:
        tables.append(f'[exchanges.{name}]\nws_url = "{url}"\nsymbols = {json.dumps(symbols)}\n')
    (folder / "tickwarden.toml").write_text("".join(tables))


def start(checkout: Checkout, case: Case, folder: Path, server: Server) -> dict[str, float]:
    """One start, to the last subscription."""
    write_config(folder, case.exchanges, server.url)
    with checkout.running("run", folder=folder) as (process, began):
        try:
            first = server.next_at()
            cpu = cpu_ms(process.pid)
            last = first
            for _ in range(case.exchanges - 1):
                last = server.next_at()
        except Empty:
            raise SystemExit(f"no subscription came; the service's log: {(folder / 'log').read_text()}") from None
    return {"first": (first - began) * 1e3, "all": (last - began) * 1e3, "cpu": cpu}


def command(checkout: Checkout, words: list[str], folder: Path) -> dict[str, float]:
    """One command that ends by itself."""
    with checkout.running(*words, folder=folder) as (process, began):
        _, status, usage = os.wait4(process.pid, 0)
        ended = time.monotonic()
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"tickwarden {' '.join(words)}: {(folder / 'log').read_text()}")
    return {"wall": (ended - began) * 1e3, "cpu": (usage.ru_utime + usage.ru_stime) * 1e3}


def record(folder: Path, ticks: int) -> None:
    """Leaves a file with so many trades of Binance in the folder."""
    (folder.parent / "ca.pem").touch()
    listener = socket.create_server(("127.0.0.1", 0))
    write_config(folder, 1, f"ws://127.0.0.1:{listener.getsockname()[1]}")
    now_ms = int(time.time() * 1000)
    with listener, Checkout(ROOT).running("run", folder=folder) as (process, _):
        client, _ = listener.accept()
        with client:
            feeder.welcome(client)
            asked = json.loads(feeder.hear(client))
            client.sendall(frame(json.dumps({"result": None, "id": asked["id"]}).encode()))
            for number in range(ticks):
                client.sendall(feeder.trade("BTCUSDT", number, now_ms, "0.01000000"))
            service = Service(folder, process.pid)
            wait_for("the trades", lambda: service.received() >= ticks)
            process.terminate()
            process.wait(PATIENCE_S)


@contextmanager
def prepared(stored: Path | None) -> Iterator[Path]:
    """A folder of its own, with a copy of the recording where there is one."""
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        roots = ssl.get_default_verify_paths().cafile
        trusted = Path(roots).read_text("utf-8") if roots else ""
        (top / "ca.pem").write_text(trusted + (CERTS / "ca.pem").read_text("utf-8"))  # as long as the system's
        folder = top / "here"
        if stored is None:
            folder.mkdir()
        else:
            shutil.copytree(stored, folder)
        yield folder


def in_turns(
    checkouts: list[Checkout], runs: int, once: Callable[[Checkout], dict[str, float]]
) -> list[dict[str, float]]:
    """The medians of each checkout. The first run of each is left out: it compiles what has changed."""
    found: list[list[dict[str, float]]] = [[] for _ in checkouts]
    for _ in range(runs + 1):
        for rows, checkout in zip(found, checkouts, strict=True):
            rows.append(once(checkout))
    return [{name: statistics.median(row[name] for row in rows[1:]) for name in rows[0]} for rows in found]


def starts(
    checkouts: list[Checkout], runs: int, cases: list[Case], ticks: int
) -> Iterator[tuple[str, list[dict[str, float]]]]:
    """The figures of each case, by checkout."""
    with tempfile.TemporaryDirectory() as name:
        recorded = Path(name) / "recorded"
        recorded.mkdir()
        if any(case.stored for case in cases):
            record(recorded, ticks)
        servers = {scheme: Server(scheme) for scheme in {case.scheme for case in cases}}

        for case in cases:

            def once(checkout: Checkout, case: Case = case) -> dict[str, float]:
                with prepared(recorded if case.stored else None) as folder:
                    return start(checkout, case, folder, servers[case.scheme])

            yield str(case), in_turns(checkouts, runs, once)


def commands(checkouts: list[Checkout], runs: int) -> Iterator[tuple[str, list[dict[str, float]]]]:
    """The same of commands that end; a service is running meanwhile."""
    server = Server("ws")
    with prepared(None) as folder:
        write_config(folder, 1, server.url)
        with checkouts[0].running("run", folder=folder):
            server.next_at()
            for words in (["--help"], ["--version"], ["check-config"], ["status"]):

                def once(checkout: Checkout, words: list[str] = words) -> dict[str, float]:
                    return command(checkout, words, folder)

                yield " ".join(words), in_turns(checkouts, runs, once)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkouts", nargs="*", type=Path, metavar="CHECKOUT", default=[ROOT])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--ticks", type=int, default=100_000, help="trades in the existing file")
    parser.add_argument("--only", default="", metavar="WORDS", help="the cases whose name has these words")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    checkouts = [Checkout(path.resolve()) for path in asked.checkouts]
    cases = [case for case in CASES if asked.only in str(case)]
    found: dict[str, dict[str, dict[str, float]]] = {}
    measured = [starts(checkouts, asked.runs, cases, asked.ticks)] if cases else []
    if not asked.only or asked.only == "commands":
        measured.append(commands(checkouts, asked.runs))
    for name, rows in chain.from_iterable(measured):
        found[name] = {str(one.root): row for one, row in zip(checkouts, rows, strict=True)}
        if not asked.json:
            shown = (", ".join(f"{what} {ms:.0f}" for what, ms in row.items()) for row in rows)
            print(f"{name:36}", "   |   ".join(shown), flush=True)
    if asked.json:
        print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
