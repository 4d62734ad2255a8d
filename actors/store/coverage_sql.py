"""Coverage: which time ranges of which market are complete, repaired, lost or unknown, and what proves it, as SQL
over the recorded rows.

A market is covered from the moment it was first delivered, with or without trades, to the last moment at which the
service is known to have run (its newest `audit` row), minus the ranges of gaps; between two runs only gaps say what
is known. The newest audit row of a run is the one with the most frames (the latest of equal ones): its `at` may be
earlier than another's if this host's clock was set back, and what is later than it was written while that clock was
ahead. If ranges overlap, the worst status wins: lost, unknown, repaired, live. A range that turned out to miss
nothing is live.

'live' alone means "connected all the time and nothing known to be missing". `proof` says what shows that nothing is
missing: a row 'proved' of `feeds` that covers the instant, the strongest first (ids, two feeds, history), or the
history that filled a gap. What is lost, unknown, or covered by no such row has the proof 'none': the time after the
newest trade always, because only the next trade shows that none lies before it. Range ends taken from our clock
(start, last audit row) and from the exchange's (gaps, proofs) differ by as much as the clocks.
"""

from actors.model.records import GAP_STATES

# The newest state of each gap; `gap_states` holds all. Columns have their public names.
GAPS_SELECT = f"""
SELECT {", ".join(column.quoted for column in GAP_STATES.columns if column.attribute != "at_ns")}
FROM {GAP_STATES.name}
QUALIFY row_number() OVER (PARTITION BY gap_id ORDER BY "at" DESC) = 1
"""

# The frames of a run and their time are one number in `lived`, which is compared twice as fast as a pair.
# A gap may end before it begins: where ids were reset and a kill left no report of it, higher ids are older.
# 0 live, 1 repaired, 2 unknown, 3 lost. A gap's status replaces that of the run it lies in; the worst gap wins.
COVERAGE_SELECT = """
WITH lived AS (
  SELECT run_id, exchange, arg_max("at", frames::HUGEINT * 1_000_000_000_000_000_000 + epoch_us("at")) AS until
  FROM audit GROUP BY ALL),
marks AS (
  SELECT exchange, symbol, event, "at" AS since, coalesce(lived.until, "at") AS until,
         lead("at") OVER (PARTITION BY exchange, symbol, run_id ORDER BY "at") AS following
  FROM feeds LEFT JOIN lived USING (exchange, run_id)
  WHERE event IN ('started', 'stopped') AND ("at" <= lived.until OR lived.until IS NULL)),
runs AS (
  SELECT exchange, symbol, since, coalesce(following, until) AS until FROM marks WHERE event = 'started'),
ground AS (
  SELECT exchange, symbol, since, until, 0 AS verdict FROM runs
  UNION ALL
  SELECT exchange, symbol, until, following, 2 FROM (
    SELECT *, lead(since) OVER (PARTITION BY exchange, symbol ORDER BY since) AS following FROM runs)
  WHERE following > until),
ends AS (SELECT exchange, symbol, max(until) AS until FROM ground GROUP BY ALL),
named AS (
  SELECT g.exchange, g.symbol, least(g.from_time, g.to_time) AS since,
         greatest(g.from_time, coalesce(g.to_time + INTERVAL 1 MICROSECOND, e.until)) AS until,
         CASE WHEN g.status = 'filled' THEN
                CASE WHEN g.missing = 0 OR (g.reason = 'disagreement' AND g.recovered = 0) THEN 0 ELSE 1 END
              WHEN g.status IN ('lost', 'partial') THEN 3 ELSE 2 END AS verdict
  FROM gaps g LEFT JOIN ends e USING (exchange, symbol)
  WHERE g.from_time IS NOT NULL),
proofs AS (
  SELECT exchange, symbol, proof, "time" AS since, until, lag(until) OVER chain AS before FROM feeds
  WHERE event = 'proved' AND until > "time" AND proof IN ('ids', 'two_feeds', 'history')
  WINDOW chain AS (PARTITION BY exchange, symbol, proof ORDER BY "time")),
proved AS (
  SELECT exchange, symbol, proof, min(since) AS since, max(until) AS until FROM (
    SELECT *, sum(CASE WHEN since <= before THEN 0 ELSE 1 END)
                OVER (PARTITION BY exchange, symbol, proof ORDER BY since ROWS UNBOUNDED PRECEDING) AS chain
    FROM proofs)
  GROUP BY exchange, symbol, proof, chain),
spans AS (
  SELECT exchange, symbol, since, until, 'r' || verdict AS kind FROM ground
  UNION ALL SELECT exchange, symbol, since, until, 'g' || verdict FROM named
  UNION ALL SELECT exchange, symbol, since, until, proof FROM proved),
turns AS (
  SELECT exchange, symbol, since AS at_time, kind, 1 AS step FROM spans
  UNION ALL SELECT exchange, symbol, until, kind, -1 FROM spans),
steps AS (
  SELECT exchange, symbol, at_time,
         {sums}
  FROM turns GROUP BY ALL),
levels AS (
  SELECT exchange, symbol, at_time AS since,
         lead(at_time) OVER market AS until,
         {levels}
  FROM steps
  WINDOW market AS (PARTITION BY exchange, symbol ORDER BY at_time)),
judged AS (
  SELECT exchange, symbol, since, until,
         CASE WHEN g3 > 0 THEN 'lost' WHEN g2 > 0 THEN 'unknown' WHEN g1 > 0 THEN 'repaired'
              WHEN g0 > 0 OR r0 > 0 THEN 'live' WHEN r2 > 0 THEN 'unknown' END AS status,
         CASE WHEN status NOT IN ('live', 'repaired') THEN 'none' WHEN ids > 0 THEN 'ids'
              WHEN two_feeds > 0 THEN 'two_feeds' WHEN history > 0 OR g1 > 0 THEN 'history' ELSE 'none' END AS proof
  FROM levels WHERE until IS NOT NULL),
islands AS (
  SELECT *, sum(CASE WHEN status IS NOT DISTINCT FROM before AND proof = proof_before THEN 0 ELSE 1 END)
              OVER (PARTITION BY exchange, symbol ORDER BY since) AS island
  FROM (SELECT *, lag(status) OVER market AS before, lag(proof) OVER market AS proof_before FROM judged
        WINDOW market AS (PARTITION BY exchange, symbol ORDER BY since)))
SELECT exchange, symbol, min(since) AS from_time, max(until) AS to_time, status, proof
FROM islands WHERE status IS NOT NULL
GROUP BY exchange, symbol, status, proof, island
ORDER BY exchange, symbol, from_time
"""

# What may cover an instant: runs (r) and gaps (g) by verdict, and proofs.
_KINDS = ("r0", "r2", "g0", "g1", "g2", "g3", "ids", "two_feeds", "history")


def _filled_in(select: str) -> str:
    """Inserts the running counts of what covers each instant."""
    sums = [f"coalesce(sum(step) FILTER (kind = '{kind}'), 0) AS {kind}" for kind in _KINDS]
    levels = [f"sum({kind}) OVER market AS {kind}" for kind in _KINDS]
    joint = ",\n         "
    return select.format(sums=joint.join(sums), levels=joint.join(levels))


COVERAGE_SELECT = _filled_in(COVERAGE_SELECT)
