"""The newest trades of quiet markets, which retention leaves in the file: by them a restart knows what is recorded.

Without any trade of a market it would take those that the exchange sends again on subscribing for new ones, and
store and archive them at each start; and the gap of its downtime would begin at the market's last start.

A market is quiet if all its trades are too old. Of these stay the newest by time, and those of higher ids made
shortly before: ids that begin after a hole would count as missing.
"""

import duckdb

from actors.model.ticks import TICKS
from actors.store.partitions import condition, moment, within
from actors.store.views import SCHEMA

RECENT_ROWS = 1_000_000  # searched first, for nearly all markets traded again there
HOUR_US = 3_600_000_000  # how much the times of a market's trades may be out of order

_MERGED = f"{SCHEMA}.{TICKS.name}"
_MADE = moment(TICKS.name)
_HELD = "held_markets"  # a temporary table, in each connection that asks
_CREATE = (
    f"CREATE OR REPLACE TEMP TABLE {_HELD} AS SELECT unnest($exchanges::VARCHAR[]) AS of_exchange,"
    " unnest($symbols::VARCHAR[]) AS of_symbol, make_timestamptz(unnest($times::BIGINT[])) AS newest,"
    f" make_timestamptz(unnest($times::BIGINT[]) - {HOUR_US}) AS shortly_before,"
    " unnest($ids::BIGINT[]) AS newest_id"
)


def held(since_us: int | None, until_us: int) -> str:
    """SQL condition for trades of that time that must stay, where `hold` was called.

    By their places in the table: correlated with each trade, it would take ten times as long.
    """
    stay = f"{_MADE} >= newest OR ({_MADE} >= shortly_before AND TRY_CAST(trade_id AS BIGINT) > newest_id)"
    rows = " UNION ALL ".join(
        f"SELECT t.rowid FROM {_MERGED} t JOIN {_HELD} ON of_exchange = exchange AND of_symbol = symbol"
        f" WHERE {times} AND ({stay})"
        for times in condition(TICKS.name, since_us, until_us)
    )
    return f"rowid IN ({rows})"


class QuietMarkets:
    """What was found when it was looked for last.

    A quiet market that trades again counts as quiet until the next `look`: its trades stay a little longer.
    """

    def __init__(self) -> None:
        self.before_us: int | None = None
        self._known: set[tuple[str, str]] = set()
        self._quiet: list[tuple[str, str, int, int | None]] = []  # the time of the newest trade, and its id

    def forget(self) -> None:
        """The file may be another one."""
        self.before_us = None
        self._known, self._quiet = set(), []

    def hold(self, con: duckdb.DuckDBPyConnection) -> None:
        """Lets `held` be used in this connection."""
        columns = list(zip(*self._quiet, strict=True)) or [(), (), (), ()]
        names = ("exchanges", "symbols", "times", "ids")
        con.execute(_CREATE, {name: list(values) for name, values in zip(names, columns, strict=True)})

    def covers(self, con: duckdb.DuckDBPyConnection, rows: str, before_us: int) -> bool:
        """Whether it is known of each market of `rows`, a SELECT, whether it has trades from `before_us` on."""
        if before_us != self.before_us:
            return False
        found = con.execute(f"SELECT DISTINCT exchange, symbol FROM ({rows})").fetchall()
        return self._known.issuperset(found)

    def look(self, con: duckdb.DuckDBPyConnection, before_us: int) -> None:
        """Finds the markets without a trade from `before_us` on. May read three columns of the whole file."""
        old = within(TICKS.name, _MERGED, None, before_us)
        newest = f"SELECT exchange, symbol, max({_MADE}) AS newest FROM ({old}) GROUP BY ALL"
        con.execute(f"CREATE OR REPLACE TEMP TABLE old AS {newest}")
        known = con.execute("SELECT exchange, symbol FROM old").fetchall()
        last = f"(SELECT * FROM {_MERGED} WHERE rowid > (SELECT max(rowid) FROM {_MERGED}) - {RECENT_ROWS})"
        for source in (last, _MERGED):
            if con.execute("SELECT 1 FROM old LIMIT 1").fetchone():
                young = within(TICKS.name, source, before_us, None)
                con.execute(
                    f"DELETE FROM old WHERE (exchange, symbol) IN (SELECT (exchange, symbol) FROM ({young}))"
                )
        self._quiet = con.execute(
            "SELECT t.exchange, t.symbol, epoch_us(any_value(newest)), min(TRY_CAST(trade_id AS BIGINT))"
            f" FROM ({old}) t JOIN old o ON o.exchange = t.exchange AND o.symbol = t.symbol AND {_MADE} = newest"
            " GROUP BY ALL"
        ).fetchall()
        self._known, self.before_us = set(known), before_us
