"""`tickwarden gaps` and `coverage`: what is known to be missing, and whether a time range is complete."""

from pathlib import Path

import click

from ops.cli.common import LocalPath, config_option, json_option, range_options
from ops.cli.completing import configured_exchanges, configured_symbols
from ops.cli.query import print_rows
from ops.terminal.layout import Fit

_GAPS = """
SELECT exchange, symbol, reason, status, opened_at, closed_at, from_id, to_id, from_time, to_time, missing,
       recovered, gap_id
FROM gaps
WHERE ($1 IS NULL OR exchange = $1) AND ($2 IS NULL OR symbol = $2)
  AND ($3 IS NULL OR coalesce(to_time, now()) >= make_timestamptz($3::BIGINT))
  AND ($4 IS NULL OR from_time < make_timestamptz($4::BIGINT))
ORDER BY from_time, exchange, symbol
"""

# Intervals are cut at the ends of the requested time range.
_COVERAGE = """
SELECT exchange, symbol, status, proof,
       greatest(from_time, coalesce(make_timestamptz($3::BIGINT), from_time)) AS from_time,
       least(to_time, coalesce(make_timestamptz($4::BIGINT), to_time)) AS to_time
FROM coverage
WHERE ($1 IS NULL OR exchange = $1) AND ($2 IS NULL OR symbol = $2)
  AND ($3 IS NULL OR to_time > make_timestamptz($3::BIGINT))
  AND ($4 IS NULL OR from_time < make_timestamptz($4::BIGINT))
ORDER BY exchange, symbol, from_time
"""


def _command(name: str, sql: str, help_text: str, fit: Fit, empty: str) -> click.Command:
    @click.command(name, help=help_text)
    @click.option(
        "--exchange",
        shell_complete=configured_exchanges,
        help="Only this exchange, by its name in the configuration.",
    )
    @click.option("--symbol", shell_complete=configured_symbols, help="Only this symbol, such as BTC/USDT.")
    @range_options
    @click.option("--file", "path", type=LocalPath(path_type=Path), help="The DuckDB file; default: the config's.")
    @config_option
    @json_option
    def command(
        exchange: str | None,
        symbol: str | None,
        since_us: int | None,
        until_us: int | None,
        path: Path | None,
        config_path: Path | None,
        as_json: bool,
    ) -> int:
        values = [exchange, symbol, since_us, until_us]
        form = "json" if as_json else "table"
        return print_rows(
            sql, path, config_path, values=values, fit=fit, form=form, exchange=exchange, symbol=symbol, empty=empty
        )

    return command


_IDS = ("from_id", "to_id")
gaps = _command(
    "gaps",
    _GAPS,
    "What is known to be missing: each gap with its newest state.",
    Fit(drop=("gap_id", *_IDS, "opened_at", "closed_at", "recovered", "to_time")),
    "no gap is known there; `tickwarden coverage` shows what was recorded",
)
coverage = _command(
    "coverage",
    _COVERAGE,
    "Is this time range complete? Intervals that are live, repaired, lost or unknown, and what proves it.",
    Fit(),
    "nothing was recorded there; without --exchange, --symbol, --from and --to all is shown",
)
