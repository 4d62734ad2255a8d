"""Shared by the commands that run SQL: the options for its rows, where they go, and the queries to begin with."""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TextIO, TypeVar

import click

from ops.cli.common import LocalPath, json_option, print_json
from ops.export.examples import Example
from ops.export.target import check, make_durable, place_file, workshop
from ops.export.write_errors import naming
from ops.terminal.exit_codes import OK
from ops.terminal.layout import Fit
from ops.terminal.output import write_csv, write_json, write_markdown, write_table
from ops.terminal.suggestions import did_you_mean

FORMATS = ("table", "csv", "json", "markdown", "parquet")
_ENDINGS = {".csv": "csv", ".json": "json", ".md": "markdown", ".parquet": "parquet", ".pq": "parquet"}
LIST = ""  # --example without a name

F = TypeVar("F", bound=Callable[..., Any])


class Rows(Protocol):
    """Column names, and rows that may be read once; `ops.export.query.Result` is one."""

    @property
    def columns(self) -> Sequence[str]:
        """Their names."""

    @property
    def rows(self) -> Iterable[Sequence[Any]]:
        """In order."""


def row_options(command: F) -> F:
    """--format, --csv, --json, --out and --overwrite; `output` makes an Output of them."""
    form = click.option(
        "--format",
        "form",
        type=click.Choice(FORMATS),
        help="How to print the rows; default: as the ending of --out says, or a table. Parquet needs --out.",
    )
    as_csv = click.option("--csv", "as_csv", is_flag=True, help="The same as --format csv.")
    out = click.option("--out", type=LocalPath(path_type=Path), metavar="FILE", help="Write the rows to a file.")
    overwrite = click.option("--overwrite", is_flag=True, help="Replace an existing file.")
    return form(as_csv(json_option(out(overwrite(command)))))


def example_option(complete: Callable[..., list[str]]) -> Callable[[F], F]:
    """--example, with what a shell completes."""
    return click.option(
        "--example",
        is_flag=False,
        flag_value=LIST,
        metavar="[NAME]",
        shell_complete=complete,
        help="Run a query of the list to begin with; without NAME print the list.",
    )


@dataclass(frozen=True, slots=True)
class Output:
    """The format of the rows, and the file they go to (None: stdout)."""

    form: str
    out: Path | None = None
    overwrite: bool = False

    def print(self, rows: Rows, fit: Fit | None = None) -> None:
        """Prints them; without `fit`, all columns of a table may be shortened."""
        write_rows(rows.columns, rows.rows, self.form, sys.stdout, fit)

    def write(self, rows: Callable[[], Rows], parquet: Callable[[Path], int], source: Path | None = None) -> None:
        """Writes the file, whole or not at all, and reports it. Raises ExportError and OSError.

        `parquet` writes a Parquet file and returns its rows, `rows` gives them for every other format. `source` is
        the file that they come from, which must not be replaced.
        """
        assert self.out is not None
        target = self.out.absolute()
        check(source or target.parent, target, as_folder=False, overwrite=self.overwrite)
        with workshop(target) as work, naming(made := work / "rows"):
            if self.form == "parquet":
                count = parquet(made)
            else:
                with made.open("w", encoding="utf-8", newline="") as file:
                    count = self._write(rows(), file)
            make_durable(made)
            place_file(made, target, overwrite=self.overwrite)
        click.echo(f"wrote {self.out}: {count:,} rows of {self.form}")

    def _write(self, rows: Rows, file: TextIO) -> int:
        """Writes the rows to a file; how many."""
        count = 0

        def counted() -> Iterator[Sequence[Any]]:
            nonlocal count
            for row in rows.rows:
                count += 1
                yield row

        write_rows(rows.columns, counted(), self.form, file)
        return count


def output(form: str | None, out: Path | None, *, as_csv: bool, as_json: bool, overwrite: bool) -> Output:
    """What the options of `row_options` ask for. Raises click.UsageError."""
    asked = [one for one in (form, "csv" if as_csv else None, "json" if as_json else None) if one]
    if len(set(asked)) > 1:
        raise click.UsageError(f"one format at a time, not {' and '.join(asked)}")
    form = asked[0] if asked else _ENDINGS.get(out.suffix.lower(), "table") if out else "table"
    if form == "parquet" and out is None:
        raise click.UsageError("Parquet is not for a screen: name a file, like --out rows.parquet")
    return Output(form, out, overwrite)


def write_rows(
    columns: Sequence[str], rows: Iterable[Sequence[Any]], form: str, file: TextIO, fit: Fit | None = None
) -> None:
    """Writes rows in one of FORMATS but Parquet."""
    if form == "table":
        write_table(columns, rows, file, fit=fit or Fit(shorten=tuple(columns)))
    else:
        write = {"csv": write_csv, "json": write_json, "markdown": write_markdown}[form]
        write(columns, rows, file)


def list_examples(examples: Mapping[str, Example], form: str) -> int:
    """Prints the queries to begin with; as JSON with their SQL."""
    if form == "json":
        print_json([{"name": name, "shows": one.shows, "sql": one.sql} for name, one in examples.items()])
    else:
        write_rows(("name", "shows"), [(name, one.shows) for name, one in examples.items()], form, sys.stdout)
    return OK


def chosen(sql: str | None, example: str | None, examples: Mapping[str, Example], first: str) -> str:
    """The SQL to run; that of an example is shown where a person reads, to be changed from there.

    `first` is a query to suggest.
    """
    if sql is None and example is None:
        raise click.UsageError(
            f"no SQL: write a query like '{first}', or `--example` for a list of queries to begin with"
        )
    if sql is not None and example is not None:
        raise click.UsageError("either SQL or --example, not both; the SQL of the examples: --example --json")
    if example is None:
        assert sql is not None
        return sql
    if example not in examples:
        raise click.UsageError(f"there is no example {example!r}; {did_you_mean(example, examples)}")
    if sys.stderr.isatty():
        click.echo(f"{examples[example].sql}\n", err=True)
    return examples[example].sql
