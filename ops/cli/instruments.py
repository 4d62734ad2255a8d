"""`tickwarden instruments`: the exchanges' lists of markets as stored, with or without a running service."""

from pathlib import Path

import click

from ops.cli.common import LocalPath, config_option, json_option
from ops.cli.completing import configured_exchanges
from ops.cli.query import print_rows
from ops.terminal.layout import Fit

KINDS = ("spot", "swap", "future", "option")
_FIT = Fit(drop=("volume_scale", "price_scale", "seen_at", "volume_step", "price_step", "contract_size", "settle"))
NEWEST = """
SELECT exchange, symbol, native_symbol, kind, base, quote, settle, volume_unit, contract_size, price_step,
       volume_step, active, seen_at, price_scale, volume_scale
FROM instruments
WHERE ($1 IS NULL OR exchange = $1) AND ($2 IS NULL OR base = $2) AND ($3 IS NULL OR kind = $3)
QUALIFY row_number() OVER (PARTITION BY exchange, symbol ORDER BY seen_at DESC, active DESC) = 1
ORDER BY exchange, kind, symbol
"""


@click.command()
@click.argument("exchange", required=False, shell_complete=configured_exchanges)
@click.option("--base", metavar="CODE", help="Only markets of this coin, such as BTC.")
@click.option("--kind", type=click.Choice(KINDS), help="Only markets of this kind.")
@click.option("--file", "path", type=LocalPath(path_type=Path), help="The DuckDB file; default: the config's.")
@config_option
@json_option
def instruments(
    exchange: str | None,
    base: str | None,
    kind: str | None,
    path: Path | None,
    config_path: Path | None,
    as_json: bool,
) -> int:
    """The markets that the exchanges list, as stored last: names, contract sizes, price steps."""
    return print_rows(
        NEWEST,
        path,
        config_path,
        values=[exchange, base, kind],
        fit=_FIT,
        form="json" if as_json else "table",
        exchange=exchange,
        empty="no such market is in the lists as stored; without EXCHANGE, --base and --kind all are shown",
    )
