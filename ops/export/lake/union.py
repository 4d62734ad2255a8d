"""Gaps and coverage of the tape, united from those of each store.

Coverage: of what the stores know about an instant the best counts (live, repaired, unknown, lost), with the
strongest proof of any store for which it is complete. An instant between two ranges that no store knows of is
unknown.

Gaps: what of a store's gap no other store covers. A part of a gap has only what is known of the part: not the ids
at an end that was cut off, and not how many trades are missing. A gap without times stays as it is.
"""

from typing import Any

import duckdb

from actors.model.records import AUDIT, FEEDS, GAP_STATES
from actors.store.coverage_sql import COVERAGE_SELECT, GAPS_SELECT

# What is read of each table, to be followed by " FROM rows that count".
NEEDED = {
    AUDIT.name: "recorder, store, exchange, run_id, max(frames) AS frames,"
    ' last_value("at" ORDER BY frames, "at") AS "at"',
    FEEDS.name: 'recorder, store, exchange, symbol, run_id, event, "at", "time", "until", proof',
    GAP_STATES.name: f"recorder, store, {GAP_STATES.names}",
}
GROUPED = {AUDIT.name: " GROUP BY recorder, store, exchange, run_id"}

# The coverage of one file is computed from its tables; here each store's exchanges and gaps have names of their
# own, the number of the store before them, so that one query does it for all stores.
_OWN = "s.number || ':' || t.{0} AS {0}"
_NUMBER = "split_part({0}, ':', 1)::BIGINT"
_NAME = "substr({0}, strpos({0}, ':') + 1)"

_STORES = """
CREATE OR REPLACE TEMP TABLE stores AS
SELECT recorder, store, row_number() OVER (ORDER BY recorder, store) AS number
FROM (SELECT recorder, store FROM read_audit UNION SELECT recorder, store FROM read_feeds
      UNION SELECT recorder, store FROM read_gap_states)
"""
_RANGES = f"""
CREATE OR REPLACE TEMP TABLE ranges AS
SELECT {_NUMBER.format("exchange")} AS number, {_NAME.format("exchange")} AS exchange, symbol,
       from_time AS since, to_time AS until, status, proof
FROM ({COVERAGE_SELECT})
"""
_GAPS = f"""
CREATE OR REPLACE TEMP TABLE store_gaps AS
SELECT {_NUMBER.format("gap_id")} AS number, row_number() OVER () AS place,
       * REPLACE ({_NAME.format("gap_id")} AS gap_id, {_NAME.format("exchange")} AS exchange),
       least(from_time, to_time) AS since,
       greatest(from_time, coalesce(to_time + INTERVAL 1 MICROSECOND, 'infinity'::TIMESTAMPTZ)) AS until
FROM gaps
"""

COVERAGE_COLUMNS = (
    "exchange VARCHAR",
    "symbol VARCHAR",
    "from_time TIMESTAMPTZ",
    "to_time TIMESTAMPTZ",
    "status VARCHAR",
    "proof VARCHAR",
)
GAPS_COLUMNS = (
    "recorder VARCHAR",
    "store VARCHAR",
    *(f"{column.quoted} {column.kind.sql}" for column in GAP_STATES.columns if column.attribute != "at_ns"),
)

COVERAGE_UNION = """
WITH turns AS (
  SELECT exchange, symbol, since AS at_time, status, proof, 1 AS step FROM ranges
  UNION ALL SELECT exchange, symbol, until, status, proof, -1 FROM ranges),
steps AS (
  SELECT exchange, symbol, at_time,
         coalesce(sum(step) FILTER (status = 'live'), 0) AS live,
         coalesce(sum(step) FILTER (status = 'repaired'), 0) AS repaired,
         coalesce(sum(step) FILTER (status = 'unknown'), 0) AS unknown,
         coalesce(sum(step) FILTER (status = 'lost'), 0) AS lost,
         coalesce(sum(step) FILTER (proof = 'ids'), 0) AS ids,
         coalesce(sum(step) FILTER (proof = 'two_feeds'), 0) AS two_feeds,
         coalesce(sum(step) FILTER (proof = 'history'), 0) AS history
  FROM turns GROUP BY ALL),
levels AS (
  SELECT exchange, symbol, at_time AS since, lead(at_time) OVER market AS until,
         sum(live) OVER market AS live, sum(repaired) OVER market AS repaired,
         sum(unknown) OVER market AS unknown, sum(lost) OVER market AS lost,
         sum(ids) OVER market AS ids, sum(two_feeds) OVER market AS two_feeds,
         sum(history) OVER market AS history
  FROM steps WINDOW market AS (PARTITION BY exchange, symbol ORDER BY at_time)),
judged AS (
  SELECT exchange, symbol, since, until,
         CASE WHEN live > 0 THEN 'live' WHEN repaired > 0 THEN 'repaired' WHEN unknown > 0 THEN 'unknown'
              WHEN lost > 0 THEN 'lost' ELSE 'unknown' END AS status,
         CASE WHEN status NOT IN ('live', 'repaired') THEN 'none' WHEN ids > 0 THEN 'ids'
              WHEN two_feeds > 0 THEN 'two_feeds' WHEN history > 0 THEN 'history' ELSE 'none' END AS proof
  FROM levels WHERE until IS NOT NULL),
islands AS (
  SELECT *, sum(CASE WHEN status = before AND proof = proof_before THEN 0 ELSE 1 END)
              OVER (PARTITION BY exchange, symbol ORDER BY since) AS island
  FROM (SELECT *, lag(status) OVER market AS before, lag(proof) OVER market AS proof_before FROM judged
        WINDOW market AS (PARTITION BY exchange, symbol ORDER BY since)))
SELECT exchange, symbol, min(since) AS from_time, max(until) AS to_time, status, proof
FROM islands GROUP BY exchange, symbol, status, proof, island
ORDER BY exchange, symbol, from_time
"""

# Of each gap the parts between the covers of others; a cover of no length at either end makes the outer parts.
GAPS_UNION = """
WITH covers AS (
  SELECT g.place, greatest(r.since, g.since) AS since, least(r.until, g.until) AS until
  FROM store_gaps g JOIN ranges r
    ON r.exchange = g.exchange AND r.symbol = g.symbol AND r.number <> g.number
   AND r.status IN ('live', 'repaired') AND r.since < g.until AND r.until > g.since
  UNION ALL SELECT place, since, since FROM store_gaps WHERE since IS NOT NULL
  UNION ALL SELECT place, until, until FROM store_gaps WHERE since IS NOT NULL),
parts AS (
  SELECT place, since AS part_until,
         max(until) OVER (PARTITION BY place ORDER BY since, until
                          ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS part_since
  FROM covers),
cut AS (
  SELECT g.*, part_since, part_until, coalesce(part_since > since, false) AS cut_since,
         coalesce(part_until < until, false) AS cut_until
  FROM store_gaps g LEFT JOIN parts p ON p.place = g.place
  WHERE g.since IS NULL OR part_since < part_until)
SELECT s.recorder, s.store, c.gap_id, c.exchange, c.symbol, c.reason, c.opened_at, c.closed_at,
       CASE WHEN cut_since THEN NULL ELSE c.from_id END AS from_id,
       CASE WHEN cut_until THEN NULL ELSE c.to_id END AS to_id,
       CASE WHEN cut_since OR cut_until THEN part_since ELSE c.from_time END AS from_time,
       CASE WHEN part_until = 'infinity' THEN NULL WHEN cut_since OR cut_until THEN part_until
            ELSE c.to_time END AS to_time,
       CASE WHEN cut_since OR cut_until THEN NULL ELSE c.missing END AS missing, c.recovered, c.status
FROM cut c JOIN stores s ON s.number = c.number
ORDER BY c.exchange, c.symbol, from_time, c.gap_id, s.recorder, s.store
"""


def unite(con: duckdb.DuckDBPyConnection, rows: dict[str, Any]) -> None:
    """Makes COVERAGE_UNION and GAPS_UNION answerable by `con`.

    `rows` are what NEEDED names, as Arrow, of the rows that count; each is read once.
    """
    for name, batches in rows.items():
        con.register("incoming", batches)
        con.execute(f"CREATE OR REPLACE TEMP TABLE read_{name} AS FROM incoming")
        con.unregister("incoming")
    con.execute(_STORES)
    for name in rows:
        own = [_OWN.format("exchange"), *([_OWN.format("gap_id")] if name == GAP_STATES.name else [])]
        con.execute(
            f"CREATE OR REPLACE TEMP VIEW {name} AS SELECT t.* REPLACE ({', '.join(own)})"
            f" FROM read_{name} AS t JOIN stores AS s ON s.recorder = t.recorder AND s.store = t.store"
        )
    con.execute(f"CREATE OR REPLACE TEMP VIEW gaps AS {GAPS_SELECT}")
    con.execute(_RANGES)
    con.execute(_GAPS)
