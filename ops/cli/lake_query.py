"""`tickwarden lake query`: SQL on the tape of all recorders."""

from pathlib import Path

import click

from ops.cli.common import config_option
from ops.cli.completing import lake_examples
from ops.cli.ctrl_c import ends_on_ctrl_c
from ops.cli.lake_place import lake_place, uri_option
from ops.cli.row_output import LIST, chosen, example_option, list_examples, output, row_options
from ops.export.lake.examples import LAKE_EXAMPLES
from ops.export.lake.views import lake_query
from ops.export.query import QueryError
from ops.export.target import ExportError
from ops.terminal.exit_codes import FAILED, OK

_FIRST = "SELECT * FROM ticks LIMIT 5"


@click.command(
    "query",
    epilog=f"Examples: tickwarden lake query '{_FIRST}'; tickwarden lake query --example recorders --uri ./lake;"
    " tickwarden lake query 'SELECT * FROM gaps' --out gaps.parquet",
)
@click.argument("sql", required=False)
@example_option(lake_examples)
@uri_option
@row_options
@config_option
def lake_query_command(
    sql: str | None,
    example: str | None,
    uri: str | None,
    form: str | None,
    as_csv: bool,
    as_json: bool,
    out: Path | None,
    overwrite: bool,
    config_path: Path | None,
) -> int:
    """Run SQL on the tape: what all recorders of a lake have together, each trade once.

    The engine is delta-rs' own (DataFusion), which needs nothing from the internet. A filter on exchange, day and
    symbol reads only what these need.
    """
    into = output(form, out, as_csv=as_csv, as_json=as_json, overwrite=overwrite)
    if example == LIST and sql is None:
        return list_examples(LAKE_EXAMPLES, into.form)
    sql = chosen(sql, example, LAKE_EXAMPLES, _FIRST)
    try:
        place = lake_place(uri, config_path)
        with ends_on_ctrl_c(), lake_query(place.uri, place.options, sql, place.dialects) as answer:
            if out is None:
                into.print(answer)
            else:
                into.write(lambda: answer, answer.write_parquet)
    except (QueryError, ExportError) as error:
        click.echo(str(error), err=True)
        return FAILED
    return OK
