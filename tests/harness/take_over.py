"""Two real processes of the service, of which the second takes over from the first, and either may be killed."""

import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import trio

from ops.control.client import ControlClient, NoService
from ops.sandbox import Sandbox, parse_faults
from ops.sandbox.truth import Verdict
from tests.harness.cli_process import COMMAND, environment
from tests.harness.exchange_values import FIVE
from tests.harness.store_reader import looking
from tests.harness.truth_service import Service, until

RATE_PER_S = 50.0
WITH_LOSS = """
SELECT exchange, symbol, reason, status, missing FROM gaps
WHERE NOT (status = 'filled' AND coalesce(missing, recovered) = 0)
"""
TAKEN_OVER_S = 150.0  # 15 where the machine has nothing else to do
ASK_EVERY_S = 0.02
ASK = b"GET /v1/live HTTP/1.1\r\nHost: tickwarden\r\nConnection: close\r\n\r\n"
# In the order in which they are passed; "" is in no step: while the new process connects.
STEPS_OF_NEW = (
    "take_over.delivers",
    "take_over.released",
    "take_over.locked",
    "take_over.restored",
    "take_over.admitted",
    "take_over.stored",
    "take_over.named",
)
STEPS_OF_OLD = ("hand_over.asked", "hand_over.stored", "hand_over.released", "hand_over.replaced")


@dataclass
class Outcome:
    """How it went: who was killed or ended, what the file says, and for how long nobody answered on the socket."""

    old_ended: int | None
    new_ended: int | None
    verdict: Verdict
    answers: int
    unanswered_s: float
    gaps: Sequence[tuple[Any, ...]]  # but those in which nothing was missing, see continuity.overlap
    log: str  # of the new process


class Poller:
    """Asks the socket all the time, as a program that must always get an answer."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self.longest_s, self.answers = 0.0, 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        since = 0.0
        while not self._over.wait(ASK_EVERY_S):
            if self._answers():
                since, self.answers = 0.0, self.answers + 1
            else:
                since = since or time.monotonic()
                self.longest_s = max(self.longest_s, time.monotonic() - since)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as client, suppress(OSError):
            client.settimeout(5.0)
            client.connect(self._path)
            client.sendall(ASK)
            return client.recv(4096).startswith(b"HTTP/1.1 200")
        return False

    @contextmanager
    def running(self) -> Iterator["Poller"]:
        """Asks while the block runs."""
        self._thread.start()
        try:
            yield self
        finally:
            self._over.set()
            self._thread.join()


class Pair:
    """The old process and the new one, with the same configuration; leaves neither behind."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, *more: str, kill_at: str = "", config: str = "tickwarden.toml") -> None:
        """Starts a process, which logs to a file of its name."""
        folder = self._service.folder
        with (folder / name).open("ab") as log:
            self.processes[name] = self._service.adopt(
                subprocess.Popen(
                    [*COMMAND, "run", "--config", config, *more],
                    cwd=folder,
                    env=environment(folder, **({"TICKWARDEN_CRASH_AT": kill_at} if kill_at else {})),
                    stdout=log,
                    stderr=log,
                )
            )

    def ended(self, name: str) -> int | None:
        """Its exit code; None while it runs."""
        return self.processes[name].poll()

    async def has_ended(self, name: str) -> bool:
        """Whether it has ended."""
        return self.ended(name) is not None

    async def one_is_left(self) -> str:
        """Waits until one of the two has ended; returns the name of the other, which records."""

        async def look() -> bool:
            return any(self.ended(name) is not None for name in self.processes)

        await until(look, TAKEN_OVER_S)
        left = [name for name in self.processes if self.ended(name) is None]
        assert len(left) == 1, {name: (self._service.folder / name).read_text()[-2000:] for name in self.processes}
        self._service.adopt(self.processes[left[0]])
        return left[0]

    def kill_all(self) -> None:
        """SIGKILL to what is left."""
        for process in self.processes.values():
            if process.poll() is None:
                process.kill()
            process.wait()


async def take_over(
    folder: Path,
    seed: int,
    *,
    kill_old_at: str = "",
    kill_new_at: str = "",
    killed_before: str = "",
    kill_after_s: Mapping[str, float] | None = None,
    faults: Sequence[str] = (),
    hangs: str = "",
    names: Sequence[str] = FIVE,
    stays_s: float = 1.0,
    settle_s: float = 30.0,
) -> tuple[str, Outcome]:
    """One take-over, of which a process may be killed at a step, or so long after the new one was started; returns
    who records then, and the whole truth of the file after that one has recorded for a while. The exchanges have
    `faults` from the start of the new process on. With `killed_before` another process has tried before, and was
    killed at that step. `hangs` is an exchange whose connections to the old process have hung before.
    """
    sandbox = Sandbox(names, RATE_PER_S, seed=seed)
    async with trio.open_nursery() as nursery:
        await nursery.start(sandbox.serve)
        with Service(folder, sandbox, noticing="") as service:
            pair = Pair(service)
            poller = Poller(folder / "ticks.duckdb.sock")
            try:
                pair.start("old", kill_at=kill_old_at)
                await service.records(each=True)
                with poller.running():
                    if killed_before:
                        pair.start("first", "--take-over", kill_at=killed_before)
                        await until(partial(pair.has_ended, "first"), TAKEN_OVER_S)
                        sandbox.forget_client()
                        assert pair.processes.pop("first").returncode == -signal.SIGKILL
                    if hangs:
                        sandbox.set_faults(parse_faults(["half_open"], every_s=0.2), hangs)
                        await trio.sleep(1.0)
                    sandbox.set_faults(parse_faults(faults, every_s=2.0))
                    pair.start("new", "--take-over", kill_at=kill_new_at)
                    for name, seconds in (kill_after_s or {}).items():
                        await trio.sleep(seconds)
                        pair.processes[name].kill()
                    left = await pair.one_is_left()
                    await until_more(folder, sandbox.truth)
                    await trio.sleep(stays_s)
                    sandbox.set_faults(parse_faults([]))
                verdict = await service.settle(seed, settle_s)
                with looking(service.path) as con:
                    gaps = con.execute(WITH_LOSS).fetchall()
                ended = pair.ended("old"), pair.ended("new")
                outcome = Outcome(
                    *ended, verdict, poller.answers, poller.longest_s, gaps, (folder / "new").read_text()
                )
            finally:
                pair.kill_all()
        nursery.cancel_scope.cancel()
    return left, outcome


async def until_more(folder: Path, names: Iterable[str]) -> None:
    """Until the process that answers has stored more of each exchange."""
    client = ControlClient(folder / "ticks.duckdb.sock")

    async def stored() -> Mapping[str, int]:
        try:
            status: Any = await trio.to_thread.run_sync(client.get, "/v1/status")
        except (NoService, OSError):
            return {}
        return {name: row["stored"] for name, row in status["exchanges"].items()}

    before: Mapping[str, int] = {}

    async def look() -> bool:
        nonlocal before
        before = before or await stored()
        now = await stored()
        return bool(before) and all(now.get(name, 0) > before[name] for name in names)

    await until(look)
