"""`tickwarden report`: one self-contained HTML file about a recording, or the same as JSON."""

import sys
from pathlib import Path

import click

from actors.model.errors import DatabaseLocked
from ops.cli.common import LocalPath, config_option, configuration, range_options, timeout_option
from ops.export.query import QueryError
from ops.export.report import report
from ops.export.report_html import page
from ops.export.target import ExportError, check, make_durable, place_file, workshop
from ops.export.write_errors import naming
from ops.terminal.exit_codes import FAILED, OK
from ops.terminal.output import json_text, takes_unicode


@click.command("report")
@range_options
@click.option("--out", type=LocalPath(path_type=Path), metavar="FILE", help="The HTML file; default: report.html.")
@click.option("--overwrite", is_flag=True, help="Replace an existing file.")
@click.option("--file", "source", type=LocalPath(path_type=Path), help="The DuckDB file; default: the config's.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON; no HTML without --out.")
@timeout_option
@config_option
def report_command(
    since_us: int | None,
    until_us: int | None,
    out: Path | None,
    overwrite: bool,
    source: Path | None,
    as_json: bool,
    timeout_s: float,
    config_path: Path | None,
) -> int:
    """Write one HTML file about the recording: what is verified, clean, repaired, lost and unverifiable per
    market, loss per million, coverage, rates, prices, lag, gaps and restarts.

    It is made from the DuckDB file alone, whether the service runs or not, and loads nothing from elsewhere.
    """
    target = (out or Path("report.html")).absolute() if out or not as_json else None
    source = source or configuration(config_path).store.path
    try:
        if target is not None:
            check(source.absolute(), target, as_folder=False, overwrite=overwrite)
        made = report(source, since_us, until_us, timeout_s=timeout_s)
        if target is not None:
            _write(page(made), target, overwrite=overwrite)
    except (ExportError, QueryError, DatabaseLocked, OSError) as error:
        click.echo(str(error), err=True)
        return FAILED
    if as_json:
        click.echo(json_text(made, ascii_only=not takes_unicode(sys.stdout)))
    elif target is not None:
        click.echo(f"wrote {target}: open it in a browser")
    return OK


def _write(text: str, target: Path, *, overwrite: bool) -> None:
    with workshop(target) as work, naming(made := work / "report.html"):
        made.write_text(text, "utf-8")
        make_durable(made)
        place_file(made, target, overwrite=overwrite)
