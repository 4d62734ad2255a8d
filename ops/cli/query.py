"""`tickwarden query`: SQL on the DuckDB file, whatever state the service is in."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

import click

from actors.model.errors import DatabaseLocked
from ops.cli.common import config_option, configuration, json_option, print_json, timeout_option
from ops.cli.completing import examples
from ops.export.examples import EXAMPLES
from ops.export.query import LOCK_TIMEOUT_S, QueryError, Result, run_query, write_parquet
from ops.export.target import ExportError, check, make_durable, place_file, workshop
from ops.terminal.exit_codes import FAILED, OK
from ops.terminal.layout import Fit
from ops.terminal.output import write_csv, write_json, write_markdown, write_table
from ops.terminal.suggestions import did_you_mean

FORMATS = ("table", "csv", "json", "markdown", "parquet")
_ENDINGS = {".csv": "csv", ".json": "json", ".md": "markdown", ".parquet": "parquet", ".pq": "parquet"}
_LIST = ""  # --example without a name


@click.command(
    epilog="Examples: tickwarden query 'FROM ticks LIMIT 5'; tickwarden query --example candles --format markdown;"
    " tickwarden query 'FROM ticks' --out ticks.parquet"
)
@click.argument("sql", required=False)
@click.option(
    "--example",
    is_flag=False,
    flag_value=_LIST,
    metavar="[NAME]",
    shell_complete=examples,
    help="Run a query of the list to begin with; without NAME print the list.",
)
@click.option("--file", "path", type=click.Path(path_type=Path), help="The DuckDB file; without it, the config's.")
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    help="How to print the rows; default: as the ending of --out says, or a table. Parquet needs --out.",
)
@click.option("--csv", "as_csv", is_flag=True, help="The same as --format csv.")
@json_option
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="Write the rows to a file.")
@click.option("--overwrite", is_flag=True, help="Replace an existing file.")
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
    asked = [one for one in (form, "csv" if as_csv else None, "json" if as_json else None) if one]
    if len(set(asked)) > 1:
        raise click.UsageError(f"one format at a time, not {' and '.join(asked)}")
    form = asked[0] if asked else _ENDINGS.get(out.suffix.lower(), "table") if out else "table"
    if form == "parquet" and out is None:
        raise click.UsageError("Parquet is not for a screen: name a file, like --out rows.parquet")
    if example == _LIST and sql is None:
        return _list_examples(form)
    sql = _chosen(sql, example)
    if out is None:
        return print_rows(sql, path, config_path, form=form, timeout_s=timeout_s)
    source = path or configuration(config_path).store.path
    try:
        rows = _write(sql, source, out.absolute(), form, overwrite=overwrite, timeout_s=timeout_s)
    except (QueryError, DatabaseLocked, ExportError, OSError) as error:
        click.echo(str(error), err=True)
        return FAILED
    click.echo(f"wrote {out}: {rows:,} rows of {form}")
    return OK


def _list_examples(form: str) -> int:
    if form == "json":
        print_json([{"name": name, "shows": one.shows, "sql": one.sql} for name, one in EXAMPLES.items()])
    else:
        _written(Result(("name", "shows"), [(name, one.shows) for name, one in EXAMPLES.items()]), form, sys.stdout)
    return OK


def _chosen(sql: str | None, example: str | None) -> str:
    """The SQL to run; that of an example is shown where a person reads, to be changed from there."""
    if sql is None and example is None:
        raise click.UsageError(
            "no SQL: write a query like 'FROM ticks LIMIT 5', or `--example` for a list of queries to begin with"
        )
    if sql is not None and example is not None:
        raise click.UsageError("either SQL or --example, not both; the SQL of the examples: --example --json")
    if example is None:
        assert sql is not None
        return sql
    if example not in EXAMPLES:
        raise click.UsageError(f"there is no example {example!r}; {did_you_mean(example, EXAMPLES)}")
    if sys.stderr.isatty():
        click.echo(f"{EXAMPLES[example].sql}\n", err=True)
    return EXAMPLES[example].sql


def print_rows(
    sql: str,
    path: Path | None,
    config_path: Path | None,
    *,
    values: Sequence[Any] = (),
    fit: Fit | None = None,
    form: str = "table",
    timeout_s: float = LOCK_TIMEOUT_S,
    empty: str = "",
) -> int:
    """Prints what a query on the file returns, or why it returns nothing; the exit code.

    `path` is the file, by default the configured one. Without `fit`, all columns of a table may be shortened.
    `empty` is printed where there are no rows.
    """
    try:
        result = run_query(path or configuration(config_path).store.path, sql, values=values, timeout_s=timeout_s)
    except (QueryError, DatabaseLocked) as error:
        click.echo(str(error), err=True)
        return FAILED
    _written(result, form, sys.stdout, fit)
    if empty and not result.rows and form == "table":
        click.echo(empty, err=True)
    return OK


def _written(result: Result, form: str, file: TextIO, fit: Fit | None = None) -> None:
    if form == "table":
        write_table(result.columns, result.rows, file, fit=fit or Fit(shorten=tuple(result.columns)))
    else:
        write = {"csv": write_csv, "json": write_json, "markdown": write_markdown}[form]
        write(result.columns, result.rows, file)


def _write(sql: str, source: Path, target: Path, form: str, *, overwrite: bool, timeout_s: float) -> int:
    """Writes the rows to a file, whole or not at all; how many."""
    if target.is_dir():
        raise ExportError(f"{target} is a folder; name a file")
    check(source.absolute(), target, as_folder=False, overwrite=overwrite)
    with workshop(target) as work:
        made = work / "rows"
        if form == "parquet":
            rows = write_parquet(source, sql, made, timeout_s=timeout_s)
        else:
            result = run_query(source, sql, timeout_s=timeout_s)
            with made.open("w", encoding="utf-8", newline="") as file:
                _written(result, form, file)
            rows = len(result.rows)
        make_durable(made)
        place_file(made, target, overwrite=overwrite)
    return rows
