"""The SQL of restore: queries on `gap_states`, `feeds`, the newest `stored` rows, and a temporary table `wanted`.

Stored trades are found by the order in which they were stored, by ids and by the exchange's times, never by their
time of receipt: this host's clock may have been wrong then, or be wrong now.
"""

from actors.continuity.unconfirmed import DENY_ROWS
from actors.model.records import GAP_STATES
from actors.model.schema import INSTANT, MERGED_SCHEMA
from actors.model.ticks import TICKS

LATE_S = 2  # trades of the other run may be out of order by this much

_NS = INSTANT.read  # in nanoseconds, with the file's resolution
AT = INSTANT.cast

# A number only in canonical form, so that number and text identify each other.
_ID = "CASE WHEN TRY_CAST({0} AS BIGINT)::VARCHAR = {0} THEN TRY_CAST({0} AS BIGINT) END"
NEWEST_GAPS = 'SELECT * FROM gap_states QUALIFY row_number() OVER (PARTITION BY gap_id ORDER BY "at" DESC) = 1'
_MADE = "coalesce(t.timestamp, t.received_at)"

ROWS = f"SELECT coalesce(max(rowid), -1) + 1 FROM {MERGED_SCHEMA}.ticks"
WANTED = """
CREATE OR REPLACE TEMP TABLE wanted (
  exchange VARCHAR, symbol VARCHAR, since TIMESTAMPTZ, until TIMESTAMPTZ, below BIGINT)
"""


def stored_sql(first_row: int, tail: str | None, *, reach: bool = False) -> str:
    """The rows of `ticks` from that row of the merged table on, then those selected by `tail`.

    With `reach` only trades made from $reach on, or at an unknown time: DuckDB skips blocks of older ones.
    """
    rows = f"SELECT {TICKS.names} FROM {MERGED_SCHEMA}.{TICKS.name} WHERE rowid >= {first_row:d}"
    rows = rows if tail is None else f"{rows} UNION ALL {tail}"
    made = f"timestamp >= {AT.format('$reach')} OR timestamp IS NULL"
    return f"SELECT * FROM ({rows}) WHERE {made}" if reach else rows


# `wanted` holds since when a market's ids count (`since`), and where another run began (`until`, `below`).
# `fills` is the number of ids that a row stands for.
_RECENT = f"""
WITH recent AS (
  SELECT t.exchange, t.symbol, t.trade_id, {_ID.format("t.trade_id")} AS id, {_MADE} AS made_at, t.source, t.fills,
         w.until, t.timestamp, t.price, t.volume, t.side
  FROM ({{stored}}) t JOIN wanted w ON w.exchange = t.exchange AND w.symbol = t.symbol
  WHERE (w.since IS NULL OR {_MADE} >= w.since)
    AND (w.until IS NULL OR {_MADE} < w.until)
    AND (w.below IS NULL OR coalesce({_ID.format("t.trade_id")} < w.below, true)))
"""

# Nearly all live rows of a market are ordered by time, although single stamps may be wrong. The others, fetched
# from a history or sent again, may be older than what was stored before them.
_AT_LAST = f"FILTER (until IS NULL OR made_at < until - INTERVAL {LATE_S} SECOND)"
ENDS = f"""{_RECENT}
SELECT exchange, symbol, {_NS.format(f"max(made_at) {_AT_LAST}")}, arg_max(trade_id, made_at) {_AT_LAST},
       max(id), min(id - fills + 1), count(*) FILTER (source = 'stream'), count(*),
       approx_quantile(epoch_us(made_at), [0.05, 0.95]) FILTER (source = 'stream')
FROM recent GROUP BY exchange, symbol
HAVING bool_or(until IS NULL OR made_at < until - INTERVAL {LATE_S} SECOND)
"""

# The rows with the highest ids (id, fills, time, live or not), and the time of the third newest live one. Which ids
# are the highest is found first: building a list of each of a million rows would take longer than all the rest.
TOPS_ROWS = 16
TOPS = f"""{_RECENT.rstrip()},
top AS (
  SELECT exchange, symbol, list_min(max(id, {TOPS_ROWS})) AS floor,
         {_NS.format(f"(max(made_at, {DENY_ROWS}) FILTER (source = 'stream'))[{DENY_ROWS}]")} AS denied_ns
  FROM recent WHERE id IS NOT NULL GROUP BY exchange, symbol)
SELECT exchange, symbol,
       arg_max([id, fills, {_NS.format("made_at")}, (source = 'stream')::BIGINT], id, {TOPS_ROWS}),
       any_value(denied_ns)
FROM recent JOIN top USING (exchange, symbol) WHERE id >= floor GROUP BY exchange, symbol
"""

# What is looked for in each market: $exchanges and $symbols name them, and a further list has a value for each.
_EACH = "SELECT unnest($exchanges::VARCHAR[]) AS exchange, unnest($symbols::VARCHAR[]) AS symbol"

# $floors and $ceilings: the range of ids to search for jumps.
JUMPS = f"""{_RECENT}
SELECT * FROM (
  SELECT r.exchange, r.symbol,
         lag(r.id) OVER m + 1 AS first, r.id - r.fills AS last,
         {_NS.format("lag(r.made_at) OVER m")}, r.trade_id, {_NS.format("r.made_at")}
  FROM recent r JOIN ({_EACH}, unnest($floors::BIGINT[]) AS floor, unnest($ceilings::BIGINT[]) AS ceiling) f
    USING (exchange, symbol)
  WHERE r.id BETWEEN f.floor AND f.ceiling
  WINDOW m AS (PARTITION BY r.exchange, r.symbol ORDER BY r.id))
WHERE first <= last
"""

# $cuts: the time (ns) from which a market's trades are needed.
RECENT = f"""{_RECENT}
SELECT r.exchange, r.symbol, r.trade_id, r.id, {_NS.format("r.made_at")}
FROM recent r JOIN ({_EACH}, unnest($cuts::BIGINT[]) AS cut) c USING (exchange, symbol)
WHERE r.trade_id IS NOT NULL AND epoch_us(r.made_at) >= c.cut // 1000
"""

# The same of trades that are identified by all that is known of them.
TWINS = f"""{_RECENT}
SELECT r.exchange, r.symbol, r.trade_id, {_NS.format("r.timestamp")}, {_NS.format("r.made_at")}, r.price::VARCHAR,
       r.volume::VARCHAR, r.side
FROM recent r JOIN ({_EACH}, unnest($cuts::BIGINT[]) AS cut) c USING (exchange, symbol)
WHERE epoch_us(r.made_at) >= c.cut // 1000
"""

# Of the closed gaps only the newest: late trades may still fill them.
GAPS_MAX = 1_000  # restored per market: open ones first, then the newest
_ASKED = "exchange IN (SELECT unnest($exchanges::VARCHAR[]))"
_UNFILLED = f"""
SELECT * FROM ({NEWEST_GAPS}) WHERE {_ASKED} AND status <> 'filled'
QUALIFY row_number() OVER (
  PARTITION BY exchange, symbol ORDER BY status = 'open' DESC, "at" DESC, gap_id) <= {GAPS_MAX}
"""

# Those of $gaps with a trade from the very time with which they begin ($times). So written, DuckDB skips the blocks
# without such times.
BEGUN = f"""
WITH g AS ({_EACH}, unnest($gaps::VARCHAR[]) AS gap, {AT.format("unnest($times::BIGINT[])")} AS start)
SELECT exchange, symbol, gap FROM ({{stored}}) t JOIN g USING (exchange, symbol) WHERE t.timestamp = start
UNION
SELECT exchange, symbol, gap FROM ({{stored}}) t JOIN g USING (exchange, symbol)
WHERE t.timestamp IS NULL AND t.received_at = start
"""

# The newest trade before the end ($times) of each of $gaps, and whether live ones are among those before it.
STARTS = f"""
WITH g AS ({_EACH}, unnest($gaps::VARCHAR[]) AS gap, {AT.format("unnest($times::BIGINT[])")} AS until)
SELECT t.exchange, t.symbol, g.gap, {_NS.format(f"max({_MADE})")}, arg_max(t.trade_id, {_MADE}),
       bool_or(t.source = 'stream')
FROM ({{stored}}) t JOIN g USING (exchange, symbol)
WHERE g.until IS NULL OR {_MADE} < g.until - INTERVAL {LATE_S} SECOND
GROUP BY ALL
"""

# The ids of bounded gaps ($gaps) that are not stored. Trades lie within the times of their gaps.
MISSING = f"""
WITH reported AS (
  SELECT gap_id, exchange, symbol, opened_at, status, from_time,
         TRY_CAST(from_id AS BIGINT) AS low, TRY_CAST(to_id AS BIGINT) AS high
  FROM ({NEWEST_GAPS}) WHERE gap_id IN (SELECT unnest($gaps::VARCHAR[]))),
rows AS (
  SELECT t.exchange, t.symbol, t.trade_id, {_ID.format("t.trade_id")} AS id, t.fills, {_MADE} AS made_at
  FROM ({{stored}}) t JOIN wanted w ON w.exchange = t.exchange AND w.symbol = t.symbol
  WHERE w.since IS NULL OR {_MADE} >= w.since),
edges AS (
  SELECT gap_id, exchange, symbol, low AS id, 1 AS fills, from_time AS made_at, NULL AS trade_id, opened_at, status
  FROM reported
  UNION ALL
  SELECT g.gap_id, g.exchange, g.symbol, s.id, s.fills, s.made_at, s.trade_id, g.opened_at, g.status
  FROM reported g
  JOIN rows s ON s.exchange = g.exchange AND s.symbol = g.symbol AND s.id > g.low AND s.id <= g.high)
SELECT * FROM (
  SELECT exchange, symbol, lag(id) OVER g + 1 AS first, id - fills AS last, {_NS.format("opened_at")},
         {_NS.format("lag(made_at) OVER g")}, trade_id, {_NS.format("made_at")}, gap_id, status
  FROM edges WINDOW g AS (PARTITION BY gap_id ORDER BY id, trade_id NULLS FIRST))
WHERE first <= last ORDER BY status = 'open' DESC, last DESC
"""

# The ranges of all gaps that are not filled, of any age: a jump within them has been reported.
REPORTED = f"""
SELECT exchange, symbol, TRY_CAST(from_id AS BIGINT) + 1 AS first, TRY_CAST(to_id AS BIGINT) - 1 AS last,
       {_NS.format("coalesce(to_time, opened_at)")}
FROM ({NEWEST_GAPS})
WHERE {_ASKED} AND status <> 'filled' AND first <= last
ORDER BY exchange, symbol, first
"""

GAPS = f"""
SELECT {GAP_STATES.read} FROM ({_UNFILLED}) ORDER BY opened_at, "at"
"""

# $run: the run that asks, if its own recording is not an earlier one.
FIRSTS = f"""
WITH resets AS (
  SELECT exchange, symbol, max(coalesce(time, "at")) AS since FROM feeds
  WHERE event = 'reset' GROUP BY exchange, symbol)
SELECT f.exchange, f.symbol, epoch_us(r.since) * 1000,
       min(TRY_CAST(f.trade_id AS BIGINT)) FILTER (
         event IN ('first', 'reset') AND (r.since IS NULL OR coalesce(f.time, f."at") >= r.since)) AS lowest,
       max(TRY_CAST(f.trade_id AS BIGINT)) FILTER (
         event IN ('first', 'reset') AND (r.since IS NULL OR coalesce(f.time, f."at") >= r.since)) AS start,
       epoch_us(max(f."at") FILTER (event = 'started' AND f.run_id <> $run)) * 1000
FROM feeds f LEFT JOIN resets r USING (exchange, symbol) WHERE f.{_ASKED} GROUP BY ALL
"""
