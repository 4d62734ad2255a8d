"""The SQL of the report. One pass over the ticks fills a small table of buckets; all but the lags derive from it.

A bucket is at least a second long, and so long that a market has at most BUCKETS_MAX of them. Its trades count as
verified only if one interval of coverage with a proof covers all of it, so that what cannot be verified is never
counted as verified; the price is that up to a bucket at each end of an interval is not.

Times are microseconds UTC ($since to before $until).
"""

from actors.store.partitions import condition

BUCKETS_MAX = 20_000  # of one market: a year in pieces of 26 minutes
POINTS = 240  # of a chart: about as many as can be told apart on paper
CHART_PAIRS_MAX = 6
LAG_BINS_PER_DOUBLING = 2

_AT = "epoch_us(coalesce(timestamp, received_at))"
# Contiguous ids prove something only where the exchange promises them: there is a proof of them.
COUNTED = "SELECT DISTINCT exchange, symbol FROM feeds WHERE event = 'proved' AND proof = 'ids'"


def rows_of(since_us: int, until_us: int, columns: str) -> str:
    """SELECT of these columns of the ticks in the range."""
    parts = [f"SELECT {columns} FROM ticks WHERE {one}" for one in condition("ticks", since_us, until_us)]
    return "(" + " UNION ALL ".join(parts) + ")"


BOUNDS = f"""
SELECT min(since), max(until) FROM (
  SELECT min({_AT}) AS since, max({_AT}) + 1 AS until FROM ticks
  UNION ALL SELECT epoch_us(min(from_time)), epoch_us(max(to_time)) FROM coverage)
"""

# Intervals of coverage within the range, with how bad each is: 0 verified, 1 repaired, 2 not verified, 3 unknown,
# 4 lost. A repaired stretch is verified too.
COVERED = """
CREATE OR REPLACE TEMP TABLE covered AS
SELECT exchange, symbol, greatest(epoch_us(from_time), $since) AS since, least(epoch_us(to_time), $until) AS until,
       status, proof,
       CASE WHEN status = 'lost' THEN 4 WHEN status = 'unknown' THEN 3 WHEN proof = 'none' THEN 2
            WHEN status = 'repaired' THEN 1 ELSE 0 END AS worse
FROM coverage WHERE epoch_us(to_time) > $since AND epoch_us(from_time) < $until
"""


def buckets(since_us: int, until_us: int) -> str:
    """CREATE TABLE of the buckets: `ticks` counts rows, `trades` and `repaired` the trades that they stand for."""
    rows = rows_of(
        since_us,
        until_us,
        f"exchange, symbol, {_AT} AS at_us, source, coalesce(fills, 1) AS fills, price,"
        " TRY_CAST(trade_id AS BIGINT) AS id",
    )
    return f"""
CREATE OR REPLACE TEMP TABLE buckets AS
SELECT exchange, symbol, $since + (at_us - $since) // $width * $width AS bucket,
       count(*) AS ticks, sum(fills)::BIGINT AS trades,
       coalesce(sum(fills) FILTER (source = 'backfill'), 0)::BIGINT AS repaired,
       min(id - fills + 1) AS low, max(id) AS high,
       arg_max(price::DOUBLE, (at_us, id)) AS price
FROM {rows} GROUP BY ALL
"""


# What covers a bucket: the interval that has begun last at its start, if it lasts to its end.
JUDGED = """
CREATE OR REPLACE TEMP TABLE judged AS
SELECT b.*, coalesce(c.worse <= 1 AND c.until >= b.last, false) AS verified
FROM (
  SELECT *, greatest(bucket, $since) AS first, least(bucket + $width, $until) AS last FROM buckets) b
ASOF LEFT JOIN covered c ON b.exchange = c.exchange AND b.symbol = c.symbol AND b.first >= c.since
"""


def stored_ids(since_us: int, until_us: int) -> str:
    """How many ids between the lowest and the highest of the range are in the file. Times may be out of order at
    the ends of the range, so that a few of these trades lie outside of it.
    """
    slack_us = 60_000_000
    columns = "exchange, symbol, coalesce(fills, 1) AS fills, TRY_CAST(trade_id AS BIGINT) AS id"
    rows = rows_of(max(0, since_us - slack_us), until_us + slack_us, columns)
    return f"""
CREATE OR REPLACE TEMP TABLE numbered AS
WITH ends AS (
  SELECT exchange, symbol, min(low) AS low, max(high) AS high
  FROM buckets SEMI JOIN ({COUNTED}) USING (exchange, symbol) GROUP BY ALL HAVING max(high) IS NOT NULL)
SELECT e.exchange, e.symbol, e.high - e.low + 1 AS expected, sum(r.fills)::BIGINT AS stored
FROM ends e JOIN {rows} r ON r.exchange = e.exchange AND r.symbol = e.symbol AND r.id BETWEEN e.low AND e.high
WHERE NOT EXISTS (
  SELECT 1 FROM feeds f WHERE f.exchange = e.exchange AND f.symbol = e.symbol AND f.event = 'reset'
    AND epoch_us(coalesce(f.time, f."at")) BETWEEN $since AND $until)
GROUP BY ALL
"""


_GAPS = """
SELECT * FROM gaps
WHERE coalesce(epoch_us(to_time), $until) >= $since AND coalesce(epoch_us(from_time), $since) < $until
"""

MARKETS = f"""
WITH gone AS (
  SELECT exchange, symbol,
         sum(greatest(missing - recovered, 0)) FILTER (status IN ('lost', 'partial'))::BIGINT AS listed,
         count(*) FILTER (missing IS NULL AND status <> 'filled') AS uncounted,
         count(*) FILTER (status = 'open') AS open, count(*) AS gaps
  FROM ({_GAPS}) GROUP BY ALL),
spent AS (
  SELECT exchange, symbol, sum(until - since) AS total,
         coalesce(sum(until - since) FILTER (worse = 0), 0) AS verified,
         coalesce(sum(until - since) FILTER (worse = 1), 0) AS repaired,
         coalesce(sum(until - since) FILTER (worse = 2), 0) AS unverified,
         coalesce(sum(until - since) FILTER (worse = 3), 0) AS unknown,
         coalesce(sum(until - since) FILTER (worse = 4), 0) AS lost
  FROM covered GROUP BY ALL),
refused AS (
  SELECT exchange, symbol, count(*) AS off_book FROM rejects
  WHERE reason = 'off_book' AND epoch_us(received_at) BETWEEN $since AND $until GROUP BY ALL),
traded AS (
  SELECT exchange, symbol, sum(trades)::BIGINT AS trades, sum(repaired)::BIGINT AS repaired,
         coalesce(sum(trades) FILTER (verified), 0)::BIGINT AS verified
  FROM judged GROUP BY ALL),
markets AS (SELECT exchange, symbol FROM traded UNION SELECT exchange, symbol FROM covered)
SELECT exchange, symbol, n.expected, coalesce(t.trades - t.repaired, 0) AS received,
       coalesce(t.repaired, 0) AS repaired,
       CASE WHEN n.expected IS NOT NULL THEN greatest(n.expected - n.stored - coalesce(r.off_book, 0), 0)
            ELSE coalesce(g.listed, 0) END::BIGINT AS lost,
       CASE WHEN n.expected IS NOT NULL AND n.expected <= n.stored + coalesce(r.off_book, 0) THEN 0
            ELSE coalesce(t.trades - t.verified, 0) END::BIGINT AS unverifiable,
       coalesce(g.uncounted, 0) AS uncounted_gaps, coalesce(g.open, 0) AS open_gaps, coalesce(g.gaps, 0) AS gaps,
       coalesce(s.total, 0)::BIGINT AS total_us, coalesce(s.verified, 0)::BIGINT AS verified_us,
       coalesce(s.repaired, 0)::BIGINT AS repaired_us, coalesce(s.unverified, 0)::BIGINT AS unverified_us,
       coalesce(s.unknown, 0)::BIGINT AS unknown_us, coalesce(s.lost, 0)::BIGINT AS lost_us
FROM markets LEFT JOIN traded t USING (exchange, symbol) LEFT JOIN spent s USING (exchange, symbol)
     LEFT JOIN numbered n USING (exchange, symbol) LEFT JOIN gone g USING (exchange, symbol)
     LEFT JOIN refused r USING (exchange, symbol)
ORDER BY exchange, symbol
"""

# The worst state in each piece of time.
TIMELINE = """
SELECT exchange, symbol, piece, max(worse) FROM (
  SELECT exchange, symbol, worse,
         unnest(range((since - $since) // $step, (greatest(until - 1, since) - $since) // $step + 1)) AS piece
  FROM covered)
GROUP BY ALL ORDER BY ALL
"""

PER_MINUTE = """
SELECT exchange, (bucket - $since) // $step AS point, sum(ticks) * 60e6 / $step
FROM buckets GROUP BY ALL ORDER BY ALL
"""

PAIRS = f"""
SELECT symbol, count(DISTINCT exchange) AS exchanges, sum(trades) AS trades FROM buckets
GROUP BY symbol HAVING count(DISTINCT exchange) > 1 ORDER BY trades DESC, symbol LIMIT {CHART_PAIRS_MAX}
"""

PRICES = """
SELECT exchange, (bucket - $since) // $step AS point, arg_max(price, bucket)
FROM buckets WHERE symbol = $symbol GROUP BY ALL ORDER BY ALL
"""


def lags(since_us: int, until_us: int) -> str:
    """Rows by exchange and bin of the lag: -1 for negative ones, else twice the doublings of a tenth of a ms."""
    rows = rows_of(since_us, until_us, "exchange, timestamp, received_at, source")
    per = LAG_BINS_PER_DOUBLING
    return f"""
SELECT exchange,
       CASE WHEN lag_us < 0 THEN -1 ELSE floor({per} * log2(greatest(lag_us, 100) / 100))::BIGINT END AS bin,
       count(*)
FROM (SELECT exchange, epoch_us(received_at) - epoch_us(timestamp) AS lag_us FROM {rows}
      WHERE source = 'stream' AND timestamp IS NOT NULL)
GROUP BY ALL ORDER BY ALL
"""


GAPS_BY_REASON = f"""
SELECT exchange, reason, status, count(*), sum(missing)::BIGINT, sum(recovered)::BIGINT,
       count(*) FILTER (missing IS NULL)
FROM ({_GAPS}) GROUP BY ALL ORDER BY ALL
"""

GAPS_WORST = f"""
SELECT exchange, symbol, reason, status, epoch_us(from_time), epoch_us(to_time), missing, recovered
FROM ({_GAPS}) WHERE status <> 'filled'
ORDER BY coalesce(missing - recovered, 0) DESC,
         coalesce(epoch_us(to_time), $until) - epoch_us(from_time) DESC, gap_id
LIMIT $rows
"""

RUNS = """
SELECT run_id, epoch_us(min("at")), epoch_us(max("at")) FROM audit
GROUP BY run_id HAVING epoch_us(max("at")) >= $since AND epoch_us(min("at")) < $until ORDER BY 2 DESC LIMIT $rows
"""

RESTARTS = """
SELECT actor, count(*) FILTER (event = 'backoff') AS failures, count(*) FILTER (event = 'replaced') AS replaced,
       arg_max(reason, "at") FILTER (event = 'backoff') AS last_reason
FROM events WHERE epoch_us("at") >= $since AND epoch_us("at") < $until AND event IN ('backoff', 'replaced')
GROUP BY actor ORDER BY failures DESC, actor LIMIT $rows
"""
