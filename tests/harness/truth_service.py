"""The real service as a process that is killed and started again, recording exchanges that keep the truth."""

import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractContextManager, suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import duckdb
import trio

from ops.control.client import ControlClient, NoService
from ops.export.query import unlocked
from ops.sandbox import Sandbox
from ops.sandbox.truth import Newest, Untrue, Verdict, compare, newest
from tests.harness.cli_process import COMMAND, environment
from tests.harness.exchange_values import FORGETFUL

PATIENCE_S = 180.0  # for what takes a second or two on a machine that has nothing else to do
LOCK_PATIENCE_S = 60.0  # a merge, on a machine with too much to do
SETTLED_S = 1.0  # what was traded before is on its way no longer
POLICY = """
[store]
flush_interval_s = 0.2
merge_interval_s = 1
[log]
level = "warning"
format = "json"
[supervision]
backoff_initial_s = 0.1
backoff_max_s = 1.0
"""
# The real command line, on a host whose clock is wrong: that of Python, and the kernel's notes of arrivals.
WRONG_CLOCK = """
import sys, time
from actors.wire import poller
off_s = float(sys.argv.pop(1))
real, real_ns, real_arrived_ns = time.time, time.time_ns, poller._arrived_ns
time.time, time.time_ns = lambda: real() + off_s, lambda: real_ns() + int(off_s * 1e9)
poller._arrived_ns = lambda note: real_arrived_ns(note) + int(off_s * 1e9)
from ops.cli import main
main()
"""
NOTICING = "silence_s = 1.0\nstall_s = 0.5\n"


class Service:
    """`tickwarden run` in a folder, over and over; a context manager that leaves no process behind.

    What it logs goes to `folder/log`.
    """

    def __init__(self, folder: Path, sandbox: Sandbox, *, noticing: str = NOTICING) -> None:
        self.folder, self.path, self.kills = folder, folder / "ticks.duckdb", 0
        self._sandbox = sandbox
        self._control = ControlClient(folder / "ticks.duckdb.sock")
        self._process: subprocess.Popen[bytes] | None = None
        tables = sandbox.config_toml().replace("\nsymbols", f"\n{noticing}symbols")
        for name in FORGETFUL.intersection(sandbox.exchanges):  # as by default where no ws_url is set
            tables = tables.replace(f"[exchanges.{name}]\n", f"[exchanges.{name}]\nredundancy = 2\n")
        (folder / "tickwarden.toml").write_text(POLICY + tables)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def start(self, clock_off_s: float = 0.0) -> None:
        """Starts it, and does not wait. Its host's clock is ahead by so much, or behind."""
        self._sandbox.forget_client()  # again: what a killed one had sent may have been read since
        command = [sys.executable, "-c", WRONG_CLOCK, str(clock_off_s)] if clock_off_s else COMMAND
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "run", "--config", "tickwarden.toml"],
                cwd=self.folder,
                env=environment(self.folder),
                stdout=log,
                stderr=log,
            )

    def adopt(self, process: "subprocess.Popen[bytes]") -> "subprocess.Popen[bytes]":
        """Another process is the service from now on."""
        self._process = process
        return process

    async def records(self, *, each: bool = False) -> None:
        """Returns when it has stored something, or something of each exchange."""
        await until(partial(self._records, all if each else any))

    async def _records(self, of: Callable[[Iterable[bool]], bool]) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"the service ended: {(self.folder / 'log').read_text()[-2000:]}")
        try:
            status: Any = await trio.to_thread.run_sync(self._control.get, "/v1/status")
        except (NoService, OSError):
            return False
        return of(status["exchanges"][name]["stored"] > 0 for name in self._sandbox.truth)

    def kill(self) -> None:
        """SIGKILL."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._sandbox.forget_client()
        self.kills += 1

    async def stop(self) -> None:
        """An orderly end, with exit code 0."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        with trio.fail_after(PATIENCE_S):
            code = await trio.to_thread.run_sync(self._process.wait, abandon_on_cancel=True)
        assert code == 0, (self.folder / "log").read_text()[-2000:]

    async def settle(self, seed: int, patience_s: float = PATIENCE_S) -> Verdict:
        """Waits until the file accounts for all that has been traded so far and no gap waits for an answer,
        ends the service and gives the verdict. After `patience_s` gaps may be open; what is untrue then is so."""
        marks = newest(self._sandbox)
        await trio.sleep(SETTLED_S)
        with suppress(trio.TooSlowError):
            await until(partial(self._settled, marks, seed), patience_s, every_s=1.0)
        await self.stop()
        return self._compare(marks, seed)

    async def _settled(self, marks: Newest, seed: int) -> bool:
        if await trio.to_thread.run_sync(self._gaps_open):  # the comparison holds up the exchanges
            return False
        try:
            verdict = await trio.to_thread.run_sync(self._compare, marks, seed)
        except Untrue:
            return False
        return verdict.total.gaps_open == 0

    def _gaps_open(self) -> int:
        with self._opened() as con:
            return int(con.execute("SELECT count(*) FROM gaps WHERE status = 'open'").fetchall()[0][0])

    def _opened(self) -> AbstractContextManager[duckdb.DuckDBPyConnection]:
        return unlocked(self.path, LOCK_PATIENCE_S, lambda: duckdb.connect(self.path, read_only=True))

    def _compare(self, marks: Newest, seed: int) -> Verdict:
        try:
            with self._opened() as con:
                return compare(con, self._sandbox, marks)
        except Untrue as error:
            raise Untrue(f"seed {seed}: {error}") from error


async def until(
    look: Callable[[], Awaitable[bool]], patience_s: float = PATIENCE_S, *, every_s: float = 0.2
) -> None:
    """Looks until it is so; raises TooSlowError when it does not come."""
    with trio.fail_after(patience_s):
        while not await look():  # noqa: ASYNC110 - nobody tells when
            await trio.sleep(every_s)
