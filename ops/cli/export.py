"""`tickwarden export`: a standalone copy of the recording, from a running or a stopped service."""

import signal
import sys
from functools import partial
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from actors.model.errors import DatabaseLocked
from ops.cli.common import (
    LocalPath,
    config_option,
    configuration,
    json_option,
    print_json,
    quiet_option,
    range_options,
    timeout_option,
)
from ops.export.export import Exported, TimeRange, export
from ops.export.query import QueryError
from ops.export.tardis import export_tardis
from ops.export.target import ExportError
from ops.terminal.exit_codes import FAILED, OK
from ops.terminal.output import write_table

_NO_FOLDER = (".parquet", ".pq", ".csv", ".json")  # a user of these endings expects another format


@click.command("export")
@click.argument("path", type=LocalPath())
@range_options
@click.option(
    "--format",
    "kind",
    type=click.Choice(["duckdb", "parquet", "tardis"]),
    help="By default parquet for a folder, and otherwise duckdb; tardis: CSV files as backtesters import them.",
)
@click.option("--file", "source", type=LocalPath(path_type=Path), help="The DuckDB file; default: the config's.")
@click.option("--overwrite", is_flag=True, help="Replace an existing copy.")
@timeout_option
@quiet_option
@json_option
@config_option
def export_command(
    path: str,
    since_us: int | None,
    until_us: int | None,
    kind: str | None,
    source: Path | None,
    overwrite: bool,
    timeout_s: float,
    quiet: bool,
    as_json: bool,
    config_path: Path | None,
) -> int:
    """Copy the recording to PATH, as of one moment, whether the service runs or not.

    PATH becomes one DuckDB file with all tables; or, if it ends in "/" or is a folder, Parquet files of the
    ticks in folders by exchange, symbol and UTC day. A tick's time is `timestamp`, or `received_at` where
    the exchange sends none. With --format tardis a file for each exchange, UTC day and native symbol, in the
    layout of Tardis' trades; its times are those of receipt. The service goes on recording; its merges wait.
    """
    target = Path(path)
    as_folder = kind in ("parquet", "tardis") or (kind is None and (path.endswith("/") or target.is_dir()))
    if kind == "duckdb" and (path.endswith("/") or target.is_dir()):
        raise click.UsageError(f"{path}: a DuckDB copy is a file; name one, like {target / 'copy.duckdb'}")
    if not as_folder and target.suffix.lower() in _NO_FOLDER:
        raise click.UsageError(f"{path}: for Parquet name a folder, like {target.with_suffix('')}/")
    # Like Ctrl-C: nothing half-written remains.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    console = Console(stderr=True, quiet=quiet)
    try:
        with _bar(console) as bar:
            task = bar.add_task(target.name, total=None)
            make = export_tardis if kind == "tardis" else partial(export, as_folder=as_folder)
            done = make(
                source or configuration(config_path).store.path,
                target,
                time_range=TimeRange(since_us, until_us),
                overwrite=overwrite,
                timeout_s=timeout_s,
                progress=lambda rows, total: bar.update(task, completed=rows, total=total),
            )
    except (ExportError, QueryError, DatabaseLocked, OSError) as error:
        click.echo(str(error), err=True)
        return FAILED
    _print(done, as_json)
    return OK


def _bar(console: Console) -> Progress:
    """Progress in rows on a terminal; silent elsewhere."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.completed:,} rows"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def _print(done: Exported, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "path": str(done.path),
                "format": done.format,
                "rows": done.rows,
                "bytes": done.bytes,
                "seconds": round(done.seconds, 3),
            }
        )
        return
    write_table(("table", "rows"), list(done.rows.items()), sys.stdout)
    click.echo(f"{done.path}: {done.bytes / 1e6:,.1f} MB of {done.format} in {done.seconds:.1f} s")
