"""`tickwarden demo`: records loopback exchanges with the real service, shows it live, then runs example queries."""

import shlex
import sys
import time
from pathlib import Path

import click
import trio
from rich.console import Console
from rich.live import Live
from rich.table import Table

from actors.pipeline import Pipeline
from actors.settings import ExchangeSettings, StoreSettings, SupervisionSettings
from actors.store.connecting import command_limits, connect
from ops.cli.common import DAY_S, LocalPath, Number, quiet_option
from ops.config.config import Config, ConfigErrors
from ops.config.keys import DEFAULT_SYMBOLS, ControlSettings, LogSettings
from ops.config.paths import place_mistakes
from ops.monitoring.logs import configure
from ops.monitoring.status import exchange_state
from ops.sandbox import LOOPBACKS, Sandbox
from ops.service.service import run_service
from ops.terminal.exit_codes import OK
from ops.terminal.output import WIDER, write_table

REFRESH_S = 0.25
QUIET_REFRESH_S = 3.0
MERGE_S = 3.0  # so that a short demo shows merges too
TRADES_PER_S = 40.0  # each exchange

QUERIES = (
    (
        "what was recorded",
        "SELECT exchange, symbol, count(*) AS trades, min(price) AS low, max(price) AS high"
        " FROM ticks GROUP BY ALL ORDER BY ALL",
    ),
    (
        "one-second bars",
        # By time and id, not in the order of the file: rows from a history are stored after later rows.
        "SELECT time_bucket(INTERVAL 1 second, timestamp) AS second,"
        " first(price ORDER BY timestamp, TRY_CAST(trade_id AS BIGINT)) AS open,"
        " max(price) AS high, min(price) AS low,"
        " last(price ORDER BY timestamp, TRY_CAST(trade_id AS BIGINT)) AS close, sum(volume) AS volume"
        " FROM ticks WHERE exchange = '{exchange}' AND symbol = '{symbol}' GROUP BY second ORDER BY second LIMIT 5",
    ),
    (
        "the ledger: nothing is dropped silently",
        "SELECT exchange, received, stored, duplicates, rejected, in_flight FROM audit"
        ' QUALIFY row_number() OVER (PARTITION BY run_id, exchange ORDER BY "at" DESC) = 1 ORDER BY exchange',
    ),
)


@click.command()
@click.option(
    "--seconds", type=Number(min=1, max=DAY_S), default=12.0, show_default=True, help="How long to record."
)
@click.option(
    "--dir",
    "folder",
    type=LocalPath(path_type=Path, file_okay=False),
    default=Path("tickwarden-demo"),
    show_default=True,
    help="The folder of the DuckDB file; created if it does not exist.",
)
@click.option(
    "--exchange",
    "names",
    multiple=True,
    type=click.Choice(list(LOOPBACKS)),
    help=f"Which ones; may be given again. Without it {', '.join(DEFAULT_SYMBOLS)}.",
)
@quiet_option
def demo(seconds: float, folder: Path, names: tuple[str, ...], quiet: bool) -> int:
    """Record loopback exchanges with the real service, watch it, and keep the DuckDB file."""
    store, control = _places(folder / "ticks.duckdb")
    if mistakes := list(place_mistakes(store, control.socket)):
        raise ConfigErrors(folder, mistakes)
    return trio.run(_run, seconds, folder, names or tuple(DEFAULT_SYMBOLS), quiet)


async def _run(seconds: float, folder: Path, names: tuple[str, ...], quiet: bool) -> int:
    """Records these exchanges for `seconds` into `folder`/ticks.duckdb; returns the service's exit code."""
    console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True, quiet=quiet)
    sink = configure("warning", "auto")
    path = folder / "ticks.duckdb"
    exchanges = Sandbox(names, TRADES_PER_S, ids_from=int(time.time()) * 1000)
    codes: list[int] = []
    async with trio.open_nursery() as nursery:
        await nursery.start(exchanges.serve)
        _introduce(console, exchanges, path, seconds)
        watching = trio.CancelScope()

        async def watch(*, task_status: trio.TaskStatus[trio.MemorySendChannel[Pipeline]]) -> None:
            send, receive = trio.open_memory_channel[Pipeline](1)
            task_status.started(send)
            with watching, receive:
                await _watch(await receive.receive(), console)

        handing = await nursery.start(watch)
        codes.append(await run_service(_config(path, exchanges), for_s=seconds, on_started=handing.send_nowait))
        watching.cancel()
        nursery.cancel_scope.cancel()
    sink.drain(1.0)
    if codes[0] == OK:
        _show(path, exchanges)
    return codes[0]


def _introduce(console: Console, exchanges: Sandbox, path: Path, seconds: float) -> None:
    count = len(exchanges.exchanges)
    speak = (
        "1 exchange speaks its real wire protocol"
        if count == 1
        else f"{count} exchanges speak their real wire protocols"
    )
    console.print(f"{speak} on {exchanges.where} of {exchanges.host}.")
    console.print(f"Recording for {seconds:g} s into {path}; query it meanwhile from another terminal:")
    console.print(f"  tickwarden status --socket {shlex.quote(f'{path}.sock')}")
    console.print(f"  tickwarden query 'SELECT count(*) FROM ticks' --file {shlex.quote(str(path))}\n")


def _places(path: Path) -> tuple[StoreSettings, ControlSettings]:
    store = StoreSettings(path=path, merge_interval_s=MERGE_S)
    return store, ControlSettings(socket=path.with_name(path.name + ".sock"))


def _config(path: Path, exchanges: Sandbox) -> Config:
    """The content of `exchanges.config_toml()`, with a store for the demo."""
    store, control = _places(path)
    return Config(
        store=store,
        exchanges={
            name: ExchangeSettings(
                name=name,
                dialect=name,
                symbols=tuple(exchanges.symbols(name)),
                ws_url=exchanges.url(name, "ws"),
                rest_url=exchanges.url(name, "http"),
            )
            for name in exchanges.exchanges
        },
        supervision=SupervisionSettings(),
        control=control,
        log=LogSettings(level="warning"),
    )


async def _watch(pipeline: Pipeline, console: Console) -> None:
    """Runs until cancelled: a live table on a terminal, else a line every few seconds."""
    if not console.is_terminal:
        while True:
            await trio.sleep(QUIET_REFRESH_S)
            stored = ", ".join(f"{n} {e.account.stored}" for n, e in pipeline.exchanges.items())
            console.print(f"durable so far: {stored}")
    with Live(console=console, auto_refresh=False) as live:
        while True:
            live.update(_picture(pipeline), refresh=True)
            await trio.sleep(REFRESH_S)


def _picture(pipeline: Pipeline) -> Table:
    table = Table("exchange", "state", "received", "durable", "in flight", "rejected")
    for name, exchange in pipeline.exchanges.items():
        account = exchange.account
        numbers = (account.received, account.stored, account.in_flight, account.rejected)
        table.add_row(name, exchange_state(pipeline, name), *map(str, numbers))
    return table


def _show(path: Path, exchanges: Sandbox) -> None:
    """Prints example queries with their answers to stdout."""
    first = next(iter(exchanges.exchanges))
    market = {"exchange": first, "symbol": exchanges.symbols(first)[0]}
    say = Console(highlight=False, markup=False, soft_wrap=True).print
    say(f"\nThe file is complete by itself: {path} ({path.stat().st_size / 1e6:.1f} MB). Queries to try:")
    with connect(path, command_limits(), read_only=True) as con:
        for title, sql in ((title, sql.format(**market)) for title, sql in QUERIES):
            say(f"\n-- {title}\n{sql};")
            result = con.execute(sql)
            columns = [column[0] for column in result.description or []]
            write_table(columns, result.fetchall(), sys.stdout, elsewhere=WIDER)
    say(f"Continue with: tickwarden query 'FROM ticks LIMIT 5' --file {shlex.quote(str(path))}")
