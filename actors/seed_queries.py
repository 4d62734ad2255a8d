"""The SQL of actors.seeds: over `ticks`, `gap_states`, `feeds`, and a temporary `wanted` (symbol, since)."""

from actors.recent import GENERATION_KEYS

SETTLED_S = 60  # a jump so long before the newest trade has been told as a gap, or was none

# An instant as nanoseconds, as far as the file keeps them.
_NS = "epoch_us({}) * 1000"
_QUOTED_AT = '"at"'
AT = "make_timestamptz({} // 1000)"

# A number only if it is written as one, so that number and text stand for each other.
_ID = "CASE WHEN TRY_CAST({0} AS BIGINT)::VARCHAR = {0} THEN TRY_CAST({0} AS BIGINT) END"
NEWEST_GAPS = 'SELECT * FROM gap_states QUALIFY row_number() OVER (PARTITION BY gap_id ORDER BY "at" DESC) = 1'

# `fills` tells how many ids a row stands for.
LAST = f"""
WITH recent AS (
  SELECT t.symbol, t.trade_id, {_ID.format("t.trade_id")} AS id, t.received_at,
         coalesce(t.timestamp, t.received_at) AS made_at, t.source, t.fills
  FROM ticks t JOIN wanted w ON w.symbol = t.symbol
  WHERE t.exchange = $exchange AND t.received_at >= {AT.format("$since")} AND t.received_at >= w.since),
ends AS (
  SELECT symbol, max(made_at) AS last_made, arg_max(trade_id, made_at) AS last_id,
         max(id) AS mark, min(id - fills + 1) AS lowest, max(received_at) AS last_received,
         bool_or(source = 'stream') AS live
  FROM recent GROUP BY symbol),
floors AS (
  SELECT r.symbol, max(r.id) AS floor FROM recent r JOIN ends e USING (symbol)
  WHERE r.received_at < e.last_received - INTERVAL {SETTLED_S} SECOND GROUP BY r.symbol)
"""

ENDS = f"""
SELECT symbol, {_NS.format("last_made")}, last_id, mark, lowest, live FROM ends
"""

JUMPS = f"""
SELECT * FROM (
  SELECT r.symbol,
         lag(r.id) OVER m + 1 AS first, r.id - r.fills AS last,
         {_NS.format("r.received_at")}, {_NS.format("lag(r.made_at) OVER m")},
         r.trade_id, {_NS.format("r.made_at")}, NULL AS gap_id
  FROM recent r LEFT JOIN floors f USING (symbol)
  WHERE r.id >= coalesce(f.floor, 0)
  WINDOW m AS (PARTITION BY r.symbol ORDER BY r.id))
WHERE first <= last ORDER BY last DESC
"""

_UNFILLED = f"""exchange = $exchange AND status <> 'filled' AND opened_at >=
  CASE WHEN status IN ('open', 'partial') THEN {AT.format("$since")} ELSE {AT.format("$since_final")} END"""

# Of a gap whose end came: what of its ids is still between no stored ones.
MISSING = f"""
WITH told AS (
  SELECT gap_id, symbol, opened_at, to_id, from_time, to_time, missing,
         TRY_CAST(from_id AS BIGINT) AS low, TRY_CAST(to_id AS BIGINT) AS high
  FROM ({NEWEST_GAPS})
  WHERE {_UNFILLED} AND missing > 0 AND to_id IS NOT NULL),
reach AS (SELECT min(opened_at) AS since FROM told),
stored AS (
  SELECT symbol, trade_id, {_ID.format("trade_id")} AS id, fills, coalesce(timestamp, received_at) AS made_at
  FROM ticks
  WHERE exchange = $exchange AND received_at >= (SELECT since - INTERVAL {SETTLED_S} SECOND FROM reach)
    AND symbol IN (SELECT symbol FROM told)),
edges AS (
  SELECT g.gap_id, g.symbol, g.low AS id, 1 AS fills, g.from_time AS made_at, NULL AS trade_id, g.opened_at
  FROM told g
  UNION ALL
  SELECT g.gap_id, g.symbol, s.id, s.fills, s.made_at, s.trade_id, g.opened_at
  FROM told g JOIN stored s ON s.symbol = g.symbol AND s.id > g.low AND s.id <= g.high)
SELECT * FROM (
  SELECT symbol, lag(id) OVER g + 1 AS first, id - fills AS last, {_NS.format("opened_at")},
         {_NS.format("lag(made_at) OVER g")}, trade_id, {_NS.format("made_at")}, gap_id
  FROM edges WINDOW g AS (PARTITION BY gap_id ORDER BY id, trade_id NULLS FIRST))
WHERE first <= last ORDER BY last DESC
"""

RECENT = f"""
SELECT t.symbol, list_reverse(arg_max(t.trade_id, t.received_at, {GENERATION_KEYS})),
       list_min(arg_max({_NS.format("coalesce(t.timestamp, t.received_at)")}, t.received_at, {GENERATION_KEYS}))
FROM ticks t JOIN wanted w ON w.symbol = t.symbol
WHERE t.exchange = $exchange AND t.received_at >= {AT.format("$since")} AND t.trade_id IS NOT NULL
GROUP BY t.symbol
"""

GAP_COLUMNS = f"""{_NS.format(_QUOTED_AT)}, gap_id, exchange, symbol, reason, {_NS.format("opened_at")}, from_id,
       {_NS.format("from_time")}, to_id, {_NS.format("to_time")}, missing, recovered, status,
       {_NS.format("closed_at")}"""

GAPS = f"""
SELECT {GAP_COLUMNS}
FROM ({NEWEST_GAPS})
WHERE {_UNFILLED}
ORDER BY opened_at, "at"
"""

FIRSTS = """
WITH resets AS (
  SELECT symbol, max("at") AS since FROM feeds WHERE exchange = $exchange AND event = 'reset' GROUP BY symbol)
SELECT f.symbol, epoch_us(coalesce(r.since, 'epoch'::TIMESTAMPTZ)) * 1000,
       min(TRY_CAST(f.trade_id AS BIGINT)) FILTER (
         event IN ('first', 'reset') AND f."at" >= coalesce(r.since, f."at"))
FROM feeds f LEFT JOIN resets r USING (symbol) WHERE f.exchange = $exchange GROUP BY ALL
"""
