"""`tickwarden sandbox --prove`: records the loopback exchanges with the real service, and compares the trades."""

import os
import re
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import trio

from actors.model.errors import DatabaseLocked
from ops.cli.common import print_json
from ops.control.client import ControlClient, NoService, ProblemReply
from ops.export.query import QueryError, reading, run_query
from ops.sandbox import Faults, Sandbox
from ops.sandbox.truth import Newest, Untrue, Verdict, compare, nameless, newest
from ops.terminal.exit_codes import FAILED, OK
from ops.terminal.output import write_table

# Deadlines shorter than the defaults, so that a proof takes seconds.
POLICY = """
[store]
merge_interval_s = 2
[supervision]
backoff_initial_s = 0.1
backoff_max_s = 1
[log]
level = "error"
"""
NOTICING = "silence_s = 2\nstall_s = 1\n"  # of each exchange
START_S = 60.0  # for what takes two seconds on a machine that has nothing else to do
SETTLE_S = 30.0  # at most, until what is missing has been requested from the histories
ON_ITS_WAY_S = 1.5  # what was traded before has arrived by then and is durable
STOP_S = 60.0
LOG_CHARS = 1_000
LOOK_S = 0.25
MEASURE_S = 0.5
READ = "SELECT count(*), max(received_at) FROM ticks"
MEMORY = re.compile(r"^process_resident_memory_bytes (\S+)$", re.M)
_COMMAND = (sys.executable, "-c", "from ops.cli import main; main()")


@dataclass(slots=True)
class Witness:
    """What was seen of the service from outside: how long each reader of the file waited, and its memory."""

    waits_s: list[float] = field(default_factory=list)
    memory_mb: list[float] = field(default_factory=list)

    async def read(self, path: Path) -> None:
        """Reads the file again and again, as another program would, until cancelled."""
        while True:
            began = time.monotonic()
            await trio.to_thread.run_sync(partial(run_query, path, READ, timeout_s=START_S))
            self.waits_s.append(time.monotonic() - began)
            await trio.sleep(LOOK_S)

    async def measure(self, control: ControlClient) -> None:
        """Takes the memory from /metrics until cancelled; nothing where the system does not report it."""
        while True:
            with suppress(NoService, OSError):  # a machine with too much to do
                text = await trio.to_thread.run_sync(control.get_text, "/metrics")
                self.memory_mb += [float(found) / 1e6 for found in MEMORY.findall(text)]
            await trio.sleep(MEASURE_S)


async def prove(sandbox: Sandbox, port: int, faults: Faults, seconds: float, *, quiet: bool, as_json: bool) -> int:
    """Serves `sandbox`, records it, with `faults` for so many seconds, and prints what came of it.

    The exit code is 1 if a trade is missing that the file does not list, or if one is stored twice or wrongly.
    Raises UsageError for faults that show nothing of these exchanges.
    """

    def say(text: str) -> None:
        if not quiet:
            click.echo(text, err=True)

    alike = [one for one in sandbox.exchanges if any(nameless(one, symbol) for symbol in sandbox.symbols(one))]
    if alike and faults.values.get("duplicate"):
        raise click.UsageError(
            f"a trade of {', '.join(alike)} has nothing that tells it from its copy, so that a frame sent twice is"
            " stored twice: leave out --fault duplicate, or these exchanges"
        )
    witness = Witness()
    with TemporaryDirectory(prefix="tickwarden-") as folder:
        path = Path(folder) / "ticks.duckdb"
        async with _serving(sandbox, port):
            config = POLICY + sandbox.config_toml().replace("\nsymbols", f"\n{NOTICING}symbols")
            (path.parent / "tickwarden.toml").write_text(config)
            sandbox.set_faults(Faults())
            async with _recording(path.parent) as process:
                control = ControlClient(path.parent / "ticks.duckdb.sock")
                if trouble := await _trouble(process, partial(_records, control, path, sandbox)):
                    ends = (path.parent / "log").read_text("utf-8", "replace")[-LOG_CHARS:]
                    click.echo(f"{trouble}; its log ends: {ends}", err=True)
                    return FAILED
                values = ", ".join(f"{name}={value:g}" for name, value in faults.values.items())
                say(f"recording {', '.join(sandbox.exchanges)}; for {seconds:g} s: {values or 'no faults'}")
                sandbox.set_faults(faults)
                async with trio.open_nursery() as watching:
                    watching.start_soon(witness.read, path)
                    watching.start_soon(witness.measure, control)
                    await trio.sleep(seconds)
                    watching.cancel_scope.cancel()
                sandbox.set_faults(Faults())
                say("the faults are off; waiting for what is requested again")
                until = newest(sandbox)
                await trio.sleep(ON_ITS_WAY_S)
                with suppress(trio.TooSlowError):
                    await _until(partial(_settled, path, sandbox, until), SETTLE_S)
        try:
            verdict = _compared(path, sandbox, until)
        except Untrue as error:
            click.echo(f"This is not as it should be: {error}", err=True)
            return FAILED
    _print(sandbox, faults, verdict, witness, as_json=as_json)
    return OK


@asynccontextmanager
async def _serving(sandbox: Sandbox, port: int) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        await nursery.start(sandbox.serve, "127.0.0.1", port)
        yield
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def _recording(folder: Path) -> AsyncIterator[trio.Process]:
    """`tickwarden run` in a process of its own; it is ended in order, or killed if that fails."""
    with (folder / "log").open("wb") as log:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("TICKWARDEN_")}
        process = await trio.lowlevel.open_process(
            [*_COMMAND, "run", "--config", "tickwarden.toml"], cwd=folder, env=kept, stdout=log, stderr=log
        )
    try:
        yield process
        process.terminate()
        with trio.fail_after(STOP_S):
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()


async def _trouble(process: trio.Process, records: Callable[[], Awaitable[bool]]) -> str:
    """Waits until the service records; returns why it does not, "" if it does."""

    async def decided() -> bool:
        return process.poll() is not None or await records()

    try:
        await _until(decided, START_S)
    except trio.TooSlowError:
        return f"the service records nothing after {START_S:g} s"
    return "" if process.poll() is None else f"the service has ended with exit code {process.returncode}"


async def _until(look: Callable[[], Awaitable[bool]], patience_s: float) -> None:
    with trio.fail_after(patience_s):
        while not await look():  # noqa: ASYNC110 - nothing to wait on: another process works
            await trio.sleep(LOOK_S)


async def _records(control: ControlClient, path: Path, sandbox: Sandbox) -> bool:
    """Whether something of each exchange is stored, and the file is there."""
    try:
        status: Any = await trio.to_thread.run_sync(control.get, "/v1/status")
    except (NoService, ProblemReply, OSError):
        return False
    return await trio.Path(path).exists() and all(status["exchanges"][name]["stored"] for name in sandbox.exchanges)


async def _settled(path: Path, sandbox: Sandbox, until: Newest) -> bool:
    """Whether nothing more will come: a trade that was left out shows with the next one, a moment later."""
    try:
        verdict = await trio.to_thread.run_sync(_compared, path, sandbox, until)
    except (Untrue, QueryError, DatabaseLocked):
        return False
    return verdict.total.gaps_open == verdict.total.unproven == 0


def _compared(path: Path, sandbox: Sandbox, until: Newest) -> Verdict:
    with reading(path) as con:
        return compare(con, sandbox, until, unproven_allowed=True)


def _print(sandbox: Sandbox, faults: Faults, verdict: Verdict, witness: Witness, *, as_json: bool) -> None:
    struck = {name: sum(sandbox.struck[name][fault] for fault in faults.values) for name in sandbox.exchanges}
    connections = {name: exchange.connections for name, exchange in sandbox.exchanges.items()}
    quarter = max(1, len(witness.memory_mb) // 4)
    memory = [
        statistics.median(part) for part in (witness.memory_mb[:quarter], witness.memory_mb[-quarter:]) if part
    ]
    if as_json:
        found = {
            "exchanges": {
                name: {"faults": struck[name], "connections": connections[name], **asdict(account)}
                for name, account in verdict.exchanges.items()
            },
            "reads": len(witness.waits_s),
            "longest_read_s": max(witness.waits_s, default=None),
            "memory_mb": memory,
        }
        print_json(found)
        return
    rows = [
        (name, struck[name], connections[name], one.made, one.stored, one.repaired, one.listed, one.unproven)
        for name, one in verdict.exchanges.items()
    ]
    columns = ("exchange", "faults", "connections", "made", "stored", "repaired", "listed", "unproven")
    write_table(columns, rows, sys.stdout)
    total = verdict.total
    click.echo(f"\n{total.made:,} trades were made; {total.stored:,} are stored, each once and as it was made.")
    if total.listed:
        click.echo(f"{total.listed:,} are missing in gaps that `tickwarden gaps` lists.")
    if total.unproven:
        click.echo(f"{total.unproven:,} are missing unseen, where `tickwarden coverage` says proof: none.")
    if witness.waits_s:
        reads, longest_ms = len(witness.waits_s), 1000 * max(witness.waits_s)
        click.echo(f"Meanwhile the DuckDB file was read {reads} times; the longest query took {longest_ms:.0f} ms.")
    if memory:
        click.echo(f"The service's memory: {memory[0]:.0f} MB at first, {memory[-1]:.0f} MB at the end.")
