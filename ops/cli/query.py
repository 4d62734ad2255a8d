"""`tickwarden query`: SQL on the DuckDB file, whatever state the service is in."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from actors.model.errors import DatabaseLocked
from ops.cli.chosen import check_recorded
from ops.cli.common import LocalPath, config_option, configuration, timeout_option
from ops.cli.completing import examples
from ops.cli.row_output import LIST, Output, chosen, example_option, list_examples, output, row_options
from ops.export.examples import EXAMPLES
from ops.export.query import LOCK_TIMEOUT_S, QueryError, run_query, write_parquet
from ops.export.target import ExportError
from ops.terminal.exit_codes import FAILED, OK
from ops.terminal.layout import Fit


@click.command(
    epilog="Examples: tickwarden query 'FROM ticks LIMIT 5'; tickwarden query --example candles --format markdown;"
    " tickwarden query 'FROM ticks' --out ticks.parquet"
)
@click.argument("sql", required=False)
@example_option(examples)
@click.option("--file", "path", type=LocalPath(path_type=Path), help="The DuckDB file; without it, the config's.")
@row_options
@timeout_option
@config_option
def query(
    sql: str | None,
    example: str | None,
    path: Path | None,
    form: str | None,
    as_csv: bool,
    as_json: bool,
    out: Path | None,
    overwrite: bool,
    timeout_s: float,
    config_path: Path | None,
) -> int:
    """Run SQL on the DuckDB file; waits while the service has it locked."""
    into = output(form, out, as_csv=as_csv, as_json=as_json, overwrite=overwrite)
    if example == LIST and sql is None:
        return list_examples(EXAMPLES, into.form)
    sql = chosen(sql, example, EXAMPLES, "FROM ticks LIMIT 5")
    if out is None:
        return print_rows(sql, path, config_path, form=into.form, timeout_s=timeout_s)
    source = path or configuration(config_path).store.path
    try:
        into.write(
            lambda: run_query(source, sql, timeout_s=timeout_s),
            lambda made: write_parquet(source, sql, made, timeout_s=timeout_s),
            source.absolute(),
        )
    except (QueryError, DatabaseLocked, ExportError, OSError) as error:
        click.echo(str(error), err=True)
        return FAILED
    return OK


def print_rows(
    sql: str,
    path: Path | None,
    config_path: Path | None,
    *,
    values: Sequence[Any] = (),
    fit: Fit | None = None,
    form: str = "table",
    timeout_s: float = LOCK_TIMEOUT_S,
    exchange: str | None = None,
    symbol: str | None = None,
    empty: str = "",
) -> int:
    """Prints what a query on the file returns, or why it returns nothing; the exit code.

    `path` is the file, by default the configured one. Without `fit`, all columns of a table may be shortened.
    `exchange` and `symbol` are what the rows are limited to; unknown ones are wrong use. `empty` is printed where
    there are no rows.
    """
    source = path or configuration(config_path).store.path
    try:
        exchanges, symbols = ([name] if name is not None else [] for name in (exchange, symbol))
        check_recorded(source, config_path, exchanges, symbols, timeout_s=timeout_s)
        result = run_query(source, sql, values=values, timeout_s=timeout_s)
    except (QueryError, DatabaseLocked) as error:
        click.echo(str(error), err=True)
        return FAILED
    Output(form).print(result, fit)
    if empty and not result.rows and form == "table":
        click.echo(empty, err=True)
    return OK
