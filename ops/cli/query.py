"""`tickwarden query`: SQL on the DuckDB file, whatever state the service is in."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from actors.model.errors import DatabaseLocked
from ops.cli.common import config_option, configuration, json_option, timeout_option
from ops.export.query import LOCK_TIMEOUT_S, QueryError, run_query
from ops.terminal.exit_codes import FAILED, OK
from ops.terminal.layout import Fit
from ops.terminal.output import write_csv, write_json, write_table


@click.command()
@click.argument("sql")
@click.option("--file", "path", type=click.Path(path_type=Path), help="The DuckDB file; without it, the config's.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV instead of a table.")
@json_option
@timeout_option
@config_option
def query(
    sql: str, path: Path | None, as_csv: bool, as_json: bool, timeout_s: float, config_path: Path | None
) -> int:
    """Run SQL on the DuckDB file; waits while the service has it locked."""
    return print_rows(sql, path, config_path, as_json=as_json, as_csv=as_csv, timeout_s=timeout_s)


def print_rows(
    sql: str,
    path: Path | None,
    config_path: Path | None,
    *,
    values: Sequence[Any] = (),
    fit: Fit | None = None,
    as_json: bool = False,
    as_csv: bool = False,
    timeout_s: float = LOCK_TIMEOUT_S,
) -> int:
    """Prints what a query on the file returns, or why it returns nothing; the exit code.

    `path` is the file, by default the configured one. Without `fit`, all columns of a table may be shortened.
    """
    try:
        result = run_query(path or configuration(config_path).store.path, sql, values=values, timeout_s=timeout_s)
    except (QueryError, DatabaseLocked) as error:
        click.echo(str(error), err=True)
        return FAILED
    if as_json or as_csv:
        (write_json if as_json else write_csv)(result.columns, result.rows, sys.stdout)
    else:
        write_table(result.columns, result.rows, sys.stdout, fit=fit or Fit(shorten=tuple(result.columns)))
    return OK
